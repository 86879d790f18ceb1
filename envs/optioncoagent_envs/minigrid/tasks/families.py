"""Which of MiniGrid's classes the compiled batch covers, and what it needs to know about each; BabyAI's: `babyai_families`."""

from __future__ import annotations

from typing import Any

from minigrid import envs
from minigrid.core.constants import COLOR_NAMES, COLOR_TO_IDX, IDX_TO_COLOR
from minigrid.core.world_object import Lava, Wall
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.babyai.families import babyai_family
from optioncoagent_envs.minigrid.engine import levels, rooms
from optioncoagent_envs.minigrid.engine.codes import BALL, BOX, BOX_NAMED, GREY_WALL, KEY, LAVA, NAMED, NUM_COLORS
from optioncoagent_envs.minigrid.engine.rules import AVOID, FETCH, GO_NEXT_TO, MATCH, OPEN, PICKUP, PUT_NEAR, RED_THEN_BLUE
from optioncoagent_envs.minigrid.family import Family
from optioncoagent_envs.minigrid.tasks import things as tasks

COLORS_BY_INDEX = [IDX_TO_COLOR[index] for index in range(NUM_COLORS)]
assert sorted(COLORS_BY_INDEX) == COLOR_NAMES and len(COLOR_TO_IDX) == NUM_COLORS
THINGS = [f"{color} {kind}" for kind in ("key", "ball", "box") for color in COLORS_BY_INDEX]  # as in `minigrid_tasks`
WORDINGS = ("get a", "go get a", "fetch a", "go fetch a", "you must fetch a")


def _pick_up(env: Any) -> list[str]:
    """Missions by the colour of what is to be picked up."""
    kind = getattr(env, "obj_type", "box")
    return [f"pick up the {color} {kind}" for color in COLORS_BY_INDEX]


def _locked_room(env: Any) -> list[str]:
    return [env._gen_mission(lock, room, lock) for lock in COLORS_BY_INDEX for room in COLORS_BY_INDEX]


def _fetch(env: Any) -> list[str]:
    return [f"{wording} {thing}" for wording in WORDINGS for thing in THINGS if not thing.endswith("box")]


def _put_near(env: Any) -> list[str]:
    return [f"put the {moved} near the {target}" for moved in THINGS for target in THINGS]


def _num_objects(env: Any) -> list[int]:
    return [env.numObjs]


def _start(env: Any) -> list[int]:
    return [-1, -1, 0] if env.agent_start_pos is None else [*env.agent_start_pos, env.agent_start_dir]


def _obstacle(env: Any) -> int | None:
    return {Lava: LAVA, Wall: GREY_WALL}.get(env.obstacle_type)


def _lava_gap(env: Any) -> list[int] | None:
    code = _obstacle(env)
    return None if code is None else [code]


def _crossing(env: Any) -> list[int] | None:
    code = _obstacle(env)
    return None if code is None else [env.num_crossings, code]


def _four_rooms(env: Any) -> list[int] | None:
    return [] if env._agent_default_pos is None and env._goal_default_pos is None else None


def _key_corridor(env: Any) -> list[int] | None:
    code = {"key": KEY + NAMED, "ball": BALL + NAMED, "box": BOX + BOX_NAMED}.get(env.obj_type)
    return None if code is None else [env.room_size, env.num_rows, code]


def _two_rooms(env: Any) -> list[int]:
    return [env.room_size, 1, 2, 0, 0, 0, env.key_in_box, env.blocked, 0]


def _maze(env: Any) -> list[int]:
    keys_last = isinstance(env, envs.ObstructedMaze_Full_V1)
    return [env.room_size, 3, 3, *env.agent_room, env.num_quarters, env.key_in_box, env.blocked, keys_last]


FAMILIES: dict[type[MiniGridEnv], Family] = {
    envs.EmptyEnv: Family(levels.empty, settings=_start),
    envs.DistShiftEnv: Family(levels.dist_shift, settings=lambda env: [*_start(env), env.strip2_row]),
    envs.DynamicObstaclesEnv: Family(levels.dynamic_obstacles, AVOID, _start, extra_columns=lambda env: env.n_obstacles),
    envs.LavaGapEnv: Family(levels.lava_gap, settings=_lava_gap),
    envs.CrossingEnv: Family(levels.crossing, settings=_crossing),
    envs.DoorKeyEnv: Family(levels.door_key),
    envs.FourRoomsEnv: Family(levels.four_rooms, settings=_four_rooms),
    envs.LockedRoomEnv: Family(levels.locked_room, missions=_locked_room),
    envs.MultiRoomEnv: Family(rooms.multi_room, settings=lambda env: [env.minNumRooms, env.maxNumRooms, env.maxRoomSize]),
    envs.PlaygroundEnv: Family(rooms.playground),
    envs.UnlockEnv: Family(rooms.unlock, OPEN, lambda env: [env.room_size, 0, 0]),
    envs.UnlockPickupEnv: Family(rooms.unlock, PICKUP, lambda env: [env.room_size, 1, 0], _pick_up),
    envs.BlockedUnlockPickupEnv: Family(rooms.unlock, PICKUP, lambda env: [env.room_size, 1, 1], _pick_up),
    envs.KeyCorridorEnv: Family(rooms.key_corridor, PICKUP, _key_corridor, _pick_up),
    envs.ObstructedMaze_1Dlhb: Family(rooms.obstructed_maze, PICKUP, _two_rooms),
    envs.ObstructedMaze_Full: Family(rooms.obstructed_maze, PICKUP, _maze),
    envs.ObstructedMaze_Full_V1: Family(rooms.obstructed_maze, PICKUP, _maze),
    envs.FetchEnv: Family(tasks.fetch, FETCH, _num_objects, _fetch),
    envs.GoToObjectEnv: Family(tasks.go_to_object, GO_NEXT_TO, _num_objects, lambda env: [f"go to the {thing}" for thing in THINGS]),
    envs.GoToDoorEnv: Family(tasks.go_to_door, GO_NEXT_TO, missions=lambda env: [f"go to the {color} door" for color in COLORS_BY_INDEX]),
    envs.PutNearEnv: Family(tasks.put_near, PUT_NEAR, lambda env: [env.numObjs] if env.numObjs > 1 else None, _put_near),
    envs.RedBlueDoorEnv: Family(tasks.red_blue_door, RED_THEN_BLUE),
    envs.MemoryEnv: Family(tasks.memory, MATCH, lambda env: [env.random_length] if env.height % 2 else None),
}


def family_of(env: MiniGridEnv) -> Family | None:
    """The family of an environment as it was made; None if the compiled batch does not cover it."""
    family = babyai_family(env) if isinstance(env, RoomGridLevel) else FAMILIES.get(type(env))
    try:
        return family if family is not None and family.settings(env) is not None else None
    except KeyError:  # a colour, a kind of object or the like that MiniGrid does not know either
        return None
