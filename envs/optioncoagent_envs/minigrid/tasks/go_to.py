"""GoToObjectEnv and GoToDoorEnv: be done next to the object or door that the mission names, whose position is TARGET."""

from __future__ import annotations

import numpy as np
from minigrid.envs import GoToDoorEnv, GoToObjectEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import DOOR_CLOSED
from optioncoagent_envs.minigrid.engine.levels import COLORS, blank, place_agent, walled, walls
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import MISSION, POSITION, TARGET, position
from optioncoagent_envs.minigrid.engine.rules import DONE, FAILED, SUCCESS, TOGGLE, act
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Place
from optioncoagent_envs.minigrid.tasks.things import COLORS_BY_INDEX, THINGS, THINGS_SAID, anywhere, draw_another, num_objects


@njit(cache=True, nogil=True)
def go_to_object(rows, rng, grid, agent, shape, settings):
    """GoToObjectEnv; settings: the number of things. Mission: the thing to go to."""
    things, places = np.empty(settings[0], np.int64), np.empty(settings[0], np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        for k in range(len(things)):
            things[k] = draw_another(stream, things[:k])
            places[k] = anywhere(stream, cells, shape)
            cells[places[k]] = THINGS[things[k]]
        place_agent(stream, cells, me, shape, 0, 0, shape[0], shape[1])
        target = below(stream, 0, len(things))
        me[TARGET], me[MISSION] = places[target], things[target]


@njit(cache=True, nogil=True)
def go_to_door(rows, rng, grid, agent, shape, settings):
    """GoToDoorEnv; no settings. Mission: the colour of the door."""
    doors, colors = np.empty(4, np.int64), np.empty(4, np.int64)
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        blank(cells, shape)
        width = below(stream, 5, shape[0] + 1)
        height = below(stream, 5, shape[1] + 1)
        walls(cells, shape, 0, 0, width, height)
        doors[0] = position(shape, below(stream, 2, width - 2), 0)
        doors[1] = position(shape, below(stream, 2, width - 2), height - 1)
        doors[2] = position(shape, 0, below(stream, 2, height - 2))
        doors[3] = position(shape, width - 1, below(stream, 2, height - 2))
        for k in range(4):
            colors[k] = COLORS[below(stream, 0, 6)]
            while (colors[:k] == colors[k]).any():
                colors[k] = COLORS[below(stream, 0, 6)]
        for k in range(4):
            cells[doors[k]] = DOOR_CLOSED + colors[k]
        place_agent(stream, cells, me, shape, 0, 0, width, height)
        target = below(stream, 0, 4)
        me[TARGET], me[MISSION] = doors[target], colors[target]


@njit(cache=True, nogil=True)
def act_going_next_to(row, action, rng, grid, agent, marks, shape):
    """GoToObjectEnv, GoToDoorEnv: to be done next to the target succeeds, elsewhere it fails, and so does to toggle."""
    cells, me = grid[row], agent[row]
    outcome = act(cells, me, action, shape[2])
    if action == DONE:
        steps = abs(me[TARGET] - me[POSITION])
        return SUCCESS if steps == 1 or steps == shape[2] else FAILED
    return FAILED if action == TOGGLE else outcome


FAMILIES: Families = {
    GoToObjectEnv: Family(
        go_to_object,
        act_going_next_to,
        num_objects,
        lambda env: [f"go to the {thing}" for thing in THINGS_SAID],
        keeps=(Place(TARGET, "target_pos"),),
    ),
    GoToDoorEnv: Family(
        go_to_door,
        act_going_next_to,
        missions=lambda env: [f"go to the {color} door" for color in COLORS_BY_INDEX],
        keeps=(Place(TARGET, "target_pos"),),
    ),
}
