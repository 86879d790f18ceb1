"""Gymnasium environments for option agents: a gridworld, four rooms, and MiniGrid in batches.

Importing this package registers `OptionCoagent/Gridworld-v0` and `OptionCoagent/FourRooms-v0`; so does the prefix in
`gymnasium.make("optioncoagent_envs:OptionCoagent/FourRooms-v0")`. Both carry toy_text's tables `P` and `initial_state_distrib`.

    tabular    the gridworld and four rooms
    minigrid   MiniGrid's tasks, compiled: how a step and a reset go, and how to add a task, is said there
    babyai     BabyAI's levels, compiled
    backends   the batches that Gymnasium sees: `make_minigrid`
    compiling  Numba's compiler, also where it finds no folder to write to
"""

import gymnasium as gym

from optioncoagent_envs.backends import registry as _registry  # noqa: F401  (registers on import)
from optioncoagent_envs.backends.vector import compiled_ids, make_minigrid

__all__ = ["compiled_ids", "make_minigrid"]

gym.register("OptionCoagent/Gridworld-v0", entry_point="optioncoagent_envs.tabular.gridworld:gridworld")
gym.register("OptionCoagent/FourRooms-v0", entry_point="optioncoagent_envs.tabular.four_rooms:FourRooms", max_episode_steps=1000)
