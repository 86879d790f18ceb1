"""MiniGrid's generators of chained and gridded rooms, compiled (see `minigrid_levels` for the arguments)."""

from __future__ import annotations

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, BOX_NAMED, DOOR_CLOSED, DOOR_LOCKED, EMPTY, GREY_WALL, KEY, NAMED, WALL
from optioncoagent_envs.minigrid.engine.levels import (
    COLORS,
    DIRECTION,
    FOREVER,
    MISSION,
    POSITION,
    TARGET,
    bar,
    begin,
    blank,
    draw_colors,
    place,
    place_agent,
    place_goal,
    position,
    walls,
)
from optioncoagent_envs.minigrid.engine.random import below

BLUE, GREEN, GREY = COLOR_TO_IDX["blue"], COLOR_TO_IDX["green"], COLOR_TO_IDX["grey"]
TRIES = 1000  # of place_obj inside a room, before it gives up
PATIENCE = 100_000  # tries to place the agent; if there is a place at all, one in some hundreds finds it
SIDE_ROOMS = np.array([[2, 1], [1, 2], [0, 1], [1, 0]])
CORNERS = np.array([[2, 0], [2, 2], [0, 2], [0, 0]])


@njit(cache=True, nogil=True)
def multi_room(rows, rng, grid, agent, shape, settings):
    """MultiRoomEnv; settings: the least and the greatest number of rooms, the greatest size of a room."""
    # each room: left, top, width, height, x and y of its entry
    best = np.empty((settings[1], 6), np.int64)
    chain = np.empty((settings[1], 6), np.int64)
    for row in rows:
        cells, stream = grid[row], rng[row]
        number = below(stream, settings[0], settings[1] + 1)
        length = 0
        while length < number:
            reached = chain_rooms(stream, chain, number, shape, settings[2])
            if reached > length:
                length = reached
                best, chain = chain, best
        blank(cells, shape)
        previous = -1  # index into COLORS of the last door's colour
        for k in range(length):
            walls(cells, shape, best[k, 0], best[k, 1], best[k, 2], best[k, 3])
            if k > 0:
                color = below(stream, 0, 6 if previous < 0 else 5)
                if 0 <= previous <= color:
                    color += 1
                cells[position(shape, best[k, 4], best[k, 5])] = DOOR_CLOSED + COLORS[color]
                previous = color
        first, last = best[0], best[length - 1]
        place_agent(stream, cells, agent[row], shape, first[0], first[1], first[2], first[3])
        place_goal(stream, cells, agent[row], shape, last[0], last[1], last[2], last[3])


@njit(cache=True, nogil=True)
def chain_rooms(stream, rooms, number, shape, largest):
    """MultiRoomEnv._placeRoom: rooms one after another until `number` stand or eight tries for the next one fail.

    The walls of a room are numbered right, down, left, up. Returns how many rooms stand.
    """
    entry_x = below(stream, 0, shape[0] - 2)
    entry_y = below(stream, 0, shape[0] - 2)
    if not fit_room(stream, rooms, 0, 2, entry_x, entry_y, shape, largest):
        return 0
    count, entry, tries = 1, 2, 0
    while count < number and tries < 8:
        tries += 1
        left, top, width, height = rooms[count - 1, 0], rooms[count - 1, 1], rooms[count - 1, 2], rooms[count - 1, 3]
        exit_wall = below(stream, 0, 3)
        if exit_wall >= entry:
            exit_wall += 1
        if exit_wall % 2 == 0:
            x = left + width - 1 if exit_wall == 0 else left
            y = top + below(stream, 1, height - 1)
        else:
            x = left + below(stream, 1, width - 1)
            y = top + height - 1 if exit_wall == 1 else top
        next_entry = (exit_wall + 2) % 4
        if fit_room(stream, rooms, count, next_entry, x, y, shape, largest):
            count, entry, tries = count + 1, next_entry, 0
    return count


