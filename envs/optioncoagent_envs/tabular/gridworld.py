"""The 3x3 gridworld of the gridworld experiment (ACN, appendix D), in our reading of what the paper leaves open.

Start top-left, goal bottom-right, deterministic moves that stop at the edge, reward -1 on every step, the last included, no time limit.
"""

from __future__ import annotations

import numpy as np

from optioncoagent_envs.tabular.tables import MOVES, Table, TableEnv, merge


def gridworld(size: int = 3, render_mode: str | None = None) -> TableEnv:
    """A `size` x `size` gridworld; state = size * row + column, actions up, down, left, right."""
    if size < 2:
        raise ValueError(f"size={size}: a gridworld with a start and a goal needs a size of at least 2")
    cells = [(r, c) for r in range(size) for c in range(size)]
    goal = len(cells) - 1
    P: Table = {}
    for s, (row, column) in enumerate(cells):
        P[s] = {}
        for a, (dr, dc) in enumerate(MOVES):
            successor = size * min(max(row + dr, 0), size - 1) + min(max(column + dc, 0), size - 1)
            P[s][a] = [(1.0, goal, 0.0, True)] if s == goal else merge([(1.0, successor)], goal, -1.0, -1.0)
    return TableEnv(cells, P, np.eye(len(cells))[0], render_mode)
