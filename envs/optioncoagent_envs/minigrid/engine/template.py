"""Compiled functions that differ in the function they call: a rule, a mission."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from optioncoagent_envs.compiling import njit


def of_its_own(template: Callable[..., Any], **parts: Any) -> Any:
    """The template compiled with these functions in the place of the global names that it lacks.

    It is a function of its own, named after its parts, so that Numba tells what it keeps of it from the others'.
    """
    names = (f"{part.__module__}_{part.__name__}".replace(".", "_") for part in parts.values())
    name = "_".join([template.__name__, *names])
    function = FunctionType(template.__code__, {**template.__globals__, **parts}, name)
    function.__qualname__ = name
    return njit(cache=True, nogil=True)(function)
