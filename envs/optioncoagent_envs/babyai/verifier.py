"""BabyAI's instructions, compiled: what an environment is told to do, and the verifier that says whether it is done.

An instruction is up to four clauses, two in each of two groups: the clauses of a group may be done in any order
("and"), the groups one after the other ("then", "after you"). It fills the columns of `agent` from ORDER on:

    ORDER          ALL: one group only; BEFORE, AFTER: the second group follows the first, or precedes it
    STRICT         whether to complete the later group first is a failure
    CARRIED_MARK   the marks of what the agent carries
    CLAUSES        for each clause: KIND, CLAUSE_STRICT, FIRST and SECOND (descriptions of objects), IS_DONE, and KNOWS:
                   whether it has been verified before, and so knows what the agent carried last

BabyAI asks for objects by identity: those that fitted a description when the episode began. `marks` (n, 2, cells) uint8
holds them, bit 2k for FIRST of clause k, bit 2k + 1 for SECOND: of the object that lies in a cell (MEMBERS), and of the
cells where the verifier believes such objects to lie (PLACES), which it looks up at the beginning and after each drop.
"""

from __future__ import annotations

import numpy as np

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, DOOR_OPEN, EMPTY, KEY, NUM_COLORS, WALL, is_open
from optioncoagent_envs.minigrid.engine.rows import AGENT_COLUMNS, CARRIED, DIRECTION, POSITION, position
from optioncoagent_envs.minigrid.engine.rules import DROP, FAILED, GOING_ON, PICK_UP, SUCCESS, TOGGLE, act, ahead

ORDER, STRICT, CARRIED_MARK, CLAUSES = range(AGENT_COLUMNS, AGENT_COLUMNS + 4)
KIND, CLAUSE_STRICT, FIRST, SECOND, IS_DONE, KNOWS = range(6)
CLAUSE_COLUMNS = 6
NUM_CLAUSES = 4
INSTRUCTION_COLUMNS = CLAUSES + NUM_CLAUSES * CLAUSE_COLUMNS - AGENT_COLUMNS

ALL, BEFORE, AFTER = range(3)
NOTHING, OPEN_DOOR, GO_TO, PICKING_UP, PUT_NEXT = range(5)
MEMBERS, PLACES = range(2)

# A description is a number: what the object is, its colour, where it lies as seen by the agent at the beginning (0: any).
ANYTHING, A_KEY, A_BALL, A_BOX, A_DOOR = range(5)
ANYWHERE, LEFT_OF, RIGHT_OF, IN_FRONT, BEHIND = range(5)
SEVERAL = 256  # added if more than one object fits


@njit(cache=True, nogil=True)
def description(what, color, where):
    """The number of a description; color: 0 for any, or 1 + colour."""
    return (where * (NUM_COLORS + 1) + color) * 5 + what


@njit(cache=True, nogil=True)
def described(number):
    """(what, color, where) of a description."""
    number %= SEVERAL
    return number % 5, number // 5 % (NUM_COLORS + 1), number // (5 * (NUM_COLORS + 1))


@njit(cache=True, nogil=True)
def act_as_told(row, action, rng, grid, agent, marks, shape):
    """RoomGridLevel.step: as `act`, or FAILED for failing the instruction."""
    cells, me, marked, stride = grid[row], agent[row], marks[row], shape[2]
    front = ahead(me, stride)
    was, carried, carried_mark = cells[front], me[CARRIED], me[CARRIED_MARK]
    outcome = act(cells, me, action, stride)
    members = marked[MEMBERS]
    if action == PICK_UP and carried != me[CARRIED]:
        me[CARRIED_MARK] = members[front]
        members[front] = 0
    elif action == DROP:
        if carried != me[CARRIED]:
            members[front] = carried_mark
            me[CARRIED_MARK] = 0
        for at in range(len(members)):
            marked[PLACES, at] = members[at]
    elif action == TOGGLE and was >= BOX:
        members[front] = 0
    status = verify(cells, me, marked, action, stride, carried, carried_mark)
    return outcome if status == GOING_ON else status


@njit(cache=True, nogil=True)
def verify(cells, agent, marks, action, stride, carried, carried_mark):
    """Instr.verify; carried, carried_mark: before the action."""
    if agent[ORDER] == ALL:
        return verify_group(0, cells, agent, marks, action, stride, carried, carried_mark)
    leading = 0 if agent[ORDER] == BEFORE else 1
    if not is_done(agent, leading):
        status = verify_group(leading, cells, agent, marks, action, stride, carried, carried_mark)
        if status == FAILED:
            return FAILED
        if status == GOING_ON:
            if agent[STRICT] and verify_group(1 - leading, cells, agent, marks, action, stride, carried, carried_mark) == SUCCESS:
                return FAILED
            return GOING_ON
    return verify_group(1 - leading, cells, agent, marks, action, stride, carried, carried_mark)


@njit(cache=True, nogil=True)
def is_done(agent, group):
    for k in (2 * group, 2 * group + 1):
        clause = CLAUSES + CLAUSE_COLUMNS * k
        if agent[clause + KIND] != NOTHING and not agent[clause + IS_DONE]:
            return False
    return True


