"""UnlockEnv, UnlockPickupEnv, BlockedUnlockPickupEnv: open a locked door, or pick up a box behind it."""

from __future__ import annotations

import numpy as np
from minigrid.envs import BlockedUnlockPickupEnv, UnlockEnv, UnlockPickupEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, BOX_NAMED, KEY, is_open
from optioncoagent_envs.minigrid.engine.levels import COLORS
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rooms import add_door, enter_room, lay_object, lay_rooms
from optioncoagent_envs.minigrid.engine.rows import MISSION, TARGET
from optioncoagent_envs.minigrid.engine.rules import SUCCESS, TOGGLE, act, pick_up_named
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Door, Named
from optioncoagent_envs.minigrid.tasks.things import pick_up_missions


@njit(cache=True, nogil=True)
def unlock(rows, rng, grid, agent, shape, settings):
    """UnlockEnv, UnlockPickupEnv, BlockedUnlockPickupEnv.

    settings: room size, whether a box is to be picked up behind the door, whether a ball blocks the door. Mission: the
    colour of the box.
    """
    size = settings[0]
    plan = np.empty((2, 9), np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        lay_rooms(stream, cells, me, shape, size, 1, 2, plan)
        if settings[1]:
            box = COLORS[below(stream, 0, 6)]
            lay_object(stream, cells, me, shape, size, 1, 0, BOX + BOX_NAMED + box)
            me[MISSION] = box
        color = COLORS[below(stream, 0, 6)]
        door = add_door(cells, plan, 2, 0, 0, color, True)
        if not settings[1]:
            me[TARGET] = door
        if settings[2]:
            cells[door - 1] = BALL + COLORS[below(stream, 0, 6)]
        lay_object(stream, cells, me, shape, size, 0, 0, KEY + color)
        enter_room(stream, cells, me, shape, size, 0, 0)


@njit(cache=True, nogil=True)
def open_door(row, action, rng, grid, agent, marks, shape):
    """UnlockEnv: the door at TARGET standing open after a toggle action succeeds."""
    cells, me = grid[row], agent[row]
    outcome = act(cells, me, action, shape[2])
    return SUCCESS if action == TOGGLE and is_open(cells[me[TARGET]]) else outcome


FAMILIES: Families = {
    UnlockEnv: Family(unlock, open_door, lambda env: [env.room_size, 0, 0], keeps=(Door(TARGET, "door"),)),
    UnlockPickupEnv: Family(unlock, pick_up_named, lambda env: [env.room_size, 1, 0], pick_up_missions, keeps=(Named("obj"),)),
    BlockedUnlockPickupEnv: Family(unlock, pick_up_named, lambda env: [env.room_size, 1, 1], pick_up_missions, keeps=(Named("obj"),)),
}
