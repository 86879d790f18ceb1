"""EmptyEnv: to the goal in an empty room."""

from __future__ import annotations

from typing import Any

from minigrid.envs import EmptyEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.levels import GREEN_GOAL, begin, place_agent, walled
from optioncoagent_envs.minigrid.engine.rows import position
from optioncoagent_envs.minigrid.family import Families, Family


@njit(cache=True, nogil=True)
def empty(rows, rng, grid, agent, shape, settings):
    """EmptyEnv; settings: x, y, direction of the start, x < 0 for a random one."""
    for row in rows:
        cells = grid[row]
        walled(cells, shape)
        cells[position(shape, shape[0] - 2, shape[1] - 2)] = GREEN_GOAL
        put_at_start(rng[row], cells, agent[row], shape, settings)


@njit(cache=True, nogil=True)
def put_at_start(stream, cells, agent, shape, settings):
    """The agent, where the first three settings say: see `start`."""
    if settings[0] < 0:
        place_agent(stream, cells, agent, shape, 0, 0, shape[0], shape[1])
    else:
        begin(agent, position(shape, settings[0], settings[1]), settings[2])


def start(env: Any) -> list[int]:
    """Where the agent starts: x, y, direction; x < 0: anywhere."""
    return [-1, -1, 0] if env.agent_start_pos is None else [*env.agent_start_pos, env.agent_start_dir]


FAMILIES: Families = {EmptyEnv: Family(empty, settings=start)}
