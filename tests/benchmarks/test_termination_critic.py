"""The termination critic's objective and gradient, each by another road, and what options are worth."""

from pathlib import Path

import numpy as np
import pytest
from run_folders import benchmark
from scipy import stats

import optioncoagent as oc
from optioncoagent.experiments.problems import fewest_steps, four_rooms
from optioncoagent.gallery import TERMINATE


@pytest.fixture
def critic(monkeypatch):
    """Benchmarks import what lies beside them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("termination_critic")


@pytest.fixture(scope="module")
def rooms():
    mdp = four_rooms("code")[0]
    return mdp, oc.option_critic(4, mdp.num_actions).init_params(mdp.num_observations, seed=3, scale=1.0)


def ended(mdp, params, begin, option, rng):
    """Where one option ends that is drawn step by step."""
    network = oc.option_critic(4, mdp.num_actions)
    policies, s = network.policies(params, mdp.num_observations), begin
    P = mdp.transition_matrix.toarray().reshape(mdp.num_states, mdp.num_actions, -1)
    while True:
        o = mdp.observation[s]
        s = rng.choice(mdp.num_states, p=P[s, rng.choice(mdp.num_actions, p=policies["action"][o, option])])
        if mdp.terminal[s] or rng.random() < policies["termination"][mdp.observation[s], option, TERMINATE]:
            return s


def test_where_options_end_is_what_drawing_them_says(critic, rooms):
    mdp, params = rooms
    _, _, F, mu = critic.endings(mdp, params)
    assert F.sum(axis=2) == pytest.approx(np.ones(F.shape[:2])) and mu.sum(axis=1) == pytest.approx(np.ones(4))
    rng, number = np.random.default_rng(0), 3000
    seen = np.bincount([ended(mdp, params, 40, 2, rng) for _ in range(number)], minlength=mdp.num_states)
    often = F[2, 40] * number >= 5
    pooled = [np.append(x[often], x[~often].sum()) for x in (seen, F[2, 40] * number)]
    assert often.sum() > 10 and stats.chisquare(*pooled).pvalue > 1e-3


def test_where_options_begin_is_where_they_are_chosen(critic, rooms):
    mdp, params = rooms
    v, mu = oc.option_values(mdp, params), critic.endings(mdp, params)[3]
    b = oc.option_critic(4, 4).policies(params, mdp.num_observations)["termination"][mdp.observation, :, TERMINATE]
    chosen = (v.d_z - v.d_beta * (1 - b)).T  # in force, less what went on
    assert mu == pytest.approx(chosen / chosen.sum(axis=1, keepdims=True), abs=1e-12)


def test_arrivals_are_a_sum_over_steps(critic, rooms):
    mdp, params = rooms
    b, z, F, mu = critic.endings(mdp, params)
    policy = oc.option_critic(4, 4).policies(params, mdp.num_observations)["action"][mdp.observation]
    P = mdp.transition_matrix.toarray().reshape(mdp.num_states, mdp.num_actions, -1)
    leaves, arrivals = mu.copy(), np.zeros_like(z)
    for _ in range(2000):
        arrives = np.einsum("os,soa,sat->ot", leaves, policy, P, optimize=True)
        arrivals, leaves = arrivals + arrives, arrives * (1 - b)
    assert z == pytest.approx(arrivals, abs=1e-9)
    assert critic.places(mdp, params) == pytest.approx(np.einsum("os,osf->of", mu, F), abs=1e-12)


def test_the_gradient_is_that_of_the_entropy(critic, rooms):
    mdp, params = rooms
    mu, found, rng = critic.endings(mdp, params)[3], critic.gradient(mdp, params), np.random.default_rng(1)

    def entropy(option, at, move):
        moved = params | {"termination": params["termination"].copy()}
        moved["termination"][at] += move
        p = mu[option] @ critic.endings(mdp, moved)[2][option]  # where options begin is held
        return -(p[p > 0] * np.log(p[p > 0])).sum()

    for s, option, output in zip(rng.integers(104, size=8), rng.integers(4, size=8), [0, 1] * 4, strict=True):
        at = (s, option, output)
        assert found[at] == pytest.approx(-(entropy(option, at, 1e-5) - entropy(option, at, -1e-5)) / 2e-5, abs=1e-8)
    assert np.abs(found).max() > 1e-3


def test_what_options_are_worth_lies_between_their_return_and_the_optimum(critic, rooms):
    mdp, params = rooms
    most, mine = critic.worth(mdp, critic.actions(mdp))[0], critic.worth(mdp, params)[0]
    assert oc.expected_return(mdp, oc.option_critic(4, 4), params) < mine < most
    assert 0.99 ** (fewest_steps(mdp) - 1) < most < 1  # Jensen: the mean of γ^n is at least γ to the mean of n
    assert mine < critic.worth(mdp, critic.always_ending(params))[0] < most  # whoever may choose at every step
    both, sweeps = critic.worth(mdp, params, critic.actions(mdp))
    assert both == pytest.approx(most, abs=1e-8) and 0 < sweeps <= critic.worth(mdp, critic.actions(mdp))[1]


def test_the_best_policy_over_options_is_what_improving_it_comes_to(critic, rooms):
    mdp, params = rooms
    best = dict(params)
    for _ in range(6):
        q = oc.option_values(mdp, best).q_omega
        best["option"] = np.zeros_like(params["option"])
        best["option"][mdp.observation, q.argmax(axis=1)] = 700.0
    assert critic.worth(mdp, params)[0] == pytest.approx(oc.expected_return(mdp, oc.option_critic(4, 4), best), abs=1e-7)


def test_sweeps_are_those_until_the_return_is_within_a_hundredth(critic, rooms):
    mdp, _ = rooms
    value, sweeps = critic.worth(mdp, critic.actions(mdp))
    V, found = np.zeros(mdp.num_states), []
    for _ in range(60):
        Q = mdp.expected_reward + mdp.gamma * (mdp.transition_matrix @ V).reshape(mdp.num_states, -1)
        V = np.where(mdp.terminal, 0.0, Q.max(axis=1))
        found.append(mdp.d0 @ V)
    assert found[sweeps - 1] >= 0.99 * value > found[sweeps - 2]


def test_each_way_to_learn_terminations_does_what_it_says(critic, rooms, monkeypatch):
    mdp, params = rooms
    ways = {name: way(mdp, params) for name, way in critic.TERMINATIONS.items()}
    assert "termination" not in ways["one half"] and not ways["nothing is learned"]
    ours, theirs = ways["termination critic"], ways["by the return"]
    assert (ours["action"] == theirs["action"]).all() and (ours["termination"] == critic.gradient(mdp, params)).all()
    costly = ways["by the return, cost 0.1"]
    network = oc.option_critic(4, 4, deliberation_cost=0.1)
    assert (costly["termination"] == oc.policy_gradient(mdp, network, params)["termination"]).all()
    assert np.abs(costly["termination"] - theirs["termination"]).max() > 1e-3
    monkeypatch.setattr(critic, "STEPS", 2)
    assert (critic.ascend(mdp, critic.Run("one half", 0))[-1]["termination"] == 0).all()


def test_the_terminations_that_learn_to_be_foretold_are(critic, monkeypatch):
    mdp, *moved = four_rooms("code")
    monkeypatch.setattr(critic, "STEPS", 60)
    found = {}
    for name in ("termination critic", "by the return", "nothing is learned"):
        halfway, params = critic.ascend(mdp, critic.Run(name, 0))
        found[name] = critic.judge(mdp, moved[:1], params)
    ours, theirs, begun = found.values()
    assert ours["H"] < theirs["H"] and ours["length"] > 2 * theirs["length"] and ours["to the end"] > 2 * theirs["to the end"]
    assert min(ours["J"], theirs["J"]) > begun["J"] + 0.3


def test_every_row_is_of_a_run_the_script_knows(critic):
    found = critic.rows.read(critic.ROWS, critic.Run)
    assert found and all(run.terminations in critic.TERMINATIONS for run in found)
