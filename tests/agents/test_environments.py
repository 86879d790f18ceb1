"""Environments as the learner takes them: ids, objects, vector environments, what is not finite."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from small import SMALL

import optioncoagent as oc


def test_gymnasium_s_own_vector_environment():
    """CartPole's, which resets in a step of its own."""
    env = gym.make_vec("CartPole-v1", num_envs=4)
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    agent = oc.OptionCritic(env, num_options=2, num_steps=64, num_minibatches=2)
    row = agent.update()
    assert agent.running is not None and row["episodes"] > 0
    assert np.mean([length for _, length in agent.recent]) == np.mean([value for value, _ in agent.recent])  # reward 1 a step, no fake step


def test_minigrid_by_any_name_is_fast():
    from minigrid.envs import EmptyEnv

    class Mine(EmptyEnv):
        pass

    names = ["MiniGrid-Empty-5x5-v0", "OptionCoagent/MiniGrid-Empty-5x5-v0", "optioncoagent_envs:OptionCoagent/MiniGrid-Empty-5x5-v0"]
    gym.register("MineToLearn-v0", entry_point=Mine)
    try:
        backends = [oc.OptionCritic(name, **SMALL).env.backend for name in (*names, "MineToLearn-v0")]
    finally:
        gym.registry.pop("MineToLearn-v0")  # nothing else is to find it
    assert backends == ["compiled", "compiled", "compiled", "stock"]


def test_minigrid_ids_with_a_module_are_made_fast():
    assert oc.OptionCritic("minigrid:MiniGrid-Empty-5x5-v0", num_envs=2).env.backend == "compiled"


class _Unbounded(gym.Env):
    """Pays, or shows, what is not a number in its third step."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, reward: float = 0.0, shown: float = 0.0):
        self.reward, self.shown, self.age = reward, shown, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.age += 1
        third = self.age == 3
        return np.full(2, self.shown if third else 0, np.float32), self.reward if third else 1.0, self.age == 5, False, {}


@pytest.mark.parametrize("given, message", [({"reward": np.nan}, "reward"), ({"shown": np.inf}, "observation")])
def test_what_is_not_finite_is_refused_before_a_step(given, message):
    agent = oc.OptionCritic(_Unbounded(**given), num_options=2)
    before = [x.clone() for x in agent.module.parameters()]
    with pytest.raises(ValueError, match=message):
        agent.learn(200)
    assert all(torch.equal(x, y) for x, y in zip(before, agent.module.parameters(), strict=True))
