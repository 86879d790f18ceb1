"""DoorKeyEnv: a key opens the door to the half with the goal."""

from __future__ import annotations

from minigrid.core.constants import COLOR_TO_IDX
from minigrid.envs import DoorKeyEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import DOOR_LOCKED, GREY_WALL, KEY
from optioncoagent_envs.minigrid.engine.levels import FOREVER, GREEN_GOAL, bar, place, place_agent, walled
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import POSITION, position
from optioncoagent_envs.minigrid.family import Families, Family

YELLOW = COLOR_TO_IDX["yellow"]


@njit(cache=True, nogil=True)
def door_key(rows, rng, grid, agent, shape, settings):
    """DoorKeyEnv; no settings."""
    width, height = shape[0], shape[1]
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        cells[position(shape, width - 2, height - 2)] = GREEN_GOAL
        split = below(stream, 2, width - 2)
        bar(cells, shape, split, 0, 1, height, GREY_WALL)
        place_agent(stream, cells, agent[row], shape, 0, 0, split, height)
        cells[position(shape, split, below(stream, 1, height - 2))] = DOOR_LOCKED + YELLOW
        cells[place(stream, cells, shape, 0, 0, split, height, agent[row, POSITION], 1, FOREVER)] = KEY + YELLOW


FAMILIES: Families = {DoorKeyEnv: Family(door_key)}
