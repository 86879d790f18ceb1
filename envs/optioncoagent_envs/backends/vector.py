"""MiniGrid as a Gymnasium vector environment: same seeds and actions, then bit for bit what MiniGrid returns.

`make_minigrid` picks the fastest way that an id allows, and the environment's `backend` says which:

    "compiled"   every registered id of MiniGrid and BabyAI but those below, made by ids or by settings of one's own
                 (`compiled_ids` lists them): levels, rules and observations are compiled (`compiled`)
    "stock"      the three BabyAI-PutNext...Carrying ids, whose first observation shows a level that is not yet theirs,
                 ids made with settings that `family_of` does not cover, with a time limit of Gymnasium's or to be shown to
                 a human, and any other subclass of `MiniGridEnv`, such as your own: MiniGrid's levels and rules, compiled
                 observations (`stock`); and the six MiniGrid-WFC ids, where minigrid can make them at all: they need
                 its extra "wfc", and images that the wheel of 3.2.0 does not contain
    "gymnasium"  an environment that makes observations of its own (other wrappers, another space, another `gen_obs`):
                 Gymnasium's SyncVectorEnv

Levels are MiniGrid's in all three: environment `i` of `reset(seed=s)` starts in the level that `gym.make(env_id)` shows
after `reset(seed=s + i)`, and goes on through the levels that further resets of it would show.
"""

from __future__ import annotations

import warnings
from functools import cache, partial
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.minigrid_env import MiniGridEnv
from minigrid.wrappers import FullyObsWrapper, ViewSizeWrapper

from optioncoagent_envs.backends.batch import MiniGridBatch, seeds_of
from optioncoagent_envs.backends.compiled import CompiledMiniGrid, plays_like_minigrid
from optioncoagent_envs.backends.families import family_of
from optioncoagent_envs.backends.stock import StockMiniGrid
from optioncoagent_envs.minigrid.engine.observe import LARGEST
from optioncoagent_envs.minigrid.family import Family
from optioncoagent_envs.minigrid.tasks import FAMILIES

BACKENDS = ("auto", "compiled", "stock", "gymnasium")
VIEWS = ("partial", "full")
OBSERVING = ("gen_obs", "gen_obs_grid", "get_view_exts", "dir_vec", "right_vec")  # what MiniGridEnv's observation needs


