"""Tabular benchmarks in four rooms: every run goes on to its own goal from what it had learned, and remedies mean what they are called."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_folders import benchmark
from scipy import stats

from optioncoagent.exact import degeneracy
from optioncoagent.experiments.problems import fewest_steps, four_rooms
from optioncoagent.gallery import option_critic


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """Benchmarks import what lies beside them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


def test_every_run_goes_on_to_its_own_goal_from_its_own_parameters(monkeypatch):
    described = benchmark("described_four_rooms")
    monkeypatch.setattr(described, "EPISODES", 5)
    mdps, seen, real = four_rooms("code"), [], described.actor_critic

    def watched(mdp, network, *given, after=None, **named):
        seen.append((next(i for i, one in enumerate(mdps) if one is mdp), real(mdp, network, *given, after=after, **named), after))
        return seen[-1][1]

    monkeypatch.setattr(described, "actor_critic", watched)
    before, after, moved = described.steps_around(mdps, option_critic(2, 4), (1.0, 0.1, 0.0), 6, 3, 1)
    (goal, first, none), *later = seen
    assert goal == 0 and none is None and np.array_equal(before, first.steps) and len(set(moved)) > 1
    assert sorted(goal for goal, _, _ in later) == sorted(set(moved)) and 0 not in moved
    for goal, trials, given in later:
        its = np.flatnonzero(moved == goal)
        assert np.array_equal(after[its], trials.steps) and np.array_equal(given.values, first.values[its])
        assert np.array_equal(given.params["action"], first.params["action"][its])


def test_who_is_told_of_the_move_begins_anew_or_keeps_options_under_a_new_choice(monkeypatch):
    transfer = benchmark("transfer_four_rooms")
    monkeypatch.setattr(transfer, "EPISODES", 20)
    mdps, seen, real = four_rooms("code"), [], transfer.train_option_critic

    def watched(mdps, schedule, learner, *given, preferences=None, **named):
        seen.append((schedule, learner, preferences, real(mdps, schedule, learner, *given, preferences=preferences, **named)))
        return seen[-1][3]

    monkeypatch.setattr(transfer, "train_option_critic", watched)
    for options, kind in ((1, "anew, searched"), (8, "options kept"), (8, "options kept, searched")):
        seen.clear()
        both = transfer.learners(options, kind)
        before, after = transfer.steps_after(mdps, kind, *both, 3, 5, 1)
        (first, _, none, one), (second, learner, kept, other) = seen
        assert none is None and (first == 0).all() and (second > 0).all() and first.shape == second.shape == (3, 20)
        assert np.array_equal(before, one.steps) and np.array_equal(after, other.steps)
        if options == 1:
            assert kept is None and learner == transfer.learner(1, transfer.ANEW[1]) != both[0]
            continue
        assert (learner.policy_step_size, learner.termination_step_size) == (0, 0) and learner.option_step_size == both[1].option_step_size
        assert not kept["option"].any() and other.preferences["option"].any()
        for name in ("action", "termination"):
            assert np.array_equal(kept[name], one.preferences[name]) and np.array_equal(other.preferences[name], kept[name])
    assert transfer.learners(1, "options kept") is None and transfer.learners(4, "anew, searched") is None


@pytest.fixture
def remedies(monkeypatch):
    module = benchmark("degeneracy")
    monkeypatch.setattr(module, "RUNS", 2)
    monkeypatch.setattr(module, "EPISODES", 60)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("made", [{"margin": 5.0}, {"cost": 0.5}, {"bias": -6.0}])
def test_a_strong_remedy_makes_options_last(remedies, made):
    mdp, network, (name, _) = four_rooms("code")[0], option_critic(4, 4), next(iter(made.items()))
    without = remedies.Remedy(margin=0.0) if name == "margin" else remedies.Remedy()
    lengths = [
        [degeneracy(mdp, network, params)["option/length"] for params in remedies.ends(remedy, 1)[1]]
        for remedy in (without, remedies.Remedy(**made))
    ]
    assert np.mean(lengths[0]) < 3 and np.mean(lengths[1]) > 5


def test_on_minigrid_the_entropy_bonus_makes_terminations_even_and_without_it_they_stay(remedies, monkeypatch):
    monkeypatch.setattr(remedies, "FRAMES", 4_096)
    monkeypatch.setattr(remedies, "LAST", 1)
    given = "seldom ending at first"
    names = (given, f"no entropy of terminations, {given}", "ending by chance")
    rows = [remedies.train(remedies.Run("Empty-5x5", name, 0))[1] for name in names]
    with_bonus, without, chance = (row["length"] for row in rows)
    assert with_bonus < 3 and without > 8 and 3 < chance < 5
    assert all(0 < row["usage_entropy"] <= np.log(4) + 1e-6 and row["frames"] == np.inf for row in rows)


