"""The folder of a run: config.json, which says what was trained, on what and with which versions; never written over.

Beside it stand metrics.csv and TensorBoard events (`rows`), checkpoints/ (`checkpoints`), evaluation.json and an empty file, lock.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optioncoagent.agents import files

try:
    import fcntl
except ImportError:  # not on Windows, where two processes in one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

CONFIG = "config.json"
PACKAGES = ("optioncoagent", "numpy", "scipy", "numba", "torch", "gymnasium", "minigrid")


def new_folder(path: Path | None, default: str, config: Any) -> Path:
    """Make a new folder with its config.json: `path`, or the first of runs/default, runs/default-2, … that does not exist.

    FileExistsError if `path` does.
    """
    if path is None:
        names = (f"{default}-{i}" if i > 1 else default for i in range(1, 100_000))
        path = next(p for p in (Path("runs") / name for name in names) if not p.exists())
    elif path.exists():
        raise FileExistsError(f"{path} exists, and a run is never overwritten: choose another folder")
    files.write_folder(path, {CONFIG: files.seal(config)})
    return path


def distinct(folders: Iterable[str | Path]) -> list[Path]:
    """These folders in order, each once, whatever it is called: a run that is named twice is one seed."""
    return list({path.resolve(): path for path in reversed([*map(Path, folders)])}.values())[::-1]


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises FileNotFoundError if the folder is no run's, ValueError if the file is damaged."""
    if not (folder / CONFIG).exists():
        raise FileNotFoundError(f"{folder} is no run folder: there is no {CONFIG} in it")
    return files.unseal(folder / CONFIG)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run folder until the block, or the process, ends. Raises OSError if one is in it."""
    with (folder / "lock").open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(f"{folder} is in use: another process trains there") from None
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


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    files.write_file(path, files.to_json(content).encode())
