"""Gymnasium environments for option agents: 3x3 gridworld, four rooms, and MiniGrid in batches."""

from optioncoagent_envs.minigrid_vector import make_minigrid

__all__ = ["make_minigrid"]
