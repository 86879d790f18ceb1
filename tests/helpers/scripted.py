"""A vector environment whose observations are written down beforehand."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class ScriptedVectorEnv(VectorEnv):
    """episodes[i]: those of environment i in turn, each a list of observations, the last one that on which it ends. Every step gives
    reward 10; every second episode ends by truncation, the others by termination."""

    def __init__(self, episodes, num_observations, autoreset=AutoresetMode.SAME_STEP):
        self.episodes, self.num_envs = episodes, len(episodes)
        self.metadata = {"autoreset_mode": autoreset}
        self.same_step = autoreset == AutoresetMode.SAME_STEP
        self.single_observation_space = gym.spaces.Discrete(num_observations)
        self.single_action_space = gym.spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _observations(self):
        return np.array([self.episodes[i][k][t] for i, (k, t) in enumerate(self.at)])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = [(0, 0)] * self.num_envs
        return self._observations(), {}

    def step(self, action):
        ends = [t == len(self.episodes[i][k]) - 1 for i, (k, t) in enumerate(self.at)]  # NEXT_STEP: this step resets
        reward = np.where(ends, 0.0, 10.0)
        self.at = [(k + 1, 0) if end else (k, t + 1) for end, (k, t) in zip(ends, self.at, strict=True)]
        ended = np.array([t == len(self.episodes[i][k]) - 1 for i, (k, t) in enumerate(self.at)])
        by_truncation = np.array([k % 2 == 1 for k, _ in self.at])
        info = {}
        if self.same_step:
            info = {"final_obs": np.array([*self._observations()], dtype=object), "_final_obs": ended}
            self.at = [(k + 1, 0) if end else (k, t) for end, (k, t) in zip(ended, self.at, strict=True)]
        return self._observations(), reward, ended & ~by_truncation, ended & by_truncation, info
