"""Episodes of any coagent network on any MDP, summed up.

`walk_episodes`, and `draw_episodes` with a `Sample`, run episodes first … first + count - 1 and add to `returns` (see `_add_return`) and,
if gradients are asked for, to `sums` (2, num_parameters + 1): Σ g and Σ g² over episodes, where g is one episode's sample of ACPGT (ACN,
Theorem 1); `add_contributions` has g from a table, and `draw_episodes` with a `Trial` learns.

    g = Σ_t γ^t E_t^i (G_t - b(S_t)) ∂ ln π_i(X_t^i, U_t^i) / ∂θ_i,        ∂ ln π(u) / ∂θ(v) = 1{u = v} - π(v) in a row of softmax.

γ^t G_t = G_0 - Σ_{k<t} γ^k R_k is known up to G_0 when step t is taken, so an entry needs only two sums while the episode runs, the visits
and what was earned before each, and nothing is stored step by step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from optioncoagent.compiling import njit
from optioncoagent.network import FloatArray, IntArray
from optioncoagent.simulate.rng import seeded, uniform


@njit(cache=True, nogil=True)
def walk_episodes(table, baseline, row_first, row_of, policy, gamma, returns, sums, max_steps, key, first, count):
    """Episodes by the joint law of the tick (`tables.WalkTable`). baseline: (N,), b at each node. row_first, row_of: rows of `policy`."""
    # looked up once: a named tuple's field counts references each time
    width, threshold, alias, visits, successor, reward = (
        table.width, table.threshold, table.alias, table.visits, table.successor, table.reward,
    )  # fmt: skip
    first_threshold, first_alias, first_node = table.first_threshold, table.first_alias, table.first_node
    end, num_visits = baseline.size, visits.shape[1]
    tally, stamp, touched = np.zeros((row_of.size, 2)), np.full(row_first.size, -1), np.empty(row_first.size, dtype=np.int64)
    for episode in range(first, first + count):
        a, b, c, d = seeded(key, episode)
        u, a, b, c, d = uniform(a, b, c, d)
        u *= first_node.size
        k = np.int64(u)
        node = np.int64(first_node[k if u - k < first_threshold[k] else first_alias[k]])
        earned, discount, steps, num_touched = 0.0, 1.0, 0, 0
        while node != end and steps < max_steps:
            u, a, b, c, d = uniform(a, b, c, d)
            u *= width
            k = np.int64(u)
            entry, other = node * width + k, np.int64(alias[node * width + k])
            entry = entry if u - k < threshold[entry] else other
            if num_visits > 0:
                before = earned + discount * baseline[node]
                for j in range(num_visits):
                    parameter = visits[entry, j]
                    row = row_of[parameter]
                    tally[parameter, 0] += 1.0
                    tally[parameter, 1] += before
                    # append without a branch: written always, counted if new; the place after the last is spare
                    touched[num_touched] = row
                    num_touched += stamp[row] != episode
                    stamp[row] = episode
            earned += discount * reward[entry]
            discount *= gamma
            node = np.int64(successor[entry])
            steps += 1
        _add_return(returns, earned, steps, node != end)
        if num_visits > 0:
            _add_scores(sums, tally, touched[:num_touched], row_first, policy, earned)


class Contributions(NamedTuple):
    """What a step adds to the estimate of the gradient, times γ^t: numbers first[v] … first[v + 1] at these parameters, v being the visit
    that a `tables.WalkTable` has for its entry. sums: what is added to.
    """

    first: IntArray
    parameter: IntArray
    number: FloatArray
    sums: FloatArray


@njit(cache=True, nogil=True)
def add_contributions(table, contributions, gamma, returns, max_steps, key, begin, count):
    """Episodes by the joint law of the tick, g = Σ_t γ^t (what step t adds), as a table has it, in place of a score times a return."""
    width, threshold, alias, visits = table.width, table.threshold, table.alias, table.visits
    first, parameter, number, sums = contributions.first, contributions.parameter, contributions.number, contributions.sums
    end, size = table.state.size, sums.shape[1] - 1
    g, stamp, touched = np.zeros(size), np.full(size, -1), np.empty(size + 1, dtype=np.int64)
    for episode in range(begin, begin + count):
        a, b, c, d = seeded(key, episode)
        u, a, b, c, d = uniform(a, b, c, d)
        u *= table.first_node.size
        k = np.int64(u)
        node = np.int64(table.first_node[k if u - k < table.first_threshold[k] else table.first_alias[k]])
        earned, discount, steps, num_touched = 0.0, 1.0, 0, 0
        while node != end and steps < max_steps:
            u, a, b, c, d = uniform(a, b, c, d)
            u *= width
            k = np.int64(u)
            entry, other = node * width + k, np.int64(alias[node * width + k])
            entry = entry if u - k < threshold[entry] else other
            v = visits[entry, 0]
            for j in range(first[v], first[v + 1]):
                p = parameter[j]
                g[p] += discount * number[j]
                touched[num_touched] = p
                num_touched += stamp[p] != episode
                stamp[p] = episode
            earned += discount * table.reward[entry]
            discount *= gamma
            node = np.int64(table.successor[entry])
            steps += 1
        _add_return(returns, earned, steps, node != end)
        for p in touched[:num_touched]:
            sums[0, p] += g[p]
            sums[1, p] += g[p] * g[p]
            g[p] = 0.0


class Sample(NamedTuple):
    """What estimates are made of. policy (num_parameters + 1,), cumulative (num_parameters,): each softmax row and its running sums.
    baseline (S,). scores: 0 returns only, 1 gradients, 2 gradients without the execution gate. returns, sums: what is added to.
    """

    policy: FloatArray
    cumulative: FloatArray
    baseline: FloatArray
    scores: int
    returns: FloatArray
    sums: FloatArray


class Trial(NamedTuple):
    """One trial of actor-critic: logits theta and step sizes (num_parameters,), values v (num_observations,); horizon: of the MDP, 0 if
    it has none; returns, steps (episodes,): of each episode, steps negative where max_steps cut it off.
    """

    theta: FloatArray
    values: FloatArray
    step_sizes: FloatArray
    critic_step_size: float
    trace_decay: float
    horizon: int
    returns: FloatArray
    steps: IntArray


@njit(cache=True, nogil=True)
def draw_episodes(wiring, moves, sample, learner, max_steps, key, first, count):
    """The same episodes, each coagent drawing for itself (`wiring.Wiring`): to be summed up where the joint table would be too large,
    or to be learned from, by Sutton & Barto's actor-critic with eligibility traces. One of sample and learner is None: Numba
    drops what stands under `is not None` of it, and so compiles a loop for each.
    """
    num_outputs, costs, action_strides, gates, gate_first = (
        wiring.num_outputs, wiring.costs, wiring.action_strides, wiring.gates, wiring.gate_first,
    )  # fmt: skip
    read_first, read_axis, read_stride, policy_first, row_of = (
        wiring.read_first, wiring.read_axis, wiring.read_stride, wiring.policy_first, wiring.row_of,
    )  # fmt: skip
    move_first, move_successor, move_cumulative, move_reward = moves.first, moves.successor, moves.cumulative, moves.reward
    observation, terminal, num_actions, gamma = moves.observation, moves.terminal, moves.num_actions, moves.gamma
    m = num_outputs.size
    scores = 0
    if sample is not None:
        cumulative, baseline, scores = sample.cumulative, sample.baseline, sample.scores
        num_rows = wiring.row_first.size
        tally, stamp, touched = np.zeros((row_of.size, 2)), np.full(num_rows, -1), np.empty(num_rows, dtype=np.int64)
    if learner is not None:
        theta, w, z_theta, z_w = learner.theta, learner.values, np.zeros(learner.theta.size), np.zeros(learner.values.size)
        step_sizes, critic_step_size, decay = learner.step_sizes, learner.critic_step_size, gamma * learner.trace_decay
        horizon = learner.horizon
    variables = np.zeros(2 + 2 * m, dtype=np.int64)
    for episode in range(first, first + count):
        a, b, c, d = seeded(key, episode)
        state, a, b, c, d = _begin(wiring.initial, moves.start, variables, a, b, c, d)
        earned, discount, steps, num_touched = 0.0, 1.0, 0, 0
        if learner is not None:
            z_theta[:], z_w[:] = 0.0, 0.0
        while not terminal[state] and steps < max_steps:
            variables[0] = steps == 0
            variables[1] = observation[state]
            variables[2 + m :] = variables[2 : 2 + m]
            cost, action = 0.0, 0
            if sample is not None:
                before = earned + discount * baseline[state]
            for i in range(m):
                where = _find(i, gate_first[i], variables, read_first, read_axis, read_stride)
                executed = gates[where] >= 1.0
                if 0.0 < gates[where] < 1.0:
                    u, a, b, c, d = uniform(a, b, c, d)
                    executed = u < gates[where]
                row = 0
                if executed or scores == 2:
                    row = _find(m + i, policy_first[i], variables, read_first, read_axis, read_stride)
                if executed:
                    u, a, b, c, d = uniform(a, b, c, d)
                    if sample is not None:
                        output = 0
                        while u >= cumulative[row + output]:
                            output += 1
                        variables[2 + i] = output
                    if learner is not None:
                        # z_θ ← γ λ z_θ + γ^t E_t^i ∇ ln π_i(X_t^i, U_t^i); the decay was done at the end of the last step
                        variables[2 + i] = _draw(theta[row : row + num_outputs[i]], u, discount, z_theta[row : row + num_outputs[i]])
                    if steps > 0:
                        cost += costs[i]
                if sample is not None:
                    if scores == 2 or (executed and scores == 1):
                        parameter = row + variables[2 + i]
                        tally[parameter, 0] += 1.0
                        tally[parameter, 1] += before
                        if stamp[row_of[parameter]] != episode:
                            stamp[row_of[parameter]] = episode
                            touched[num_touched] = row_of[parameter]
                            num_touched += 1
                action += action_strides[i] * variables[2 + i]
            u, a, b, c, d = uniform(a, b, c, d)
            move = move_first[state * num_actions + action]
            while u >= move_cumulative[move]:
                move += 1
            successor, reward = move_successor[move], move_reward[move] - cost
            if learner is not None:
                # δ = R_t + γ v(S_{t+1}) - v(S_t), with v = 0 at the end
                value = 0.0 if terminal[successor] or steps + 1 == horizon else w[observation[successor]]
                delta = reward + gamma * value - w[observation[state]]
                # z_w ← γ λ z_w + ∇ v(S_t);  w ← w + α_w δ z_w;  θ ← θ + α_θ δ z_θ
                z_w[observation[state]] += 1.0
                for s in range(w.size):
                    w[s] += critic_step_size * delta * z_w[s]
                    z_w[s] *= decay
                for p in range(theta.size):
                    theta[p] += step_sizes[p] * delta * z_theta[p]
                    z_theta[p] *= decay
            earned += discount * reward
            discount *= gamma
            state = successor
            steps += 1
        if sample is not None:
            _add_return(sample.returns, earned, steps, not terminal[state])
            if scores > 0:
                _add_scores(sample.sums, tally, touched[:num_touched], wiring.row_first, sample.policy, earned)
        if learner is not None:
            learner.returns[episode - first] = earned
            learner.steps[episode - first] = steps if terminal[state] or steps == horizon else -steps


@njit(cache=True, nogil=True)
def _begin(initial, start, variables, a, b, c, d):
    """Draw S_0 and the outputs of before the first step, the latter into `variables`. Returns (S_0, stream)."""
    u, a, b, c, d = uniform(a, b, c, d)
    state = np.searchsorted(start, u, side="right")
    for i in range(initial.shape[0]):
        u, a, b, c, d = uniform(a, b, c, d)
        variables[2 + i] = np.searchsorted(initial[i], u, side="right")
    return state, a, b, c, d


@njit(cache=True, nogil=True)
def _find(i, first, variables, read_first, read_axis, read_stride):
    """Where table i has its entry for these variables: first + strides @ variables, over the strides that are not zero."""
    for k in range(read_first[i], read_first[i + 1]):
        first += read_stride[k] * variables[read_axis[k]]
    return first


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
    if output < 0:  # the running sum was rounded to less than u
        output = int(np.argmax(logits))
    trace[output] += weight
    return output


@njit(cache=True, nogil=True)
def _add_return(returns, value, steps, capped):
    """Welford's update: returns[0] mean, [1] Σ (G - mean)², [2] episodes, [3] steps, [4] capped."""
    returns[2] += 1.0
    deviation = value - returns[0]
    returns[0] += deviation / returns[2]
    returns[1] += deviation * (value - returns[0])
    returns[3] += steps
    returns[4] += capped


@njit(cache=True, nogil=True)
def _add_scores(sums, tally, touched, row_first, policy, value):
    """Add g and g² of one episode, row by row that it touched, and clear the tally."""
    for row in touched:
        begin, stop = row_first[row], row_first[row + 1]
        total = 0.0
        for p in range(begin, stop):
            tally[p, 0] = tally[p, 0] * value - tally[p, 1]  # Σ γ^t (G_t - b) over the visits that drew this output
            total += tally[p, 0]
        for p in range(begin, stop):
            g = tally[p, 0] - policy[p] * total
            sums[0, p] += g
            sums[1, p] += g * g
            tally[p, 0] = 0.0
            tally[p, 1] = 0.0
