"""J(θ) and ∇J(θ) of a coagent network, exactly.

J is what `objective` says: "discounted", E[Σ_t γ^t R_t] (of the first T steps, if the MDP has a horizon), or "average", the gain
lim 1/N E[Σ_{t<N} R_t] (see `average`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from optioncoagent.exact.average import average_chain
from optioncoagent.exact.chain import Chain, chain
from optioncoagent.exact.large import LargeChain, is_large
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray

OBJECTIVES = ("discounted", "average")


def expected_return(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], objective: str = "discounted") -> float:
    """J(θ) = E[Σ_t γ^t R_t], costs subtracted, by one linear solve; or the gain, by two more.

    params: {name: logits}, see `CoagentNetwork.init_params`. Raises ValueError for params that do not fit, if γ = 1, there is no
    horizon and a node that is reached may never end, or ends with a probability too small for float64 (from about 1e-10 on); for
    objective="average" where `average_chain` does.
    """
    return _chain(mdp, network, params, objective).expected_return


def policy_gradient(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], objective: str = "discounted") -> dict[str, FloatArray]:
    """∇J(θ) = [Δ_1; …; Δ_m], the stacked local gradients, {name: array like params[name]}; those that share parameters add.

    ACN, Theorem 1, and its asynchronous form (ACPGT); sharing: Zini et al., "Coagent Networks Revisited" (2020), and the chain rule. Raises
    as `expected_return` does.
    """
    made = _chain(mdp, network, params, objective)
    gradient: dict[str, FloatArray] = {}
    for block in network.parameters(mdp.num_observations).blocks:
        # ∂J/∂θ = Σ_i Δ_i over the coagents i that have θ
        terms = [made.local_gradient(c.name) for c in network.coagents if c.owner == block.owner]
        gradient[block.owner] = sum(terms[1:], start=terms[0])
    return gradient


def local_gradient(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], coagent: str, objective: str = "discounted") -> FloatArray:
    """Δ_i = E[Σ_t γ^t E_t^i G_t ∂ln π_i(X_t^i, U_t^i)/∂θ_i] of one coagent, like params[coagent]; or its part of the gain's gradient.

    ACN, Theorem 1. Of a coagent that shares parameters it is its own term of their gradient, like the owner's params. Raises as
    `expected_return` does, and for a coagent that the network does not have.
    """
    network.check_name(coagent)
    return _chain(mdp, network, params, objective).local_gradient(coagent)


def finite_difference(
    mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], eps: float = 1e-5, objective: str = "discounted"
) -> dict[str, FloatArray]:
    """Central differences of `expected_return`, {name: array like params[name]}: two solves for each finite logit; -inf logits get 0."""
    if not 0 < eps < np.inf:
        raise ValueError(f"eps={eps}: a step of the differences is positive and finite")
    moved = {name: np.array(params[name], dtype=np.float64) for name in params}
    expected_return(mdp, network, params, objective)  # says what is wrong with params, if anything
    gradient = {name: np.zeros_like(logits) for name, logits in moved.items()}
    for name, logits in moved.items():
        for index in np.argwhere(np.isfinite(logits)):
            at = tuple(index)
            centre = logits[at]
            logits[at] = centre + eps
            above = expected_return(mdp, network, moved, objective)
            logits[at] = centre - eps
            below = expected_return(mdp, network, moved, objective)
            logits[at] = centre
            gradient[name][at] = (above - below) / (2 * eps)
    return gradient


def _chain(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], objective: str) -> Chain | LargeChain:
    if objective not in OBJECTIVES:
        raise ValueError(f"objective={objective!r}: choose one of {OBJECTIVES}")
    if objective == "average":
        return average_chain(mdp, network, params)
    mdp = mdp.unrolled
    return LargeChain(mdp, network, params) if is_large(mdp, network) else chain(mdp, network, params)
