"""Gymnasium environments for option agents: 3x3 gridworld, four rooms, and MiniGrid in batches."""

from optioncoagent_envs import minigrid_registry as _minigrid_registry  # noqa: F401  (registers on import)
from optioncoagent_envs.minigrid_vector import make_minigrid

__all__ = ["make_minigrid"]
