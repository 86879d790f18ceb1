"""ACN, appendix E, and OC's theorems: option-critic's values, occupancies and gradients, and the networks it reduces to."""

from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import mdps
from witness import assert_same

from optioncoagent.exact import (
    FORMS,
    compare_gradients,
    expected_return,
    finite_difference,
    form_gradient,
    option_values,
    policy_gradient,
    termination_gradient,
)
from optioncoagent.gallery import CONTINUE, TERMINATE, option_critic
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork, softmax

ENDING = np.array([[[0.5, 0.25, 0.25], [0, 0.5, 0.5]], [[0.5, 0, 0.5], [0.25, 0.25, 0.5]], [[0, 0, 1], [0, 0, 1]]])


@st.composite
def problems(draw, max_states=4, gammas=(0.9, 1.0, 0.5, 0.9)):
    """(mdp, params, settings of option-critic)."""
    num_options, num_actions = draw(st.sampled_from((2, 3, 2, 1))), draw(st.sampled_from((2, 3)))
    same = {
        "first": draw(st.sampled_from(("select", "terminate"))),
        "deliberation_cost": draw(st.sampled_from((0.3, 0.0))),
        "initial": draw(st.sampled_from((None, 0, tuple(np.arange(1, num_options + 1) / np.arange(1, num_options + 1).sum())))),
    }
    mdp = draw(mdps(num_actions, max_states, gammas))
    network = option_critic(num_options, num_actions, **same)
    return mdp, network.init_params(mdp.num_observations, draw(st.integers(0, 2**32 - 1))), same


class Witness:
    """Option-critic with dense arrays over (s, ω), written down from OC's equations."""

    def __init__(self, mdp, params, first, deliberation_cost, initial):
        O, S = params["option"].shape[1], mdp.num_states  # noqa: E741
        self.b = softmax(params["termination"])[mdp.observation][:, :, TERMINATE]
        self.pi_omega, self.pi = softmax(params["option"])[mdp.observation], softmax(params["action"])[mdp.observation]
        P, r, live = mdp.transition_matrix.toarray().reshape(S, -1, S), mdp.expected_reward, (~mdp.terminal).astype(float)
        # U(ω', s') = Σ_ω' switch(s', ω, ω') Q(s', ω') - b c, where switch = (1 - b) 1{ω = ω'} + b π_Ω(ω')
        switch = np.einsum("so,op->sop", 1 - self.b, np.eye(O)) + self.b[:, :, None] * self.pi_omega[:, None, :]
        reach = np.einsum("soa,sat,t,top->sotp", self.pi, P, live, switch).reshape(S * O, S * O)
        charged = np.einsum("soa,sat,t,to->so", self.pi, P, live, self.b) * deliberation_cost
        earned = np.einsum("soa,sa,s->so", self.pi, r, live) - mdp.gamma * charged * live[:, None]
        reach *= np.repeat(live, O)[:, None]
        inverse = np.linalg.inv(np.eye(S * O) - mdp.gamma * reach)
        self.q_omega = (inverse @ earned.reshape(-1)).reshape(S, O)
        self.v_omega = (self.pi_omega * self.q_omega).sum(axis=1)
        self.a_omega = self.q_omega - self.v_omega[:, None]
        self.u = (np.einsum("sop,sp->so", switch, self.q_omega) - self.b * deliberation_cost) * live[:, None]
        self.q_u = (r[:, None, :] + mdp.gamma * np.einsum("sat,to->soa", P, self.u)) * live[:, None, None]
        h0 = CoagentNetwork([Coagent("action", O, initial=initial)]).initial("action")
        start = (mdp.d0 * live)[:, None] * h0  # (S_0, ω_{-1})
        chosen = np.einsum("so,sop->sp", start, switch) if first == "terminate" else (mdp.d0 * live)[:, None] * self.pi_omega
        self.d_z = (chosen.reshape(-1) @ inverse).reshape(S, O)
        carried = mdp.gamma * np.einsum("so,soa,sat,t->to", self.d_z, self.pi, P, live)
        self.d_beta = carried + (start if first == "terminate" else 0)
        self.d_omega = (self.d_beta * self.b).sum(axis=1) + (mdp.d0 * live if first == "select" else 0)
        self.J = (start * (self.u + self.b * deliberation_cost)).sum() if first == "terminate" else (mdp.d0 * live) @ self.v_omega


