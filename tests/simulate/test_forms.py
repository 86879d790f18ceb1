"""Forms with a critic: what a table adds in expectation, exactly; in which order their variances are; and sampled."""

from __future__ import annotations

import numpy as np
import pytest
from enumerated import bits, gridworld, random_mdp, random_network
from hypothesis import given
from small import random_mdp as ending_mdp
from strategies import cases

from optioncoagent import MDP, Coagent, CoagentNetwork, estimate_gradient, option_critic, policy_gradient
from optioncoagent.exact import critic_values, network_form_gradient
from optioncoagent.simulate import tables
from optioncoagent.simulate.forms import FORMS, form_table
from optioncoagent.simulate.wiring import policy_table, wire

WITH_CRITIC = [form for form in FORMS if form != "score"]
UNBIASED = [form for form in WITH_CRITIC if form != "multi_update_running"]


def applies(network, form):
    last = network.names[-1]
    return not form.startswith("multi_update") or (network.action == (last,) and not network.may_retain(last))


def in_expectation(mdp, network, params, form):
    """Σ_t γ^t E[what step t adds], {name: array}, and Σ_t γ^t E[its square], (num_parameters,), from the table alone."""
    n = mdp.num_observations
    table, added = form_table(mdp, network, policy_table(network, params, n), wire(network, n), form, critic_values(mdp, network, params))
    size, width = table.state.size, table.width

    def law(threshold, alias, number):
        share = threshold + np.bincount(alias, weights=1 - threshold, minlength=threshold.size)
        return share / number

    probability = law(table.threshold, table.alias, width).reshape(size, width)
    kernel = np.zeros((size, size + 1))
    np.add.at(kernel, (np.arange(size)[:, None], table.successor.reshape(size, width)), probability)
    first = np.bincount(table.first_node, weights=law(table.first_threshold, table.first_alias, table.first_node.size), minlength=size + 1)
    reached = first[:-1] > 0
    for _ in range(size):
        reached = reached | (kernel[reached, :-1].sum(axis=0) > 0)
    d = np.zeros(size)
    inside = np.ix_(reached, reached)
    d[reached] = np.linalg.solve(np.eye(reached.sum()) - mdp.gamma * kernel[:, :-1][inside].T, first[:-1][reached])
    weight = np.bincount(table.visits[:, 0], weights=(d[:, None] * probability).reshape(-1), minlength=added.shape[0])
    return network.parameters(n).unflat(weight @ added), weight @ added.multiply(added).toarray()


def assert_close(found, exact, message):
    scale = max(1e-3, *(np.abs(g).max() for g in exact.values()))
    for name in exact:
        np.testing.assert_allclose(found[name], exact[name], rtol=0, atol=1e-8 * scale, err_msg=f"{message} {name}")


@given(cases())
def test_every_form_adds_the_gradient_in_expectation(case):
    exact = policy_gradient(*case)
    for form in UNBIASED:
        finite = all(np.isfinite(logits).all() for logits in case.params.values())
        if applies(case.network, form) and (finite or form != "multi_update"):
            assert_close(in_expectation(*case, form)[0], exact, form)


@given(cases(sharing=True, forbidden=False))
def test_coagents_that_share_parameters_add_up(case):
    exact = policy_gradient(*case)
    for form in UNBIASED:
        if applies(case.network, form):
            assert_close(in_expectation(*case, form)[0], exact, form)


@given(cases(forbidden=False))
def test_an_expectation_given_less_has_no_more_variance(case):
    """Σ_t γ^t E[|g_t|²] of the forms: marginal ≤ expected ≤ one step; marginal ≤ given the action ≤ posterior ≤ one step, and given the
    action ≤ the multi-update."""
    square = {form: in_expectation(*case, form)[1].sum() for form in UNBIASED if applies(case.network, form)}
    slack = 1e-9 * square["one_step"]
    assert square["marginal"] <= square["expected"] + slack
    assert square["expected"] <= square["one_step"] + slack
    assert square["marginal"] <= square["given_action"] + slack
    assert square["given_action"] <= square["posterior"] + slack
    assert square["posterior"] <= square["one_step"] + slack
    if "multi_update" in square:
        assert square["given_action"] <= square["multi_update"] + slack


