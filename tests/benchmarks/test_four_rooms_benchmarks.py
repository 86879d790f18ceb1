"""Tabular benchmarks in four rooms: every run goes on to its own goal from what it had learned, and remedies mean what they are called."""

from pathlib import Path

import numpy as np
import pytest
from run_folders import benchmark

from optioncoagent.exact import degeneracy
from optioncoagent.experiments.problems import four_rooms
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


@pytest.fixture
def remedies(monkeypatch):
    module = benchmark("degeneracy")
    monkeypatch.setattr(module, "RUNS", 2)
    monkeypatch.setattr(module, "EPISODES", 60)
    return module


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
        assert ("termination" in agent.settings.ent_coefs) == (parts.get(" no entropy of") == "terminations")
        assert ("termination" in agent.network.names) == (parts.get(" ending by") != "chance")
