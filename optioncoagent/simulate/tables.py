"""The joint law of one whole tick, tabulated: an episode is then a walk through a table, one draw a step.

A node is what the next tick depends on: the state and the outputs that are remembered (at a first step, all outputs that can be
retained). A transition out of a node is one way the tick and the environment's answer can go: who executes, every output, the successor
state. Its probability, reward and the policy entries that were drawn from are known in advance; each node's law is turned into an alias
table (Walker 1977; Vose 1991), so that a step costs one random number whatever the network.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order

from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork
from optioncoagent.simulate.wiring import Dynamics, FloatArray, IntArray, Wiring

MAX_ENTRIES = 1 << 21  # a larger joint table is not built; each coagent then draws for itself


@dataclass(frozen=True)
class WalkTable:
    """Alias rows of equal width for N nodes; node N is the end of an episode.

    threshold, alias, successor, reward: (N * width,), row `node` from node * width. visits: (N * width, K), the policy entries drawn from,
    num_parameters where a coagent did not execute; K = 0 if gradients were not asked for. state: (N,), the MDP's state.
    start_threshold, start_alias, start_node: the alias table of the first node.
    """

    width: int
    threshold: FloatArray
    alias: NDArray[np.int32]
    successor: NDArray[np.int32]
    reward: FloatArray
    visits: NDArray[np.int32]
    state: IntArray
    start_threshold: FloatArray
    start_alias: NDArray[np.int32]
    start_node: NDArray[np.int32]


@dataclass
class _Ticks:
    """Partial ticks as columns: the node they leave, their probability, the variables of `wiring`, entries drawn from, cost so far."""

    node: IntArray
    probability: FloatArray
    variables: IntArray
    visits: IntArray
    cost: FloatArray

    def take(self, index: IntArray, factor: FloatArray) -> _Ticks:
        return _Ticks(self.node[index], self.probability[index] * factor, self.variables[:, index], self.visits[:, index], self.cost[index])


def walk_table(
    mdp: MDP,
    network: CoagentNetwork,
    policies: FloatArray,
    wiring: Wiring,
    moves: Dynamics,
    gradients: bool = False,
    gated: bool = True,
    must_end: bool = False,
) -> WalkTable | None:
    """Tabulate the tick at every node; None if the table would have more than `MAX_ENTRIES` entries.

    policies: (num_parameters,) probabilities. gradients: keep who executed and what was drawn. gated: False records an output whether or
    not its coagent executed, which is what the estimate that drops E_t^i sums. must_end: raise the ValueError of `check_ends`.
    """
    m = len(network.names)
    remembered = [i for i, name in enumerate(network.names) if name in network.memory or not gated]
    sizes = [network.num_outputs[i] for i in remembered]
    num_memories = int(np.prod(sizes, dtype=np.int64))
    alive = np.flatnonzero(~mdp.terminal)
    if alive.size * num_memories > MAX_ENTRIES:
        return None
    position = np.full(mdp.num_states, -1)
    position[alive] = np.arange(alive.size)

    # later nodes: every state that is not terminal with every memory
    state = np.repeat(alive, num_memories)
    later = np.zeros((2 + 2 * m, state.size), dtype=np.int64)
    for i, values in zip(remembered, np.unravel_index(np.tile(np.arange(num_memories), alive.size), sizes or (1,)), strict=False):
        later[2 + m + i] = values
    retained = [i for i, name in enumerate(network.names) if i in remembered or network.may_retain(name, start=True)]
    first = _first_nodes(mdp, network, retained)
    if first is None:
        return None
    start_state, start_variables, start_law = first
    same = not any(network.touched[name].start for name in network.names) and not wiring.costs.any()
    end = alive.size * num_memories
    if same and retained == remembered:
        start_node = position[start_state] * num_memories + _memory_index(start_variables[2 + m :], remembered, sizes)
        variables = later
    else:  # first steps differ from later ones: they get nodes of their own
        start_node = end + np.arange(start_state.size)
        state, variables = np.concatenate((state, start_state)), np.concatenate((later, start_variables), axis=1)
        end += start_state.size
    variables[1] = mdp.observation[state]

    ticks = _tick_law(policies, wiring, variables, gated, MAX_ENTRIES)
    if ticks is None:
        return None
    index = _memory_index(ticks.variables[2 : 2 + m], remembered, sizes)
    entries = _with_moves(mdp, moves, wiring, state, ticks, index, position, num_memories, end, MAX_ENTRIES)
    if entries is None:
        return None
    node, probability, successor, reward, visits = entries
    if not gradients:
        node, probability, successor, reward = _merged(node, probability, successor, reward)
        visits = np.zeros((node.size, 0), dtype=np.int64)
    mass_at_end = float(mdp.d0[mdp.terminal].sum())
    if mass_at_end > 0:
        start_node, start_law = np.append(start_node, end), np.append(start_law, mass_at_end)
    if must_end:
        check_ends(node, successor, start_node, end, state)
    return _alias_rows(node, probability, successor, reward, visits, state, wiring.num_parameters, start_node, start_law, end)


def check_ends(node: IntArray, successor: IntArray, start_node: IntArray, end: int, state: IntArray) -> None:
    """ValueError, naming a state, if a node that can be reached cannot reach the end: with γ = 1 its return does not exist."""
    ones = np.ones(node.size + start_node.size, dtype=np.int8)
    source = end + 1  # leads to every first node
    edges = (np.concatenate((node, np.full(start_node.size, source))), np.concatenate((successor, start_node)))
    graph = sp.csr_array((ones, edges), shape=(end + 2, end + 2))
    reached = breadth_first_order(graph, source, return_predecessors=False)
    ending = np.zeros(end + 2, dtype=bool)
    ending[breadth_first_order(graph.T.tocsr(), end, return_predecessors=False)] = True
    stuck = reached[~ending[reached] & (reached < end)]
    if stuck.size:
        raise ValueError(
            f"γ = 1, and from state {state[stuck.min()]}, which can be reached, no end can: the return does not exist. Give max_steps, "
            "γ < 1 or a terminal state"
        )


def _first_nodes(mdp: MDP, network: CoagentNetwork, retained: list[int]) -> tuple[IntArray, IntArray, FloatArray] | None:
    """States, variables and law of the first nodes: S_0 ~ d0, U_{-1}^i ~ h_0^i for all outputs that a first tick can see."""
    m = len(network.names)
    states = np.flatnonzero((mdp.d0 > 0) & ~mdp.terminal)
    variables, law, state = np.zeros((2 + 2 * m, states.size), dtype=np.int64), mdp.d0[states], states
    variables[0] = 1
    for i in retained:
        initial = network.initial(network.names[i])
        support = np.flatnonzero(initial)
        if state.size * support.size > MAX_ENTRIES:
            return None
        repeated = np.repeat(np.arange(state.size), support.size)
        values = np.tile(support, state.size)
        variables, law, state = variables[:, repeated], law[repeated] * initial[values], state[repeated]
        variables[2 + m + i] = values
    return state, variables, law


def _tick_law(policies: FloatArray, wiring: Wiring, variables: IntArray, gated: bool, limit: int) -> _Ticks | None:
    """Every way the tick can go from every node, coagent by coagent in order; None beyond `limit` ways."""
    m, n = wiring.num_outputs.size, variables.shape[1]
    ticks = _Ticks(np.arange(n), np.ones(n), variables, np.full((m, n), wiring.num_parameters), np.zeros(n))
    for i in range(m):
        gate = wiring.gates[wiring.gate_first[i] + wiring.gate_strides[i] @ ticks.variables]
        retaining, executing = np.flatnonzero(gate < 1), np.flatnonzero(gate > 0)
        outputs = int(wiring.num_outputs[i])
        if retaining.size + executing.size * outputs > limit:
            return None

        # E_t^i = 0: U_t^i = U_{t-1}^i
        kept = ticks.take(retaining, 1 - gate[retaining])
        kept.variables[2 + i] = kept.variables[2 + m + i]
        if not gated:
            row = wiring.policy_first[i] + wiring.policy_strides[i] @ kept.variables
            kept.visits[i] = row + kept.variables[2 + i]

        # E_t^i = 1: U_t^i ~ π_i(X_t^i, ·)
        drawn = ticks.take(np.repeat(executing, outputs), np.repeat(gate[executing], outputs))
        drawn.variables[2 + i] = np.tile(np.arange(outputs), executing.size)
        entry = wiring.policy_first[i] + wiring.policy_strides[i] @ drawn.variables + drawn.variables[2 + i]
        drawn.visits[i] = entry
        drawn.probability *= policies[entry]
        drawn.cost += np.where(drawn.variables[0] == 1, 0.0, wiring.costs[i])

        both = _Ticks(*(np.concatenate((getattr(kept, f.name), getattr(drawn, f.name)), axis=-1) for f in fields(_Ticks)))
        possible = np.flatnonzero(both.probability > 0)
        ticks = both.take(possible, np.ones(possible.size))
    return ticks


def _with_moves(mdp, moves, wiring, state, ticks, memory, position, num_memories, end, limit):
    """Follow each tick with each of the environment's answers."""
    m = wiring.num_outputs.size
    row = state[ticks.node] * mdp.num_actions + wiring.action_strides @ ticks.variables[2 : 2 + m]
    counts = moves.first[row + 1] - moves.first[row]
    if counts.sum() > limit:
        return None
    tick = np.repeat(np.arange(row.size), counts)
    move = np.repeat(moves.first[row] - np.concatenate(([0], np.cumsum(counts)[:-1])), counts) + np.arange(tick.size)
    landed = position[moves.successor[move]]
    successor = np.where(landed >= 0, landed * num_memories + memory[tick], end)
    probability = ticks.probability[tick] * moves.probability[move]
    return ticks.node[tick], probability, successor, moves.reward[move] - ticks.cost[tick], ticks.visits[:, tick].T