@given(problems())
def test_option_values(problem):
    """Every value and occupancy, at every (s, ω), against dense arrays; 0 at terminal states."""
    mdp, params, same = problem
    values, witness = option_values(mdp, params, **same), Witness(mdp, params, **same)
    for name in ("q_u", "q_omega", "v_omega", "a_omega", "u", "d_beta", "d_z", "d_omega"):
        np.testing.assert_allclose(getattr(values, name), getattr(witness, name), rtol=1e-9, atol=1e-10, err_msg=name)
        assert (getattr(values, name)[mdp.terminal] == 0).all()


@given(problems())
def test_objective_of_both_conventions(problem):
    """J = E[V_Ω(S_0)] under first="select", E[U(ω_{-1}, S_0)] under "terminate" (whose first step is free of cost)."""
    mdp, params, same = problem
    network = option_critic(params["option"].shape[1], mdp.num_actions, **same)
    assert expected_return(mdp, network, params) == pytest.approx(Witness(mdp, params, **same).J, rel=1e-9, abs=1e-12)


@given(problems())
def test_e_2_termination_gradient(problem):
    """ACN's Σ d_β Σ_u ∂β Q_β, OC's - Σ d_β ∂b A and the score's expectation are one vector: the network's local gradient."""
    mdp, params, same = problem
    exact = policy_gradient(mdp, option_critic(params["option"].shape[1], mdp.num_actions, **same), params)
    for form in ("q_beta", "advantage", "score"):
        assert_same({"": termination_gradient(mdp, params, form, **same)}, {"": exact["termination"]}, 1e-9)


@given(problems())
def test_oc_theorems_1_and_2(problem):
    """The intra-option gradient weighs by d_Z, the termination gradient is OC's Theorem 2 at (S_1, ω_0), times γ, under "select"."""
    mdp, params, same = problem
    same["deliberation_cost"] = 0.0
    w, O = Witness(mdp, params, **same), params["option"].shape[1]  # noqa: E741
    exact = policy_gradient(mdp, option_critic(O, mdp.num_actions, **same), params)
    action, termination = np.zeros(params["action"].shape), np.zeros(params["termination"].shape)
    np.add.at(action, mdp.observation, w.d_z[..., None] * w.pi * (w.q_u - w.q_omega[..., None]))
    assert_same({"": exact["action"]}, {"": action}, 1e-9)

    # OC, Theorem 2, from each (s_1, ω_0): - Σ μ(s', ω | s_1, ω_0) ∂b A, with μ discounted from (s_1, ω_0) on
    P, live = mdp.transition_matrix.toarray().reshape(mdp.num_states, -1, mdp.num_states), (~mdp.terminal).astype(float)
    switch = np.einsum("so,op->sop", 1 - w.b, np.eye(O)) + w.b[:, :, None] * w.pi_omega[:, None, :]
    onwards = np.einsum("sop,spa,sat,t,s->sotp", switch, w.pi, P, live, live).reshape(mdp.num_states * O, -1)
    mu = np.linalg.inv(np.eye(len(onwards)) - mdp.gamma * onwards)
    by_pair = -(w.b * (1 - w.b) * w.a_omega).reshape(-1)
    if same["first"] == "select":
        at_1 = np.einsum("s,so,soa,sat,t->to", mdp.d0 * live, w.pi_omega, w.pi, P, live)
        weights = mdp.gamma * at_1.reshape(-1) @ mu
    else:
        h0 = option_critic(O, mdp.num_actions, **same).initial("option")
        weights = ((mdp.d0 * live)[:, None] * h0).reshape(-1) @ mu
    by_logit = (weights * by_pair).reshape(-1, O)
    np.add.at(termination[..., TERMINATE], mdp.observation, by_logit)
    np.add.at(termination[..., CONTINUE], mdp.observation, -by_logit)
    assert_same({"": exact["termination"]}, {"": termination}, 1e-9)


