"""Which backend serves an id, made by the id or with settings of one's own."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.envs import DoorKeyEnv, EmptyEnv
from minigrid.envs.babyai.core import roomgrid_level
from minigrid.envs.obstructedmaze import ObstructedMaze_Full
from minigrid.minigrid_env import MiniGridEnv
from minigrid_replay import assert_same_observations, assert_same_step, rollout, stock_batch

from optioncoagent_envs import make_minigrid
from optioncoagent_envs.babyai import instructions
from optioncoagent_envs.backends import families
from optioncoagent_envs.backends.compiled import silent_babyai
from optioncoagent_envs.backends.families import family_of
from optioncoagent_envs.backends.vector import backends, compiled_ids, minigrid_ids

DOORKEY = "MiniGrid-DoorKey-6x6-v0"
BACKENDS = ("compiled", "stock")


def test_covered_ids():
    assert len(compiled_ids()) == 169 and set(compiled_ids()) < set(minigrid_ids())


def test_arguments():
    for wrong, named in (
        ({"backend": "fast"}, "backend is one of .*, not 'fast'"),
        ({"view": "whole"}, "view is one of .*, not 'whole'"),
        ({"view_size": 4}, "view_size is odd .*, not 4"),
        ({"view": "full", "view_size": 5}, "view_size=5 is of the partial view"),
        ({"threads": 0}, "threads are positive, not 2 and 0"),
    ):
        with pytest.raises(ValueError, match=named):
            make_minigrid(DOORKEY, 2, **wrong)
    for name, value in (("num_envs", 2.0), ("num_envs", "2"), ("threads", 1.5), ("view_size", 5.0)):
        with pytest.raises(ValueError, match=f"{name}={value!r}: it must be a whole number"):
            make_minigrid(DOORKEY, **({"num_envs": 2} | {name: value}))
    with pytest.raises(ValueError, match="stock"):
        make_minigrid("BabyAI-PutNextS5N2Carrying-v0", 2, backend="compiled")
    with pytest.raises(ValueError, match="not a MiniGrid environment"):
        make_minigrid("CartPole-v1", 2)
    with pytest.raises(gym.error.NameNotFound):
        make_minigrid("MiniGrid-Nowhere-v0", 2)


def test_settings_of_ones_own():
    settings = {"size": 9, "max_steps": 20, "agent_view_size": 5}
    ours, theirs = make_minigrid("MiniGrid-DoorKey-5x5-v0", 4, **settings), None
    assert ours.backend == "compiled"
    theirs = stock_batch("MiniGrid-DoorKey-5x5-v0", 4, **settings)
    assert_same_observations(ours.reset(seed=1)[0], theirs.reset(seed=1)[0])
    for mine, other in zip(rollout(ours, 50), rollout(theirs, 50), strict=True):
        assert_same_step(mine, other)


def test_another_generator_is_noticed(monkeypatch):
    """A minigrid whose levels differ from the compiled generator's is served by its own."""
    assert make_minigrid(DOORKEY, 2).backend == "compiled"
    drawn = DoorKeyEnv._gen_grid

    def moved(self, width, height):
        drawn(self, width, height)
        self.agent_dir = (self.agent_dir + 1) % 4

    monkeypatch.setattr(DoorKeyEnv, "_gen_grid", moved)
    assert make_minigrid(DOORKEY, 2).backend == "stock"


