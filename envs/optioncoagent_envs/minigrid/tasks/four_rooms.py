"""FourRoomsEnv: to the goal through the openings between four rooms."""

from __future__ import annotations

from typing import Any

from minigrid.envs import FourRoomsEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import EMPTY, GREY_WALL
from optioncoagent_envs.minigrid.engine.levels import bar, place_agent, place_goal, walled
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import position
from optioncoagent_envs.minigrid.family import Families, Family


@njit(cache=True, nogil=True)
def four_rooms(rows, rng, grid, agent, shape, settings):
    """FourRoomsEnv; no settings."""
    width, height = shape[0], shape[1]
    room_width, room_height = width // 2, height // 2
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        for j in range(2):
            for i in range(2):
                left, top = i * room_width, j * room_height
                right, bottom = left + room_width, top + room_height
                if i == 0:
                    bar(cells, shape, right, top, 1, room_height, GREY_WALL)
                    cells[position(shape, right, below(stream, top + 1, bottom))] = EMPTY
                if j == 0:
                    bar(cells, shape, left, bottom, room_width, 1, GREY_WALL)
                    cells[position(shape, below(stream, left + 1, right), bottom)] = EMPTY
        place_agent(stream, cells, agent[row], shape, 0, 0, width, height)
        place_goal(stream, cells, agent[row], shape, 0, 0, width, height)


def settings_of(env: Any) -> list[int] | None:
    return [] if env._agent_default_pos is None and env._goal_default_pos is None else None


FAMILIES: Families = {FourRoomsEnv: Family(four_rooms, settings=settings_of)}