def test_forms_printed_here():
    """One step, one coagent that executes half the time and else keeps output 0; output 1 earns 1 and π = (1/2, 1/2).

    Expected: 1/4 where it executes, π(0) π(1) (1 - 0), nothing where not: its square is 1/32 in the mean. Marginal: 1/8 always, 1/64.
    One step: (±1/2) (±1/2 of what was earned less 1/2) where it executes, 1/4 again, which is 1/32. With π = (1/4, 3/4) the slope is 3/16;
    one step gives 1/16 for output 1 with probability 3/4, and 9/16 for output 0: 1/2 (3/4 · 1/256 + 1/4 · 81/256) = 21/512.
    """
    mdp = MDP(np.ones((1, 2, 1)), [[0.0, 1.0]], [1.0], 0.0)
    network = CoagentNetwork([Coagent("action", 2, executes=0.5, initial=0)])
    for odds, squares in ((1.0, (1 / 32, 1 / 32, 1 / 64)), (3.0, (21 / 512, 9 / 512, 9 / 1024))):
        params = {"action": np.log([[1.0, odds]])}
        for form, square in zip(("one_step", "expected", "marginal"), squares, strict=True):
            mean, second = in_expectation(mdp, network, params, form)
            assert mean["action"][0, 1] == pytest.approx(odds / (1 + odds) ** 2 / 2)
            assert second[1] == pytest.approx(square), form


def test_the_posterior_form_printed_here():
    """One step: a bit, 1 with probability 3/4, and an action that is the bit with probability 3/4; action 1 earns 1, with probability 5/8.

    ∂ln π/∂θ_1 is 1/4 for output 1 and -3/4 for 0. Given the action the bit was 1 with probability 9/10 or 1/2, so that it is 3/20 or -1/4
    in the mean, times what was earned less 5/8: 9/160 or 5/32. Expected: the slope 3/16 times the difference 1/2 of the values.
    """
    mdp = MDP(np.ones((1, 2, 1)), [[0.0, 1.0]], [1.0], 0.0)
    network = CoagentNetwork([Coagent("bit", 2), Coagent("action", 2, observes=False, upstream=("bit",))])
    params = {"bit": np.log([[1.0, 3.0]]), "action": np.log([[3.0, 1.0], [1.0, 3.0]])}
    for form, square in (("one_step", 57 / 1024), ("posterior", 57 / 5120), ("expected", 9 / 1024)):
        mean, second = in_expectation(mdp, network, params, form)
        assert mean["bit"][0, 1] == pytest.approx(3 / 32)
        assert second[1] == pytest.approx(square), form


@pytest.mark.parametrize("sizes", [2, 3, (2, 2)])
def test_multi_updates_with_running_values_have_the_bias_of_the_exact_form(sizes):
    mdp = ending_mdp()
    network = option_critic(sizes, 2, deliberation_cost=0.2)
    params = network.init_params(mdp.num_observations, 3)
    found, exact = in_expectation(mdp, network, params, "multi_update_running")[0], policy_gradient(mdp, network, params)
    biased = network_form_gradient(mdp, network, params, "multi_update_running", "action")
    assert_close(found, exact | {"action": biased}, "")
    assert np.abs(biased - exact["action"]).max() > 1e-3


def problem(seed):
    """Random networks, option-critic, and a hierarchy."""
    network = [random_network(0), random_network(3), option_critic(2, 2, deliberation_cost=0.3), option_critic((2, 2), 2)][seed]
    mdp = random_mdp(seed, gamma=1.0 if seed % 2 else 0.7)
    return mdp, network, network.init_params(mdp.num_observations, seed)


@pytest.mark.parametrize("form", UNBIASED)
def test_sampled_forms_agree_with_the_gradient(form):
    z = []
    for seed in range(4):
        mdp, network, params = problem(seed)
        if not applies(network, form):
            continue
        estimate = estimate_gradient(mdp, network, params, 20_000, seed, threads=2, form=form, critic=critic_values(mdp, network, params))
        exact = policy_gradient(mdp, network, params)
        for name, error in estimate.standard_error.items():
            seen = error > 1e-4
            z.append(((estimate.mean[name] - exact[name])[seen] / error[seen]).ravel())
    z = np.concatenate(z)
    assert z.size > 40 and np.abs(z).max() < 5 and 0.6 < np.mean(z**2) < 1.5


