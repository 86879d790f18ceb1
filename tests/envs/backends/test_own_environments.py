"""Environments, grids and objects of a user's own behave as they do without the batch."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Box, Floor, Goal, Key, WorldObj
from minigrid.envs import EmptyEnv
from minigrid.minigrid_env import MiniGridEnv
from minigrid_replay import assert_same_observations, assert_same_step, rollout, stock_batch

from optioncoagent_envs import make_minigrid


class Chameleon(WorldObj):
    """An object of a user's own, that changes its looks every time somebody looks."""

    looks = 0

    def __init__(self):
        super().__init__("ball", "blue")

    def encode(self):
        self.looks += 1
        return (6, self.looks % 6, self.looks % 3)

    def see_behind(self):
        return False


class Recoloured(MiniGridEnv):
    """Changes floors in place, looks at its own observation, and acts on the grid after the step was taken."""

    def __init__(self, thing=None, **kwargs):
        self.thing = thing
        super().__init__(MissionSpace(lambda: "go"), grid_size=7, max_steps=15, **kwargs)

    def _gen_grid(self, width, height):
        width, height = self._rand_int(5, width + 1), self._rand_int(5, height + 1)  # not always as large
        self.see_through_walls = width < 6
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        self.put_obj(Goal(), width - 2, height - 2)
        self.floor = Floor("blue")
        self.place_obj(self.floor)
        if self.thing is not None:
            self.place_obj(self.thing())
        self.place_agent()
        self.mission = "go"

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        self.floor.color = "red" if self.step_count % 2 else "green"
        if self.step_count % 3 == 0:
            self.grid.set(2, 2, Key("yellow"))
        if self.step_count % 5 == 0:
            obs["image"][0, 0] = 9
        if self.step_count % 7 == 0:
            obs = {**obs, "mission": "go" if obs["image"].sum() % 2 else "stay"}
        return obs, reward + 0.5, terminated, truncated, {"steps": self.step_count}


class Painted(EmptyEnv):
    def gen_obs(self):
        obs = super().gen_obs()
        obs["image"][:, 0] = 7
        return obs


class Inverted(Grid):
    def encode(self, vis_mask=None):
        return 255 - super().encode(vis_mask)


class OwnGrid(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.grid.__class__ = Inverted


@pytest.fixture
def register():
    names = []

    def add(name, **kwargs):
        gym.register(name, **kwargs)
        names.append(name)
        return name

    yield add
    for name in names:
        gym.registry.pop(name)


@pytest.mark.parametrize(
    ("entry", "backend"),
    [
        (Recoloured, "stock"),
        (partial(Recoloured, thing=partial(Box, "red", Key("red"))), "stock"),
        (Painted, "gymnasium"),
        (OwnGrid, "stock"),
    ],
)
@pytest.mark.parametrize("limit", [None, 11])
def test_a_users_own_environment(register, entry, backend, limit):
    name = register("Mine-v0", entry_point=entry, max_episode_steps=limit)
    ours, theirs = make_minigrid(name, 3), stock_batch(name, 3)
    assert ours.backend == backend
    assert_same_observations(ours.reset(seed=0)[0], theirs.reset(seed=0)[0])
    for mine, other in zip(rollout(ours, 150), rollout(theirs, 150), strict=True):
        assert_same_step(mine, other)


def test_an_object_of_ones_own_is_asked_each_time(register):
    name = register("Mine-v0", entry_point=partial(Recoloured, thing=Chameleon))
    env = make_minigrid(name, 1, seed=0, view="full")
    env.reset()
    shown = {tuple(env.step(np.array([0]))[0]["image"].reshape(-1, 3)[:, 1].tolist()) for _ in range(6)}
    assert len(shown) > 2


def test_a_time_limit_is_kept(register):
    name = register("Mine-v0", entry_point=EmptyEnv, max_episode_steps=5)
    env = make_minigrid(name, 2, seed=0)
    env.reset()
    assert env.backend == "stock"
    assert [bool(step[3].all()) for step in rollout(env, 5)] == [False] * 4 + [True]
