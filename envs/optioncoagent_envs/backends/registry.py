"""Registers every MiniGrid id under this project's namespace, `OptionCoagent/MiniGrid-DoorKey-5x5-v0` and so on.

`gym.make_vec` makes the batch of `make_minigrid` of it, `gym.make` the stock environment. MiniGrid's own ids stay as
they are: a program that imports this package finds them unchanged.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from optioncoagent_envs.backends.vector import minigrid_ids

NAMESPACE = "OptionCoagent"


def single(env_id: str, **kwargs: Any) -> gym.Env:
    """The stock environment of an id, without Gymnasium's wrappers (`gym.make` puts its own around it)."""
    return gym.make(env_id, disable_env_checker=True, **kwargs).unwrapped


for _env_id in minigrid_ids():
    gym.register(
        f"{NAMESPACE}/{_env_id}",
        entry_point=f"{__name__}:single",
        vector_entry_point="optioncoagent_envs.backends.vector:make_minigrid",
        kwargs={"env_id": _env_id},
    )
