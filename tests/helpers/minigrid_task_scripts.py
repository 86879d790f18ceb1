"""What can happen in Fetch, GoToObject, GoToDoor, PutNear, RedBlueDoors and Memory, by name, and scripts that bring it about.

An environment of stock MiniGrid is put into a situation (`task_script`, which returns the actions to take there), and
`task_event` says what an action is about to do: it succeeds, fails, or only matters later.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.constants import DIR_TO_VEC
from minigrid.core.world_object import Ball, Box, Key
from minigrid.envs import FetchEnv, GoToDoorEnv, GoToObjectEnv, MemoryEnv, PutNearEnv, RedBlueDoorEnv

FORWARD, PICKUP, DROP, TOGGLE, DONE = Actions.forward, Actions.pickup, Actions.drop, Actions.toggle, Actions.done
LAST = {"success in the last step", "failure in the last step"}
GO_NEXT_TO = {"success: next to it", "failure: diagonal", "failure: far", "failure: toggle"} | LAST

TASK_EVENTS: dict[type, set[str]] = {
    FetchEnv: {"success: pickup", "failure: pickup", "success: held", "failure: held", "drop"} | LAST,
    GoToObjectEnv: GO_NEXT_TO | {"pickup", "success: next to where it was"},
    GoToDoorEnv: GO_NEXT_TO,
    PutNearEnv: {"success: near", "success: another near", "failure: far", "failure: no room", "failure: pickup", "failure: held", "pickup"}
    | LAST,
    RedBlueDoorEnv: {"success: blue", "success: already open", "failure: blue first", "failure: red too late", "failure: blue closed"}
    | {"red opened", "red closed", "blue closed before red"}
    | LAST,
    MemoryEnv: {"success: reached", "success: stays", "failure: reached", "failure: stays", "leaves", "no pickup", "box"} | LAST,
}


def task_event(core: Any, action: int) -> str | None:
    name = _EVENT[type(core)](core, action)
    if name is not None and ":" in name and core.step_count + 1 >= core.max_steps:
        return f"{name.split(':')[0]} in the last step"
    return name


def task_script(core: Any, rng: np.random.Generator) -> list[int]:
    if rng.random() < 0.3:
        core.step_count = core.max_steps - int(rng.integers(1, 4))
    return [int(action) for action in _SCRIPT[type(core)](core, rng)]


def put(core: Any, rng: np.random.Generator, x: int, y: int, spots: list[tuple[int, int]]) -> None:
    """Puts the agent on a free cell, if there is one whose difference from (x, y) is among `spots`; beside (x, y) it looks there."""
    free = [(dx, dy) for dx, dy in spots if is_free(core, x + dx, y + dy)]
    if free:
        dx, dy = free[rng.integers(len(free))]
        core.agent_pos = (int(x + dx), int(y + dy))
        core.agent_dir = next((k for k, vector in enumerate(DIR_TO_VEC) if tuple(vector) == (-dx, -dy)), core.agent_dir)


def is_free(core: Any, x: int, y: int) -> bool:
    """Whether a cell is empty and inside the walls (GoToDoor's do not go round the whole grid)."""
    if not (0 <= x < core.width and 0 <= y < core.height) or core.grid.get(x, y) is not None:
        return False
    to_the_right = [core.grid.get(i, y) for i in range(x, core.width)]
    return any(obj is not None and obj.type in ("wall", "door") for obj in to_the_right)


BESIDE = [(1, 0), (-1, 0), (0, 1), (0, -1)]
AROUND = [(dx, dy) for dx in range(-2, 3) for dy in range(-2, 3)]


def things(core: Any) -> list[tuple[int, int]]:
    return [(k % core.width, k // core.width) for k, obj in enumerate(core.grid.grid) if obj is not None and obj.can_pickup()]


def fetch_script(core, rng):
    x, y = things(core)[rng.integers(len(things(core)))]
    put(core, rng, x, y, BESIDE)
    kind = {"key": Key, "ball": Ball}[core.targetType]
    core.carrying = [kind(core.targetColor), Box(core.targetColor), Ball("purple"), None, None, None][rng.integers(6)]
    if core.carrying is not None and rng.random() < 0.3:
        core.grid.set(x, y, None)
    return [DROP if core.carrying else PICKUP]


def fetch_event(core, action):
    front, held = core.grid.get(*core.front_pos), core.carrying
    if held is not None and action == DROP and front is None:
        return "drop"
    took = held is None and action == PICKUP and front is not None and front.can_pickup()
    holds = front if took else held
    if holds is None:
        return None
    fits = (holds.type, holds.color) == (core.targetType, core.targetColor)
    return f"{'success' if fits else 'failure'}: {'pickup' if took else 'held'}"


def go_script(core, rng):
    put(core, rng, *core.target_pos, BESIDE if rng.random() < 0.5 else AROUND)
    return [[DONE], [PICKUP, DONE], [TOGGLE]][rng.integers(3)]


def go_event(core, action):
    dx, dy = np.abs(np.subtract(core.agent_pos, core.target_pos))
    front = core.grid.get(*core.front_pos)
    if action == PICKUP and front is not None and front.can_pickup() and core.carrying is None:
        return "pickup"
    if action == TOGGLE:
        return "failure: toggle"
    if action != DONE:
        return None
    if dx + dy == 1:
        return "success: next to it" if core.grid.get(*core.target_pos) else "success: next to where it was"
    return "failure: diagonal" if dx == dy == 1 else "failure: far"


def put_script(core, rng):
    x, y = core.target_pos if rng.random() < 0.5 else things(core)[rng.integers(len(things(core)))]
    put(core, rng, x, y, BESIDE if rng.random() < 0.5 else AROUND)
    kind = {"key": Key, "ball": Ball, "box": Box}[core.move_type]
    core.carrying = [kind(core.moveColor), kind(core.moveColor), Ball("purple"), None, None][rng.integers(5)]
    return [[DROP], [FORWARD, DROP], [PICKUP, DROP]][rng.integers(3)]


def put_event(core, action):
    front, held = core.grid.get(*core.front_pos), core.carrying

    def is_wanted(obj):
        return (obj.type, obj.color) == (core.move_type, core.moveColor)

    if action == PICKUP and held is not None:
        return None if is_wanted(held) else "failure: held"
    if action == PICKUP and front is not None and front.can_pickup():
        return "pickup" if is_wanted(front) else "failure: pickup"
    if action != DROP or held is None:
        return None
    if front is not None:
        return "failure: no room"
    if np.abs(np.subtract(core.front_pos, core.target_pos)).max() > 1:
        return "failure: far"
    return "success: near" if is_wanted(held) else "success: another near"


def doors_script(core, rng):
    core.red_door.is_open, core.blue_door.is_open = bool(rng.integers(2)), rng.random() < 0.3
    door = core.grid.grid.index(core.red_door if rng.random() < 0.5 else core.blue_door)
    put(core, rng, door % core.width, door // core.width, BESIDE)
    return [TOGGLE, DONE] if rng.random() < 0.8 else [FORWARD]


def doors_event(core, action):
    red, blue = core.red_door, core.blue_door
    toggled = core.grid.get(*core.front_pos) if action == TOGGLE else None
    if blue.is_open and toggled is blue:
        return "failure: blue closed" if red.is_open else "blue closed before red"
    if blue.is_open:
        return "success: already open" if red.is_open else "failure: red too late" if toggled is red else "failure: blue first"
    if toggled is blue:
        return "success: blue" if red.is_open else "failure: blue first"
    if toggled is red:
        return "red closed" if red.is_open else "red opened"
    return None


def memory_script(core, rng):
    x, y = core.success_pos if rng.random() < 0.5 else core.failure_pos
    where = rng.integers(3)
    if where < 2:
        put(core, rng, x, y, BESIDE if where == 0 else [(0, 0)])
        return [FORWARD, DONE]
    x, y = things(core)[rng.integers(len(things(core)))]
    put(core, rng, x, y, BESIDE)
    if rng.random() < 0.5:
        core.grid.set(x, y, Box("grey", Key("blue")))
    return [PICKUP, DROP]


def memory_event(core, action):
    front, at = core.grid.get(*core.front_pos), tuple(core.agent_pos)
    moves = action == FORWARD and (front is None or front.can_overlap())
    then = tuple(core.front_pos) if moves else at
    if then in (core.success_pos, core.failure_pos):
        return f"{'success' if then == core.success_pos else 'failure'}: {'reached' if moves else 'stays'}"
    if moves and at in (core.success_pos, core.failure_pos):
        return "leaves"
    if action != PICKUP or front is None:
        return None
    return "box" if front.type == "box" else "no pickup" if front.can_pickup() else None


_SCRIPT = {
    FetchEnv: fetch_script,
    GoToObjectEnv: go_script,
    GoToDoorEnv: go_script,
    PutNearEnv: put_script,
    RedBlueDoorEnv: doors_script,
    MemoryEnv: memory_script,
}
_EVENT = {
    FetchEnv: fetch_event,
    GoToObjectEnv: go_event,
    GoToDoorEnv: go_event,
    PutNearEnv: put_event,
    RedBlueDoorEnv: doors_event,
    MemoryEnv: memory_event,
}
