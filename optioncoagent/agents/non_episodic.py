"""A bonus whose return does not end with the episode, learned by the critic that there is.

An end takes away the bonus to come, and where a task asks for what ends an episode, an agent learns from that not to do it. In a
non-episodic return the episode that follows is part of it: upon a termination the value is not 0 but that of the bonus from the next
episode's first state, drawn from d_0 whatever came before, so a number and no function:

    c = E[ Σ_{t<T} γ^t b_t + γ^T c ] = E[ Σ_{t<T} γ^t b_t ] / (1 − E[γ^T])

over episodes, T their length. γ c is paid at a termination, and one critic's values are those of the environment's episodic return and the
bonus's non-episodic one together; "Exploration by Random Network Distillation" by Burda et al., which asks for non-episodic returns, has a
second critic for it.

At a truncation nothing is paid: the critic's value goes on from there, as if there were no limit. What part of it is the bonus is not
known, and in c the next episode stands for it. So c is exact without truncations; where limits are short and the bonus of an episode dries
up it is too large.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from optioncoagent.agents.rollout import Rollout

EPISODES = 100  # the last ones, of which expectations are means; or two of each environment, if that is more


class Continuation:
    """What is paid at terminations, from the bonuses of the episodes that ended in `num_envs` environments.

    units: numbers that say in what a bonus is measured; what was found with other ones, or another discount, is not taken over.
    """

    def __init__(self, num_envs: int, gamma: float, units: tuple[float, ...] = ()):
        self.gamma, self.units = gamma, np.array([gamma, *units])
        self.gained = np.full(num_envs, np.nan)  # Σ_k γ^k b_k over the steps so far of the episode in progress, if its start was seen
        self.ended: deque[tuple[float, float]] = deque(maxlen=max(EPISODES, 2 * num_envs))  # that sum, and γ^T, of episodes

    @property
    def worth(self) -> float:
        """c; 0 before an episode has ended, and where it would be infinite."""
        gained, discount = np.mean(self.ended, axis=0) if self.ended else (0.0, 0.0)
        return float(gained / (1 - discount)) if discount < 1 else 0.0

    def __call__(self, rollout: Rollout, bonus: np.ndarray) -> np.ndarray:
        """γ c where a step terminated an episode, else 0; bonus and what is returned: (num_steps, num_envs)."""
        start, age, valid = (x.cpu().numpy() for x in (rollout.start, rollout.age, rollout.valid))
        terminated, truncated = (x.cpu().numpy() & valid for x in (rollout.terminated, rollout.truncated))
        for t in range(len(bonus)):
            self.gained = np.where(start[t], 0.0, self.gained) + self.gamma ** age[t] * bonus[t]
            for i in np.flatnonzero((terminated[t] | truncated[t]) & np.isfinite(self.gained)):
                self.ended.append((self.gained[i], self.gamma ** (age[t, i] + 1)))
        return np.where(terminated, self.gamma * self.worth, 0.0)

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"gained": self.gained, "ended": np.reshape(self.ended, (-1, 2)), "units": self.units}

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        if np.array_equal(arrays["units"], self.units) and len(arrays["gained"]) == len(self.gained):
            self.gained = arrays["gained"]
            self.ended.clear()
            self.ended.extend((float(gained), float(discount)) for gained, discount in arrays["ended"])
