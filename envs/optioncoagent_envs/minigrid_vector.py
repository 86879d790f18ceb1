"""MiniGrid as a Gymnasium vector environment: same seeds and actions, then bit for bit what MiniGrid returns.

`make_minigrid` picks the fastest way that an id allows, and the environment's `backend` says which:

    "stock"      any MiniGrid or BabyAI id, and any subclass of `MiniGridEnv`: MiniGrid's own levels and rules, compiled
                 observations (`minigrid_stock`)
    "gymnasium"  an environment that makes observations of its own (other wrappers, another space, another `gen_obs`):
                 Gymnasium's SyncVectorEnv
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from minigrid.minigrid_env import MiniGridEnv
from minigrid.wrappers import FullyObsWrapper, ViewSizeWrapper

from optioncoagent_envs.minigrid_stock import StockMiniGrid

VIEWS = ("partial", "full")
OBSERVING = ("gen_obs", "gen_obs_grid", "get_view_exts", "dir_vec", "right_vec")  # what MiniGridEnv's observation needs


def make_minigrid(
    env_id: str,
    num_envs: int,
    seed: int | None = None,
    *,
    view: str = "partial",
    view_size: int | None = None,
    **kwargs: Any,
) -> VectorEnv:
    """A batch of MiniGrid environments that reset in the step that ends an episode (SAME_STEP).

    env_id: any id that Gymnasium can make, with MiniGrid's own already registered.
    seed: the first `reset()` without a seed uses it: environment `i` gets `seed + i`.
    view: "partial", what the agent sees, or "full", the whole grid (FullyObsWrapper's encoding).
    view_size: side of the partial view, odd; the environment's own (7) by default.
    kwargs: for `gym.make`, such as `render_mode="rgb_array"`, or the environment's own settings.

    Raises `gymnasium.error.NameNotFound` for an id that is not registered.
    """
    if view not in VIEWS:
        raise ValueError(f"view is one of {VIEWS}, not {view!r}")
    if view_size is not None and (view_size < 3 or view_size % 2 == 0 or view_size > 31):
        raise ValueError(f"view_size is odd and from 3 to 31, not {view_size}")
    make = partial(gym.make, env_id, disable_env_checker=True, **kwargs)
    first = make()
    if not isinstance(first.unwrapped, MiniGridEnv):
        raise ValueError(f"{env_id} is no MiniGrid environment")
    envs = [first] + [make() for _ in range(num_envs - 1)]
    if observes_as_minigrid(first):
        return StockMiniGrid(envs, view, view_size, seed)
    return _gymnasium(envs, view, view_size)


def observes_as_minigrid(env: gym.Env) -> bool:
    """Whether an environment shows what MiniGridEnv shows: nothing overridden, and no wrapper that could change it."""
    core = env.unwrapped
    if any(getattr(type(core), name) is not getattr(MiniGridEnv, name) for name in OBSERVING):
        return False
    while isinstance(env, OrderEnforcing | TimeLimit):
        env = env.env
    spaces = core.observation_space.spaces if isinstance(core.observation_space, gym.spaces.Dict) else {}
    return env is core and set(spaces) == {"image", "direction", "mission"}


def _gymnasium(envs: list[gym.Env], view: str, view_size: int | None) -> VectorEnv:
    if view == "full":
        envs = [FullyObsWrapper(env) for env in envs]
    elif view_size is not None:
        envs = [ViewSizeWrapper(env, view_size) for env in envs]
    batch = SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=AutoresetMode.SAME_STEP)  # type: ignore[misc]
    batch.backend = "gymnasium"  # type: ignore[attr-defined]
    return batch
