"""The joint law of one whole tick, tabulated: an episode is then a walk through a table, one draw a step.

A node is what the next tick depends on: the state and the outputs that are remembered (at a first step, what that step alone can see
besides). A transition out of a node is one way the tick and the environment's answer can go: who executes, every output, the successor
state. Its probability, reward and the policy entries that were drawn from are known in advance; each node's law is turned into an alias
table, so that a step costs one random number whatever the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optioncoagent.mdp import MDP
from optioncoagent.mdp.reach import ranges, refuse_endless, spread
from optioncoagent.network import CoagentNetwork, FloatArray, IntArray
from optioncoagent.simulate.alias import build_alias
from optioncoagent.simulate.ticks import Ticks, TooLarge, tick_law
from optioncoagent.simulate.wiring import Dynamics, Wiring, c_strides

MAX_ENTRIES = 1 << 20  # a larger joint table is not built; each coagent then draws for itself
MAX_OUTPUTS = 8 * MAX_ENTRIES  # in all entries together: networks of more than 8 coagents get fewer entries


class WalkTable(NamedTuple):
    """Alias rows of equal width for N nodes; node N is the end of an episode.

    threshold, alias, successor, reward: (N * width,), row `node` from node * width. visits: (N * width, K), the policy entries drawn from,
    num_parameters where a coagent did not execute; K = 0 if gradients were not asked for. state: (N,), the MDP's state.
    first_threshold, first_alias, first_node: the alias table of the first node.
    """

    width: int
    threshold: FloatArray
    alias: NDArray[np.int32]
    successor: NDArray[np.int32]
    reward: FloatArray
    visits: NDArray[np.int32]
    state: IntArray
    first_threshold: FloatArray
    first_alias: NDArray[np.int32]
    first_node: NDArray[np.int32]


@dataclass(frozen=True)
class _Nodes:
    """Every later node, then, where first steps differ from later ones, the first ones.

    state (N,), variables (2 + 2m, N). landing (S,): the later node of each state with memory 0, -1 if terminal; memory_strides (m,) leads
    from there to the node of the outputs. first_node, first_law: law of the first node, N being the end.
    """

    state: IntArray
    variables: IntArray
    landing: IntArray
    memory_strides: IntArray
    first_node: IntArray
    first_law: FloatArray


@dataclass(frozen=True)
class _Transitions:
    """Ways out of nodes, as columns; tick: the way that the network's tick goes; visits (transitions, K)."""

    node: IntArray
    tick: IntArray
    probability: FloatArray
    successor: IntArray
    reward: FloatArray
    visits: IntArray

    def take(self, index: Any, probability: FloatArray) -> _Transitions:
        return replace(
            self,
            probability=probability,
            **{name: getattr(self, name)[index] for name in ("node", "tick", "successor", "reward", "visits")},
        )

    def with_visits(self, visit: IntArray) -> _Transitions:
        """One visit each, (transitions,), in place of the entries drawn from."""
        return replace(self, visits=visit[:, None])


class Steps(NamedTuple):
    """Everything that can happen in one step, at every node: see `_Nodes`, `ticks.Ticks`, `_Transitions`."""

    nodes: _Nodes
    ticks: Ticks
    transitions: _Transitions


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
    """Tabulate the tick at every node; None if the table would have more than `MAX_ENTRIES` entries or `MAX_OUTPUTS` outputs in them.

    policies: (num_parameters,) probabilities. gradients: keep who executed and what was drawn. gated: False records an output whether or
    not its coagent executed, which is what the estimate that drops E_t^i sums. must_end: raise the ValueError of `check_ends`,
    or without a table that of `check_ends_anywhere`.
    """
    try:
        nodes, _, transitions = enumerate_steps(mdp, network, policies, wiring, moves, gated)
    except TooLarge:
        if must_end:
            check_ends_anywhere(mdp)
        return None
    if must_end:
        check_ends(transitions.node, transitions.successor, nodes.first_node, nodes.state)
    try:
        return alias_rows(nodes, transitions if gradients else _merged(transitions), wiring.num_parameters, _limit(network))
    except TooLarge:
        return None


