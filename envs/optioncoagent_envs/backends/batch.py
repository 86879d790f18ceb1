"""What the MiniGrid vector environments have in common: spaces, seeds, and Gymnasium's form of a finished episode."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.minigrid.engine.step import are_actions

Observations = dict[str, Any]
UNKNOWN = -1  # the seed of a level that came with set_env


class MiniGridBatch(VectorEnv):
    """A batch of MiniGrid environments in one process; abstract.

    Observations are Gymnasium's for a batch: "image" (n, V, V, 3) uint8, "direction" (n,) int64, "mission" a tuple of n
    strings. Environments reset in the step that ends their episode (SAME_STEP): that step returns the new episode's
    first observation, and the ended one's last is `infos["final_obs"][i]`, with `infos["_final_obs"]` as the mask.
    """

    backend: ClassVar[str]
    own_rules = False  # is it a class of somebody's own, which may know other actions?
    single_observation_space: gym.spaces.Dict

    def __init__(self, env: gym.Env, num_envs: int, view: str, view_size: int | None, seed: int | None):
        core = env.unwrapped
        assert isinstance(core, MiniGridEnv)
        self.num_envs = num_envs
        self.render_mode = env.render_mode
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.view = view
        self.view_size = core.agent_view_size if view_size is None else view_size
        self.single_action_space = env.action_space
        self.action_space = batch_space(env.action_space, num_envs)
        side = (self.view_size, self.view_size)
        shape = (core.width, core.height) if view == "full" else side
        image = gym.spaces.Box(0, 255, (*shape, 3), np.uint8)
        spaces = env.observation_space.spaces  # type: ignore[attr-defined]
        self.single_observation_space = gym.spaces.Dict({**spaces, "image": image})
        self._of = f"{_named(type(core))} with width={core.width}, height={core.height}"  # what its states are of
        self._first_seed = seed
        self._started = False
        self._level_seeds = np.zeros(num_envs, object)  # seeds from the system's entropy have 128 bits
        self._level_counts = np.zeros(num_envs, np.int64)

    @cached_property
    def observation_space(self) -> gym.Space:  # type: ignore[override]
        """The batched space; made when first asked for: Gymnasium copies the mission space for every environment."""
        return batch_space(self.single_observation_space, self.num_envs)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """One seed per environment, with the constructor's at first."""
        return seeds_of(self._first_seed if seed is None and not self._started else seed, self.num_envs)

    def _checked(self, actions: Any) -> np.ndarray:
        """The actions as (n,) int64."""
        self._require_reset()
        actions = np.asarray(actions)
        if actions.dtype.kind not in "iu" or actions.shape != (self.num_envs,):
            raise ValueError(f"{self.num_envs} whole numbers are needed as actions, not {actions}")
        actions = np.ascontiguousarray(actions, np.int64)
        if not (self.own_rules or are_actions(actions)):  # before any environment has moved
            raise ValueError(f"actions are from 0 to 6, not {actions}")
        return actions

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        """Which environments a reset concerns: `options["reset_mask"]`, a boolean array, or all, as at first."""
        if not options or "reset_mask" not in options:
            return np.ones(self.num_envs, bool)
        self._require_reset()
        mask = options["reset_mask"]
        if not (isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == (self.num_envs,) and mask.any()):
            raise ValueError(f"reset_mask must be a boolean array of shape ({self.num_envs},), not all False: {mask!r}")
        return mask

    def _require_reset(self) -> None:
        if not self._started:
            raise gym.error.ResetNeeded("reset() all environments first")

    @property
    def level_names(self) -> list[tuple[int, int]]:
        """(seed, k) for each environment: its level is the one after `reset(seed=seed)` and k further resets.

        The seed is -1 where there is none: before the first reset; of a level that `set_env` brought, or before which a step has drawn
        from the same stream (as in Dynamic-Obstacles), and those after it, until a reset with a seed.
        """
        seeds = self._level_seeds.tolist() if self._started else [UNKNOWN] * self.num_envs
        return list(zip(seeds, self._level_counts.tolist(), strict=True))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed that each environment's levels are drawn from, -1 where there is none, as in `level_names`."""
        return tuple(int(seed) for seed, _ in self.level_names)

    def observations(self) -> Observations:
        """What all environments show now; of use after `set_state` and `set_env`."""
        raise NotImplementedError

    def get_state(self) -> Any:
        """A copy of everything that the future depends on, for `set_state`."""
        raise NotImplementedError

    def set_state(self, state: Any) -> None:
        """Goes back to a state that `get_state` gave; ValueError for what is none, or of environments of another class or size."""
        raise NotImplementedError

    def set_env(self, index: int, env: gym.Env) -> None:
        """Environment `index` takes on the state of a MiniGrid environment: level, agent, steps taken, generator."""
        raise NotImplementedError

    def minigrid_env(self, index: int) -> MiniGridEnv:
        """Environment `index` as one of MiniGrid's own, in its present state; the compiled batch's is a copy with all that steps ask
        for, but without what its class only notes while it draws a level (`state.read_row`)."""
        raise NotImplementedError

    def render_one(self, index: int) -> Any:
        """The frame of environment `index`, drawn by MiniGrid."""
        self._require_reset()
        return self.minigrid_env(index).render()

    def render(self) -> tuple[Any, ...]:
        """The frames of all environments, as SyncVectorEnv returns them."""
        return tuple(self.render_one(index) for index in range(self.num_envs))


def episode_ends(num_envs: int, indices: np.ndarray, final_obs: Sequence[Observations]) -> dict[str, Any]:
    """The infos of a step in which the episodes of `indices` ended, exactly as SyncVectorEnv lays them out."""
    observations = np.full(num_envs, None, dtype=object)
    ended = np.zeros(num_envs, bool)
    ended[indices] = True
    for index, observation in zip(indices.tolist(), final_obs, strict=True):
        observations[index] = observation
    return {"final_obs": observations, "_final_obs": ended, "final_info": {}, "_final_info": ended.copy()}


def seeds_of(seed: Any, num_envs: int) -> list[int | None]:
    """One seed per environment, as Gymnasium's vector environments spread them: `seed + i`, or one each; None for none.

    Raises `gymnasium.error.Error` for what is no seed, and ValueError if they are not as many.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int | np.integer):
        seed = [int(seed) + i for i in range(num_envs)]
    elif not np.iterable(seed):
        raise gym.error.Error(f"a seed is a whole number from 0 on, or one for each environment, not {seed!r}")
    seeds = [int(one) if isinstance(one, np.integer) else one for one in seed]
    for one in seeds:
        if one is not None and not (isinstance(one, int) and one >= 0):
            raise gym.error.Error(f"a seed is a whole number from 0 on, not {one!r}")
    if len(seeds) != num_envs:
        raise ValueError(f"{len(seeds)} seeds were given for {num_envs} environments")
    return seeds


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def require_level(env: Any) -> None:
    """ResetNeeded for a MiniGrid environment that is in no level yet."""
    if getattr(env, "agent_pos", None) is None or not hasattr(env, "step_count"):
        raise gym.error.ResetNeeded(f"{env} has no level yet: reset it first")
