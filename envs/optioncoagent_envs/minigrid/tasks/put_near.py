"""PutNearEnv: move one object near another. OTHER: the code of the object to move, TARGET: the position to put it near."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.envs import PutNearEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import EMPTY
from optioncoagent_envs.minigrid.engine.levels import place_agent, walled
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import CARRIED, MISSION, OTHER, TARGET
from optioncoagent_envs.minigrid.engine.rules import DROP, FAILED, PICK_UP, SUCCESS, act, ahead
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Place, Thing
from optioncoagent_envs.minigrid.tasks.things import THINGS, THINGS_SAID, anywhere, are_near, draw_another, holds_wanted


@njit(cache=True, nogil=True)
def put_near(rows, rng, grid, agent, shape, settings):
    """PutNearEnv; settings: the number of things. Mission: 18 * (thing to move) + (thing to put it near)."""
    things, places = np.empty(settings[0], np.int64), np.empty(settings[0], np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        for k in range(len(things)):
            things[k] = draw_another(stream, things[:k])
            places[k] = anywhere(stream, cells, shape)
            while is_near_any(places[k], places[:k], shape[2]):
                places[k] = anywhere(stream, cells, shape)
            cells[places[k]] = THINGS[things[k]]
        place_agent(stream, cells, me, shape, 0, 0, shape[0], shape[1])
        moved = below(stream, 0, len(things))
        target = below(stream, 0, len(things))
        while target == moved:
            target = below(stream, 0, len(things))
        me[OTHER], me[TARGET] = THINGS[things[moved]], places[target]
        me[MISSION] = len(THINGS) * things[moved] + things[target]


@njit(cache=True, nogil=True)
def is_near_any(at, places, stride):
    for other in places:
        if are_near(at, other, stride):
            return True
    return False


@njit(cache=True, nogil=True)
def act_putting_near(row, action, rng, grid, agent, marks, shape):
    """PutNearEnv: to drop what the agent held ends the episode, within one cell of the target with success.

    A drop that finds no room fails; so does a pick-up action after which the agent holds another object.
    """
    cells, me = grid[row], agent[row]
    held = me[CARRIED] != EMPTY
    outcome = act(cells, me, action, shape[2])
    holds = me[CARRIED] != EMPTY
    if action == PICK_UP and holds and not holds_wanted(me):
        return FAILED
    if action == DROP and held:
        return SUCCESS if not holds and are_near(ahead(me, shape[2]), me[TARGET], shape[2]) else FAILED
    return outcome


def missions_of(env: Any) -> list[str]:
    return [f"put the {moved} near the {target}" for moved in THINGS_SAID for target in THINGS_SAID]


FAMILIES: Families = {
    PutNearEnv: Family(
        put_near,
        act_putting_near,
        lambda env: [env.numObjs] if env.numObjs > 1 else None,
        missions_of,
        keeps=(Place(TARGET, "target_pos"), Thing(OTHER, "move_type", "moveColor")),
    )
}
