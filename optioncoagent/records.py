"""A run on disk: config.json, metrics.csv, TensorBoard events. A folder that exists is never written into."""

from __future__ import annotations

import csv
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("optioncoagent", "numpy", "scipy", "numba", "torch", "gymnasium", "minigrid")


def new_folder(path: Path | None, default: str) -> Path:
    """Make a new folder: `path`, or the first of runs/default, runs/default-2, … that does not exist. FileExistsError if `path` does."""
    if path is None:
        names = (f"{default}-{i}" if i > 1 else default for i in range(1, 100_000))
        path = next(p for p in (Path("runs") / name for name in names) if not p.exists())
    elif path.exists():
        raise FileExistsError(f"{path} exists, and a run is never overwritten: choose another folder")
    path.mkdir(parents=True)
    return path


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that is not installed
            found[package] = "not installed"
    return found


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, default=lambda x: x.tolist() if hasattr(x, "tolist") else str(x)) + "\n")


class MetricsWriter:
    """Rows of numbers to metrics.csv and to TensorBoard, each row as soon as it is there.

    Columns are those of the first row, in their order. Columns that start with "seconds" hold times; all others are the same for the
    same seed.
    """

    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        self.file = (folder / "metrics.csv").open("x", newline="")
        self.events = SummaryWriter(str(folder))
        self.csv: csv.DictWriter[str] | None = None

    def __call__(self, row: dict[str, float]) -> None:
        if self.csv is None:
            self.csv = csv.DictWriter(self.file, list(row))
            self.csv.writeheader()
        self.csv.writerow(row)
        self.file.flush()
        for name, value in row.items():
            self.events.add_scalar(name, value, int(row["timesteps"]))

    def close(self) -> None:
        self.file.close()
        self.events.close()
