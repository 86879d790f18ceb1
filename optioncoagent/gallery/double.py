"""Option-critic as one policy from option to option: the view of the double actor-critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from optioncoagent.gallery.options import CONTINUE, TERMINATE
from optioncoagent.network import Coagent, CoagentNetwork, FloatArray, Gaussian, softmax


def double_actor_critic(num_options: int, num_actions: int | Gaussian, initial: Any = None) -> CoagentNetwork:
    """The option is drawn anew at every step, by a policy that knows the option before: staying is one of its choices.

             ω_{t-1} ──► option ──► action            all execute at every step
        S_t ───────────────▲──────────▲

    Zhang, Whiteson, "DAC: The Double Actor-Critic Architecture for Learning Options" (NeurIPS 2019): two MDPs, of which the upper one's
    policy is π'(ω'|s,ω). initial: law of ω_{-1}, which the first step reads.
    Equal to `option_critic(…, first="terminate", initial=initial)` at π'(ω'|s,ω) = (1 - b_ω(s)) 1{ω'=ω} + b_ω(s) π_Ω(ω'|s), see
    `double_params`: the same J and the same gradient of the action; the gradients of termination and option are this one's option gradient
    through the derivative of that map, ∂π'(ω'|s,ω)/∂b = π_Ω(ω'|s) - 1{ω'=ω} and ∂π'(ω'|s,ω)/∂π_Ω(ω'|s) = b_ω(s). With first="select",
    ω_{-1} is one option more, which terminates everywhere and is never chosen. The converse does not hold: with three options or more π'
    has more freedom than b and π_Ω together.
    """
    option = Coagent("option", num_options, previous=("option",), initial=initial)
    return CoagentNetwork([option, Coagent("action", num_actions, upstream=("option",))])


def double_params(params: Mapping[str, Any]) -> dict[str, FloatArray]:
    """The parameters of `double_actor_critic` that do what flat option-critic's do: ln π', -inf where it is 0. ValueError for others."""
    if missing := {"termination", "option", "action"}.difference(params):
        raise ValueError(f"params has no {', '.join(sorted(missing))}, which flat option-critic's have")
    termination, option = softmax(np.asarray(params["termination"])), softmax(np.asarray(params["option"]))
    # π'(ω'|s,ω) = (1 - b_ω(s)) 1{ω'=ω} + b_ω(s) π_Ω(ω'|s)
    policy = termination[..., CONTINUE, None] * np.eye(option.shape[-1]) + termination[..., TERMINATE, None] * option[:, None]
    with np.errstate(divide="ignore"):
        return {"option": np.log(policy), "action": np.asarray(params["action"], dtype=np.float64)}
