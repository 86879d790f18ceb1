"""Gradient ascent on J without sampling: along the exact gradient of option-critic, or with a form in place of one coagent's part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from optioncoagent.exact import FORMS, form_gradient, policy_gradient
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork

Params = Mapping[str, Any]


def ascent_path(params: Params, gradient: Callable[[Params], Params], rate: Callable[[Params], float], num_steps: int) -> Iterator[Params]:
    """Yield params, then params after each of `num_steps` steps θ ← θ + α g(θ), α = rate(g). Coagents that g leaves out stay."""
    yield params
    for _ in range(num_steps):
        g = gradient(params)
        alpha = rate(g)
        params = {name: logits + alpha * g[name] if name in g else logits for name, logits in params.items()}
        yield params


def gradient_along(
    mdp: MDP, network: CoagentNetwork, form: str | None = None, learns: tuple[str, ...] | None = None
) -> Callable[[Params], Params]:
    """The gradient of the coagents that learn (all, if None), exact but for the one whose part `form`, a name in `FORMS`, computes."""

    def gradient(params: Params) -> Params:
        g = policy_gradient(mdp, network, params)
        if form is not None:
            g[FORMS[form].coagent] = form_gradient(mdp, params, form)
        return {name: part for name, part in g.items() if learns is None or name in learns}

    return gradient


def constant(learning_rate: float) -> Callable[[Params], float]:
    """Plain gradient ascent."""
    return lambda g: learning_rate


def of_length(step_size: float) -> Callable[[Params], float]:
    """Steps that fit rewards of any size: α is the smallest ε √n / ‖g‖ so far.

    While gradients grow, each step changes the logits by ε in root mean square; when they shrink it is plain ascent, and converges.
    """
    smallest = np.inf

    def rate(g: Params) -> float:
        nonlocal smallest
        norm = np.sqrt(sum(np.sum(np.square(part)) for part in g.values()))
        if norm > 0:
            smallest = min(smallest, float(step_size * np.sqrt(sum(part.size for part in g.values())) / norm))
        return smallest if norm > 0 else 0.0

    return rate