def _limit(network: CoagentNetwork) -> int:
    return min(MAX_ENTRIES, MAX_OUTPUTS // len(network.names))


def enumerate_steps(mdp: MDP, network: CoagentNetwork, policies: FloatArray, wiring: Wiring, moves: Dynamics, gated: bool = True) -> Steps:
    """Everything that can happen in one step at every node. Raises TooLarge if that is more than `walk_table` takes."""
    limit = _limit(network)
    nodes = _lay_out(mdp, network, gated, limit)
    ticks = tick_law(policies, wiring, nodes.variables, gated, limit)
    return Steps(nodes, ticks, _with_moves(mdp, moves, wiring, nodes, ticks, limit))


def check_ends(node: IntArray, successor: IntArray, first_node: IntArray, state: IntArray) -> None:
    """The ValueError of `refuse_endless`, naming a state, if a node that can be reached cannot reach the end."""
    end = state.size
    starts, ends = np.zeros(end + 1, dtype=bool), np.arange(end + 1) == end
    starts[first_node] = True
    stuck = np.flatnonzero(spread(node, successor, starts) & ~spread(successor, node, ends))
    refuse_endless(f"state {state[stuck.min()]}" if stuck.size else "", stuck.size, ", give max_steps")


def check_ends_anywhere(mdp: MDP) -> None:
    """The ValueError of `refuse_endless`, naming a state, if from one that an episode starts in no actions whatever lead to the end."""
    P = mdp.transition_matrix.tocoo()
    possible = P.data > 0
    state, successor = (index[possible].astype(np.int64) for index in (P.row // mdp.num_actions, P.col))
    stuck = np.flatnonzero((mdp.d0 > 0) & ~spread(successor, state, mdp.terminal))
    refuse_endless(f"state {stuck.min()}" if stuck.size else "", stuck.size, ", give max_steps")


def _lay_out(mdp: MDP, network: CoagentNetwork, gated: bool, limit: int) -> _Nodes:
    """Number the nodes. Raises TooLarge if there are too many."""
    m, names = len(network.names), network.names
    remembered = [i for i in range(m) if names[i] in network.memory or not gated]
    seen_first = [i for i in range(m) if names[i] in network.carried or not gated]
    sizes = [network.num_outputs[i] for i in remembered]
    num_memories, alive = math.prod(sizes), np.flatnonzero(~mdp.terminal)
    first_state, first_variables, first_law = _first_nodes(mdp, network, seen_first, limit)
    if alive.size * num_memories > limit:
        raise TooLarge
    landing, memory_strides = np.full(mdp.num_states, -1), np.zeros(m, dtype=np.int64)
    landing[alive] = num_memories * np.arange(alive.size)
    memory_strides[remembered] = c_strides(tuple(sizes))

    # later nodes: every state that is not terminal with every memory
    state, memory = np.repeat(alive, num_memories), np.tile(np.arange(num_memories), alive.size)
    variables = np.zeros((2 + 2 * m, state.size), dtype=np.int64)
    for i, size in zip(remembered, sizes, strict=True):
        variables[2 + m + i] = memory // memory_strides[i] % size

    # first nodes: of their own, unless a first step is like any other
    start_matters = any(turn.cost or turn.gate.start for turn in network.plan(network.action))
    if start_matters or seen_first != remembered:
        first_node = state.size + np.arange(first_state.size)
        state, variables = np.concatenate((state, first_state)), np.concatenate((variables, first_variables), axis=1)
    else:
        first_node = landing[first_state] + memory_strides @ first_variables[2 + m :]
    variables[1] = mdp.observation[state]
    over_at_once = float(mdp.d0[mdp.terminal].sum())
    if over_at_once > 0:
        first_node, first_law = np.append(first_node, state.size), np.append(first_law, over_at_once)
    return _Nodes(state, variables, landing, memory_strides, first_node, first_law)


def _first_nodes(mdp: MDP, network: CoagentNetwork, seen: list[int], limit: int) -> tuple[IntArray, IntArray, FloatArray]:
    """States, variables and law of the first nodes: S_0 ~ d0, U_{-1}^i ~ h_0^i for all outputs that a first tick can see."""
    m = len(network.names)
    states = np.flatnonzero((mdp.d0 > 0) & ~mdp.terminal)
    variables, law, state = np.zeros((2 + 2 * m, states.size), dtype=np.int64), mdp.d0[states], states
    variables[0] = 1
    for i in seen:
        initial = network.initial(network.names[i])
        support = np.flatnonzero(initial)
        if state.size * support.size > limit:
            raise TooLarge
        repeated = np.repeat(np.arange(state.size), support.size)
        values = np.tile(support, state.size)
        variables, law, state = variables[:, repeated], law[repeated] * initial[values], state[repeated]
        variables[2 + m + i] = values
    return state, variables, law


def _with_moves(mdp: MDP, moves: Dynamics, wiring: Wiring, nodes: _Nodes, ticks: Ticks, limit: int) -> _Transitions:
    """Follow each tick with each of the environment's answers. Raises TooLarge if there are too many."""
    m, end = wiring.num_outputs.size, nodes.state.size
    outputs = ticks.variables[2 : 2 + m]
    row = nodes.state[ticks.node] * mdp.num_actions + wiring.action_strides @ outputs
    counts = moves.first[row + 1] - moves.first[row]
    if counts.sum() > limit:
        raise TooLarge
    tick = np.repeat(np.arange(row.size), counts)
    move = ranges(moves.first[row], moves.first[row + 1])
    landing, memory = nodes.landing[moves.successor[move]], nodes.memory_strides @ outputs
    return _Transitions(
        node=ticks.node[tick],
        tick=tick,
        probability=ticks.probability[tick] * moves.probability[move],
        successor=np.where(landing >= 0, landing + memory[tick], end),
        reward=moves.reward[move] - ticks.cost[tick],
        visits=ticks.visits[:, tick].T,
    )


def _merged(transitions: _Transitions) -> _Transitions:
    """Add up transitions that a return cannot tell apart, and forget what was drawn."""
    order = np.lexsort((transitions.reward, transitions.successor, transitions.node))
    ordered = transitions.take(order, transitions.probability[order])
    new = np.ones(order.size, dtype=bool)
    for column in (ordered.node, ordered.successor, ordered.reward):
        new[1:] &= column[1:] == column[:-1]
    new[1:] = ~new[1:]
    first = np.flatnonzero(new)
    merged = ordered.take(first, np.add.reduceat(ordered.probability, first) if first.size else ordered.probability)
    return replace(merged, visits=merged.visits[:, :0])


def alias_rows(nodes: _Nodes, transitions: _Transitions, nobody: int, limit: int) -> WalkTable:
    """Scatter transitions into rows of equal width and build each row's alias table. Raises TooLarge if there is too much to fill up.
    nobody: what stands for visits where there is nothing."""
    end = nodes.state.size
    order = np.argsort(transitions.node, kind="stable")
    counts = np.bincount(transitions.node, minlength=end)
    width = int(counts.max(initial=1))
    if end * width > 2 * limit:
        raise TooLarge
    node = transitions.node[order]
    slot = node * width + np.arange(node.size) - (np.cumsum(counts) - counts)[node]
    law = np.zeros(end * width)
    law[slot] = transitions.probability[order]
    successor, reward = np.full(law.size, end, dtype=np.int32), np.zeros(law.size)
    visits = np.full((law.size, transitions.visits.shape[1]), nobody, dtype=np.int32)
    successor[slot], reward[slot], visits[slot] = transitions.successor[order], transitions.reward[order], transitions.visits[order]
    first_law = np.ascontiguousarray(nodes.first_law)
    return WalkTable(
        width, *build_alias(law, width), successor, reward, visits, nodes.state,
        *build_alias(first_law, first_law.size), nodes.first_node.astype(np.int32),
    )  # fmt: skip
