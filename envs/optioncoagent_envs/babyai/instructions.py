"""BabyAI's instructions as MiniGrid's objects, as columns of `verifier`, and in English."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, IDX_TO_COLOR
from minigrid.core.roomgrid import RoomGrid
from minigrid.core.world_object import Box
from minigrid.envs.babyai.core.verifier import (
    AfterInstr,
    AndInstr,
    BeforeInstr,
    GoToInstr,
    ObjDesc,
    OpenInstr,
    PickupInstr,
    PutNextInstr,
)

from optioncoagent_envs.babyai.verifier import (
    AFTER,
    ALL,
    BEFORE,
    CARRIED_MARK,
    CLAUSE_COLUMNS,
    CLAUSE_STRICT,
    CLAUSES,
    FIRST,
    GO_TO,
    IS_DONE,
    KIND,
    KNOWS,
    MEMBERS,
    NOTHING,
    NUM_CLAUSES,
    OPEN_DOOR,
    ORDER,
    PICKING_UP,
    PLACES,
    PUT_NEXT,
    SECOND,
    SEVERAL,
    STRICT,
    described,
    description,
)
from optioncoagent_envs.minigrid.engine.random import generator_of
from optioncoagent_envs.minigrid.engine.rows import Row, Shape, positions

KINDS: dict[type, int] = {OpenInstr: OPEN_DOOR, GoToInstr: GO_TO, PickupInstr: PICKING_UP, PutNextInstr: PUT_NEXT}
ORDERS: dict[type, int] = {BeforeInstr: BEFORE, AfterInstr: AFTER}
OBJECTS = [None, "key", "ball", "box", "door"]  # by the numbers of `verifier`
SAID = [ORDER, *(CLAUSES + k * CLAUSE_COLUMNS + column for k in range(NUM_CLAUSES) for column in (KIND, FIRST, SECOND))]
PLACES_SEEN = [None, "left", "right", "front", "behind"]
PLACES_SAID = ["", " on your left", " on your right", " in front of you", " behind you"]


def clauses_of(instruction: Any) -> list[tuple[int, Any, Any, str]]:
    """For each clause: its number, MiniGrid's object, and which object remembers under which name that it is done."""
    groups: list[tuple[int, Any, Any, str]] = [(0, instruction, None, "")]
    if type(instruction) in ORDERS:
        groups = [(0, instruction.instr_a, instruction, "a_done"), (2, instruction.instr_b, instruction, "b_done")]
    clauses: list[tuple[int, Any, Any, str]] = []
    for k, group, parent, name in groups:
        if type(group) is AndInstr:
            clauses += [(k, group.instr_a, group, "a_done"), (k + 1, group.instr_b, group, "b_done")]
        else:
            clauses.append((k, group, parent, name))
    return clauses


@dataclass(frozen=True)
class Instruction:
    """What the environment was told, and the rooms that its verifier asks for."""

    def read(self, env: Any, row: Row, shape: Shape) -> None:
        rooms = copy(env)
        rooms.np_random = generator_of(row.rng)  # the draws for the rooms are none of the environment's
        RoomGrid._gen_grid(rooms, env.width, env.height)
        env.room_grid = rooms.room_grid
        env.instrs = read_instruction(env, row.agent, row.marks, positions(shape))

    def write(self, env: Any, row: Row, shape: Shape) -> None:
        write_instruction(env, row.agent, row.marks, positions(shape))


