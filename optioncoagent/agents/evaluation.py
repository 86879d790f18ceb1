"""Episodes of a trained agent."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from optioncoagent.agents.environments import One, autoreset_mode, layers, make_vector_env
from optioncoagent.agents.rollout import Sampler, reset, step
from optioncoagent.agents.settings import EVALUATION_SEED, EVALUATION_STEPS
from optioncoagent.agents.torch_state import derive_seed


class Episode(NamedTuple):
    """Undiscounted return and length; cut: did it not end by itself?"""

    episode_return: float
    length: int
    cut: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of episodes, and which of them were cut since they did not end, each (episodes,)."""

    returns: np.ndarray
    lengths: np.ndarray
    cut: np.ndarray

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> Evaluation:
        returns, lengths, cut = np.array(list(episodes), dtype=np.float64).reshape(-1, 3).T
        return cls(returns, lengths.astype(int), cut.astype(bool))

    @property
    def standard_error(self) -> float:
        """Of the mean return; NaN of one episode."""
        n = len(self.returns)
        return float(self.returns.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")

    def __str__(self) -> str:
        many = len(self.returns) > 1
        text = f"{len(self.returns)} episode{'s' * many}: return {self.returns.mean():.3f}"
        text += f" ± {self.standard_error:.3f} (standard error)" * many + f", length {self.lengths.mean():.1f}"
        if self.cut.any():
            text += f"; {self.cut.sum()} of them had not ended after {self.lengths[self.cut].max():,} steps and were cut"
        return text


def run_episodes(
    agent: Any,
    num_episodes: int,
    seed: int = EVALUATION_SEED,
    deterministic: bool = False,
    env: Any = None,
    max_steps: int = EVALUATION_STEPS,
) -> Iterator[Episode]:
    """`num_episodes` episodes of a `CoagentActorCritic`, each as soon as it ends; see its `evaluate`.

    Every environment runs its share of them, so that short episodes are not preferred. One whose episode is cut waits for the others to
    finish theirs, since a batch is only reset as a whole.
    """
    if not num_episodes >= 1 or num_episodes % 1:
        raise ValueError(f"num_episodes={num_episodes}: it must be a whole number of at least 1")
    if not seed >= 0:
        raise ValueError(f"seed={seed}: it must be at least 0")
    if not max_steps >= 1:
        raise ValueError(f"max_steps={max_steps}: it must be at least 1")
    num_episodes = int(num_episodes)
    made = _environment(agent, env, min(agent.num_envs, num_episodes), seed)
    try:
        agent.interface.check(made, agent.settings.observation_kinds)
        yield from _episodes(agent, made, num_episodes, seed, deterministic, max_steps)
    finally:
        if (env is None or isinstance(env, str)) and made.render_mode is None:  # pygame's windows close all at once, the training's too
            made.close()


def _episodes(agent: Any, env: VectorEnv, num_episodes: int, seed: int, deterministic: bool, max_steps: int) -> Iterator[Episode]:
    """`run_episodes`, in this environment."""
    same_step = autoreset_mode(env) == AutoresetMode.SAME_STEP
    actor = copy(agent)  # with a source of randomness of its own
    actor.predict_sampler = Sampler(agent.network, derive_seed(seed, "evaluate"), agent.settings.device)
    n = env.num_envs
    left = np.array([(num_episodes + i) // n for i in range(n)])
    attempt = 0
    while left.any():
        observation = reset(env, agent.spec, seed + attempt * n)
        returns, lengths, resets, waits = np.zeros(n), np.zeros(n, int), np.zeros(n, bool), np.zeros(n, bool)
        state, start = None, np.ones(n, bool)
        while (left[~waits] > 0).any():
            action, state = actor.predict(observation, state, start, deterministic)
            observation, reward, terminated, truncated, _ = step(env, action, agent.spec)
            ended = (terminated | truncated) & ~resets
            # the step in which NEXT_STEP resets an environment belongs to no episode
            returns, lengths = returns + np.where(resets, 0.0, reward), lengths + ~resets
            cut = (lengths >= max_steps) & ~ended & ~waits
            for i in np.flatnonzero((ended & ~waits | cut) & (left > 0)):
                yield Episode(float(returns[i]), int(lengths[i]), bool(cut[i]))
                left[i] -= 1
            waits |= cut
            start, resets = (ended, resets) if same_step else (resets, ended)
            returns, lengths = np.where(ended, 0.0, returns), np.where(ended, 0, lengths)
        attempt += 1


def _environment(agent: Any, env: Any, num_envs: int, seed: int) -> VectorEnv:
    """What to evaluate on: `env`, or a new environment like the one that the agent was made from.

    Raises ValueError if that is the one it trains on, or if there is nothing to make a new one from.
    """
    if env is None:
        if agent.interface.env_id is None:
            made = _again(agent._env, num_envs)
        else:
            agent.interface.check_makeable()
            made = make_vector_env(agent.interface.env_id, num_envs, seed, agent.interface.env_kwargs)
        _go_on_normalising(made, None if agent._by_id and agent.running is None else agent._env)
    else:
        made = make_vector_env(env, num_envs, seed)
        training = {id(layer) for layer in layers(agent._env)} if agent.running is not None else set()
        if any(id(layer) in training for layer in layers(made)):
            raise ValueError(
                "the agent trains on this environment, and evaluating would reset it in the middle of its episodes: give another one, or "
                "leave env out, and one is made where it can be"
            )
    return made


STATISTICS = {"obs_rms", "return_rms"}  # of Gymnasium's NormalizeObservation and NormalizeReward


def _go_on_normalising(made: VectorEnv, trained: VectorEnv | None) -> None:
    """Wrappers of new environments that divide by a running scale take over the statistics of the training's, and do not change them.
    Warns where those cannot be had: its environments run in other processes, or the agent was loaded."""
    ours, theirs = ([x for x in layers(env) if STATISTICS & {*vars(x)}] if env is not None else [] for env in (made, trained))
    if len(theirs) < len(ours):
        warnings.warn(
            f"{type(ours[0]).__name__} begins with new statistics in this evaluation, as those of the training are not at hand: give env=, "
            "an environment that has them",
            stacklevel=2,
        )
    for new, old in zip(ours, theirs, strict=False):
        for name in STATISTICS & {*vars(new)} & {*vars(old)}:
            setattr(new, name, deepcopy(getattr(old, name)))
        new.update_running_mean = False


def _again(env: VectorEnv | None, num_envs: int) -> VectorEnv:
    """New environments made as the one in `env` was, from its spec."""
    reason = "the agent was loaded without one"
    if env is not None:
        try:
            return _from_spec(env, num_envs)
        except (gym.error.Error, ValueError, TypeError, AttributeError) as error:
            reason = str(error)
    raise ValueError(
        f"this agent was made from an environment object, and no other can be made like it ({reason}): give env= to evaluate it"
    )


def _from_spec(env: VectorEnv, num_envs: int) -> VectorEnv:
    """Copies of the environments in a vector environment, wrappers and all. ValueError where there is no spec that records them."""
    if env is not env.unwrapped:
        raise ValueError("the wrappers of a whole vector environment are not recorded")
    singles = [single.env if isinstance(single, One) else single for single in getattr(env, "envs", ())]
    if singles:
        spec: Any = singles[0].spec
        if spec is None or any(single.spec != spec for single in singles):
            raise ValueError("it has no spec" if spec is None else "its environments differ")
        return SyncVectorEnv([lambda: gym.make(spec)] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    if env.spec is None:
        raise ValueError("it has no spec")
    kwargs = {name: x for name, x in env.spec.kwargs.items() if name not in ("num_envs", "vector_kwargs")}
    mode, wrappers = kwargs.pop("vectorization_mode", "sync"), kwargs.pop("wrappers", None)
    again = copy(env.spec)
    again.kwargs = kwargs
    if mode == "vector_entry_point":
        return gym.make_vec(again, num_envs, vectorization_mode=mode)
    return gym.make_vec(
        again, num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}, wrappers=wrappers
    )
