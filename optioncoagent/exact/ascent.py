"""Gradient ascent on J along the exact gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from optioncoagent.exact.gradients import expected_return, policy_gradient
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray

LARGEST_MOVE = 1.0  # of a logit, in one step
SUFFICIENT = 1e-4  # share of the rise that the slope promises which a step must bring
MAX_HALVINGS = 40


def _return_or_least(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], objective: str) -> float:
    """J, or -∞ where the solver refuses, as with episodes too long for float64: a step there is one too far."""
    try:
        return expected_return(mdp, network, params, objective)
    except ValueError:
        return -np.inf


def ascend(
    mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], steps: int, objective: str = "discounted"
) -> dict[str, FloatArray]:
    """Params after `steps` steps θ ← θ + α ∇J(θ) of exact-gradient ascent from `params`; J never falls.

    α is found by backtracking: from twice the last one, and no more than changes a logit by LARGEST_MOVE, it is halved until
    J(θ + α ∇J) ≥ J(θ) + c α |∇J|² (Armijo's rule; see "Numerical Optimization" by Nocedal & Wright, section 3.1). So there is no step
    size to choose, and rewards may have any size. It stops early where the gradient is zero or no step brings a rise that float64 can
    tell. objective, errors: see `expected_return`; ValueError for `steps` that are no count.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 0:
        raise ValueError(f"steps={steps!r}: it needs a number of steps, an integer of at least 0")
    J = expected_return(mdp, network, params, objective)
    theta = {name: np.array(logits, dtype=np.float64) for name, logits in params.items()}
    alpha = np.inf
    for _ in range(steps):
        g = policy_gradient(mdp, network, theta, objective)
        largest = max(float(np.abs(part).max(initial=0.0)) for part in g.values())
        if largest == 0:
            break
        # in units of the gradient's largest entry, so that neither α nor |∇J|² can overflow: move = α largest, slope = |∇J|² / largest
        direction = {name: part / largest for name, part in g.items()}
        move = min(2 * alpha * largest, LARGEST_MOVE)
        slope = largest * sum(float((part**2).sum()) for part in direction.values())
        for _ in range(MAX_HALVINGS):
            moved = {name: logits + move * direction[name] for name, logits in theta.items()}
            risen = _return_or_least(mdp, network, moved, objective)
            if risen >= J + SUFFICIENT * move * slope:
                break
            move /= 2
        alpha = move / largest
        if not risen > J:
            break
        theta, J = moved, risen
    return theta
