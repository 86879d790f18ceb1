"""Tabular actor-critic with eligibility traces (Sutton & Barto 2018, section 13.5) for any coagent network.

One critic v(S_t) of the observation is shared; every coagent is an actor that learns from the same δ, at the steps at which it executes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optioncoagent.compiling import njit
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray, ParameterLayout
from optioncoagent.simulate.episodes import PATIENCE, check_counts, check_patience, horizon, run_blocks
from optioncoagent.simulate.rng import key_of, seeded
from optioncoagent.simulate.tables import walk_table
from optioncoagent.simulate.tick import begin, tick
from optioncoagent.simulate.waiting import compile_once
from optioncoagent.simulate.wiring import dynamics, policy_table, wire

_TRIALS_A_BLOCK = 25


@dataclass(frozen=True)
class ActorCriticTrials:
    """What every trial did: returns (trials, episodes) Σ_t γ^t R_t, steps (trials, episodes), capped: episodes cut off by max_steps.

    params: {name: (trials, *shape)} and values: (trials, num_observations), at the end.
    """

    returns: FloatArray
    steps: NDArray[np.int64]
    capped: int
    params: dict[str, FloatArray]
    values: FloatArray


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
) -> ActorCriticTrials:
    """Train `trials` independent copies for `episodes` episodes each.

    step_size: of the actors, one number or {name: number}. trace_decay: λ of critic and actors. params: initial logits, zero by default;
    the critic starts at zero. Episodes end, and errors are raised, as in `estimate_return`.
    """
    check_counts(episodes=episodes, trials=trials, threads=threads, max_steps=1 if max_steps is None else max_steps)
    network.check_actions(mdp.num_actions)
    n = mdp.num_observations
    layout, wiring, moves = network.parameters(n), wire(network, n), dynamics(mdp)
    start = {block.owner: np.zeros(block.shape) for block in layout.blocks} if params is None else layout.check(params)
    longest = horizon(mdp, network)
    if max_steps is None and longest == PATIENCE:
        walk_table(mdp, network, policy_table(network, start, n), wiring, moves, must_end=True)
    limit = min(longest, max_steps or longest)
    rates = Rates(_step_sizes(layout, step_size), float(critic_step_size), float(trace_decay))

    theta = np.tile(layout.flat(start), (trials, 1))
    values, returns, steps = np.zeros((trials, n)), np.zeros((trials, episodes)), np.zeros((trials, episodes), dtype=np.int64)
    problem = (wiring, moves, rates, limit, key_of(seed))
    compile_once(train, *problem, np.int64(0), theta[:0], values[:0], returns[:0], steps[:0])

    def block(i: int) -> None:
        part = slice(i * _TRIALS_A_BLOCK, (i + 1) * _TRIALS_A_BLOCK)
        train(*problem, np.int64(part.start), theta[part], values[part], returns[part], steps[part])

    run_blocks(block, -(-trials // _TRIALS_A_BLOCK), threads)
    check_patience(limit, steps < 0)
    capped = int((steps < 0).sum()) if limit < longest else 0
    return ActorCriticTrials(returns, np.abs(steps), capped, layout.unflat(theta), values)


class Rates(NamedTuple):
    """step_sizes (num_parameters,) of the actors, critic_step_size, trace_decay λ."""

    step_sizes: FloatArray
    critic_step_size: float
    trace_decay: float


def _step_sizes(layout: ParameterLayout, step_size: float | Mapping[str, float]) -> FloatArray:
    """One for each parameter, from one number or {owner: number}."""
    owners = [block.owner for block in layout.blocks]
    sizes = step_size if isinstance(step_size, Mapping) else dict.fromkeys(owners, step_size)
    if set(sizes) != set(owners):
        raise ValueError(f"step_size names {sorted(sizes)}: it needs one number, or one for each of {owners}")
    return layout.flat({block.owner: np.full(block.shape, sizes[block.owner]) for block in layout.blocks})


@njit(cache=True, nogil=True)
def train(wiring, moves, rates, max_steps, key, first_trial, thetas, values, returns, all_steps):
    """Train trials first_trial, first_trial + 1, …, one for each row of `thetas`; all_steps is negative where max_steps cut off."""
    m = wiring.num_outputs.size
    variables, entries, laws = np.zeros(2 + 2 * m, dtype=np.int64), np.zeros(m, dtype=np.int64), np.empty(wiring.initial.shape)
    z_theta, z_w = np.empty(thetas.shape[1]), np.empty(values.shape[1])
    for trial in range(thetas.shape[0]):
        theta, w = thetas[trial], values[trial]
        a, b, c, d = seeded(key, first_trial + trial)
        for episode in range(returns.shape[1]):
            z_theta[:], z_w[:] = 0.0, 0.0
            state, a, b, c, d = begin(wiring, moves, variables, a, b, c, d)
            earned, discount, steps = 0.0, 1.0, 0
            while not moves.terminal[state] and steps < max_steps:
                successor, reward, a, b, c, d = tick(wiring, moves, theta, laws, False, state, steps, variables, entries, a, b, c, d)
                # z_θ ← γ λ z_θ + γ^t E_t^i ∇ ln π_i(X_t^i, U_t^i); the decay was done at the end of the last step
                for i in range(m):
                    if entries[i] >= 0:
                        z_theta[entries[i]] += discount
                        row = entries[i] - variables[2 + i]
                        for v in range(wiring.num_outputs[i]):
                            z_theta[row + v] -= discount * laws[i, v]
                # δ = R_t + γ v(S_{t+1}) - v(S_t), with v = 0 at the end
                value = 0.0 if moves.terminal[successor] else w[moves.observation[successor]]
                here = moves.observation[state]
                delta = reward + moves.gamma * value - w[here]
                # z_w ← γ λ z_w + ∇ v(S_t);  w ← w + α_w δ z_w;  θ ← θ + α_θ δ z_θ
                z_w[here] += 1.0
                decay = moves.gamma * rates.trace_decay
                for s in range(w.size):
                    w[s] += rates.critic_step_size * delta * z_w[s]
                    z_w[s] *= decay
                for p in range(theta.size):
                    theta[p] += rates.step_sizes[p] * delta * z_theta[p]
                    z_theta[p] *= decay
                earned += discount * reward
                discount *= moves.gamma
                state = successor
                steps += 1
            returns[trial, episode] = earned
            all_steps[trial, episode] = steps if moves.terminal[state] else -steps
