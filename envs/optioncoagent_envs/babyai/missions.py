"""BabyAI's missions, each drawn as the `gen_mission` of the class that it is named after (see `levels`)."""

from __future__ import annotations

import numpy as np

from optioncoagent_envs.babyai.levels import (
    BASE,
    BLUE,
    COLOR,
    COLS,
    GREY,
    OWN,
    PLACE,
    RANDOM,
    RED,
    ROWS,
    WHAT,
    a_color,
    add_distractors,
    add_object,
    are_reachable,
    connect,
    door_color,
    is_heads,
    is_there,
    one_of,
    open_wall,
    place_agent,
    place_agent_outside,
    put,
    remove_right_wall,
    remove_upper_wall,
    room_of,
    tell,
    the,
    the_thing,
    two_of,
)
from optioncoagent_envs.babyai.verifier import (
    A_BALL,
    A_BOX,
    A_DOOR,
    A_KEY,
    AFTER,
    ANYTHING,
    BEFORE,
    GO_TO,
    OPEN_DOOR,
    ORDER,
    PICKING_UP,
    PUT_NEXT,
    description,
)
from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, DOOR_CLOSED, DOOR_LOCKED, DOOR_OPEN, NUM_COLORS
from optioncoagent_envs.minigrid.engine.levels import draw_colors
from optioncoagent_envs.minigrid.engine.random import below

# Missions: go to


@njit(cache=True, nogil=True)
def go_to_red_ball(level):
    """GoToRedBall, GoToRedBallNoDists, GoToRedBallGrey; settings: number of distractors, whether they are grey."""
    place_agent(level, RANDOM, RANDOM)
    add_object(level, 0, 0, A_BALL, RED)
    first = add_distractors(level, RANDOM, RANDOM, level.settings[OWN], False)
    if level.settings[OWN + 1]:
        for k in range(first, level.num_things[0]):
            level.cells[level.things[k, PLACE]] = BASE[level.things[k, WHAT]] + GREY
    return are_reachable(level) and tell(level, 0, GO_TO, the(A_BALL, RED), 0, False)


@njit(cache=True, nogil=True)
def go_to_obj(level):
    place_agent(level, RANDOM, RANDOM)
    return tell(level, 0, GO_TO, the_thing(level, add_distractors(level, RANDOM, RANDOM, 1, True)), 0, False)


@njit(cache=True, nogil=True)
def go_to_local(level):
    """GoToLocal; settings: number of distractors."""
    place_agent(level, RANDOM, RANDOM)
    first = add_distractors(level, RANDOM, RANDOM, level.settings[OWN], False)
    if not are_reachable(level):
        return False
    return tell(level, 0, GO_TO, the_thing(level, one_of(level, first, level.num_things[0])), 0, False)


@njit(cache=True, nogil=True)
def go_to(level):
    """GoTo; settings: number of distractors, whether all doors are open."""
    place_agent(level, RANDOM, RANDOM)
    connect(level, RANDOM)
    first = add_distractors(level, RANDOM, RANDOM, level.settings[OWN], False)
    if not are_reachable(level):
        return False
    target = one_of(level, first, level.num_things[0])
    if level.settings[OWN + 1]:
        for at in range(len(level.cells)):
            if DOOR_CLOSED <= level.cells[at] < DOOR_LOCKED:
                level.cells[at] -= DOOR_CLOSED - DOOR_OPEN
    return tell(level, 0, GO_TO, the_thing(level, target), 0, False)


@njit(cache=True, nogil=True)
def lock_a_room(level):
    """A locked room, and its key anywhere; returns column and row of the room, and the door.

    MiniGrid means to lay the key, and distractors, outside the room, but compares NumPy's integers with `is`.
    """
    i, j = below(level.stream, 0, level.settings[COLS]), below(level.stream, 0, level.settings[ROWS])
    door = open_wall(level, i, j, RANDOM, RANDOM, True)
    key_i, key_j = below(level.stream, 0, level.settings[COLS]), below(level.stream, 0, level.settings[ROWS])
    add_object(level, key_i, key_j, A_KEY, door_color(level, door))
    return i, j, door


@njit(cache=True, nogil=True)
def fill_rooms(level, number):
    for i in range(level.settings[COLS]):
        for j in range(level.settings[ROWS]):
            add_distractors(level, i, j, number, False)


