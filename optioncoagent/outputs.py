"""Files that a command is to write: looked at before it works for them, and written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PICTURES = (".png", ".pdf", ".svg")


def check_file(name: str, path: Path | None, endings: Iterable[str] = ()) -> None:
    """Raise, calling the file `name`, where it could not be written: FileNotFoundError if its folder is not there, ValueError if it is a
    folder itself, or its name has none of these endings, by which its writer knows what to write. None is no file."""
    if path is None:
        return
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{name}={path}: there is no folder {path.parent}")
    if path.is_dir():
        raise ValueError(f"{name}={path} is a folder: give the name of a file")
    endings = tuple(endings)
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{name}={path}: choose a file name that ends with one of {endings}")


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Another name, with the same ending, to write to in the block; what is there then takes the place of `path`, which stays as it was
    where the block fails. An OSError of the block that names no file gets this one.

    What is no file on a disk (a pipe, /dev/stdout), or lies in a folder in which nothing new can be written, is written to itself."""
    path, target = Path(path), Path(os.path.realpath(path))
    is_stream = str(path.absolute()).startswith(("/dev/", "/proc/")) or (path.exists() and not path.is_file())
    if is_stream or not os.access(target.parent, os.W_OK):
        yield path
        return
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        yield partial
        if target.exists():
            shutil.copymode(target, partial)
        os.replace(partial, target)
    except OSError as error:
        if error.filename in (None, str(partial)):
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)