@given(problems())
def test_forms_that_claim_to_be_exact_are(problem):
    mdp, params, same = problem
    rows = compare_gradients(mdp, params, **same)
    assert [(row.form, row.coagent, row.exact) for row in rows] == [(f.name, f.coagent, f.exact) for f in FORMS.values()]
    for row in rows:
        if row.exact and not np.isnan(row.cosine):
            assert row.max_abs_difference < 1e-9 * max(1.0, row.norm_ratio)
            assert row.norm_ratio == pytest.approx(1.0, abs=1e-6) and row.cosine == pytest.approx(1.0, abs=1e-9)


def assert_exact(mdp, params, same, form):
    exact = policy_gradient(mdp, option_critic(params["option"].shape[1], mdp.num_actions, **same), params)
    row = compare_gradients(mdp, params, [form], **same)[0]
    assert row.max_abs_difference < 1e-9 * max(1.0, np.abs(exact[row.coagent]).max())


@given(problems(gammas=(1.0,)))
def test_undiscounted_is_exact_without_a_discount(problem):
    assert_exact(*problem, "undiscounted")


@given(problems())
def test_every_step_is_exact_where_options_always_terminate(problem):
    problem[1]["termination"][..., CONTINUE] = -np.inf
    assert_exact(*problem, "every_step")


@given(problems())
def test_greedy_value_is_exact_under_a_greedy_policy_over_options(problem):
    """Policy iteration over π_Ω alone, at states that look different, finds a π_Ω that is greedy for its own Q_Ω."""
    shared, params, same = problem
    mdp = MDP(shared.P, shared.R, shared.d0, shared.gamma, shared.terminal)
    params = option_critic(params["option"].shape[1], mdp.num_actions).init_params(mdp.num_states, seed=1)
    for _ in range(20):
        q_omega = option_values(mdp, params, **same).q_omega
        greedy = softmax(params["option"]) * q_omega
        if np.allclose(greedy.sum(axis=1), q_omega.max(axis=1), atol=1e-12):
            break
        params["option"] = np.where(np.arange(q_omega.shape[1]) == q_omega.argmax(axis=1)[:, None], 0.0, -np.inf)
    assert_exact(mdp, params, same, "greedy_value")


def test_greedy_value_is_of_what_is_defined():
    """An option that never ends and is never chosen has no value at γ = 1; 0 in its place would be the best where every step costs 1."""
    P = np.zeros((3, 2, 3))
    P[0, 0, 1] = P[0, 1, 2] = P[1, :, 2] = P[2, :, 2] = 1
    P[1, 1] = [0, 1, 0]
    mdp = MDP(P, np.array([[-1.0, -1], [-1, -1], [0, 0]]), [1, 0, 0], 1.0)
    network = option_critic(3, 2, first="select")
    params = network.init_params(3, seed=1)
    params["option"][:, 2] = -np.inf
    params["termination"][:, 2, TERMINATE] = -np.inf
    params["action"][:, 2, 0] = -np.inf
    values = option_values(mdp, params)
    assert np.isnan(values.q_omega[1, 2])
    b = softmax(params["termination"])[..., TERMINATE]
    expected = -values.d_beta * b * (1 - b) * (values.q_omega - np.nanmax(values.q_omega, axis=1, keepdims=True))
    found = termination_gradient(mdp, params, "greedy_value")[..., TERMINATE]
    np.testing.assert_allclose(found[:2, :2], expected[:2, :2], atol=1e-12)
    assert np.abs(expected[:2, :2]).max() > 0.001


@given(problems())
def test_margin_adds_the_slope_of_termination(problem):
    """- Σ d_β ∂b (A + c + 0.1) differs from the exact gradient by - 0.1 Σ d_β ∂b."""
    mdp, params, same = problem
    values, b = option_values(mdp, params, **same), softmax(params["termination"])[mdp.observation][..., TERMINATE]
    expected = np.zeros(params["option"].shape)
    np.add.at(expected, mdp.observation, -0.1 * values.d_beta * b * (1 - b))
    difference = termination_gradient(mdp, params, "margin", **same) - termination_gradient(mdp, params, **same)
    np.testing.assert_allclose(difference, np.stack([expected, -expected], axis=-1), atol=1e-10)


