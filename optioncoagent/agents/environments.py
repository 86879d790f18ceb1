"""Whatever the user gives (an id, an environment, a vector environment) as a vector environment the learner can train on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from optioncoagent.agents.observations import ObservationSpec, is_mission


def make_vector_env(env: Any, num_envs: int, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> VectorEnv:
    """A vector environment from an id, an Env (a batch of one) or a VectorEnv.

    Ids are made with SAME_STEP autoreset; MiniGrid and BabyAI ids come from `optioncoagent_envs`. env_kwargs: for what makes an id. Raises
    ValueError for a vector environment that does not reset itself, TypeError for anything else.
    """
    if isinstance(env, str):
        module, _, name = env.rpartition(":")
        if module:
            with suppress(ImportError):  # Gymnasium tells below what is wrong
                import_module(module)
        name = name.removeprefix("OptionCoagent/")
        if _names_minigrid(name):
            from optioncoagent_envs import make_minigrid

            return make_minigrid(name, num_envs, seed, **(env_kwargs or {}))
        if env.startswith("OptionCoagent/"):
            env = f"optioncoagent_envs:{env}"
        kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP}
        made: Any = gym.make_vec(env, num_envs, vectorization_mode="sync", vector_kwargs=kwargs, **(env_kwargs or {}))
        made.envs = tuple(Named(one, index) for index, one in enumerate(made.envs))
        return made
    if isinstance(env, gym.Env):
        return SyncVectorEnv([lambda: Named(env, 0)], autoreset_mode=AutoresetMode.SAME_STEP)
    if not isinstance(env, VectorEnv):
        raise TypeError(f"{env!r} is neither an environment id nor a gymnasium Env or VectorEnv")
    if autoreset_mode(env) not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        raise ValueError(
            f"{env!r} has autoreset mode {autoreset_mode(env)}: it must reset itself; make it with "
            "autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP"
        )
    return env


class Named(gym.Wrapper):
    """One environment of a batch: what it raises says which one it was, and how to come there again."""

    def __init__(self, env: gym.Env, index: int):
        super().__init__(env)
        self.index, self.seed, self.episode = index, None, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.seed, self.episode = (self.seed, self.episode + 1) if seed is None else (seed, 1)
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception as error:
            self._name(error, "reset")
            raise

    def step(self, action: Any) -> Any:
        try:
            return self.env.step(action)
        except Exception as error:
            self._name(error, "step")
            raise

    def _name(self, error: Exception, call: str) -> None:
        error.add_note(f"raised by {call} of environment {self.index}, in episode {self.episode} after reset with seed {self.seed}")


def autoreset_mode(env: VectorEnv) -> AutoresetMode | None:
    """How a vector environment starts the next episode, from its metadata."""
    mode = (env.metadata or {}).get("autoreset_mode")
    return AutoresetMode(mode) if mode is not None else None


@dataclass(frozen=True)
class Interface:
    """What an agent knows of its environment: its id (None if it was given as an object), observations, actions."""

    env_id: str | None
    spec: ObservationSpec
    num_actions: int
    first_action: int

    @classmethod
    def of(cls, env: VectorEnv, env_id: str | None) -> Interface:
        """Raises ValueError naming what is not supported of the spaces."""
        space = env.single_action_space
        if not isinstance(space, gym.spaces.Discrete):
            raise ValueError(f"the action space is {space}: only Discrete actions are supported")
        spec = ObservationSpec.from_space(env.single_observation_space, _is_minigrid(env))
        return cls(env_id, spec, int(space.n), int(space.start))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Interface:
        return cls(**{**content, "spec": ObservationSpec.from_json(content["spec"])})

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "spec": self.spec.to_json()}

    def check_actions(self, num_actions: int) -> None:
        """Raise ValueError unless the environment takes exactly the network's actions."""
        if num_actions != self.num_actions:
            raise ValueError(
                f"the environment takes {self.num_actions} actions, the network's action coagents give {num_actions}: make them the same"
            )


def _names_minigrid(env_id: str) -> bool:
    """Is this the id of a MiniGrid environment, MiniGrid's own or one registered by the user?"""
    entry_point = getattr(gym.registry.get(env_id), "entry_point", None)
    kind = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return env_id.startswith(("MiniGrid-", "BabyAI-")) or _is_minigrid_class(kind)


def _is_minigrid_class(kind: Any) -> bool:
    """By name, since minigrid may not be imported."""
    return any(base.__name__ == "MiniGridEnv" for base in getattr(kind, "__mro__", ()))


def _is_minigrid(env: Any) -> bool:
    """Do observations hold MiniGrid's codes?"""
    space = env.single_observation_space
    if isinstance(space, gym.spaces.Dict) and any(is_mission(part) for part in space.spaces.values()):
        return True
    single = getattr(env.unwrapped, "envs", [env])[0]
    return _is_minigrid_class(type(single.unwrapped))