def test_running_values_are_biased_and_samples_show_it():
    mdp = ending_mdp()
    network = option_critic(3, 2)
    params = network.init_params(mdp.num_observations, 1)
    critic, exact = critic_values(mdp, network, params), policy_gradient(mdp, network, params)["action"]
    worst = {}
    for form in ("multi_update", "multi_update_running"):
        estimate = estimate_gradient(mdp, network, params, 50_000, 1, threads=2, form=form, critic=critic)
        error = estimate.standard_error["action"]
        worst[form] = np.abs((estimate.mean["action"] - exact)[error > 1e-4] / error[error > 1e-4]).max()
    assert worst["multi_update"] < 4.5 < 8 < worst["multi_update_running"]


def test_what_is_sampled_has_the_variance_that_its_standard_error_says():
    mdp, network = gridworld(gamma=0.9), bits()
    params = network.init_params(9)
    critic = critic_values(mdp, network, params)
    runs = [estimate_gradient(mdp, network, params, 300, seed, form="marginal", critic=critic) for seed in range(200)]
    spread = np.std([run.mean["left"] for run in runs], axis=0)[:-1]  # nothing happens in the last cell
    assert np.allclose(np.mean([run.standard_error["left"] for run in runs], axis=0)[:-1], spread, rtol=0.25)


def test_the_seed_decides_and_threads_do_not():
    mdp, network, params = problem(2)
    critic = critic_values(mdp, network, params)
    one, three = (estimate_gradient(mdp, network, params, 3000, 5, threads=t, form="expected", critic=critic) for t in (1, 3))
    other = estimate_gradient(mdp, network, params, 3000, 6, form="expected", critic=critic)
    assert one.steps == three.steps and one.steps != other.steps
    assert all(np.array_equal(one.mean[name], three.mean[name]) for name in network.names)


def test_max_steps_cut_the_sum():
    """One state, two actions, reward 1 for the second, for ever: with a critic of zeros a step adds γ^t π(1)π(0) (1, -1) to the logits."""
    mdp = MDP(np.ones((1, 2, 1)), [[0.0, 1.0]], [1.0], 0.5)
    network = CoagentNetwork([Coagent("action", 2)])
    params = {"action": np.array([[0.0, np.log(3.0)]])}
    estimate = estimate_gradient(mdp, network, params, 100, max_steps=3, form="marginal", critic=np.zeros(1))
    assert estimate.capped == 100 and estimate.steps == 300
    assert estimate.mean["action"][0] == pytest.approx([-1.75 * 3 / 16, 1.75 * 3 / 16])
    assert estimate.standard_error["action"][0] == pytest.approx([0.0, 0.0], abs=1e-7)


def test_what_is_refused(monkeypatch):
    mdp, network, params = problem(2)
    critic = critic_values(mdp, network, params)
    with pytest.raises(ValueError, match="choose one of"):
        estimate_gradient(mdp, network, params, 10, form="exact")
    with pytest.raises(ValueError, match="needs critic="):
        estimate_gradient(mdp, network, params, 10, form="marginal")
    with pytest.raises(ValueError, match=r"critic has shape \(4, 2\)"):
        estimate_gradient(mdp, network, params, 10, form="marginal", critic=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="baseline and gated are for the form score"):
        estimate_gradient(mdp, network, params, 10, form="marginal", critic=critic, gated=False)
    with pytest.raises(ValueError, match="needs no critic"):
        estimate_gradient(mdp, network, params, 10, critic=critic)
    with pytest.raises(ValueError, match="always executes, which 'action' is not"):
        bits_params = bits().init_params(9)
        estimate_gradient(gridworld(), bits(), bits_params, 10, form="multi_update", critic=np.zeros((9, 2, 2, 4)))
    finite = MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, horizon=3)
    with pytest.raises(ValueError, match="give mdp.unrolled"):
        estimate_gradient(finite, network, params, 10, form="marginal", critic=critic)
    unrolled = finite.unrolled
    estimate = estimate_gradient(unrolled, network, params, 10, form="marginal", critic=critic_values(unrolled, network, params))
    assert estimate.steps <= 30
    monkeypatch.setattr(tables, "MAX_ENTRIES", 10)
    with pytest.raises(ValueError, match="too large; the form score samples it"):
        estimate_gradient(mdp, network, params, 10, form="marginal", critic=critic)


def test_an_endless_task_is_refused_here_too():
    mdp, network = gridworld(), bits()
    stay = {name: np.zeros(network.parameter_shape(name, 9)) for name in network.names}
    stay["action"][..., 1:] = -np.inf
    with pytest.raises(ValueError, match="γ = 1"):
        estimate_gradient(mdp, network, stay, 10, form="marginal", critic=np.zeros((9, 2, 2, 4)))
