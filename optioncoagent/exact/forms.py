"""Gradient forms of option-critic: the exact ones, and what public code computes instead.

A form is a record; `FORMS` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from optioncoagent.exact.option_values import OptionValues, option_values
from optioncoagent.gallery import CONTINUE, TERMINATE
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray, softmax

MARGIN = 0.1  # of the form "margin"
_UNDISCOUNTED: WeakKeyDictionary[MDP, MDP] = WeakKeyDictionary()


class NotDefined(ValueError):
    """A form that is not defined on this MDP."""


@dataclass(frozen=True)
class Setting:
    """What a form is evaluated on: flat option-critic with these params, its values and policies at every state."""

    mdp: MDP
    params: Mapping[str, Any]
    network: CoagentNetwork
    first: str
    deliberation_cost: float
    initial: Any

    @cached_property
    def found(self) -> OptionValues:
        """`option_values`, NaN where they are not defined."""
        return option_values(self.mdp, self.params, self.first, self.deliberation_cost, self.initial)

    @cached_property
    def values(self) -> OptionValues:
        """The same with 0 for values that are not defined: nothing goes there, but 0 times NaN would be NaN."""
        return OptionValues(**{field.name: np.nan_to_num(getattr(self.found, field.name)) for field in fields(self.found)})

    @cached_property
    def termination(self) -> FloatArray:
        """β(s, ω, ·), the law of TERMINATE and CONTINUE, (S, O, 2)."""
        return softmax(np.asarray(self.params["termination"], dtype=np.float64))[self.mdp.observation]

    @cached_property
    def policy_over_options(self) -> FloatArray:
        """π_Ω(ω|s), (S, O)."""
        return softmax(np.asarray(self.params["option"], dtype=np.float64))[self.mdp.observation]

    @cached_property
    def first_decision(self) -> FloatArray:
        """Pr(S_0 = s, ω_{-1} = ω) where the termination decides at the first step too, else 0, (S, O)."""
        if self.first == "select":
            return np.zeros(self.policy_over_options.shape)
        return np.where(self.mdp.terminal, 0.0, self.mdp.d0)[:, None] * self.network.initial("option")

    def decisions(self, d_beta: FloatArray) -> tuple[tuple[FloatArray, float], ...]:
        """An occupancy of decisions split into (weight (S, O), cost of TERMINATE): the first step is free of cost."""
        return (d_beta - self.first_decision, self.deliberation_cost), (self.first_decision, 0.0)

    def q_beta(self, cost: float) -> FloatArray:
        """Q_β(s, ω, u): V_Ω - c upon TERMINATE, Q_Ω upon CONTINUE, (S, O, 2)."""
        values = np.empty_like(self.termination)
        values[..., TERMINATE] = self.values.v_omega[:, None] - cost
        values[..., CONTINUE] = self.values.q_omega
        return values

    def undiscounted_d_beta(self) -> FloatArray:
        """Σ_t Pr(S_t = s, ω_{t-1} = ω), (S, O). Raises NotDefined where an episode may never end."""
        try:
            return option_values(undiscounted_mdp(self.mdp), self.params, self.first, self.deliberation_cost, self.initial).d_beta
        except ValueError as error:
            raise NotDefined(f"the undiscounted occupancy is not defined: {error}") from error


def undiscounted_mdp(mdp: MDP) -> MDP:
    """The same MDP with γ = 1, made once."""
    if mdp not in _UNDISCOUNTED:
        _UNDISCOUNTED[mdp] = MDP(mdp.P, mdp.R, mdp.d0, 1.0, mdp.terminal, mdp.observation)
    return _UNDISCOUNTED[mdp]


@dataclass(frozen=True)
class Form:
    """One way to compute the gradient of one coagent.

    name; coagent: whose logits; computes: one sentence; exact: is it the gradient of J? exact_when: when it is, or would be;
    formula: the gradient at each state's logits, (S, O, 2) for "termination", (S, O) for "option".
    """

    name: str
    coagent: str
    computes: str
    exact: bool
    exact_when: str
    formula: Callable[[Setting], FloatArray]

    def gradient(self, setting: Setting) -> FloatArray:
        """The form's gradient, like the logits of its coagent: states that share an observation add up."""
        by_state = self.formula(setting)
        gradient = np.zeros(np.shape(setting.params[self.coagent]))
        live = ~setting.mdp.terminal
        np.add.at(gradient, setting.mdp.observation[live], by_state[live])
        return gradient


