"""A finite MDP as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec


class MDPEnv(gym.Env[np.int64, np.int64]):
    """Episodes of an `MDP`, which is kept as `mdp`: observations are observation indices, `info["state"]` is the state.

    A step draws the next state, and pays R (its expectation, where the MDP knows no more than that). It terminates on entering a terminal
    state, and, under a horizon T, after T steps: what comes later does not count, so there is nothing to bootstrap from and it is no
    truncation. An episode that starts in a terminal state ends with its first step, which pays nothing.

    `spec` makes further environments of the same MDP (`spec.make()`), without a registered id.
    """

    metadata = {"render_modes": []}

    def __init__(self, mdp: Any):
        self.mdp = mdp
        self.observation_space = gym.spaces.Discrete(mdp.num_observations)
        self.action_space = gym.spaces.Discrete(mdp.num_actions)
        # a function and not kwargs: gymnasium copies those, arrays and all, whenever it makes an environment
        self.spec = EnvSpec("OptionCoagent/MDP-v0", entry_point=lambda **_: MDPEnv(mdp))
        self._first = mdp.d0.cumsum()
        self._state, self._steps = -1, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._state, self._steps = self._draw(self._first), 0
        return self._seen()

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        if self._state < 0:
            raise gym.error.ResetNeeded("call reset before step")
        if not self.action_space.contains(action):
            raise ValueError(f"action={action!r}: it is one of 0 … {self.mdp.num_actions - 1}")
        mdp, P = self.mdp, self.mdp.transition_matrix
        row = self._state * mdp.num_actions + int(action)
        begin, stop = P.indptr[row], P.indptr[row + 1]
        entry = begin + self._draw(P.data[begin:stop].cumsum())
        self._state, self._steps = int(P.indices[entry]), self._steps + 1
        terminated = bool(mdp.terminal[self._state]) or self._steps == mdp.horizon
        observation, info = self._seen()
        return observation, float(mdp.transition_reward[entry]), terminated, False, info

    def _seen(self) -> tuple[np.int64, dict[str, Any]]:
        return np.int64(self.mdp.observation[self._state]), {"state": self._state}

    def _draw(self, cumulative: np.ndarray) -> int:
        return int(np.searchsorted(cumulative, self.np_random.random() * cumulative[-1], side="right"))
