"""The tick loop: episodes of any coagent network on any MDP, summed up.

Both kernels run episodes first … first + count - 1 and add to `returns` (see `_add_return`) and, if gradients are asked for, to `sums`
(2, num_parameters + 1): Σ g and Σ g² over episodes, where g is one episode's sample of ACPGT (ACN, Theorem 1),

    g = Σ_t γ^t E_t^i (G_t - b(S_t)) ∂ ln π_i(X_t^i, U_t^i) / ∂θ_i,        ∂ ln π(u) / ∂θ(v) = 1{u = v} - π(v) in a row of softmax.

γ^t G_t = G_0 - Σ_{k<t} γ^k R_k is known up to G_0 when step t is taken, so an entry needs only two sums while the episode runs, the visits
and what was earned before each, and nothing is stored step by step.
"""

from __future__ import annotations

import numpy as np

from optioncoagent.simulate.compiling import njit
from optioncoagent.simulate.rng import seeded, uniform


@njit(cache=True, nogil=True)
def walk_episodes(
    width, threshold, alias, successor, reward, visits, first_threshold, first_alias, first_node, baseline,
    row_first, row_of, policy, gamma, max_steps, key, first, count, returns, sums,
):  # fmt: skip
    """Episodes by the joint law of the tick (`tables.WalkTable`). baseline: (N,), b at each node. row_first, row_of: rows of `policy`."""
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


@njit(cache=True, nogil=True)
def draw_episodes(
    num_outputs, costs, action_strides, gates, gate_first, read_first, read_axis, read_stride, policy_first, policy_cumulative, initial,
    move_first, move_successor, move_cumulative, move_reward, first_state, observation, terminal, num_actions, baseline, scores,
    row_first, row_of, policy, gamma, max_steps, key, first, count, returns, sums,
):  # fmt: skip
    """The same episodes, each coagent drawing for itself (`wiring.Wiring`), for networks whose joint table would be too large.

    read_first, read_axis, read_stride: the strides of gate i (row i) and policy i (row m + i) that are not zero. first_state: (S,)
    cumulative d0. baseline: (S,). scores: 0 returns only, 1 gradients, 2 gradients without the execution gate.
    """
    m = num_outputs.size
    outputs = np.zeros(2 + 2 * m, dtype=np.int64)  # the variables: start, observation, this tick's outputs, the last tick's
    tally, stamp, touched = np.zeros((row_of.size, 2)), np.full(row_first.size, -1), np.empty(row_first.size, dtype=np.int64)
    for episode in range(first, first + count):
        a, b, c, d = seeded(key, episode)
        u, a, b, c, d = uniform(a, b, c, d)
        state = np.searchsorted(first_state, u, side="right")
        for i in range(m):
            u, a, b, c, d = uniform(a, b, c, d)
            outputs[2 + i] = np.searchsorted(initial[i], u, side="right")
        earned, discount, steps, num_touched = 0.0, 1.0, 0, 0
        while not terminal[state] and steps < max_steps:
            outputs[0] = steps == 0
            outputs[1] = observation[state]
            outputs[2 + m :] = outputs[2 : 2 + m]
            before, cost, action = earned + discount * baseline[state], 0.0, 0
            for i in range(m):
                where = find(i, gate_first[i], outputs, read_first, read_axis, read_stride)
                executed = gates[where] >= 1.0
                if 0.0 < gates[where] < 1.0:
                    u, a, b, c, d = uniform(a, b, c, d)
                    executed = u < gates[where]
                entry = 0
                if executed or scores == 2:
                    entry = find(m + i, policy_first[i], outputs, read_first, read_axis, read_stride)
                if executed:
                    u, a, b, c, d = uniform(a, b, c, d)
                    output = 0
                    while u >= policy_cumulative[entry + output]:
                        output += 1
                    outputs[2 + i] = output
                    if steps > 0:
                        cost += costs[i]
                if scores == 2 or (executed and scores == 1):
                    parameter = entry + outputs[2 + i]
                    row = row_of[parameter]
                    tally[parameter, 0] += 1.0
                    tally[parameter, 1] += before
                    if stamp[row] != episode:
                        stamp[row] = episode
                        touched[num_touched] = row
                        num_touched += 1
                action += action_strides[i] * outputs[2 + i]
            u, a, b, c, d = uniform(a, b, c, d)
            move = move_first[state * num_actions + action]
            while u >= move_cumulative[move]:
                move += 1
            earned += discount * (move_reward[move] - cost)
            discount *= gamma
            state = move_successor[move]
            steps += 1
        _add_return(returns, earned, steps, not terminal[state])
        if scores > 0:
            _add_scores(sums, tally, touched[:num_touched], row_first, policy, earned)


@njit(cache=True, nogil=True)
def find(i, first, variables, read_first, read_axis, read_stride):
    """Where table i has its entry for these variables: first + strides @ variables, over the strides that are not zero."""
    for k in range(read_first[i], read_first[i + 1]):
        first += read_stride[k] * variables[read_axis[k]]
    return first


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
