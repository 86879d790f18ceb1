"""Episodes of a trained agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from optioncoagent.agents.environments import autoreset_mode, make_vector_env
from optioncoagent.agents.modules import derive_seed
from optioncoagent.agents.rollout import Sampler
from optioncoagent.agents.settings import EVALUATION_SEED


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of episodes, each (episodes,)."""

    returns: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, episodes: Iterable[tuple[float, int]]) -> Evaluation:
        pairs = np.array(list(episodes), dtype=np.float64).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1].astype(int))

    def __str__(self) -> str:
        n = len(self.returns)
        error = self.returns.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
        return f"{n} episodes: return {self.returns.mean():.3f} ± {error:.3f} (standard error), length {self.lengths.mean():.1f}"


def run_episodes(
    agent: Any, num_episodes: int, seed: int = EVALUATION_SEED, deterministic: bool = False, env: Any = None
) -> Iterator[tuple[float, int]]:
    """(return, length) of `num_episodes` episodes of a `CoagentActorCritic`, each as soon as it ends; see its `evaluate`.

    Every environment runs its share of them, so that short episodes are not preferred.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes={num_episodes}: it must be at least 1")
    if env is None and agent.interface.env_id is None:
        raise ValueError("this agent was made from an environment object: give env= to evaluate it, in Python")
    env = make_vector_env(agent.interface.env_id if env is None else env, min(agent.settings.num_envs, num_episodes), seed)
    if autoreset_mode(env) != AutoresetMode.SAME_STEP:
        raise ValueError("evaluate needs a vector environment with autoreset_mode=AutoresetMode.SAME_STEP")
    actor = copy(agent)  # with a source of randomness of its own
    actor.predict_sampler = Sampler(agent.network, derive_seed(seed, "evaluate"), agent.settings.device)
    n = env.num_envs
    share = np.array([(num_episodes + i) // n for i in range(n)])
    ended, returns, lengths = np.zeros(n, int), np.zeros(n), np.zeros(n, int)
    observation, _ = env.reset(seed=seed)
    state, start = None, np.ones(n, bool)
    while (ended < share).any():
        action, state = actor.predict(observation, state, start, deterministic)
        observation, reward, terminated, truncated, _ = env.step(action)
        returns, lengths, start = returns + reward, lengths + 1, terminated | truncated
        for i in np.flatnonzero(start & (ended < share)):
            yield float(returns[i]), int(lengths[i])
        ended += start
        returns, lengths = np.where(start, 0.0, returns), np.where(start, 0, lengths)
