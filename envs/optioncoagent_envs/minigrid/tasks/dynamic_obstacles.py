"""DynamicObstaclesEnv: to the goal among obstacles that move before the agent does.

A family's own columns of `agent`: the positions of the obstacles, in the order in which they move.
"""

from __future__ import annotations

from minigrid.core.constants import COLOR_TO_IDX
from minigrid.envs import DynamicObstaclesEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, EMPTY, GOAL, LAVA
from optioncoagent_envs.minigrid.engine.levels import find, place
from optioncoagent_envs.minigrid.engine.rows import AGENT_COLUMNS, POSITION
from optioncoagent_envs.minigrid.engine.rules import COLLIDED, FORWARD, LEFT, act, ahead
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Obstacles
from optioncoagent_envs.minigrid.tasks.empty import empty, start

OBSTACLE = BALL + COLOR_TO_IDX["blue"]
OBSTACLE_TRIES = 100


@njit(cache=True, nogil=True)
def dynamic_obstacles(rows, rng, grid, agent, shape, settings):
    """DynamicObstaclesEnv; settings: those of EmptyEnv."""
    empty(rows, rng, grid, agent, shape, settings)
    for row in rows:
        for k in range(AGENT_COLUMNS, agent.shape[1]):
            at = place(rng[row], grid[row], shape, 0, 0, shape[0], shape[1], agent[row, POSITION], 1, OBSTACLE_TRIES)
            grid[row, at] = OBSTACLE
            agent[row, k] = at


@njit(cache=True, nogil=True)
def act_among_obstacles(row, action, rng, grid, agent, marks, shape):
    """DynamicObstaclesEnv.step: as `act`, or COLLIDED for running into something."""
    cells, stream, me = grid[row], rng[row], agent[row]
    if action > FORWARD:
        action = LEFT
    front = cells[ahead(me, shape[2])]
    blocked = front != EMPTY and not GOAL <= front < LAVA
    for k in range(AGENT_COLUMNS, len(me)):
        y, x = me[k] // shape[2] - shape[3] - 1, me[k] % shape[2] - shape[3] - 1
        at = find(stream, cells, shape, x, y, 3, 3, me[POSITION], 1, OBSTACLE_TRIES)
        if at > 0:
            cells[at] = cells[me[k]]
            cells[me[k]] = EMPTY
            me[k] = at
    outcome = act(cells, me, action, shape[2])
    return COLLIDED if action == FORWARD and blocked else outcome


FAMILIES: Families = {
    DynamicObstaclesEnv: Family(
        dynamic_obstacles,
        act_among_obstacles,
        start,
        extra_columns=lambda env: env.n_obstacles,
        keeps=(Obstacles("obstacles"),),
        draws=True,
    )
}
