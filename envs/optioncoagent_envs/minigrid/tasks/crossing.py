"""LavaGapEnv and CrossingEnv: to the goal through openings in rows of lava or walls."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.core.world_object import Lava, Wall
from minigrid.envs import CrossingEnv, LavaGapEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import EMPTY, GREY_WALL, LAVA
from optioncoagent_envs.minigrid.engine.levels import GREEN_GOAL, bar, begin, walled
from optioncoagent_envs.minigrid.engine.random import below, shuffle
from optioncoagent_envs.minigrid.engine.rows import position
from optioncoagent_envs.minigrid.family import Families, Family


@njit(cache=True, nogil=True)
def lava_gap(rows, rng, grid, agent, shape, settings):
    """LavaGapEnv; settings: the code of the obstacle."""
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        begin(agent[row], position(shape, 1, 1), 0)
        cells[position(shape, shape[0] - 2, shape[1] - 2)] = GREEN_GOAL
        x = below(stream, 2, shape[0] - 2)
        y = below(stream, 1, shape[1] - 1)
        bar(cells, shape, x, 1, 1, shape[1] - 2, settings[0])
        cells[position(shape, x, y)] = EMPTY


@njit(cache=True, nogil=True)
def crossing(rows, rng, grid, agent, shape, settings):
    """CrossingEnv; settings: the number of crossings, the code of the obstacle."""
    width, height = shape[0], shape[1]
    count_v, count_h = len(range(2, height - 2, 2)), len(range(2, width - 2, 2))
    rivers = np.empty(count_v + count_h, np.int64)  # the vertical ones from left to right, the horizontal ones down
    vertical, horizontal = np.empty(count_v, np.int64), np.empty(count_h, np.int64)
    crossed = np.empty(len(rivers), np.bool_)
    number = min(settings[0], len(rivers))
    path = np.empty(number, np.int64)  # 1: through a vertical river, to the right; 0: through a horizontal one, down
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        begin(agent[row], position(shape, 1, 1), 0)
        cells[position(shape, width - 2, height - 2)] = GREEN_GOAL
        for k in range(len(rivers)):
            rivers[k] = k
            crossed[k] = False
        shuffle(stream, rivers)
        for k in range(number):
            crossed[rivers[k]] = True
        num_v = num_h = 0
        for k in range(len(rivers)):
            if crossed[k] and k < count_v:
                vertical[num_v] = 2 * k + 2
                bar(cells, shape, vertical[num_v], 1, 1, height - 2, settings[1])
                num_v += 1
            elif crossed[k]:
                horizontal[num_h] = 2 * (k - count_v) + 2
                bar(cells, shape, 1, horizontal[num_h], width - 2, 1, settings[1])
                num_h += 1
        for k in range(number):
            path[k] = k < num_v
        shuffle(stream, path)
        i, j = 0, 0  # rivers crossed to the right and down so far
        for rightwards in path:
            left = vertical[i - 1] if i > 0 else 0
            right = vertical[i] if i < num_v else height - 1
            top = horizontal[j - 1] if j > 0 else 0
            bottom = horizontal[j] if j < num_h else width - 1
            if rightwards:
                x, y = right, below(stream, top + 1, bottom)
                i += 1
            else:
                x, y = below(stream, left + 1, right), bottom
                j += 1
            cells[position(shape, x, y)] = EMPTY


def obstacle(env: Any) -> int | None:
    return {Lava: LAVA, Wall: GREY_WALL}.get(env.obstacle_type)


def lava_gap_settings(env: Any) -> list[int] | None:
    code = obstacle(env)
    return None if code is None else [code]


def crossing_settings(env: Any) -> list[int] | None:
    code = obstacle(env)
    return None if code is None or env.num_crossings < 0 else [env.num_crossings, code]


FAMILIES: Families = {LavaGapEnv: Family(lava_gap, settings=lava_gap_settings), CrossingEnv: Family(crossing, settings=crossing_settings)}
