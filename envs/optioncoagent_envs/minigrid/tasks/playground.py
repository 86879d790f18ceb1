"""PlaygroundEnv: nine rooms, twelve objects, nothing to do but to look around."""

from __future__ import annotations

from minigrid.envs import PlaygroundEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, DOOR_CLOSED, GREY_WALL, KEY
from optioncoagent_envs.minigrid.engine.levels import COLORS, FOREVER, bar, place, place_agent, walled
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import POSITION, position
from optioncoagent_envs.minigrid.family import Families, Family


@njit(cache=True, nogil=True)
def playground(rows, rng, grid, agent, shape, settings):
    """PlaygroundEnv; no settings."""
    width, height = shape[0] // 3, shape[1] // 3
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        for j in range(3):
            for i in range(3):
                left, top = i * width, j * height
                right, bottom = left + width, top + height
                if i < 2:
                    bar(cells, shape, right, top, 1, height, GREY_WALL)
                    at = position(shape, right, below(stream, top + 1, bottom - 1))
                    cells[at] = DOOR_CLOSED + COLORS[below(stream, 0, 6)]
                if j < 2:
                    bar(cells, shape, left, bottom, width, 1, GREY_WALL)
                    at = position(shape, below(stream, left + 1, right - 1), bottom)
                    cells[at] = DOOR_CLOSED + COLORS[below(stream, 0, 6)]
        place_agent(stream, cells, agent[row], shape, 0, 0, shape[0], shape[1])
        for _ in range(12):
            kind = below(stream, 0, 3)
            code = (KEY if kind == 0 else BALL if kind == 1 else BOX) + COLORS[below(stream, 0, 6)]
            cells[place(stream, cells, shape, 0, 0, shape[0], shape[1], agent[row, POSITION], 1, FOREVER)] = code


FAMILIES: Families = {PlaygroundEnv: Family(playground)}
