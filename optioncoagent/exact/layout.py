"""How nodes, memory and actions of one (mdp, network) pair are numbered."""

from __future__ import annotations

from math import prod

import numpy as np

from optioncoagent.exact.tick import INSTEAD, MAX_NUMBERS, Nodes
from optioncoagent.mdp import MDP
from optioncoagent.mdp.reach import ranges
from optioncoagent.network import CoagentNetwork, FloatArray, IntArray


class Layout:
    """Index arithmetic of one (mdp, network) pair.

    memory: names; M: number of joint memory values; a node is numbered state * M + joint memory. carried: memory, and what only the first
    step can see. The final outputs of a tick, in network order, are rearranged to (M, R): memory, then those actions that are not memory.
    Raises ValueError naming the memory where there are too many nodes.
    """

    def __init__(self, mdp: MDP, network: CoagentNetwork):
        network.check_actions(mdp.num_actions)
        self.observation = mdp.observation.astype(np.int64)
        self.num_observations = mdp.num_observations
        self.live = ~mdp.terminal
        self.reward = mdp.expected_reward
        self.P = mdp.transition_matrix
        self.S, self.A = mdp.num_states, mdp.num_actions
        self.d0 = np.where(self.live, mdp.d0, 0.0)
        self.memory = network.memory
        self.memory_sizes = tuple(network[n].num_outputs for n in self.memory)
        self.M = prod(self.memory_sizes)
        if self.S * self.A * self.M > MAX_NUMBERS:
            raise ValueError(
                f"the network remembers {len(self.memory)} outputs, {self.memory}: {self.M:,} joint values in each of {self.S} states are "
                f"too many for the exact solver; let fewer be retained or read a step later. {INSTEAD}"
            )
        self.carried = network.carried
        final = network.final
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
        joint = prod(np.count_nonzero(network.initial(name)) for name in self.carried)
        if states.size * joint * len(self.carried) > MAX_NUMBERS:
            raise ValueError(
                f"a first step can see {len(self.carried)} outputs of before it, {self.carried}: their {joint:,} joint values in each of "
                f"{states.size} states are too many for the exact solver; give initial= an int, or let fewer be retained. {INSTEAD}"
            )
        law, state = self.d0[states], states
        previous: dict[str, IntArray] = {}
        for name in self.carried:
            h0 = network.initial(name)
            outputs = np.flatnonzero(h0)
            previous = {n: np.repeat(v, outputs.size) for n, v in previous.items()}
            previous[name] = np.tile(outputs, state.size)
            law, state = np.repeat(law, outputs.size) * np.tile(h0[outputs], law.size), np.repeat(state, outputs.size)
        return state, law, Nodes(np.ones(state.size, dtype=bool), self.observation[state], previous)

    def describe(self, key: int) -> str:
        """A later node in words."""
        state, memory = divmod(int(key), self.M)
        values = np.unravel_index(memory, self.memory_sizes) if self.memory else ()
        outputs = ", ".join(f"{n}={int(v)}" for n, v in zip(self.memory, values, strict=True))
        return f"state {state}" + (f" with previous outputs {outputs}" if outputs else "")

    def arrange(self, final: FloatArray) -> FloatArray:
        """(N, *final) to (N, M, R)."""
        return final.transpose(self.to_memory_first).reshape(final.shape[0], self.M, self.R)

    def unarrange(self, arranged: FloatArray) -> FloatArray:
        """(N, M, R) to (N, *final)."""
        return arranged.reshape(arranged.shape[0], *self.arranged_sizes).transpose(self.from_memory_first)


class Edges:
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
        if pairs.size * max(A, layout.action.size) > MAX_NUMBERS:
            raise ValueError(
                f"{pairs.size:,} pairs of a state and its successor, times {max(A, layout.action.size):,} actions or final outputs, are "
                f"too many for the exact solver: a smaller MDP, fewer actions or fewer outputs that reach the end of a step. {INSTEAD}"
            )
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
