"""What the parameters do not change: which nodes a chain has, and where its transition matrix has entries.

A node of the chain is (S_t, U_{t-1}^mem): the state and the previous outputs that are memory. First steps stand apart: they are visited
once, never come back, and may read previous outputs that no later step can see, so they are swept but never solved for. Of all nodes only
those that can be reached count, and terminal states end the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optioncoagent.exact.layout import Edges, Layout
from optioncoagent.exact.solve import Pattern
from optioncoagent.exact.tick import INSTEAD, MAX_NUMBERS, Nodes, Tick
from optioncoagent.mdp import MDP
from optioncoagent.mdp.reach import spread
from optioncoagent.network import CoagentNetwork, FloatArray, IntArray


class _Moves(NamedTuple):
    """What can happen from a batch of nodes: the tick; the law of its final outputs (N, M, R), of which only the support counts; node and
    edge (k,), every edge out of every node; possible (k, M) bool, can the step go along the edge and leave this memory?"""

    tick: Tick
    law: FloatArray
    node: IntArray
    edge: IntArray
    possible: NDArray[np.bool_]


class Structure:
    """The nodes of the chain and the pattern of its transition matrix, given which outputs have probability zero (support, {name: 0 or 1}).

    everything: nodes for every live state and memory value, not only for those that can be reached.

    Attributes: nodes 0 … F-1 of `tick` are first steps, of law first_law (F,); the others are later ones, numbered keys (N-F,). states
    (N,). node, edge, selected: the transition matrix's entries among all (edge of a node, memory). The first `split` of them leave first
    steps, for first_columns (from first_rows); the others are those of `pattern`. never_end: numbers of nodes that never end, if γ = 1.
    """

    def __init__(self, mdp: MDP, network: CoagentNetwork, support: Mapping[str, FloatArray], everything: bool = False):
        self.layout = layout = Layout(mdp, network)
        self.edges = Edges(layout)

        def moves(states: IntArray, nodes: Nodes) -> _Moves:
            tick = Tick(network, nodes, layout.num_observations)
            node, edge = self.edges.of(states)
            size = edge.size * layout.M * layout.R
            if size > MAX_NUMBERS:
                raise ValueError(
                    f"the network remembers {len(layout.memory)} outputs, {layout.memory}, of {layout.M:,} joint values, and its action "
                    f"has {layout.R:,} beside: {size:,} transitions from {len(nodes):,} nodes, too many for the exact solver; let fewer be "
                    f"retained or read a step later, or let there be fewer actions. {INSTEAD}"
                )
            law = layout.arrange(tick.forward(tick.gather(support))[1])
            return _Moves(tick, law, node, edge, self.edges.law(law, node, edge) > 0)

        first_states, self.first_law, first = layout.first_nodes(network)
        self.num_first = first_states.size
        self.sizes = {name: network[name].num_outputs for name in layout.carried}
        # of what the first step can see, those that may be several: the others tell nothing apart, and are too many for a number at times
        self.seen_first = tuple(name for name in layout.carried if np.count_nonzero(network.initial(name)) > 1)
        self.first_codes = self._codes(first_states, first.previous, self.seen_first)
        if everything:
            self.keys = (np.flatnonzero(layout.live)[:, None] * layout.M + np.arange(layout.M)).reshape(-1)
        else:
            self.keys = self._reach(moves, first_states, first)
        self.never_end = self.keys[:0]
        if mdp.gamma == 1:
            self.keys, self.never_end = self._split_endless(moves)
        self.states = np.concatenate([first_states, self.keys // layout.M])
        self.tick, _, self.node, self.edge, possible = moves(self.states, _join(first, layout.later_nodes(self.keys)))
        # entries of the transition matrix: (edge of a node, memory value), possible and with a node to go to
        target_key = self.edges.target[self.edge][:, None] * layout.M + np.arange(layout.M)
        target = np.searchsorted(self.keys, target_key)
        self.selected = np.flatnonzero(possible & (np.append(self.keys, -1)[target] == target_key))
        rows, columns = self.node[self.selected // layout.M], target.reshape(-1)[self.selected]
        self.split = int(np.searchsorted(rows, self.num_first))
        self.first_rows, self.first_columns = rows[: self.split], columns[: self.split]
        self.pattern = Pattern(rows[self.split :] - self.num_first, columns[self.split :], self.keys.size)

    def numbers(self, start: NDArray[np.bool_], states: IntArray, previous: Mapping[str, IntArray]) -> IntArray:
        """Numbers of the nodes at which steps begin, all (n,): is it the first, the state, outputs of the step before."""
        first = np.searchsorted(self.first_codes, self._codes(states, previous, self.seen_first))
        later = np.searchsorted(self.keys, self._codes(states, previous, self.layout.memory))
        return np.where(start, first, self.num_first + later)

    def _codes(self, states: IntArray, previous: Mapping[str, IntArray], names: tuple[str, ...]) -> IntArray:
        """One number for a state and joint outputs, in C order."""
        code = states
        for name in names:
            code = code * self.sizes[name] + previous[name]
        return code

    def _reach(self, moves: Callable[[IntArray, Nodes], _Moves], states: IntArray, nodes: Nodes) -> IntArray:
        """Numbers of the later nodes that are reached from the first ones with positive probability, sorted."""
        M = self.layout.M
        seen = np.zeros(self.layout.S * M, dtype=bool)
        while states.size:
            _, _, _, edge, possible = moves(states, nodes)
            entry, memory = np.nonzero(possible)
            found = np.unique(self.edges.target[edge[entry]] * M + memory)
            frontier = found[~seen[found]]
            seen[frontier] = True
            states, nodes = frontier // M, self.layout.later_nodes(frontier)
        return np.flatnonzero(seen)

    def _split_endless(self, moves: Callable[[IntArray, Nodes], _Moves]) -> tuple[IntArray, IntArray]:
        """The nodes that end with probability one; and those that never do (from others, one that never does can be reached)."""
        M, states = self.layout.M, self.keys // self.layout.M
        _, law, node, edge, possible = moves(states, self.layout.later_nodes(self.keys))
        entry, memory = np.nonzero(possible)
        target = np.searchsorted(self.keys, self.edges.target[edge[entry]] * M + memory)
        # can the episode end here? Σ_c law(c) P(terminal | s, a(c)) > 0
        ending = (law * self.edges.end[states][:, self.layout.action]).sum(axis=(1, 2)) > 0
        never_end = ~spread(target, node[entry], ending)
        return self.keys[~spread(target, node[entry], never_end)], self.keys[never_end]


def _join(first: Nodes, later: Nodes) -> Nodes:
    previous = {n: np.concatenate([first.previous[n], later.previous[n]]) for n in first.previous}
    return Nodes(np.append(first.start, later.start), np.append(first.observation, later.observation), previous)