def test_on_minigrid_remedies_are_what_they_are_called(remedies):
    for name in remedies.ON_MINIGRID:
        agent, parts = remedies.make(remedies.Run("Empty-5x5", name, 0)), dict(f" {part}".rsplit(" ", 1) for part in name.split(", "))
        assert agent.settings.diversity_coef == float(parts.get(" diversity", 0.0))
        assert max(c.cost for c in agent.network.coagents) == float(parts.get(" cost", 0.0))
        assert getattr(agent, "margin", 0.0) == float(parts.get(" margin", 0.0))
        assert ("termination" in agent.settings.ent_coefs) == (parts.get(" no entropy of") == "terminations")
        assert ("termination" in agent.network.names) == (parts.get(" ending by") != "chance")


@pytest.fixture
def recurring(monkeypatch):
    module = benchmark("recurring_goals")
    monkeypatch.setattr(module, "TASKS", 4)
    monkeypatch.setattr(module, "EPISODES", 8)
    return module


@pytest.mark.parametrize(("places", "number"), [("4", 4), ("16", 16), ("doorways", 4)])
def test_the_goals_of_a_run_are_its_own_places(recurring, monkeypatch, places, number):
    monkeypatch.setattr(recurring, "TASKS", 500)
    drawn = recurring.goals(places, 5, 3)
    assert drawn.shape == (5, 500) and all(len(set(run)) == number for run in drawn)
    assert (len({frozenset(run) for run in drawn}) == 1) == (places == "doorways")


def test_an_option_made_by_hand_goes_to_its_doorway_in_about_the_fewest_steps_and_ends_there(recurring):
    mdps = recurring.problems()
    still = replace(recurring.learner("doorway options", (0.0, 0.0)), critic_step_size=0.0)
    for o, doorway in enumerate(recurring.DOORWAYS):
        given = recurring.by_hand(mdps[0].num_states)
        given["option"][:, o] = 1000.0
        trials = recurring.train_option_critic(mdps, np.full((5, 400), doorway), still, preferences=given)
        assert fewest_steps(mdps[doorway]) * 0.97 < trials.steps.mean() < fewest_steps(mdps[doorway]) * 1.1
        assert trials.option_length.mean() > 0.9 * trials.steps.mean()


def test_a_slow_start_that_never_moves_is_beginning_anew(recurring):
    mdps, places = recurring.problems(), recurring.goals("4", 3, 1)
    anew, slow, moving = (
        recurring.life(mdps, agent, sizes, places, 5, 1)[0]
        for agent, sizes in (("flat, anew", (2.0, 1.0)), ("flat, slow start", (2.0, 0.0)), ("flat, slow start", (2.0, 0.5)))
    )
    assert np.array_equal(anew, slow) and not np.array_equal(anew, moving) and np.array_equal(anew[:, 0], moving[:, 0])


def test_options_go_on_from_task_to_task_under_a_policy_over_them_that_begins_anew(recurring, monkeypatch):
    seen, real = [], recurring.train_option_critic

    def watched(*given, preferences, **named):
        seen.append((preferences, real(*given, preferences=preferences, **named)))
        return seen[-1][1]

    monkeypatch.setattr(recurring, "train_option_critic", watched)
    mdps, places = recurring.problems(), recurring.goals("4", 3, 1)
    steps, _, learned = recurring.life(mdps, "4 options", (0.5, 64.0), places, 5, 1)
    assert len(seen) == recurring.TASKS and np.array_equal(steps[:, 2], seen[2][1].steps) and learned is seen[-1][1].preferences
    for (given, _), (_, before) in zip(seen[1:], seen, strict=False):
        assert not given["option"].any() and before.preferences["option"].any()
        assert all(np.array_equal(given[name], before.preferences[name]) for name in ("action", "termination"))


def test_options_of_one_step_end_at_every_step_and_those_made_by_hand_stay(recurring):
    mdps, places = recurring.problems(), recurring.goals("4", 3, 1)
    steps, lengths, _ = recurring.life(mdps, "4 options, one step", (0.5, 64.0), places, 5, 1)
    assert 0 < (steps == 1000).mean() < 1 and (lengths == 1.0).all()  # also where an episode is cut off
    _, lengths, learned = recurring.life(mdps, "doorway options", (0.0, 8.0), places, 5, 1)
    made = recurring.by_hand(mdps[0].num_states)
    assert lengths.mean() > 2 and all(np.array_equal(learned[name][0], made[name]) for name in ("action", "termination"))


def test_half_an_interval_of_a_mean_is_that_of_a_t_test(recurring):
    x = [3.0, 4.5, 1.0, 7.0, 2.5]
    low, high = stats.ttest_1samp(x, 0.0).confidence_interval(0.95)
    assert recurring.rows.half_interval(x) == pytest.approx((high - low) / 2) and np.isnan(recurring.rows.half_interval(x[:2]))
