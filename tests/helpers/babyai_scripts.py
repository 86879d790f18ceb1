"""Situations for BabyAI's levels that lead to what an instruction asks for, or nearly so, and names for what happened.

`put_before_clause` changes a stock environment, in ways that the rules allow for, and returns actions to take there.
`Witness` looks at a stock environment before and after an action.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from minigrid.core.constants import DIR_TO_VEC
from minigrid.core.world_object import Ball, Key
from minigrid.envs.babyai.core.verifier import AfterInstr, AndInstr, BeforeInstr, GoToInstr, OpenInstr, PickupInstr, PutNextInstr

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
KINDS: dict[type, str] = {GoToInstr: "go to", OpenInstr: "open", PickupInstr: "pick up", PutNextInstr: "put next"}


class Clause(NamedTuple):
    """One clause; the holder's attribute `name` says what its last verification gave, if there is more than one clause."""

    instr: Any
    holder: Any
    name: str
    is_later: bool
    is_one_of_two: bool

    @property
    def status(self) -> Any:
        return None if self.holder is None else getattr(self.holder, self.name)

    @property
    def kind(self) -> str:
        return KINDS[type(self.instr)]

    @property
    def strict(self) -> bool:
        return getattr(self.instr, "strict", False)


def is_sequence(instrs) -> bool:
    return isinstance(instrs, BeforeInstr | AfterInstr)


def clauses_of(instrs) -> Iterator[Clause]:
    groups = [(instrs, None, "", False)]
    if is_sequence(instrs):
        names = ("a", "b") if isinstance(instrs, BeforeInstr) else ("b", "a")
        groups = [(getattr(instrs, f"instr_{name}"), instrs, f"{name}_done", k == 1) for k, name in enumerate(names)]
    for group, holder, name, is_later in groups:
        if isinstance(group, AndInstr):
            yield Clause(group.instr_a, group, "a_done", is_later, True)
            yield Clause(group.instr_b, group, "b_done", is_later, True)
        else:
            yield Clause(group, holder, name, is_later, False)


def is_first_done(instrs) -> bool:
    """Whether the group that comes first in a sequence is done."""
    return (instrs.a_done if isinstance(instrs, BeforeInstr) else instrs.b_done) == "success"


def due_clauses(instrs) -> list[Clause]:
    """The clauses that are to be fulfilled now."""
    later = is_sequence(instrs) and is_first_done(instrs)
    return [clause for clause in clauses_of(instrs) if clause.is_later == later and clause.status != "success"]


def put_before_clause(core, rng) -> list[int]:
    """Puts the agent of a stock environment where it can fulfil a clause, or nearly; returns the actions to take there."""
    if rng.random() < 0.1:
        core.step_count = core.max_steps - int(rng.integers(1, 4))
    if rng.random() < 0.3:
        return try_something(core, rng)
    due = due_clauses(core.instrs)
    if rng.random() < 0.25:
        due = [clause for clause in clauses_of(core.instrs) if clause.status != "success"]
    clause = due[rng.integers(len(due))]
    act = {"go to": go_to, "open": open_door, "pick up": pick_up, "put next": put_next}[clause.kind]
    return act(core, clause.instr, rng)


# the situations


def go_to(core, instr, rng) -> list[int]:
    place = pick(rng, instr.desc.obj_poss)
    if place is None:
        return []
    obj = core.grid.get(*place)
    if rng.random() < 0.3 and obj is not None and obj.can_pickup():
        give(core, obj, rng)  # the verifier goes on believing that it lies there
        if rng.random() < 0.6 and stand_before(core, pick(rng, free_cells(core)), rng):
            return [*turn_away(core, rng), DROP]
        if stand_before(core, place, rng) and rng.random() < 0.5:
            core.agent_dir = (core.agent_dir + 3) % 4
            return [DROP, RIGHT]  # perhaps the drop fails, and is what tells the verifier that the object is gone
        return turn_away(core, rng)
    if rng.random() < 0.5 and stand_before(core, place, rng, distance=2):
        return [FORWARD, LEFT]
    if not stand_before(core, place, rng):
        return []
    return [*turn_away(core, rng), *([[PICKUP, LEFT, DROP], [TOGGLE], [DROP], [DONE]][rng.integers(4)])]


