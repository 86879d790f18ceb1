"""What the compiled batch needs to know about a class of MiniGrid's environments: all that a task is, in one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.minigrid.engine.rows import MISSION
from optioncoagent_envs.minigrid.engine.rules import reach_goal
from optioncoagent_envs.minigrid.kept import Kept


def no_settings(env: Any) -> list[int] | None:
    return []


def one_mission(env: Any) -> list[str]:
    return [env.observation_space["mission"].sample()]


@dataclass(frozen=True)
class Family:
    """generate: the compiled generator (`engine.levels`). rule: what an action does and what ends an episode (`engine.rules`).

    settings: what an instance gives the generator, None if it is not covered when made like this. missions: the texts that
    its levels number. extra_columns: how many columns of `agent` the task needs for itself. keeps: what MiniGrid's
    environment remembers beside the grid. spoken: the missions of rows of `agent`, of a task that numbers none but has its
    levels say them; its generator and rule may then mark cells, and the generator takes `marks` after `agent`. draws: do steps draw
    from the stream that levels are drawn from?
    """

    generate: Callable[..., None]
    rule: Callable[..., int] = reach_goal
    settings: Callable[[Any], list[int] | None] = no_settings
    missions: Callable[[Any], list[str]] = one_mission
    extra_columns: Callable[[Any], int] = lambda env: 0
    keeps: tuple[Kept, ...] = ()
    spoken: Callable[[np.ndarray], list[str]] | None = None
    draws: bool = False

    def drawn_by(self, env: Any) -> list[int] | None:
        """The settings of an instance, and how many columns it needs for itself; None if it is not covered when made like this."""
        try:
            settings, columns = self.settings(env), self.extra_columns(env)
            if settings is None or columns < 0:
                return None
            return np.array([*settings, columns, env.max_steps], np.int64)[:-1].tolist()  # the limit only has to fit
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            # a name that a later MiniGrid has not, a colour that this one does not know either, a number that is none
            return None

    def say(self, agent: np.ndarray, missions: Mapping[int, str]) -> list[str]:
        """The missions of rows of `agent`; missions: the texts by number."""
        return [missions[k] for k in agent[:, MISSION].tolist()] if self.spoken is None else self.spoken(agent)


Families = dict[type[MiniGridEnv], Family]
