"""Which family of the compiled batch an environment is of."""

from __future__ import annotations

from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.babyai.families import babyai_family
from optioncoagent_envs.minigrid.family import Family
from optioncoagent_envs.minigrid.tasks import FAMILIES
from optioncoagent_envs.minigrid.tasks.things import COLORS_ARE_KNOWN


def family_of(env: MiniGridEnv) -> Family | None:
    """The family of an environment as it was made; None if the compiled batch does not cover it."""
    family = babyai_family(env) if isinstance(env, RoomGridLevel) else FAMILIES.get(type(env))
    if not COLORS_ARE_KNOWN:  # a later MiniGrid's
        return None
    return None if family is None or family.drawn_by(env) is None else family
