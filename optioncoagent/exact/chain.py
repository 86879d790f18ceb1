"""The Markov chain that an MDP, a network and its parameters make.

A node of the chain is (S_t, U_{t-1}^mem): the state and the previous outputs that are memory. First steps stand apart: they are visited
once, never come back, and may read previous outputs that no later step can see, so they are swept but never solved for. Of all nodes only
those that can be reached count, and terminal states end the chain.

What the parameters do not change (which nodes, who reads what, where the transition matrix has entries) is worked out once for each pair
of MDP and network, both of which are never modified, and kept as long as they live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from optioncoagent.exact.solve import Pattern, System, ranges
from optioncoagent.exact.tick import FloatArray, IntArray, Nodes, Tick
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork


class Layout:
    """Index arithmetic of one (mdp, network) pair.

    memory: names; M: number of joint memory values; a node is numbered state * M + joint memory. carried: memory, and what only the first
    step can see. The final outputs of a tick, in network order, are rearranged to (M, R): memory, then those actions that are not memory.
    """

    def __init__(self, mdp: MDP, network: CoagentNetwork):
        check_actions(mdp, network)
        self.observation = mdp.observation.astype(np.int64)
        self.num_observations = mdp.num_observations
        self.live = ~mdp.terminal
        self.reward = mdp.expected_reward
        self.P = mdp.transition_matrix
        self.S, self.A = mdp.num_states, mdp.num_actions
        self.d0 = np.where(self.live, mdp.d0, 0.0)
        self.memory = network.memory
        self.memory_sizes = tuple(network[n].num_outputs for n in self.memory)
        self.M = int(np.prod(self.memory_sizes, dtype=np.int64))
        visible = {n for n in network.names if network.may_retain(n, start=True) and (n in network.action or network.readers(n))}
        self.carried = tuple(n for n in network.names if n in self.memory or n in visible)
        final = tuple(n for n in network.names if n in self.memory or n in network.action)
        self.final_sizes = tuple(network[n].num_outputs for n in final)
        rest = tuple(n for n in final if n not in self.memory)
        self.to_memory_first = (0, *(1 + final.index(n) for n in (*self.memory, *rest)))
        self.from_memory_first = tuple(np.argsort(self.to_memory_first))
        self.arranged_sizes = tuple(network[n].num_outputs for n in (*self.memory, *rest))
        # the joint action of every (memory value, rest value), (M, R)
        outputs = dict(zip((*self.memory, *rest), np.indices(self.arranged_sizes, sparse=True), strict=True))
        joint = np.broadcast_to(network.joint_action(outputs), self.arranged_sizes).reshape(self.M, -1)
        self.R = joint.shape[1]
        self.action = joint[:1] if self.memory_sizes and (joint == joint[:1]).all() else joint

    def later_nodes(self, keys: IntArray) -> Nodes:
        """Nodes of a later step from their numbers."""
        values = np.unravel_index(keys % self.M, self.memory_sizes) if self.memory else ()
        previous = dict.fromkeys(self.carried, np.zeros(keys.size, dtype=np.int64))
        previous.update(zip(self.memory, values, strict=True))
        return Nodes(np.zeros(keys.size, dtype=bool), self.observation[keys // self.M], previous)

    def first_nodes(self, network: CoagentNetwork) -> tuple[IntArray, FloatArray, Nodes]:
        """States (F,), law d0(s) Π h_0^i(u_i) (F,) and nodes of the first step, those of positive probability."""
        states = np.flatnonzero(self.d0)
        law, state = self.d0[states], states
        previous: dict[str, IntArray] = {}
        for name in self.carried:
            h0 = network.initial(name)
            outputs = np.flatnonzero(h0)
            previous = {n: np.repeat(v, outputs.size) for n, v in previous.items()}
            previous[name] = np.tile(outputs, state.size)
            law, state = np.repeat(law, outputs.size) * np.tile(h0[outputs], law.size), np.repeat(state, outputs.size)
        return state, law, Nodes(np.ones(state.size, dtype=bool), self.observation[state], previous)

    def arrange(self, final: FloatArray) -> FloatArray:
        """(N, *final) to (N, M, R)."""
        return final.transpose(self.to_memory_first).reshape(final.shape[0], self.M, self.R)

    def unarrange(self, arranged: FloatArray) -> FloatArray:
        """(N, M, R) to (N, *final)."""
        return arranged.reshape(arranged.shape[0], *self.arranged_sizes).transpose(self.from_memory_first)


class Structure:
    """All of the chain that does not depend on the parameters, given which outputs have probability zero.

    everything: nodes for every live state and memory value, not only for those that can be reached.
    """

    def __init__(self, mdp: MDP, network: CoagentNetwork, support: Mapping[str, FloatArray], everything: bool = False):
        self.layout = layout = Layout(mdp, network)
        self.first_states, self.first_law, first = layout.first_nodes(network)
        self.num_first = self.first_states.size
        self.edges = _Edges(layout)
        self.keys = self._every_key() if everything else self._reach(network, support, first)
        if mdp.gamma == 1:
            self.keys, self.never_end = self._without_endless(network, support)
        else:
            self.never_end = self.keys[:0]
        self.states = np.concatenate([self.first_states, self.keys // layout.M])
        self.nodes = _join(first, layout.later_nodes(self.keys))
        self.tick = Tick(network, self.nodes, layout.num_observations)
        # entries of the transition matrix: (node, edge, memory value) that have a positive probability and a node to go to
        law = layout.arrange(self.tick.forward(self.tick.gather(support))[1])
        self.node, self.edge = self.edges.of(self.states)
        possible = self.edges.law(law, self.node, self.edge) > 0
        target_key = self.edges.target[self.edge][:, None] * layout.M + np.arange(layout.M)
        target = np.searchsorted(self.keys, target_key)
        known = possible & (np.append(self.keys, -1)[target] == target_key)
        self.selected = np.flatnonzero(known)
        rows, columns = self.node[self.selected // layout.M], target.reshape(-1)[self.selected]
        self.split = int(np.searchsorted(rows, self.num_first))
        self.first_rows, self.first_columns = rows[: self.split], columns[: self.split]
        self.pattern = Pattern(rows[self.split :] - self.num_first, columns[self.split :], self.keys.size)

    def _every_key(self) -> IntArray:
        return (np.flatnonzero(self.layout.live)[:, None] * self.layout.M + np.arange(self.layout.M)).reshape(-1)

    def _reach(self, network: CoagentNetwork, support: Mapping[str, FloatArray], first: Nodes) -> IntArray:
        """Numbers of the later nodes that are reached with positive probability, sorted."""
        seen = np.zeros(self.layout.S * self.layout.M, dtype=bool)
        frontier = self._successors(network, support, self.first_states, first)
        while frontier.size:
            seen[frontier] = True
            found = self._successors(network, support, frontier // self.layout.M, self.layout.later_nodes(frontier))
            frontier = found[~seen[found]]
        return np.flatnonzero(seen)

    def _successors(self, network: CoagentNetwork, support: Mapping[str, FloatArray], states: IntArray, nodes: Nodes) -> IntArray:
        M = self.layout.M
        if not len(nodes):
            return np.zeros(0, dtype=np.int64)
        tick = Tick(network, nodes, self.layout.num_observations)
        law = self.layout.arrange(tick.forward(tick.gather(support))[1])
        node, edge = self.edges.of(states)
        entry, memory = np.nonzero(self.edges.law(law, node, edge) > 0)
        return np.unique(self.edges.target[edge[entry]] * M + memory)

    def _without_endless(self, network: CoagentNetwork, support: Mapping[str, FloatArray]) -> tuple[IntArray, IntArray]:
        """The nodes that end with probability one; and those that never do (others may come to one that never does)."""
        M, size = self.layout.M, self.keys.size
        nodes = self.layout.later_nodes(self.keys)
        tick = Tick(network, nodes, self.layout.num_observations)
        law = self.layout.arrange(tick.forward(tick.gather(support))[1])
        node, edge = self.edges.of(self.keys // M)
        entry, memory = np.nonzero(self.edges.law(law, node, edge) > 0)
        source, target_key = node[entry], self.edges.target[edge[entry]] * M + memory
        target = np.searchsorted(self.keys, target_key)
        backwards = sp.csr_array((np.ones(source.size, dtype=bool), (target, source)), shape=(size, size))
        # Pr(the episode ends here): Σ_c law(c) P(terminal | s, a(c))
        ending = (law * self.edges.end[self.keys // M][:, self.layout.action]).sum(axis=(1, 2)) > 0
        never_ends = ~_spread(backwards, ending)
        return self.keys[~_spread(backwards, never_ends)], self.keys[never_ends]

    def describe(self, key: int) -> str:
        """A later node in words."""
        state, memory = divmod(int(key), self.layout.M)
        values = np.unravel_index(memory, self.layout.memory_sizes) if self.layout.memory else ()
        outputs = ", ".join(f"{n}={int(v)}" for n, v in zip(self.layout.memory, values, strict=True))
        return f"state {state}" + (f" with previous outputs {outputs}" if outputs else "")


class _Edges:
    """Pairs (s, s') of live states with P(s' | s, ·) > 0. target (E,), P (E, M or 1, R) at the action of each final output, end (S, A)."""

    def __init__(self, layout: Layout):
        S, A = layout.S, layout.A
        P = layout.P.tocoo()
        source, action = P.row // A, P.row % A
        self.end = np.zeros((S, A))
        ends = ~layout.live[P.col]
        np.add.at(self.end, (source[ends], action[ends]), P.data[ends])
        inside = layout.live[source] & ~ends & (P.data > 0)
        pairs, position = np.unique(source[inside].astype(np.int64) * S + P.col[inside], return_inverse=True)
        by_action = np.zeros((pairs.size, A))
        by_action[position, action[inside]] = P.data[inside]
        self.target = pairs % S
        self.starts = np.searchsorted(pairs, np.arange(S + 1) * S)
        self.P = by_action[:, layout.action]

    def of(self, states: IntArray) -> tuple[IntArray, IntArray]:
        """(node, edge) of every edge that leaves the state of a node, nodes in order."""
        starts, stops = self.starts[states], self.starts[states + 1]
        return np.repeat(np.arange(states.size), stops - starts), ranges(starts, stops)

    def law(self, final: FloatArray, node: IntArray, edge: IntArray) -> FloatArray:
        """Pr(s', memory | node) along each edge, (edges of the nodes, M), from the law of the final outputs (N, M, R)."""
        return np.einsum("kmr,kmr->km", final[node], np.broadcast_to(self.P[edge], (edge.size, *final.shape[1:])))


@dataclass
class Chain:
    """The chain at one setting of the parameters. Nodes 0 … F-1 are first steps, the others later ones.

    entries: values of the transition matrix at the structure's pattern. laws: of the live outputs before each coagent. reward: (N,), the
    expected reward less the costs of the tick that starts at a node.
    """

    structure: Structure
    gamma: float
    policies: dict[str, FloatArray]

    def __post_init__(self) -> None:
        s = self.structure
        self.gathered = s.tick.gather(self.policies)
        self.laws, final, cost = s.tick.forward(self.gathered)
        law = s.layout.arrange(final)
        self.entries = s.edges.law(law, s.node, s.edge).reshape(-1)[s.selected]
        # r(n) = Σ_c Pr(c | n) r(s, a(c)) - Σ_i c_i Pr(E^i = 1 | n)
        reward = s.layout.reward[s.states][:, s.layout.action]
        self.reward = (law * reward).sum(axis=(1, 2)) - cost

    @cached_property
    def system(self) -> System:
        s = self.structure
        return s.pattern.factorise(self.entries[s.split :], self.gamma)

    @cached_property
    def second(self) -> FloatArray:
        """γ Pr(node at t = 1), over the later nodes."""
        s = self.structure
        weights = s.first_law[s.first_rows] * self.entries[: s.split]
        return self.gamma * np.bincount(s.first_columns, weights=weights, minlength=s.keys.size).astype(np.float64, copy=False)

    @cached_property
    def value(self) -> FloatArray:
        """Expected discounted return from each later node on: v = r + γ T v."""
        return self.system.solve(self.reward[self.structure.num_first :])

    @cached_property
    def occupancy(self) -> FloatArray:
        """Σ_t γ^t Pr(node at t), over all nodes: the law of the first ones, and d' = d_1' (I - γ T)^-1 for the later ones."""
        return np.concatenate([self.structure.first_law, self.system.solve(self.second, transposed=True)])

    @cached_property
    def expected_return(self) -> float:
        """J = Σ_n Pr(n at 0) r(n) + γ Σ_n Pr(n at 1) v(n)."""
        s = self.structure
        return float(s.first_law @ self.reward[: s.num_first] + self.second @ self.value)

    @cached_property
    def swept(self) -> tuple[list[FloatArray], list[FloatArray], FloatArray]:
        """Values of every coagent's outputs at the nodes, their means, and the value of each node (see `Tick.backward`)."""
        s, layout = self.structure, self.structure.layout
        ahead = np.zeros(layout.S * layout.M)
        ahead[s.keys] = self.value
        # W_m(s, c) = r(s, a(c)) + γ Σ_s' P(s' | s, a(c)) v(s', memory(c))
        expected = layout.P @ ahead.reshape(layout.S, layout.M)
        after = layout.reward[:, :, None] + self.gamma * expected.reshape(layout.S, layout.A, layout.M)
        by_state = after[:, layout.action, np.arange(layout.M)[:, None]]
        return s.tick.backward(self.gathered, layout.unarrange(by_state[s.states]))

    def local_gradient(self, name: str) -> FloatArray:
        """Δ_i of coagent `name`, like its logits."""
        tick = self.structure.tick
        index = next(i for i, step in enumerate(tick.steps) if step.name == name)
        values, means, _ = self.swept
        return tick.gradient(index, self.policies[name], self.occupancy, self.laws[index], values[index], means[index])


_STRUCTURES: WeakKeyDictionary[MDP, WeakKeyDictionary[CoagentNetwork, dict[bool, Structure]]] = WeakKeyDictionary()


def chain(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], everything: bool = False) -> Chain:
    """The chain of (mdp, network, params); everything: with nodes that cannot be reached too, as long as they end.

    Raises ValueError for params that do not fit, and if γ = 1 and a node that is reached may never end: it is named.
    """
    policies = network.policies(params, mdp.num_observations)
    structure = _structure(mdp, network, policies, False)
    if structure.never_end.size:
        raise ValueError(
            f"gamma = 1 and an episode may never end: from {structure.describe(structure.never_end[0])} ({structure.never_end.size} such "
            "nodes are reached) there is no way to a terminal state, and the return is not defined; use gamma < 1, or check the MDP's "
            "terminal states"
        )
    if everything:
        structure = _structure(mdp, network, policies, True)
    return Chain(structure, mdp.gamma, policies)


