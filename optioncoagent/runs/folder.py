"""The folder of a run: config.json, which says what was trained, on what and with which versions; never written over.

Beside it stand metrics.csv and TensorBoard events (`rows`), checkpoints/ (`checkpoints`), evaluation.json and an empty file, lock.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from optioncoagent.agents import files
from optioncoagent.agents.files import CONFIG
from optioncoagent.agents.settings import OLD_DEFAULTS, Settings
from optioncoagent.runs.rows import METRICS

try:
    import fcntl
except ImportError:  # not on Windows, where two processes in one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

NAME = "name"  # of a setting, as its author calls it
EVALUATION = "evaluation.json"  # a training run writes it last
NO_SETTING = ("env_id", "seed", "total_timesteps", "eval_episodes", "checkpoint_seconds", "track", "wandb_project_name", "device")
PACKAGES = ("optioncoagent", "numpy", "scipy", "numba", "torch", "gymnasium", "minigrid")


def new_folder(path: Path | None, default: str, config: Any) -> Path:
    """Make a new folder with its config.json: `path`, or the first of runs/default, runs/default-2, … that does not exist.

    FileExistsError if `path` does.
    """
    if path is not None:
        return _write_new(path, config)
    for i in range(1, 100_000):
        with suppress(FileExistsError):
            return _write_new(Path("runs") / (f"{default}-{i}" if i > 1 else default), config)
    raise FileExistsError(f"runs/{default} and all that are numbered after it exist: name a folder")


def _write_new(path: Path, config: Any) -> Path:
    """FileExistsError for a folder that is there, or that another process has made in the meantime."""
    check_new(path)
    try:
        files.write_folder(path, {CONFIG: files.seal(config)})
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise FileExistsError(f"{path} exists, and a run is never overwritten: choose another folder") from error
    return path


def check_new(path: Path) -> None:
    """Raise FileExistsError if this is there already, NotADirectoryError if a file is where one of its parents would be."""
    if path.exists():
        name = "the working directory" if path == Path() else path  # which "" is, too
        raise FileExistsError(f"{name} exists, and a run is never overwritten: choose another folder")
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{path}: {nearest} is a file, and no folder can be made in it")


def distinct(folders: Iterable[str | Path]) -> list[Path]:
    """These run folders in order, each once, whatever it is called: a run that is named twice is one seed. A folder that is no run's
    stands for those within it that have begun, as a sweep's does. ValueError if there are none."""
    found: dict[Path, Path] = {}
    for path in map(Path, folders):
        for run in ([] if (path / CONFIG).exists() else _within(path)) or [path]:
            found.setdefault(run.resolve(), run)
    if not found:
        raise ValueError("no run folder was given")
    return [*found.values()]


def _within(path: Path) -> list[Path]:
    """The run folders somewhere in a folder, in order; those of runs that have no rows yet are told and left out."""
    runs, seen = list[Path](), set[Path]()
    for place, folders, names in os.walk(path, followlinks=True):
        here = Path(place)
        again = here.resolve() in seen  # by a link
        seen.add(here.resolve())
        folders[:] = [] if again or CONFIG in names else sorted(name for name in folders if not name.startswith("."))
        if not again and CONFIG in names and _has_begun(here):
            runs.append(here)
    return runs


def _has_begun(folder: Path) -> bool:
    try:
        read_command(folder)
        with (folder / METRICS).open(encoding="utf-8") as file:
            next(file), next(file)
    except (ValueError, OSError, StopIteration):
        warnings.warn(f"{folder} is left out: it is no run's, or has no rows yet", stacklevel=4)
        return False
    return True


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises FileNotFoundError if the folder is no run's, ValueError if the file is damaged."""
    if not (folder / CONFIG).exists():
        raise FileNotFoundError(f"{folder} is not a run folder: there is no {CONFIG} in it")
    return files.unseal(folder / CONFIG)


def read_command(folder: Path) -> dict[str, Any]:
    """What config.json says was run, which names an environment. Raises as `read_config` does."""
    command = read_config(folder).get("command")
    if not isinstance(command, dict) or "env_id" not in command:
        raise ValueError(f"{folder / CONFIG} is damaged, or of another version: it names no environment")
    if not isinstance(command.get("settings", {}), dict):
        raise ValueError(f"{folder / CONFIG} is damaged: its settings are no JSON object")
    return command


def is_recorded(config: Mapping[str, Any]) -> bool:
    """Is it of a training from Python, by a `Recorder`?"""
    command = config.get("command")
    return bool(config.get("recorded")) or (isinstance(command, dict) and "network" in command)


def settings_of(command: Mapping[str, Any]) -> dict[str, Any]:
    """What sets a run apart from others on its task that are no other seed of it: {name: value}, the agent's settings among them. Of a run
    from before there was a setting it is what was done then: today's default, where OLD_DEFAULTS says nothing else."""
    flat = {"load": None, **command, **asdict(Settings()), **OLD_DEFAULTS, **command.get("settings", {})}
    length = {"total_timesteps"} if flat.get("anneal_lr") else set[str]()  # over which the step size falls
    return {name: value for name, value in flat.items() if name not in {"settings", *NO_SETTING} - length}


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the settings that are not the same in all runs; of runs that were given names, these alone where they say as much."""
    names = dict.fromkeys(name for one in settings for name in one)
    differ = [name for name in names if len({json.dumps(one.get(name)) for one in settings}) > 1]
    every = {json.dumps([one.get(name) for name in differ]) for one in settings}
    return [NAME] if NAME in differ and len({one.get(NAME) for one in settings}) == len(every) else differ


@contextmanager
def locked(folder: Path, what: str = "trains there") -> Iterator[None]:
    """Keep other processes out of a folder until the block, or the process, ends. Raises OSError, with what it does, if one is in it."""
    with (folder / "lock").open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(f"{folder} is in use: another process {what}") from None
        yield


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """For the length of the block nobody else in a block like this one, of whatever process, is at the folder."""
    with (folder / "lock").open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that is not installed
            found[package] = "not installed"
    return found


def read_evaluation(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns and lengths of the episodes of the final evaluation, (episodes,). ValueError naming the file if it is damaged."""
    path = folder / EVALUATION
    try:
        content = read_json(path)
        returns, lengths = (np.asarray(content[name], dtype=np.float64) for name in ("returns", "lengths"))
        if returns.ndim != 1 or returns.shape != lengths.shape or not returns.size:
            raise ValueError("it needs the return and the length of each of some episodes")
    except (KeyError, TypeError, ValueError) as error:
        said = str(error) if str(path) in str(error) else f"{path} is damaged ({error!r})"
        raise ValueError(f"{said}; delete it, and what trained there, run again, evaluates anew") from error
    return returns, lengths


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. ValueError naming the file if it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return content


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    files.write_file(path, files.to_json(content).encode())
