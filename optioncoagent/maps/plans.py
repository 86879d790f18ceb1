"""A level as an MDP, with its floor plan: the cell in which the agent stands in each state, and what else there is to see."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optioncoagent.imports import is_minigrid_id, plain_id
from optioncoagent.maps import MAX_STATES
from optioncoagent.mdp import MDP
from optioncoagent.mdp.toy_text import refuse_wrappers

STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (row, column) steps of facing right, down, left, up, as MiniGrid numbers them
MINIGRID_ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
TABLE_ACTIONS = ("up", "down", "left", "right")
NOWHERE = -1


@dataclass(frozen=True)
class FloorPlan:
    """A grid of cells from above; cell = columns * row + column.

    walls: (rows, columns) bool. marks: {cell: (what is there, its colour)} at the start of an episode. starts: cells where episodes start.
    cell: (S,) int, where the agent stands in each state of the MDP; NOWHERE in its end. facing: (S,) int, an index of STEPS; None where
    the agent faces nowhere. actions: their names.
    """

    walls: NDArray[np.bool_]
    marks: dict[int, tuple[str, str]]
    starts: NDArray[np.int64]
    cell: NDArray[np.int64]
    facing: NDArray[np.int64] | None
    actions: tuple[str, ...]

    @property
    def num_cells(self) -> int:
        return self.walls.size


def read_level(
    env_id: str, gamma: float, seed: int = 0, env_kwargs: Mapping[str, Any] | None = None, max_states: int = MAX_STATES
) -> tuple[MDP, FloorPlan]:
    """The level that `reset(seed=seed)` makes of a MiniGrid task, or a grid task with tables (four rooms, gridworld; seed says nothing
    there); env_kwargs: what the environment is made with.

    Raises ValueError for any other environment (a MiniGrid one with env_kwargs among them), for a level that cannot be enumerated, and for
    an id that names a module which the caller has not imported.
    """
    from optioncoagent_envs.tabular.tables import TableEnv

    if seed < 0:
        raise ValueError(f"level={seed}: the seed of a level is at least 0")
    env = _make(env_id, env_kwargs or {})
    if isinstance(env, TableEnv):
        return _table_level(env, gamma)
    if not (hasattr(env, "grid") and hasattr(env, "agent_pos")):
        raise ValueError(f"{env_id} has no floor plan: maps are drawn of MiniGrid levels, four rooms and the gridworld")
    if env_kwargs:
        raise ValueError(f"{env_id} was made with {dict(env_kwargs)}: maps are drawn of MiniGrid levels as they are")
    env.reset(seed=seed)
    return _minigrid_level(env, env.spec.id, gamma, seed, max_states)


def _make(env_id: str, env_kwargs: Mapping[str, Any]) -> Any:
    import gymnasium as gym
    import minigrid  # noqa: F401  (registers the ids)

    import optioncoagent_envs  # noqa: F401  (registers the ids)

    module, _, name = env_id.rpartition(":")
    if module and module not in sys.modules:
        raise ValueError(f"{env_id} names the module {module}, which is code: import it first (on the command line --module {module})")
    env = gym.make(plain_id(env_id) if is_minigrid_id(env_id) else name, disable_env_checker=True, **env_kwargs)
    refuse_wrappers(env, env_id, "a floor plan and an MDP of it", "register the environment without it")
    return env.unwrapped


def _table_level(env: Any, gamma: float) -> tuple[MDP, FloorPlan]:
    rows, columns = (1 + max(cell[axis] for cell in env.cells) for axis in (0, 1))
    outer = (rows + 1, columns + 1)  # a wall on the far sides too
    cell = np.array([outer[1] * row + column for row, column in env.cells])
    walls = np.ones(outer, dtype=bool)
    walls.reshape(-1)[cell] = False
    ends = {s for actions in env.P.values() for outcomes in actions.values() for _, s, _, terminated in outcomes if terminated}
    starts = np.flatnonzero(env.initial_state_distrib)
    plan = FloorPlan(walls, {int(cell[s]): ("goal", "green") for s in ends}, cell[starts], np.append(cell, NOWHERE), None, TABLE_ACTIONS)
    return MDP.from_env(env, gamma), plan


def _minigrid_level(env: Any, env_id: str, gamma: float, seed: int, max_states: int) -> tuple[MDP, FloorPlan]:
    grid = env.grid
    walls = np.zeros((grid.height, grid.width), dtype=bool)
    marks = {}
    for index, thing in enumerate(grid.grid):
        if thing is not None and thing.type == "wall":
            walls.reshape(-1)[index] = True
        elif thing is not None and thing.type != "floor":
            marks[index] = (thing.type, thing.color)
    start = int(env.agent_pos[1]), int(env.agent_pos[0])
    mdp = MDP.from_minigrid(env_id, gamma, seed=seed, max_states=max_states, progress_bar=True)
    cell, facing = poses(mdp, start, int(env.agent_dir), grid.width)
    return mdp, FloorPlan(walls, marks, cell[:1], cell, facing, MINIGRID_ACTIONS)


def poses(mdp: MDP, start: tuple[int, int], direction: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The agent's cell and facing in every state of a MiniGrid level, (S,) each, from those of its start (row, column), by walking it.

    Turns turn; going forward, where it leads to another state, moves one cell; other actions do neither. Raises ValueError if two ways to
    a state do not agree, or the direction that is seen there does: such a task moves its agent in ways of its own.
    """
    successor = mdp.transition_matrix.indices.reshape(mdp.num_states, mdp.num_actions)
    pose = np.full((mdp.num_states, 3), NOWHERE)
    pose[0] = *start, direction
    waiting = [0]
    for s in waiting:  # grows while it is read
        for action, after in enumerate(successor[s]):
            if mdp.terminal[after]:
                continue
            row, column, facing = (int(x) for x in pose[s])
            match MINIGRID_ACTIONS[action]:
                case "left" | "right" as turn:
                    facing = (facing + (1 if turn == "right" else -1)) % 4
                case "forward" if after != s:
                    row, column = row + STEPS[facing][0], column + STEPS[facing][1]
            if pose[after, 2] == NOWHERE:
                pose[after] = row, column, facing
                waiting.append(int(after))
            if tuple(pose[after]) != (row, column, facing) or _seen_direction(mdp, after) not in (facing, None):
                raise ValueError("this level's agent moves in ways of its own: no floor plan can be drawn of it")
    return np.where(pose[:, 2] == NOWHERE, NOWHERE, columns * pose[:, 0] + pose[:, 1]), pose[:, 2]


def _seen_direction(mdp: MDP, state: int) -> int | None:
    seen = mdp.observations[mdp.observation[state]] if mdp.observations else {}
    return seen.get("direction") if isinstance(seen, dict) else None