def _merged(node: IntArray, probability: FloatArray, successor: IntArray, reward: FloatArray):
    """Add up transitions that a return cannot tell apart."""
    order = np.lexsort((reward, successor, node))
    node, probability, successor, reward = node[order], probability[order], successor[order], reward[order]
    new = np.ones(node.size, dtype=bool)
    new[1:] = (node[1:] != node[:-1]) | (successor[1:] != successor[:-1]) | (reward[1:] != reward[:-1])
    return node[new], np.add.reduceat(probability, np.flatnonzero(new)) if node.size else probability, successor[new], reward[new]


def _alias_rows(node, probability, successor, reward, visits, state, nobody, start_node, start_law, end):
    """Scatter transitions into rows of equal width and build each row's alias table."""
    order = np.argsort(node, kind="stable")
    counts = np.bincount(node, minlength=end)
    width = int(counts.max(initial=1))
    if end * width > 2 * MAX_ENTRIES:
        return None
    first = np.concatenate(([0], np.cumsum(counts)))[node[order]]
    slot = node[order] * width + np.arange(node.size) - first
    law = np.zeros(end * width)
    law[slot] = probability[order]
    threshold, alias = build_alias(law, width)
    start_threshold, start_alias = build_alias(np.ascontiguousarray(start_law), start_law.size)
    table = WalkTable(
        width=width,
        threshold=threshold,
        alias=alias,
        successor=np.full(law.size, end, dtype=np.int32),
        reward=np.zeros(law.size),
        visits=np.full((law.size, visits.shape[1]), nobody, dtype=np.int32),
        state=state,
        start_threshold=start_threshold,
        start_alias=start_alias,
        start_node=start_node.astype(np.int32),
    )
    table.successor[slot], table.reward[slot], table.visits[slot] = successor[order], reward[order], visits[order]
    return table


