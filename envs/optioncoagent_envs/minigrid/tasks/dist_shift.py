"""DistShiftEnv: to the goal past two strips of lava."""

from __future__ import annotations

from minigrid.envs import DistShiftEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import LAVA
from optioncoagent_envs.minigrid.engine.levels import GREEN_GOAL, bar, walled
from optioncoagent_envs.minigrid.engine.rows import position
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.tasks.empty import put_at_start, start


@njit(cache=True, nogil=True)
def dist_shift(rows, rng, grid, agent, shape, settings):
    """DistShiftEnv; settings: those of EmptyEnv, and the row of the second strip of lava."""
    for row in rows:
        cells = grid[row]
        walled(cells, shape)
        cells[position(shape, shape[0] - 2, 1)] = GREEN_GOAL
        bar(cells, shape, 3, 1, shape[0] - 6, 1, LAVA)
        bar(cells, shape, 3, settings[3], shape[0] - 6, 1, LAVA)
        put_at_start(rng[row], cells, agent[row], shape, settings)


FAMILIES: Families = {DistShiftEnv: Family(dist_shift, settings=lambda env: [*start(env), env.strip2_row])}
