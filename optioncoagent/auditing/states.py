"""A finite MDP as a Gymnasium vector environment that shows its states: what an agent in table form is run on."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from optioncoagent.mdp import MDP


class StatesVectorEnv(VectorEnv[Any, Any, Any]):
    """`num_envs` copies of an MDP, stepped together; observations are states, whatever the MDP's own look like.

    Episodes terminate on entering a terminal state (and with the MDP's horizon, see `MDPEnv`), are truncated after max_steps, and start
    again in the same step.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, mdp: MDP, num_envs: int, max_steps: int | None = None):
        self.mdp, self.num_envs, self.max_steps = mdp, num_envs, max_steps
        self.single_observation_space = gym.spaces.Discrete(mdp.num_states)
        self.single_action_space = gym.spaces.Discrete(mdp.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        # one increasing array in which row i lies between i and i + 1: a draw from any row is one search
        P = mdp.transition_matrix
        cumulative = np.cumsum(P.data)
        row = np.repeat(np.arange(P.shape[0]), np.diff(P.indptr))
        before = np.append(0.0, cumulative)[P.indptr]
        self._cumulative = row + np.clip((cumulative - before[row]) / (before[row + 1] - before[row]), 0.0, 1.0)
        self._last = P.indptr[1:] - 1
        self._first = mdp.d0.cumsum()
        self._first /= self._first[-1]  # 1 in the end, which no draw reaches

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)  # type: ignore[arg-type]
        self.state = self._starts(self.num_envs)
        self.age = np.zeros(self.num_envs, dtype=np.int64)
        return self.state, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        mdp = self.mdp
        row = self.state * mdp.num_actions + np.asarray(actions)
        entry = np.searchsorted(self._cumulative, row + self.np_random.random(self.num_envs), side="right")
        entry = np.minimum(entry, self._last[row])
        state, self.age = mdp.transition_matrix.indices[entry].astype(np.int64), self.age + 1
        terminated = mdp.terminal[state]
        if mdp.horizon is not None:
            terminated = terminated | (self.age == mdp.horizon)
        truncated = np.zeros_like(terminated) if self.max_steps is None else (self.age == self.max_steps) & ~terminated
        ended = terminated | truncated
        info = {"final_obs": state.astype(object), "_final_obs": ended} if ended.any() else {}
        self.state, self.age = state.copy(), np.where(ended, 0, self.age)
        self.state[ended] = self._starts(int(ended.sum()))
        return self.state, mdp.transition_reward[entry], terminated, truncated, info

    def _starts(self, n: int) -> np.ndarray:
        return np.searchsorted(self._first, self.np_random.random(n), side="right")