def _memory_index(outputs: IntArray, remembered: list[int], sizes: list[int]) -> IntArray:
    index = np.zeros(outputs.shape[1], dtype=np.int64)
    for i, size in zip(remembered, sizes, strict=True):
        index = index * size + outputs[i]
    return index


@njit(cache=True, nogil=True)
def build_alias(law: FloatArray, width: int) -> tuple[FloatArray, NDArray[np.int32]]:
    """Alias tables of rows of `width` entries: draw k uniformly, keep it with probability threshold[k], else take alias[k] (Vose 1991)."""
    threshold, alias = np.ones(law.size), np.arange(law.size).astype(np.int32)
    scaled, stack = np.empty(width), np.empty(width, dtype=np.int64)
    for first in range(0, law.size, width):
        total = law[first : first + width].sum()
        if total <= 0:
            continue
        small, large = 0, width  # the stack holds small entries from the left, large ones from the right
        for k in range(width):
            scaled[k] = law[first + k] * width / total
            if scaled[k] < 1:
                stack[small] = k
                small += 1
            else:
                large -= 1
                stack[large] = k
        while small > 0 and large < width:
            small -= 1
            k, rich = stack[small], stack[large]
            threshold[first + k] = scaled[k]
            alias[first + k] = first + rich
            scaled[rich] -= 1 - scaled[k]
            if scaled[rich] < 1:
                large += 1
                stack[small] = rich
                small += 1
        while small > 0:  # rounding left them a hair below 1; an entry of probability 0 must not be drawn
            small -= 1
            k = stack[small]
            if scaled[k] < 0.5:
                threshold[first + k] = 0.0
                alias[first + k] = first + np.argmax(law[first : first + width])
    return threshold, alias
