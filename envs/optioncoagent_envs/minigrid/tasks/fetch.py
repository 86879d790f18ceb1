"""FetchEnv: pick up an object of the kind and colour that the mission names."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.envs import FetchEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import EMPTY, NUM_COLORS
from optioncoagent_envs.minigrid.engine.levels import place_agent, walled
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import CARRIED, MISSION, OTHER
from optioncoagent_envs.minigrid.engine.rules import FAILED, SUCCESS, act
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Thing
from optioncoagent_envs.minigrid.tasks.things import THINGS, THINGS_SAID, anywhere, draw_thing, holds_wanted, num_objects

WORDINGS = ("get a", "go get a", "fetch a", "go fetch a", "you must fetch a")


@njit(cache=True, nogil=True)
def fetch(rows, rng, grid, agent, shape, settings):
    """FetchEnv; settings: the number of things. Mission: 12 * (wording) + (thing to fetch)."""
    things = np.empty(settings[0], np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        for k in range(len(things)):
            things[k] = draw_thing(stream, 2)
            cells[anywhere(stream, cells, shape)] = THINGS[things[k]]
        place_agent(stream, cells, me, shape, 0, 0, shape[0], shape[1])
        wanted = things[below(stream, 0, len(things))]
        me[OTHER] = THINGS[wanted]
        me[MISSION] = 2 * NUM_COLORS * below(stream, 0, 5) + wanted


@njit(cache=True, nogil=True)
def act_fetching(row, action, rng, grid, agent, marks, shape):
    """FetchEnv: whatever the agent holds after an action ends the episode, the right kind and colour with success."""
    cells, me = grid[row], agent[row]
    outcome = act(cells, me, action, shape[2])
    if me[CARRIED] == EMPTY:
        return outcome
    return SUCCESS if holds_wanted(me) else FAILED


def missions_of(env: Any) -> list[str]:
    return [f"{wording} {thing}" for wording in WORDINGS for thing in THINGS_SAID if not thing.endswith("box")]


FAMILIES: Families = {FetchEnv: Family(fetch, act_fetching, num_objects, missions_of, keeps=(Thing(OTHER, "targetType", "targetColor"),))}
