"""DistShiftEnv: to the goal past two strips of lava."""

from __future__ import annotations

from minigrid.envs import DistShiftEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import LAVA
from optioncoagent_envs.minigrid.engine.levels import GREEN_GOAL, bar, begin, place_agent, walled
from optioncoagent_envs.minigrid.engine.rows import position
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.tasks.empty import start


@njit(cache=True, nogil=True)
def dist_shift(rows, rng, grid, agent, shape, settings):
    """DistShiftEnv; settings: those of EmptyEnv, and the row of the second strip of lava."""
    for row in rows:
        cells = grid[row]
        walled(cells, shape)
        cells[position(shape, shape[0] - 2, 1)] = GREEN_GOAL
        bar(cells, shape, 3, 1, shape[0] - 6, 1, LAVA)
        bar(cells, shape, 3, settings[3], shape[0] - 6, 1, LAVA)
        if settings[0] < 0:
            place_agent(rng[row], cells, agent[row], shape, 0, 0, shape[0], shape[1])
        else:
            begin(agent[row], position(shape, settings[0], settings[1]), settings[2])


FAMILIES: Families = {DistShiftEnv: Family(dist_shift, settings=lambda env: [*start(env), env.strip2_row])}
