"""Rows of numbers to metrics.csv and to TensorBoard events: files that only grow, and can be cut back to where a checkpoint stood."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

NEEDED = ("timesteps", "episodes", "return_mean")  # columns of every training
METRICS, EVENTS, OURS = "metrics.csv", "events.out.tfevents.", ".optioncoagent"  # of the names of events, which others have too
Ends = Mapping[str, Any]  # {file: [bytes, SHA-256 of them]}


class GrowingFile:
    """A file written at its end only, with the size and the SHA-256 of what is in it.

    end: where to cut it before going on, as `end` gave it; None starts it anew. ValueError if its beginning is not what it was then. A
    write that fails leaves what was there before.
    """

    def __init__(self, path: Path, end: Any = None):
        self.path = path
        self.size: int = end[0] if end else 0
        expected = end[1] if end else None
        kept = path.read_bytes()[: self.size] if path.exists() else b""
        self.hash = hashlib.sha256(kept)
        if expected is not None and path.exists() and self.hash.hexdigest() != expected:
            raise ValueError(f"{path} is damaged: its first {self.size:,} bytes are not what was written; move it away to go on without it")
        self.size = len(kept)
        self.file = path.open("r+b" if path.exists() else "xb", buffering=0)
        self._cut()

    def write(self, data: bytes) -> None:
        try:
            written = self.file.write(data)
            if written != len(data):  # the disk is nearly full: the rest raises
                self.file.write(data[written:])
        except OSError as error:
            self._cut()
            error.filename = error.filename or str(self.path)
            raise
        self.hash.update(data)
        self.size += len(data)

    def close(self) -> None:
        self.file.close()

    def end(self) -> list[Any]:
        """Size and SHA-256, once that much is on the disk."""
        os.fsync(self.file.fileno())
        return [self.size, self.hash.hexdigest()]

    def _cut(self) -> None:
        self.file.truncate(self.size)
        self.file.seek(self.size)


def read_rows(folder: str | Path, ends: Ends | None = None) -> dict[str, np.ndarray]:
    """The columns of metrics.csv, {name: (rows,)}; a last line that was cut off is left out.

    ends: of a checkpoint, with which what was written before it is compared. FileNotFoundError if there is no such file, ValueError naming
    it if it is damaged.
    """
    path = Path(folder) / METRICS
    if not path.exists():
        raise FileNotFoundError(f"{folder} has no {METRICS}: the run was stopped before its first update, or the file was removed")
    data = path.read_bytes()
    size, expected = (ends or {}).get(METRICS, (0, None))
    if expected is not None and hashlib.sha256(data[:size]).hexdigest() != expected:
        raise ValueError(f"{path} is damaged: its first {size:,} bytes are not what was written")
    lines = data[: data.rfind(b"\n") + 1].decode(errors="replace").splitlines()
    columns, *rows = csv.reader(lines) if lines else [[]]
    try:
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(columns))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    return {name: values[:, j] for j, name in enumerate(columns)}


def read_training(folder: str | Path, ends: Ends | None = None) -> dict[str, np.ndarray]:
    """The same of a training that has begun: ValueError where there are no rows yet, or one of the columns NEEDED is missing."""
    columns = read_rows(folder, ends)
    if columns and (missing := [name for name in NEEDED if name not in columns]):
        raise ValueError(f"{Path(folder) / METRICS} is damaged, or another program's: it has no column {missing[0]}")
    if not len(columns.get("timesteps", ())):
        raise ValueError(f"{folder} has no rows yet")
    return columns


class Rows:
    """Writes rows to metrics.csv and to TensorBoard, each as soon as it is there.

    Columns are those of the first row, in their order; what a later version adds to the rows of a run that goes on is left out. Columns
    that start with "seconds" hold times; all others are the same for the same seed. ends: what `ends` gave when a checkpoint was written:
    both files are cut back to there and go on ({}: to nothing). Without it, FileExistsError if the folder has rows.
    """

    def __init__(self, folder: Path, ends: Ends | None = None):
        if ends is None and (folder / METRICS).exists() and (folder / METRICS).stat().st_size:
            raise FileExistsError(f"{folder / METRICS} exists, and a run is never overwritten: choose another folder")
        ends = ends or {}
        folder.mkdir(parents=True, exist_ok=True)
        self.metrics = GrowingFile(folder / METRICS, ends.get(METRICS))
        self.columns = _columns(folder / METRICS)
        self.reached = max(read_rows(folder).get("timesteps", []), default=-1.0)
        events = next((name for name in ends if name.startswith(EVENTS)), f"{EVENTS}{int(time.time()):010d}.{socket.gethostname()}{OURS}")
        former = re.compile(re.escape(EVENTS) + r"\d{10}\." + re.escape(socket.gethostname()))  # of earlier versions; others append
        for path in folder.glob(f"{EVENTS}*"):
            if path.name != events and (path.name.endswith(OURS) or former.fullmatch(path.name)):
                path.unlink()
        self.events = GrowingFile(folder / events, ends.get(events))
        if not self.events.size:
            self._event(file_version="brain.Event:2")

    def __call__(self, row: Mapping[str, float]) -> None:
        """Raises ValueError for a row of no later step than the last one: it is another training's."""
        if not row["timesteps"] > self.reached:
            name, steps = self.metrics.path, f"{row['timesteps']:,.0f}"
            raise ValueError(
                f"{name} has come to step {self.reached:,.0f}; a row of step {steps} is another training's, which needs a folder of its own"
            )
        line = io.StringIO()
        if not self.columns:
            self.columns = list(row)
            csv.writer(line).writerow(self.columns)
        csv.DictWriter(line, self.columns, restval="nan", extrasaction="ignore").writerow(row)
        self.metrics.write(line.getvalue().encode())
        self.reached = row["timesteps"]
        values = [{"tag": name, "simple_value": value} for name, value in row.items()]
        self._event(step=int(row["timesteps"]), summary={"value": values})

    def ends(self) -> dict[str, Any]:
        """Where both files end, once all of them is on the disk."""
        return {growing.path.name: growing.end() for growing in (self.metrics, self.events)}

    def close(self) -> None:
        self.metrics.close()
        self.events.close()

    def _event(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        RecordWriter(self.events).write(Event(wall_time=time.time(), **fields).SerializeToString())


def _columns(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])
