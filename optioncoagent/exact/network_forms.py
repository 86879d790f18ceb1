"""Gradient forms of any coagent in any network: the exact ones, and what is left out or put in place of something else.

A form is a record; `NETWORK_FORMS` lists them, and each says which coagents it is for. Where option-critic is the network, a form of the
same name in `forms.FORMS` is the same vector; "expected" is q_beta of the termination and exact of the option, "difference" is advantage,
and "marginal" is marginalised.

W(x, u) is the value of output u in local state x, costs of later coagents in it, b(x) its mean under the policy, and
d(x) = Σ_t γ^t Pr(X_t = x): all from one sweep of the tick over the nodes of the chain (`tick`, `chain`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from optioncoagent.exact.chain import Chain, chain
from optioncoagent.exact.forms import MARGIN, NotDefined, undiscounted_mdp
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
    swept: tuple[list[FloatArray], list[FloatArray], FloatArray] | None = None

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


Formula = Callable[[NetworkSetting, str], FloatArray]


@dataclass(frozen=True)
class NetworkForm:
    """One way to compute the gradient of a coagent.

    name; applies: to which coagents of a network, as a function, and in words, `to`; computes: one sentence; exact: is it the local
    gradient? exact_when: when it is, or would be; formula: the gradient, like the coagent's parameters.
    """

    name: str
    to: str
    applies: Callable[[CoagentNetwork, str], bool]
    computes: str
    exact: bool
    exact_when: str
    formula: Formula


# Which coagents


def _every(network: CoagentNetwork, name: str) -> bool:
    return True


def _binary(network: CoagentNetwork, name: str) -> bool:
    return network[name].num_outputs == 2


def _retains(network: CoagentNetwork, name: str) -> bool:
    return (network.may_retain(name, True) or network.may_retain(name, False)) and bool(
        name in network.memory or name in network.action or network.readers(name)
    )


def _gated_twice(network: CoagentNetwork, name: str) -> bool:
    return _retains(network, name) and len(network.touched[name].upstream) > 1


def gated_by(network: CoagentNetwork, name: str) -> tuple[str, ...]:
    """The coagents whose execution functions look at this one's output of the same step."""
    return tuple(other for other in network.names if name in network.touched[other].upstream)


def _gate(network: CoagentNetwork, name: str) -> bool:
    return bool(gated_by(network, name))


def _binary_gate(network: CoagentNetwork, name: str) -> bool:
    return _gate(network, name) and _binary(network, name)


def _remembers(network: CoagentNetwork, name: str) -> bool:
    return bool(network[name].previous)


def _always_reads(network: CoagentNetwork, name: str) -> bool:
    return bool(network[name].upstream) and not network.may_retain(name, True) and not network.may_retain(name, False)


# What they compute


def _expected_at(p: Place) -> FloatArray:
    # Σ_x d(x) β(x) Σ_u ∂π(x,u) W(x,u), where ∂π_u/∂θ_v = π_u (1{u = v} - π_v)
    return p.table * p.add_up(p.weight * p.beta * p.advantage * np.ones(p.table.shape[-1]))


def _score_at(p: Place, numbers: FloatArray) -> FloatArray:
    """Σ_x Σ_u numbers(x, u) ∂ln π(x,u)/∂θ_v, where ∂ln π_u/∂θ_v = 1{u = v} - π_v."""
    weights = p.add_up(numbers * np.ones(p.table.shape[-1]))
    return weights - p.table * weights.sum(axis=-1, keepdims=True)


def _difference_at(p: Place, margin: float) -> FloatArray:
    # - Σ_x d(x) β(x) ∂π(x,0) (W(x,1) - W(x,0) + margin), where ∂π_0/∂θ_0 = π_0 π_1 = - ∂π_0/∂θ_1
    gap = p.value[..., -1:] - p.value[..., :1] + margin
    slope = p.table[..., :1] * p.table[..., 1:] * p.add_up(p.weight * p.beta * gap)
    return np.concatenate([-slope, slope], axis=-1)