@njit(cache=True, nogil=True)
def go_to_imp_unlock(level):
    i, j, _ = lock_a_room(level)
    connect(level, RANDOM)
    fill_rooms(level, 2)
    place_agent_outside(level, room_of(level, i, j))
    if not are_reachable(level):
        return False
    return tell(level, 0, GO_TO, the_thing(level, add_distractors(level, i, j, 1, False)), 0, False)


@njit(cache=True, nogil=True)
def go_to_red_blue_ball(level):
    """GoToRedBlueBall; settings: number of distractors."""
    place_agent(level, RANDOM, RANDOM)
    add_distractors(level, RANDOM, RANDOM, level.settings[OWN], False)
    if is_there(level, A_BALL, RED) or is_there(level, A_BALL, BLUE):
        return False
    color = RED if below(level.stream, 0, 2) == 0 else BLUE
    add_object(level, 0, 0, A_BALL, color)
    return are_reachable(level) and tell(level, 0, GO_TO, the(A_BALL, color), 0, False)


@njit(cache=True, nogil=True)
def go_to_door(level):
    doors = np.empty(4, np.int64)
    for k in range(4):
        doors[k] = door_with_random_lock(level)
    place_agent(level, 1, 1)
    return tell(level, 0, GO_TO, the(A_DOOR, door_color(level, doors[below(level.stream, 0, 4)])), 0, False)


@njit(cache=True, nogil=True)
def door_with_random_lock(level):
    """add_door(1, 1), which draws wall, colour and lock in this order."""
    door = open_wall(level, 1, 1, RANDOM, RANDOM, False)
    if is_heads(level):
        level.cells[door] += DOOR_LOCKED - DOOR_CLOSED
        level.plan[room_of(level, 1, 1), 8] = 1
    return door


@njit(cache=True, nogil=True)
def go_to_obj_door(level):
    place_agent(level, 1, 1)
    add_distractors(level, 1, 1, 8, False)
    doors = np.empty(4, np.int64)
    for k in range(4):
        doors[k] = door_with_random_lock(level)
    if not are_reachable(level):
        return False
    k = below(level.stream, 0, 12)
    return tell(level, 0, GO_TO, the_thing(level, k) if k < 8 else the(A_DOOR, door_color(level, doors[k - 8])), 0, False)


# Missions: open


@njit(cache=True, nogil=True)
def open_any(level):
    """Open"""
    place_agent(level, RANDOM, RANDOM)
    connect(level, RANDOM)
    add_distractors(level, RANDOM, RANDOM, 18, False)
    if not are_reachable(level):
        return False
    doors, count = np.empty(4 * len(level.plan), np.int64), 0  # each once for each of its rooms
    for i in range(level.settings[COLS]):
        for j in range(level.settings[ROWS]):
            for wall in range(4):
                if level.plan[room_of(level, i, j), 4 + wall]:
                    doors[count] = level.plan[room_of(level, i, j), wall]
                    count += 1
    return tell(level, 0, OPEN_DOOR, the(A_DOOR, door_color(level, doors[below(level.stream, 0, count)])), 0, False)


@njit(cache=True, nogil=True)
def open_red_door(level):
    open_wall(level, 0, 0, 0, RED, False)
    place_agent(level, 0, 0)
    return tell(level, 0, OPEN_DOOR, the(A_DOOR, RED), 0, False)


@njit(cache=True, nogil=True)
def open_door(level):
    """OpenDoor; settings: by which it is described (0 colour, 1 location, RANDOM either), strict."""
    colors = draw_colors(level.stream, 4)
    for wall in range(4):
        open_wall(level, 1, 1, wall, colors[wall], False)
    by = level.settings[OWN]
    if by == RANDOM:
        by = below(level.stream, 0, 2)
    if by == 0:
        door = the(A_DOOR, colors[0])
    else:
        door = description(A_DOOR, 0, 1 + below(level.stream, 0, 4))
    place_agent(level, 1, 1)
    return tell(level, 0, OPEN_DOOR, door, 0, level.settings[OWN + 1])


@njit(cache=True, nogil=True)
def open_two_doors(level):
    """OpenTwoDoors; settings: colours of the first and the second door (RANDOM for drawn ones), strict."""
    colors = draw_colors(level.stream, 2)
    for k in range(2):
        if level.settings[OWN + k] != RANDOM:
            colors[k] = level.settings[OWN + k]
    open_wall(level, 1, 1, 2, colors[0], False)
    open_wall(level, 1, 1, 0, colors[1], False)
    place_agent(level, 1, 1)
    level.agent[ORDER] = BEFORE
    tell(level, 0, OPEN_DOOR, the(A_DOOR, colors[0]), 0, level.settings[OWN + 2])
    return tell(level, 2, OPEN_DOOR, the(A_DOOR, colors[1]), 0, False)


