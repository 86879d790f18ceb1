"""Numba's `njit`, for places where its cache does not work: compiled code is kept on disk where it can be, and in memory where not.

Numba refuses to compile for its cache where no folder can be written (a read-only image without a home), and fails when the
folder goes away or the disk fills up later: here every process then compiles anew, which is said once. Numba lets two
processes that compile at once give one file to two signatures (each file is written whole, but under a name that was chosen
before): here what is read back is held against the signature that was asked for. Numba keeps a function until its own file
changes, though the functions that it calls are compiled into it: here until any file of this folder does.

`optioncoagent_envs` and `optioncoagent.simulate` know nothing of each other and have this file each, alike word for word.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache
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
        return super()._index_key(sig, codegen), sources()

    def _start_anew(self) -> None:
        try:
            self.flush()
        except OSError:
            say_that_nothing_is_kept()


@functools.cache
def sources() -> str:
    """A digest of the source files of this folder and those within."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def say_that_nothing_is_kept() -> None:
    """A line to standard error, unless logging is set up otherwise; no warning, since those may be errors, and this is none."""
    logging.getLogger(__name__).warning(
        "no folder can be written to keep compiled code in: every process compiles anew. Set NUMBA_CACHE_DIR to one that can."
    )
