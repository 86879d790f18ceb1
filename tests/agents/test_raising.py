"""An environment that raises: which one it was, and how to come there again."""

import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from minigrid.envs import EmptyEnv
from small import SMALL

import optioncoagent as oc
from optioncoagent.agents.environments import make_vector_env


class Breaks(CartPoleEnv):
    """Raises in the third episode that any of the environments made begins after the first of each."""

    resets = 0

    def reset(self, *, seed=None, options=None):
        if seed is None:
            Breaks.resets += 1
        self.broken = Breaks.resets >= 3
        return super().reset(seed=seed, options=options)

    def step(self, action):
        if self.broken:
            raise ZeroDivisionError("a wheel came off")
        return super().step(action)


@pytest.fixture
def breaks():
    Breaks.resets = 0
    gym.register("Breaks-v0", Breaks)
    yield "Breaks-v0"
    del gym.registry["Breaks-v0"]


def test_index_seed_and_episode_are_told(breaks):
    agent = oc.OptionCritic(breaks, num_options=2, seed=10, **SMALL)
    with pytest.raises(ZeroDivisionError, match="a wheel came off") as raised:
        agent.learn(10_000)
    env = next(i for i, env in enumerate(agent.env.envs) if env.unwrapped.broken)
    episode = agent.env.envs[env].episode
    assert episode > 1
    assert raised.value.__notes__[0] == f"raised by step of environment {env}, in episode {episode} after reset with seed {10 + env}"


def test_an_environment_given_as_an_object(breaks):
    Breaks.resets = 3
    env = make_vector_env(gym.make(breaks), 1, 0)
    env.reset(seed=4)
    with pytest.raises(ZeroDivisionError) as raised:
        env.step([0])
    assert raised.value.__notes__[0] == "raised by step of environment 0, in episode 1 after reset with seed 4"


class BreaksOnTheGrid(EmptyEnv):
    """Raises in the second step of the third episode of any environment."""

    def reset(self, **kwargs):
        self.episode = 1 if kwargs.get("seed") is not None else self.episode + 1
        return super().reset(**kwargs)

    def step(self, action):
        if self.episode == 3 and self.step_count == 1:
            raise ZeroDivisionError("a wheel came off")
        return super().step(action)


def test_one_of_minigrid_s_that_is_stepped_by_itself():
    gym.register("BreaksOnTheGrid-v0", BreaksOnTheGrid, kwargs=dict(max_steps=5))
    try:
        agent = oc.OptionCritic("BreaksOnTheGrid-v0", num_options=2, seed=10, **SMALL)
        with pytest.raises(ZeroDivisionError, match="a wheel came off") as raised:
            agent.learn(10_000)
    finally:
        del gym.registry["BreaksOnTheGrid-v0"]
    assert agent.env.backend == "stock"
    env = next(i for i, core in enumerate(agent.env.cores) if core.episode == 3 and core.step_count == 1)
    assert raised.value.__notes__[0] == f"raised by step of environment {env}, in the level after seed {10 + env} and 2 more resets"