@njit(cache=True, nogil=True)
def open_doors_order(level):
    """OpenDoorsOrder; settings: number of doors, strict."""
    number, strict = level.settings[OWN], level.settings[OWN + 1]
    colors = draw_colors(level.stream, number)
    for k in range(number):
        open_wall(level, 1, 1, RANDOM, colors[k], False)
    place_agent(level, 1, 1)
    one, other = two_of(level, 0, number)
    mode = below(level.stream, 0, 3)
    tell(level, 0, OPEN_DOOR, the(A_DOOR, colors[one]), 0, strict)
    if mode > 0:
        level.agent[ORDER] = BEFORE if mode == 1 else AFTER
        tell(level, 2, OPEN_DOOR, the(A_DOOR, colors[other]), 0, strict)
    return True


# Missions: pick up


@njit(cache=True, nogil=True)
def pickup(level):
    """Pickup, UnblockPickup; settings: number of distractors, whether some object must be out of reach."""
    place_agent(level, RANDOM, RANDOM)
    connect(level, RANDOM)
    first = add_distractors(level, RANDOM, RANDOM, level.settings[OWN], False)
    if are_reachable(level) == level.settings[OWN + 1]:
        return False
    return tell(level, 0, PICKING_UP, the_thing(level, one_of(level, first, level.num_things[0])), 0, False)


@njit(cache=True, nogil=True)
def pickup_dist(level):
    """PickupDist; settings: strict."""
    first = add_distractors(level, RANDOM, RANDOM, 5, True)
    place_agent(level, 0, 0)
    target = one_of(level, first, level.num_things[0])
    by = below(level.stream, 0, 3)  # type, colour, both
    what = ANYTHING if by == 1 else level.things[target, WHAT]
    wanted = the(what, RANDOM if by == 0 else level.things[target, COLOR])
    return tell(level, 0, PICKING_UP, wanted, 0, level.settings[OWN])


@njit(cache=True, nogil=True)
def pickup_above(level):
    target = add_object(level, 1, 0, RANDOM, RANDOM)
    open_wall(level, 1, 1, 3, RANDOM, False)
    place_agent(level, 1, 1)
    connect(level, RANDOM)
    return tell(level, 0, PICKING_UP, the_thing(level, target), 0, False)


@njit(cache=True, nogil=True)
def find_obj(level):
    """FindObjS5"""
    i, j = below(level.stream, 0, level.settings[ROWS]), below(level.stream, 0, level.settings[COLS])
    target = add_object(level, i, j, RANDOM, RANDOM)
    place_agent(level, 1, 1)
    connect(level, RANDOM)
    return tell(level, 0, PICKING_UP, the(level.things[target, WHAT], RANDOM), 0, False)


@njit(cache=True, nogil=True)
def one_room(level):
    """OneRoomS8"""
    add_object(level, 0, 0, A_BALL, RANDOM)
    place_agent(level, RANDOM, RANDOM)
    return tell(level, 0, PICKING_UP, the(A_BALL, RANDOM), 0, False)


