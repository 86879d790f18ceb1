"""What several tasks have in common: things, and missions about them.

A thing is a key, a ball or a box of some colour, numbered 6 * kind + colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.core.constants import COLOR_NAMES, COLOR_TO_IDX, IDX_TO_COLOR

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, KEY, NUM_COLORS, WORDS
from optioncoagent_envs.minigrid.engine.levels import COLORS, FOREVER, place
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import CARRIED, OTHER

THINGS = np.array([base + color for base in (KEY, BALL, BOX) for color in range(NUM_COLORS)])  # their codes
COLORS_BY_INDEX = [IDX_TO_COLOR[index] for index in range(NUM_COLORS)]
COLORS_ARE_KNOWN = sorted(COLORS_BY_INDEX) == COLOR_NAMES and len(COLOR_TO_IDX) == NUM_COLORS
THINGS_SAID = [f"{color} {kind}" for kind in ("key", "ball", "box") for color in COLORS_BY_INDEX]


@njit(cache=True, nogil=True)
def draw_thing(stream, kinds):
    """A thing of one of the first kinds."""
    kind = below(stream, 0, kinds)
    return NUM_COLORS * kind + COLORS[below(stream, 0, 6)]


@njit(cache=True, nogil=True)
def draw_another(stream, things):
    """A thing that is not among those there are."""
    thing = draw_thing(stream, 3)
    while (things == thing).any():
        thing = draw_thing(stream, 3)
    return thing


@njit(cache=True, nogil=True)
def anywhere(stream, cells, shape):
    """An empty cell of the grid."""
    return place(stream, cells, shape, 0, 0, shape[0], shape[1], 0, 0, FOREVER)


@njit(cache=True, nogil=True)
def are_near(one, other, stride):
    """Whether two positions are at most one column and one row apart."""
    return abs(one % stride - other % stride) <= 1 and abs(one // stride - other // stride) <= 1


@njit(cache=True, nogil=True)
def holds_wanted(agent):
    """Whether what the agent carries looks like the object of which OTHER is the code: same kind, same colour."""
    return WORDS[agent[CARRIED]] == WORDS[agent[OTHER]]


def pick_up_missions(env: Any) -> list[str]:
    """Missions by the colour of what is to be picked up."""
    kind = getattr(env, "obj_type", "box")
    return [f"pick up the {color} {kind}" for color in COLORS_BY_INDEX]


def num_objects(env: Any) -> list[int]:
    return [env.numObjs]
