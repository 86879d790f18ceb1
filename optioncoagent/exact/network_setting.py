"""What the gradient forms of any network are computed from: a coagent at the nodes of the chain, with its values and their weights.

W(x, u) is the value of output u in local state x, costs of later coagents in it, b(x) its mean under the policy, and
d(x) = Σ_t γ^t Pr(X_t = x): all from one sweep of the tick over the nodes of the chain (`tick`, `chain`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from optioncoagent.exact.chain import Chain, chain
from optioncoagent.exact.forms import NotDefined, undiscounted_mdp
from optioncoagent.exact.large import is_large
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray


class NetworkSetting:
    """What forms are evaluated on: a network with these params on an MDP. made: its chain; the others where a form asks for them.

    Raises ValueError, before anything is built, for a network that remembers so much that its gradient is taken without a matrix.
    """

    def __init__(self, mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any]):
        self.mdp, self.network, self.params = mdp.unrolled, network, params
        if is_large(self.mdp, network):
            raise ValueError(
                f"the network remembers {len(network.memory)} outputs, {network.memory}, and its forms are taken from the matrix of its "
                "chain, which would be too large: policy_gradient gives its gradient alone"
            )
        self.made = chain(self.mdp, network, params)

    def at(self, coagent: str) -> Place:
        """A coagent at the nodes of the chain."""
        return Place(self.made, self.network.names.index(coagent), self.made.occupancy)

    @cached_property
    def undiscounted(self) -> FloatArray:
        """Σ_t Pr(node at t). Raises NotDefined where an episode may never end."""
        try:
            return chain(undiscounted_mdp(self.mdp), self.network, self.params).occupancy
        except ValueError as error:
            raise NotDefined(f"the undiscounted occupancy is not defined: {error}") from error

    @cached_property
    def everything(self) -> Chain:
        """The chain with nodes that cannot be reached too."""
        return chain(self.mdp, self.network, self.params, everything=True)

    def after_decision(self, with_first: bool) -> FloatArray:
        """Σ_t γ^t Pr(S_t = s, memory_t = m), what is remembered *after* the decisions of step t, as an occupancy of the nodes of
        `everything`; with_first: from t = 0 on, else from t = 1. Raises NotDefined for a pair from which an episode may never end."""
        made, s = self.everything, self.everything.structure
        final = s.layout.arrange(s.tick.forward(made.gathered)[1]).sum(axis=2)
        law = made.occupancy[:, None] * final
        law = law if with_first else law[s.num_first :]
        states = s.states if with_first else s.states[s.num_first :]
        by_key = np.zeros((s.layout.S, s.layout.M))
        np.add.at(by_key, states, law)
        kept = by_key.reshape(-1)[s.keys]
        if by_key.sum() > kept.sum() * (1 + 1e-12):
            raise NotDefined("the pair after the decision is not a node from which an episode ends")
        return np.concatenate([np.zeros(s.num_first), kept])


@dataclass(frozen=True)
class Place:
    """Coagent number `index` at the nodes of a chain, with an occupancy of them, (N,); `swept`: another sweep in place of the chain's."""

    made: Chain
    index: int
    occupancy: FloatArray
    swept: tuple[list[FloatArray], list[FloatArray]] | None = None

    @property
    def step(self) -> Any:
        return self.made.structure.tick.steps[self.index]

    @property
    def table(self) -> FloatArray:
        """Its policy, as its parameters are laid out."""
        return self.made.policies[self.step.turn.name]

    @property
    def policy(self) -> FloatArray:
        """π(x, u), (N or 1, *live or 1, u)."""
        return self.made.gathered[self.index]

    @property
    def value(self) -> FloatArray:
        """W(x, u), (N, *live, u); u of length 1 where nothing that is read depends on it."""
        return (self.swept or self.made.swept)[0][self.index]

    @property
    def advantage(self) -> FloatArray:
        """W(x, u) - b(x), b(x) = Σ_u π(x, u) W(x, u); zero where nothing that is read depends on u."""
        if self.value.shape[-1] == 1:
            return np.zeros_like(self.value)
        return self.value - (self.policy * self.value).sum(axis=-1, keepdims=True)

    @property
    def given(self) -> FloatArray:
        """Pr(x | node), (N or 1, *live, 1)."""
        return self.made.laws[self.index][..., None]

    @property
    def weight(self) -> FloatArray:
        """d(x), (N, *live, 1)."""
        return self.occupancy.reshape(-1, *(1,) * (self.given.ndim - 1)) * self.given

    @property
    def beta(self) -> FloatArray:
        """β(x), (N or 1, *live or 1, 1)."""
        return self.step.beta[..., None]

    @property
    def output_law(self) -> FloatArray:
        """Pr(U = u | x) = β(x) π(x, u) + (1 - β(x)) 1{u = u_{t-1}}, executed or not."""
        law = self.beta * self.policy
        return law if self.step.retained is None else law + (1 - self.beta) * self.step.retained

    def add_up(self, numbers: FloatArray) -> FloatArray:
        """See `Tick.add_up`."""
        return self.made.structure.tick.add_up(self.index, self.table.shape, numbers)
