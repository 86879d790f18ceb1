"""The checkpoints of a run: agent folders under checkpoints/, each with a run.json that says where the run's other files stood.

Each is written whole or not at all. The last few are kept, and the one of the highest return.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optioncoagent.agents import files
from optioncoagent.agents.files import AGENT, CHECKPOINTS, PREFIX, checkpoints
from optioncoagent.runs.folder import CONFIG
from optioncoagent.runs.rows import METRICS

RECORD = "run.json"
LAST = 3  # kept, beside the best


@dataclass(frozen=True)
class Record:
    """The contents of run.json. episodes: in return_mean, at most 100. ends: of metrics.csv and the events (see `rows`). agent, config: the
    checksums of the agent.json beside it, which has those of the other files, and of the run's config.json."""

    timesteps: int
    episodes: int
    return_mean: float | None
    ends: dict[str, Any]
    agent: str
    config: str | None

    @property
    def rank(self) -> tuple[int, float, int]:
        """Larger is better: means over fewer than 100 episodes count less than those over 100."""
        return min(self.episodes, 100), -math.inf if self.return_mean is None else self.return_mean, self.timesteps


def write(run_folder: Path, agent: Any, row: Mapping[str, float], ends: Mapping[str, Any]) -> None:
    """Write a checkpoint of an agent that has just finished the update of this row, and remove those that are no longer kept."""
    home = run_folder / CHECKPOINTS
    home.mkdir(exist_ok=True)
    tidy(run_folder)
    path = home / f"{PREFIX}{int(row['timesteps']):012d}"
    partial = home / f".{path.name}"
    try:
        agent.save(partial)
        mean = row["return_mean"] if math.isfinite(row["return_mean"]) else None
        checksums = _checksum(partial / AGENT), _checksum(run_folder / CONFIG)
        record = {"timesteps": int(row["timesteps"]), "episodes": len(agent.recent), "return_mean": mean, "ends": dict(ends)}
        files.write_file(partial / RECORD, files.seal({**record, "agent": checksums[0], "config": checksums[1]}))
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    files.sync_folder(home)
    tidy(run_folder)


def newest(run_folder: Path, load: Callable[[Path], Any]) -> tuple[Any, Record, list[str]] | None:
    """The newest intact checkpoint, (agent, record, why newer ones were refused); None if the run has none yet.

    Refused ones are renamed, so that the run can write those steps again. ValueError if all are refused.
    """
    refused: list[tuple[Path, Exception]] = []
    for path in checkpoints(run_folder):
        try:
            agent, record = load(path), read_record(path)
            check_config(record, run_folder)
        except (ValueError, TypeError, OSError) as error:
            refused.append((path, error))
            continue
        for other, _ in refused:
            _set_aside(other)
        return agent, record, [str(error) for _, error in refused]
    if refused:
        raise ValueError(f"{run_folder} holds no intact checkpoint: {'; '.join(str(error) for _, error in refused)}")
    return None


def refuse_newer(run_folder: Path, ends: Mapping[str, Any]) -> None:
    """Raise ValueError naming a checkpoint that was written after the one whose `ends` these are ({}: after nothing)."""
    records = []
    for path in checkpoints(run_folder):
        try:
            records.append((path, read_record(path)))
        except (ValueError, OSError):
            continue
    step = max((record.timesteps for _, record in records if record.ends == ends), default=None)
    for path, record in records:
        # of a checkpoint that is not kept any more the rows tell
        if record.timesteps > step if step is not None else record.ends[METRICS][0] > ends.get(METRICS, (0, ""))[0]:
            raise ValueError(
                f"{path} was written after what is to go on from here, and its rows would be cut off: go on from it (`newest` does), move "
                "it away, or record in another folder"
            )


def best(run_folder: Path) -> Path:
    """The checkpoint of the highest return among those kept. FileNotFoundError if there is none that can be read."""
    ranks = [(rank, path) for path in checkpoints(run_folder) if (rank := _rank(path)) is not None]
    if not ranks:
        raise FileNotFoundError(f"{run_folder} holds no checkpoint that can be read")
    return max(ranks)[1]


def read_record(path: Path) -> Record:
    """Raises ValueError naming the file if it is damaged or of another checkpoint, FileNotFoundError if it is missing."""
    try:
        record = Record(**files.unseal(path / RECORD))
    except TypeError as error:
        raise ValueError(f"{path / RECORD} is damaged, or another program's ({error})") from error
    if record.agent != _checksum(path / AGENT):
        raise ValueError(f"{path / RECORD} is not of the checkpoint whose {AGENT} lies beside it")
    return record


def check_config(record: Record, run_folder: Path) -> None:
    """Raise ValueError unless the checkpoint was written under the config.json that is there."""
    if record.config != _checksum(run_folder / CONFIG):
        raise ValueError(f"{run_folder / CONFIG} is not the one of the run that wrote the checkpoint of step {record.timesteps:,}")


def _checksum(path: Path) -> str | None:
    return files.digest(path.read_bytes()) if path.exists() else None


def _rank(path: Path) -> Any:
    try:
        return read_record(path).rank
    except (ValueError, OSError):
        return None


def tidy(run_folder: Path) -> None:
    """Remove what a process that was killed left half written or half removed, and checkpoints that are no longer kept."""
    for pattern in (f".{PREFIX}*", f"..{PREFIX}*{files.PARTIAL}"):  # the second of `files.write_folder`
        for left in (run_folder / CHECKPOINTS).glob(pattern):
            shutil.rmtree(left, ignore_errors=True)
    paths = checkpoints(run_folder)
    for path in set(paths[LAST:]) - ({best(run_folder)} if paths[LAST:] else set()):
        doomed = path.with_name(f".{path.name}.old")  # first out of sight, since a folder is not removed in one step
        os.rename(path, doomed)
        shutil.rmtree(doomed)


def _set_aside(path: Path) -> None:
    """Rename a refused checkpoint."""
    names = (f"refused-{path.name}" + (f"-{i}" if i > 1 else "") for i in range(1, 100_000))
    os.rename(path, next(p for p in map(path.with_name, names) if not p.exists()))