def make_minigrid(
    env_id: str,
    num_envs: int,
    seed: int | None = None,
    *,
    backend: str = "auto",
    view: str = "partial",
    view_size: int | None = None,
    threads: int = 1,
    **kwargs: Any,
) -> MiniGridBatch | GymnasiumMiniGrid:
    """A batch of MiniGrid environments that reset in the step that ends an episode (SAME_STEP).

    env_id: any id that Gymnasium can make, with MiniGrid's own already registered.
    seed: the first `reset()` without a seed uses it: environment `i` gets `seed + i`.
    backend: "auto", or "compiled", "stock" or "gymnasium" to insist on it; ValueError if that one does not cover the id.
    view: "partial", what the agent sees, or "full", the whole grid (FullyObsWrapper's encoding).
    view_size: side of the partial view, odd; the environment's own (7) by default.
    threads: how many share a step of the compiled backend; of use from batches of about a thousand.
    kwargs: for `gym.make`, such as `render_mode="rgb_array"`, or the environment's own settings; a list, as files and command lines have
    it, is a tuple there, as MiniGrid's positions are.

    Beyond Gymnasium's interface all have `backend`. "compiled" and "stock" have `level_names`, `observations()`, `render_one(i)`,
    `minigrid_env(i)` a MiniGrid object of environment i, `set_env(i, env)`, and `get_state()` and `set_state(state)`: a state is each
    backend's own, arrays with a row for each environment or a list of records. "compiled" has `places()`. "gymnasium" has what
    SyncVectorEnv has, such as `envs`.

    Raises `gymnasium.error.NameNotFound` for an id that is not registered.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is one of {BACKENDS}, not {backend!r}")
    if view not in VIEWS:
        raise ValueError(f"view is one of {VIEWS}, not {view!r}")
    for name, value in (("num_envs", num_envs), ("threads", threads), ("view_size", 3 if view_size is None else view_size)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise ValueError(f"{name}={value!r}: it must be a whole number")
    if view_size is not None and (view_size < 3 or view_size % 2 == 0 or view_size > LARGEST):
        raise ValueError(f"view_size is odd and from 3 to {LARGEST}, not {view_size}")
    if view == "full" and view_size is not None:
        raise ValueError(f"view_size={view_size} is of the partial view: leave it out with view='full', which has the size of the grid")
    if num_envs < 1 or threads < 1:
        raise ValueError(f"num_envs and threads are positive, not {num_envs} and {threads}")
    kwargs = {name: tuple(value) if isinstance(value, list) else value for name, value in kwargs.items()}
    make = partial(gym.make, env_id, **({"disable_env_checker": True} | kwargs))
    env = make()
    able = backends(env, compared=backend in ("auto", "compiled"))
    if backend == "auto":
        backend = able[0]
    if backend not in able:
        raise ValueError(f"the {backend} backend does not cover {env_id} made like this; {', '.join(able)} do")
    if backend == "compiled":
        family = cast(Family, family_of(cast(MiniGridEnv, env.unwrapped)))
        return CompiledMiniGrid(env, family, num_envs, view, view_size, seed, threads)
    envs = [env] + [make() for _ in range(num_envs - 1)]
    if backend == "stock":
        return StockMiniGrid(envs, view, view_size, seed)
    return GymnasiumMiniGrid(envs, view, view_size, seed)


def backends(env: gym.Env, compared: bool = True) -> list[str]:
    """The backends that cover an environment, the fastest first; compared: whether the compiled one is tried."""
    core = env.unwrapped
    if not isinstance(core, MiniGridEnv):
        raise ValueError(f"{core} is not a MiniGrid environment")
    limited = False
    while isinstance(env, OrderEnforcing | TimeLimit):
        limited = limited or isinstance(env, TimeLimit)
        env = env.env
    spaces = core.observation_space.spaces if isinstance(core.observation_space, gym.spaces.Dict) else {}
    overridden = any(getattr(type(core), name) is not getattr(MiniGridEnv, name) for name in OBSERVING)
    image = gym.spaces.Box(0, 255, (core.agent_view_size, core.agent_view_size, 3), np.uint8)
    usual = set(spaces) == {"image", "direction", "mission"} and spaces["image"] == image and spaces["direction"] == gym.spaces.Discrete(4)
    if (
        env is not core
        or overridden
        or not usual
        or core.agent_view_size > LARGEST
        or not isinstance(core.action_space, gym.spaces.Discrete)
    ):
        return ["gymnasium"]
    family = family_of(core)
    if limited or core.render_mode == "human" or family is None or not compared or not plays_like_minigrid(core, family):
        return ["stock", "gymnasium"]
    return ["compiled", "stock", "gymnasium"]


@cache
def compiled_ids() -> tuple[str, ...]:
    """MiniGrid's registered ids that the compiled backend covers."""
    return tuple(name for name in minigrid_ids() if _can_be_compiled(name) and family_of(_made(name)) is not None)


def minigrid_ids() -> list[str]:
    """Every id that MiniGrid registers, BabyAI's among them; among them six of `WFC` that need more than is installed. Not what somebody
    else has registered of MiniGrid's classes, under a name of their own."""
    theirs = [name for name, spec in gym.registry.items() if str(spec.entry_point).startswith("minigrid.envs")]
    return [name for name in theirs if name.startswith(("MiniGrid-", "BabyAI-"))]


def _can_be_compiled(env_id: str) -> bool:
    """By the class alone, since not every id can be made with what is installed."""
    made_by: Any = load_env_creator(str(gym.spec(env_id).entry_point))
    return made_by in FAMILIES or issubclass(made_by, RoomGridLevel)


def _made(env_id: str) -> MiniGridEnv:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an older version of an id is an id all the same
        return cast(MiniGridEnv, gym.make(env_id, disable_env_checker=True).unwrapped)


class GymnasiumMiniGrid(SyncVectorEnv):
    """Gymnasium's own batch, for environments whose observations are not MiniGrid's."""

    backend = "gymnasium"

    def __init__(self, envs: list[gym.Env], view: str, view_size: int | None, seed: int | None):
        if view == "full":
            envs = [FullyObsWrapper(env) for env in envs]
        elif view_size is not None:
            envs = [ViewSizeWrapper(env, view_size) for env in envs]
        super().__init__([partial(_itself, env) for env in envs], autoreset_mode=AutoresetMode.SAME_STEP)
        self._first_seed = seed

    def reset(self, *, seed=None, options=None):
        seeds = seeds_of(self._first_seed if seed is None else seed, self.num_envs)
        seen = super().reset(seed=seeds, options=options)
        self._first_seed = None
        return seen


def _itself(env: gym.Env) -> gym.Env:
    return env
