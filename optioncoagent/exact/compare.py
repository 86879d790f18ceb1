"""Gradient forms, evaluated and measured against the exact gradient: those of flat option-critic, and those of any network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from optioncoagent.exact.forms import FORMS, Form, NotDefined, Setting
from optioncoagent.exact.gradients import policy_gradient
from optioncoagent.exact.network_forms import NETWORK_FORMS, NetworkForm
from optioncoagent.exact.network_setting import NetworkSetting
from optioncoagent.exact.option_values import flat_network
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray


def termination_gradient(
    mdp: MDP,
    params: Mapping[str, Any],
    form: str = "q_beta",
    first: str = "select",
    deliberation_cost: float = 0.0,
    initial: Any = None,
) -> FloatArray:
    """The termination gradient of flat option-critic in one of its forms, like params["termination"].

    form: "q_beta", "advantage" and "score" are exact; the others are deviations, see `FORMS`. Raises ValueError for a form of another
    coagent or an unknown one, and where `option_values` does; "undiscounted" needs episodes that end.
    """
    known = [name for name, record in FORMS.items() if record.coagent == "termination"]
    if form not in known:
        raise ValueError(f"form={form!r} is not a form of the termination gradient: choose one of {known}")
    return form_gradient(mdp, params, form, first, deliberation_cost, initial)


def form_gradient(
    mdp: MDP,
    params: Mapping[str, Any],
    form: str | Form,
    first: str = "select",
    deliberation_cost: float = 0.0,
    initial: Any = None,
) -> FloatArray:
    """Any form, of `FORMS` by name or one's own, like the logits of its coagent: `FORMS[form].coagent` says whose.

    Raises ValueError for an unknown name, and where `option_values` does; "undiscounted" needs episodes that end.
    """
    return _record(form).gradient(_setting(mdp, params, first, deliberation_cost, initial))


class Comparison(NamedTuple):
    """One form against the exact gradient of its coagent.

    cosine; norm_ratio: |form| / |exact|; sign_agreement: share of the exact gradient's entries that are not zero whose sign the form has;
    max_abs_difference; exact: does the form claim to be exact? Either gradient counts as zero where its norm is no more than the
    rounding of a sum like it: machine epsilon times the number of terms times the largest of them, |d_Z Q_Ω| (in any network |d W|).
    Where the exact one is zero, cosine, norm_ratio and sign_agreement are NaN; where the form is, cosine; and everything where the form is
    not defined ("undiscounted" where episodes may never end).
    """

    coagent: str
    form: str
    cosine: float
    norm_ratio: float
    sign_agreement: float
    max_abs_difference: float
    exact: bool


def compare_gradients(
    mdp: MDP,
    params: Mapping[str, Any],
    forms: str | Iterable[str | Form | NetworkForm] | None = None,
    first: str = "select",
    deliberation_cost: float = 0.0,
    initial: Any = None,
    network: CoagentNetwork | None = None,
) -> list[Comparison]:
    """Measure gradient forms against the exact gradient, one row each.

    Without a network: forms of flat option-critic, names in `FORMS` or records of one's own (None: all of `FORMS`), in the order given.
    network: any other, a hierarchy among them, which params are of; forms are names in `NETWORK_FORMS` or records (None: all), and rows
    come coagent by coagent, those forms that apply to it, measured against its local gradient (of a coagent that shares parameters, its own
    term). first, deliberation_cost and initial then say nothing: the network does.
    Raises ValueError for an unknown name, for a form that applies to no coagent, where `option_values` or `expected_return` does, and for a
    network whose chain is too large to be built.
    """
    forms = [forms] if isinstance(forms, str) else forms
    if network is not None:
        if first != "select" or deliberation_cost != 0 or initial is not None:
            raise ValueError("first, deliberation_cost and initial describe the flat network that params imply: leave them to network")
        return _compare_network(mdp, network, params, forms)
    chosen = [_record(form) for form in (FORMS if forms is None else forms)]
    setting = _setting(mdp, params, first, deliberation_cost, initial)
    truth = policy_gradient(mdp, setting.network, params)
    # the error of a sum of n terms is about eps n max |term|: here one for each (s, ω) and each output and action
    terms = setting.termination.size + setting.values.q_u.size
    rounding = float(np.finfo(np.float64).eps * terms * np.abs(setting.values.d_z * setting.values.q_omega).max())
    rows = []
    for form in chosen:
        try:
            gradient = form.gradient(setting)
        except NotDefined:
            gradient = np.full_like(truth[form.coagent], np.nan)
        rows.append(_compare(form.coagent, form, gradient.reshape(-1), truth[form.coagent].reshape(-1), rounding))
    return rows


def _compare_network(
    mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], forms: Iterable[str | Form | NetworkForm] | None
) -> list[Comparison]:
    chosen = [_network_record(form) for form in (NETWORK_FORMS if forms is None else forms)]
    for form in chosen:
        if forms is not None and not any(form.applies(network, name) for name in network.names):
            raise ValueError(f"form {form.name!r} is for {form.to}, of which the network has none")
    setting = NetworkSetting(mdp, network, params)
    made = setting.made
    # as above, one for each node and joint output of a coagent's turn, each at most max |d| max |W|
    largest = np.abs(made.occupancy).max(initial=0.0) * max(np.abs(value).max(initial=0.0) for value in made.swept[0])
    terms = sum(made.structure.tick.num_nodes * step.turn.num_values for step in made.structure.tick.steps)
    rounding = float(np.finfo(np.float64).eps * terms * largest)
    rows = []
    for name in network.names:
        truth = made.local_gradient(name)
        for form in [form for form in chosen if form.applies(network, name)]:
            try:
                gradient = form.formula(setting, name)
            except NotDefined:
                gradient = np.full_like(truth, np.nan)
            rows.append(_compare(name, form, gradient.reshape(-1), truth.reshape(-1), rounding))
    return rows


def network_form_gradient(
    mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], form: str | NetworkForm, coagent: str
) -> FloatArray:
    """A form of any network, of `NETWORK_FORMS` by name or one's own, for one coagent: like its parameters.

    Raises ValueError for an unknown form or coagent, for a form that does not apply to the coagent, and where `compare_gradients` does;
    "undiscounted" needs episodes that end.
    """
    record = _network_record(form)
    network.check_name(coagent)
    if not record.applies(network, coagent):
        raise ValueError(f"form {record.name!r} is for {record.to}, and {coagent!r} is none of them")
    return record.formula(NetworkSetting(mdp, network, params), coagent)


def _network_record(form: str | Form | NetworkForm) -> NetworkForm:
    if isinstance(form, NetworkForm):
        return form
    if isinstance(form, Form) or form not in NETWORK_FORMS:
        raise ValueError(f"unknown form {form!r} of a network: choose from {list(NETWORK_FORMS)}, or pass a NetworkForm")
    return NETWORK_FORMS[form]


def _record(form: str | Form | NetworkForm) -> Form:
    if isinstance(form, Form):
        return form
    if isinstance(form, NetworkForm) or form not in FORMS:
        raise ValueError(f"unknown form {form!r}: choose from {list(FORMS)}, or pass a Form")
    return FORMS[form]


def _setting(mdp: MDP, params: Mapping[str, Any], first: str, deliberation_cost: float, initial: Any) -> Setting:
    mdp = mdp.unrolled
    return Setting(mdp, params, flat_network(mdp, params, first, deliberation_cost, initial), first, deliberation_cost, initial)


def _compare(coagent: str, form: Form | NetworkForm, gradient: FloatArray, truth: FloatArray, rounding: float) -> Comparison:
    gradient, truth = (np.zeros_like(x) if np.linalg.norm(x) <= rounding else x for x in (gradient, truth))
    norm, true_norm = float(np.linalg.norm(gradient)), float(np.linalg.norm(truth))
    signed = np.abs(truth) > rounding
    agree = np.where(np.isnan(gradient), np.nan, np.sign(gradient) == np.sign(truth))[signed]
    return Comparison(
        coagent=coagent,
        form=form.name,
        cosine=float(gradient @ truth) / (norm * true_norm) if norm > 0 and true_norm > 0 else np.nan,
        norm_ratio=norm / true_norm if true_norm > 0 else np.nan,
        sign_agreement=float(agree.mean()) if agree.size else np.nan,
        max_abs_difference=float(np.abs(gradient - truth).max(initial=0.0)),
        exact=form.exact,
    )
