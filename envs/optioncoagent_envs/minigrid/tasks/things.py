"""The levels of Fetch, GoToObject, GoToDoor, PutNear, RedBlueDoors and Memory, compiled (see `minigrid_levels` for the arguments).

A thing is a key, a ball or a box of some colour, numbered 6 * kind + colour.
"""

from __future__ import annotations

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, DOOR_CLOSED, GREY_WALL, KEY, NUM_COLORS
from optioncoagent_envs.minigrid.engine.levels import (
    COLORS,
    FOREVER,
    MISSION,
    OTHER,
    TARGET,
    bar,
    begin,
    blank,
    place,
    place_agent,
    position,
    walled,
    walls,
)
from optioncoagent_envs.minigrid.engine.random import below

THINGS = np.array([base + color for base in (KEY, BALL, BOX) for color in range(NUM_COLORS)])  # their codes
RED, GREEN, BLUE = COLOR_TO_IDX["red"], COLOR_TO_IDX["green"], COLOR_TO_IDX["blue"]


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
def fetch(rows, rng, grid, agent, shape, settings):
    """FetchEnv; settings: the number of things. Mission: 12 * (wording) + (thing to fetch)."""
    things = np.empty(settings[0], np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        for k in range(len(things)):
            things[k] = draw_thing(stream, 2)
            cells[anywhere(stream, cells, shape)] = THINGS[things[k]]
        place_agent(stream, cells, me, shape, 0, 0, shape[0], shape[1])
        wanted = things[below(stream, 0, len(things))]
        me[OTHER] = THINGS[wanted]
        me[MISSION] = 2 * NUM_COLORS * below(stream, 0, 5) + wanted


@njit(cache=True, nogil=True)
def go_to_object(rows, rng, grid, agent, shape, settings):
    """GoToObjectEnv; settings: the number of things. Mission: the thing to go to."""
    things, places = np.empty(settings[0], np.int64), np.empty(settings[0], np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        for k in range(len(things)):
            things[k] = draw_another(stream, things[:k])
            places[k] = anywhere(stream, cells, shape)
            cells[places[k]] = THINGS[things[k]]
        place_agent(stream, cells, me, shape, 0, 0, shape[0], shape[1])
        target = below(stream, 0, len(things))
        me[TARGET], me[MISSION] = places[target], things[target]


@njit(cache=True, nogil=True)
def go_to_door(rows, rng, grid, agent, shape, settings):
    """GoToDoorEnv; no settings. Mission: the colour of the door."""
    doors, colors = np.empty(4, np.int64), np.empty(4, np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        blank(cells, shape)
        width = below(stream, 5, shape[0] + 1)
        height = below(stream, 5, shape[1] + 1)
        walls(cells, shape, 0, 0, width, height)
        doors[0] = position(shape, below(stream, 2, width - 2), 0)
        doors[1] = position(shape, below(stream, 2, width - 2), height - 1)
        doors[2] = position(shape, 0, below(stream, 2, height - 2))
        doors[3] = position(shape, width - 1, below(stream, 2, height - 2))
        for k in range(4):
            colors[k] = COLORS[below(stream, 0, 6)]
            while (colors[:k] == colors[k]).any():
                colors[k] = COLORS[below(stream, 0, 6)]
        for k in range(4):
            cells[doors[k]] = DOOR_CLOSED + colors[k]
        place_agent(stream, cells, me, shape, 0, 0, width, height)
        target = below(stream, 0, 4)
        me[TARGET], me[MISSION] = doors[target], colors[target]


@njit(cache=True, nogil=True)
def put_near(rows, rng, grid, agent, shape, settings):
    """PutNearEnv; settings: the number of things. Mission: 18 * (thing to move) + (thing to put it near)."""
    things, places = np.empty(settings[0], np.int64), np.empty(settings[0], np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        for k in range(len(things)):
            things[k] = draw_another(stream, things[:k])
            places[k] = anywhere(stream, cells, shape)
            while is_near_any(places[k], places[:k], shape[2]):
                places[k] = anywhere(stream, cells, shape)
            cells[places[k]] = THINGS[things[k]]
        place_agent(stream, cells, me, shape, 0, 0, shape[0], shape[1])
        moved = below(stream, 0, len(things))
        target = below(stream, 0, len(things))
        while target == moved:
            target = below(stream, 0, len(things))
        me[OTHER], me[TARGET] = THINGS[things[moved]], places[target]
        me[MISSION] = len(THINGS) * things[moved] + things[target]


@njit(cache=True, nogil=True)
def is_near_any(at, places, stride):
    for other in places:
        if are_near(at, other, stride):
            return True
    return False


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
def memory(rows, rng, grid, agent, shape, settings):
    """MemoryEnv; settings: whether the hallway's length is random."""
    width, height = shape[0], shape[1]
    middle = height // 2
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        end = below(stream, 4, width - 2) if settings[0] else width - 3
        bar(cells, shape, 1, middle - 2, 4, 1, GREY_WALL)
        bar(cells, shape, 1, middle + 2, 4, 1, GREY_WALL)
        for side in (-1, 1):
            bar(cells, shape, 4, middle + side, max(1, end - 4), 1, GREY_WALL)
            bar(cells, shape, end, 0 if side < 0 else middle + 1, 1, middle, GREY_WALL)
        bar(cells, shape, end + 2, 0, 1, height, GREY_WALL)
        begin(me, position(shape, below(stream, 1, end + 1), middle), 0)
        shown, lower = below(stream, 0, 2), below(stream, 0, 2)  # 0: a key, 1: a ball
        cells[position(shape, 1, middle - 1)] = (BALL if shown else KEY) + GREEN
        cells[position(shape, end + 1, middle - 2)] = (KEY if lower else BALL) + GREEN
        cells[position(shape, end + 1, middle + 2)] = (BALL if lower else KEY) + GREEN
        side = 1 if shown == lower else -1
        me[TARGET], me[OTHER] = position(shape, end + 1, middle + side), position(shape, end + 1, middle - side)
