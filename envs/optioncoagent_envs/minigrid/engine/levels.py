"""What MiniGrid's level generators are made of, compiled: the same draws from the same stream, so that a seed names the same level.

A *generator* takes the rows of a batch that need a new level and writes them (arrays as in `rows`):

    generate(rows, rng, grid, agent, shape, settings)

rows (k,) int64; settings (s,) int64: what the environment was made with. Each follows the `_gen_grid` of the class whose levels
it draws, draw for draw, and stands in `tasks`.
"""

from __future__ import annotations

import numpy as np
from minigrid.core.constants import COLOR_NAMES, COLOR_TO_IDX

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import EMPTY, GOAL, GREY_WALL
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import CARRIED, DIRECTION, MISSION, OTHER, POSITION, STEPS, TARGET, position

COLORS = np.array([COLOR_TO_IDX[name] for name in COLOR_NAMES])  # in the order in which MiniGrid draws them
GREEN_GOAL = GOAL + COLOR_TO_IDX["green"]
FOREVER = 1 << 62


@njit(cache=True, nogil=True)
def bar(cells, shape, x, y, width, height, code):
    """Fills a rectangle, of width or height 1 for a line."""
    for j in range(y, y + height):
        for i in range(x, x + width):
            cells[position(shape, i, j)] = code


@njit(cache=True, nogil=True)
def walls(cells, shape, x, y, width, height):
    """The four walls of a rectangle (`Grid.wall_rect`)."""
    bar(cells, shape, x, y, width, 1, GREY_WALL)
    bar(cells, shape, x, y + height - 1, width, 1, GREY_WALL)
    bar(cells, shape, x, y, 1, height, GREY_WALL)
    bar(cells, shape, x + width - 1, y, 1, height, GREY_WALL)


@njit(cache=True, nogil=True)
def blank(cells, shape):
    bar(cells, shape, 0, 0, shape[0], shape[1], EMPTY)


@njit(cache=True, nogil=True)
def walled(cells, shape):
    blank(cells, shape)
    walls(cells, shape, 0, 0, shape[0], shape[1])


@njit(cache=True, nogil=True)
def begin(agent, at, direction):
    agent[POSITION], agent[DIRECTION], agent[CARRIED] = at, direction, EMPTY
    agent[STEPS], agent[MISSION], agent[TARGET], agent[OTHER] = 0, 0, 0, 0


@njit(cache=True, nogil=True)
def find(stream, cells, shape, x, y, width, height, agent, apart, tries):
    """`place_obj`: an empty cell of the rectangle, at least `apart` steps from the position `agent` (0 for none).

    Returns its position, or 0 if none was found.
    """
    x, y = max(x, 0), max(y, 0)
    right, bottom = min(x + width, shape[0]), min(y + height, shape[1])
    ax, ay = agent % shape[2] - shape[3], agent // shape[2] - shape[3]
    tried = 0
    while tried <= tries:
        tried += 1
        i = below(stream, x, right)
        j = below(stream, y, bottom)
        at = position(shape, i, j)
        if cells[at] == EMPTY and abs(i - ax) + abs(j - ay) >= apart:
            return at
    return 0


@njit(cache=True, nogil=True)
def place(stream, cells, shape, x, y, width, height, agent, apart, tries):
    """`find`, with MiniGrid's error if there is no such cell."""
    at = find(stream, cells, shape, x, y, width, height, agent, apart, tries)
    if at == 0:
        raise RecursionError("rejection sampling failed in place_obj")
    return at


@njit(cache=True, nogil=True)
def draw_colors(stream, number):
    """`_rand_subset`: that many different colours in the order drawn; those not drawn stay in order behind."""
    colors = COLORS.copy()
    for k in range(number):
        drawn = k + below(stream, 0, len(colors) - k)
        color = colors[drawn]
        for m in range(drawn, k, -1):
            colors[m] = colors[m - 1]
        colors[k] = color
    return colors


@njit(cache=True, nogil=True)
def place_agent(stream, cells, agent, shape, x, y, width, height):
    at = place(stream, cells, shape, x, y, width, height, 0, 0, FOREVER)
    begin(agent, at, below(stream, 0, 4))


@njit(cache=True, nogil=True)
def place_goal(stream, cells, agent, shape, x, y, width, height):
    cells[place(stream, cells, shape, x, y, width, height, agent[POSITION], 1, FOREVER)] = GREEN_GOAL
