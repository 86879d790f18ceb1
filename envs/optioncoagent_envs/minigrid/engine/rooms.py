"""Rooms in a grid, compiled: MiniGrid's RoomGrid, of which BabyAI's levels and some of `tasks` are made.

`plan` (rooms, 9) int64: the positions of the doors right, down, left and up (0 where there is no neighbour), whether there is a
door or opening on each side, and whether the room is locked. size: of a room. (Other arrays as in `rows`.)
"""

from __future__ import annotations

import numpy as np

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import DOOR_CLOSED, DOOR_LOCKED, EMPTY, KEY, WALL
from optioncoagent_envs.minigrid.engine.levels import COLORS, begin, blank, place, walls
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import DIRECTION, POSITION, position

TRIES = 1000  # of place_obj inside a room, before it gives up
PATIENCE = 100_000  # tries to place the agent; if there is a place at all, one in some hundreds finds it


@njit(cache=True, nogil=True)
def lay_rooms(stream, cells, agent, shape, size, num_rows, num_cols, plan):
    """RoomGrid._gen_grid."""
    blank(cells, shape)
    plan[:] = 0
    for j in range(num_rows):
        for i in range(num_cols):
            walls(cells, shape, i * (size - 1), j * (size - 1), size, size)
    for j in range(num_rows):
        for i in range(num_cols):
            room = j * num_cols + i
            left, top = i * (size - 1), j * (size - 1)
            right, bottom = left + size - 1, top + size - 1
            if i < num_cols - 1:
                door = position(shape, right, below(stream, top + 1, bottom))
                plan[room, 0] = plan[room + 1, 2] = door
            if j < num_rows - 1:
                door = position(shape, below(stream, left + 1, right), bottom)
                plan[room, 1] = plan[room + num_cols, 3] = door
    x, y = num_cols // 2 * (size - 1) + size // 2, num_rows // 2 * (size - 1) + size // 2
    begin(agent, position(shape, x, y), 0)


@njit(cache=True, nogil=True)
def beside(room, wall, num_cols):
    """The room on the other side of a wall."""
    if wall % 2 == 0:
        return room + 1 if wall == 0 else room - 1
    return room + num_cols if wall == 1 else room - num_cols


@njit(cache=True, nogil=True)
def add_door(cells, plan, num_cols, room, wall, color, locked):
    """RoomGrid.add_door, its colour drawn by the caller; returns the door's position."""
    at = plan[room, wall]
    cells[at] = color + (DOOR_LOCKED if locked else DOOR_CLOSED)
    plan[room, 8] = locked
    plan[room, 4 + wall] = 1
    plan[beside(room, wall, num_cols), 4 + (wall + 2) % 4] = 1
    return at


@njit(cache=True, nogil=True)
def lay_object(stream, cells, agent, shape, size, i, j, code):
    """RoomGrid.place_in_room: not on the agent's cell and not beside it; returns the position."""
    x, y = i * (size - 1), j * (size - 1)
    at = place(stream, cells, shape, x, y, size, size, agent[POSITION], 2, TRIES)
    cells[at] = code
    return at


@njit(cache=True, nogil=True)
def enter_room(stream, cells, agent, shape, size, i, j):
    """RoomGrid.place_agent: facing a wall or nothing. Where there is no such place MiniGrid searches for ever; this gives up."""
    x, y = i * (size - 1), j * (size - 1)
    for _ in range(PATIENCE):
        at = place(stream, cells, shape, x, y, size, size, 0, 0, TRIES)
        direction = below(stream, 0, 4)
        step = 1 if direction % 2 == 0 else shape[2]
        front = cells[at + step if direction < 2 else at - step]
        if front == EMPTY or WALL <= front < KEY:
            agent[POSITION], agent[DIRECTION] = at, direction
            return
    raise RecursionError("there is no place for the agent")


@njit(cache=True, nogil=True)
def connect_all(stream, cells, plan, num_rows, num_cols, start, barred):
    """RoomGrid.connect_all: closed doors at random, but not of colour `barred`, until every room can be reached from `start`."""
    colors = COLORS[barred != COLORS]
    reached = np.empty(num_rows * num_cols, np.bool_)
    for _ in range(5001):
        if count_reached(plan, num_cols, start, reached) == len(reached):
            return
        i = below(stream, 0, num_cols)
        j = below(stream, 0, num_rows)
        wall = below(stream, 0, 4)
        room = j * num_cols + i
        if plan[room, wall] == 0 or plan[room, 4 + wall] or plan[room, 8] or plan[beside(room, wall, num_cols), 8]:
            continue
        add_door(cells, plan, num_cols, room, wall, colors[below(stream, 0, len(colors))], False)
    raise RecursionError("connect_all failed")


@njit(cache=True, nogil=True)
def count_reached(plan, num_cols, start, reached):
    reached[:] = False
    reached[start] = True
    count, before = 1, 0
    while before < count:
        before = count
        for room in range(len(reached)):
            for wall in range(4):
                if reached[room] and plan[room, 4 + wall] and not reached[beside(room, wall, num_cols)]:
                    reached[beside(room, wall, num_cols)] = True
                    count += 1
    return count
