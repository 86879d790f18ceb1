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
from optioncoagent.network import CoagentNetwork
from optioncoagent.simulate.compiling import njit
from optioncoagent.simulate.episodes import PATIENCE, check_counts, check_patience, horizon, run_blocks
from optioncoagent.simulate.kernels import find
from optioncoagent.simulate.rng import key_of, seeded, uniform
from optioncoagent.simulate.tables import walk_table
from optioncoagent.simulate.waiting import compile_once
from optioncoagent.simulate.wiring import FloatArray, check_actions, cumulative, dynamics, flat, unflat, wire

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
    check_actions(mdp, network)
    n = mdp.num_observations
    if params is None:
        params = {name: np.zeros(network.parameter_shape(name, n)) for name in network.names}
    policies = flat(network, network.policies(params, n))
    wiring, moves = wire(network, n), dynamics(mdp)
    longest = horizon(mdp, network)
    if max_steps is None and longest == PATIENCE:
        walk_table(mdp, network, policies, wiring, moves, must_end=True)
    limit = min(longest, max_steps or longest)
    sizes = step_size if isinstance(step_size, Mapping) else dict.fromkeys(network.names, step_size)
    if set(sizes) != set(network.names):
        raise ValueError(f"step_size names {sorted(sizes)}: it needs one number, or one for each of {list(network.names)}")
    step_sizes = np.repeat(np.array([sizes[name] for name in network.names], dtype=np.float64), np.diff(wiring.policy_first))

    theta = np.tile(flat(network, params), (trials, 1))
    values, returns, steps = np.zeros((trials, n)), np.zeros((trials, episodes)), np.zeros((trials, episodes), dtype=np.int64)
    problem = (
        wiring.num_outputs, wiring.costs, wiring.action_strides, wiring.gates, wiring.gate_first, *wiring.reads(), wiring.policy_first,
        wiring.initial, moves.first, moves.successor, moves.cumulative, moves.reward, cumulative(mdp.d0),
        mdp.observation.astype(np.int64), mdp.terminal, mdp.num_actions, mdp.gamma, limit, step_sizes, float(critic_step_size),
        float(trace_decay), key_of(seed),
    )  # fmt: skip
    compile_once(train, *problem, np.int64(0), theta[:0], values[:0], returns[:0], steps[:0])

    def block(i: int) -> None:
        part = slice(i * _TRIALS_A_BLOCK, (i + 1) * _TRIALS_A_BLOCK)
        train(*problem, np.int64(part.start), theta[part], values[part], returns[part], steps[part])

    run_blocks(block, -(-trials // _TRIALS_A_BLOCK), threads)
    check_patience(limit, steps < 0)
    capped = int((steps < 0).sum()) if limit < longest else 0
    return ActorCriticTrials(returns, np.abs(steps), capped, unflat(network, theta, n), values)


@njit(cache=True, nogil=True)
def train(
    num_outputs, costs, action_strides, gates, gate_first, read_first, read_axis, read_stride, policy_first, initial,
    move_first, move_successor, move_cumulative, move_reward, first_state, observation, terminal, num_actions, gamma, max_steps,
    step_sizes, critic_step_size, trace_decay, key, first_trial, thetas, values, returns, all_steps,
):  # fmt: skip
    """Train trials first_trial, first_trial + 1, …, one for each row of `thetas`; all_steps is negative where max_steps cut off."""
    m = num_outputs.size
    outputs = np.zeros(2 + 2 * m, dtype=np.int64)
    z_theta, z_w = np.empty(thetas.shape[1]), np.empty(values.shape[1])
    for trial in range(thetas.shape[0]):
        theta, w = thetas[trial], values[trial]
        a, b, c, d = seeded(key, first_trial + trial)
        for episode in range(returns.shape[1]):
            z_theta[:], z_w[:] = 0.0, 0.0
            u, a, b, c, d = uniform(a, b, c, d)
            state = np.searchsorted(first_state, u, side="right")
            for i in range(m):
                u, a, b, c, d = uniform(a, b, c, d)
                outputs[2 + i] = np.searchsorted(initial[i], u, side="right")
            earned, discount, steps = 0.0, 1.0, 0
            while not terminal[state] and steps < max_steps:
                outputs[0] = steps == 0
                outputs[1] = observation[state]
                outputs[2 + m :] = outputs[2 : 2 + m]
                cost, action = 0.0, 0
                for i in range(m):
                    where = find(i, gate_first[i], outputs, read_first, read_axis, read_stride)
                    executed = gates[where] >= 1.0
                    if 0.0 < gates[where] < 1.0:
                        u, a, b, c, d = uniform(a, b, c, d)
                        executed = u < gates[where]
                    if executed:
                        row = find(m + i, policy_first[i], outputs, read_first, read_axis, read_stride)
                        u, a, b, c, d = uniform(a, b, c, d)
                        # z_θ ← γ λ z_θ + γ^t E_t^i ∇ ln π_i(X_t^i, U_t^i); the decay is done at the end of the last step
                        outputs[2 + i] = _draw(theta[row : row + num_outputs[i]], u, discount, z_theta[row : row + num_outputs[i]])
                        if steps > 0:
                            cost += costs[i]
                    action += action_strides[i] * outputs[2 + i]
                u, a, b, c, d = uniform(a, b, c, d)
                move = move_first[state * num_actions + action]
                while u >= move_cumulative[move]:
                    move += 1
                successor, reward = move_successor[move], move_reward[move] - cost
                # δ = R_t + γ v(S_{t+1}) - v(S_t), with v = 0 at the end
                value = 0.0 if terminal[successor] else w[observation[successor]]
                delta = reward + gamma * value - w[observation[state]]
                # z_w ← γ λ z_w + ∇ v(S_t);  w ← w + α_w δ z_w;  θ ← θ + α_θ δ z_θ
                z_w[observation[state]] += 1.0
                for s in range(w.size):
                    w[s] += critic_step_size * delta * z_w[s]
                    z_w[s] *= gamma * trace_decay
                for p in range(theta.size):
                    theta[p] += step_sizes[p] * delta * z_theta[p]
                    z_theta[p] *= gamma * trace_decay
                earned += discount * reward
                discount *= gamma
                state = successor
                steps += 1
            returns[trial, episode] = earned
            all_steps[trial, episode] = steps if terminal[state] else -steps


@njit(cache=True, nogil=True)
def _draw(logits, u, weight, trace):
    """Draw an output from softmax(logits) with the number u, and add weight · ∇ ln π(output) to the trace."""
    largest, total = logits[0], 0.0
    for v in range(1, logits.size):
        largest = max(largest, logits[v])
    for v in range(logits.size):
        total += np.exp(logits[v] - largest)
    output, running = -1, 0.0
    for v in range(logits.size):
        p = np.exp(logits[v] - largest) / total
        running += p
        if output < 0 and u < running:
            output = v
        trace[v] -= weight * p
    if output < 0:  # rounding
        output = int(np.argmax(logits))
    trace[output] += weight
    return output
