"""What the compiled batch needs to know about a class of MiniGrid's environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optioncoagent_envs.minigrid.engine.rules import GOAL_ONLY


def no_settings(env: Any) -> list[int] | None:
    return []


def one_mission(env: Any) -> list[str]:
    return [env.observation_space["mission"].sample()]


@dataclass(frozen=True)
class Family:
    """generate: the compiled generator (arguments as in `minigrid_levels`; with the rule TOLD also `marks`, after `agent`).

    rule: what ends episodes (`minigrid_rules`); settings: what an instance gives the generator, None if it is not covered
    when made like this; missions: the texts that its levels number; extra_columns: how many columns of `agent` the rule
    needs for itself.
    """

    generate: Callable[..., None]
    rule: int = GOAL_ONLY
    settings: Callable[[Any], list[int] | None] = no_settings
    missions: Callable[[Any], list[str]] = one_mission
    extra_columns: Callable[[Any], int] = lambda env: 0