def _expected(s: NetworkSetting, name: str) -> FloatArray:
    return _expected_at(s.at(name))


def _difference(s: NetworkSetting, name: str) -> FloatArray:
    return _difference_at(s.at(name), 0.0)


def _score(s: NetworkSetting, name: str) -> FloatArray:
    # E[Σ_t γ^t E_t (G_t - b(X_t)) ∂ln π(X_t, U_t)], where E[G_t | x, u, E_t = 1] = W(x,u)
    p = s.at(name)
    return _score_at(p, p.weight * p.beta * p.policy * p.advantage)


def marginal_at(p: Place) -> FloatArray:
    """The marginal form under any occupancy of the nodes, for example how often they were visited: like the coagent's parameters."""
    # Σ_n d(n) E[E_t Σ_u ∂π(X_t, u) W(X_t, u) | n], the inner expectation over the outputs upstream and over whether it executes
    inner = p.given * p.beta * p.policy * p.advantage
    inner = inner.sum(axis=p.step.unread, keepdims=True) if p.step.unread else inner
    return p.add_up(p.occupancy.reshape(-1, *(1,) * (inner.ndim - 1)) * inner)


def _marginal(s: NetworkSetting, name: str) -> FloatArray:
    return marginal_at(s.at(name))


def _multi_update(s: NetworkSetting, name: str) -> FloatArray:
    # E[Σ_t γ^t Σ_x' Pr(x'|n) π(x',U)/π(X_t,U) (W(x',U) - b(x')) ∂ln π(x',U)], U ~ π(X_t, ·): π(X_t, u) cancels where it is not 0
    p = s.at(name)
    drawn = _over_upstream(p, p.given * (p.policy > 0))
    return _score_at(p, p.weight * p.policy * drawn * p.advantage)


def _multi_update_running(s: NetworkSetting, name: str) -> FloatArray:
    # the same with W(X_t,U) - b(X_t), of what was drawn upstream, in place of W(x',U) - b(x')
    p = s.at(name)
    running = _over_upstream(p, p.given * (p.policy > 0) * p.advantage)
    return _score_at(p, p.weight * p.policy * running)


def _over_upstream(p: Place, numbers: FloatArray) -> FloatArray:
    """Numbers (N, *live, u) summed over the outputs upstream, given the node."""
    sizes = (p.made.structure.tick.num_nodes, *p.step.turn.live_sizes, p.table.shape[-1])
    return np.broadcast_to(numbers, sizes).sum(axis=tuple(range(1, len(sizes) - 1)), keepdims=True)


def _undiscounted(s: NetworkSetting, name: str) -> FloatArray:
    return _expected_at(Place(s.made, s.at(name).index, s.undiscounted))


def _every_step(s: NetworkSetting, name: str) -> FloatArray:
    # E[Σ_t γ^t W(X_t, U_t) ∂ln π(X_t, U_t)], whether it executed or not
    p = s.at(name)
    return _score_at(p, p.weight * p.output_law * p.value)


def _one_gate(s: NetworkSetting, name: str) -> FloatArray:
    # E[Σ_t γ^t β'(X_t) W(X_t, U_t) ∂ln π(X_t, U_t)], β'(x) the largest β over what all gates but the last may say
    p, live = s.at(name), s.network.plan(s.made.structure.tick.final)[s.network.names.index(name)].live
    others = tuple(1 + live.index(gate) for gate in s.network.touched[name].upstream[:-1])
    alone = p.beta.max(axis=others, keepdims=True)
    return _score_at(p, p.weight * alone * p.output_law * p.value)


def _greedy_value(s: NetworkSetting, name: str) -> FloatArray:
    p = s.at(name)
    swept = s.made.sweep(gated_by(s.network, name))
    return _expected_at(Place(s.made, p.index, p.occupancy, swept))


