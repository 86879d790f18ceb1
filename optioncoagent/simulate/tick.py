"""One tick of a network on an MDP, compiled: the step that every loop which lets coagents draw for themselves takes.

`variables` are those of `wiring`: start, observation, this tick's outputs, the last tick's. a, b, c, d are the state of the stream of
random numbers; it goes in and comes back, so that a compiled loop keeps it in registers.
"""

from __future__ import annotations

import numpy as np

from optioncoagent.compiling import njit
from optioncoagent.simulate.rng import uniform


@njit(cache=True, nogil=True)
def begin(wiring, moves, variables, a, b, c, d):
    """Draw S_0 and the outputs of before the first step, the latter into `variables`. Returns (S_0, stream)."""
    u, a, b, c, d = uniform(a, b, c, d)
    state = np.searchsorted(moves.start, u, side="right")
    for i in range(wiring.num_outputs.size):
        u, a, b, c, d = uniform(a, b, c, d)
        variables[2 + i] = np.searchsorted(wiring.initial[i], u, side="right")
    return state, a, b, c, d


@njit(cache=True, nogil=True, inline="always")
def tick(wiring, moves, table, laws, enter_all, state, steps, variables, entries, a, b, c, d):
    """Every coagent in order, then the environment's answer. Returns (S_{t+1}, R_t less costs, stream); writes variables and entries.

    laws: None, and `table` is the cumulative law of every softmax row; or an array (m, max num_outputs), and `table` holds logits: the law
    that coagent i drew from is written to laws[i]. Numba compiles the two apart. entries (m,): which entry of the flat policies coagent
    i drew, -1 if it did not execute; enter_all: the entry of the output that it has, whether drawn or retained.
    """
    m = wiring.num_outputs.size
    variables[0] = steps == 0
    variables[1] = moves.observation[state]
    variables[2 + m :] = variables[2 : 2 + m]
    cost, action = 0.0, 0
    for i in range(m):
        where = find(i, wiring.gate_first[i], variables, wiring.read_first, wiring.read_axis, wiring.read_stride)
        executed = wiring.gates[where] >= 1.0
        if 0.0 < wiring.gates[where] < 1.0:
            u, a, b, c, d = uniform(a, b, c, d)
            executed = u < wiring.gates[where]
        entries[i] = -1
        if executed or enter_all:
            row = find(m + i, wiring.policy_first[i], variables, wiring.read_first, wiring.read_axis, wiring.read_stride)
            if executed:
                u, a, b, c, d = uniform(a, b, c, d)
                if laws is None:
                    output = 0
                    while u >= table[row + output]:
                        output += 1
                else:
                    output = draw(table[row : row + wiring.num_outputs[i]], u, laws[i])
                variables[2 + i] = output
                if steps > 0:
                    cost += wiring.costs[i]
            entries[i] = row + variables[2 + i]
        action += wiring.action_strides[i] * variables[2 + i]
    u, a, b, c, d = uniform(a, b, c, d)
    move = moves.first[state * moves.num_actions + action]
    while u >= moves.cumulative[move]:
        move += 1
    return moves.successor[move], moves.reward[move] - cost, a, b, c, d


@njit(cache=True, nogil=True)
def find(i, first, variables, read_first, read_axis, read_stride):
    """Where table i has its entry for these variables: first + strides @ variables, over the strides that are not zero."""
    for k in range(read_first[i], read_first[i + 1]):
        first += read_stride[k] * variables[read_axis[k]]
    return first


@njit(cache=True, nogil=True)
def draw(logits, u, law):
    """Draw an output from softmax(logits), which is written to `law`, with the number u."""
    largest, total = logits[0], 0.0
    for v in range(1, logits.size):
        largest = max(largest, logits[v])
    for v in range(logits.size):
        law[v] = np.exp(logits[v] - largest)
        total += law[v]
    output, running = -1, 0.0
    for v in range(logits.size):
        law[v] /= total
        running += law[v]
        if output < 0 and u < running:
            output = v
    return output if output >= 0 else int(np.argmax(logits))  # the running sum was rounded to less than u
