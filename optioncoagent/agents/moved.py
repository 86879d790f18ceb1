"""What an environment was like when a rollout left it: has somebody else, who has it as an object too, moved it since?

Nothing is hung into the object, which is somebody else's too. Its attributes and those of its wrappers (a time limit's steps) are
compared, but only those that a step changes: whoever gives it other parameters does not move it. Numbers, text, arrays of numbers and
Gymnasium's own generator are looked at, nothing else: other generators may be shared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optioncoagent.agents.environments import One, layers

LARGEST = 10_000  # numbers of an array that is looked at
Key = tuple[int, str]
Values = dict[Key, Any]


def values_of(env: Any) -> Values:
    """{(layer, attribute): its value}, of an environment that was given as an object; nothing of others."""
    one = next(iter(getattr(env.unwrapped, "envs", ())), None)
    if not isinstance(one, One) or not one.given:
        return {}
    return {
        (depth, name): kept
        for depth, layer in enumerate(layers(one.env))
        for name, value in getattr(layer, "__dict__", {}).items()
        if (kept := _kept(str(value.bit_generator.state) if name == "_np_random" and value is not None else value)) is not None
    }


def changed(before: Values, now: Values) -> set[Key]:
    """Which values are others, of those that are in both."""
    return {key for key, value in before.items() if key in now and not _same(value, now[key])}


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return np.array_equal(x, y, equal_nan=True)
    return bool(x == y or (x != x and y != y))


def _kept(value: Any) -> Any:
    """A copy of a value that can be compared; None of others."""
    if isinstance(value, bool | int | float | str | np.generic):
        return value
    if isinstance(value, list | tuple) and all(isinstance(x, bool | int | float | str | np.generic) for x in value):
        return tuple(value)
    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size <= LARGEST
    return value.copy() if numbers else None