def write_instruction(env: Any, agent: np.ndarray, marks: np.ndarray, position: Callable[[int, int], int]) -> None:
    """Writes `env.instrs`, and how far it is fulfilled, to the columns and marks; position: of the cell (x, y)."""
    instruction = env.instrs
    agent[ORDER:] = 0
    marks[:] = 0
    agent[ORDER] = ORDERS.get(type(instruction), ALL)
    agent[STRICT] = agent[ORDER] != ALL and instruction.strict
    for k, clause, parent, name in clauses_of(instruction):
        mine = clause_columns(agent, k)
        if type(clause) not in KINDS:
            raise ValueError(f"{env} has an instruction of a class that is not compiled, {type(clause).__name__}")
        mine[KIND] = KINDS[type(clause)]
        mine[CLAUSE_STRICT] = getattr(clause, "strict", False)
        mine[IS_DONE] = parent is not None and getattr(parent, name) == "success"
        mine[KNOWS] = getattr(clause, "preCarrying", None) is not None
        for part, desc in enumerate(descriptions_of(clause)):
            mine[FIRST + part] = _number(desc)
            bit = 1 << (2 * k + part)
            members = {id(obj) for obj in desc.obj_set}
            for j, obj in enumerate(env.grid.grid):
                if id(obj) in members:
                    marks[MEMBERS, position(j % env.width, j // env.width)] |= bit
            if id(env.carrying) in members:
                agent[CARRIED_MARK] |= bit
            for x, y in desc.obj_poss:
                marks[PLACES, position(x, y)] |= bit


def _number(desc: ObjDesc) -> int:
    color = 0 if desc.color is None else 1 + COLOR_TO_IDX[desc.color]
    number = description(OBJECTS.index(desc.type), color, PLACES_SEEN.index(desc.loc))
    return number + SEVERAL if len(desc.obj_set) > 1 else number


def clause_columns(agent: np.ndarray, k: int) -> np.ndarray:
    return agent[CLAUSES + k * CLAUSE_COLUMNS : CLAUSES + (k + 1) * CLAUSE_COLUMNS]


def descriptions_of(clause: Any) -> list[ObjDesc]:
    return [clause.desc_move, clause.desc_fixed] if type(clause) is PutNextInstr else [clause.desc]


def read_instruction(env: Any, agent: np.ndarray, marks: np.ndarray, position: Callable[[int, int], int]) -> Any:
    """The instruction of the columns and marks as MiniGrid's objects, which know the objects of `env`."""
    cells = [(x, y) for y in range(env.height) for x in range(env.width)]

    def found(number: int, bit: int) -> ObjDesc:
        what, color, where = described(number)
        desc = ObjDesc(OBJECTS[what], IDX_TO_COLOR[color - 1] if color else None, PLACES_SEEN[where])
        desc.obj_set = [env.grid.get(*cell) for cell in cells if marks[MEMBERS, position(*cell)] & bit]
        if agent[CARRIED_MARK] & bit:
            desc.obj_set.append(env.carrying)
        if number >= SEVERAL:  # of which some may be gone: boxes that were opened
            desc.obj_set += [Box("grey") for _ in range(2 - len(desc.obj_set))]
        desc.obj_poss = [cell for cell in sorted(cells) if marks[PLACES, position(*cell)] & bit]
        return desc

    def clause(k: int) -> Any:
        mine = clause_columns(agent, k)
        descs = [found(int(mine[FIRST + part]), 1 << (2 * k + part)) for part in range(1 + (mine[KIND] == PUT_NEXT))]
        strict = {} if mine[KIND] == GO_TO else {"strict": bool(mine[CLAUSE_STRICT])}
        made = next(kind for kind, number in KINDS.items() if number == mine[KIND])(*descs, **strict)
        made.env = env
        if mine[KIND] in (PICKING_UP, PUT_NEXT):
            made.preCarrying = env.carrying if mine[KNOWS] else None
        return made

    def group(k: int) -> Any:
        if clause_columns(agent, k + 1)[KIND] == NOTHING:
            return clause(k)
        return joined(AndInstr(clause(k), clause(k + 1)), done[k], done[k + 1])

    def joined(instruction: Any, a_done: bool, b_done: bool) -> Any:
        instruction.env = env
        instruction.a_done, instruction.b_done = ("success" if is_done else False for is_done in (a_done, b_done))
        return instruction

    done = [mine[IS_DONE] or mine[KIND] == NOTHING for mine in (clause_columns(agent, k) for k in range(NUM_CLAUSES))]
    if agent[ORDER] == ALL:
        return group(0)
    order = BeforeInstr if agent[ORDER] == BEFORE else AfterInstr
    return joined(order(group(0), group(2), strict=bool(agent[STRICT])), done[0] and done[1], done[2] and done[3])


def missions_of(agent: np.ndarray) -> list[str]:
    """The instructions of rows of columns in BabyAI's English."""
    return [_sentence(*numbers) for numbers in agent[:, SAID].tolist()]


@lru_cache(maxsize=1 << 16)
def _sentence(order: int, *numbers: int) -> str:
    said = [_clause(*numbers[k : k + 3]) for k in range(0, 3 * NUM_CLAUSES, 3)]
    groups = [" and ".join(part for part in said[k : k + 2] if part) for k in (0, 2)]
    return {ALL: groups[0], BEFORE: ", then ".join(groups), AFTER: " after you ".join(groups)}[order]


def _clause(kind: int, first: int, second: int) -> str:
    if kind == NOTHING:
        return ""
    if kind == PUT_NEXT:
        return f"put {_objects(first)} next to {_objects(second)}"
    return f"{({OPEN_DOOR: 'open', GO_TO: 'go to', PICKING_UP: 'pick up'})[kind]} {_objects(first)}"


def _objects(number: int) -> str:
    what, color, where = described(number)
    words = ["a" if number >= SEVERAL else "the", IDX_TO_COLOR[color - 1] if color else None, OBJECTS[what] or "object"]
    return " ".join(word for word in words if word) + PLACES_SAID[where]