@given(problems())
def test_a_gradient_that_is_zero_up_to_rounding_counts_as_zero(problem):
    """Where all options act alike (one option among them), and switching is free, neither b nor π_Ω matters."""
    mdp, params, same = problem
    same["deliberation_cost"] = 0.0
    params["action"][:] = params["action"][:, :1]
    for row in compare_gradients(mdp, params, **same):
        assert np.isnan([row.cosine, row.norm_ratio, row.sign_agreement]).all()
        assert row.max_abs_difference == 0 or not row.exact


def test_undiscounted_of_a_task_without_end_is_not_a_number():
    mdp = MDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], 0.9)
    params = option_critic(2, 2).init_params(1)
    row = {r.form: r for r in compare_gradients(mdp, params)}["undiscounted"]
    assert np.isnan([row.cosine, row.norm_ratio, row.sign_agreement, row.max_abs_difference]).all()
    with pytest.raises(ValueError, match="may never end"):
        termination_gradient(mdp, params, "undiscounted")


def test_worked_example():
    """Two options in a corridor of one cell, by hand.

    State 0 is the cell, state 1 its end. Action "go" ends with probability 1/2, "stay" never; each step costs 1; γ = 1/2. Option 0
    always goes, option 1 always stays (so -inf logits); both terminate with probability 1/2, π_Ω is uniform. Then

        Q(go)   = -1 + 1/2 · 1/2 · U(go),      U(go)   = 3/4 Q(go) + 1/4 Q(stay)
        Q(stay) = -1 + 1/2 U(stay),            U(stay) = 1/4 Q(go) + 3/4 Q(stay)

    so Q(go) (1 - 3/16) - 1/16 Q(stay) = -1 and -1/8 Q(go) + 5/8 Q(stay) = -1: the determinant is 13/16 · 5/8 - 1/128 = 1/2, and

        Q(go) = -(5/8 + 1/16) · 2 = -11/8,      Q(stay) = -(13/16 + 1/8) · 2 = -15/8,      V = -13/8.

    Under first="select" J = V. d_Z = (1/2, 1/2) (I - γ T)^-1 over (go, stay), T = [[3/8, 1/8], [1/4, 3/4]], hence d_Z = (3/4, 7/8), as
    13/16 d_Z(go) - 1/8 d_Z(stay) = 1/2 and 5/8 d_Z(stay) - 1/16 d_Z(go) = 1/2 say. d_β(go) = 1/2 · 1/2 · 3/4 = 3/16 and
    d_β(stay) = 1/2 · 7/8 = 7/16, so that d_Ω = 1 + 1/2 (3/16 + 7/16) = 21/16. A = (1/4, -1/4) and ∂b = b (1 - b) = 1/4: the gradient of
    the logits of TERMINATE is -d_β ∂b A = (-3/256, 7/256), that of π_Ω is d_Ω · 1/2 · A = (21/128, -21/128).
    """
    P = np.array([[[0.5, 0.5], [1, 0]], [[0, 1], [0, 1]]])
    mdp = MDP(P, np.array([[-1, -1], [0, 0]]), [1, 0], 0.5)
    network = option_critic(2, 2)
    params = network.init_params(2, scale=0.0)
    params["action"][:, 0, 1] = params["action"][:, 1, 0] = -np.inf
    values, gradient = option_values(mdp, params), policy_gradient(mdp, network, params)

    def close(found, *expected):
        assert np.ravel(found) == pytest.approx([float(e) for e in expected], abs=1e-14)

    close(expected_return(mdp, network, params), F(-13, 8))
    close(values.q_omega[0], F(-11, 8), F(-15, 8))
    close(values.v_omega[0], F(-13, 8))
    close(values.a_omega[0], F(1, 4), F(-1, 4))
    close(values.u[0], F(-3, 2), F(-7, 4))
    close(values.d_z[0], F(3, 4), F(7, 8))
    close(values.d_beta[0], F(3, 16), F(7, 16))
    close(values.d_omega[0], F(21, 16))
    close(gradient["termination"][0], F(-3, 256), F(3, 256), F(7, 256), F(-7, 256))
    close(gradient["option"][0], F(21, 128), F(-21, 128))
    close(gradient["action"], *[0] * 8)


