"""ObstructedMazeEnv: pick up the blue ball behind locked doors, with balls before them and keys in boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX
from minigrid.envs import ObstructedMaze_1Dlhb, ObstructedMaze_Full, ObstructedMaze_Full_V1

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, KEY, NAMED
from optioncoagent_envs.minigrid.engine.levels import draw_colors
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rooms import add_door, enter_room, lay_object, lay_rooms
from optioncoagent_envs.minigrid.engine.rules import pick_up_named
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Named

BLUE, GREEN, GREY = COLOR_TO_IDX["blue"], COLOR_TO_IDX["green"], COLOR_TO_IDX["grey"]
SIDE_ROOMS = np.array([[2, 1], [1, 2], [0, 1], [1, 0]])
CORNERS = np.array([[2, 0], [2, 2], [0, 2], [0, 0]])


@njit(cache=True, nogil=True)
def obstructed_maze(rows, rng, grid, agent, shape, settings):
    """ObstructedMaze_1Dlhb, _Full and _Full_V1.

    settings: room size, rows, columns, column and row of the agent's room, quarters (0 for the two rooms of 1Dlhb),
    whether keys are in boxes, whether balls block the doors, whether keys are laid after all balls (V1).
    """
    size, num_rows, num_cols, quarters = settings[0], settings[1], settings[2], settings[5]
    plan = np.empty((num_rows * num_cols, 9), np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        lay_rooms(stream, cells, me, shape, size, num_rows, num_cols, plan)
        colors = draw_colors(stream, 6)
        if quarters == 0:
            lock_side(stream, cells, me, shape, settings, plan, 0, 0, 0, colors[0], True)
            ball_i, ball_j = 1, 0
        else:
            for k in range(quarters):
                i, j = SIDE_ROOMS[k, 0], SIDE_ROOMS[k, 1]
                add_door(cells, plan, num_cols, num_cols + 1, k, colors[k], False)
                for turn in (-1, 1):
                    color = colors[(k + turn) % 6]
                    lock_side(stream, cells, me, shape, settings, plan, i, j, (k + turn) % 4, color, not settings[8])
                if settings[8]:
                    for turn in (-1, 1):
                        add_key(stream, cells, me, shape, settings, i, j, colors[(k + turn) % 6])
            corner = below(stream, 0, quarters)
            ball_i, ball_j = CORNERS[corner, 0], CORNERS[corner, 1]
        lay_object(stream, cells, me, shape, size, ball_i, ball_j, BALL + NAMED + BLUE)
        enter_room(stream, cells, me, shape, size, settings[3], settings[4])


@njit(cache=True, nogil=True)
def lock_side(stream, cells, agent, shape, settings, plan, i, j, wall, color, with_key):
    """ObstructedMazeEnv.add_door: a locked door, perhaps with a ball before it, perhaps with its key in the room."""
    at = add_door(cells, plan, settings[2], j * settings[2] + i, wall, color, True)
    if settings[7]:
        step = 1 if wall % 2 == 0 else shape[2]
        cells[at - step if wall < 2 else at + step] = BALL + GREEN
    if with_key:
        add_key(stream, cells, agent, shape, settings, i, j, color)


@njit(cache=True, nogil=True)
def add_key(stream, cells, agent, shape, settings, i, j, color):
    code = BOX + GREY + 6 * (1 + color) if settings[6] else KEY + color
    lay_object(stream, cells, agent, shape, settings[0], i, j, code)


def two_rooms(env: Any) -> list[int]:
    return [env.room_size, 1, 2, 0, 0, 0, env.key_in_box, env.blocked, 0]


def maze(env: Any) -> list[int] | None:
    if not 1 <= env.num_quarters <= len(SIDE_ROOMS):  # of others MiniGrid makes as many as there are
        return None
    keys_last = isinstance(env, ObstructedMaze_Full_V1)
    return [env.room_size, 3, 3, *env.agent_room, env.num_quarters, env.key_in_box, env.blocked, keys_last]


FAMILIES: Families = {
    ObstructedMaze_1Dlhb: Family(obstructed_maze, pick_up_named, two_rooms, keeps=(Named("obj"),)),
    ObstructedMaze_Full: Family(obstructed_maze, pick_up_named, maze, keeps=(Named("obj"),)),
    ObstructedMaze_Full_V1: Family(obstructed_maze, pick_up_named, maze, keeps=(Named("obj"),)),
}
