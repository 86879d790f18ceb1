"""Rows of runs in a CSV file, so that a benchmark that was stopped goes on where it was: one line for each run, never run again."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

Result = dict[str, float]


def read(path: Path, kind: type) -> dict[Any, Result]:
    """{run: its numbers}; kind: the record whose fields, with a seed, say which run it is."""
    if not path.exists():
        return {}
    names = [field.name for field in fields(kind)]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        kind(**{name: int(row[name]) if name == "seed" else row[name] for name in names}): {
            name: float(value or "nan") for name, value in row.items() if name not in names
        }
        for row in rows
    }


def write(path: Path, run: Any, result: Result) -> None:
    """Add a row, under a header if it is the first."""
    row, new = asdict(run) | result, not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
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
