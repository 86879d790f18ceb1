"""Numba's `njit`, for places where its cache does not work: compiled code is kept on disk where it can be, and in memory where not.

Numba refuses to compile for its cache where no folder can be written (a read-only image without a home), and fails when the
folder goes away or the disk fills up later: here every process then compiles anew, which is said once. Numba lets two
processes that compile at once give one file to two signatures (each file is written whole, but under a name that was chosen
before): here what is read back is held against the signature that was asked for. Numba keeps a function until its own file
changes, though the functions that it calls are compiled into it: here also until a change in any file of the package that its own file
imports, by itself or through others, or in the file of a compiled function that it was given as a global.

`optioncoagent_envs` knows nothing of `optioncoagent`, which does without it where it can: they have this file each, alike word for word.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.core.sigutils import normalize_signature

F = TypeVar("F", bound=Callable[..., Any])


def njit(cache: bool = False, **options: Any) -> Callable[[F], F]:
    """`numba.njit`, with a cache that gives way."""

    def compiled(function: F) -> F:
        dispatcher = numba.njit(**options)(function)
        if cache:
            try:
                dispatcher._cache = CheckedCache(function)
            except RuntimeError:  # Numba found no folder to write to
                say_that_nothing_is_kept()
        return dispatcher

    return compiled


class CheckedCache(FunctionCache):
    """The compiled code of a function on disk; what cannot be read or written is compiled anew."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except OSError:
            return None
        except (EOFError, pickle.UnpicklingError):  # cut off, as by a crash
            self._start_anew()
            return None
        return found if found is not None and tuple(found.signature.args) == tuple(normalize_signature(sig)[0]) else None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            say_that_nothing_is_kept()

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return super()._index_key(sig, codegen), tuple(sorted(map(sources, files(self._py_func))))

    def _start_anew(self) -> None:
        try:
            self.flush()
        except OSError:
            say_that_nothing_is_kept()


def files(function: Any) -> set[Path]:
    """The source file of a function, and those of the compiled functions that it was given as globals, which its file need not import."""
    given = (x.py_func for x in function.__globals__.values() if isinstance(x, Dispatcher))
    return {path for one in (function, *given) for path in [Path(one.__code__.co_filename)] if path.is_file()}


@functools.cache
def sources(path: Path) -> str:
    """A digest of a source file and of those of this package that it imports, and they in turn."""
    found, waiting = {path}, [path]
    while waiting:
        new = imported(waiting.pop()) - found
        found |= new
        waiting += new
    digest = hashlib.sha256()
    for each in sorted(found):
        digest.update(each.read_bytes())
    return digest.hexdigest()


@functools.cache
def imported(path: Path) -> frozenset[Path]:
    """The source files of this package that a source file imports by `from PACKAGE.module import names`."""
    package = Path(__file__).parent
    files = []
    for module, names in re.findall(
        rf"^\s*from {package.name}([.\w]*) import (\([^)]*\)|.*)", path.read_text(encoding="utf-8"), re.MULTILINE
    ):
        place = package.joinpath(*module.split(".")[1:])
        files += [place.with_suffix(".py"), place / "__init__.py", *(place / f"{name}.py" for name in re.findall(r"\w+", names))]
    return frozenset(file for file in files if file.is_file())


@functools.cache
def say_that_nothing_is_kept() -> None:
    """A line to standard error, unless logging is set up otherwise; no warning, since those may be errors, and this is none."""
    logging.getLogger(__name__).warning(
        "no folder can be written to keep compiled code in: every process compiles anew. Set NUMBA_CACHE_DIR to one that can."
    )