# Reductions


def flat(num_actions):
    return CoagentNetwork([Coagent("action", num_actions)])


@given(problems())
def test_one_option_is_a_flat_policy(problem):
    mdp, params, same = problem
    same["initial"], same["deliberation_cost"] = None, 0.0
    params = {"termination": params["termination"][:, :1], "option": params["option"][:, :1], "action": params["action"][:, :1]}
    gradient = policy_gradient(mdp, option_critic(1, mdp.num_actions, **same), params)
    policy = {"action": params["action"][:, 0]}
    np.testing.assert_allclose(
        expected_return(mdp, option_critic(1, mdp.num_actions, **same), params), expected_return(mdp, flat(mdp.num_actions), policy)
    )
    assert_same({"action": gradient["action"][:, 0]}, policy_gradient(mdp, flat(mdp.num_actions), policy), 1e-9)
    assert np.abs(gradient["termination"]).max() < 1e-12 and np.abs(gradient["option"]).max() < 1e-12


@given(problems())
def test_b_one_is_a_mixture_policy(problem):
    """Always terminating: π(a|s) = Σ_ω π_Ω(ω|s) π_ω(a|s), a feed-forward network of two coagents."""
    mdp, params, same = problem
    same["deliberation_cost"] = 0.0
    params["termination"][..., CONTINUE] = -np.inf
    num_options = params["option"].shape[1]
    network = option_critic(num_options, mdp.num_actions, **same)
    mixture = CoagentNetwork([Coagent("option", num_options), Coagent("action", mdp.num_actions, upstream=("option",))])
    feed_forward = {n: params[n] for n in mixture.names}
    gradient = policy_gradient(mdp, network, params)
    assert expected_return(mdp, network, params) == pytest.approx(expected_return(mdp, mixture, feed_forward), rel=1e-9, abs=1e-12)
    assert_same({n: gradient[n] for n in mixture.names}, policy_gradient(mdp, mixture, feed_forward), 1e-9)
    assert (gradient["termination"] == 0).all()


@given(problems())
def test_b_zero_keeps_the_first_option(problem):
    """Never terminating: J = Σ_ω Pr(ω_0 = ω | S_0) V_{π_ω}(S_0)."""
    mdp, params, same = problem
    params["termination"][..., TERMINATE] = -np.inf
    num_options = params["option"].shape[1]
    network = option_critic(num_options, mdp.num_actions, **same)
    chosen = softmax(params["option"])[mdp.observation]
    if same["first"] == "terminate":
        chosen = np.broadcast_to(network.initial("option"), chosen.shape)
    expected = 0.0
    for s in np.flatnonzero(mdp.d0):
        at_s = MDP(mdp.P, mdp.R, np.eye(mdp.num_states)[s], mdp.gamma, mdp.terminal, mdp.observation)
        for option in range(num_options):
            expected += (
                mdp.d0[s] * chosen[s, option] * expected_return(at_s, flat(mdp.num_actions), {"action": params["action"][:, option]})
            )
    assert expected_return(mdp, network, params) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(problems())
def test_always_executing_is_the_synchronous_network(problem):
    """A gate of probability one, however it is written, is no gate."""
    mdp, params, _ = problem
    num_options = params["option"].shape[1]

    def network(executes):
        return CoagentNetwork(
            [Coagent("option", num_options, executes=executes), Coagent("action", mdp.num_actions, upstream=("option",), executes=executes)]
        )

    params = {n: params[n] for n in ("option", "action")}
    plain = policy_gradient(mdp, network(1.0), params)
    for executes in (lambda x: x.start | ~x.start, lambda x: 1.0 + 0.0 * x.previous["action"], lambda x: x.state >= 0):
        assert_same(policy_gradient(mdp, network(executes), params), plain, 1e-9)


@given(problems())
def test_one_level_of_a_hierarchy_is_option_critic(problem):
    mdp, params, same = problem
    num_options = params["option"].shape[1]
    one_level = option_critic(
        (num_options,), mdp.num_actions, **{**same, "initial": None if same["initial"] is None else (same["initial"],)}
    )
    network = option_critic(num_options, mdp.num_actions, **same)
    assert_same(policy_gradient(mdp, one_level, params), policy_gradient(mdp, network, params), 1e-12)


