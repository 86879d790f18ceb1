"""KeyCorridorEnv: pick up an object behind a locked door; its key lies across the corridor."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.envs import KeyCorridorEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, BOX_NAMED, EMPTY, KEY, NAMED
from optioncoagent_envs.minigrid.engine.levels import COLORS
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rooms import add_door, connect_all, enter_room, lay_object, lay_rooms
from optioncoagent_envs.minigrid.engine.rows import MISSION, position
from optioncoagent_envs.minigrid.engine.rules import pick_up_named
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Named
from optioncoagent_envs.minigrid.tasks.things import pick_up_missions


@njit(cache=True, nogil=True)
def key_corridor(rows, rng, grid, agent, shape, settings):
    """KeyCorridorEnv; settings: room size, number of rows, the code of the object to pick up. Mission: its colour."""
    size, num_rows = settings[0], settings[1]
    plan = np.empty((num_rows * 3, 9), np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        lay_rooms(stream, cells, me, shape, size, num_rows, 3, plan)
        for j in range(1, num_rows):
            for i in range(1, size - 1):
                cells[position(shape, size - 1 + i, j * (size - 1))] = EMPTY
            plan[j * 3 + 1, 4 + 3] = 1
            plan[(j - 1) * 3 + 1, 4 + 1] = 1
        target = below(stream, 0, num_rows)
        color = COLORS[below(stream, 0, 6)]
        add_door(cells, plan, 3, target * 3 + 2, 2, color, True)
        me[MISSION] = COLORS[below(stream, 0, 6)]
        lay_object(stream, cells, me, shape, size, 2, target, settings[2] + me[MISSION])
        with_key = below(stream, 0, num_rows)
        lay_object(stream, cells, me, shape, size, 0, with_key, KEY + color)
        enter_room(stream, cells, me, shape, size, 1, num_rows // 2)
        connect_all(stream, cells, plan, num_rows, 3, (num_rows // 2) * 3 + 1, -1)


def settings_of(env: Any) -> list[int] | None:
    code = {"key": KEY + NAMED, "ball": BALL + NAMED, "box": BOX + BOX_NAMED}.get(env.obj_type)
    return None if code is None else [env.room_size, env.num_rows, code]


FAMILIES: Families = {KeyCorridorEnv: Family(key_corridor, pick_up_named, settings_of, pick_up_missions, keeps=(Named("obj"),))}
