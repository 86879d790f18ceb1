"""Where the agent of each environment is, and what it carries: what an exploration bonus counts where the environment can tell it.

A vector environment tells it by a method `places()`, (n, k) integers that say of each environment where in its state space it is, whatever
integers these are; the compiled MiniGrid has one. Of MiniGrid environments in this process it is (x, y, kind and colour of what is
carried).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from optioncoagent.agents.environments import layers

Places = Callable[[], np.ndarray]


def places_of(env: VectorEnv) -> Places | None:
    """What tells the places of these environments, or None if nothing does."""
    for layer in layers(env):
        if isinstance(layer, VectorEnv) and callable(getattr(layer, "places", None)):
            return layer.places  # type: ignore[attr-defined]
    singles = [single.unwrapped for single in getattr(env.unwrapped, "envs", ())]
    if singles and all(hasattr(single, "agent_pos") and hasattr(single, "carrying") for single in singles):
        return partial(_minigrid_places, singles)  # no closure: of a deep copy it is of the copy's environments
    return None


def _minigrid_places(envs: Sequence[Any]) -> np.ndarray:
    """(n, 4): x, y, and the codes of the object that is carried and its colour, -1 for none."""
    return np.array([(*env.agent_pos, *(env.carrying.encode()[:2] if env.carrying else (-1, -1))) for env in envs], dtype=np.int64)