@njit(cache=True, nogil=True)
def verify_group(group, cells, agent, marks, action, stride, carried, carried_mark):
    """One clause, or AndInstr.verify of two, of which a failed one may be tried again."""
    all_done, is_single, status = True, True, GOING_ON
    for k in range(2 * group, 2 * group + 2):
        clause = CLAUSES + CLAUSE_COLUMNS * k
        if agent[clause + KIND] == NOTHING:
            continue
        is_single = k == 2 * group
        if not agent[clause + IS_DONE]:
            status = verify_clause(k, cells, agent, marks, action, stride, carried, carried_mark)
            agent[clause + IS_DONE] = status == SUCCESS
        all_done = all_done and agent[clause + IS_DONE] != 0
    return SUCCESS if all_done else status if is_single else GOING_ON


@njit(cache=True, nogil=True)
def verify_clause(k, cells, agent, marks, action, stride, carried, carried_mark):
    """verify_action of OpenInstr, GoToInstr, PickupInstr and PutNextInstr."""
    clause = CLAUSES + CLAUSE_COLUMNS * k
    kind, strict = agent[clause + KIND], agent[clause + CLAUSE_STRICT]
    first = 1 << 2 * k
    front = ahead(agent, stride)
    if kind == GO_TO:
        return SUCCESS if marks[PLACES, front] & first else GOING_ON
    if kind == OPEN_DOOR:
        if action != TOGGLE:
            return GOING_ON
        if is_open(cells[front]) and marks[MEMBERS, front] & first:
            return SUCCESS
        return FAILED if strict and DOOR_OPEN <= cells[front] < WALL else GOING_ON
    knew = agent[clause + KNOWS]
    agent[clause + KNOWS] = 1
    if not knew:
        carried, carried_mark = EMPTY, 0
    holds = agent[CARRIED] != EMPTY
    if kind == PICKING_UP:
        if action != PICK_UP:
            return GOING_ON
        if carried == EMPTY and holds and agent[CARRIED_MARK] & first:
            return SUCCESS
        return FAILED if strict and holds else GOING_ON
    if strict and action == PICK_UP and holds:
        return FAILED
    if action == DROP and carried != EMPTY and not holds and carried_mark & first:
        for step in (1, -1, stride, -stride):
            if marks[PLACES, front + step] & (first << 1):
                return SUCCESS
    return GOING_ON


@njit(cache=True, nogil=True)
def num_descriptions(kind):
    """How many descriptions a clause has."""
    return 0 if kind == NOTHING else 2 if kind == PUT_NEXT else 1


@njit(cache=True, nogil=True)
def mark_level(cells, agent, marks, shape, room_size):
    """Instr.reset_verifier: marks the objects that fit the descriptions, and adds SEVERAL to a description of more than one."""
    marks[:] = 0
    agent[CARRIED_MARK] = 0
    for k in range(NUM_CLAUSES):
        clause = CLAUSES + CLAUSE_COLUMNS * k
        for part in range(num_descriptions(agent[clause + KIND])):
            number = agent[clause + FIRST + part]
            if mark_fitting(cells, agent, marks[MEMBERS], number, 1 << (2 * k + part), shape, room_size) > 1:
                agent[clause + FIRST + part] += SEVERAL
    marks[PLACES] = marks[MEMBERS]


@njit(cache=True, nogil=True)
def mark_fitting(cells, agent, members, number, bit, shape, room_size):
    """ObjDesc.find_matching_objs: sets `bit` where an object fits description `number`; returns how many do."""
    what, color, where = described(number)
    ax, ay = agent[POSITION] % shape[2] - shape[3], agent[POSITION] // shape[2] - shape[3]
    left, top = ax // (room_size - 1) * (room_size - 1), ay // (room_size - 1) * (room_size - 1)
    dx = 1 - agent[DIRECTION] if agent[DIRECTION] % 2 == 0 else 0
    dy = 2 - agent[DIRECTION] if agent[DIRECTION] % 2 == 1 else 0
    count = 0
    for y in range(shape[1]):
        for x in range(shape[0]):
            at = position(shape, x, y)
            if not fits(cells[at], what, color):
                continue
            if where != ANYWHERE:
                if not (left <= x < left + room_size and top <= y < top + room_size):
                    continue
                forward, right = (x - ax) * dx + (y - ay) * dy, (y - ay) * dx - (x - ax) * dy
                if where == LEFT_OF and right >= 0 or where == RIGHT_OF and right <= 0:
                    continue
                if where == IN_FRONT and forward <= 0 or where == BEHIND and forward >= 0:
                    continue
            members[at] |= np.uint8(bit)
            count += 1
    return count


@njit(cache=True, nogil=True)
def fits(code, what, color):
    """Whether an object is of a kind and a colour (ANYTHING also means a wall, as it does in BabyAI)."""
    if DOOR_OPEN <= code < WALL:
        kind, base = A_DOOR, DOOR_OPEN
    elif KEY <= code < BALL:
        kind, base = A_KEY, KEY
    elif BALL <= code < BOX:
        kind, base = A_BALL, BALL
    elif code >= BOX:
        kind, base = A_BOX, BOX
    elif WALL <= code < KEY:
        kind, base = ANYTHING, WALL
    else:
        return False
    return (what == ANYTHING or what == kind) and (color == 0 or color == 1 + (code - base) % NUM_COLORS)
