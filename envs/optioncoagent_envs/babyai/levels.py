"""BabyAI's level generators, compiled: the same draws from the same stream as the `gen_mission` each is named after.

`levels_of` makes a generator (arguments as in `minigrid.engine.levels`, and `marks` of `verifier`) of a function that
draws one mission into a `Level`, and says whether it may stand. The settings begin with those of the rooms:

    size of a room, rows and columns of rooms, the limit of steps (-1: by the size of the maze and the instruction)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX

from optioncoagent_envs.babyai.verifier import (
    A_BALL,
    A_BOX,
    A_KEY,
    ANYWHERE,
    CLAUSE_COLUMNS,
    CLAUSE_STRICT,
    CLAUSES,
    FIRST,
    KIND,
    MEMBERS,
    NUM_CLAUSES,
    ORDER,
    PUT_NEXT,
    SECOND,
    description,
    mark_level,
    num_descriptions,
)
from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, DOOR_OPEN, EMPTY, KEY, NUM_COLORS, WALL
from optioncoagent_envs.minigrid.engine.levels import COLORS
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rooms import add_door, connect_all, enter_room, lay_object, lay_rooms
from optioncoagent_envs.minigrid.engine.rows import LIMIT, POSITION, position
from optioncoagent_envs.minigrid.engine.template import of_its_own

BLUE, GREY, RED = COLOR_TO_IDX["blue"], COLOR_TO_IDX["grey"], COLOR_TO_IDX["red"]
SIZE, ROWS, COLS, STEP_LIMIT, OWN = range(5)  # settings; a mission's own begin at OWN
RANDOM = -1
WHAT, COLOR, PLACE = range(3)  # columns of `things`
KINDS = {"key": A_KEY, "ball": A_BALL, "box": A_BOX}
BASE: np.ndarray = np.array([0, KEY, BALL, BOX])  # A_KEY, A_BALL, A_BOX -> code


class Level(NamedTuple):
    """A level in the making. plan: of the rooms (`minigrid.engine.rooms`); things (k, 3): what lies in the rooms, in the order in
    which it came; num_things (1,): how many; settings: of the generator."""

    stream: np.ndarray
    cells: np.ndarray
    agent: np.ndarray
    marks: np.ndarray
    shape: tuple[int, int, int, int]
    plan: np.ndarray
    things: np.ndarray
    num_things: np.ndarray
    settings: np.ndarray


def levels_of(mission: Callable[[Level], bool]) -> Callable[..., None]:
    """A generator of levels with this mission: `_levels` with it."""
    return of_its_own(_levels, mission=mission)


def _levels(rows, rng, grid, agent, marks, shape, settings):
    plan = np.empty((settings[ROWS] * settings[COLS], 9), np.int64)
    things, num_things = np.empty((shape[0] * shape[1], 3), np.int64), np.empty(1, np.int64)
    for row in rows:
        level = Level(rng[row], grid[row], agent[row], marks[row], shape, plan, things, num_things, settings)
        stands = False
        while not stands:
            try:
                begin_level(level)
                stands = mission(level) and end_level(level)  # type: ignore[name-defined]  # noqa: F821 (see levels_of)
            except Exception:  # RecursionError after many vain draws: MiniGrid begins again, too
                stands = False


@njit(cache=True, nogil=True)
def begin_level(level):
    settings = level.settings
    lay_rooms(level.stream, level.cells, level.agent, level.shape, settings[SIZE], settings[ROWS], settings[COLS], level.plan)
    level.agent[ORDER:] = 0
    level.num_things[0] = 0


@njit(cache=True, nogil=True)
def end_level(level):
    """RoomGridLevel.validate_instrs for PutNext, and the limit of steps."""
    settings, agent = level.settings, level.agent
    mark_level(level.cells, agent, level.marks, level.shape, settings[SIZE])
    navigations = 0
    for k in range(NUM_CLAUSES):
        kind = agent[CLAUSES + CLAUSE_COLUMNS * k + KIND]
        navigations += num_descriptions(kind)
        if kind == PUT_NEXT and are_mixed(level.marks[MEMBERS], 1 << 2 * k, level.shape[2]):
            return False
    maze = settings[SIZE] * settings[SIZE] * settings[ROWS] * settings[COLS]
    agent[LIMIT] = settings[STEP_LIMIT] if settings[STEP_LIMIT] >= 0 else navigations * maze
    return True


@njit(cache=True, nogil=True)
def are_mixed(members, first, stride):
    """Whether an object is both the one to move (bit `first`) and the fixed one (the bit after), or two such are neighbours."""
    second = first << 1
    for at in range(len(members)):
        if members[at] & first:
            if members[at] & second:
                return True
            for step in (1, -1, stride, -stride):
                if members[at + step] & second:
                    return True
    return False


# RoomGrid's methods


@njit(cache=True, nogil=True)
def room_of(level, i, j):
    return j * level.settings[COLS] + i


@njit(cache=True, nogil=True)
def agents_room(level):
    at, shape, size = level.agent[POSITION], level.shape, level.settings[SIZE]
    return room_of(level, (at % shape[2] - shape[3]) // (size - 1), (at // shape[2] - shape[3]) // (size - 1))


@njit(cache=True, nogil=True)
def a_color(level):
    return COLORS[below(level.stream, 0, NUM_COLORS)]


@njit(cache=True, nogil=True)
def is_heads(level):
    """`_rand_bool`"""
    return below(level.stream, 0, 2) == 0


@njit(cache=True, nogil=True)
def put(level, i, j, code, what, color):
    """place_in_room; returns the number of the thing."""
    k = level.num_things[0]
    at = lay_object(level.stream, level.cells, level.agent, level.shape, level.settings[SIZE], i, j, code)
    level.things[k, WHAT], level.things[k, COLOR], level.things[k, PLACE] = what, color, at
    level.num_things[0] = k + 1
    return k


@njit(cache=True, nogil=True)
def add_object(level, i, j, what, color):
    """add_object, of a RANDOM kind and colour if asked for; returns the number of the thing."""
    if what == RANDOM:
        what = A_KEY + below(level.stream, 0, 3)
    if color == RANDOM:
        color = a_color(level)
    return put(level, i, j, BASE[what] + color, what, color)


@njit(cache=True, nogil=True)
def add_distractors(level, i, j, number, all_unique):
    """add_distractors, each in a room of its own if i, j are RANDOM; returns the number of the first."""
    start = level.num_things[0]
    while level.num_things[0] < start + number:
        color = a_color(level)
        what = A_KEY + below(level.stream, 0, 3)
        if all_unique and is_there(level, what, color):
            continue
        room_i = below(level.stream, 0, level.settings[COLS]) if i == RANDOM else i
        room_j = below(level.stream, 0, level.settings[ROWS]) if j == RANDOM else j
        add_object(level, room_i, room_j, what, color)
    return start


@njit(cache=True, nogil=True)
def is_there(level, what, color):
    for k in range(level.num_things[0]):
        if level.things[k, WHAT] == what and level.things[k, COLOR] == color:
            return True
    return False


@njit(cache=True, nogil=True)
def open_wall(level, i, j, wall, color, is_locked):
    """add_door, in a RANDOM wall and colour if asked for; returns the door's position."""
    room = room_of(level, i, j)
    while wall == RANDOM:
        drawn = below(level.stream, 0, 4)
        if level.plan[room, drawn] > 0 and not level.plan[room, 4 + drawn]:
            wall = drawn
    if color == RANDOM:
        color = a_color(level)
    return add_door(level.cells, level.plan, level.settings[COLS], room, wall, color, is_locked)