def open_door(core, instr, rng) -> list[int]:
    cells = things(core, lambda obj: obj.type == "door")
    right = [(place, door) for place, door in cells if any(door is other for other in instr.desc.obj_set)]
    wrong = [(place, door) for place, door in cells if not any(door is other for other in instr.desc.obj_set)]
    chosen = pick(rng, wrong if wrong and rng.random() < 0.25 else right)
    if chosen is None or not stand_before(core, chosen[0], rng):
        return []
    return open_it(core, chosen[1], rng)


def pick_up(core, instr, rng) -> list[int]:
    cells = things(core, lambda obj: obj.can_pickup())
    right = [(place, obj) for place, obj in cells if any(obj is other for other in instr.desc.obj_set)]
    wrong = [(place, obj) for place, obj in cells if not any(obj is other for other in instr.desc.obj_set)]
    if not right and core.carrying is not None:
        give(core, None, rng)
        return []
    chosen = pick(rng, wrong if wrong and rng.random() < 0.3 else right)
    if chosen is None or not stand_before(core, chosen[0], rng):
        return []
    if rng.random() < 0.2:
        give(core, Ball("purple"), rng)
        return [*([PICKUP] if rng.random() < 0.7 else []), DROP, LEFT, DROP, RIGHT, PICKUP]
    give(core, None, rng)
    if rng.random() < 0.15:
        return [TOGGLE, PICKUP]
    return [*turn_away(core, rng), PICKUP, *([LEFT, DROP, RIGHT] if rng.random() < 0.5 else [])]


def put_next(core, instr, rng) -> list[int]:
    moved = [obj for _, obj in things(core, lambda obj: any(obj is other for other in instr.desc_move.obj_set))]
    if any(core.carrying is other for other in instr.desc_move.obj_set):
        moved.append(core.carrying)
    obj, fixed = pick(rng, moved), pick(rng, instr.desc_fixed.obj_poss)
    if obj is None or fixed is None:
        return []
    roll = rng.random()
    if roll < 0.3:
        give(core, None, rng)
        place = next(place for place, other in things(core, lambda other: True) if other is obj) if obj in core.grid.grid else None
        return [PICKUP, LEFT, DROP, PICKUP, LEFT, DROP] if stand_before(core, place, rng) else []
    if roll < 0.4:
        give(core, obj, rng)
        return [DROP, LEFT, DROP] if stand_before(core, fixed, rng) else []
    there = core.grid.get(*fixed)
    if roll < 0.5 and there is not None and there.type == "box" and stand_before(core, fixed, rng):
        give(core, obj, rng)
        return [TOGGLE, FORWARD, DROP]  # next to where the box was
    others = [other for _, other in things(core, lambda other: other.can_pickup() and other not in moved)]
    give(core, pick(rng, others) if others and roll < 0.5 else obj, rng)
    free = free_cells(core)
    if roll < 0.9:
        free = [(x, y) for x, y in free if abs(x - fixed[0]) + abs(y - fixed[1]) == 1]
    if not stand_before(core, pick(rng, free), rng):
        return []
    return [*turn_away(core, rng), DROP, *([PICKUP, DROP] if rng.random() < 0.5 else [])]


def try_something(core, rng) -> list[int]:
    """Before any object: picked up and dropped elsewhere, with full hands, toggled; a door with a key or without."""

    def kind_of(obj):
        return "locked door" if obj.type == "door" and obj.is_locked else obj.type

    kinds = sorted({kind_of(obj) for _, obj in things(core, lambda obj: True)})
    kind = "locked door" if "locked door" in kinds and rng.random() < 0.4 else pick(rng, kinds)
    chosen = pick(rng, things(core, lambda obj: kind_of(obj) == kind))
    if chosen is None or not stand_before(core, chosen[0], rng):
        return []
    if chosen[1].type == "door":
        return open_it(core, chosen[1], rng)
    if rng.random() < 0.4:
        give(core, Ball("purple"), rng)
        if rng.random() < 0.3:
            return [DROP] if stand_before(core, pick(rng, free_cells(core)), rng) else []
        return [[PICKUP, LEFT, DROP], [DROP, LEFT, DROP, RIGHT, PICKUP]][rng.integers(2)]
    give(core, None, rng)
    if kind == "box" and rng.random() < 0.5:
        return [TOGGLE, PICKUP]
    return [[PICKUP, LEFT, LEFT, DROP], [PICKUP, LEFT, DROP, RIGHT, FORWARD], [TOGGLE, TOGGLE]][rng.integers(3)]


