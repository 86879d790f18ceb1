"""Option-critic as a coagent network, with one level of options or N.

Bacon, Harb, Precup, "The Option-Critic Architecture" (AAAI 2017), called OC, in the terms of ACN, appendix E. ACN codes the termination
coagent's output 0 = terminate, 1 = continue; OC codes it the other way round: use the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from optioncoagent.network import Coagent, CoagentNetwork, Gaussian, LocalState

TERMINATE = 0
CONTINUE = 1


def option_critic(
    num_options: int | Sequence[int],
    num_actions: int | Gaussian,
    first: str = "select",
    deliberation_cost: float = 0.0,
    initial: Any = None,
) -> CoagentNetwork:
    """Option-critic with `num_options` options, or a hierarchy with a tuple of option counts, top level first.

        ω_{t-1} ──► termination ┄┄ gates ┄┄► option ──► action
              S_t ────▲───────────────────────▲──────────▲

    One level has the coagents "termination" (reads S_t, ω_{t-1}), "option" (reads S_t; executes iff the termination says TERMINATE,
    else ω_{t-1} is retained) and "action" (reads S_t, ω_t). With N levels, 1 the top one, a step runs the terminations N down to 1,
    the options 1 to N, the action; termination ℓ reads the previous options 1 … ℓ, option ℓ reads this step's options 1 … ℓ-1 and
    executes iff *all* terminations of levels ≥ ℓ say TERMINATE, the action reads all options. A tuple of length one is one level. Of two:

        ω¹_{t-1} ─┬─► termination_1 ┄┐
                  │                  ├┄ both gate ┄► option_1 ──┬──────────┐
                  ▼                  ┆                          ▼          ▼
        ω²_{t-1} ───► termination_2 ┄┴┄┄┄┄┄┄ gates ┄┄┄┄┄► option_2 ───► action      each reads S_t too

    Equal to the flat policy with one option, to `always_terminating` where terminations are certain, to one level fewer where the top
    level has one option, and to `double_actor_critic` with first="terminate", see there.

    first: "select" (call-and-return: no termination decision at the first step, ω_0 is drawn from the policy over options) or
    "terminate" (the terminations execute at the first step too, on ω_{-1}).
    deliberation_cost: charged whenever an option coagent executes, but not at the first step. Harb et al., "When Waiting Is Not an Option:
    Learning Options with a Deliberation Cost" (AAAI 2018); N levels: Riemer, Liu, Tesauro, "Learning Abstract Options" (NeurIPS 2018).
    initial: law of ω_{-1} (an int, probabilities or None for uniform; one of these a level for a hierarchy); only first="terminate"
    ever reads it.
    """
    num_options = num_options.tolist() if isinstance(num_options, np.ndarray) else num_options
    hierarchy = isinstance(num_options, Sequence)
    sizes = tuple(num_options) if isinstance(num_options, Sequence) else (num_options,)
    if not sizes or not all(_is_count(n) for n in sizes):
        raise ValueError(f"num_options={num_options!r}: give a number of at least 1, or a tuple of them, top level first")
    if first not in ("select", "terminate"):
        raise ValueError(f'first={first!r}: choose "select" or "terminate"')
    laws = _laws(initial, hierarchy, len(sizes))

    flat = len(sizes) == 1
    options = ["option" if flat else f"option_{level}" for level in range(1, len(sizes) + 1)]
    terminations = ["termination" if flat else f"termination_{level}" for level in range(1, len(sizes) + 1)]
    executes = 1.0 if first == "terminate" else _after_first_step
    levels = range(len(sizes))

    coagents = [
        Coagent(terminations[level], 2, previous=tuple(options[: level + 1]), executes=executes, initial=TERMINATE)
        for level in reversed(levels)
    ]
    coagents += [
        Coagent(
            options[level],
            int(sizes[level]),
            upstream=tuple(options[:level]),
            executes=_all_terminate(terminations[level:]),
            initial=laws[level],
            cost=deliberation_cost,
        )
        for level in levels
    ]
    coagents.append(Coagent("action", num_actions, upstream=tuple(options)))
    return CoagentNetwork(coagents)


def _after_first_step(x: LocalState) -> Any:
    return ~x.start


def _all_terminate(terminations: list[str]) -> Callable[[LocalState], Any]:
    def executes(x: LocalState) -> Any:
        verdict = x.upstream[terminations[0]] == TERMINATE
        for name in terminations[1:]:
            verdict = verdict & (x.upstream[name] == TERMINATE)
        return verdict

    return executes


def _is_count(n: Any) -> bool:
    return isinstance(n, int | float | np.number) and not isinstance(n, bool) and float(n).is_integer() and bool(n >= 1)


def _laws(initial: Any, hierarchy: bool, num_levels: int) -> list[Any]:
    """One initial law a level."""
    if initial is None:
        return [None] * num_levels
    if not hierarchy or (num_levels == 1 and not (isinstance(initial, tuple | list) and len(initial) == 1)):
        return [initial]  # (n,) is n, whose law may be given as one, too
    laws = list(initial) if isinstance(initial, Iterable) else []
    if len(laws) != num_levels:
        raise ValueError(f"initial={initial!r}: a hierarchy of {num_levels} levels takes one law for each, top level first")
    return laws