@njit(cache=True, nogil=True)
def door_color(level, door):
    return (level.cells[door] - DOOR_OPEN) % NUM_COLORS


@njit(cache=True, nogil=True)
def remove_right_wall(level, i, j):
    """remove_wall(i, j, 0)"""
    size, room = level.settings[SIZE], room_of(level, i, j)
    for k in range(1, size - 1):
        level.cells[position(level.shape, (i + 1) * (size - 1), j * (size - 1) + k)] = EMPTY
    level.plan[room, 4] = level.plan[room + 1, 4 + 2] = 1


@njit(cache=True, nogil=True)
def remove_upper_wall(level, i, j):
    """remove_wall(i, j, 3)"""
    size, room = level.settings[SIZE], room_of(level, i, j)
    for k in range(1, size - 1):
        level.cells[position(level.shape, i * (size - 1) + k, j * (size - 1))] = EMPTY
    level.plan[room, 4 + 3] = level.plan[room - level.settings[COLS], 4 + 1] = 1


@njit(cache=True, nogil=True)
def place_agent(level, i, j):
    if i == RANDOM:
        i = below(level.stream, 0, level.settings[COLS])
    if j == RANDOM:
        j = below(level.stream, 0, level.settings[ROWS])
    enter_room(level.stream, level.cells, level.agent, level.shape, level.settings[SIZE], i, j)


