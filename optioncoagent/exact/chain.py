"""The Markov chain that an MDP, a network and its parameters make: its kernel, values and occupancies.

What the parameters do not change (see `structure`) is worked out once for each pair of MDP and network, both of which are never modified,
and kept as long as they live.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from optioncoagent.exact.solve import System
from optioncoagent.exact.structure import Structure
from optioncoagent.mdp import MDP
from optioncoagent.mdp.reach import refuse_endless
from optioncoagent.network import CoagentNetwork, FloatArray


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
        """I − γ T of the later nodes, factorised."""
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
    def swept(self) -> tuple[list[FloatArray], list[FloatArray]]:
        """Values of every coagent's outputs at the nodes, and their means (see `Tick.backward`)."""
        return self.sweep()

    def sweep(self, greedy: Collection[str] = ()) -> tuple[list[FloatArray], list[FloatArray]]:
        """The same with the best output of some coagents in place of their mean, in this step alone."""
        s, layout = self.structure, self.structure.layout
        ahead = np.zeros(layout.S * layout.M)
        ahead[s.keys] = self.value
        # W_m(s, c) = r(s, a(c)) + γ Σ_s' P(s' | s, a(c)) v(s', memory(c))
        expected = layout.P @ ahead.reshape(layout.S, layout.M)
        after = layout.reward[:, :, None] + self.gamma * expected.reshape(layout.S, layout.A, layout.M)
        by_state = after[:, layout.action, np.arange(layout.M)[:, None]]
        return s.tick.backward(self.gathered, layout.unarrange(by_state[s.states]), greedy)

    def local_gradient(self, name: str) -> FloatArray:
        """Δ_i of coagent `name`, like its logits."""
        tick = self.structure.tick
        index = next(i for i, step in enumerate(tick.steps) if step.turn.name == name)
        values, means = self.swept
        return tick.gradient(index, self.policies[name], self.occupancy, self.laws[index], values[index], means[index])


_MAX_SUPPORTS = 8  # structures kept for one (mdp, network) where -inf logits close some ways; the last ones made
_STRUCTURES: WeakKeyDictionary[MDP, WeakKeyDictionary[CoagentNetwork, dict[tuple[bool, bytes], Structure]]] = WeakKeyDictionary()


def chain(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], everything: bool = False) -> Chain:
    """The chain of (mdp, network, params); everything: with nodes that cannot be reached too, as long as they end.

    Raises ValueError for params that do not fit, and if γ = 1 and a node that is reached may never end: it is named.
    """
    policies = network.policies(params, mdp.num_observations)
    structure = _structure(mdp, network, policies, False)
    if structure.never_end.size:
        refuse_endless(structure.layout.describe(structure.never_end[0]), structure.never_end.size)
    return Chain(_structure(mdp, network, policies, True) if everything else structure, mdp.gamma, policies)


def _structure(mdp: MDP, network: CoagentNetwork, policies: Mapping[str, FloatArray], everything: bool) -> Structure:
    possible = {name: policy > 0 for name, policy in policies.items()}
    everywhere = all(p.all() for p in possible.values())  # else which nodes are reached depends on the zeros
    key = (everything, b"" if everywhere else b"".join(np.packbits(p).tobytes() for p in possible.values()))
    structures = _STRUCTURES.setdefault(mdp, WeakKeyDictionary()).setdefault(network, {})
    if key not in structures:
        support = {name: p.astype(np.float64) for name, p in possible.items()}
        structures[key] = Structure(mdp, network, support, everything)
        with_zeros = [k for k in structures if k[1]]
        if len(with_zeros) > _MAX_SUPPORTS:
            del structures[with_zeros[0]]
    return structures[key]