@pytest.mark.parametrize("env_id", [DOORKEY, "BabyAI-GoToLocal-v0"])
def test_other_rewards_rules_and_names_are_noticed(env_id, monkeypatch):
    """Of a later MiniGrid, or a patched one: what it pays, what an action does, what is seen, what cannot be made any more."""
    cls, usual = type(gym.make(env_id).unwrapped), MiniGridEnv.step

    def turned(self, action):
        return usual(self, {0: 1, 1: 0}.get(int(action), action))

    assert make_minigrid(env_id, 2).backend == "compiled"
    for owner, name, value in (
        (MiniGridEnv, "_reward", lambda self: 1.0),
        (MiniGridEnv, "step", turned),
        (Grid, "process_vis", lambda self, agent_pos: np.ones((self.width, self.height), bool)),
        (cls, "_gen_grid", lambda self, width, height: 1 / 0),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            env = gym.make(env_id, disable_env_checker=True)
            assert backends(env)[0] != "compiled", name
    assert make_minigrid(env_id, 2).backend == "compiled"


def test_a_reward_of_an_environment_s_own_is_its_own():
    """Of one environment, not of its class."""
    env = EmptyEnv()
    assert backends(env)[0] == "compiled"
    env._reward = lambda: 7.0
    assert backends(env)[0] == "stock"


def test_an_attribute_or_instruction_of_another_name_is_left_to_minigrid(monkeypatch):
    fetch = gym.make("MiniGrid-Fetch-5x5-N2-v0", disable_env_checker=True)
    del fetch.unwrapped.numObjs
    assert family_of(fetch.unwrapped) is None
    monkeypatch.setattr(instructions, "KINDS", {})
    assert backends(gym.make("BabyAI-GoToLocal-v0", disable_env_checker=True))[0] == "stock"
    monkeypatch.undo()
    monkeypatch.setattr(families, "COLORS_ARE_KNOWN", False)
    assert make_minigrid(DOORKEY, 2).backend == "stock"


def test_names_that_others_registered_of_minigrid_s_classes_are_theirs():
    """In a namespace, or by themselves: importing the package leaves them alone, and they are batched all the same."""
    code = """
import gymnasium as gym, minigrid
for name in ("my/LavaGap9-v0", "MyLavaGap9-v0"):
    gym.register(name, entry_point="minigrid.envs:LavaGapEnv", kwargs={"size": 9}, max_episode_steps=7)
from optioncoagent_envs import compiled_ids, make_minigrid
assert not [name for name in compiled_ids() if "LavaGap9" in name]
assert not [name for name in gym.registry if name.startswith("OptionCoagent/My")]
print(make_minigrid("my/LavaGap9-v0", 2).backend)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "stock\n"


@pytest.mark.parametrize("num_quarters", [-1, 0, 5])
def test_other_numbers_of_quarters_are_left_to_minigrid(num_quarters):
    env = ObstructedMaze_Full(num_quarters=num_quarters)
    assert family_of(env) is None and family_of(ObstructedMaze_Full(num_quarters=4)) is not None


def test_human_rendering_is_left_to_minigrid():
    env = gym.make("MiniGrid-Empty-5x5-v0", render_mode="human", disable_env_checker=True)
    assert backends(env)[0] == "stock"


@pytest.mark.parametrize(
    "env_id, settings",
    [
        ("BabyAI-OpenDoor-v0", {"num_rows": 1, "num_cols": 1}),
        ("BabyAI-KeyCorridor-v0", {"num_cols": 2}),
        ("BabyAI-FindObjS5-v0", {"num_rows": 2, "num_cols": 3}),
        ("BabyAI-ActionObjDoor-v0", {"num_cols": 1, "num_rows": 2}),
    ],
)
def test_settings_of_which_minigrid_makes_no_levels_are_left_to_minigrid(env_id, settings):
    env = make_minigrid(env_id, 12, seed=0, **settings)
    assert env.backend == "stock"
    with pytest.raises(AssertionError):
        env.reset()


@pytest.mark.parametrize(
    "env_id, settings",
    [
        ("MiniGrid-Dynamic-Obstacles-6x6-v0", {"n_obstacles": -1}),
        ("MiniGrid-LavaCrossingS9N1-v0", {"size": 7, "num_crossings": -1}),
        ("MiniGrid-ObstructedMaze-1Dlhb-v0", {"key_in_box": "no"}),
    ],
)
def test_odd_settings_that_minigrid_takes_are_left_to_minigrid(env_id, settings):
    env, stock = make_minigrid(env_id, 2, seed=0, **settings), stock_batch(env_id, 2, **settings)
    assert env.backend == "stock"
    np.testing.assert_array_equal(env.reset(seed=3)[0]["image"], stock.reset(seed=3)[0]["image"])


@pytest.mark.parametrize("env_id", ["MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToObj-v0"])
def test_a_limit_too_large_for_the_compiled_batch_is_left_to_minigrid(env_id):
    large, stock = 10**20, stock_batch(env_id, 2, max_steps=10**20)
    env = make_minigrid(env_id, 2, max_steps=large)
    assert env.backend == "stock" and make_minigrid(env_id, 2, max_steps=2**63 - 1).backend == "compiled"
    assert_same_observations(env.reset(seed=3)[0], stock.reset(seed=3)[0])
    for mine, other in zip(rollout(env, 5), rollout(stock, 5), strict=True):
        assert_same_step(mine, other)
    source, ours = gym.make(env_id, max_steps=large), make_minigrid(env_id, 2)
    source.reset(seed=0), ours.reset(seed=0)
    with pytest.raises(ValueError, match=f"max_steps={large}, not"):
        ours.set_env(0, source)


def test_gymnasiums_checker_is_an_argument_of_gym_make():
    for kwargs, backend in (({"disable_env_checker": False}, "gymnasium"), ({"disable_env_checker": True}, "compiled"), ({}, "compiled")):
        env = make_minigrid(DOORKEY, 2, seed=0, **kwargs)
        env.reset()
        assert env.backend == backend and env.step(env.action_space.sample())[1].shape == (2,)


def test_a_setting_that_nobody_knows_is_left_to_minigrid():
    env = make_minigrid("BabyAI-OpenDoor-v0", 1, seed=0, select_by="size")
    assert env.backend == "stock"
    with pytest.raises(NotImplementedError):
        env.reset()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("env_id", ["MiniGrid-Empty-5x5-v0", "MiniGrid-DistShift1-v0", "MiniGrid-Dynamic-Obstacles-5x5-v0"])
def test_a_start_anywhere(env_id, backend):
    anywhere = {"agent_start_pos": None, "agent_start_dir": None}
    env, theirs = make_minigrid(env_id, 4, backend=backend, **anywhere), stock_batch(env_id, 4, **anywhere)
    assert_same_observations(env.reset(seed=3)[0], theirs.reset(seed=3)[0])


def test_who_has_silenced_babyai_finds_it_so(monkeypatch):
    said = []
    monkeypatch.setattr(roomgrid_level, "print", said.append, raising=False)
    with silent_babyai():
        roomgrid_level.print("rejected")
    roomgrid_level.print("more")
    assert said == ["more"]


def test_batches_made_in_threads_leave_the_output_to_whom_it_belongs(capsys):
    """BabyAI, which prints each level that it rejects, is silent while levels are compared, and only then."""
    output, interval = sys.stdout, sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda env_id: make_minigrid(env_id, 1), ["BabyAI-GoToObjDoor-v0", DOORKEY] * 8))
    finally:
        sys.setswitchinterval(interval)
    assert sys.stdout is output and {env.backend for env in made} == {"compiled"}
    assert capsys.readouterr().out == ""
    for seed in range(4):
        gym.make("BabyAI-GoToObjDoor-v0").reset(seed=seed)
    assert "Sampling rejected" in capsys.readouterr().out
