"""LockedRoomEnv: the key to the room with the goal lies in another of six rooms."""

from __future__ import annotations

from typing import Any

from minigrid.envs import LockedRoomEnv

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import DOOR_CLOSED, DOOR_LOCKED, GREY_WALL, KEY
from optioncoagent_envs.minigrid.engine.levels import GREEN_GOAL, bar, draw_colors, place_agent, walled
from optioncoagent_envs.minigrid.engine.random import below
from optioncoagent_envs.minigrid.engine.rows import MISSION, position
from optioncoagent_envs.minigrid.family import Families, Family
from optioncoagent_envs.minigrid.tasks.things import COLORS_BY_INDEX


@njit(cache=True, nogil=True)
def locked_room(rows, rng, grid, agent, shape, settings):
    """LockedRoomEnv; no settings. Mission 6 * (colour of the locked room) + (colour of the room with the key)."""
    width, height = shape[0], shape[1]
    left, right = width // 2 - 2, width // 2 + 2
    room_width, room_height = left + 1, height // 3 + 1
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        bar(cells, shape, left, 0, 1, height, GREY_WALL)
        bar(cells, shape, right, 0, 1, height, GREY_WALL)
        for n in range(3):
            bar(cells, shape, 0, n * (height // 3), left, 1, GREY_WALL)
            bar(cells, shape, right, n * (height // 3), width - right, 1, GREY_WALL)
        # rooms are numbered from the top, left before right
        locked = below(stream, 0, 6)
        x, y = locked % 2 * right, locked // 2 * (height // 3)
        i = below(stream, x + 1, x + room_width - 1)
        j = below(stream, y + 1, y + room_height - 1)
        cells[position(shape, i, j)] = GREEN_GOAL
        colors = draw_colors(stream, 6)
        for room in range(6):
            door = position(shape, right if room % 2 else left, room // 2 * (height // 3) + 3)
            cells[door] = colors[room] + (DOOR_LOCKED if room == locked else DOOR_CLOSED)
        key_room = below(stream, 0, 6)
        while key_room == locked:
            key_room = below(stream, 0, 6)
        x, y = key_room % 2 * right, key_room // 2 * (height // 3)
        i = below(stream, x + 1, x + room_width - 1)
        j = below(stream, y + 1, y + room_height - 1)
        cells[position(shape, i, j)] = KEY + colors[locked]
        place_agent(stream, cells, agent[row], shape, left, 0, right - left, height)
        agent[row, MISSION] = 6 * colors[locked] + colors[key_room]


def missions_of(env: Any) -> list[str]:
    return [env._gen_mission(lock, room, lock) for lock in COLORS_BY_INDEX for room in COLORS_BY_INDEX]


FAMILIES: Families = {LockedRoomEnv: Family(locked_room, missions=missions_of)}
