"""Episodes of a trained agent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from optioncoagent.agents.environments import autoreset_mode
from optioncoagent.agents.learner import CoagentActorCritic


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of episodes, each (episodes,)."""

    returns: np.ndarray
    lengths: np.ndarray

    def __str__(self) -> str:
        n = len(self.returns)
        error = self.returns.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
        return f"{n} episodes: return {self.returns.mean():.3f} ± {error:.3f} (standard error), length {self.lengths.mean():.1f}"


def evaluate(agent: CoagentActorCritic, env: VectorEnv, num_episodes: int, seed: int = 0, deterministic: bool = False) -> Evaluation:
    """Run `num_episodes` episodes. Every environment runs its share of them, so that short episodes are not preferred.

    deterministic: argmax of every policy; by default outputs are sampled (a deterministic agent can loop for ever).
    Raises ValueError for a vector environment that does not reset in the step that ends an episode.
    """
    if autoreset_mode(env) != AutoresetMode.SAME_STEP:
        raise ValueError("evaluate needs a vector environment with autoreset_mode=AutoresetMode.SAME_STEP")
    n = env.num_envs
    share = np.array([(num_episodes + i) // n for i in range(n)])
    done, returns, lengths = np.zeros(n, int), np.zeros(n), np.zeros(n, int)
    episodes: list[tuple[float, int]] = []
    observation, _ = env.reset(seed=seed)
    state, start = None, np.ones(n, bool)
    while (done < share).any():
        action, state = agent.predict(observation, state, start, deterministic)
        observation, reward, terminated, truncated, _ = env.step(action)
        returns, lengths, start = returns + reward, lengths + 1, terminated | truncated
        for i in np.flatnonzero(start):
            if done[i] < share[i]:
                episodes.append((float(returns[i]), int(lengths[i])))
                done[i] += 1
        returns, lengths = np.where(start, 0.0, returns), np.where(start, 0, lengths)
    pairs = np.array(episodes, dtype=np.float64).reshape(-1, 2)
    return Evaluation(pairs[:, 0], pairs[:, 1].astype(int))
