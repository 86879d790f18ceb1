"""Values and occupancies of flat option-critic, in its own vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from optioncoagent.exact.chain import chain
from optioncoagent.gallery import TERMINATE, option_critic
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork, FloatArray
from optioncoagent.network.coagent import initial_law


@dataclass(frozen=True)
class OptionValues:
    """Q_U, Q_Ω, V_Ω, A_Ω, U and the occupancies of option-critic, exactly. Everything is 0 at terminal states.

    Values (OC, equations 1 to 3), with b the probability to terminate and c the deliberation cost:

        q_u (S, O, A)    Q_U(s,ω,a) = Σ_s' P(s'|s,a) [ R(s,a,s') + γ U(ω,s') ]
        q_omega (S, O)   Q_Ω(s,ω) = Σ_a π_ω(a|s) Q_U(s,ω,a)
        v_omega (S,)     V_Ω(s) = Σ_ω π_Ω(ω|s) Q_Ω(s,ω)
        a_omega (S, O)   A_Ω(s,ω) = Q_Ω(s,ω) - V_Ω(s)
        u (S, O)         U(ω,s) = (1 - b_ω(s)) Q_Ω(s,ω) + b_ω(s) (V_Ω(s) - c)

    U is the value upon arrival at a step after the first; the first one is free of cost. Values are defined for every (s, ω), visited or
    not; they are NaN where γ = 1 and an episode from there may never end.
    Occupancies; t starts at 1 in d_beta, and at 0 under first="terminate", where d_omega counts no free first choice:

        d_beta (S, O)    Σ_t γ^t Pr(S_t = s, ω_{t-1} = ω), before the decision to terminate
        d_z (S, O)       Σ_{t≥0} γ^t Pr(S_t = s, ω_t = ω), after it
        d_omega (S,)     Σ_{t≥0} γ^t Pr(S_t = s, the policy over options executes)
    """

    q_u: FloatArray
    q_omega: FloatArray
    v_omega: FloatArray
    a_omega: FloatArray
    u: FloatArray
    d_beta: FloatArray
    d_z: FloatArray
    d_omega: FloatArray


def option_values(
    mdp: MDP, params: Mapping[str, Any], first: str = "select", deliberation_cost: float = 0.0, initial: Any = None
) -> OptionValues:
    """The values and occupancies of flat option-critic on a finite MDP; first, deliberation_cost, initial: see `option_critic`.

    params: {"termination": (num_observations, O, 2), "option": (num_observations, O), "action": (num_observations, O, A)}, logits.
    Under a horizon T the states are those of `mdp.unrolled`, t S + s for t = 0 … T.
    Raises ValueError for other params (a hierarchy's among them), and where `expected_return` does.
    """
    mdp = mdp.unrolled
    network = flat_network(mdp, params, first, deliberation_cost, initial)
    made = chain(mdp, network, params, everything=True)
    structure, num_options = made.structure, network["option"].num_outputs
    S, num_actions = mdp.num_states, mdp.num_actions
    policies = {name: policy[mdp.observation] for name, policy in made.policies.items()}
    b, pi_omega, pi = policies["termination"][:, :, TERMINATE], policies["option"], policies["action"]

    # U(ω, s) is the value of the node (s, ω_{t-1} = ω); the other values follow from it, equation by equation
    u = np.where(mdp.terminal[:, None], 0.0, np.full((S, num_options), np.nan))
    u.reshape(-1)[structure.keys] = made.value
    q_u = mdp.expected_reward[:, None, :] + mdp.gamma * _expect(mdp, u)
    q_omega = _mean(pi, q_u)
    v_omega = _mean(pi_omega, q_omega)

    # d_β: the occupancy of the later nodes, and under first="terminate" of the first ones too
    later = np.zeros((S, num_options))
    later.reshape(-1)[structure.keys] = made.occupancy[structure.num_first :]
    at_first = np.where(mdp.terminal, 0.0, mdp.d0)
    if first == "terminate":
        d_beta = later + at_first[:, None] * network.initial("option")
        d_omega = (d_beta * b).sum(axis=1)
    else:
        d_beta = later
        d_omega = at_first + (d_beta * b).sum(axis=1)
    # d_Z(s,ω) = d_β(s,ω) (1 - b_ω(s)) + d_Ω(s) π_Ω(ω|s)
    d_z = d_beta * (1 - b) + d_omega[:, None] * pi_omega
    return OptionValues(
        q_u=q_u.reshape(S, num_options, num_actions),
        q_omega=q_omega,
        v_omega=v_omega,
        a_omega=q_omega - v_omega[:, None],
        u=u,
        d_beta=d_beta,
        d_z=d_z,
        d_omega=d_omega,
    )


def flat_network(
    mdp: MDP, params: Mapping[str, Any], first: str = "select", deliberation_cost: float = 0.0, initial: Any = None
) -> CoagentNetwork:
    """Option-critic's network for these params. Raises ValueError where they are not flat option-critic's."""
    shapes = {name: np.shape(logits) for name, logits in params.items()} if isinstance(params, Mapping) else type(params).__name__
    if not isinstance(shapes, dict) or set(shapes) != {"termination", "option", "action"} or len(shapes["option"]) != 2:
        raise ValueError(
            f"params is {shapes}, which is not flat option-critic's: it needs termination (S, O, 2), option (S, O) and action (S, O, A); "
            "for other networks use policy_gradient"
        )
    num_options = shapes["option"][1]
    law = tuple(initial_law(Coagent("option", num_options, initial=initial)).tolist())
    cost = deliberation_cost if isinstance(deliberation_cost, str) else float(deliberation_cost)  # text is refused there
    return _network(num_options, mdp.num_actions, first, cost, law)


@lru_cache(maxsize=64)
def _network(num_options: int, num_actions: int, first: str, deliberation_cost: float, initial: Any) -> CoagentNetwork:
    return option_critic(num_options, num_actions, first, deliberation_cost, initial)


def _expect(mdp: MDP, values: FloatArray) -> FloatArray:
    """Σ_s' P(s'|s,a) values[s', ω], (S, O, A)."""
    expected = (mdp.transition_matrix @ values).reshape(mdp.num_states, mdp.num_actions, values.shape[1])
    return expected.transpose(0, 2, 1)


def _mean(policy: FloatArray, values: FloatArray) -> FloatArray:
    """Σ_u π(u) values(u) over the last axis; an output that is never chosen may have no value."""
    return np.where(policy > 0, policy * values, 0.0).sum(axis=-1)
