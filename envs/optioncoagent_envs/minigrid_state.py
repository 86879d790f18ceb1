"""From a row of the compiled batch to one of MiniGrid's environments and back (arrays as in `minigrid_levels`)."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.roomgrid import RoomGrid
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.minigrid_codes import EMPTY, code_of, is_named, object_of
from optioncoagent_envs.minigrid_instructions import missions_of, read_instruction, write_instruction
from optioncoagent_envs.minigrid_levels import AGENT_COLUMNS, CARRIED, DIRECTION, DOOR, LIMIT, MISSION, POSITION, STEPS
from optioncoagent_envs.minigrid_random import generator_of, stream_of

Shape = tuple[int, int, int, int]


class Row(NamedTuple):
    """One environment of a compiled batch. grid (cells,) uint8; agent (c,) int64; marks (2, cells or 0) uint8; rng (6,) uint64."""

    grid: np.ndarray
    agent: np.ndarray
    marks: np.ndarray
    rng: np.ndarray

    @property
    def is_told(self) -> bool:
        """Whether the row carries one of BabyAI's instructions."""
        return self.marks.size > 0


def positions(shape: Shape) -> Callable[[int, int], int]:
    """(x, y) -> position."""
    _, _, stride, pad = shape
    return lambda x, y: int((y + pad) * stride + x + pad)


def read_row(model: MiniGridEnv, row: Row, shape: Shape, missions: list[str]) -> MiniGridEnv:
    """A copy of `model` in the state of the row; it can be stepped, rendered, and reset to the row's next level."""
    width, height, stride, pad = shape
    agent = row.agent
    env: Any = copy(model)
    env.np_random = generator_of(row.rng)
    if row.is_told:  # the verifier asks for rooms
        RoomGrid._gen_grid(env, width, height)
        env.np_random = generator_of(row.rng)
    env.grid = Grid(width, height)
    inside = row.grid.reshape(-1, stride)[pad : pad + height, pad : pad + width]
    carried = int(agent[CARRIED])
    env.carrying = object_of(carried)
    if env.carrying is not None:
        env.carrying.cur_pos = np.array([-1, -1])
    if is_named(carried):
        env.obj = env.carrying
    for (y, x), code in np.ndenumerate(inside):
        obj = object_of(int(code))
        env.grid.set(x, y, obj)
        if obj is not None:
            obj.init_pos = obj.cur_pos = (x, y)
        if is_named(int(code)):
            env.obj = obj
    y, x = divmod(int(agent[POSITION]), stride)
    env.agent_pos, env.agent_dir = (x - pad, y - pad), int(agent[DIRECTION])
    if agent[DOOR]:
        y, x = divmod(int(agent[DOOR]), stride)
        env.door = env.grid.get(x - pad, y - pad)
    env.step_count, env.max_steps = int(agent[STEPS]), int(agent[LIMIT])
    if row.is_told:
        env.mission = missions_of(agent[None])[0]
        env.instrs = read_instruction(env, agent, row.marks, positions(shape))
    else:
        env.mission = missions[agent[MISSION]]
        if len(agent) > AGENT_COLUMNS:
            places = [divmod(int(at), stride) for at in agent[AGENT_COLUMNS:]]
            env.obstacles = [env.grid.get(x - pad, y - pad) for y, x in places]
    return env


def write_row(env: Any, row: Row, shape: Shape, missions: list[str]) -> None:
    """Writes the state of `env` to the row; a mission that is not among `missions` is added there.

    Raises ValueError if `env` holds an object that has no code.
    """
    width, height, stride, pad = shape
    position, agent = positions(shape), row.agent
    target, door = getattr(env, "obj", None), getattr(env, "door", None)
    codes = [code_of(obj, obj is not None and obj is target) for obj in env.grid.grid]
    row.grid.reshape(-1, stride)[pad : pad + height, pad : pad + width] = np.reshape(codes, (height, width))
    agent[CARRIED] = EMPTY if env.carrying is None else code_of(env.carrying, env.carrying is target)
    agent[POSITION], agent[DIRECTION] = position(*env.agent_pos), env.agent_dir
    agent[STEPS], agent[LIMIT] = env.step_count, env.max_steps
    agent[MISSION] = agent[DOOR] = 0
    if door is not None:
        k = next(k for k, obj in enumerate(env.grid.grid) if obj is door)
        agent[DOOR] = position(k % width, k // width)
    if row.is_told:
        write_instruction(env, agent, row.marks, position)
    else:
        if env.mission not in missions:
            missions.append(env.mission)
        agent[MISSION] = missions.index(env.mission)
        if len(agent) > AGENT_COLUMNS:
            agent[AGENT_COLUMNS:] = [position(*ball.cur_pos) for ball in env.obstacles]
    row.rng[:] = stream_of(env.np_random)