@njit(cache=True, nogil=True)
def place_agent_outside(level, room):
    """Anywhere but in this room."""
    place_agent(level, RANDOM, RANDOM)
    while agents_room(level) == room:
        place_agent(level, RANDOM, RANDOM)


@njit(cache=True, nogil=True)
def connect(level, barred):
    """connect_all from the agent's room, without doors of the colour `barred` (RANDOM: of any colour)."""
    settings = level.settings
    connect_all(level.stream, level.cells, level.plan, settings[ROWS], settings[COLS], agents_room(level), barred)


@njit(cache=True, nogil=True)
def are_reachable(level):
    """check_objs_reachable: whether the agent could walk up to every object and door, all doors being open."""
    cells, stride = level.cells, level.shape[2]
    reached = np.zeros(len(cells), np.bool_)
    stack = np.empty(len(cells), np.int64)
    stack[0], height = level.agent[POSITION], 1
    reached[stack[0]] = True
    while height > 0:
        height -= 1
        at = stack[height]
        if cells[at] == EMPTY or DOOR_OPEN <= cells[at] < WALL:
            for step in (1, -1, stride, -stride):
                if not reached[at + step]:
                    reached[at + step] = True
                    stack[height] = at + step
                    height += 1
    for at in range(len(cells)):
        if (DOOR_OPEN <= cells[at] < WALL or cells[at] >= KEY) and not reached[at]:
            return False
    return True


# Instructions


@njit(cache=True, nogil=True)
def the(what, color):
    """ObjDesc(what, color), the colour RANDOM for none."""
    return description(what, 0 if color == RANDOM else 1 + color, ANYWHERE)


@njit(cache=True, nogil=True)
def the_thing(level, k):
    return the(level.things[k, WHAT], level.things[k, COLOR])


@njit(cache=True, nogil=True)
def one_of(level, first, last):
    """A thing at random, of those numbered first to last - 1."""
    return below(level.stream, first, last)


@njit(cache=True, nogil=True)
def two_of(level, first, last):
    """Two things at random (_rand_subset)."""
    one, other = below(level.stream, first, last), below(level.stream, first, last - 1)
    return one, other + (other >= one)


@njit(cache=True, nogil=True)
def tell(level, k, kind, first, second, strict):
    """Writes clause k; returns true, so that a mission may end with it."""
    clause = level.agent[CLAUSES + CLAUSE_COLUMNS * k : CLAUSES + CLAUSE_COLUMNS * (k + 1)]
    clause[KIND], clause[FIRST], clause[SECOND], clause[CLAUSE_STRICT] = kind, first, second, strict
    return True