def open_it(core, door, rng) -> list[int]:
    """Toggles the door before the agent."""
    if door.is_locked:
        color = door.color if rng.random() < 0.6 else "red" if door.color != "red" else "blue"
        keys = [obj for _, obj in things(core, lambda obj: obj.type == "key" and obj.color == color)]
        give(core, pick(rng, keys) or Key(color), rng)
    else:
        door.is_open = rng.random() < 0.3
    return [*turn_away(core, rng), TOGGLE, *([TOGGLE, FORWARD][: rng.integers(3)])]


# how to bring them about


def pick(rng, options) -> Any:
    return options[rng.integers(len(options))] if options else None


def things(core, fits) -> list[tuple[tuple[int, int], Any]]:
    """(place, object) of what lies about and fits, walls left out."""
    cells = (((k % core.width, k // core.width), obj) for k, obj in enumerate(core.grid.grid))
    return [(place, obj) for place, obj in cells if obj is not None and obj.type != "wall" and fits(obj)]


def free_cells(core) -> list[tuple[int, int]]:
    cells = ((k % core.width, k // core.width) for k, obj in enumerate(core.grid.grid) if obj is None)
    return [cell for cell in cells if cell != tuple(core.agent_pos)]


def stand_before(core, place, rng, distance: int = 1) -> bool:
    """Puts the agent where it faces `place` from a distance, if there is such a cell; a door there is opened."""
    if place is None:
        return False
    spots = []
    for direction, (dx, dy) in enumerate(DIR_TO_VEC):
        way = [(place[0] - k * dx, place[1] - k * dy) for k in range(1, distance + 1)]
        if all(0 <= x < core.width and 0 <= y < core.height for x, y in way):
            cells = [core.grid.get(x, y) for x, y in way]
            if all(cell is None or cell.type == "door" for cell in cells):
                spots.append((way, direction))
    spot = pick(rng, spots)
    if spot is None:
        return False
    for cell in (core.grid.get(x, y) for x, y in spot[0]):
        if cell is not None:
            cell.is_open, cell.is_locked = True, False
    core.agent_pos, core.agent_dir = tuple(int(x) for x in spot[0][-1]), spot[1]
    return True


def turn_away(core, rng) -> list[int]:
    """Turns the agent somewhere else, or not; returns the actions that turn it back."""
    actions = [[], [LEFT], [RIGHT], [LEFT, LEFT]][rng.integers(4)]
    core.agent_dir = (core.agent_dir + {0: 0, 1: 1 if actions[:1] == [LEFT] else 3, 2: 2}[len(actions)]) % 4
    return actions


def give(core, obj, rng) -> None:
    """Puts an object in the agent's hands, or frees them, as if it had been so since the last action."""
    held = core.carrying
    if obj is held:
        return
    place = pick(rng, free_cells(core))
    asked = [other for clause in clauses_of(core.instrs) for desc in descriptions(clause.instr) for other in desc.obj_set]
    if held is not None and place is not None and any(held is other for other in asked):
        core.grid.set(*place, held)
        held.cur_pos = place
        core.update_objs_poss()
    core.grid.grid = [None if cell is obj else cell for cell in core.grid.grid]
    core.carrying = obj
    if obj is not None:
        obj.cur_pos = np.array([-1, -1])
    instrs = core.instrs
    for clause in clauses_of(instrs):
        was_verified = core.step_count > 0 and (not clause.is_later or instrs.strict or is_first_done(instrs))
        if was_verified and hasattr(clause.instr, "preCarrying"):
            clause.instr.preCarrying = obj


def descriptions(instr) -> list[Any]:
    return [instr.desc_move, instr.desc_fixed] if isinstance(instr, PutNextInstr) else [instr.desc]


# what happens


class Witness:
    """Sees a stock environment before an action; `after` it, names what happened."""

    def __init__(self, core, action):
        self.core, self.action, self.instrs, self.carried = core, action, core.instrs, core.carrying
        self.clauses = list(clauses_of(core.instrs))
        self.done = [clause.status == "success" for clause in self.clauses]
        self.names = list(self._about_to_happen())

    def _about_to_happen(self) -> Iterator[str]:
        core, front, carried = self.core, self.core.grid.get(*self.core.front_pos), self.carried
        if self.action == DROP and carried is not None:
            yield "drop" if front is None else "failed drop"
        if self.action == PICKUP and front is not None and front.can_pickup():
            yield "full hands" if carried is not None else "pickup"
            due = due_clauses(core.instrs)
            wanted = [obj for clause in due if clause.kind == "pick up" for obj in clause.instr.desc.obj_set]
            if carried is None and wanted and not any(front is obj for obj in wanted):
                yield "wrong pickup"
        if self.action == TOGGLE and front is not None and front.type == "box":
            yield "box"
        if self.action == TOGGLE and front is not None and front.type == "door":
            fits = isinstance(carried, Key) and carried.color == front.color
            yield ("unlock" if fits else "stay locked") if front.is_locked else "close" if front.is_open else "open a door"

    def after(self, reward: float, terminated: bool, truncated: bool) -> list[str]:
        """The environment may have been reset, but its instruction of before is still known."""
        names = self.names
        if truncated:
            names.append("time-out")
        statuses = [clause.status for clause in self.clauses]
        if statuses == [None]:
            statuses = [("success" if reward > 0 else "failure") if terminated else "continue"]
        for clause, status, was_done in zip(self.clauses, statuses, self.done, strict=True):
            if status == "success" and not was_done:
                names.append(clause.kind)
                if not terminated:
                    names.append("one of two" if clause.is_one_of_two else "first of a sequence")
            if status == "failure":
                names.append(f"forgiven: {clause.kind}" if clause.is_one_of_two else f"failed: {clause.kind}")
        if is_sequence(self.instrs) and terminated and reward == 0 and not any("failed:" in name for name in names):
            names.append("failed: sequence")
        if not (terminated or truncated) and is_sequence(self.instrs) and not is_first_done(self.instrs):
            for clause in self.clauses:
                if clause.is_later and not clause.is_one_of_two:
                    as_if_due = copy(clause.instr)
                    as_if_due.preCarrying = self.carried
                    if as_if_due.verify_action(self.action) == "success":
                        names.append("wrong order")
        return names


def possible_events(core) -> set[str]:
    """What a level allows for, by the names that Witness gives."""
    clauses = list(clauses_of(core.instrs))
    things_here = [obj for _, obj in things(core, lambda obj: True)]
    kinds = {obj.type for obj in things_here}
    events = {"time-out"} | {clause.kind for clause in clauses} | (kinds & {"box"})
    if kinds - {"door"}:
        events |= {"pickup", "drop", "failed drop", "full hands"}
    if clauses[0].kind == "pick up" and len(clauses) == 1:
        asked = clauses[0].instr.desc.obj_set
        if any(obj.can_pickup() and not any(obj is other for other in asked) for obj in things_here):
            events |= {"wrong pickup"} | ({"failed: pick up"} if clauses[0].strict else set())
    events |= {"failed: open" for clause in clauses if clause.kind == "open" and clause.strict and not clause.is_one_of_two}
    if is_sequence(core.instrs):
        first, later = ([clause for clause in clauses if clause.is_later == is_later] for is_later in (False, True))
        opened = [clause for clause in later if clause.kind == "open" and not clause.is_one_of_two]
        if not any(clause.strict for clause in opened):  # which fails at the door that the first clause is about
            events |= {"first of a sequence"}
        if len(later) == 1 and later[0].kind != "put next" and not any(clause.strict for clause in first):
            events |= {"wrong order"}
    events |= {"one of two" for clause in clauses if clause.is_one_of_two}
    doors = [obj for obj in things_here if obj.type == "door"]
    if any(door.is_locked for door in doors):
        events |= {"unlock", "stay locked"}
    if any(not door.is_locked for door in doors):
        events |= {"open a door", "close"}
    return events
