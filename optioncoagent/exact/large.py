"""The chain of a network that remembers much: its transition matrix is never built, only multiplied with, one sweep of the tick at a time.

The nodes are all of a grid, live states times joint values of memory, reached or not; memory grows with their number times the outputs of
one coagent, where a matrix grows with its square. `gradients` takes this road for the networks that `is_large` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from optioncoagent.exact import iterate
from optioncoagent.exact.factors import FactoredTick, refuse_too_large, turns
from optioncoagent.exact.layout import Layout
from optioncoagent.mdp import MDP
from optioncoagent.mdp.reach import refuse_endless
from optioncoagent.network import CoagentNetwork, FloatArray, IntArray

MEMORY_ABOVE = 32  # joint values of memory; below, a chain is sparse, and its matrix can be factorised however slowly it mixes
TRANSITIONS_ABOVE = 1 << 21  # with the actions, if every node is reached; below, building them all costs less than sweeping often


def is_large(mdp: MDP, network: CoagentNetwork) -> bool:
    """Is the chain of (mdp, network) one whose matrix is better not built?"""
    M = prod(network[n].num_outputs for n in network.memory)
    if M <= MEMORY_ABOVE:
        return False
    rest = prod(network[n].num_outputs for n in network.action if n not in network.memory)
    return mdp.transition_matrix.nnz // mdp.num_actions * M * M * rest > TRANSITIONS_ABOVE


class LargeChain:
    """The chain of (mdp, network, params), like `chain.Chain`, by sweeps.

    everything: values of nodes that cannot be reached too, as long as they end. Raises ValueError as `chain.chain` does, and where even the
    grid is too large: before anything of its size is made.
    """

    def __init__(self, mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], everything: bool = False):
        self.gamma, self.network = mdp.gamma, network
        final = network.final
        self.states = np.flatnonzero(~mdp.terminal)
        first_states = np.flatnonzero(np.where(mdp.terminal, 0.0, mdp.d0))
        for start, num_states in ((False, self.states.size), (True, first_states.size)):
            refuse_too_large(network, turns(network, final, start)[1], num_states)
        self.layout = layout = Layout(mdp, network)
        policies = network.policies(params, mdp.num_observations)

        def tick(states: IntArray, start: bool, support: bool = False) -> FactoredTick:
            return FactoredTick(network, final, policies, layout.observation[states], layout.num_observations, start, support)

        self.later, self.first = tick(self.states, False), tick(first_states, True)
        self.later_moves, self.first_moves = (Moves(layout, states, self.states) for states in (self.states, first_states))
        # Pr(node at 0) = d0(s) Π h_0(u)
        self.first_law = layout.d0[first_states]
        for name in self.first.seen:
            self.first_law = self.first_law[..., None] * network.initial(name)
        self.acyclic = _acyclic(self.later_moves.P, self.states.size, layout.A)
        self.counted: NDArray[np.bool_] | None = None  # nodes that have a value, where not all have
        if self.gamma == 1:
            later = tick(self.states, False, True)
            can_end = self._can_end(later)
            self.counted = self._reach(later, tick(first_states, True, True))
            self._refuse_endless(self.counted & ~can_end)
            if everything:
                self.counted = ~self._spread_back(later, ~can_end)

    @property
    def words(self) -> str:
        """How large it is, for an error."""
        return f"the chain of {prod(self.later.shape):,} nodes ({self.later.shape[0]:,} states, and what {self.layout.memory} remember)"

    def _ahead(self, moves: Moves, value: FloatArray) -> FloatArray:
        """W_m(s, c) = r(s, a(c)) + γ Σ_s' P(s' | s, a(c)) v(s', memory(c)), (n, *final)."""
        return moves.reward() + self.gamma * moves.expect(value)

    def _transit(self, value: FloatArray) -> FloatArray:
        """γ T v."""
        after = self.gamma * self.later.backward(self.later_moves.expect(value), costs=False).reshape(-1)
        return after if self.counted is None else np.where(self.counted, after, 0.0)

    def _transit_transposed(self, law: FloatArray) -> FloatArray:
        """γ T' d."""
        return self.gamma * self.later_moves.arrive(self.later.forward(law.reshape(self.later.shape)))

    @cached_property
    def value(self) -> FloatArray:
        """Expected discounted return from each later node on, v = r + γ T v: (live states * M,), 0 where γ = 1 and it is left out."""
        reward = self.later.backward(self.later_moves.reward()).reshape(-1)
        right = reward if self.counted is None else np.where(self.counted, reward, 0.0)
        return iterate.solve(self._transit, right, self.acyclic, self.words)

    @cached_property
    def occupancy(self) -> FloatArray:
        """Σ_t γ^t Pr(node at t) over the later nodes, d' = d_1' (I - γ T)^-1, on the grid."""
        second = self.gamma * self.first_moves.arrive(self.first.forward(self.first_law))
        return iterate.solve(self._transit_transposed, second, self.acyclic, self.words, visits=True).reshape(self.later.shape)

    @cached_property
    def expected_return(self) -> float:
        """J = Σ_n Pr(n at 0) W_0(n)."""
        return float((self.first_law * self.first.backward(self._ahead(self.first_moves, self.value))).sum())

    @cached_property
    def local_gradients(self) -> dict[str, FloatArray]:
        """Δ_i of every coagent: of first steps and of later ones, together."""
        at_first = self.first.gradients(self.first_law, self._ahead(self.first_moves, self.value))
        later = self.later.gradients(self.occupancy, self._ahead(self.later_moves, self.value))
        return {name: at_first[name] + later[name] for name in self.network.names}

    def local_gradient(self, name: str) -> FloatArray:
        """Δ_i of coagent `name`, like its logits."""
        return self.local_gradients[name]

    def _reach(self, later: FactoredTick, first: FactoredTick) -> NDArray[np.bool_]:
        """Which later nodes are reached, (live states * M,)."""
        reached = frontier = self.first_moves.arrive(first.forward((self.first_law > 0).astype(np.float64))) > 0
        while frontier.any():
            after = self.later_moves.arrive(later.forward(frontier.astype(np.float64).reshape(later.shape))) > 0
            frontier = after & ~reached
            reached = reached | frontier
        return reached

    def _can_end(self, later: FactoredTick) -> NDArray[np.bool_]:
        """From which nodes there is a way to the end."""
        # can the episode end here? Σ_c law(c) P(terminal | s, a(c)) > 0
        return self._spread_back(later, later.backward(self.later_moves.ending, costs=False).reshape(-1) > 0)

    def _spread_back(self, later: FactoredTick, seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The nodes from which there is a way to the seeds, these included."""
        found, grown = seeds, bool(seeds.any())
        while grown:
            ahead = later.backward(self.later_moves.expect(found.astype(np.float64)), costs=False).reshape(-1) > 0
            grown, found = bool((ahead & ~found).any()), found | ahead
        return found

    def _refuse_endless(self, never: NDArray[np.bool_]) -> None:
        if never.any():
            state, memory = divmod(int(np.argmax(never)), self.layout.M)
            refuse_endless(self.layout.describe(self.states[state] * self.layout.M + memory), int(never.sum()))


class Moves:
    """From some states (n,), with the final outputs of a tick, to the next live states, with memory."""

    def __init__(self, layout: Layout, states: IntArray, live: IntArray):
        self.layout, self.states = layout, states
        every = layout.P[(states[:, None] * layout.A + np.arange(layout.A)).reshape(-1)]
        self.P = sp.csr_array(every[:, live])
        self.transposed = sp.csr_array(self.P.T)
        ended = every[:, np.flatnonzero(~layout.live)].sum(axis=1)
        self.ending = self._on_final(np.asarray(ended).reshape(states.size, layout.A, 1))

    def _on_final(self, by_action: FloatArray) -> FloatArray:
        """(n, A, M or 1) to (n, *final), each final output's action and memory."""
        memory = np.arange(self.layout.M)[:, None] if by_action.shape[2] > 1 else 0
        arranged = by_action[:, self.layout.action, memory]
        shape = (self.states.size, self.layout.M, self.layout.R)
        return np.ascontiguousarray(self.layout.unarrange(np.broadcast_to(arranged, shape)))

    def reward(self) -> FloatArray:
        """r(s, a(c)), (n, *final)."""
        return self._on_final(self.layout.reward[self.states][:, :, None])

    def expect(self, value: FloatArray) -> FloatArray:
        """Σ_s' P(s' | s, a(c)) v(s', memory(c)), (n, *final), from v (live states * M,)."""
        return self._on_final((self.P @ value.reshape(-1, self.layout.M)).reshape(self.states.size, self.layout.A, self.layout.M))

    def arrive(self, final: FloatArray) -> FloatArray:
        """Law of the next state and memory, (live states * M,), from that of the final outputs (n, *final): the transpose of `expect`."""
        by_action = np.zeros((self.states.size, self.layout.A, self.layout.M))
        # given memory, no two of the other outputs make one action
        by_action[:, self.layout.action, np.arange(self.layout.M)[:, None]] = self.layout.arrange(final)
        return (self.transposed @ by_action.reshape(-1, self.layout.M)).reshape(-1)


def _acyclic(P: sp.csr_array, num_states: int, num_actions: int) -> bool:
    """Does no state come back to itself? Then no node does."""
    entries = P.tocoo()
    source = entries.row // num_actions
    graph = sp.csr_array((np.ones(entries.nnz, dtype=np.int8), (source, entries.col)), shape=(num_states, num_states))
    alone = connected_components(graph, connection="strong")[0] == num_states
    return bool(alone and not (source == entries.col).any())
