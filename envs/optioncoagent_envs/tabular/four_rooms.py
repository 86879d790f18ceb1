"""Four rooms (Sutton, Precup, Singh 1999) as in the option-critic paper, with a goal that can be moved.

104 cells, four actions, reward 1 for entering the goal, which ends the episode; the start is uniform over the other cells. Three
dynamics go by this name and are never to be compared with each other:

* "text": with probability 1/3 the move is replaced by one to a random empty adjacent cell (what the paper says);
* "code": the move happens, then with probability 1/3 a hop to a random empty neighbour of the cell that the agent is in, also where a
  wall has stopped the move;
* "script": as "code", but after a move that a wall has stopped there is no hop (what the authors' script does, to the letter). The fewest
  steps are the same, as nobody who hurries runs into walls; at random it takes longer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optioncoagent_envs.tabular.tables import MOVES, Table, TableEnv, merge

LAYOUT = """\
wwwwwwwwwwwww
w     w     w
w     w     w
w           w
w     w     w
w     w     w
ww wwww     w
w     www www
w     w     w
w     w     w
w           w
w     w     w
wwwwwwwwwwwww""".splitlines()
CELLS = [(r, c) for r, line in enumerate(LAYOUT) for c, mark in enumerate(line) if mark == " "]
STATE = {cell: s for s, cell in enumerate(CELLS)}
EAST_DOORWAY = STATE[7, 9]  # state 62, the goal at first
LOWER_RIGHT_ROOM = tuple(STATE[r, c] for r in range(8, 12) for c in range(7, 12))  # where the goal moves to
SLIP = 1 / 3
DYNAMICS = ("text", "code", "script")


class FourRooms(TableEnv):
    """Four rooms; `set_goal` moves the goal (from the next step on). See the module for the dynamics."""

    def __init__(self, dynamics: str = "text", goal: int = EAST_DOORWAY, render_mode: str | None = None):
        if dynamics not in DYNAMICS:
            raise ValueError(f'dynamics={dynamics!r}: choose "text" (as the paper says), "script" (as its script does) or "code"')
        self.dynamics = dynamics
        super().__init__(CELLS, *_tables(dynamics, goal), render_mode)
        self.goal = goal

    def set_goal(self, goal: int) -> None:
        """Move the goal to another cell. Raises ValueError if it is no cell."""
        self.P, self.initial_state_distrib = _tables(self.dynamics, goal)
        self.goal = goal

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """`options={"goal": s}` moves the goal before the start is drawn."""
        if options and "goal" in options:
            self.set_goal(options["goal"])
        return super().reset(seed=seed)


def _tables(dynamics: str, goal: int) -> tuple[Table, np.ndarray]:
    if isinstance(goal, bool) or not isinstance(goal, int | np.integer) or not 0 <= goal < len(CELLS):
        raise ValueError(f"goal={goal!r}: four rooms has the cells 0 … {len(CELLS) - 1}")
    P: Table = {}
    for s, cell in enumerate(CELLS):
        P[s] = {}
        for a, move in enumerate(MOVES):
            moved = STATE.get(_add(cell, move), s)  # a wall stops the move
            hops = [s] if dynamics == "script" and moved == s else _neighbours(CELLS[s if dynamics == "text" else moved])
            outcomes = [(1 - SLIP, moved), *((SLIP / len(hops), hop) for hop in hops)]
            P[s][a] = [(1.0, goal, 0.0, True)] if s == goal else merge(outcomes, goal, 0.0, 1.0)
    start = np.ones(len(CELLS))
    start[goal] = 0.0
    return P, start / start.sum()


def _neighbours(cell: tuple[int, int]) -> list[int]:
    return [STATE[_add(cell, move)] for move in MOVES if _add(cell, move) in STATE]


def _add(cell: tuple[int, int], move: tuple[int, int]) -> tuple[int, int]:
    return cell[0] + move[0], cell[1] + move[1]
