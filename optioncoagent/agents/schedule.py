"""How much of a training is left, for what falls along it: the step size of `anneal_lr`."""

from __future__ import annotations

import numpy as np


class Schedule:
    """What is left of the span of one call of `learn`, from 1 to 0; a call that aims at the same step goes on with its span."""

    def __init__(self) -> None:
        self.span = 0, 0  # from where to where, in steps

    def left(self, now: int, goal: int) -> float:
        """The share of the way to `goal`, in steps, that is still to go, counted from the first call with this goal."""
        if goal != self.span[1]:
            self.span = now, goal
        return max(0.0, (goal - now) / (goal - self.span[0]))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"span": np.array(self.span)}

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        began, goal = map(int, arrays["span"])
        self.span = began, goal
