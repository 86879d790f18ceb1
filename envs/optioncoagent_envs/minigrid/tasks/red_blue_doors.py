"""RedBlueDoorEnv: open the red door, then the blue one. OTHER: the position of the red door, TARGET: that of the blue one."""

from __future__ import annotations

from minigrid.core.constants import COLOR_TO_IDX
from minigrid.envs import RedBlueDoorEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import DOOR_CLOSED, is_open
from optioncoagent_envs.minigrid.engine.levels import place_agent, walled, walls
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import OTHER, TARGET, position
from optioncoagent_envs.minigrid.engine.rules import FAILED, SUCCESS, act
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Door

RED, BLUE = COLOR_TO_IDX["red"], COLOR_TO_IDX["blue"]


@njit(cache=True, nogil=True)
def red_blue_door(rows, rng, grid, agent, shape, settings):
    """RedBlueDoorEnv; no settings."""
    size = shape[1]
    left = size // 2
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        walls(cells, shape, left, 0, size, size)
        place_agent(stream, cells, me, shape, left, 0, size, size)
        me[OTHER] = position(shape, left, below(stream, 1, size - 1))
        me[TARGET] = position(shape, left + size - 1, below(stream, 1, size - 1))
        cells[me[OTHER]] = DOOR_CLOSED + RED
        cells[me[TARGET]] = DOOR_CLOSED + BLUE


@njit(cache=True, nogil=True)
def act_on_red_then_blue(row, action, rng, grid, agent, marks, shape):
    """RedBlueDoorEnv: the blue door open after an action succeeds if the red one was open before it, and fails if not.

    With the red door open, to close the blue one fails.
    """
    cells, me = grid[row], agent[row]
    red_was_open, blue_was_open = is_open(cells[me[OTHER]]), is_open(cells[me[TARGET]])
    outcome = act(cells, me, action, shape[2])
    if is_open(cells[me[TARGET]]):
        return SUCCESS if red_was_open else FAILED
    return FAILED if blue_was_open and is_open(cells[me[OTHER]]) else outcome


FAMILIES: Families = {
    RedBlueDoorEnv: Family(red_blue_door, act_on_red_then_blue, keeps=(Door(TARGET, "blue_door"), Door(OTHER, "red_door")))
}