def _structure(mdp: MDP, network: CoagentNetwork, policies: Mapping[str, FloatArray], everything: bool) -> Structure:
    support = {name: (policy > 0).astype(np.float64) for name, policy in policies.items()}
    if not all(s.all() for s in support.values()):  # which nodes are reached depends on the zeros
        return Structure(mdp, network, support, everything)
    by_network = _STRUCTURES.setdefault(mdp, WeakKeyDictionary())
    structures = by_network.setdefault(network, {})
    if everything not in structures:
        structures[everything] = Structure(mdp, network, support, everything)
    return structures[everything]


def _join(first: Nodes, later: Nodes) -> Nodes:
    previous = {n: np.concatenate([first.previous[n], later.previous[n]]) for n in first.previous}
    return Nodes(np.append(first.start, later.start), np.append(first.observation, later.observation), previous)


def _spread(graph: sp.csr_array, seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Nodes that a walk along the graph's edges reaches from the seeds, seeds included."""
    reached, frontier = seeds.copy(), np.flatnonzero(seeds)
    while frontier.size:
        successors = np.unique(graph.indices[ranges(graph.indptr[frontier], graph.indptr[frontier + 1])])
        frontier = successors[~reached[successors]]
        reached[frontier] = True
    return reached


def check_actions(mdp: MDP, network: CoagentNetwork) -> None:
    """Raise ValueError where an MDP and a network differ in their number of actions."""
    if mdp.num_actions != network.num_actions:
        raise ValueError(f"the MDP has {mdp.num_actions} actions, the network's action {network.action} has {network.num_actions}")
