"""Files that a command is to write, looked at before it works for them."""

from __future__ import annotations

from collections.abc import Iterable
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