@njit(cache=True, nogil=True)
def key_corridor(level):
    """BabyAI's KeyCorridor; settings: what is to be picked up."""
    rows = level.settings[ROWS]
    for j in range(1, rows):
        remove_upper_wall(level, 1, j)
    j = below(level.stream, 0, rows)
    door = open_wall(level, 2, j, 2, RANDOM, True)
    add_object(level, 2, j, level.settings[OWN], RANDOM)
    add_object(level, 0, below(level.stream, 0, rows), A_KEY, door_color(level, door))
    place_agent(level, 1, rows // 2)
    connect(level, RANDOM)
    return tell(level, 0, PICKING_UP, the(level.settings[OWN], RANDOM), 0, False)


# Missions: put next


@njit(cache=True, nogil=True)
def put_next_local(level):
    """PutNextLocal; settings: number of objects."""
    place_agent(level, RANDOM, RANDOM)
    first = add_distractors(level, RANDOM, RANDOM, level.settings[OWN], True)
    if not are_reachable(level):
        return False
    one, other = two_of(level, first, level.num_things[0])
    return tell(level, 0, PUT_NEXT, the_thing(level, one), the_thing(level, other), False)


@njit(cache=True, nogil=True)
def two_rooms_of_objects(level):
    """As many different objects as the settings say in each of two rooms, then the wall between them is taken away."""
    number = level.settings[OWN]
    place_agent(level, 0, 0)
    add_distractors(level, 0, 0, number, True)
    add_distractors(level, 1, 0, number, True)
    remove_right_wall(level, 0, 0)
    return number


@njit(cache=True, nogil=True)
def put_next(level):
    """PutNext; settings: number of objects in each room."""
    number = two_rooms_of_objects(level)
    one, other = one_of(level, 0, number), one_of(level, number, 2 * number)
    if is_heads(level):
        one, other = other, one
    return tell(level, 0, PUT_NEXT, the_thing(level, one), the_thing(level, other), False)


@njit(cache=True, nogil=True)
def move_two_across(level):
    """MoveTwoAcross; settings: number of objects in each room."""
    number = two_rooms_of_objects(level)
    a, d = two_of(level, 0, number)
    b, c = two_of(level, number, 2 * number)
    level.agent[ORDER] = BEFORE
    tell(level, 0, PUT_NEXT, the_thing(level, a), the_thing(level, b), False)
    return tell(level, 2, PUT_NEXT, the_thing(level, c), the_thing(level, d), False)


# Missions: unlock, and either of several


@njit(cache=True, nogil=True)
def unlock(level):
    i, j, door = lock_a_room(level)
    color = door_color(level, door)
    connect(level, color if is_heads(level) else RANDOM)
    fill_rooms(level, 3)
    place_agent_outside(level, room_of(level, i, j))
    return are_reachable(level) and tell(level, 0, OPEN_DOOR, the(A_DOOR, color), 0, False)


@njit(cache=True, nogil=True)
def unlock_local(level):
    """UnlockLocal, KeyInBox; settings: number of distractors, whether the key is in a box."""
    color = door_color(level, open_wall(level, 1, 1, RANDOM, RANDOM, True))
    if level.settings[OWN + 1]:
        box = a_color(level)
        put(level, 1, 1, BOX + box + NUM_COLORS * (1 + color), A_BOX, box)
    else:
        add_object(level, 1, 1, A_KEY, color)
    add_distractors(level, 1, 1, level.settings[OWN], True)
    place_agent(level, 1, 1)
    return tell(level, 0, OPEN_DOOR, the(A_DOOR, RANDOM), 0, False)


@njit(cache=True, nogil=True)
def unlock_pickup(level):
    """UnlockPickup, BlockedUnlockPickup; settings: number of distractors, whether a ball blocks the door."""
    target = add_object(level, 1, 0, A_BOX, RANDOM)
    door = open_wall(level, 0, 0, 0, RANDOM, True)
    if level.settings[OWN + 1]:
        level.cells[door - 1] = BALL + a_color(level)
    add_object(level, 0, 0, A_KEY, door_color(level, door))
    add_distractors(level, RANDOM, RANDOM, level.settings[OWN], True)
    place_agent(level, 0, 0)
    wanted = the(A_BOX, RANDOM if level.settings[OWN + 1] else level.things[target, COLOR])
    return tell(level, 0, PICKING_UP, wanted, 0, False)


@njit(cache=True, nogil=True)
def unlock_to_unlock(level):
    colors = draw_colors(level.stream, 2)
    open_wall(level, 0, 0, 0, colors[0], True)
    add_object(level, 2, 0, A_KEY, colors[0])
    open_wall(level, 1, 0, 0, colors[1], True)
    add_object(level, 1, 0, A_KEY, colors[1])
    add_object(level, 0, 0, A_BALL, RANDOM)
    place_agent(level, 1, 0)
    return tell(level, 0, PICKING_UP, the(A_BALL, RANDOM), 0, False)


@njit(cache=True, nogil=True)
def action_obj_door(level):
    add_distractors(level, 1, 1, 5, True)
    doors = np.empty(4, np.int64)
    for k in range(4):
        doors[k] = open_wall(level, 1, 1, RANDOM, RANDOM, False)
    place_agent(level, 1, 1)
    k = below(level.stream, 0, 9)
    kind = GO_TO if is_heads(level) else PICKING_UP if k < 5 else OPEN_DOOR
    return tell(level, 0, kind, the_thing(level, k) if k < 5 else the(A_DOOR, door_color(level, doors[k - 5])), 0, False)
