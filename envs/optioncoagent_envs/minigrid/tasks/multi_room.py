"""MultiRoomEnv: to the goal through a chain of rooms."""

from __future__ import annotations

import numpy as np
from minigrid.envs import MultiRoomEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import DOOR_CLOSED
from optioncoagent_envs.minigrid.engine.levels import COLORS, blank, place_agent, place_goal, walls
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import position
from optioncoagent_envs.minigrid.family import Families, Family


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


FAMILIES: Families = {MultiRoomEnv: Family(multi_room, settings=lambda env: [env.minNumRooms, env.maxNumRooms, env.maxRoomSize])}
