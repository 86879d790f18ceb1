"""Episodes of any coagent network on any MDP, summed up.

Both kernels run episodes first … first + count - 1 and add to `returns` (see `_add_return`) and, if gradients are asked for, to `sums`
(2, num_parameters + 1): Σ g and Σ g² over episodes, where g is one episode's sample of ACPGT (ACN, Theorem 1),

    g = Σ_t γ^t E_t^i (G_t - b(S_t)) ∂ ln π_i(X_t^i, U_t^i) / ∂θ_i,        ∂ ln π(u) / ∂θ(v) = 1{u = v} - π(v) in a row of softmax.

γ^t G_t = G_0 - Σ_{k<t} γ^k R_k is known up to G_0 when step t is taken, so an entry needs only two sums while the episode runs, the visits
and what was earned before each, and nothing is stored step by step.
"""

from __future__ import annotations

import numpy as np

from optioncoagent.compiling import njit
from optioncoagent.simulate.rng import seeded, uniform
from optioncoagent.simulate.tick import begin, tick


@njit(cache=True, nogil=True)
def walk_episodes(table, baseline, row_first, row_of, policy, gamma, max_steps, key, first, count, returns, sums):
    """Episodes by the joint law of the tick (`tables.WalkTable`). baseline: (N,), b at each node. row_first, row_of: rows of `policy`."""
    width, threshold, alias, visits = table.width, table.threshold, table.alias, table.visits
    end, num_visits = baseline.size, visits.shape[1]
    tally, stamp, touched = np.zeros((row_of.size, 2)), np.full(row_first.size, -1), np.empty(row_first.size, dtype=np.int64)
    for episode in range(first, first + count):
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
            earned += discount * table.reward[entry]
            discount *= gamma
            node = np.int64(table.successor[entry])
            steps += 1
        _add_return(returns, earned, steps, node != end)
        if num_visits > 0:
            _add_scores(sums, tally, touched[:num_touched], row_first, policy, earned)


@njit(cache=True, nogil=True)
def draw_episodes(wiring, moves, policy, policy_cumulative, baseline, scores, max_steps, key, first, count, returns, sums):
    """The same episodes, each coagent drawing for itself (`wiring.Wiring`), for networks whose joint table would be too large.

    policy_cumulative: (num_parameters,), cumulative law of each row of `policy`. baseline: (S,). scores: 0 returns only, 1 gradients,
    2 gradients without the execution gate.
    """
    m = wiring.num_outputs.size
    variables, entries = np.zeros(2 + 2 * m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    num_rows = wiring.row_first.size
    tally, stamp, touched = np.zeros((wiring.row_of.size, 2)), np.full(num_rows, -1), np.empty(num_rows, dtype=np.int64)
    for episode in range(first, first + count):
        a, b, c, d = seeded(key, episode)
        state, a, b, c, d = begin(wiring, moves, variables, a, b, c, d)
        earned, discount, steps, num_touched = 0.0, 1.0, 0, 0
        while not moves.terminal[state] and steps < max_steps:
            before = earned + discount * baseline[state]
            state, reward, a, b, c, d = tick(
                wiring, moves, policy_cumulative, None, scores == 2, state, steps, variables, entries, a, b, c, d
            )
            if scores > 0:
                for i in range(m):
                    if entries[i] >= 0:
                        parameter = entries[i]
                        row = wiring.row_of[parameter]
                        tally[parameter, 0] += 1.0
                        tally[parameter, 1] += before
                        if stamp[row] != episode:
                            stamp[row] = episode
                            touched[num_touched] = row
                            num_touched += 1
            earned += discount * reward
            discount *= moves.gamma
            steps += 1
        _add_return(returns, earned, steps, not moves.terminal[state])
        if scores > 0:
            _add_scores(sums, tally, touched[:num_touched], wiring.row_first, policy, earned)


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
