"""From a row of the compiled batch to one of MiniGrid's environments and back (arrays as in `minigrid_levels`)."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.roomgrid import RoomGrid
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.babyai.instructions import missions_of, read_instruction, write_instruction
from optioncoagent_envs.minigrid.engine.codes import EMPTY, code_of, is_named, object_of
from optioncoagent_envs.minigrid.engine.levels import AGENT_COLUMNS, CARRIED, DIRECTION, LIMIT, MISSION, OTHER, POSITION, STEPS, TARGET
from optioncoagent_envs.minigrid.engine.random import generator_of, stream_of
from optioncoagent_envs.minigrid.engine.rules import FETCH, GO_NEXT_TO, MATCH, OPEN, PICKUP, PUT_NEAR, RED_THEN_BLUE, TOLD

# By the rule: the columns of `agent` and the attributes of MiniGrid's environment that they stand for. The column is the
# position of a door; or that position itself; or the code of an object of which MiniGrid keeps type and colour.
DOORS: dict[int, dict[int, str]] = {OPEN: {TARGET: "door"}, RED_THEN_BLUE: {TARGET: "blue_door", OTHER: "red_door"}}
TARGET_POSITIONS: dict[int, dict[int, str]] = {
    GO_NEXT_TO: {TARGET: "target_pos"},
    PUT_NEAR: {TARGET: "target_pos"},
    MATCH: {TARGET: "success_pos", OTHER: "failure_pos"},
}
WANTED: dict[int, tuple[str, str]] = {FETCH: ("targetType", "targetColor"), PUT_NEAR: ("move_type", "moveColor")}

Shape = tuple[int, int, int, int]


class Row(NamedTuple):
    """One environment of a compiled batch. grid (cells,) uint8; agent (c,) int64; marks (2, cells or 0) uint8; rng (6,) uint64."""

    grid: np.ndarray
    agent: np.ndarray
    marks: np.ndarray
    rng: np.ndarray
    rule: int


def positions(shape: Shape) -> Callable[[int, int], int]:
    """(x, y) -> position."""
    _, _, stride, pad = shape
    return lambda x, y: int((y + pad) * stride + x + pad)


def points(shape: Shape) -> Callable[[int], tuple[int, int]]:
    """position -> (x, y)."""
    _, _, stride, pad = shape
    return lambda at: (int(at) % stride - pad, int(at) // stride - pad)


def read_row(model: MiniGridEnv, row: Row, shape: Shape, missions: list[str]) -> MiniGridEnv:
    """A copy of `model` in the state of the row; it can be stepped, rendered, and reset to the row's next level."""
    width, height, stride, pad = shape
    agent, point = row.agent, points(shape)
    env: Any = copy(model)
    env.np_random = generator_of(row.rng)
    if row.rule == TOLD:  # the verifier asks for rooms
        RoomGrid._gen_grid(env, width, height)
        env.np_random = generator_of(row.rng)
    env.grid = Grid(width, height)
    inside = row.grid.reshape(-1, stride)[pad : pad + height, pad : pad + width]
    carried = int(agent[CARRIED])
    env.carrying = object_of(carried)
    if env.carrying is not None:
        env.carrying.cur_pos = np.array([-1, -1])
    if row.rule == PICKUP:
        env.obj = env.carrying if is_named(carried) else None  # found below, or gone with its box
    for (y, x), code in np.ndenumerate(inside):
        obj = object_of(int(code))
        env.grid.set(x, y, obj)
        if obj is not None:
            obj.init_pos = obj.cur_pos = (x, y)
        if is_named(int(code)):
            env.obj = obj
    env.agent_pos, env.agent_dir = point(agent[POSITION]), int(agent[DIRECTION])
    for column, name in DOORS.get(row.rule, {}).items():
        setattr(env, name, env.grid.get(*point(agent[column])))
    for column, name in TARGET_POSITIONS.get(row.rule, {}).items():
        setattr(env, name, point(agent[column]))
    if row.rule in WANTED:
        wanted: Any = object_of(int(agent[OTHER]))
        for name, value in zip(WANTED[row.rule], (wanted.type, wanted.color), strict=True):
            setattr(env, name, value)
    env.step_count, env.max_steps = int(agent[STEPS]), int(agent[LIMIT])
    if row.rule == TOLD:
        env.mission = missions_of(agent[None])[0]
        env.instrs = read_instruction(env, agent, row.marks, positions(shape))
    else:
        env.mission = missions[agent[MISSION]]
        if len(agent) > AGENT_COLUMNS:
            env.obstacles = [env.grid.get(*point(at)) for at in agent[AGENT_COLUMNS:]]
    return env


def write_row(env: Any, row: Row, shape: Shape, missions: list[str]) -> None:
    """Writes the state of `env` to the row; a mission that is not among `missions` is added there.

    Raises ValueError if `env` holds an object that has no code, or lacks a door that its mission names.
    """
    width, height, stride, pad = shape
    position, agent, objects = positions(shape), row.agent, env.grid.grid
    target = getattr(env, "obj", None)
    codes = [code_of(obj, obj is not None and obj is target) for obj in objects]
    row.grid.reshape(-1, stride)[pad : pad + height, pad : pad + width] = np.reshape(codes, (height, width))
    agent[CARRIED] = EMPTY if env.carrying is None else code_of(env.carrying, env.carrying is target)
    agent[POSITION], agent[DIRECTION] = position(*env.agent_pos), env.agent_dir
    agent[STEPS], agent[LIMIT] = env.step_count, env.max_steps
    agent[MISSION] = agent[TARGET] = agent[OTHER] = 0
    for column, name in DOORS.get(row.rule, {}).items():
        k = objects.index(getattr(env, name))
        agent[column] = position(k % width, k // width)
    for column, name in TARGET_POSITIONS.get(row.rule, {}).items():
        agent[column] = position(*getattr(env, name))
    if row.rule in WANTED:
        kind, color = (getattr(env, name) for name in WANTED[row.rule])
        agent[OTHER] = code_of(WorldObj.decode(OBJECT_TO_IDX[kind], COLOR_TO_IDX[color], 0))
    if row.rule == TOLD:
        write_instruction(env, agent, row.marks, position)
    else:
        if env.mission not in missions:
            missions.append(env.mission)
        agent[MISSION] = missions.index(env.mission)
        if len(agent) > AGENT_COLUMNS:
            agent[AGENT_COLUMNS:] = [position(*ball.cur_pos) for ball in env.obstacles]
    row.rng[:] = stream_of(env.np_random)
