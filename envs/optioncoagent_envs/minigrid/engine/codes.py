"""One byte for a cell of a compiled grid, one word for what a cell looks like.

A *code* (uint8) is all that MiniGrid's rules ask about a cell: what it is, its colour, whether a door is open, closed
or locked, which key a box holds, whether this object is the one to be picked up (`rules.pick_up_named`). Codes are ordered so that
every question of the rules is one comparison:

    1 .. 20   the agent may enter (empty, floor, goal, lava, open door)
    21 .. 38  light does not pass (closed and locked doors, walls)
    39 ..     the agent may pick up (key, ball, box)

A *word* (uint32) is what an observation shows of a cell: MiniGrid's three bytes (object, colour, state) and, in bit 24,
whether one sees past it. `WORDS[code]` is the word of a code.
"""

from __future__ import annotations

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, IDX_TO_COLOR, OBJECT_TO_IDX
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall, WorldObj

from optioncoagent_envs.compiling import njit

NUM_COLORS = 6
EMPTY = 1
FLOOR = 2
GOAL = 8
LAVA = 14
DOOR_OPEN = 15
DOOR_CLOSED = 21
DOOR_LOCKED = 27
WALL = 33
KEY = 39  # + colour, + NAMED if it is to be picked up
BALL = 51
BOX = 63  # + colour + 6 * (0 if empty, 1 + colour of the key inside), + BOX_NAMED if it is to be picked up
NUM_CODES = 147
NAMED = 6
BOX_NAMED = 42
GREY_WALL = WALL + COLOR_TO_IDX["grey"]

TRANSPARENT = 1 << 24


def word_of(obj: WorldObj | None) -> int:
    """The word of any MiniGrid object, also of a user's own class: what it encodes to, and whether one sees past it."""
    if obj is None:
        return OBJECT_TO_IDX["empty"] | TRANSPARENT
    kind, color, state = obj.encode()
    return int(kind) | int(color) << 8 | int(state) << 16 | (TRANSPARENT if obj.see_behind() else 0)


def code_of(obj: WorldObj | None, named: bool = False) -> int:
    """The code of one of MiniGrid's own objects; ValueError if no code says all there is to say about it."""
    if obj is None:
        return EMPTY
    if obj.contains is not None and not (type(obj) is Box and type(obj.contains) is Key and obj.contains.contains is None):
        raise ValueError(f"a {obj.type} that contains a {obj.contains.type} has no compiled code")
    color = _color_of(obj)
    if type(obj) is Door:
        if obj.is_open and obj.is_locked:
            raise ValueError(f"a {obj.color} door that is both open and locked has no compiled code")
        return (DOOR_OPEN if obj.is_open else DOOR_LOCKED if obj.is_locked else DOOR_CLOSED) + color
    if type(obj) is Box:
        inside = 0 if obj.contains is None else 1 + _color_of(obj.contains)
        return BOX + color + NUM_COLORS * inside + BOX_NAMED * named
    if type(obj) in (Key, Ball):
        return (KEY if type(obj) is Key else BALL) + color + NAMED * named
    if type(obj) is Lava and obj.color == "red":
        return LAVA
    plain: dict[type, int] = {Floor: FLOOR, Goal: GOAL, Wall: WALL}
    if type(obj) not in plain:
        raise ValueError(f"a {obj.color} {type(obj).__qualname__} has no compiled code")
    return plain[type(obj)] + color


def _color_of(obj: WorldObj) -> int:
    color = COLOR_TO_IDX.get(obj.color, NUM_COLORS)
    if color >= NUM_COLORS:
        raise ValueError(f"a {obj.type} of the colour {obj.color!r} has no compiled code")
    return color


def object_of(code: int) -> WorldObj | None:
    """A new MiniGrid object that the code stands for; None for an empty cell."""
    if code == EMPTY:
        return None
    if code == LAVA:
        return Lava()
    if not EMPTY < code < NUM_CODES:
        raise ValueError(f"{code} is not a cell code")
    if code >= BOX:
        inside, color = divmod((code - BOX) % BOX_NAMED, NUM_COLORS)
        return Box(IDX_TO_COLOR[color], Key(IDX_TO_COLOR[inside - 1]) if inside else None)
    base, make = max((base, make) for base, make in _SIMPLE if base <= code)
    return make(IDX_TO_COLOR[(code - base) % NUM_COLORS])


@njit(cache=True, nogil=True)
def is_named(code):
    """Whether the code marks the object that is to be picked up (`rules.pick_up_named`)."""
    return code >= BOX + BOX_NAMED if code >= BOX else code >= KEY and (code - KEY) // NAMED % 2 == 1


@njit(cache=True, nogil=True)
def is_open(code):
    """Whether a cell holds an open door."""
    return DOOR_OPEN <= code < DOOR_CLOSED


_SIMPLE = (
    (FLOOR, Floor),
    (GOAL, Goal),
    (DOOR_OPEN, lambda color: Door(color, is_open=True)),
    (DOOR_CLOSED, Door),
    (DOOR_LOCKED, lambda color: Door(color, is_locked=True)),
    (WALL, Wall),
    (KEY, Key),
    (BALL, Ball),
)

WORDS = np.zeros(256, np.uint32)  # what is unseen (0), and what is no code, is the zero word
WORDS[EMPTY:NUM_CODES] = [word_of(object_of(code)) for code in range(EMPTY, NUM_CODES)]
