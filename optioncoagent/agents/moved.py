"""What environments were like when a rollout left them: has somebody else, who has one as an object too, moved it since?

Their own numbers are compared, and those of their wrappers (a time limit's steps, a generator's state), so that nothing is hung into
objects that belong to somebody else. What is no number, text or array of numbers is not looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optioncoagent.agents.environments import One, layers

LARGEST = 10_000  # numbers of an array that is looked at
Values = dict[tuple[int, int, str], Any]


def values_of(env: Any) -> Values:
    """{(environment, layer, attribute): its value}, of the environments of Gymnasium's own batch that is made here (`One`)."""
    return {
        (i, depth, name): kept
        for i, one in enumerate(getattr(env.unwrapped, "envs", ()))
        if isinstance(one, One)
        for depth, layer in enumerate(layers(one.env))
        for name, value in getattr(layer, "__dict__", {}).items()
        if (kept := _kept(value)) is not None
    }


def alike(before: Values, now: Values) -> bool:
    """Are they, where there is a value in both?"""
    return all(_same(value, now[key]) for key, value in before.items() if key in now)


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return np.array_equal(x, y, equal_nan=True)
    return bool(x == y or (x != x and y != y))


def _kept(value: Any) -> Any:
    """A copy of a value that can be compared; None of others."""
    if isinstance(value, bool | int | float | str | np.generic):
        return value
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    if isinstance(value, list | tuple) and all(isinstance(x, bool | int | float | str | np.generic) for x in value):
        return tuple(value)
    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size <= LARGEST
    return value.copy() if numbers else None
