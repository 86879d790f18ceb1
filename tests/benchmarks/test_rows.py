"""Training until a return is reached."""

from __future__ import annotations

import math
from collections import deque

from run_folders import benchmark

rows = benchmark("rows")


class Learner:
    """Ten steps and ten episodes an update; the mean return is a tenth of the updates so far. It comes with 50 steps behind it."""

    def __init__(self) -> None:
        self.num_timesteps, self.updates = 50, 0
        self.recent: deque[tuple[float, int]] = deque(maxlen=100)

    def update(self) -> dict[str, float]:
        self.num_timesteps += 10
        self.updates += 1
        self.recent.extend([(0.0, 1)] * 10)
        return {"return_mean": self.updates / 10}


def test_frames_are_counted_from_the_call_until_the_return_is_reached() -> None:
    frames, row = rows.train_until(Learner(), target=1.2, limit=500)
    assert (frames, row["return_mean"]) == (120, 1.2)


def test_a_mean_over_fewer_than_a_hundred_episodes_does_not_count() -> None:
    assert rows.train_until(Learner(), target=0.1, limit=500)[0] == 100


def test_what_is_not_reached_within_the_limit_is_infinite() -> None:
    learner = Learner()
    frames, row = rows.train_until(learner, target=1.3, limit=120)
    assert (frames, row["return_mean"], learner.num_timesteps) == (math.inf, 1.2, 170)
