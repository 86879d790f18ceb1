"""From a row of the compiled batch to one of MiniGrid's environments and back (arrays as in `minigrid.engine.rows`)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from hashlib import sha256
from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.minigrid.engine.codes import code_of, object_of
from optioncoagent_envs.minigrid.engine.random import generator_of, stream_of
from optioncoagent_envs.minigrid.engine.rows import (
    CARRIED,
    DIRECTION,
    LIMIT,
    MISSION,
    OTHER,
    POSITION,
    STEPS,
    TARGET,
    Row,
    Shape,
    points,
    positions,
)
from optioncoagent_envs.minigrid.family import Family


def read_row(model: MiniGridEnv, row: Row, shape: Shape, family: Family, missions: Mapping[int, str]) -> MiniGridEnv:
    """A copy of `model` in the state of the row; it can be stepped, rendered, and reset to the row's next level.

    It has what MiniGrid's steps ask for. What a class notes while it draws a level, for itself alone, is in no row: until a reset,
    `goal_pos` (of LavaGap and MultiRoom), `target_color`, `surface`, `room_grid` (but for BabyAI's) and the like are missing, or as in
    `model`, such as MultiRoom's `rooms`.
    """
    width, height, stride, pad = shape
    agent = row.agent
    env: Any = copy(model)
    env.np_random = generator_of(row.rng)
    env.grid = Grid(width, height)
    env.carrying = object_of(int(agent[CARRIED]))
    if env.carrying is not None:
        env.carrying.cur_pos = np.array([-1, -1])
    for (y, x), code in np.ndenumerate(row.grid.reshape(-1, stride)[pad : pad + height, pad : pad + width]):
        obj = object_of(int(code))
        env.grid.set(x, y, obj)
        if obj is not None:
            obj.init_pos = obj.cur_pos = (x, y)
    env.agent_pos, env.agent_dir = points(shape)(agent[POSITION]), int(agent[DIRECTION])
    env.step_count, env.max_steps = int(agent[STEPS]), int(agent[LIMIT])
    env.mission = family.say(agent[None], missions)[0]
    for kept in family.keeps:
        kept.read(env, row, shape)
    return env


def write_row(env: Any, row: Row, shape: Shape, family: Family, missions: dict[int, str]) -> None:
    """Writes the state of `env` to the row; a mission that is not among `missions` is added there.

    Raises ValueError if `env` holds an object that has no code, or lacks a door that its mission names.
    """
    width, height, stride, pad = shape
    agent = row.agent
    codes = [_code_at(obj, at, width) for at, obj in enumerate(env.grid.grid)]
    row.grid.reshape(-1, stride)[pad : pad + height, pad : pad + width] = np.reshape(codes, (height, width))
    agent[CARRIED] = _code_at(env.carrying, None, width)
    agent[POSITION], agent[DIRECTION] = positions(shape)(*env.agent_pos), env.agent_dir
    agent[STEPS], agent[LIMIT] = env.step_count, env.max_steps
    agent[MISSION] = agent[TARGET] = agent[OTHER] = 0
    if family.spoken is None:
        agent[MISSION] = number_of(env.mission, missions)
    for kept in family.keeps:
        kept.write(env, row, shape)
    row.rng[:] = stream_of(env.np_random)


def _code_at(obj: Any, at: int | None, width: int) -> int:
    """The code of what lies in cell number `at` of a grid, or in hand (None)."""
    try:
        return code_of(obj)
    except ValueError as error:
        place = "in hand" if at is None else f"at ({at % width}, {at // width})"
        raise ValueError(f"{error}, and there is one {place}") from None


def number_of(mission: str, missions: dict[int, str]) -> int:
    """Its number among `missions`; one that is new is added there, under a number that is its own in every batch."""
    for number, text in missions.items():
        if text == mission:
            return number
    number = (1 << 62) + int.from_bytes(sha256(mission.encode()).digest()[:7])
    missions[number] = mission
    return number
