"""Training until a return is reached."""

from __future__ import annotations

import math
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
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


def test_what_is_sooner_has_its_interval_from_four_seeds_on():
    """By hand: of the pairs of two tasks 3 / 4 and 3 / 8, a tie counted half; nothing is uncertain where all seeds are alike."""
    ours, theirs = [np.array([1.0, 3.0]), np.array([2.0])], [np.array([2.0, 4.0]), np.array([2.0, np.inf, 1.0, 1.0])]
    assert rows.shown_sooner(ours, theirs) == "0.56"  # (3 / 4 + (1 / 2 + 1) / 4) / 2
    alike = [np.full(4, 1.0)], [np.full(4, 2.0)]
    assert rows.shown_sooner(*alike) == "1.00 [1.00, 1.00]" and rows.shown_sooner(*reversed(alike)) == "0.00 [0.00, 0.00]"


@dataclass(frozen=True)
class Named:
    agent: str
    seed: int


def test_a_line_that_is_not_whole_is_no_run(tmp_path):
    path = tmp_path / "rows.csv"
    for seed in range(2):
        rows.write(path, Named("A", seed), {"frames": 234567.0, "seconds": 2.0})
    assert rows.read(path, Named)[Named("A", 1)] == {"frames": 234567.0, "seconds": 2.0}
    with pytest.raises(ValueError, match="has the columns"):
        rows.write(path, Named("A", 2), {"frames": 1.0, "second": 2.0})
    whole = path.read_text()
    for torn in (whole[:-1], whole[:-8], whole + "A,2,1.0,2.0,3.0\n"):
        path.write_text(torn)
        with pytest.raises(ValueError, match=r"line \d is not whole"):
            rows.read(path, Named)


def test_two_rows_of_one_run_are_named(tmp_path):
    """As where rows of two machines were put together: which of the two counts is not for the reader to choose."""
    path = tmp_path / "rows.csv"
    for frames in (1.0, 2.0):
        rows.write(path, Named("a", 0), {"frames": frames})
    with pytest.raises(ValueError, match="line 3 is of a run that has a row already"):
        rows.read(path, Named)


def test_a_file_that_a_kill_has_left_empty_gets_its_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.touch()
    rows.write(path, Named("a", 1), {"frames": 3.0})
    assert rows.read(path, Named) == {Named("a", 1): {"frames": 3.0}}


def test_only_runs_without_a_row_are_trained(tmp_path, monkeypatch) -> None:
    class Here:
        """The pool, in this process."""

        def Pool(self, workers):  # noqa: N802, multiprocessing's name
            return nullcontext(self)

        def imap_unordered(self, train, missing):
            return map(train, missing)

    monkeypatch.setattr(rows.multiprocessing, "get_context", lambda kind: Here())
    path, trained = tmp_path / "rows.csv", []

    def train(run):
        trained.append(run)
        return run, {"frames": float(run.seed)}

    for seeds in ([0], [0, 1, 2], [2, 1]):
        rows.fill(path, [Named("A", seed) for seed in seeds], train)
    assert trained == [Named("A", seed) for seed in (0, 1, 2)] and rows.read(path, Named) == {
        run: {"frames": float(run.seed)} for run in trained
    }


def test_who_is_sooner_is_told_over_the_tasks_that_both_have(capsys):
    """More than three seeds have an interval."""

    @dataclass(frozen=True)
    class Shown:
        task: str
        agent: str
        seed: int

    frames = {("one", "a"): [1, 2, 3, 4], ("one", "b"): [5, 6, 7, np.inf], ("two", "b"): [1] * 4, ("three", "a"): [2], ("three", "b"): [1]}
    results = {Shown(*key, seed): {"frames": float(x)} for key, of in frames.items() for seed, x in enumerate(of)}
    rows.print_sooner(results, "agent", "a")
    assert capsys.readouterr().out == "b: sooner than a 0.50 (2 tasks)\n"
    rows.print_sooner({run: row for run, row in results.items() if run.task != "three"}, "agent", "a")
    assert capsys.readouterr().out == "b: sooner than a 0.00 [0.00, 0.00] (1 tasks)\n"
