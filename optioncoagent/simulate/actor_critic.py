"""Tabular actor-critic with eligibility traces (Sutton & Barto 2018, section 13.5) for any coagent network.

One critic v(S_t) of the observation is shared; every coagent is an actor that learns from the same δ, at the steps at which it executes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray, ParameterLayout
from optioncoagent.simulate.episodes import PATIENCE, check_counts, check_patience, longest_episode, run_blocks
from optioncoagent.simulate.kernels import Trial, draw_episodes
from optioncoagent.simulate.rng import key_of
from optioncoagent.simulate.tables import walk_table
from optioncoagent.simulate.waiting import compile_once
from optioncoagent.simulate.wiring import dynamics, policy_table, wire

_TRIALS_A_BLOCK = 25


@dataclass(frozen=True)
class ActorCriticTrials:
    """What every trial did: returns (trials, episodes) Σ_t γ^t R_t, steps (trials, episodes), capped: how many episodes were cut off.

    params: {name: (trials, *shape)} and values: (trials, num_observations), at the end; learned_from: how many episodes each trial
    has learned from, those of `after` among them.
    """

    returns: FloatArray
    steps: NDArray[np.int64]
    capped: int
    params: dict[str, FloatArray]
    values: FloatArray
    learned_from: int


def actor_critic(
    mdp: MDP,
    network: CoagentNetwork,
    episodes: int,
    step_size: float | Mapping[str, float],
    critic_step_size: float,
    trace_decay: float,
    trials: int = 1,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    max_steps: int | None = None,
    threads: int = 1,
    after: ActorCriticTrials | None = None,
) -> ActorCriticTrials:
    """Train `trials` independent copies for `episodes` episodes each.

    step_size: of the actors, one number or {name: number}, names those of params. trace_decay: λ of critic and actors, in [0, 1]. params:
    initial logits, zero by default; the critic starts at zero. after: as many trials to go on from in place of these, each from its own
    logits and its own critic, on this MDP. Each episode of each trial has random numbers of its own, those after others too.

    An episode ends in a terminal state, or at the MDP's horizon, after which nothing is worth anything. It is cut off, which is no end to
    the critic, after max_steps; where that is not given and γ < 1, once what is to come is negligible in J (`estimate_return`). Errors are
    raised as in `estimate_return`.
    """
    check_counts(episodes=episodes, trials=trials, threads=threads, max_steps=1 if max_steps is None else max_steps)
    network.check_actions(mdp.num_actions)
    n = mdp.num_observations
    layout, wiring, moves = network.parameters(n), wire(network, n), dynamics(mdp)
    start = {block.owner: np.zeros(block.shape) for block in layout.blocks} if params is None else layout.check(params)
    theta, values = np.tile(layout.flat(start), (trials, 1)), np.zeros((trials, n))
    if after is not None:
        if params is not None or after.values.shape != (trials, n):
            held = "{} trials on {} observations".format(*after.values.shape)
            raise ValueError(f"after= is {held}: it takes {trials} on {n}, and no params beside it")
        theta, values = np.array([layout.flat(_of_trial(after.params, trial)) for trial in range(trials)]), after.values.copy()
        start = layout.check(_of_trial(after.params, 0))
    end = PATIENCE if mdp.horizon is None else mdp.horizon
    limit = min(end, max_steps or (longest_episode(mdp, network) if mdp.horizon is None else end))
    if limit == PATIENCE:
        walk_table(mdp, network, policy_table(network, start, n), wiring, moves, must_end=True)
    rates = (_step_sizes(layout, step_size), float(critic_step_size), float(trace_decay))
    if not np.isfinite(rates[0]).all() or not np.isfinite(rates[1]):
        raise ValueError(f"step_size={step_size!r}, critic_step_size={critic_step_size!r}: they need finite numbers")
    if not 0 <= rates[2] <= 1:
        raise ValueError(f"trace_decay={trace_decay!r}: it needs a number in [0, 1]")

    returns, steps = np.zeros((trials, episodes)), np.zeros((trials, episodes), dtype=np.int64)

    before = 0 if after is None else after.learned_from
    kernel: Any = draw_episodes
    key = key_of([seed, before])

    def problem(trial: int) -> tuple[Any, ...]:
        return wiring, moves, None, Trial(theta[trial], values[trial], *rates, mdp.horizon or 0, returns[trial], steps[trial]), limit, key

    def block(i: int) -> None:
        for trial in range(i * _TRIALS_A_BLOCK, min((i + 1) * _TRIALS_A_BLOCK, trials)):
            kernel(*problem(trial), np.int64(trial * episodes), np.int64(episodes))

    compile_once(kernel, *problem(0), np.int64(0), np.int64(0))
    run_blocks(block, -(-trials // _TRIALS_A_BLOCK), threads)
    check_patience(limit, steps < 0)
    return ActorCriticTrials(returns, np.abs(steps), int((steps < 0).sum()), layout.unflat(theta), values, before + episodes)


def _of_trial(params: Mapping[str, FloatArray], trial: int) -> dict[str, FloatArray]:
    return {name: logits[trial] for name, logits in params.items()}


def _step_sizes(layout: ParameterLayout, step_size: float | Mapping[str, float]) -> FloatArray:
    """One for each parameter, from one number or {owner: number}."""
    owners = [block.owner for block in layout.blocks]
    sizes = step_size if isinstance(step_size, Mapping) else dict.fromkeys(owners, step_size)
    if set(sizes) != set(owners):
        raise ValueError(f"step_size names {sorted(sizes)}: it needs one number, or one for each of {owners}")
    return layout.flat({block.owner: np.full(block.shape, sizes[block.owner]) for block in layout.blocks})