@njit(cache=True, nogil=True)
def fit_room(stream, rooms, count, entry, x, y, shape, largest):
    """Draws room number `count` with its entry at (x, y) in wall `entry`; whether it stands clear of the others."""
    width = below(stream, 4, largest + 1)
    height = below(stream, 4, largest + 1)
    left, top = x, y
    if count > 0 and entry % 2 == 0:
        left = x - width + 1 if entry == 0 else x
        top = below(stream, y - height + 2, y)
    elif count > 0:
        left = below(stream, x - width + 2, x)
        top = y - height + 1 if entry == 1 else y
    if left < 0 or top < 0 or left + width > shape[0] or top + height >= shape[1]:
        return False
    for k in range(count - 1):
        a, b, c, d = rooms[k, 0], rooms[k, 1], rooms[k, 2], rooms[k, 3]
        if not (left + width < a or a + c <= left or top + height < b or b + d <= top):
            return False
    rooms[count, 0], rooms[count, 1], rooms[count, 2], rooms[count, 3] = left, top, width, height
    rooms[count, 4], rooms[count, 5] = x, y
    return True


# Rooms in a grid. `plan` (rooms, 9) int64: the positions of the doors right, down, left and up (0 where there is no
# neighbour), whether there is a door or opening on each side, and whether the room is locked. size: of a room.


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
def unlock(rows, rng, grid, agent, shape, settings):
    """UnlockEnv, UnlockPickupEnv, BlockedUnlockPickupEnv.

    settings: room size, whether a box is to be picked up behind the door, whether a ball blocks the door. Mission: the
    colour of the box.
    """
    size = settings[0]
    plan = np.empty((2, 9), np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        lay_rooms(stream, cells, me, shape, size, 1, 2, plan)
        if settings[1]:
            box = COLORS[below(stream, 0, 6)]
            lay_object(stream, cells, me, shape, size, 1, 0, BOX + BOX_NAMED + box)
            me[MISSION] = box
        color = COLORS[below(stream, 0, 6)]
        door = add_door(cells, plan, 2, 0, 0, color, True)
        if not settings[1]:
            me[TARGET] = door
        if settings[2]:
            cells[door - 1] = BALL + COLORS[below(stream, 0, 6)]
        lay_object(stream, cells, me, shape, size, 0, 0, KEY + color)
        enter_room(stream, cells, me, shape, size, 0, 0)


@njit(cache=True, nogil=True)
def key_corridor(rows, rng, grid, agent, shape, settings):
    """KeyCorridorEnv; settings: room size, number of rows, the code of the object to pick up. Mission: its colour."""
    size, num_rows = settings[0], settings[1]
    plan = np.empty((num_rows * 3, 9), np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        lay_rooms(stream, cells, me, shape, size, num_rows, 3, plan)
        for j in range(1, num_rows):
            for i in range(1, size - 1):
                cells[position(shape, size - 1 + i, j * (size - 1))] = EMPTY
            plan[j * 3 + 1, 4 + 3] = 1
            plan[(j - 1) * 3 + 1, 4 + 1] = 1
        target = below(stream, 0, num_rows)
        color = COLORS[below(stream, 0, 6)]
        add_door(cells, plan, 3, target * 3 + 2, 2, color, True)
        me[MISSION] = COLORS[below(stream, 0, 6)]
        lay_object(stream, cells, me, shape, size, 2, target, settings[2] + me[MISSION])
        with_key = below(stream, 0, num_rows)
        lay_object(stream, cells, me, shape, size, 0, with_key, KEY + color)
        enter_room(stream, cells, me, shape, size, 1, num_rows // 2)
        connect_all(stream, cells, plan, num_rows, 3, (num_rows // 2) * 3 + 1, -1)


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


@njit(cache=True, nogil=True)
def playground(rows, rng, grid, agent, shape, settings):
    """PlaygroundEnv"""
    width, height = shape[0] // 3, shape[1] // 3
    for row in rows:
        cells, stream = grid[row], rng[row]
        blank(cells, shape)
        walls(cells, shape, 0, 0, shape[0], shape[1])
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
