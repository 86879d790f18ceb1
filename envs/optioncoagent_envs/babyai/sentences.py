"""BabyAI's LevelGen, which makes sentences of up to four clauses (see `levels`)."""

from __future__ import annotations

import numpy as np

from optioncoagent_envs.babyai.levels import (
    COLS,
    OWN,
    RANDOM,
    ROWS,
    SIZE,
    add_distractors,
    add_object,
    are_reachable,
    connect,
    door_color,
    is_heads,
    open_wall,
    place_agent_outside,
    room_of,
    tell,
    the,
)
from optioncoagent_envs.babyai.verifier import (
    A_BALL,
    A_BOX,
    A_DOOR,
    A_KEY,
    AFTER,
    BEFORE,
    CLAUSE_COLUMNS,
    CLAUSES,
    FIRST,
    GO_TO,
    KIND,
    MEMBERS,
    NUM_CLAUSES,
    OPEN_DOOR,
    ORDER,
    PICKING_UP,
    PUT_NEXT,
    described,
    description,
    mark_fitting,
    num_descriptions,
)
from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import DOOR_LOCKED, NUM_COLORS
from optioncoagent_envs.minigrid.engine.levels import COLORS
from optioncoagent_envs.minigrid.engine.random import below, next64
from optioncoagent_envs.minigrid.engine.rows import position

# Settings of its own:
DISTRACTORS, LOCKED, LOCATIONS, UNBLOCKING, IMPLICIT_UNLOCK, ACTIONS, SENTENCES = range(OWN, OWN + 7)
# LOCKED: the probability of a locked room in units of 2**-53; ACTIONS, SENTENCES: lists of LONGEST at most, as digits to the base LIST
LIST, LONGEST = 8, 20
ACTION, AND, SEQUENCE = 1, 2, 3
CLAUSES_CALLED = {"goto": GO_TO, "pickup": PICKING_UP, "open": OPEN_DOOR, "putnext": PUT_NEXT}
SENTENCES_CALLED = {"action": ACTION, "and": AND, "seq": SEQUENCE}
OBJECTS = np.array([A_BOX, A_BALL, A_KEY, A_DOOR])  # in the order in which BabyAI draws them


@njit(cache=True, nogil=True)
def any_sentence(level):
    """LevelGen"""
    settings = level.settings
    locked = RANDOM
    if np.int64(next64(level.stream) >> np.uint64(11)) < settings[LOCKED]:
        locked = add_locked_room(level)
    connect(level, RANDOM)
    add_distractors(level, RANDOM, RANDOM, settings[DISTRACTORS], False)
    place_agent_outside(level, locked)
    if not settings[UNBLOCKING] and not are_reachable(level):
        return False
    sentence = listed(level, settings[SENTENCES])
    if sentence == SEQUENCE:
        for group in range(2):
            say(level, 2 * group, ACTION if below(level.stream, 0, 2) == 0 else AND, locked)
        level.agent[ORDER] = BEFORE if below(level.stream, 0, 2) == 0 else AFTER
    else:
        say(level, 0, sentence, locked)
    return not settings[UNBLOCKING] or not asks_for_a_needed_key(level)


@njit(cache=True, nogil=True)
def add_locked_room(level):
    """add_locked_room; returns the room."""
    stream, settings = level.stream, level.settings
    while True:
        i, j, wall = below(stream, 0, settings[COLS]), below(stream, 0, settings[ROWS]), below(stream, 0, 4)
        room = room_of(level, i, j)
        if level.plan[room, wall] > 0:
            break
    door = open_wall(level, i, j, wall, RANDOM, True)
    while True:
        i, j = below(stream, 0, settings[COLS]), below(stream, 0, settings[ROWS])
        if room_of(level, i, j) != room:
            add_object(level, i, j, A_KEY, door_color(level, door))
            return room


@njit(cache=True, nogil=True)
def listed(level, digits):
    """One of a list at random."""
    length, rest = 0, digits
    while rest > 0:
        length, rest = length + 1, rest // LIST
    return digits // LIST ** below(level.stream, 0, length) % LIST


@njit(cache=True, nogil=True)
def say(level, k, sentence, locked):
    """rand_instr for an action, or two of them from clause k on."""
    for clause in range(k, k + (2 if sentence == AND else 1)):
        kind = listed(level, level.settings[ACTIONS])
        if kind == OPEN_DOOR:
            tell(level, clause, kind, an_object(level, 3, 4, locked), 0, False)
        elif kind == GO_TO:
            tell(level, clause, kind, an_object(level, 0, 4, locked), 0, False)
        elif kind == PICKING_UP:
            tell(level, clause, kind, an_object(level, 0, 3, locked), 0, False)
        else:
            first = an_object(level, 0, 3, locked)
            tell(level, clause, kind, first, an_object(level, 0, 4, locked), False)


@njit(cache=True, nogil=True)
def an_object(level, low, high, locked):
    """rand_obj: a description that fits some object, of OBJECTS low to high - 1."""
    stream, settings = level.stream, level.settings
    avoided = RANDOM if settings[IMPLICIT_UNLOCK] else locked
    for _ in range(101):
        drawn = below(stream, 0, 1 + NUM_COLORS)
        color = RANDOM if drawn == 0 else COLORS[drawn - 1]
        number = the(OBJECTS[below(stream, low, high)], color)
        if settings[LOCATIONS] and is_heads(level):
            what, color_number, _ = described(number)
            number = description(what, color_number, 1 + below(stream, 0, 4))
        if count_fitting(level, number, avoided) > 0:
            return number
    raise RecursionError("failed to find suitable object")


@njit(cache=True, nogil=True)
def count_fitting(level, number, avoided):
    """How many objects outside the room `avoided` fit."""
    members, size, shape = level.marks[MEMBERS], level.settings[SIZE], level.shape
    members[:] = 0
    count = mark_fitting(level.cells, level.agent, members, number, 1, shape, size)
    if avoided != RANDOM:
        left, top = avoided % level.settings[COLS] * (size - 1), avoided // level.settings[COLS] * (size - 1)
        for y in range(top, top + size):
            for x in range(left, left + size):
                count -= members[position(shape, x, y)]
    return count


@njit(cache=True, nogil=True)
def asks_for_a_needed_key(level):
    """Whether a clause names a key of the colour of a locked door (validate_instrs)."""
    for k in range(NUM_CLAUSES):
        clause = CLAUSES + CLAUSE_COLUMNS * k
        for part in range(num_descriptions(level.agent[clause + KIND])):
            what, color, _ = described(level.agent[clause + FIRST + part])
            if what == A_KEY and color > 0:
                for at in range(len(level.cells)):
                    if level.cells[at] == DOOR_LOCKED + color - 1:
                        return True
    return False
