"""Environments three steps long that show, pay and take what a test says."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

import optioncoagent as oc


class Toy(gym.Env):
    """show: a function of the step; reward: a number or a function of the step; ending: what turns a bool into an ending."""

    def __init__(self, space=None, show=None, reward=1.0, actions=None, ending=bool, truncate=False):
        self.observation_space = space or gym.spaces.Box(-1, 1, (3,), np.float32)
        self.show = show or (lambda t: np.zeros(self.observation_space.shape, self.observation_space.dtype))
        self.action_space = actions or gym.spaces.Discrete(2)
        self.reward, self.ending, self.truncate, self.t, self.taken = reward, ending, truncate, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.show(0), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.taken.append(action)
        self.t += 1
        end = self.t >= 3
        reward = self.reward(self.t) if callable(self.reward) else self.reward
        return self.show(self.t), reward, self.ending(end and not self.truncate), self.ending(end and self.truncate), {}


class Batch(VectorEnv):
    """Three environments that show their step over ten, truncated after seven. final: the info of the step that resets them, a function
    of the last observations, or None for none. nested: in a Dict in a Dict."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, final, nested=False):
        box = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.num_envs, self.nested, self.final, self.t = 3, nested, final, 0
        self.single_observation_space = gym.spaces.Dict(y=gym.spaces.Dict(x=box)) if nested else box
        self.observation_space = batch_space(self.single_observation_space, 3)
        self.single_action_space = gym.spaces.Discrete(2)
        self.action_space = batch_space(self.single_action_space, 3)

    def _show(self, t):
        array = np.full((3, 2), t / 10, np.float32) + np.arange(3, dtype=np.float32)[:, None] / 100
        return {"y": {"x": array}} if self.nested else array

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self._show(0), {}

    def step(self, actions):
        self.t += 1
        end = np.full(3, self.t == 7)
        info = self.final(self._show(7)) if self.final and end.any() else {}
        self.t %= 7
        return self._show(self.t), np.ones(3), np.zeros(3, bool), end, info


def train(env, steps=64, **settings):
    return oc.OptionCritic(env, **{"num_steps": 16, "num_options": 2, "num_minibatches": 2, "hidden_sizes": (16,), **settings}).learn(steps)


def batch_of(make, n=2, mode=AutoresetMode.SAME_STEP):
    return SyncVectorEnv([make] * n, autoreset_mode=mode)