def _margin(s: NetworkSetting, name: str) -> FloatArray:
    return _difference_at(s.at(name), MARGIN)


def _post_decision_pair(s: NetworkSetting, name: str) -> FloatArray:
    return _expected_at(Place(s.everything, s.at(name).index, s.after_decision(with_first=True)))


def _post_switch_option(s: NetworkSetting, name: str) -> FloatArray:
    return _expected_at(Place(s.everything, s.at(name).index, s.after_decision(with_first=False)))


NETWORK_FORMS: dict[str, NetworkForm] = {
    form.name: form
    for form in (
        NetworkForm(
            "expected",
            "every coagent",
            _every,
            "All outputs at their values wherever the coagent executes: the expectation over its own output.",
            True,
            "Always.",
            _expected,
        ),
        NetworkForm(
            "difference",
            "coagents with two outputs",
            _binary,
            "The slope of the probability of output 0 against the difference of the two values.",
            True,
            "Always.",
            _difference,
        ),
        NetworkForm(
            "score",
            "every coagent",
            _every,
            "The expectation of the sampled score of the output times its return less the mean value.",
            True,
            "Always; samples of it have more variance.",
            _score,
        ),
        NetworkForm(
            "marginal",
            "every coagent",
            _every,
            "The expectation over whether it executes, over what is drawn upstream and over its own output, given the start of the step.",
            True,
            "Always; samples of it have less variance.",
            _marginal,
        ),
        NetworkForm(
            "multi_update",
            "coagents that always execute and read an output of this step",
            _always_reads,
            "All that could have been read learns from the output drawn, by importance weights, each with its own value of it "
            "(after Flexible Option Learning).",
            True,
            "When no policy that may be read gives an output probability 0; importance weights are not bounded.",
            _multi_update,
        ),
        NetworkForm(
            "multi_update_running",
            "coagents that always execute and read an output of this step",
            _always_reads,
            "The same with the return of what was read, as Flexible Option Learning's code has it.",
            False,
            "When the value of an output less the mean does not depend on what is read, as where options always terminate and act alike.",
            _multi_update_running,
        ),
        NetworkForm(
            "undiscounted",
            "every coagent",
            _every,
            "The expected form with every step weighed alike: γ^t is dropped.",
            False,
            "When γ = 1.",
            _undiscounted,
        ),
        NetworkForm(
            "every_step",
            "coagents that may retain an output that matters",
            _retains,
            "The score of the output in force at every step, executed or not: E_t is dropped.",
            False,
            "When it always executes.",
            _every_step,
        ),
        NetworkForm(
            "one_gate",
            "coagents that several others gate",
            _gated_twice,
            "The score of the output in force wherever the last of the coagents that gate it allows it, whatever the others say.",
            False,
            "When the others always allow it.",
            _one_gate,
        ),
        NetworkForm(
            "greedy_value",
            "coagents that gate others",
            _gate,
            "The expected form with the best output of the coagents that it gates in place of their mean.",
            False,
            "When their policies are greedy.",
            _greedy_value,
        ),
        NetworkForm(
            "post_decision_pair",
            "coagents that read outputs of the step before",
            _remembers,
            "The expected form at (S_t, U_t), after the decisions of the step, in place of (S_t, U_{t-1}).",
            False,
            "When decisions change nothing that is remembered, and first steps are like others.",
            _post_decision_pair,
        ),
        NetworkForm(
            "post_switch_option",
            "coagents that read outputs of the step before",
            _remembers,
            "The same without the first step: the state arrived at, with what may have been switched to there.",
            False,
            "When nothing that is remembered changes after the first step, at which it does not execute.",
            _post_switch_option,
        ),
        NetworkForm(
            "margin",
            "coagents with two outputs that gate others",
            _binary_gate,
            f"The difference form with a margin of {MARGIN} added to the value of output 1 (CONTINUE), of which the values know nothing.",
            False,
            "When the margin is zero.",
            _margin,
        ),
    )
}
