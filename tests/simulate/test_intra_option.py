"""The four-rooms learner: what it estimates, and each of its updates, against exact values."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from enumerated import random_mdp

import optioncoagent as oc
from optioncoagent import option_critic, option_values, policy_gradient
from optioncoagent.simulate.intra_option import Learner, train, train_option_critic

# steps this small leave policies and terminations where they are: their sum is the update that the learner expects to make
STEP = 1e-9
STILL = Learner(3, "learned", temperature=1.0, critic_step_size=0.03, policy_step_size=STEP, termination_step_size=STEP)


MDP = random_mdp(4, num_states=5, num_actions=3, gamma=0.9)
PARAMS = option_critic(3, 3).init_params(6, seed=1)
START = {**PARAMS, "termination": PARAMS["termination"][..., 0] - PARAMS["termination"][..., 1]}  # the logit of TERMINATE


@functools.cache
def updates(learner, episodes=20_000):
    """Mean update an episode, over the second half of training, when the critic has settled, and Q_Ω at the end; means over trials."""
    schedules = [np.zeros((8, n), dtype=int) for n in (episodes // 2, episodes)]
    first, both = (train_option_critic([MDP], schedule, learner, threads=2, preferences=START) for schedule in schedules)
    scale = STEP * (episodes - episodes // 2)
    sums = {name: (both.preferences[name] - first.preferences[name]).mean(axis=0) / scale for name in both.preferences}
    return sums, both.q_omega.mean(axis=0)


def cosine_and_ratio(name, learner):
    update, _ = updates(learner)
    gradient = policy_gradient(MDP, option_critic(3, 3), PARAMS)[name]
    exact = gradient[..., 0] if name == "termination" else gradient
    norms = [np.sqrt((x**2).sum()) for x in (update[name], exact)]
    return (update[name] * exact).sum() / (norms[0] * norms[1]), norms[0] / norms[1]


def test_the_critic_learns_q_omega_of_the_policies_in_use():
    _, q_omega = updates(STILL)
    truth = option_values(MDP, PARAMS).q_omega
    assert np.abs(q_omega - truth).max() < 0.15
    assert np.corrcoef(q_omega.ravel(), truth.ravel())[0, 1] > 0.995


@pytest.mark.parametrize("name", ["termination", "option", "action"])
def test_the_mean_update_is_the_exact_gradient(name):
    cosine, ratio = cosine_and_ratio(name, STILL)
    assert cosine > 0.995
    assert abs(ratio - 1) < 0.03


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("termination", {"v_omega": "max"}),
        ("termination", {"pair": "departure"}),
        ("termination", {"pair": "post_switch"}),
        ("termination", {"margin": 0.1}),
        ("termination", {"discounted": False}),
        ("option", {"discounted": False}),
        ("option", {"gated": False}),
        ("action", {"discounted": False}),
    ],
)
def test_each_deviation_is_another_vector(name, deviation):
    cosine, ratio = cosine_and_ratio(name, replace(STILL, **deviation))
    assert cosine < 0.95 or abs(ratio - 1) > 0.04


def test_a_margin_takes_as_much_from_ending():
    """−ξ Σ_t γ^t b (1 − b): the gradient of −ξ b at every arrival, of which the critic knows nothing."""
    with_margin, without = (updates(learner)[0]["termination"] for learner in (replace(STILL, margin=0.1), STILL))
    b = 1 / (1 + np.exp(-START["termination"]))
    expected = np.zeros_like(b)
    np.add.at(expected, MDP.observation, -0.1 * option_values(MDP, PARAMS).d_beta)
    np.testing.assert_allclose(with_margin - without, expected * b * (1 - b), atol=0.02 * np.abs(expected).max())


SHORT = np.zeros((3, 40), dtype=int)


@pytest.mark.parametrize(
    "change",
    [
        {"num_options": 3},
        {"policy_over_options": "learned"},
        {"temperature": 0.5},
        {"critic_step_size": 0.3},
        {"policy_step_size": 0.3},
        {"termination_step_size": 0.3},
        {"discounted": False},
        {"v_omega": "max"},
        {"pair": "departure"},
        {"pair": "post_switch"},
        {"margin": 0.2},
    ],
)
def test_every_setting_is_read(change):
    learner = Learner(2, temperature=0.1)
    base, other = (train_option_critic([MDP], SHORT, x) for x in (learner, replace(learner, **change)))
    assert base.q_omega.shape != other.q_omega.shape or not np.allclose(base.q_omega, other.q_omega)


def test_trials_are_apart_and_threads_change_nothing():
    one, two = (train_option_critic([MDP], np.zeros((12, 40), dtype=int), seed=3, threads=t) for t in (1, 2))
    assert np.array_equal(one.q_omega, two.q_omega)
    few = train_option_critic([MDP], SHORT, seed=3)
    assert np.array_equal(one.q_omega[:3], few.q_omega)
    assert not np.array_equal(one.q_omega[0], one.q_omega[1])


def test_episodes_follow_the_schedule():
    """Two corridors, the end one step away or never: steps tell which MDP an episode was played on."""
    P = np.zeros((2, 1, 2))
    P[:, 0, 1] = 1
    short = oc.MDP(P, np.zeros((2, 1)), [1, 0], 0.9, [False, True])
    endless = oc.MDP(np.eye(2)[:, None], np.zeros((2, 1)), [1, 0], 0.9, [False, True])
    runs = train_option_critic([short, endless], [[0, 1, 0], [1, 1, 0]], Learner(2), max_steps=9)
    assert runs.steps.tolist() == [[1, 9, 1], [9, 9, 1]]
    assert (runs.option_length <= runs.steps).all()


def test_options_that_are_frozen_stay_and_the_policy_over_them_learns():
    """Each trial goes on from its own preferences."""
    learner = Learner(2, "learned", temperature=1.0)
    first = train_option_critic([MDP], np.zeros((3, 20), dtype=int), learner).preferences
    frozen = replace(learner, policy_step_size=0.0, termination_step_size=0.0, option_step_size=0.5)
    then = train_option_critic([MDP], np.zeros((3, 20), dtype=int), frozen, seed=1, preferences=first).preferences
    for name in ("action", "termination"):
        assert np.array_equal(then[name], first[name]) and np.ptp(first[name], axis=0).any()
    assert (then["option"] != first["option"]).any()
    same = replace(learner, option_step_size=learner.policy_step_size)
    assert np.array_equal(train_option_critic([MDP], np.zeros((3, 20), dtype=int), same).preferences["option"], first["option"])


def test_one_option_never_switches_to_another_and_learns_as_a_flat_agent():
    """With one option U = Q_Ω = V_Ω: nothing depends on the terminations."""
    runs = [train_option_critic([MDP], SHORT, Learner(1, temperature=0.1, termination_step_size=step)) for step in (0.0, 5.0)]
    assert np.array_equal(runs[0].preferences["action"], runs[1].preferences["action"])


ENDLESS = oc.MDP(np.ones((1, 1, 1)), np.zeros((1, 1)), [1.0], 0.9, [False])
RESTING = Learner(num_options=2, critic_step_size=0, policy_step_size=0, termination_step_size=0)


@pytest.mark.parametrize("max_steps", [1, 2, 3, 7])
def test_of_episodes_that_are_cut_off_figures_are_means_over_what_was_there(max_steps):
    """Nobody learns, b = 1/2. An option that is chosen at the last arrival never acts: with max_steps T 1 + Bin(T - 1, 1/2) act."""
    runs = train_option_critic([ENDLESS], np.zeros((4000, 1), int), RESTING, max_steps=max_steps)
    assert (runs.termination == 0.5).all()
    chosen = max_steps / runs.option_length[:, 0] - 1
    assert abs(chosen.mean() - (max_steps - 1) / 2) < 4 * np.sqrt((max_steps - 1) / 4 / 4000) + 1e-12
    always = {"termination": np.full((1, 2), 50.0), "option": 0, "action": 0}
    runs = train_option_critic([ENDLESS], np.zeros((1, 1), int), RESTING, max_steps=max_steps, preferences=always)
    assert runs.option_length == 1 and runs.termination == pytest.approx(1)


def test_states_that_look_alike_are_refused():
    P = np.zeros((3, 2, 3))
    P[:, :, 2] = 1
    mdp = oc.MDP(P, np.array([[1.0, 0], [0, 1], [0, 0]]), [0.5, 0.5, 0], 0.9, observation=[0, 0, 1])
    with pytest.raises(ValueError, match="shows some states as one observation"):
        train_option_critic([mdp], np.zeros((1, 1), int))


@pytest.mark.parametrize("v_omega", ["policy", "max"])
def test_the_policy_over_options_moves_along_its_gradient_whatever_v_omega_is(v_omega):
    """Σ_ω ∂π_Ω(ω) Q_Ω sums to zero over the preferences, also at the first step of an episode."""
    P = np.zeros((2, 1, 2))
    P[:, :, 1] = 1
    mdp = oc.MDP(P, np.array([[1.0], [0.0]]), [1.0, 0], 0.9)
    learner = Learner(num_options=2, temperature=1.0, policy_over_options="learned", v_omega=v_omega)
    phi = train_option_critic([mdp], np.zeros((1, 20), int), learner).preferences["option"][0, 0]
    assert abs(phi.sum()) < 1e-12 and np.abs(phi).max() > 0.1


def test_arguments_are_checked():
    refused = {"pair": "here", "v_omega": "mean", "temperature": 0.0, "discounted": "False", "gated": 0}
    for keywords, message in (({name: value}, name) for name, value in refused.items()):
        with pytest.raises(ValueError, match=message):
            Learner(**keywords)
    with pytest.raises(ValueError, match="schedule"):
        train_option_critic([MDP], [[0, 1]])
    with pytest.raises(ValueError, match="of integers"):
        train_option_critic([MDP, MDP], [[0.0, 0.9]])
    assert train_option_critic([MDP], np.zeros((1, 2))).steps.shape == (1, 2)
    with pytest.raises(ValueError, match="differ"):
        train_option_critic([MDP, random_mdp(0)], [[0, 1]])


def test_trials_of_one_block_are_not_those_of_the_next():
    """Trials are run in blocks of five; those of one block are not those of the next."""
    q = train_option_critic([random_mdp(4, num_states=5, num_actions=3, gamma=0.9)], np.zeros((12, 40), dtype=int), seed=3).q_omega
    assert len(np.unique(q.reshape(12, -1), axis=0)) == 12


def corridor(n):
    P = np.zeros((n + 1, 1, n + 1))
    P[range(n), 0, range(1, n + 1)] = P[n, 0, n] = 1
    return oc.MDP(P, np.zeros((n + 1, 1)), np.eye(n + 1)[0], 0.9, np.arange(n + 1) == n)


def test_an_option_lasts_as_long_as_it_does():
    """Five steps: an option that always ends runs for one, one that never does for five."""
    mdp = corridor(5)
    for logit, length, mean in ((50.0, 1.0, 1.0), (-50.0, 5.0, 0.0)):
        start = {"termination": np.full((6, 2), logit), "option": 0.0, "action": 0.0}
        found = train_option_critic([mdp], [[0, 0]], Learner(2, termination_step_size=0.0), preferences=start)
        np.testing.assert_allclose(found.option_length, length)
        np.testing.assert_allclose(found.termination, mean, atol=1e-12)


def test_what_was_learnt_where_a_state_leads_to_itself_is_used_at_once():
    """It pays 1: the option that ran first is from then on the only one with a value, and is chosen for ever."""
    mdp = oc.MDP(np.ones((1, 1, 1)), np.ones((1, 1)), [1.0], 0.0, [False])
    start = {"termination": np.full((1, 2), 50.0), "option": 0.0, "action": 0.0}
    learner = Learner(2, critic_step_size=1.0, termination_step_size=0.0, policy_step_size=0.0)
    found = train_option_critic([mdp], np.zeros((20, 1), int), learner, max_steps=30, preferences=start)
    assert (np.sort(found.q_omega[:, 0], axis=1) == [0, 1]).all()


@pytest.mark.parametrize(
    ("preferences", "message"),
    [
        ({"action": 0.0}, r"preferences names \['action'\]: it needs termination, option, action"),
        (
            {"termination": 0.0, "option": 0.0, "action": np.zeros((3, 1))},
            r"preferences\['action'\] has shape \(3, 1\): it needs \(2, 1, 2, 1\)",
        ),
    ],
)
def test_preferences_that_do_not_fit_are_named(preferences, message):
    with pytest.raises(ValueError, match=message):
        train_option_critic([ENDLESS], np.zeros((2, 1), int), RESTING, max_steps=1, preferences=preferences)


def test_blocks_of_trials_need_no_compilation_of_their_own():
    for trials in (3, 12):  # one block, and three
        train_option_critic([MDP], np.zeros((trials, 2), dtype=int), STILL)
    assert "'A'" not in str(train.signatures)  # every array is contiguous
