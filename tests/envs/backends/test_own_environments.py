"""Environments, grids and objects of a user's own behave as they do without the batch."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
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


@pytest.mark.parametrize("outer", [None, 9])
def test_a_time_limit_below_another_wrapper_is_kept(register, outer):
    """Gymnasium puts its order check around what an entry point returns. All counts come back with a state, and with an environment."""
    name = register("Mine-v0", entry_point=lambda: TimeLimit(EmptyEnv(size=5), 5), max_episode_steps=outer)
    env, source = make_minigrid(name, 2, seed=0), gym.make(name)
    env.reset()
    rollout(env, 2)
    state = env.get_state()
    assert [bool(step[3].all()) for step in rollout(env, 3)] == [False, False, True]
    fresh = make_minigrid(name, 2)
    for batch in (env, fresh):
        batch.set_state(state)
        assert [bool(step[3].all()) for step in rollout(batch, 3)] == [False, False, True]
    unlimited = make_minigrid(register("Free-v0", entry_point=partial(EmptyEnv, size=5)), 2, backend="stock")
    with pytest.raises(ValueError, match="the state is of environments with . time limits, and this batch has 0"):
        unlimited.set_state(state)
    source.reset(seed=0)
    for _ in range(4):
        source.step(0)
    env.set_env(0, source)
    assert rollout(env, 1)[0][3].tolist() == [True, False]


def test_any_generator_of_one_s_own(register):
    """Of which the state holds an array, where that of NumPy's usual one does not."""

    class Twisted(EmptyEnv):
        def reset(self, *, seed=None, options=None):
            seen = super().reset(seed=seed, options=options)
            self.np_random = np.random.Generator(np.random.MT19937(seed))
            return seen

    env = make_minigrid(register("Mine-v0", entry_point=Twisted), 2, seed=0)
    for _ in range(3):
        env.reset()
    assert [seed for seed, _ in env.level_names] == [-1, -1]  # drawn from a generator that no seed names


def test_the_steps_of_a_time_limit_come_back_with_a_state():
    gym.register("Limited-v0", entry_point=EmptyEnv, max_episode_steps=5)
    try:
        env = make_minigrid("Limited-v0", 2, seed=0)
    finally:
        gym.registry.pop("Limited-v0")
    env.reset()
    rollout(env, 2)
    state = env.get_state()
    for _ in range(2):
        assert [bool(step[3].all()) for step in rollout(env, 3)] == [False, False, True]
        rollout(env, 1)
        env.set_state(state)


def test_what_an_environment_did_not_yet_remember_is_forgotten_with_a_state():
    class Once(EmptyEnv):
        """Pays for the first step of all, and notes it where there was nothing."""

        def step(self, action):
            observation, _, *others = super().step(action)
            first, self.paid = not hasattr(self, "paid"), True
            return observation, float(first), *others

    gym.register("Once-v0", entry_point=Once)
    try:
        env = make_minigrid("Once-v0", 2, seed=0)
    finally:
        gym.registry.pop("Once-v0")
    env.reset()
    state = env.get_state()
    for _ in range(2):
        assert [env.step(np.zeros(2, int))[1].tolist() for _ in range(2)] == [[1.0, 1.0], [0.0, 0.0]]
        env.set_state(state)


def test_an_environment_that_is_set_brings_the_steps_that_its_time_limit_has_counted():
    gym.register("Limited-v0", entry_point=EmptyEnv, max_episode_steps=5)
    try:
        env, source = make_minigrid("Limited-v0", 2, seed=0), gym.make("Limited-v0")
    finally:
        gym.registry.pop("Limited-v0")
    env.reset()
    source.reset(seed=0)
    for _ in range(3):
        source.step(0)
    env.set_env(0, source)
    assert [step[3].tolist() for step in rollout(env, 2)] == [[False, False], [True, False]]
    env.set_env(0, source.unwrapped)
    assert [step[3].tolist() for step in rollout(env, 2)][1][0]


class NoCompass(EmptyEnv):
    """Writes into what it shows, but for the first observation of an episode."""

    def step(self, action):
        obs, *rest = super().step(action)
        obs["direction"], obs["mission"] = 0, f"{self.max_steps - self.step_count} steps left"
        return obs, *rest


class Mask(EmptyEnv):
    """Shows images of its own, in a space of its own."""

    def __init__(self, channels=3, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        box = gym.spaces.Box(0, 1, (7, 7, channels), np.float32)
        self.observation_space = gym.spaces.Dict({**self.observation_space.spaces, "image": box})

    def seen(self, obs):
        return {**obs, "image": np.resize(obs["image"] > 1, (7, 7, self.channels)).astype(np.float32)}

    def reset(self, **kwargs):
        obs, info = super().reset(**kwargs)
        return self.seen(obs), info

    def step(self, action):
        obs, *rest = super().step(action)
        return self.seen(obs), *rest


class Two(EmptyEnv):
    """Takes two actions at once."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.action_space = gym.spaces.MultiDiscrete([7, 2])

    def step(self, action):
        return super().step(int(action[0]))


@pytest.mark.filterwarnings("ignore:.*not within the observation space:UserWarning")
@pytest.mark.parametrize(
    ("entry", "backend"), [(NoCompass, "stock"), (Mask, "gymnasium"), (partial(Mask, 4), "gymnasium"), (Two, "gymnasium")]
)
def test_what_a_class_writes_or_has_of_its_own(register, entry, backend):
    name = register("Own-v0", entry_point=entry, kwargs=dict(max_steps=7))
    ours, theirs = make_minigrid(name, 3), stock_batch(name, 3)
    assert ours.backend == backend
    assert_same_observations(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    ours.action_space.seed(0)
    for _ in range(20):
        actions = ours.action_space.sample()
        assert_same_step(ours.step(actions), theirs.step(actions))
    assert ours.single_observation_space["image"] == gym.make(name).observation_space["image"]


def test_the_mask_of_a_reset_is_not_handed_on(register):
    class Asked(EmptyEnv):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)[0], {"options": str(options)}

    name = register("Mine-v0", entry_point=Asked)
    ours, theirs = make_minigrid(name, 2), stock_batch(name, 2)
    for batch in (ours, theirs):
        batch.reset(seed=0)
    found = [batch.reset(options={"reset_mask": np.array([True, False]), "x": 2})[1]["options"][0] for batch in (ours, theirs)]
    assert found[0] == found[1] == "{'x': 2}"
