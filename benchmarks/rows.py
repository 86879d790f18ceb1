"""Rows of runs in a CSV file, so that a benchmark that was stopped goes on where it was: one line for each run, never run again.

And what frames until a target come to over seeds, which may be infinite.
"""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from optioncoagent.runs.statistics import FEWEST, fewest_seeds, median, sooner

Result = dict[str, float]
_MADE_OF: dict[str, Callable[[str], Any]] = {"int": int, "float": float}  # by the name of a field's type
# What was the default when some of the rows were made, so that they can be added to; each goes further back than the one above it.
# No limit on the KL of an update
UNLIMITED: dict[str, Any] = dict(target_kl=None)
# Every coagent shapes the encoder; λ-returns with expectations over the next outputs
EXPECTED: dict[str, Any] = UNLIMITED | dict(sampled_returns=False, encoder_gradient="all")
# 16 environments, rollouts of one size
SIXTEEN: dict[str, Any] = EXPECTED | dict(num_envs=16, num_steps=128, num_minibatches=8, update_epochs=8)
# On MiniGrid codes as numbers, a bonus for observations
BEFORE: dict[str, Any] = SIXTEEN | dict(observation_kinds={"image": "grid"}, int_counts="observation")


def read(path: Path, kind: type) -> dict[Any, Result]:
    """{run: its numbers}; kind: the record whose fields, words or numbers, say which run it is. Raises ValueError for a line that is not
    whole, as where the disk was full, has other columns, or is of a run that has one already."""
    if not path.exists():
        return {}
    names, text = {field.name: _MADE_OF.get(str(field.type), str) for field in fields(kind)}, path.read_text()
    rows = list(csv.DictReader(text.splitlines()))
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values() or (number == len(rows) + 1 and not text.endswith("\n")):
            raise ValueError(f"{path}, line {number} is not whole, or has other columns than the first: remove it, and run again")
    found: dict[Any, Result] = {}
    for number, row in enumerate(rows, 2):
        run = kind(**{name: made(row[name]) for name, made in names.items()})
        if run in found:
            raise ValueError(f"{path}, line {number} is of a run that has a row already ({run}): remove one of the two")
        found[run] = {name: float(value or "nan") for name, value in row.items() if name not in names}
    return found


def write(path: Path, run: Any, result: Result) -> None:
    """Add a row, under a header if it is the first. Raises ValueError if it has other columns than the header."""
    row, new = asdict(run) | result, not path.exists() or not path.stat().st_size
    columns = list(row) if new else next(csv.reader(path.read_text().splitlines()[:1]))
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        if {*row} != {*columns}:
            raise ValueError(f"{path} has the columns {columns}, this row {[*row]}")
        writer.writerow(row)


def fill(path: Path, runs: Iterable[Any], train: Callable[[Any], tuple[Any, Result]], workers: int = 1) -> None:
    """Train the runs that have no row, so many at a time in processes of their own, and write what each came to."""
    runs = list(runs)
    there = read(path, type(runs[0])) if runs else {}
    missing = [run for run in runs if run not in there]
    if missing:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for run, result in pool.imap_unordered(train, missing):
                write(path, run, result)
                print(run, result, flush=True)


def train_until(agent: Any, target: float, limit: int) -> tuple[float, Result]:
    """Train until the mean return of the last 100 episodes is at least `target`: the steps it took, infinite where the whole rollouts that
    reach the limit were not enough, and the metrics of the last update."""
    began, row = agent.num_timesteps, {"return_mean": float("nan")}
    while agent.num_timesteps - began < limit:
        row = agent.update()
        if len(agent.recent) == 100 and row["return_mean"] >= target:
            return agent.num_timesteps - began, row
    return float("inf"), row


def thousands(frames: Iterable[float]) -> list[str]:
    """Thousand frames of each, for a table."""
    return ["∞" if np.isinf(x) else f"{x / 1000:.0f}" for x in frames]


def median_interval(values: Any, resamples: int = 2000) -> tuple[float, float]:
    """Ends of the 95 % bootstrap interval of the median (percentiles), seeds drawn anew."""
    drawn = np.random.default_rng(0).choice(values, (resamples, len(values)))
    ends = np.quantile([median(of) for of in drawn], [0.025, 0.975], method="nearest")
    return float(ends[0]), float(ends[1])


def print_sooner(results: dict[Any, Result], field: str, than: str) -> None:
    """For each value of a field of the runs, beside `than`: the probability that it needs fewer frames, over the tasks that both have."""
    frames: dict[str, dict[str, list[float]]] = {}
    for run in sorted(results, key=lambda run: run.seed):
        frames.setdefault(getattr(run, field), {}).setdefault(run.task, []).append(results[run]["frames"])
    for name, ours in frames.items():
        tasks = [task for task in ours if task in frames.get(than, {})]
        if name != than and tasks:
            pairs = ([np.array(of[task]) for task in tasks] for of in (ours, frames[than]))
            print(f"{name}: sooner than {than} {shown_sooner(*pairs)} ({len(tasks)} tasks)")


def half_interval(values: Any) -> float:
    """Half the 95 % interval of the mean, by Student's t; NaN of fewer than three values."""
    x = np.asarray(values)
    return float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 2 else float("nan")


def shown_sooner(ours: list[np.ndarray], theirs: list[np.ndarray], hierarchical: bool = False) -> str:
    """`sooner` for a table, its interval where no task has fewer seeds than a bootstrap needs."""
    middle, low, high = sooner(ours, theirs, hierarchical=hierarchical)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]" if fewest_seeds([*ours, *theirs]) >= FEWEST else f"{middle:.2f}"
