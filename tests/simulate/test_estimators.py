"""Estimates against values written out tick by tick."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from enumerated import bits, gridworld, random_mdp, random_network, truth

from optioncoagent import MDP, Coagent, CoagentNetwork, expected_return, local_gradient, option_critic, policy_gradient
from optioncoagent.simulate import estimate_finite_difference, estimate_gradient, estimate_return, estimators, tables

KERNELS = pytest.mark.parametrize("kernel", ["joint", "each for itself"])
EPISODES = 50_000


@pytest.fixture
def use(monkeypatch):
    """Force one of the two ways to sample a tick."""

    def choose(kernel):
        if kernel != "joint":
            monkeypatch.setattr(tables, "MAX_ENTRIES", 0)

    return choose


def cases():
    networks = {f"random {seed}": random_network(seed) for seed in range(6)}
    networks["options"] = option_critic(2, 2, deliberation_cost=0.3)
    networks["options, terminate first"] = option_critic(3, 2, first="terminate", initial=[0.2, 0.3, 0.5])
    networks["two levels"] = option_critic((2, 2), 2, deliberation_cost=0.1)
    return networks


@functools.cache
def problem(number, gamma):
    network = list(cases().values())[number]
    mdp = random_mdp(number, gamma=gamma, ending=gamma == 1 or number % 2 == 0)
    params = network.init_params(mdp.num_observations, number)
    return mdp, network, params, truth(mdp, network, params)


def errors(estimate, exact, visits, episodes):
    """Estimate minus exact in standard errors, over softmax rows each of whose outputs is drawn at least 100 times in expectation."""
    z = []
    for name in exact:
        often = visits[name].min(axis=-1) * episodes >= 100
        difference, error = (estimate.mean[name] - exact[name])[often], estimate.standard_error[name][often]
        assert (error > 0).all()
        z.append((difference / error).ravel())
    return np.concatenate(z)


@KERNELS
@pytest.mark.parametrize("gamma", [pytest.param(0.7, marks=pytest.mark.slow), 1.0])
def test_random_networks_agree_with_every_tick_written_out(kernel, gamma, use):
    use(kernel)
    z, ungated, returns = [], [], []
    for seed in range(len(cases())):
        mdp, network, params, exact = problem(seed, gamma)
        estimate = estimate_gradient(mdp, network, params, EPISODES, seed, threads=2)
        z.append(errors(estimate, exact.gradient, exact.visits, EPISODES))
        estimate = estimate_gradient(mdp, network, params, EPISODES, seed + 100, threads=2, gated=False)
        ungated.append(errors(estimate, exact.ungated, exact.visits, EPISODES))
        value = estimate_return(mdp, network, params, EPISODES, seed + 200)
        returns.append((value.mean - exact.value) / value.standard_error)
    for values in map(np.concatenate, (z, ungated)):
        assert values.size > 100
        assert (np.abs(values) > 4).sum() <= max(1, 1e-3 * values.size)
        assert np.abs(values).max() < 6
        assert 0.75 < np.mean(values**2) < 1.3  # the standard errors are neither too small nor too large
    assert np.abs(returns).max() < 4


@KERNELS
@pytest.mark.parametrize("gated", [True, False])
def test_coagents_that_share_parameters_add_their_samples(kernel, gated, use):
    """Two bits that execute at different steps and read different things in the same table; without the gate, as if it were never shut."""
    use(kernel)
    mdp, sometimes = random_mdp(1, num_actions=4, gamma=0.7), lambda x: 1.0 - 0.5 * (x.previous["a"] == 1)
    network = CoagentNetwork(
        [
            Coagent("a", 2, previous=("b",), executes=0.5 if gated else 1.0),
            Coagent("b", 2, upstream=("a",), executes=sometimes if gated else 1.0, shares="a"),
        ],
        action=("a", "b"),
    )
    params = network.init_params(mdp.num_observations, 1)
    exact = policy_gradient(mdp, network, params)
    estimate = estimate_gradient(mdp, network, params, EPISODES, 3, threads=2, gated=gated)
    assert set(estimate.mean) == {"a"}
    z = (estimate.mean["a"] - exact["a"])[:-1] / estimate.standard_error["a"][:-1]  # nothing is drawn in the terminal state
    assert np.abs(z).max() < 4.5
    assert (np.abs(exact["a"] - local_gradient(mdp, network, params, "a"))[:-1] > 5 * estimate.standard_error["a"][:-1]).any()


@KERNELS
def test_the_seed_decides_and_threads_do_not(kernel, use):
    use(kernel)
    mdp, network = gridworld(), bits()
    params = network.init_params(9)
    one, three = (estimate_gradient(mdp, network, params, 5000, seed=3, threads=t) for t in (1, 3))
    other = estimate_gradient(mdp, network, params, 5000, seed=4)
    for name in network.names:
        assert np.array_equal(one.mean[name], three.mean[name])
        assert np.array_equal(one.standard_error[name], three.standard_error[name])
        assert not np.array_equal(one.mean[name], other.mean[name])
    returns = [estimate_return(mdp, network, params, 5000, seed=3, threads=t) for t in (1, 2, 5)]
    assert returns[0] == returns[1] == returns[2]


@pytest.mark.parametrize("gamma", [0.7, 1.0])
def test_what_is_written_out_is_what_the_linear_solves_give(gamma):
    for number in range(len(cases())):
        mdp, network, params, written_out = problem(number, gamma)
        assert np.isclose(expected_return(mdp, network, params), written_out.value)
        solved = policy_gradient(mdp, network, params)
        assert all(np.allclose(solved[name], written_out.gradient[name], atol=1e-10) for name in network.names)


def test_standard_errors_are_the_spread_over_seeds():
    mdp, network = gridworld(), bits()
    params = network.init_params(9)
    runs = [estimate_gradient(mdp, network, params, 500, seed) for seed in range(400)]
    values = [estimate_return(mdp, network, params, 500, seed) for seed in range(400)]
    spread = np.std([run.mean["action"] for run in runs], axis=0)
    assert np.allclose(np.mean([run.standard_error["action"] for run in runs], axis=0), spread, rtol=0.15)
    assert np.isclose(np.mean([v.standard_error for v in values]), np.std([v.mean for v in values]), rtol=0.15)


def test_a_baseline_moves_no_mean_and_narrows_the_error():
    mdp, network = gridworld(), bits()
    params = network.init_params(9)
    exact = truth(mdp, network, params)
    plain = estimate_gradient(mdp, network, params, 20_000)
    based = estimate_gradient(mdp, network, params, 20_000, baseline=np.linspace(-27, 0, 9))
    assert np.abs(errors(based, exact.gradient, exact.visits, 20_000)).max() < 4.5
    # E_t^i = 1 at one step in two, and ½ (Q of one output) is what a bit changes: returns themselves are far larger
    assert sum(based.standard_error[n].sum() for n in params) < 0.8 * sum(plain.standard_error[n].sum() for n in params)
    with pytest.raises(ValueError, match="baseline"):
        estimate_gradient(mdp, network, params, 10, baseline=np.zeros(3))


def test_finite_differences_of_samples():
    mdp, network = gridworld(), bits()
    params = network.init_params(9)
    params["left"][3, 0] = -np.inf
    exact = truth(mdp, network, params).gradient
    estimate = estimate_finite_difference(mdp, network, params, 500_000, seed=1, threads=2)
    for name in params:
        moved = estimate.standard_error[name] > 0
        assert moved.any()
        assert (np.abs(estimate.mean[name] - exact[name])[moved] < 4.5 * estimate.standard_error[name][moved]).all()
    assert estimate.mean["left"][3, 0] == 0


def test_the_error_of_finite_differences_is_their_spread_over_seeds():
    """Two blocks of episodes for each parameter: the mean squared error that is told, and the variance between estimates."""
    P = np.zeros((2, 2, 2))
    P[:, :, 1] = 1.0
    mdp, network = MDP(P, [[0.0, 1.0], [0.0, 0.0]], [1, 0], 0.9), CoagentNetwork([Coagent("action", 2)])
    params = {"action": np.array([[0.0, 0.5], [0.0, -np.inf]])}
    found = [estimate_finite_difference(mdp, network, params, 2 * 2 * 3, seed=seed, eps=0.5) for seed in range(300)]
    means, errors = (np.array([getattr(x, name)["action"][0, 1] for x in found]) for name in ("mean", "standard_error"))
    assert (errors**2).mean() == pytest.approx(means.var(), rel=0.3)


def test_a_deterministic_walk_printed_here():
    """One state, one action: reward 1 and the end with probability 1 at the third state. G = 1 + γ + γ² = 1.75 for γ = 1/2, every time."""
    P = np.zeros((4, 1, 4))
    P[0, 0, 1] = P[1, 0, 2] = P[2, 0, 3] = P[3, 0, 3] = 1
    mdp = MDP(P, [[1.0], [1.0], [1.0], [0.0]], [1, 0, 0, 0], 0.5)
    network = CoagentNetwork([Coagent("action", 1)])
    estimate = estimate_return(mdp, network, network.init_params(4), 1000)
    assert (estimate.mean, estimate.standard_error, estimate.steps, estimate.capped) == (1.75, 0.0, 3000, 0)
    # a cost of 1/4 is charged at every step but the first: 1.75 - (1/4)(1/2 + 1/4)
    costly = CoagentNetwork([Coagent("action", 1, cost=0.25)])
    assert estimate_return(mdp, costly, costly.init_params(4), 10).mean == 1.5625
    assert estimate_return(mdp, costly, costly.init_params(4), 10, max_steps=2).mean == 1.375
    assert estimate_return(mdp, network, network.init_params(4), 10, max_steps=2).capped == 10


@KERNELS
def test_an_episode_may_be_over_at_once(kernel, use):
    """S_0 is terminal three times in four, else one step of reward 2 follows: J = 1/2 and a quarter of the episodes take a step."""
    use(kernel)
    P = np.zeros((2, 1, 2))
    P[:, 0, 1] = 1
    mdp, network = MDP(P, [[2.0], [0.0]], [0.25, 0.75], 1.0), CoagentNetwork([Coagent("action", 1)])
    estimate = estimate_return(mdp, network, network.init_params(2), 40_000)
    assert abs(estimate.mean - 0.5) < 4 * estimate.standard_error
    assert estimate.steps == 40_000 * estimate.mean / 2
    never = MDP(P, [[2.0], [0.0]], [0.0, 1.0], 1.0)
    assert estimate_return(never, network, network.init_params(2), 10).steps == 0


def test_the_unit_of_rewards_does_not_matter():
    """What is left when an episode stops is small beside the largest reward, whatever that is."""
    mdp, network = random_mdp(0), random_network(0)
    small = MDP(mdp.P, mdp.R * 2.0**-40, mdp.d0, mdp.gamma)
    params = network.init_params(mdp.num_observations)
    one, other = (estimate_return(each, network, params, 100) for each in (mdp, small))
    assert other.steps == one.steps and other.mean == pytest.approx(one.mean * 2.0**-40, rel=1e-12)


def test_params_may_be_tensors():
    mdp, network = random_mdp(0), random_network(0)
    params = network.init_params(mdp.num_observations)
    tensors = {name: torch.from_numpy(logits) for name, logits in params.items()}
    one, other = (estimate_gradient(mdp, network, given, 100) for given in (params, tensors))
    for name in params:
        np.testing.assert_array_equal(one.mean[name], other.mean[name])


@KERNELS
def test_what_never_ends(kernel, use, monkeypatch):
    use(kernel)
    monkeypatch.setattr("optioncoagent.simulate.episodes.PATIENCE", 10_000)
    mdp, network = gridworld(), bits()
    stay = {name: np.zeros(network.parameter_shape(name, 9)) for name in network.names}
    stay["action"][..., 1:] = -np.inf  # always up
    with pytest.raises(ValueError, match="γ = 1"):
        estimate_return(mdp, network, stay, 10)
    capped = estimate_return(mdp, network, stay, 10, max_steps=100)
    assert (capped.mean, capped.steps, capped.capped) == (-100.0, 1000, 10)
    # γ < 1 stops by itself when 0.5^t · 1 / (1 - 0.5) < 1e-9, at t = 31
    assert estimate_return(gridworld(gamma=0.5), network, stay, 1).steps == 31
    assert estimate_return(gridworld(gamma=0.5), network, stay, 10, max_steps=100).capped == 0
    assert np.isnan(estimate_return(gridworld(gamma=0.5), network, stay, 1).standard_error)


@KERNELS
def test_where_no_actions_lead_to_an_end_nothing_is_begun(kernel, use):
    """Of networks too large for a table, too: the walk would take 10^9 steps, and then be refused."""
    use(kernel)
    mdp, network = MDP(np.ones((1, 2, 1)), [[0.0, 1.0]], [1.0], 1.0), CoagentNetwork([Coagent("action", 2)])
    for estimate in (estimate_return, estimate_gradient):
        with pytest.raises(ValueError, match="γ = 1 and an episode may never end: from state 0 .*, give max_steps"):
            estimate(mdp, network, network.init_params(1), 10)
    # where an action does, however seldom it is taken, and another leads nowhere, the walk goes on
    leads = MDP([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0]] * 2], [[0.0, 1.0], [0.0, 0.0]], [1.0, 0.0], 1.0)
    assert estimate_return(leads, network, network.init_params(2), 10).mean == 1


@pytest.mark.parametrize("argument", [{"episodes": 0}, {"max_steps": 0}, {"threads": 0}, {"episodes": 1.5}, {"seed": None}, {"seed": -1}])
def test_arguments_are_checked(argument):
    mdp, network = gridworld(), bits()
    with pytest.raises(ValueError, match=next(iter(argument))):
        estimate_return(mdp, network, network.init_params(9), **{"episodes": 10, **argument})


def test_a_flag_is_true_or_false():
    with pytest.raises(ValueError, match="gated='False': it needs True or False"):
        estimate_gradient(gridworld(), bits(), bits().init_params(9), 10, gated="False")


def test_actions_must_be_those_of_the_mdp():
    network = option_critic(2, 3)
    with pytest.raises(ValueError, match="3 joint outputs"):
        estimate_return(gridworld(), network, network.init_params(9), 10)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_bias_at_a_hundred_million_episodes(seed):
    mdp, network = (gridworld(), bits()) if seed == 0 else (random_mdp(seed, gamma=1.0), random_network(seed))
    params = network.init_params(mdp.num_observations, seed)
    exact = truth(mdp, network, params)
    z = errors(estimate_gradient(mdp, network, params, 10**8, seed, threads=2), exact.gradient, exact.visits, 10**8)
    value = estimate_return(mdp, network, params, 10**8, seed, threads=2)
    assert np.abs(z).max() < 4.5
    assert abs(value.mean - exact.value) < 4 * value.standard_error


def test_a_baseline_is_of_the_state_under_both_kernels(monkeypatch):
    """Also where states look alike, by the joint table and without: returns of a chain less their values are 0."""
    P = np.zeros((4, 2, 4))
    P[range(3), :, range(1, 4)] = P[3, :, 3] = 1
    mdp = MDP(P, np.array([[1.0] * 2, [2.0] * 2, [4.0] * 2, [0.0] * 2]), np.eye(4)[0], 0.9, np.arange(4) == 3, [1, 0, 0, 2])
    network = CoagentNetwork([Coagent("action", 2)])
    values = np.array([1 + 0.9 * 2 + 0.81 * 4, 2 + 0.9 * 4, 4.0, 0.0])
    for table in (True, False):
        if not table:
            monkeypatch.setattr(estimators, "walk_table", lambda *given, **named: None)
        found = estimate_gradient(mdp, network, network.init_params(3), 200, baseline=values)
        assert max(np.abs(found.mean["action"]).max(), found.standard_error["action"].max()) < 1e-9


def test_an_episode_as_long_as_the_mdp_was_cut_off_by_nobody():
    """An episode that lasts as long as the MDP does was cut off by nobody."""
    mdp = MDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], 1.0, horizon=3)
    network = CoagentNetwork([Coagent("action", 2)])
    capped = [estimate_return(mdp, network, network.init_params(1), 10, max_steps=m).capped for m in (2, 3, 4, None)]
    assert capped == [10, 0, 0, 0]


def test_the_error_of_few_episodes_is_their_spread():
    """Those of several blocks and of single episodes are of one mean."""
    mdp, network = gridworld(), bits()
    params = network.init_params(mdp.num_observations)
    found = [estimate_return(mdp, network, params, 40, seed) for seed in range(400)]
    said = np.sqrt(np.mean([one.standard_error**2 for one in found]))
    assert said == pytest.approx(np.std([one.mean for one in found]), rel=0.15)
