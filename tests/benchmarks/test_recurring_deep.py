"""Goals that come back, with networks: the rooms are four rooms, and who is told that a task begins forgets what it is said to forget."""

from pathlib import Path

import numpy as np
import pytest
import torch
from run_folders import benchmark
from scipy import stats

from optioncoagent_envs.tabular.four_rooms import CELLS, FourRooms


@pytest.fixture
def deep(monkeypatch):
    """Benchmarks import what lies beside them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("recurring_deep")


@pytest.mark.parametrize("goal", [0, 1, 62])
def test_the_rooms_move_as_the_environment_does_whatever_the_goal(deep, goal):
    following, cumulative = deep.dynamics()
    table = FourRooms("code", goal).P
    for s in set(range(len(CELLS))) - {goal}:
        for a in range(4):
            found = np.zeros(len(CELLS))
            np.add.at(found, following[s, a], np.diff(cumulative[s, a], prepend=0.0))
            wanted = np.zeros(len(CELLS))
            for p, t, reward, terminated in table[s][a]:
                wanted[t] += p
                assert (reward, terminated) == (float(t == goal), t == goal)
            assert found == pytest.approx(wanted, abs=1e-12)


def test_a_step_is_drawn_as_the_table_says(deep):
    env, number = deep.Rooms(20_000, 5), 20_000
    env.reset(seed=0)
    env.state = np.full(number, 51)
    state, *_ = env.step(np.full(number, 2))
    following, cumulative = deep.dynamics()
    wanted = np.bincount(following[51, 2], weights=np.diff(cumulative[51, 2], prepend=0.0), minlength=len(CELLS))
    seen = np.bincount(state, minlength=len(CELLS))
    assert (wanted > 0).sum() > 2 and (seen[wanted == 0] == 0).all()
    assert stats.chisquare(seen[wanted > 0], number * wanted[wanted > 0]).pvalue > 1e-3


def test_an_episode_ends_at_the_goal_or_cut_off_and_the_next_begins_elsewhere(deep, monkeypatch):
    monkeypatch.setattr(deep, "MAX_STEPS", 7)
    env, rng = deep.Rooms(64, 5), np.random.default_rng(0)
    state, _ = env.reset(seed=3)
    assert (state != 5).all()
    age, reached, cut, seen = np.zeros(64, int), 0, 0, np.zeros(len(CELLS), int)
    for _ in range(300):
        state, reward, terminated, truncated, info = env.step(rng.integers(4, size=64))
        age += 1
        ended = terminated | truncated
        assert (reward == terminated).all() and not (terminated & truncated).any() and (state != 5).all()
        assert (truncated == ((age == 7) & ~terminated)).all()
        if ended.any():
            last = info["final_obs"][ended].astype(int)
            assert (info["_final_obs"] == ended).all() and ((last == 5) == terminated[ended]).all()
            np.add.at(seen, state[ended], 1)
        age[ended] = 0
        reached, cut = reached + terminated.sum(), cut + truncated.sum()
    assert reached > 20 and cut > 1000
    assert (np.delete(seen, 5) > 0).all() and seen[5] == 0  # it starts anywhere else


FORGOTTEN: dict[str, set[str]] = {
    "flat, anew": {"encoder", "termination", "action", "critic"},
    "flat, slow start": {"critic"},
    "flat, new head": {"action", "critic"},
    "4 options": {"option", "critic"},
    "4 options, one step": {"option", "critic"},
    "4 options, slow start": {"option", "critic"},
    "4 options, bandit": {"option", "critic"},
    "4 options, bandit of one step": {"option", "critic"},
    "4 options, bandit that observes": {"option", "critic"},
}
BANDITS = [agent for agent in FORGOTTEN if "bandit" in agent]
BY_TABLES = ("flat, anew", "flat, slow start", "4 options", "4 options, one step", "4 options, slow start", *BANDITS)
MADE = [(agent, "network") for agent in FORGOTTEN] + [(agent, "tables") for agent in BY_TABLES]


@pytest.mark.parametrize("agent, policies", MADE)
def test_who_is_told_forgets_what_it_is_said_to_forget(deep, agent, policies):
    sizes, encoder = deep.Sizes(0.003, 0.01, 0.01, part=0.25), {"encoder"} if policies == "network" else set()
    made = deep.make(agent, sizes, deep.Rooms(deep.NUM_ENVS, 5), 0, policies)
    parameters = dict(made.module.named_parameters())
    first = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    begin = {name: x.clone() for name, x in first.items()}
    made.update()
    after = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    deep.told(agent, made, first, sizes)
    moved = {name for name in parameters if not torch.equal(after[name], begin[name])}
    parts = {_part(name) for name in parameters}
    assert {_part(name) for name in moved} >= (FORGOTTEN[agent] & parts) | {"action"} | encoder
    assert ("encoder" in parts) == (policies == "network")
    for name in moved:
        if _part(name) in FORGOTTEN[agent]:
            assert torch.equal(parameters[name], begin[name]) and parameters[name] not in made.optimizer.state
        elif agent.endswith("slow start"):
            assert torch.allclose(parameters[name], begin[name] + 0.25 * (after[name] - begin[name]))
            assert torch.equal(first[name], parameters[name]) and parameters[name] not in made.optimizer.state
        else:
            assert torch.equal(parameters[name], after[name]) and parameters[name] in made.optimizer.state
    made.update()  # Adam begins with new moments


def _part(name: str) -> str:
    """Whose parameter it is."""
    return next(
        part for part in ("encoder", "critic", "policy_termination", "policy_option", "policy_action") if part in name
    ).removeprefix("policy_")


@pytest.mark.parametrize("policies", ["network", "tables"])
def test_a_bandit_does_not_observe_and_is_asked_every_eight_steps_or_at_each(deep, policies):
    sizes = deep.Sizes(0.003, 0.01, 0.01)

    def made(agent):
        return deep.make(agent, sizes, deep.Rooms(deep.NUM_ENVS, 5), 0, policies)

    bandit, each, observing = (made("4 options, bandit" + of) for of in ("", " of one step", " that observes"))
    assert [agent.network["option"].observes for agent in (bandit, each, observing)] == [False, False, True]
    rows = [agent.update() for agent in (bandit, each, observing)]
    assert rows[1]["option/executed"] == 1.0 and all(0.1 < row["option/executed"] < 0.16 for row in (rows[0], rows[2]))
    # options have no parameters in common, so that they differ from the first step on
    assert rows[0]["action/divergence"] > 0 and not any(name.startswith("common") for name, _ in bandit.module.named_parameters())


def test_two_speeds_are_those_of_the_parts_that_are_said(deep):
    made = deep.make("4 options", deep.Sizes(0.001, 0.03, 0.1), deep.Rooms(deep.NUM_ENVS, 5), 0)
    of = {parameter: name for name, parameter in made.module.named_parameters()}
    speeds = {of[parameter]: group["lr"] for group in made.optimizer.param_groups for parameter in group["params"]}
    assert len(speeds) == len(of) and made.settings.target_kl is None
    assert made.settings.ent_coef == 0.1 and made.settings.ent_coefs == {"termination": 0.0}
    assert all(speed == (0.03 if _part(name) in ("option", "critic") else 0.001) for name, speed in speeds.items())


def test_figures_are_goals_per_thousand_steps_of_each_fifth(deep, monkeypatch):
    monkeypatch.setattr(deep, "FRAMES", 5 * 2048)
    monkeypatch.setattr(deep, "MAX_STEPS", 30)  # episodes that are cut reach no goal
    reached, step = [], deep.Rooms.step

    def counted(env, actions):
        found = step(env, actions)
        reached.append((env.goal, found[2].sum()))
        return found

    monkeypatch.setattr(deep.Rooms, "step", counted)
    rates, length = deep.life("4 options", deep.Sizes(0.003, 0.01, 0.01), np.array([5, 60]), 0)
    goals, ends = np.array(reached).T
    assert rates.flatten() == pytest.approx(1000 * ends.reshape(10, -1).sum(axis=1) / 2048)
    assert (goals.reshape(2, -1) == [[5], [60]]).all() and length > 1


@pytest.mark.parametrize("agent", ["4 options", "4 options, goes on", "flat, goes on", "flat, anew"])
def test_only_who_is_told_is_told_once_for_each_further_task(deep, monkeypatch, agent):
    monkeypatch.setattr(deep, "FRAMES", 5 * 2048)
    calls = []
    monkeypatch.setattr(deep, "told", lambda *told: calls.append(told[0]))
    deep.life(agent, deep.Sizes(0.003, 0.003, 0.01), np.array([5, 60, 5]), 0)
    assert calls == ([] if agent.endswith("goes on") else [agent] * 2)


def test_a_row_holds_the_figures_it_is_said_to_hold(deep, monkeypatch):
    rates = np.arange(200.0).reshape(40, 5)
    monkeypatch.setattr(deep, "life", lambda *_: (rates, 3.0))
    _, row = deep.train(deep.Run("4 options", "doorways", 0))
    assert row | {"seconds": 0.0} == {
        "all": 99.5,
        "first_tasks": 24.5,
        "last_tasks": 149.5,
        "first_fifth": 147.5,
        "last_fifth": 151.5,
        "learned": 1.0,
        "length": 3.0,
        "seconds": 0.0,
    }
    monkeypatch.setattr(deep, "life", lambda *_: (0.41 * rates, 3.0))  # the last fifths are at least 50 from the fifth of these tasks on
    assert deep.train(deep.Run("4 options", "doorways", 0))[1]["learned"] == 0.8


def test_a_longer_life_has_its_own_step_sizes_and_the_same_first_and_last_tasks(deep, monkeypatch):
    used, rates = [], np.arange(500.0).reshape(100, 5)
    monkeypatch.setattr(deep, "life", lambda *of: (used.append((of[1], len(of[2]))), (rates, 3.0))[1])
    _, row = deep.train(deep.Run("4 options, bandit", "doorways", 0, "tables", 100))
    deep.train(deep.Run("4 options, bandit", "doorways", 0, "tables"))
    sizes = deep.LONG["tables", "4 options, bandit"], deep.TUNED["tables"]["4 options, bandit"]
    assert sizes[0] != sizes[1] and used == [(sizes[0], 100), (sizes[1], 40)]
    assert (row["all"], row["first_tasks"], row["last_tasks"]) == (249.5, 24.5, 449.5)


def test_every_row_is_of_a_run_the_script_knows_and_every_choice_of_its_grid(deep):
    assert (found := deep.rows.read(deep.ROWS, deep.Run))
    for run in found:
        assert run.agent in deep.GRIDS[run.policies] and run.places in deep.PLACES and run.tasks in (deep.TASKS, 100)
    for policies, grids in deep.GRIDS.items():
        assert deep.TUNED[policies].keys() == grids.keys() and min(map(len, grids.values())) == 8
        assert all(deep.TUNED[policies][agent] in grid for agent, grid in grids.items())
