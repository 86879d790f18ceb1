"""From a row of the compiled batch to one of MiniGrid's environments and back (arrays as in `minigrid_levels`)."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.minigrid_codes import EMPTY, code_of, is_named, object_of
from optioncoagent_envs.minigrid_levels import AGENT_COLUMNS, CARRIED, DIRECTION, DOOR, MISSION, POSITION, STEPS
from optioncoagent_envs.minigrid_random import generator_of, stream_of

Shape = tuple[int, int, int, int]


def read_row(
    model: MiniGridEnv, cells: np.ndarray, agent: np.ndarray, stream: np.ndarray, shape: Shape, missions: list[str]
) -> MiniGridEnv:
    """A copy of `model` in the state of the row; it can be stepped, rendered, and reset to the row's next level."""
    width, height, stride, pad = shape
    env: Any = copy(model)
    env.np_random = generator_of(stream)
    env.grid = Grid(width, height)
    inside = cells.reshape(-1, stride)[pad : pad + height, pad : pad + width]
    carried = int(agent[CARRIED])
    env.carrying = object_of(carried)
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
    if len(agent) > AGENT_COLUMNS:
        places = [divmod(int(at), stride) for at in agent[AGENT_COLUMNS:]]
        env.obstacles = [env.grid.get(x - pad, y - pad) for y, x in places]
    env.step_count = int(agent[STEPS])
    env.mission = missions[agent[MISSION]]
    return env


def write_row(env: Any, cells: np.ndarray, agent: np.ndarray, stream: np.ndarray, shape: Shape, missions: list[str]) -> None:
    """Writes the state of `env` to the row; a mission that is not among `missions` is added there."""
    width, height, stride, pad = shape
    target, door = getattr(env, "obj", None), getattr(env, "door", None)
    codes = [code_of(obj, obj is not None and obj is target) for obj in env.grid.grid]
    carried = EMPTY if env.carrying is None else code_of(env.carrying, env.carrying is target)
    cells.reshape(-1, stride)[pad : pad + height, pad : pad + width] = np.reshape(codes, (height, width))
    if env.mission not in missions:
        missions.append(env.mission)
    x, y = env.agent_pos
    agent[POSITION], agent[DIRECTION] = (y + pad) * stride + x + pad, env.agent_dir
    agent[CARRIED], agent[STEPS], agent[MISSION] = carried, env.step_count, missions.index(env.mission)
    agent[DOOR] = 0
    if door is not None:
        k = next(k for k, obj in enumerate(env.grid.grid) if obj is door)
        agent[DOOR] = (k // width + pad) * stride + k % width + pad
    if len(agent) > AGENT_COLUMNS:
        agent[AGENT_COLUMNS:] = [(y + pad) * stride + x + pad for x, y in (ball.cur_pos for ball in env.obstacles)]
    stream[:] = stream_of(env.np_random)
