"""A running scale of returns, so that a critic learns numbers of order one whatever the environment pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optioncoagent.agents.rollout import Rollout


class ReturnScale:
    """The root mean square of discounted returns so far, at least 1: rewards and costs are divided by it, never shifted.

    Dividing alone keeps every sign (a reward of -1 a step stays a reason to end), and rewards of order one as they are.
    See "Learning values across many orders of magnitude" by van Hasselt et al. for the reason, and Gymnasium's NormalizeReward for the
    running return.
    """

    def __init__(self, num_envs: int, gamma: float):
        self.gamma = gamma
        self.returns = np.zeros(num_envs)  # of each environment, discounted backwards: G_t = γ G_{t-1} + R_t since its episode began
        self.square, self.count = 0.0, 0

    def __call__(self, rollout: Rollout) -> tuple[Rollout, dict[str, float]]:
        """The rollout with its rewards divided by the scale, in which these rewards count already, and the scale."""
        reward, valid, start = (x.cpu().numpy() for x in (rollout.reward, rollout.valid, rollout.start))
        for t in range(len(reward)):
            self.returns = np.where(start[t], 0.0, self.gamma * self.returns) + np.where(valid[t], reward[t], 0.0)
            self.square += float(self.returns[valid[t]] @ self.returns[valid[t]])
        self.count += int(valid.sum())
        scale = self.value
        return replace(rollout, reward=rollout.reward / scale, scale=scale), {"reward_scale": scale}

    @property
    def value(self) -> float:
        """The root mean square of the returns seen, or 1 where that is less."""
        return max(1.0, float(np.sqrt(self.square / max(self.count, 1))))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"returns": self.returns, "moments": np.array([self.square, self.count])}

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        if len(arrays["returns"]) == len(self.returns):  # with other environments the episodes start anew, the scale does not
            self.returns = arrays["returns"]
        self.square, self.count = float(arrays["moments"][0]), int(arrays["moments"][1])
