"""What a function says, as a few letters: the same for the same code with the same values in it, in another process too."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

LETTERS = 8
DEEPEST = 50  # what lies deeper in lists and objects counts by its type alone
Plain = bool | int | float | complex | str | bytes | None


def digest(x: Any) -> str:
    """Of a function, or of any object that is called: its code, defaults, what it closes over, the numbers among the globals that it names;
    objects count by their type and attributes, each once."""
    return hashlib.sha256(repr(_said(x, {}, 0)).encode()).hexdigest()[:LETTERS]


def _said(x: Any, seen: dict[int, Any], depth: int) -> Any:
    """Nested tuples of plain values that say what x is; seen: the objects that have been met, by their ids."""
    if isinstance(x, Plain):
        return x
    if depth > DEEPEST:
        return type(x).__qualname__

    def inner(part: Any) -> Any:
        return _said(part, seen, depth + 1)

    if isinstance(x, ModuleType):
        return x.__name__
    torch = sys.modules.get("torch")  # which is not loaded for this
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    if isinstance(x, np.ndarray | np.generic):
        array = np.asarray(x)
        return str(array.dtype), array.shape, array.tobytes() if array.dtype.kind in "biufc" else str(array)
    if isinstance(x, tuple | list):
        return tuple(map(inner, x))
    if isinstance(x, set | frozenset):
        return tuple(sorted(map(repr, map(inner, x))))
    if isinstance(x, dict):
        return tuple((inner(key), inner(value)) for key, value in x.items())
    if isinstance(x, CodeType):
        return x.co_code, x.co_names, inner(x.co_consts)
    if isinstance(x, MethodType):
        return inner(x.__func__), inner(x.__self__)
    if isinstance(x, functools.partial):
        return inner(x.func), inner(x.args), inner(x.keywords)
    if id(x) in seen:
        return "again"
    seen[id(x)] = x
    if isinstance(x, FunctionType):
        named = {name: x.__globals__[name] for name in x.__code__.co_names if isinstance(x.__globals__.get(name, x), Plain)}
        return tuple(map(inner, (x.__code__, x.__defaults__, x.__kwdefaults__, _closed_over(x), named)))
    called = inspect.getattr_static(type(x), "__call__", None)
    code = called if isinstance(called, FunctionType) and not isinstance(x, type) else None
    return type(x).__qualname__, getattr(x, "__qualname__", ""), inner(code), inner(dict(getattr(x, "__dict__", {})))


def _closed_over(function: FunctionType) -> list[Any]:
    values = []
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # nothing has been given to it yet
            values.append("nothing")
    return values
