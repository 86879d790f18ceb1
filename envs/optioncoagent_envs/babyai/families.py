"""BabyAI's levels in the compiled batch: one rule for all, and a generator for each way to draw a mission."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from minigrid.core.constants import COLOR_TO_IDX
from minigrid.envs.babyai import goto, other, putnext, unlock
from minigrid.envs.babyai import open as open_
from minigrid.envs.babyai import pickup as pickup_
from minigrid.envs.babyai.core import verifier
from minigrid.envs.babyai.core.levelgen import LevelGen
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel

from optioncoagent_envs.babyai import missions, sentences
from optioncoagent_envs.babyai.instructions import Instruction, missions_of
from optioncoagent_envs.babyai.levels import KINDS, RANDOM, levels_of
from optioncoagent_envs.babyai.verifier import INSTRUCTION_COLUMNS, act_as_told
from optioncoagent_envs.minigrid.family import Family, no_settings


def _told(mission: Callable[..., bool], own: Callable[[Any], list[int] | None] = no_settings) -> Family:
    """A family that follows an instruction; own: settings of the mission's own, None if it is not covered when made like this."""

    def settings(env: Any) -> list[int] | None:
        limit, others = env.max_steps if env.fixed_max_steps else -1, own(env)
        return None if others is None else [env.room_size, env.num_rows, env.num_cols, limit, *others]

    return Family(
        levels_of(mission),
        act_as_told,
        settings,
        missions=lambda env: [],
        extra_columns=lambda env: INSTRUCTION_COLUMNS,
        keeps=(Instruction(),),
        spoken=missions_of,
    )


def _color(name: str | None) -> int:
    return RANDOM if name is None else COLOR_TO_IDX[name]


def _sentences(env: Any) -> list[int] | None:
    if max(len(env.action_kinds), len(env.instr_kinds)) > sentences.LONGEST:
        return None
    locked = ceil(env.locked_room_prob * 2**53)
    kinds = _digits(env.action_kinds, sentences.CLAUSES_CALLED), _digits(env.instr_kinds, sentences.SENTENCES_CALLED)
    return [env.num_dists, locked, env.locations, env.unblocking, env.implicit_unlock, *kinds]


def _digits(names: Sequence[str], numbers: Mapping[str, int]) -> int:
    return sum(numbers[name] * sentences.LIST**k for k, name in enumerate(names))


MISSIONS: dict[Callable[..., Any], Family] = {
    goto.GoToRedBallGrey.gen_mission: _told(missions.go_to_red_ball, lambda env: [env.num_dists, 1]),
    goto.GoToRedBall.gen_mission: _told(missions.go_to_red_ball, lambda env: [env.num_dists, 0]),
    goto.GoToObj.gen_mission: _told(missions.go_to_obj),
    goto.GoToLocal.gen_mission: _told(missions.go_to_local, lambda env: [env.num_dists]),
    goto.GoTo.gen_mission: _told(missions.go_to, lambda env: [env.num_dists, env.doors_open]),
    goto.GoToImpUnlock.gen_mission: _told(missions.go_to_imp_unlock),
    goto.GoToRedBlueBall.gen_mission: _told(missions.go_to_red_blue_ball, lambda env: [env.num_dists]),
    goto.GoToDoor.gen_mission: _told(missions.go_to_door),
    goto.GoToObjDoor.gen_mission: _told(missions.go_to_obj_door),
    open_.Open.gen_mission: _told(missions.open_any),
    open_.OpenRedDoor.gen_mission: _told(missions.open_red_door),
    open_.OpenDoor.gen_mission: _told(missions.open_door, lambda env: [{"color": 0, "loc": 1, None: RANDOM}[env.select_by], env.debug]),
    open_.OpenTwoDoors.gen_mission: _told(
        missions.open_two_doors, lambda env: [_color(env.first_color), _color(env.second_color), env.strict]
    ),
    open_.OpenDoorsOrder.gen_mission: _told(missions.open_doors_order, lambda env: [env.num_doors, env.debug]),
    pickup_.Pickup.gen_mission: _told(missions.pickup, lambda env: [18, 0]),
    pickup_.UnblockPickup.gen_mission: _told(missions.pickup, lambda env: [20, 1]),
    pickup_.PickupDist.gen_mission: _told(missions.pickup_dist, lambda env: [env.debug]),
    pickup_.PickupAbove.gen_mission: _told(missions.pickup_above),
    putnext.PutNextLocal.gen_mission: _told(missions.put_next_local, lambda env: [env.num_objs]),
    putnext.PutNext.gen_mission: _told(missions.put_next, lambda env: [env.objs_per_room]),
    unlock.Unlock.gen_mission: _told(missions.unlock),
    unlock.UnlockLocal.gen_mission: _told(missions.unlock_local, lambda env: [3 * env.distractors, 0]),
    unlock.KeyInBox.gen_mission: _told(missions.unlock_local, lambda env: [0, 1]),
    unlock.UnlockPickup.gen_mission: _told(missions.unlock_pickup, lambda env: [4 * env.distractors, 0]),
    unlock.BlockedUnlockPickup.gen_mission: _told(missions.unlock_pickup, lambda env: [0, 1]),
    unlock.UnlockToUnlock.gen_mission: _told(missions.unlock_to_unlock),
    other.ActionObjDoor.gen_mission: _told(missions.action_obj_door),
    other.FindObjS5.gen_mission: _told(missions.find_obj, lambda env: [] if env.num_rows == env.num_cols else None),
    other.KeyCorridor.gen_mission: _told(missions.key_corridor, lambda env: [KINDS[env.obj_type]]),
    other.OneRoomS8.gen_mission: _told(missions.one_room),
    other.MoveTwoAcross.gen_mission: _told(missions.move_two_across, lambda env: [env.objs_per_room]),
    LevelGen.gen_mission: _told(sentences.any_sentence, _sentences),
}


def babyai_family(env: RoomGridLevel) -> Family | None:
    """The family of a level with BabyAI's own rules; a level that starts with an object in hand shows it on the floor at first."""
    cls = type(env)
    is_plain = cls.__module__.startswith("minigrid.") and cls.step is RoomGridLevel.step and not verifier.use_done_actions
    return MISSIONS.get(cls.gen_mission) if is_plain and not getattr(env, "start_carrying", False) else None
