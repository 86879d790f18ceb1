"""Gradient forms of any network: the exact ones by autograd through the linear solve, the others by enumeration and by reduction."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from brute_force import action_of, initial_outputs, reward_of, ticks, transitions_of
from galleries import NETWORKS as GALLERY
from hypothesis import assume, given
from hypothesis import strategies as st
from small import appendix_d, random_mdp
from strategies import cases, mdps
from tabular import values
from witness import torch_witness

from optioncoagent.exact import (
    FORMS,
    NETWORK_FORMS,
    compare_gradients,
    form_gradient,
    local_gradient,
    network_form_gradient,
    policy_gradient,
)
from optioncoagent.gallery import CONTINUE, option_critic
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork, LocalState, execution_probability, softmax

# of the termination, and of the option, of flat option-critic: its form, and the network's
SAME = {
    "termination": {
        "q_beta": "expected",
        "advantage": "difference",
        "score": "score",
        "undiscounted": "undiscounted",
        "greedy_value": "greedy_value",
        "post_decision_pair": "post_decision_pair",
        "post_switch_option": "post_switch_option",
        "margin": "margin",
    },
    "option": {"exact": "expected", "marginalised": "marginal", "every_step": "every_step"},
}


def applying(network, exact):
    return [
        (name, form.name)
        for name in network.names
        for form in NETWORK_FORMS.values()
        if form.exact == exact and form.applies(network, name)
    ]


def close(found, expected, tolerance=1e-9, message=""):
    scale = max(1e-3, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=message)


@given(cases())
def test_exact_forms_are_autograd_through_the_linear_solve(case):
    mdp, network, params = case
    _, truth = torch_witness(*case)
    largest = max(np.abs(g).max() for g in truth.values())
    for name, form in applying(network, exact=True):
        if form != "multi_update" or np.isfinite(params[name]).all():
            found = network_form_gradient(mdp, network, params, form, name)
            np.testing.assert_allclose(found, truth[name], rtol=0, atol=1e-9 * max(1e-3, largest), err_msg=f"{name} {form}")


@given(cases(sharing=True))
def test_forms_of_coagents_that_share_parameters_are_each_its_own_term(case):
    mdp, network, params = case
    exact = policy_gradient(mdp, network, params)
    for owner, gradient in exact.items():
        parts = [network_form_gradient(mdp, network, params, "marginal", c.name) for c in network.coagents if c.owner == owner]
        close(sum(parts), gradient)


class Enumeration:
    """Everything that happens in one step at every node, and how often a node is visited: plain loops over all ways of a tick.

    of(coagent): (d(n), p(way | n), x, row, output, E, target) for every way, the target being R_t + γ v(S_{t+1}, U_t) less the costs of
    later coagents, in expectation over S_{t+1}.
    """

    def __init__(self, mdp, network, params, gamma=None):
        self.mdp, self.network = mdp, network
        self.policies = network.policies(params, mdp.num_observations)
        self.v = values(mdp, network, params)
        live = [s for s in range(mdp.num_states) if not mdp.terminal[s]]
        nodes = [(start, s, u) for start in (True, False) for s in live for u in np.ndindex(*network.num_outputs)]
        index = {node: i for i, node in enumerate(nodes)}
        P, kernel = transitions_of(mdp), np.zeros((len(nodes), len(nodes)))
        self.ways = {}
        for node in nodes:
            start, s, u = node
            self.ways[node] = [(tick, tick.probability(self.policies)) for tick in ticks(network, start, int(mdp.observation[s]), u)]
            for tick, p in self.ways[node]:
                for successor in live:
                    kernel[index[node], index[False, successor, tick.outputs]] += p * P[s, action_of(network, tick.outputs), successor]
        law = np.zeros(len(nodes))
        for p, u in initial_outputs(network):
            for s in live:
                law[index[True, s, u]] = float(mdp.d0[s]) * p
        d = np.linalg.solve(np.eye(len(nodes)) - (mdp.gamma if gamma is None else gamma) * kernel.T, law)
        self.occupancy = dict(zip(nodes, d, strict=True))

    def target(self, node, tick, i):
        start, s, _ = node
        action, mdp = action_of(self.network, tick.outputs), self.mdp
        later = (*(0 for _ in range(i + 1)), *tick.executed[i + 1 :])
        return sum(
            p * (reward_of(mdp, self.network, start, s, action, t, later) + mdp.gamma * self.v.get((t, tick.outputs), 0.0))
            for t, p in enumerate(transitions_of(mdp)[s, action])
        )

    def row(self, node, prefix, i):
        coagent, (_, s, u) = self.network.coagents[i], node
        read = (int(self.mdp.observation[s]),) if coagent.observes else ()
        read += tuple(prefix[self.network.names.index(n)] for n in coagent.upstream)
        return read + tuple(u[self.network.names.index(n)] for n in coagent.previous)

    def beta(self, node, prefix, i):
        start, s, u = node
        upstream = {n: np.asarray(x) for n, x in zip(self.network.names, prefix, strict=False)}
        previous = {n: np.asarray(x) for n, x in zip(self.network.names, u, strict=True)}
        local = LocalState(np.asarray(start), np.asarray(int(self.mdp.observation[s])), upstream, previous)
        return float(execution_probability(self.network.coagents[i], local))

    def total(self, name, contribution):
        """Σ_n d(n) Σ_way p(way | n) contribution(node, ways of the node, way), a number for each score: {(row, output): number}."""
        i, policy = self.network.names.index(name), self.policies[name]
        gradient = np.zeros(policy.shape)
        for node, ways in self.ways.items():
            if self.occupancy[node] == 0:
                continue
            for tick, p in ways:
                if p > 0:
                    for row, output, number in contribution(node, ways, tick, i):
                        number = self.occupancy[node] * p * number
                        gradient[row] -= number * policy[row]  # ∂ln π(u)/∂θ_v = 1{u = v} - π(v)
                        gradient[(*row, output)] += number
        return gradient

    def scored(self, weight):
        """The contribution of one score, that of the output in force, times weight(node, tick, i) times the target."""
        return lambda node, ways, tick, i: [
            (self.row(node, tick.outputs, i), tick.outputs[i], weight(node, tick, i) * self.target(node, tick, i))
        ]


small = cases(max_states=2, max_outputs=2)


@given(small)
def test_every_step(case):
    mdp, network, params = case
    everything = Enumeration(*case)
    for name, form in applying(network, exact=False):
        if form == "every_step":
            expected = everything.total(name, everything.scored(lambda node, tick, i: 1.0))
            close(network_form_gradient(mdp, network, params, form, name), expected, message=name)
            assert not np.isnan(expected).any()


@given(small)
def test_undiscounted(case):
    mdp, network, params = case
    assume(mdp.terminal.any())
    everything = Enumeration(*case, gamma=1.0)
    for name in network.names:
        expected = everything.total(name, everything.scored(lambda node, tick, i: tick.executed[i]))
        close(network_form_gradient(mdp, network, params, "undiscounted", name), expected, message=name)


@st.composite
def multi_update_cases(draw):
    """Two coagents of any kind, and an action that always executes and reads one of them or both."""
    case = draw(cases(max_coagents=2, max_outputs=2, max_states=2, forbidden=False))
    names = [f"c{i}" for i in range(len(case.network.names))]
    coagents = [
        Coagent(n, c.num_outputs, c.observes, c.upstream, (), c.executes if not callable(c.executes) else 0.5, c.initial, c.cost)
        for n, c in zip(names, case.network.coagents, strict=True)
    ]
    mdp = draw(mdps(2, 2))
    upstream = draw(st.sampled_from([tuple(names), tuple(names[:1]), tuple(names[::-1])]))
    network = CoagentNetwork([*coagents, Coagent("action", 2, upstream=upstream)])
    return mdp, network, network.init_params(mdp.num_observations, draw(st.integers(0, 2**32 - 1)))


@given(multi_update_cases())
def test_multi_updates(case):
    """Flexible Option Learning's update of all that could have been read, with the return of what was read, and with each one's own."""
    mdp, network, params = case
    everything, policy = Enumeration(*case), network.policies(params, mdp.num_observations)["action"]
    i = len(network.names) - 1
    known = {}

    def at(node, ways):
        """{prefix: (probability, value of each action)}"""
        if node not in known:
            known[node] = found = {}
            for tick, p in ways:
                prefix = tick.outputs[:i]
                chance = policy[everything.row(node, prefix, i)]
                mass, value = found.setdefault(prefix, [0.0, np.zeros(2)])
                share = p / chance[tick.outputs[i]]  # the same prefix may come about by executing and by retaining
                value[tick.outputs[i]] += share * everything.target(node, tick, i)
                found[prefix][0] = mass + p
            for prefix, (mass, value) in found.items():
                if mass > 0:
                    found[prefix] = mass, value / mass
        return known[node]

    def advantage(node, ways, prefix, u):
        mass, value = at(node, ways)[prefix]
        return value[u] - policy[everything.row(node, prefix, i)] @ value

    def update(own):
        def contribution(node, ways, tick, i):
            prefix, u = tick.outputs[:i], tick.outputs[i]
            drawn = policy[everything.row(node, prefix, i)][u]
            for other, (mass, _) in at(node, ways).items():
                row = everything.row(node, other, i)
                yield row, u, mass * policy[row][u] / drawn * advantage(node, ways, other if own else prefix, u)

        return contribution

    for form, own in (("multi_update", True), ("multi_update_running", False)):
        close(network_form_gradient(mdp, network, params, form, "action"), everything.total("action", update(own)), message=form)
    close(everything.total("action", update(True)), local_gradient(mdp, network, params, "action"))


def two_levels(num_options=(2, 2), num_actions=2, **same):
    mdp = random_mdp(num_actions=num_actions)
    network = option_critic(num_options, num_actions, **same)
    return mdp, network, network.init_params(mdp.num_observations, 2)


@pytest.mark.parametrize("first", ["select", "terminate"])
def test_one_gate_of_several(first):
    """Option 1 counted wherever its own termination says TERMINATE, whatever that of level 2 says; option 2 has one gate only."""
    mdp, network, params = two_levels(first=first, deliberation_cost=0.2)
    everything = Enumeration(mdp, network, params)
    assert [name for name, form in applying(network, exact=False) if form == "one_gate"] == ["option_1"]

    def weight(node, tick, i):
        own = network.names.index("termination_1")
        others = itertools.product(*(range(n) for n in network.num_outputs[:own]))
        return max(everything.beta(node, (*other, *tick.outputs[own:i]), i) for other in others)

    expected = everything.total("option_1", everything.scored(weight))
    close(network_form_gradient(mdp, network, params, "one_gate", "option_1"), expected)
    assert np.abs(expected - local_gradient(mdp, network, params, "option_1")).max() > 0.01


@st.composite
def problems(draw):
    same = {"first": draw(st.sampled_from(("select", "terminate"))), "deliberation_cost": draw(st.sampled_from((0.3, 0.0)))}
    mdp = draw(mdps(2, 4, (0.9, 1.0, 0.5, 0.9)))
    network = option_critic(draw(st.sampled_from((2, 3, 1))), 2, **same)
    return mdp, network.init_params(mdp.num_observations, draw(st.integers(0, 2**32 - 1))), same


@given(problems())
def test_forms_of_flat_option_critic_are_the_same_vectors(problem):
    mdp, params, same = problem
    network = option_critic(params["option"].shape[1], mdp.num_actions, **same)
    for coagent, pairs in SAME.items():
        for flat, general in pairs.items():
            if flat == "undiscounted" and not mdp.terminal.any():
                continue
            expected = form_gradient(mdp, params, flat, **same)
            close(network_form_gradient(mdp, network, params, general, coagent), expected, message=flat)


@given(problems(), st.sampled_from((1, 2)))
def test_forms_of_each_level_reduce_to_those_of_flat_option_critic(problem, level):
    """Level 2 under a single option above; level 1 above a single option that always terminates, at no cost of its own."""
    mdp, params, same = problem
    n = params["option"].shape[1]
    if level == 1:
        same["deliberation_cost"] = 0.0
    network = option_critic((1, n) if level == 2 else (n, 1), mdp.num_actions, **same)
    inside = (slice(None), None) if level == 2 else (slice(None), slice(None), None)
    mine = network.init_params(mdp.num_observations, 0)
    mine |= {f"termination_{level}": params["termination"], f"option_{level}": params["option"]}
    mine["action"] = params["action"][inside]
    if level == 2:
        mine["termination_2"], mine["option_2"] = params["termination"][:, None], params["option"][:, None]
        mine["termination_1"][..., CONTINUE] = -np.inf  # what level 1 does is done over and over, and costs what it costs
        same["deliberation_cost"], network = 0.0, option_critic((1, n), mdp.num_actions, first=same["first"])
    else:
        mine["termination_2"][..., CONTINUE] = -np.inf
    for coagent, pairs in SAME.items():
        for flat, general in pairs.items():
            if flat == "undiscounted" and not mdp.terminal.any():
                continue
            expected = form_gradient(mdp, params, flat, **same)
            found = network_form_gradient(mdp, network, mine, general, f"{coagent}_{level}")
            close(found.reshape(expected.shape), expected, message=flat)


@pytest.mark.parametrize("kind", GALLERY)
def test_the_table_of_every_network(kind):
    """One row for each coagent and form that applies to it; those that claim to be exact are."""
    mdp = random_mdp()
    network = GALLERY[kind](mdp.num_actions)
    params = network.init_params(mdp.num_observations, 1)
    rows = compare_gradients(mdp, params, network=network)
    applies = [(name, form.name) for name in network.names for form in NETWORK_FORMS.values() if form.applies(network, name)]
    assert [(row.coagent, row.form) for row in rows] == applies
    for row in rows:
        assert row.exact == NETWORK_FORMS[row.form].exact
        if row.exact:
            assert np.isnan(row.cosine) or (row.cosine > 1 - 1e-9 and row.sign_agreement == 1.0)
            assert row.max_abs_difference < 1e-12
    assert all(row.cosine < 1 - 1e-6 for row in rows if row.form == "every_step" and row.cosine == row.cosine)


def test_which_coagents_a_form_is_for():
    _, network, _ = two_levels()
    named = {form: [name for name in network.names if NETWORK_FORMS[form].applies(network, name)] for form in NETWORK_FORMS}
    terminations, options = ["termination_2", "termination_1"], ["option_1", "option_2"]
    assert named["expected"] == named["score"] == named["marginal"] == named["undiscounted"] == list(network.names)
    assert named["difference"] == [*terminations, *options, "action"]  # two of each
    assert named["every_step"] == [*terminations, *options]  # the terminations at the first step
    assert named["one_gate"] == ["option_1"]
    assert named["greedy_value"] == named["margin"] == named["post_decision_pair"] == named["post_switch_option"] == terminations
    assert named["multi_update"] == named["multi_update_running"] == ["action"]
    bits = appendix_d(2)
    assert not any(form.applies(bits, name) for form in (NETWORK_FORMS["margin"], NETWORK_FORMS["multi_update"]) for name in bits.names)


def test_running_returns_are_exact_where_options_act_alike_and_decide_always():
    """With one option nothing else is read; with several that always terminate the value of an action does not depend on the option."""
    mdp = random_mdp()
    network = option_critic(3, 2)
    params = network.init_params(mdp.num_observations, 1)
    (row,) = compare_gradients(mdp, params, ["multi_update_running"], network=network)
    assert 0 < row.cosine < 1 - 1e-6
    params["termination"][..., CONTINUE] = -np.inf
    params["action"][:] = params["action"][:, :1]
    (row,) = compare_gradients(mdp, params, ["multi_update_running"], network=network)
    assert row.cosine == pytest.approx(1.0) and row.norm_ratio == pytest.approx(1.0)


def test_an_action_that_an_option_never_takes_is_lost_to_importance_weights():
    mdp = random_mdp()
    network = option_critic(2, 2)
    params = network.init_params(mdp.num_observations, 1)
    params["action"][:, 0, 1] = -np.inf
    forms = {
        row.form: row for row in compare_gradients(mdp, params, ["marginal", "multi_update"], network=network) if row.coagent == "action"
    }
    assert forms["marginal"].max_abs_difference < 1e-12
    assert forms["multi_update"].max_abs_difference > 1e-3


def test_greedy_value_may_be_of_an_option_that_is_never_chosen():
    """-inf logits: nothing goes there, and its value is still the largest or not."""
    mdp = random_mdp()
    mdp = MDP(mdp.P, mdp.R - 2.0 * ~mdp.terminal[:, None, None], mdp.d0, mdp.gamma, mdp.terminal)
    params = option_critic(3, 2).init_params(mdp.num_observations, seed=2)
    params["option"][:, 2] = -np.inf
    ours = network_form_gradient(mdp, option_critic(3, 2), params, "greedy_value", "termination")
    close(ours, form_gradient(mdp, params, "greedy_value"))
    assert np.abs(ours).max() > 0.01


def test_greedy_value_is_not_defined_where_an_output_may_never_end():
    """At γ = 1, of an option that is never chosen and never ends: nothing says what it would be worth."""
    P = np.zeros((2, 2, 2))
    P[0, 0, 0] = P[0, 1, 1] = P[1, :, 1] = 1
    mdp, network = MDP(P, np.array([[-1.0, -1], [0, 0]]), [1, 0], 1.0), option_critic(2, 2)
    params = network.init_params(2)
    params["option"][:, 1] = -np.inf
    params["termination"][:, 1, 0] = -np.inf
    params["action"][:, 1, 1] = -np.inf
    (row,) = compare_gradients(mdp, params, ["greedy_value"], network=network)
    assert np.isnan([row.cosine, row.norm_ratio, row.max_abs_difference]).all()
    apart = np.zeros((3, 2, 3))  # where nothing leads, whatever is drawn, nothing is asked
    apart[:2, :, :2], apart[2, :, 2] = P, 1
    mdp = MDP(apart, np.array([[-1.0, -2], [0, 0], [-1, -1]]), [1, 0, 0], 1.0)
    params = network.init_params(3, seed=1)
    close(network_form_gradient(mdp, network, params, "greedy_value", "termination"), form_gradient(mdp, params, "greedy_value"))


def test_greedy_value_is_exact_under_greedy_policies():
    """A policy over options that is greedy for its own values, by policy iteration."""
    mdp, network, params = two_levels((3, 1))
    params["termination_2"][..., CONTINUE] = -np.inf
    for _ in range(20):
        flat = {"termination": params["termination_1"], "option": params["option_1"], "action": params["action"][:, :, 0]}
        q = _q_omega(mdp, flat)
        greedy = softmax(params["option_1"]) * q
        if np.allclose(greedy.sum(axis=1), q.max(axis=1), atol=1e-12):
            break
        params["option_1"] = np.where(np.arange(3) == q.argmax(axis=1)[:, None], 0.0, -np.inf)
    form = network_form_gradient(mdp, network, params, "greedy_value", "termination_1")
    close(form, local_gradient(mdp, network, params, "termination_1"))
    params["option_1"] = np.zeros_like(q)
    form = network_form_gradient(mdp, network, params, "greedy_value", "termination_1")
    assert np.abs(form - local_gradient(mdp, network, params, "termination_1")).max() > 1e-3


def _q_omega(mdp, params):
    from optioncoagent.exact import option_values

    return option_values(mdp, params).q_omega


def test_a_form_of_ones_own():
    mdp, network, params = two_levels()
    doubled = replace(
        NETWORK_FORMS["expected"],
        name="doubled",
        applies=lambda network, name: name == "option_2",
        formula=lambda setting, name: 2 * NETWORK_FORMS["expected"].formula(setting, name),
        exact=False,
    )
    (row,) = compare_gradients(mdp, params, [doubled], network=network)
    assert (row.coagent, row.form, row.exact) == ("option_2", "doubled", False)
    assert row.cosine == pytest.approx(1.0) and row.norm_ratio == pytest.approx(2.0)


def test_where_episodes_never_end_there_is_no_undiscounted_occupancy():
    mdp = MDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], 0.9)
    network = option_critic((2, 2), 2)
    rows = compare_gradients(mdp, network.init_params(1), ["undiscounted"], network=network)
    assert all(np.isnan(row.cosine) and np.isnan(row.max_abs_difference) for row in rows)


def test_without_a_network_params_are_flat_option_critics():
    mdp = random_mdp()
    params = option_critic(3, 2).init_params(mdp.num_observations)
    assert [row.form for row in compare_gradients(mdp, params)] == list(FORMS)


def test_a_network_that_remembers_too_much_is_refused_before_anything_is_built():
    first = [Coagent(f"a{i}", 2, executes=0.5) for i in range(7)]
    second = [Coagent(f"b{i}", 2, observes=False, upstream=("a0", "a1"), executes=0.5) for i in range(7)]
    network = CoagentNetwork([*first, *second, Coagent("action", 2, observes=False, upstream=tuple(c.name for c in first + second))])
    mdp = random_mdp()
    with pytest.raises(ValueError, match="remembers 14 outputs.*policy_gradient gives its gradient alone"):
        compare_gradients(mdp, {}, network=network)


def test_too_many_actions_are_refused_before_anything_is_built(monkeypatch):
    monkeypatch.setattr("optioncoagent.exact.layout.MAX_NUMBERS", 40)
    mdp, network = random_mdp(), CoagentNetwork([Coagent("action", 2)])
    with pytest.raises(ValueError, match="pairs of a state and its successor, times 3 actions or final outputs, are too many"):
        wide = MDP(np.concatenate([mdp.P, mdp.P[:, :1]], axis=1), np.zeros((mdp.num_states, 3)), mdp.d0, mdp.gamma, mdp.terminal)
        policy_gradient(wide, CoagentNetwork([Coagent("action", 3)]), {"action": np.zeros((mdp.num_states, 3))})
    assert policy_gradient(mdp, network, network.init_params(mdp.num_states))["action"].any()


def test_what_is_refused():
    mdp, network, params = two_levels()
    with pytest.raises(ValueError, match="unknown form 'q_beta' of a network: choose from"):
        compare_gradients(mdp, params, ["q_beta"], network=network)
    with pytest.raises(ValueError, match="unknown form"):
        compare_gradients(mdp, params, [FORMS["q_beta"]], network=network)
    with pytest.raises(ValueError, match="leave them to network"):
        compare_gradients(mdp, params, network=network, first="terminate")
    with pytest.raises(ValueError, match="leave them to network"):
        compare_gradients(mdp, params, network=network, initial=np.ones(2) / 2)
    flat = CoagentNetwork([Coagent("action", 2)])
    with pytest.raises(ValueError, match="'margin' is for coagents with two outputs that gate others, of which the network has none"):
        compare_gradients(mdp, flat.init_params(mdp.num_observations), ["margin"], network=flat)
    with pytest.raises(ValueError, match="'margin' is for coagents with two outputs that gate others, and 'action' is none of them"):
        network_form_gradient(mdp, network, params, "margin", "action")
    with pytest.raises(ValueError, match="no coagent 'options'"):
        network_form_gradient(mdp, network, params, "expected", "options")
    with pytest.raises(ValueError, match="unknown form"):
        compare_gradients(mdp, option_critic(2, 2).init_params(mdp.num_observations), [NETWORK_FORMS["expected"]])
