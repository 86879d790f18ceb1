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


def test_arrivals_are_a_sum_over_steps(critic, rooms):
    mdp, params = rooms
    b, z, F, mu = critic.endings(mdp, params)
    # p = z b, and the mass that has ended after every number of steps comes to 1
    assert np.einsum("os,osf->of", mu, F) == pytest.approx(z * b)
    assert (z * b).sum(axis=1) == pytest.approx(np.ones(4))


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
    most = critic.worth(mdp, critic.actions(mdp))
    mine = critic.worth(mdp, params)
    assert oc.expected_return(mdp, oc.option_critic(4, 4), params) < mine < most
    assert 0.99 ** (fewest_steps(mdp) - 1) < most < 1  # Jensen: the mean of γ^n is at least γ to the mean of n
    only = params | {"option": np.where(np.arange(4) == 1, 60.0, 0.0) + np.zeros_like(params["option"])}
    assert oc.expected_return(mdp, oc.option_critic(4, 4), only) < mine


def test_the_terminations_that_learn_to_be_foretold_are(critic, rooms, monkeypatch):
    mdp, _ = rooms
    monkeypatch.setattr(critic, "STEPS", 60)
    ours, theirs = (critic.train(critic.Run(name, 0))[1] for name in ("termination critic", "by the return"))
    begun = critic.train(critic.Run("nothing is learned", 0))[1]
    assert ours["entropy"] < theirs["entropy"] and ours["length"] > 2 * theirs["length"]
    assert min(ours["J"], theirs["J"]) > begun["J"] + 0.3


def test_every_row_is_of_a_run_the_script_knows(critic):
    assert all(run.terminations in critic.TERMINATIONS for run in critic.rows.read(critic.ROWS, critic.Run))
