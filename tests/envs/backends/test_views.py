"""Views of other sizes, and of the whole grid, are those of MiniGrid's wrappers."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.world_object import Ball
from minigrid.envs import EmptyEnv
from minigrid.wrappers import FullyObsWrapper, ViewSizeWrapper
from minigrid_replay import assert_same_observations, assert_same_step, rollout, stock_batch

from optioncoagent_envs import make_minigrid

BACKENDS = ("compiled", "stock")


@pytest.mark.parametrize("backend", (*BACKENDS, "gymnasium"))
@pytest.mark.parametrize("options", [{"view": "full"}, {"view_size": 3}, {"view_size": 11}])
@pytest.mark.parametrize("env_id", ["MiniGrid-KeyCorridorS3R2-v0", "MiniGrid-DistShift1-v0"])
def test_views_are_the_wrappers(env_id, options, backend):
    size = options.get("view_size")
    wrapper = FullyObsWrapper if size is None else partial(ViewSizeWrapper, agent_view_size=size)
    ours, theirs = make_minigrid(env_id, 4, backend=backend, **options), stock_batch(env_id, 4, wrappers=[wrapper])
    assert ours.observation_space == theirs.observation_space
    assert_same_observations(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])
    for mine, other in zip(rollout(ours, 60), rollout(theirs, 60), strict=True):
        assert_same_step(mine, other)


def test_views_too_large_for_the_kernels_are_gymnasiums():
    env, theirs = (
        make_minigrid("MiniGrid-DoorKey-5x5-v0", 1, agent_view_size=65),
        stock_batch("MiniGrid-DoorKey-5x5-v0", 1, agent_view_size=65),
    )
    assert env.backend == "gymnasium"
    assert_same_observations(env.reset(seed=1)[0], theirs.reset(seed=1)[0])


class Late(EmptyEnv):
    """What it lays down once a step, or a reset, is over is seen by MiniGrid's wrappers and not by its own view."""

    def reset(self, **kwargs):
        seen = super().reset(**kwargs)
        self.grid.set(2, 2, Ball("red"))
        return seen

    def step(self, action):
        seen = super().step(action)
        self.grid.set(3, 3, Ball("red") if self.step_count % 2 else None)
        return seen


class Told(Late):
    """It looks at what it shows, and turns it."""

    def step(self, action):
        seen, *others = super().step(action)
        seen["direction"] = (seen["direction"] + 1) % 4
        return seen, *others


class Turned(Late):
    """It turns, and thinks of something else, once it has shown where it looks."""

    def reset(self, **kwargs):
        seen = super().reset(**kwargs)
        self.mission, self.agent_dir = "later", 1
        return seen

    def step(self, action):
        seen = super().step(action)
        self.mission = f"{self.step_count} steps"
        self.agent_dir = (self.agent_dir + self.step_count % 2) % 4
        return seen


@pytest.mark.filterwarnings("ignore:.*not within the observation space:UserWarning")
@pytest.mark.parametrize("options", [{"view": "full"}, {"view_size": 5}, {}])
@pytest.mark.parametrize("kind", [Late, Told, Turned])
def test_a_class_that_changes_the_grid_after_a_step(kind, options):
    gym.register("Late-v0", partial(kind, size=6))
    try:
        size = options.get("view_size")
        wrappers = [FullyObsWrapper if size is None else partial(ViewSizeWrapper, agent_view_size=size)] if options else []
        ours, theirs = make_minigrid("Late-v0", 2, **options), stock_batch("Late-v0", 2, wrappers=wrappers)
    finally:
        gym.registry.pop("Late-v0")
    assert ours.backend == "stock"
    assert_same_observations(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])
    for mine, other in zip(rollout(ours, 60), rollout(theirs, 60), strict=True):
        assert_same_step(mine, other)


@pytest.mark.parametrize("options", [{"view": "full"}, {"view_size": 5}])
def test_levels_that_are_made_in_parts(options):
    """What the agent carries at first is taken from the floor once the first observation is made."""
    name, size = "BabyAI-PutNextS5N2Carrying-v0", options.get("view_size")
    wrapper = FullyObsWrapper if size is None else partial(ViewSizeWrapper, agent_view_size=size)
    ours, theirs = make_minigrid(name, 3, **options), stock_batch(name, 3, wrappers=[wrapper])
    assert_same_observations(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])


@pytest.mark.parametrize("options", [{"view": "full"}, {"view_size": 5}])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_environment_that_is_handed_out_shows_what_minigrid_s_own_does(backend, options):
    env = make_minigrid("MiniGrid-DoorKey-5x5-v0", 1, backend=backend, seed=0, **options)
    env.reset()
    one = env.minigrid_env(0)
    assert one.observation_space.contains(dict(one.gen_obs())) and one.gen_obs()["image"].shape == (7, 7, 3)


@pytest.mark.parametrize("options", [{"view": "full"}, {"view_size": 5}, {}])
def test_what_is_changed_in_an_environment_that_was_handed_out_is_seen(options):
    env = make_minigrid("MiniGrid-DoorKey-5x5-v0", 2, backend="stock", seed=0, **options)
    env.reset()
    core, same = env.minigrid_env(1), env.minigrid_env(0)
    key = next(obj for obj in core.grid.grid if obj is not None and obj.type == "key")
    core.carrying = key
    core.grid.set(*key.cur_pos, None)
    wall = core.grid.get(0, 0)
    core.grid.set(*core.front_pos, wall)
    for color, number in (("red", 0), ("blue", 2), ("purple", 3)):
        wall.color = key.color = color
        for seen in (env.observations(), env.step([6, 6])[0]):
            walls = seen["image"][1][seen["image"][1][..., 0] == 2]
            assert (walls[:, 1] == number).any()
            if not options:
                np.testing.assert_array_equal(seen["image"][1], type(core).gen_obs(core)["image"])
    assert env.minigrid_env(0) is same
