"""MiniGrid's tasks, a file each: how a level is drawn, what ends an episode, and the record (`Family`) that says so.

`FAMILIES` says which of MiniGrid's classes the compiled batch covers; BabyAI's: `babyai.families`.
"""

from __future__ import annotations

from optioncoagent_envs.minigrid.family import Families
from optioncoagent_envs.minigrid.tasks import (
    crossing,
    dist_shift,
    door_key,
    dynamic_obstacles,
    empty,
    fetch,
    four_rooms,
    go_to,
    key_corridor,
    locked_room,
    memory,
    multi_room,
    obstructed_maze,
    playground,
    put_near,
    red_blue_doors,
    unlock,
)

FAMILIES: Families = {
    **empty.FAMILIES,
    **dist_shift.FAMILIES,
    **dynamic_obstacles.FAMILIES,
    **crossing.FAMILIES,
    **door_key.FAMILIES,
    **four_rooms.FAMILIES,
    **locked_room.FAMILIES,
    **multi_room.FAMILIES,
    **playground.FAMILIES,
    **unlock.FAMILIES,
    **key_corridor.FAMILIES,
    **obstructed_maze.FAMILIES,
    **fetch.FAMILIES,
    **go_to.FAMILIES,
    **put_near.FAMILIES,
    **red_blue_doors.FAMILIES,
    **memory.FAMILIES,
}
