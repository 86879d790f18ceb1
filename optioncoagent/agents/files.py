"""Files and folders that are written whole or not at all, and JSON that knows whether it is still what was written.

What is new goes under another name in the same folder, is brought to the disk (fsync) and then renamed, which a file system does in one
step; a process that is killed, or a machine that stops, leaves the old or the new.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 2  # of sealed JSON; version 0.1.0 wrote plain JSON
PARTIAL, PENDING = ".partial", ".pending"
AGENT = "agent.json"  # in the folder of an agent
CONFIG, CHECKPOINTS, PREFIX = "config.json", "checkpoints", "step-"  # in the folder of a run, and of the agents in there


def write_file(path: Path, data: bytes) -> None:
    """Write a file, or replace it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")  # another process may be writing one of this name
    try:
        _write(partial, data)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder that does not exist (or is empty). OSError if it holds something."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name, data in contents.items():
            _write(partial / name, data)
        sync_folder(partial)
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(path.parent)


def write_into(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder, all of them or none; other files there stay. Read them by `find`."""
    if not folder.exists():
        return write_folder(folder, contents)
    _settle(folder)
    for left in folder.glob(f".{PENDING}*{PARTIAL}"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    write_folder(folder / PENDING, contents)  # from here on the new ones are found
    _settle(folder)


def find(folder: Path, name: str) -> Path:
    """Where a file of `write_into` is: in its folder, or still on the way there."""
    pending = folder / PENDING / name
    return pending if pending.exists() else folder / name


def checkpoints(run_folder: Path) -> list[Path]:
    """The checkpoints of a run folder, the newest first; a copy of another name is none."""
    found = (run_folder / CHECKPOINTS).glob(f"{PREFIX}*")
    return sorted((path for path in found if path.name[len(PREFIX) :].isdecimal() and path.is_dir()), reverse=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, where the system has such a call."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest(data: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def to_json(content: Any) -> str:
    """JSON text; arrays become lists, and whatever else JSON does not have its str."""
    return json.dumps(content, indent=2, default=lambda x: x.tolist() if hasattr(x, "tolist") else str(x)) + "\n"


def seal(content: Mapping[str, Any]) -> bytes:
    """JSON with the format's number and a checksum of the content."""
    plain = {"format": FORMAT, **json.loads(to_json(content))}
    return to_json({**plain, "checksum": _checksum(plain)}).encode()


def unseal(path: Path) -> dict[str, Any]:
    """The content of a file of `seal`, or of plain JSON without format and checksum, which cannot be checked.

    Raises ValueError naming the file if it is damaged, foreign or of a newer version.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged, or another program's: it holds no JSON object")
    checksum, number = content.pop("checksum", None), content.get("format")
    if checksum is None and number is None:
        return content
    if isinstance(number, int) and number > FORMAT:
        raise ValueError(f"{path} was written by a newer version (format {number}, this one reads up to {FORMAT})")
    if checksum != _checksum(content):
        raise ValueError(f"{path} is damaged, or was changed by hand: its content does not have its checksum")
    del content["format"]
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return digest(json.dumps(content, sort_keys=True).encode())


def _settle(folder: Path) -> None:
    """Move pending files to their places; a process killed in between leaves the rest to the next call."""
    pending = folder / PENDING
    if not pending.exists():
        return
    for path in list(pending.iterdir()):
        os.replace(path, folder / path.name)
    sync_folder(folder)
    pending.rmdir()
    sync_folder(folder)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