@given(problems(max_states=2), st.sampled_from(((2, 2), (2, 3), (2, 1, 2))))
def test_hierarchies_by_central_differences(problem, levels):
    mdp, _, same = problem
    network = option_critic(levels, mdp.num_actions, same["first"], same["deliberation_cost"])
    params = network.init_params(mdp.num_observations, seed=1)
    gradient, difference = policy_gradient(mdp, network, params), finite_difference(mdp, network, params)
    assert_same(gradient, difference, 1e-6)


def test_one_action_coagent_for_each_option_has_the_same_gradient():
    """One action coagent that reads ω_t, or |Ω| of them that execute where ω_t is theirs, and a last one that copies the right one."""
    rng = np.random.default_rng(3)
    P = rng.dirichlet(np.ones(3), (3, 2))
    mdp = MDP(P, rng.normal(size=(3, 2, 3)), [0.5, 0.5, 0], 0.9)
    network = option_critic(2, 2)
    params = network.init_params(3, seed=5)
    split = CoagentNetwork(
        [
            *network.coagents[:2],
            Coagent("left", 2, executes=lambda x: x.upstream["option"] == 0),
            Coagent("right", 2, executes=lambda x: x.upstream["option"] == 1),
            Coagent("action", 2, observes=False, upstream=("option", "left", "right")),
        ]
    )
    copy = np.full((2, 2, 2, 2), -np.inf)
    for left, right in np.ndindex(2, 2):
        copy[0, left, right, left] = copy[1, left, right, right] = 0.0
    parts = {"left": params["action"][:, 0], "right": params["action"][:, 1], "action": copy}
    gradient = policy_gradient(mdp, split, {**{n: params[n] for n in ("termination", "option")}, **parts})
    expected = policy_gradient(mdp, network, params)
    assert_same({n: gradient[n] for n in ("termination", "option")}, {n: expected[n] for n in ("termination", "option")}, 1e-9)
    assert_same({"": np.stack([gradient["left"], gradient["right"]], axis=1)}, {"": expected["action"]}, 1e-9)


def test_a_form_of_ones_own():
    """The exact form of the option, doubled: its cosine is 1 and its norm ratio 2."""
    mdp = MDP(ENDING, np.array([[1.0, 2.0], [0.5, 0.0], [0.0, 0.0]]), [0.5, 0.5, 0.0], 0.9)
    params = option_critic(2, 2).init_params(3)
    doubled = replace(FORMS["exact"], name="doubled", formula=lambda setting: 2 * FORMS["exact"].formula(setting), exact=False)
    (row,) = compare_gradients(mdp, params, [doubled])
    assert (row.form, row.coagent, row.exact) == ("doubled", "option", False)
    assert row.cosine == pytest.approx(1.0) and row.norm_ratio == pytest.approx(2.0) and row.sign_agreement == 1.0
    exact = policy_gradient(mdp, option_critic(2, 2), params)["option"]
    np.testing.assert_allclose(form_gradient(mdp, params, doubled), 2 * exact, atol=1e-12)
    assert row.max_abs_difference == pytest.approx(np.abs(exact).max())


def test_other_params_are_refused():
    mdp = MDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], 0.9)
    hierarchy = option_critic((2, 2), 2)
    for call in (option_values, termination_gradient, compare_gradients):
        with pytest.raises(ValueError, match="not flat option-critic's"):
            call(mdp, hierarchy.init_params(1))
        with pytest.raises(ValueError, match="params is NoneType, which is not flat option-critic's"):
            call(mdp, None)
    params = option_critic(2, 2).init_params(1)
    assert [row.form for row in compare_gradients(mdp, params, "q_beta")] == ["q_beta"]  # a name is one form, not its letters
    with pytest.raises(ValueError, match="choose one of"):
        termination_gradient(mdp, params, "every_step")
    with pytest.raises(ValueError, match="unknown form 'nonsense'"):
        compare_gradients(mdp, params, ["q_beta", "nonsense"])
