"""MiniGrid as a Gymnasium vector environment."""

from __future__ import annotations

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv


def make_minigrid(env_id: str, num_envs: int, seed: int | None = None) -> VectorEnv:
    """A batch of MiniGrid environments that reset in the step that ends an episode (SAME_STEP).

    With a `seed`, the first `reset()` without one uses it: environment `i` gets `seed + i`.
    Raises `gymnasium.error.NameNotFound` for an id that MiniGrid does not register.
    """
    import minigrid  # noqa: F401  (registers the ids)

    return gym.make_vec(env_id, num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP})
