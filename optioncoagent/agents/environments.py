"""Whatever the user gives (an id, an environment, a vector environment) as a vector environment the learner can train on."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from optioncoagent.agents.actions import Actions
from optioncoagent.agents.observations import ObservationSpec, is_mission, told_apart
from optioncoagent.imports import RAISED_BY, full_id, is_minigrid_id, plain_id
from optioncoagent.network import Gaussian

OURS = ("gymnasium", "minigrid", "optioncoagent_envs")  # modules that an id may name and that are imported anyway
TOGETHER, ONE_BY_ONE = 32, 16


def make_vector_env(env: Any, num_envs: int | None, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> VectorEnv:
    """A vector environment from an id (by default 32 of MiniGrid, which are stepped together, and 16 of others, one by one), an Env (a
    batch of one) or a VectorEnv.

    Ids are made with SAME_STEP autoreset; MiniGrid and BabyAI ids come from `optioncoagent_envs`. A module that an id names
    ("module:Id-v0") is imported. env_kwargs: for what makes an id. Raises ValueError for a vector environment that does not reset itself,
    for env_kwargs of an object and for those that an assertion of the environment refuses, TypeError for anything else.
    """
    if isinstance(env, str):
        try:
            return _made(env, num_envs, seed, env_kwargs or {})
        except AssertionError as error:
            if not env_kwargs:
                raise
            line = traceback.extract_tb(error.__traceback__)[-1].line
            raise ValueError(f"{env} cannot be made with {dict(env_kwargs)}: {str(error) or line}") from error
    if env_kwargs:
        raise ValueError(f"env_kwargs={dict(env_kwargs)} is for an environment given by its id; {env!r} is made already")
    if isinstance(env, gym.Env):
        return SyncVectorEnv([lambda: One(env, 0, given=True)], autoreset_mode=AutoresetMode.SAME_STEP)
    if not isinstance(env, VectorEnv):
        raise TypeError(f"{env!r} is neither an environment id nor a gymnasium Env or VectorEnv")
    if autoreset_mode(env) not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        raise ValueError(
            f"{env!r} has autoreset mode {autoreset_mode(env)}: it must reset itself; make it with "
            "autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP"
        )
    return env


def _made(env_id: str, num_envs: int | None, seed: int, env_kwargs: Mapping[str, Any]) -> VectorEnv:
    module, name = env_id.rpartition(":")[0], plain_id(env_id)
    if module:
        with suppress(ImportError):  # Gymnasium tells below what is wrong
            import_module(module)
    if names_minigrid(name):
        from optioncoagent_envs import make_minigrid

        made: Any = make_minigrid(name, num_envs or TOGETHER, seed, **env_kwargs)
        made.stacks_infos = False  # nobody reads them; of the backends the stock one would stack them
        if made.backend == "gymnasium":
            made.envs = tuple(One(one, i) for i, one in enumerate(made.envs))
        return made
    kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP}
    made = gym.make_vec(full_id(env_id), num_envs or ONE_BY_ONE, vectorization_mode="sync", vector_kwargs=kwargs, **env_kwargs)
    made.envs = tuple(One(one, i) for i, one in enumerate(made.envs))
    return made


class One(gym.Wrapper):
    """One environment of a batch. Its reward is a number, where its own may be an array of one, and the observation on which an episode
    ends is a copy, since the reset that follows may write into the same array. Of its infos nothing is told: a batch has to stack them,
    and nobody reads them. What it raises says which environment it was, and how to come there again. given: as an object, which somebody
    else has too?
    """

    def __init__(self, env: gym.Env, index: int, given: bool = False):
        super().__init__(env)
        self.index, self.given, self.seed, self.episode = index, given, None, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.seed, self.episode = (self.seed, self.episode + 1) if seed is None else (seed, 1)
        try:
            given: Any = self.env.reset(seed=seed, options=options)
        except Exception as error:
            self._name(error, "reset")
            raise
        if not (isinstance(given, tuple | list) and len(given) == 2):
            raise ValueError(
                f"environment {self.index}: reset gave {_counted(given)}, where Gymnasium's environments give an observation and "
                "a dict of infos"
            )
        return given[0], {}

    def step(self, action: Any) -> Any:
        try:
            given: Any = self.env.step(action)
        except Exception as error:
            self._name(error, "step")
            raise
        if not (isinstance(given, tuple | list) and len(given) == 5):
            raise ValueError(
                f"environment {self.index}: step gave {_counted(given)}, where Gymnasium's environments give five: observation, reward, "
                "terminated, truncated and a dict of infos"
            )
        observation, reward, terminated, truncated, _ = given
        if not isinstance(reward, float | int):
            try:
                reward = np.asarray(reward, dtype=np.float64).item()
            except (TypeError, ValueError) as error:
                raise ValueError(f"environment {self.index} gave the reward {reward!r}: it must be one number") from error
        return deepcopy(observation) if terminated or truncated else observation, reward, terminated, truncated, {}

    def _name(self, error: Exception, call: str) -> None:
        error.add_note(f"{RAISED_BY} {call} of environment {self.index}, in episode {self.episode} after reset with seed {self.seed}")


def _counted(given: Any) -> str:
    return f"{len(given)} things" if isinstance(given, tuple | list) else f"one thing, of {type(given)}"


def autoreset_mode(env: VectorEnv) -> AutoresetMode | None:
    """How a vector environment starts the next episode, from its metadata."""
    mode = (env.metadata or {}).get("autoreset_mode")
    return AutoresetMode(mode) if mode is not None else None


@dataclass(frozen=True)
class Interface:
    """What an agent knows of its environment: its id (None if it was given as an object), what it was made with, observations, actions."""

    env_id: str | None
    spec: ObservationSpec
    actions: Actions
    env_kwargs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, env: VectorEnv, env_id: str | None, env_kwargs: Mapping[str, Any] | None = None, kinds: Mapping[str, str] | None = None
    ) -> Interface:
        """What an agent knows of this vector environment. kinds: see `ObservationSpec.from_space`. Raises ValueError naming what is not
        supported of the spaces, and env_kwargs that are no plain values, which could not be saved with the agent.
        """
        minigrid, rendered = _is_minigrid(env), _is_rendered(env)
        spec = ObservationSpec.from_space(env.single_observation_space, minigrid, rendered, kinds)
        return cls(env_id, spec, Actions.of(env.single_action_space), checked_env_kwargs(env_kwargs or {}))

    def check(self, env: VectorEnv, kinds: Mapping[str, str]) -> None:
        """Raise ValueError for an environment with other observations or actions. kinds: see `of`."""
        theirs = Interface.of(env, None, None, kinds)
        ours = {"spec": self.spec, **vars(self.actions)}
        # agents of 0.1.0 see MiniGrid's codes as numbers, and no setting says so
        before = {leaf.path: leaf.kind for leaf in self.spec.leaves if leaf.kind == "grid"}
        spec = theirs.spec.taken_for(
            {leaf.path: before[leaf.path] for leaf in theirs.spec.leaves if leaf.kind == "cells" and leaf.path in before}
        )
        for what, given in {"spec": spec, **vars(theirs.actions)}.items():
            # integers are taken in any dtype
            if given != (needed := ours[what]) and (what != "dtype" or isinstance(theirs.actions.num_actions, Gaussian)):
                theirs_in_words, ours_in_words = told_apart(given, needed)
                raise ValueError(f"the environment's {what} is not what the agent was made for: {theirs_in_words}, not {ours_in_words}")

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Interface:
        actions = {f.name: content[f.name] for f in fields(Actions) if f.name in content}
        others = {
            name: _tuples_from_json(x) if name == "env_kwargs" else x
            for name, x in content.items()
            if name not in actions and name != "spec"
        }
        return cls(**others, spec=ObservationSpec.from_json(content["spec"]), actions=Actions.from_json(actions))

    def to_json(self) -> dict[str, Any]:
        return {
            "env_id": self.env_id,
            "spec": self.spec.to_json(),
            **self.actions.to_json(),
            "env_kwargs": _tuples_to_json(self.env_kwargs),
        }

    def check_makeable(self) -> None:
        """Raise ValueError if there is no id, or naming the module that the caller has to import before an environment is made from it.

        Nothing is imported for it: an id may have come out of a saved folder, and a folder shall not choose which code runs.
        """
        if self.env_id is None:
            raise ValueError("this agent was made from an environment object, so that there is no id to make one: give env=, in Python")
        module = self.env_id.rpartition(":")[0]
        if module and module not in sys.modules and module.partition(".")[0] not in OURS:
            raise ValueError(
                f"this agent was trained on {self.env_id}: import {module} before, or give env= (on the command line --module {module}); "
                "what a saved folder names is not imported unasked"
            )


TUPLE = "a tuple of"  # JSON has none, and MiniGrid's positions are tuples


def checked_env_kwargs(env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What an environment is made with; ValueError for values that are not plain, which could not be saved with the agent."""
    env_kwargs = dict(env_kwargs)
    instead = "make the environment with these yourself and give it as an object"
    try:
        kept = json.loads(json.dumps(_tuples_to_json(env_kwargs)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"env_kwargs={env_kwargs}: {error}; {instead}") from error
    if _tuples_from_json(kept) != env_kwargs:
        raise ValueError(f"env_kwargs={env_kwargs} would be {_tuples_from_json(kept)} in a file; {instead}")
    return env_kwargs


def _tuples_to_json(value: Any) -> Any:
    """What JSON can hold, in which tuples are marked."""
    if isinstance(value, dict):
        return {key: _tuples_to_json(part) for key, part in value.items()}
    parts = [_tuples_to_json(part) for part in value] if isinstance(value, list | tuple) else value
    return {TUPLE: parts} if isinstance(value, tuple) else parts


def _tuples_from_json(value: Any) -> Any:
    """What `_tuples_to_json` was given."""
    if isinstance(value, dict):
        return (
            tuple(_tuples_from_json(value[TUPLE])) if [*value] == [TUPLE] else {key: _tuples_from_json(part) for key, part in value.items()}
        )
    return [_tuples_from_json(part) for part in value] if isinstance(value, list) else value


def layers(env: Any) -> Iterator[Any]:
    """A vector environment and everything in it: its wrappers, and its environments with theirs."""
    yield env
    if isinstance(getattr(env, "env", None), gym.Env | VectorEnv):
        yield from layers(env.env)
    for single in getattr(env, "envs", ()) if env is getattr(env, "unwrapped", None) else ():
        yield from layers(single)


def names_minigrid(env_id: str) -> bool:
    """Is this the id of a MiniGrid environment, MiniGrid's own or one registered by the user?"""
    name = plain_id(env_id)
    entry_point = getattr(gym.registry.get(name), "entry_point", None)
    kind = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return is_minigrid_id(name) or _is_minigrid_class(kind)


def _is_minigrid_class(kind: Any) -> bool:
    """By name, since minigrid may not be imported."""
    return any(base.__name__ == "MiniGridEnv" for base in getattr(kind, "__mro__", ()))


def _is_minigrid(env: Any) -> bool:
    """Do observations hold MiniGrid's codes?"""
    space = env.single_observation_space
    if isinstance(space, gym.spaces.Dict) and any(is_mission(part) for part in space.spaces.values()):
        return True
    entry_point = getattr(env.spec, "entry_point", None)  # of an AsyncVectorEnv, whose environments cannot be looked at
    kind = load_env_creator(entry_point) if isinstance(entry_point, str) and env.spec.id in gym.registry else entry_point
    return _is_minigrid_class(kind) or any(_is_minigrid_class(type(layer)) for layer in layers(env))


def _is_rendered(env: Any) -> bool:
    """Do wrappers show pictures of the grid in place of its codes?"""
    names = {type(layer).__name__ for layer in layers(env)}
    return any(name.startswith("RGBImg") or name == "AddRenderObservation" for name in names)
