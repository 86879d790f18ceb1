"""Fetch, GoToObject, GoToDoor, PutNear, RedBlueDoors and Memory: levels by the hundred, and MiniGrid's objects read from a row."""

from __future__ import annotations

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
from minigrid_task_scripts import TASK_EVENTS, task_event, task_script

from optioncoagent_envs import compiled_ids, make_minigrid

SEEDS = 300
CLASSES = {f"minigrid.envs:{task.__name__}" for task in TASK_EVENTS}
TASKS = [name for name in compiled_ids() if gym.spec(name).entry_point in CLASSES]


def test_covered_ids():
    assert len(TASKS) == 18


def assert_same_levels(env, env_id: str, resets: int) -> None:
    """The levels of the batch, with the random stream they leave behind, are those of stock after so many resets."""
    ours = env.get_state()
    stock = gym.make(env_id)
    for seed in range(SEEDS):
        stock.reset(seed=seed)
        for _ in range(resets - 1):
            stock.reset()
        env.set_env(seed, stock)
    theirs = env.get_state()
    env.set_state(ours)
    for name in ("grid", "agent", "rng"):
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("env_id", TASKS)
def test_levels_are_minigrids(env_id):
    env = make_minigrid(env_id, SEEDS, backend="compiled")
    env.reset(seed=0)
    assert_same_levels(env, env_id, 1)
    env.reset()
    assert_same_levels(env, env_id, 2)


@pytest.mark.parametrize("settings", [{"size": 9, "numObjs": 12}, {"size": 5, "numObjs": 1, "max_steps": 9}])
@pytest.mark.parametrize("env_id", ["MiniGrid-Fetch-8x8-N3-v0", "MiniGrid-GoToObject-8x8-N2-v0"])
def test_settings_of_ones_own(env_id, settings):
    env = make_minigrid(env_id, 50, backend="compiled", **settings)
    env.reset(seed=0)
    stock = gym.make(env_id, **settings)
    for seed in range(50):
        expected, _ = stock.reset(seed=seed)
        core = env.minigrid_env(seed)
        assert core.grid == stock.unwrapped.grid and core.max_steps == stock.unwrapped.max_steps
        assert env.observations()["mission"][seed] == expected["mission"]


@pytest.mark.parametrize("env_id", TASKS)
def test_a_row_read_back_goes_on_alike(env_id):
    """MiniGrid's objects read from a row take a step as the row does; all that a mission may lead to happens on the way."""
    env = make_minigrid(env_id, 1, seed=0, backend="compiled")
    env.reset()
    rng = np.random.default_rng(3)
    counts: Counter[str] = Counter()
    script: list[int] = []
    for _ in range(800):
        core = env.minigrid_env(0)
        if not script:
            script = [*task_script(core, rng), *rng.integers(0, 7, 2)]
            env.set_env(0, core)
            core = env.minigrid_env(0)
        action = int(script.pop(0))
        counts[task_event(core, action) or "nothing"] += 1
        seen, reward, terminated, truncated, _ = core.step(action)
        ours, rewards, ends, limits, infos = env.step(np.array([action]))
        assert (rewards[0], ends[0], limits[0]) == (reward, terminated, truncated)
        over = terminated or truncated
        mine = infos["final_obs"][0]["image"] if over else ours["image"][0]
        np.testing.assert_array_equal(mine, seen["image"])
        if over:
            script = []
            core.reset()
            assert env.minigrid_env(0).grid == core.grid
    missing = {name for name in TASK_EVENTS[type(core)] if counts[name] == 0}
    assert not missing, f"{missing} never happened: {counts}"