def _expected(policy: FloatArray, weight: FloatArray, values: FloatArray) -> FloatArray:
    """weight Σ_u (∂π(u)/∂θ_v) values(u): ∂π(u)/∂θ_v = π(u) (1{u = v} - π(v))."""
    return weight[..., None] * policy * (values - (policy * values).sum(axis=-1, keepdims=True))


def _score(policy: FloatArray, weights: FloatArray) -> FloatArray:
    """Σ_u weights(u) ∂ln π(u)/∂θ_v, where ∂ln π(u)/∂θ_v = 1{u = v} - π(v)."""
    return weights - policy * weights.sum(axis=-1, keepdims=True)


def _slope(s: Setting, coefficient: FloatArray) -> FloatArray:
    """- coefficient ∂b: ∂b/∂ϑ is b (1 - b) for the logit of TERMINATE and its negative for that of CONTINUE."""
    slope = np.zeros_like(s.termination)
    slope[..., TERMINATE] = s.termination[..., TERMINATE] * s.termination[..., CONTINUE]
    slope[..., CONTINUE] = -slope[..., TERMINATE]
    return -coefficient[..., None] * slope


def _against(s: Setting, d_beta: FloatArray, advantage: FloatArray) -> FloatArray:
    """- Σ d_β ∂b (advantage + c)."""
    return _slope(s, np.sum([weight * (advantage + cost) for weight, cost in s.decisions(d_beta)], axis=0))


def _q_beta(s: Setting) -> FloatArray:
    # ∂J/∂ϑ = Σ_{s,ω} d_β(s,ω) Σ_u (∂β(x,u)/∂ϑ) Q_β(x,u)
    parts = [_expected(s.termination, weight, s.q_beta(cost)) for weight, cost in s.decisions(s.values.d_beta)]
    return np.sum(parts, axis=0)


def _advantage(s: Setting) -> FloatArray:
    # ∂J/∂ϑ = - Σ_{s,ω} d_β(s,ω) (∂b_ω(s)/∂ϑ) (A_Ω(s,ω) + c)
    return _against(s, s.values.d_beta, s.values.a_omega)


def _score_form(s: Setting) -> FloatArray:
    # E[Σ_t γ^t (G_t - U(ω_{t-1}, S_t)) ∂ln β(X_t, U_t)/∂ϑ], where E[G_t | x, u] = Q_β(x,u)
    parts = [weight[..., None] * s.termination * (s.q_beta(cost) - s.values.u[..., None]) for weight, cost in s.decisions(s.values.d_beta)]
    return _score(s.termination, np.sum(parts, axis=0))


def _undiscounted(s: Setting) -> FloatArray:
    return _against(s, s.undiscounted_d_beta(), s.values.a_omega)


def _greedy_value(s: Setting) -> FloatArray:
    best = np.nan_to_num(np.fmax.reduce(s.found.q_omega, axis=1))  # of those that are defined
    return _against(s, s.values.d_beta, s.values.q_omega - best[:, None])


def _post_decision_pair(s: Setting) -> FloatArray:
    return _slope(s, s.values.d_z * (s.values.a_omega + s.deliberation_cost))


def _post_switch_option(s: Setting) -> FloatArray:
    # Σ_{t≥1} γ^t Pr(S_t = s, ω_t = ω): d_Z without its first step
    b, at_first = s.termination[..., TERMINATE], np.where(s.mdp.terminal, 0.0, s.mdp.d0)[:, None]
    chosen = at_first if s.first == "select" else (s.first_decision * b).sum(axis=1, keepdims=True)
    first = s.first_decision * (1 - b) + chosen * s.policy_over_options
    return _slope(s, (s.values.d_z - first) * (s.values.a_omega + s.deliberation_cost))


