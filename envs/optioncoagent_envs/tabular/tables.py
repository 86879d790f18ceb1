"""A Gymnasium environment played from toy_text tables."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

# P[s][a] lists (probability, next state, reward, terminated)
Table = dict[int, dict[int, list[tuple[float, int, float, bool]]]]

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right: (row, column) steps of actions 0 … 3


class TableEnv(gym.Env[Any, Any]):
    """A finite environment in a grid of cells, stepped from `P` and `initial_state_distrib` as Gymnasium's toy_text environments are.

    cells: (row, column) of each state. P: the table. initial_state_distrib: (S,), law of the first state.
    Observations are state indices, actions 0 … 3 are up, down, left, right. `render()` with render_mode="ansi" draws the grid: `A` is the
    agent, `G` where an episode ends.
    """

    metadata = {"render_modes": ["ansi"]}

    def __init__(self, cells: list[tuple[int, int]], P: Table, initial_state_distrib: NDArray[np.float64], render_mode: str | None = None):
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f'render_mode={render_mode!r}: choose "ansi" or None')
        self.cells = cells
        self.P = P
        self.initial_state_distrib = initial_state_distrib
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Discrete(len(cells))
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.state = int(np.argmax(initial_state_distrib))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.choice(len(self.cells), p=self.initial_state_distrib))
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"action={action!r}: it is one of 0 … {len(MOVES) - 1}")
        outcomes = self.P[self.state][int(action)]
        pick = np.searchsorted(np.cumsum([outcome[0] for outcome in outcomes]), self.np_random.random(), side="right")
        _, self.state, reward, terminated = outcomes[min(int(pick), len(outcomes) - 1)]
        return self.state, reward, terminated, False, {}

    def render(self) -> str | None:
        if self.render_mode is None:
            return None
        ends = {s for actions in self.P.values() for outcomes in actions.values() for _, s, _, terminated in outcomes if terminated}
        rows, columns = 1 + max(r for r, _ in self.cells), 1 + max(c for _, c in self.cells)
        picture = [["#"] * columns for _ in range(rows)]
        for s, (r, c) in enumerate(self.cells):
            picture[r][c] = "A" if s == self.state else "G" if s in ends else "."
        return "\n".join("".join(row) for row in picture)


def merge(outcomes: list[tuple[float, int]], goal: int, step_reward: float, goal_reward: float) -> list[tuple[float, int, float, bool]]:
    """Add up equal successors and attach what entering them brings."""
    probability: dict[int, float] = {}
    for p, s in outcomes:
        probability[s] = probability.get(s, 0.0) + p
    return [(p, s, goal_reward if s == goal else step_reward, s == goal) for s, p in probability.items()]
