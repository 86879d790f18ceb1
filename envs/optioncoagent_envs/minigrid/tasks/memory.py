"""MemoryEnv: go to the object that was shown at the start.

TARGET: the position at the matching object, OTHER: the one at the other object.
"""

from __future__ import annotations

from minigrid.core.constants import COLOR_TO_IDX
from minigrid.envs import MemoryEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, GREY_WALL, KEY
from optioncoagent_envs.minigrid.engine.levels import bar, begin, walled
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import OTHER, POSITION, TARGET, position
from optioncoagent_envs.minigrid.engine.rules import FAILED, PICK_UP, SUCCESS, TOGGLE, act
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.kept import Place

GREEN = COLOR_TO_IDX["green"]


@njit(cache=True, nogil=True)
def memory(rows, rng, grid, agent, shape, settings):
    """MemoryEnv; settings: whether the hallway's length is random."""
    width, height = shape[0], shape[1]
    middle = height // 2
    for row in rows:
        cells, stream, me = grid[row], rng[row], agent[row]
        walled(cells, shape)
        end = below(stream, 4, width - 2) if settings[0] else width - 3
        bar(cells, shape, 1, middle - 2, 4, 1, GREY_WALL)
        bar(cells, shape, 1, middle + 2, 4, 1, GREY_WALL)
        for side in (-1, 1):
            bar(cells, shape, 4, middle + side, max(1, end - 4), 1, GREY_WALL)
            bar(cells, shape, end, 0 if side < 0 else middle + 1, 1, middle, GREY_WALL)
        bar(cells, shape, end + 2, 0, 1, height, GREY_WALL)
        begin(me, position(shape, below(stream, 1, end + 1), middle), 0)
        shown, lower = below(stream, 0, 2), below(stream, 0, 2)  # 0: a key, 1: a ball
        cells[position(shape, 1, middle - 1)] = (BALL if shown else KEY) + GREEN
        cells[position(shape, end + 1, middle - 2)] = (KEY if lower else BALL) + GREEN
        cells[position(shape, end + 1, middle + 2)] = (BALL if lower else KEY) + GREEN
        side = 1 if shown == lower else -1
        me[TARGET], me[OTHER] = position(shape, end + 1, middle + side), position(shape, end + 1, middle - side)


@njit(cache=True, nogil=True)
def act_matching(row, action, rng, grid, agent, marks, shape):
    """MemoryEnv: after any action, to be at the matching object succeeds, at the other one fails; to pick up is to toggle."""
    cells, me = grid[row], agent[row]
    outcome = act(cells, me, TOGGLE if action == PICK_UP else action, shape[2])
    if me[POSITION] == me[TARGET]:
        return SUCCESS
    return FAILED if me[POSITION] == me[OTHER] else outcome


FAMILIES: Families = {
    MemoryEnv: Family(
        memory,
        act_matching,
        lambda env: [env.random_length] if env.height % 2 else None,
        keeps=(Place(TARGET, "success_pos"), Place(OTHER, "failure_pos")),
    )
}
