"""Gradient forms of any coagent in any network: the exact ones, and what is left out or put in place of something else.

A form is a record; `NETWORK_FORMS` lists them, and each says which coagents it is for. Where option-critic is the network, a form of the
same name in `forms.FORMS` is the same vector, where both are defined; "expected" is q_beta of the termination and exact of the option,
"difference" is advantage, and "marginal" is marginalised.

W(x, u), b(x) and d(x) are as in `network_setting`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optioncoagent.exact.forms import MARGIN, NotDefined
from optioncoagent.exact.network_setting import NetworkSetting, Place
from optioncoagent.network import CoagentNetwork, FloatArray

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
    return network.may_retain(name) and bool(name in network.memory or name in network.action or network.readers(name))


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
    return bool(network[name].upstream) and not network.may_retain(name)


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
    p = s.at(name)
    others = tuple(1 + p.step.turn.live.index(gate) for gate in s.network.touched[name].upstream[:-1])
    alone = p.beta.max(axis=others, keepdims=True)
    return _score_at(p, p.weight * alone * p.output_law * p.value)


def _greedy_value(s: NetworkSetting, name: str) -> FloatArray:
    # the best output may be one that no policy draws, which leads where nothing goes: then at all nodes
    made = s.made if all((policy > 0).all() for policy in s.made.policies.values()) else s.everything
    if made.structure.never_end.size:
        raise NotDefined("an output may be the best one that leads where an episode never ends, and has no value there")
    return _expected_at(Place(made, s.at(name).index, made.occupancy, made.sweep(gated_by(s.network, name))))


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
            name="expected",
            to="every coagent",
            applies=_every,
            computes="All outputs at their values wherever the coagent executes: the expectation over its own output.",
            exact=True,
            exact_when="Always.",
            formula=_expected,
        ),
        NetworkForm(
            name="difference",
            to="coagents with two outputs",
            applies=_binary,
            computes="The slope of the probability of output 0 against the difference of the two values.",
            exact=True,
            exact_when="Always.",
            formula=_difference,
        ),
        NetworkForm(
            name="score",
            to="every coagent",
            applies=_every,
            computes="The expectation of the sampled score of the output times its return less the mean value.",
            exact=True,
            exact_when="Always; samples of it have more variance.",
            formula=_score,
        ),
        NetworkForm(
            name="marginal",
            to="every coagent",
            applies=_every,
            computes=(
                "The expectation over whether it executes, over what is drawn upstream "
                "and over its own output, given the start of the step."
            ),
            exact=True,
            exact_when="Always; samples of it have less variance.",
            formula=_marginal,
        ),
        NetworkForm(
            name="multi_update",
            to="coagents that always execute and read an output of this step",
            applies=_always_reads,
            computes=(
                "All that could have been read learns from the output drawn, by importance weights, each with its own value of it "
                "(after Flexible Option Learning)."
            ),
            exact=True,
            exact_when="When no policy that may be read gives an output probability 0; importance weights are not bounded.",
            formula=_multi_update,
        ),
        NetworkForm(
            name="multi_update_running",
            to="coagents that always execute and read an output of this step",
            applies=_always_reads,
            computes="The same with the return of what was read, as Flexible Option Learning's code has it.",
            exact=False,
            exact_when=(
                "When the value of an output less the mean does not depend on what is read, "
                "as where options always terminate and act alike."
            ),
            formula=_multi_update_running,
        ),
        NetworkForm(
            name="undiscounted",
            to="every coagent",
            applies=_every,
            computes="The expected form with every step weighed alike: γ^t is dropped.",
            exact=False,
            exact_when="When γ = 1.",
            formula=_undiscounted,
        ),
        NetworkForm(
            name="every_step",
            to="coagents that may retain an output that matters",
            applies=_retains,
            computes=(
                "The score of the output in force at every step, executed or not: E_t is dropped. Costs of earlier coagents of the step "
                "do not count."
            ),
            exact=False,
            exact_when="When it always executes.",
            formula=_every_step,
        ),
        NetworkForm(
            name="one_gate",
            to="coagents that several others gate",
            applies=_gated_twice,
            computes="The score of the output in force wherever the last of the coagents that gate it allows it, whatever the others say.",
            exact=False,
            exact_when="When the others always allow it, and what is allowed executes for sure.",
            formula=_one_gate,
        ),
        NetworkForm(
            name="greedy_value",
            to="coagents that gate others",
            applies=_gate,
            computes="The expected form with the best output of the coagents that it gates in place of their mean.",
            exact=False,
            exact_when="When their policies are greedy.",
            formula=_greedy_value,
        ),
        NetworkForm(
            name="post_decision_pair",
            to="coagents that read outputs of the step before",
            applies=_remembers,
            computes="The expected form at (S_t, U_t), after the decisions of the step, in place of (S_t, U_{t-1}).",
            exact=False,
            exact_when="When decisions change nothing that is remembered, and first steps are like others.",
            formula=_post_decision_pair,
        ),
        NetworkForm(
            name="post_switch_option",
            to="coagents that read outputs of the step before",
            applies=_remembers,
            computes="The same without the first step: the state arrived at, with what may have been switched to there.",
            exact=False,
            exact_when="When nothing that is remembered changes after the first step, at which it does not execute.",
            formula=_post_switch_option,
        ),
        NetworkForm(
            name="margin",
            to="coagents with two outputs that gate others",
            applies=_binary_gate,
            computes=(
                f"The difference form with a margin of {MARGIN} added to the value of output 1 (CONTINUE), of which the values know "
                "nothing."
            ),
            exact=False,
            exact_when="When the margin is zero.",
            formula=_margin,
        ),
    )
}