def _margin(s: Setting) -> FloatArray:
    return _against(s, s.values.d_beta, s.values.a_omega + MARGIN)


def _option_exact(s: Setting) -> FloatArray:
    # ∂J/∂φ = Σ_s d_Ω(s) Σ_ω (∂π_Ω(ω|s)/∂φ) Q_Ω(s,ω)
    return _expected(s.policy_over_options, s.values.d_omega, s.values.q_omega)


def _marginalised(s: Setting) -> FloatArray:
    # weight b_{ω_{t-1}}(S_t) for the sampled E_t; under first="select" the first step has weight 1
    weight = (s.values.d_beta * s.termination[..., TERMINATE]).sum(axis=1)
    if s.first == "select":
        weight = weight + np.where(s.mdp.terminal, 0.0, s.mdp.d0)
    return _expected(s.policy_over_options, weight, s.values.q_omega)


def _every_step(s: Setting) -> FloatArray:
    # E[Σ_t γ^t G_t ∂ln π_Ω(ω_t|S_t)/∂φ]
    return _score(s.policy_over_options, s.values.d_z * s.values.q_omega)


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(
            name="q_beta",
            coagent="termination",
            computes="Both outputs of the termination at their values, Q_Ω upon CONTINUE and V_Ω - c upon TERMINATE (ACN, E.2).",
            exact=True,
            exact_when="Always.",
            formula=_q_beta,
        ),
        Form(
            name="advantage",
            coagent="termination",
            computes="The slope of b against A_Ω + c before the decision (OC, Theorem 2).",
            exact=True,
            exact_when="Always; c counts wherever it is charged, and the critics carry it.",
            formula=_advantage,
        ),
        Form(
            name="score",
            coagent="termination",
            computes="The expectation of the sampled score of the decision times its return less U.",
            exact=True,
            exact_when="Always; samples of it have more variance.",
            formula=_score_form,
        ),
        Form(
            name="undiscounted",
            coagent="termination",
            computes="The advantage form with every step weighed alike: γ^t is dropped.",
            exact=False,
            exact_when="When γ = 1.",
            formula=_undiscounted,
        ),
        Form(
            name="greedy_value",
            coagent="termination",
            computes="The advantage form with max_ω Q_Ω in place of V_Ω.",
            exact=False,
            exact_when="When the policy over options is greedy.",
            formula=_greedy_value,
        ),
        Form(
            name="post_decision_pair",
            coagent="termination",
            computes="The advantage form at (S_t, ω_t), after the decision, in place of (S_t, ω_{t-1}).",
            exact=False,
            exact_when="When there is one option and no cost, where the gradient is zero.",
            formula=_post_decision_pair,
        ),
        Form(
            name="post_switch_option",
            coagent="termination",
            computes=(
                "The advantage form at (S_{t+1}, ω_{t+1}): the state arrived at, with the option that may have been switched to there."
            ),
            exact=False,
            exact_when='When no option ever switches, under first="select".',
            formula=_post_switch_option,
        ),
        Form(
            name="margin",
            coagent="termination",
            computes=f"The advantage form with a margin of {MARGIN} added to the advantage, of which the critics know nothing.",
            exact=False,
            exact_when="When the margin is zero; a cost that the critics carry is deliberation_cost.",
            formula=_margin,
        ),
        Form(
            name="exact",
            coagent="option",
            computes="Q_Ω against the policy over options wherever it executes (ACN's asynchronous theorem; OC leaves it open).",
            exact=True,
            exact_when="Always.",
            formula=_option_exact,
        ),
        Form(
            name="marginalised",
            coagent="option",
            computes="The same with the probability to terminate, b at (S_t, ω_{t-1}), in place of whether it did.",
            exact=True,
            exact_when="Always; samples of it have less variance.",
            formula=_marginalised,
        ),
        Form(
            name="every_step",
            coagent="option",
            computes="The score of the running option at every step, executed or not: E_t is dropped.",
            exact=False,
            exact_when="When every option terminates at every step.",
            formula=_every_step,
        ),
    )
}
