"""Which of the tasks ask for a memory, and that what is to remember is in each agent."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from run_folders import benchmark


@pytest.fixture
def memory(monkeypatch):
    """The benchmark; it imports what lies beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("memory")


@pytest.mark.parametrize(("task", "seen"), [("MemoryS7", 3), ("MemoryS9", 3), ("MemoryS11", 2), ("MemoryS13", 2)])
def test_who_looks_back_from_the_fork_sees_all_three_objects_or_only_the_two_to_choose_from(memory, task, seen):
    assert task in memory.FRAMES
    env = gym.make(f"minigrid:MiniGrid-{task}-v0").unwrapped
    for seed in range(5):
        env.reset(seed=seed)
        env.agent_pos, env.agent_dir = np.array((env.width - 2, env.height // 2)), 2  # west
        image = env.gen_obs()["image"]
        assert int(np.isin(image[..., 0], (5, 6)).sum()) == seen  # keys and balls


@pytest.mark.parametrize("task", ["MemoryS11InView", "MemoryS13InView"])
def test_in_view_the_first_object_is_seen_at_the_start_and_not_from_the_fork(memory, task):
    env = memory.make(memory.Run(task, "flat", 0)).env
    assert env.backend == "compiled" and env.num_envs == 32  # compared with what MiniGrid draws when it was made
    begin = env.reset(seed=0)[0]["image"]
    assert (np.isin(begin[..., 0], (5, 6)).sum(axis=(1, 2)) == 1).all() and len(np.unique(begin, axis=0)) == 2  # a key or a ball
    alone = gym.make(f"{task}-v0").unwrapped
    alone.reset(seed=0)
    alone.agent_pos, alone.agent_dir = np.array((alone.width - 2, alone.height // 2)), 2  # west
    assert int(np.isin(alone.gen_obs()["image"][..., 0], (5, 6)).sum()) == 2


def test_what_each_agent_remembers_with(memory):
    remembers = {}
    for name in memory.AGENTS:
        agent = memory.make(memory.Run("MemoryS7", name, 0))
        remembers[name] = {*agent.network.memory}, agent.settings.recurrent_size
        agent.update()
    assert remembers == {
        "options": ({"option"}, 0),
        "flat": ({"option"}, 0),  # of one option, which says nothing
        "anew": (set(), 0),
        "options, units": ({"option"}, 64),
        "flat, units": ({"option"}, 64),
        "options, coagent": ({"memory", "option"}, 0),
        "flat, coagent": ({"memory", "option"}, 0),
        "options, units, views": ({"option"}, 64),
        "flat, units, views": ({"option"}, 64),
        "flat, views": ({"option"}, 0),
        "flat, units, places": ({"option"}, 64),
        "flat, units, steady": ({"option"}, 64),
        "options, coagent, views": ({"memory", "option"}, 0),
    }


def test_what_each_agent_is_paid_for(memory):
    paid = {}
    for name in memory.AGENTS:
        settings = memory.make(memory.Run("MemoryS7", name, 0)).settings
        paid[name] = settings.int_counts, settings.count_form, settings.int_coef
    views = {name for name, what in paid.items() if what == ("observation", "episodic", 0.03)}
    assert views == {"options, units, views", "flat, units, views", "flat, views", "options, coagent, views"}
    assert paid.pop("flat, units, places") == ("place", "episodic", 0.03)
    assert {what for name, what in paid.items() if name not in views} == {("place", "episodic", 0.005)}


def test_a_row_says_when_the_target_was_reached_and_what_came_out(memory, monkeypatch):
    monkeypatch.setitem(memory.FRAMES, "MemoryS7", 12_288)
    monkeypatch.setattr(memory, "TARGET", -1.0)
    run, row = memory.train(memory.Run("MemoryS7", "options", 0))
    assert row["frames"] >= 12_288 > row["solved_at"] > 0 and 0 <= row["final_return"] <= 1 and row["length"] >= 1
    monkeypatch.setattr(memory, "TARGET", 2.0)
    assert memory.train(run)[1]["solved_at"] == float("inf")
