"""Options whose end is not learned from the state: always at once, by a coin, by a clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from optioncoagent.network import Coagent, CoagentNetwork, FloatArray, Gaussian, LocalState


def always_terminating(num_options: int, num_actions: int | Gaussian) -> CoagentNetwork:
    """A manager that decides at every step, and a worker that acts on its decision.

        S_t ──► option ──► action            all execute at every step
         └───────────────────▲

    The synchronous, acyclic network of Thomas, "Policy Gradient Coagent Networks" (NeurIPS 2011), at its smallest. Equal to `option_critic`
    that always terminates (at no cost), and to the flat policy Σ_ω π_Ω(ω|s) π_ω(a|s).
    """
    return CoagentNetwork([Coagent("option", num_options), Coagent("action", num_actions, upstream=("option",))])


def random_length(num_options: int, num_actions: int | Gaussian, mean_length: float, observes: bool = True) -> CoagentNetwork:
    """Options that end by a coin: lengths are geometric with this mean, at least 1, wherever the agent is.

        S_t ──► option ──► action            option executes at the first step, then with probability 1 / mean_length
         └───────────────────▲

    An execution probability, and nothing that decides it: asynchronous in the sense of Kostas, Nota, Thomas, "Asynchronous Coagent
    Networks" (ICML 2020, arXiv 1902.05650). Equal to `option_critic` whose termination probability is 1 / mean_length everywhere; with
    mean_length 1 to `always_terminating`. ValueError for a mean below 1.

    observes: does the policy over options? One that does not is a bandit's: it knows which option is worth most, and nothing of where.
    """
    if isinstance(mean_length, str) or not mean_length >= 1:
        raise ValueError(f"mean_length={mean_length!r}: it must be a number of at least 1, an option lasts one step at least")
    rate = 1 / mean_length

    def executes(x: LocalState) -> Any:
        return rate + (1 - rate) * x.start

    option = Coagent("option", num_options, executes=executes, observes=observes)
    return CoagentNetwork([option, Coagent("action", num_actions, upstream=("option",))])


def clocked_options(num_options: int, num_actions: int | Gaussian, num_phases: int) -> CoagentNetwork:
    """Options that a clock ends: the option is chosen anew whenever the clock shows 0, as it does at the first step.

            clock_{t-1} ──► clock            executes at every step but the first
                              ┆ gates
               S_t ───────► option ──► action
                └────────────────────────▲

    The clock does not look at the state. Its parameters, (num_phases, num_phases), are the law of the next phase given the last one, so
    that the length of an option has a phase-type law, learned with everything else. With `cycle(num_phases)` for parameters options have
    the fixed length num_phases: a manager that decides every so many steps, as in Nachum et al., "Data-Efficient Hierarchical Reinforcement
    Learning" (NeurIPS 2018), without its goals. Equal to `always_terminating` with one phase and, with all logits equal, to `random_length`
    of mean num_phases.
    """
    clock = Coagent("clock", num_phases, observes=False, previous=("clock",), executes=lambda x: ~x.start, initial=0)
    option = Coagent("option", num_options, executes=lambda x: x.upstream["clock"] == 0)
    return CoagentNetwork([clock, option, Coagent("action", num_actions, upstream=("option",))])


def cycle(num_phases: int) -> FloatArray:
    """Logits of a clock that counts 0, 1, …, num_phases - 1, 0, …, (num_phases, num_phases).

    Finite, so that every solver takes them; another phase has a probability of e^-40, and a gradient as small.
    """
    return np.where(np.roll(np.eye(num_phases), 1, axis=1) > 0, 0.0, -40.0)
