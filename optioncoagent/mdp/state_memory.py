"""The state of a MiniGrid environment, saved and restored.

Objects are never copied. A level knows its door or its target by identity, so one that is rebuilt from copies would not end when that door
opens. What is saved is which object lies in which cell, and the attributes of the environment and of its objects.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

_PLAIN = {type(None), bool, int, float, str, np.int64, np.bool_}  # most attributes, so looked for first


class _Values(NamedTuple):
    """A mutable container, by value."""

    kind: type
    items: tuple[Any, ...]


class StateMemory:
    """Everything that a step may change, but for the step count, as a hashable value: equal values are equal states.

    env: a MiniGrid environment just reset; from here on only `step` may change it.
    """

    def __init__(self, env: Any):
        self._env = env
        self._nodes: list[tuple[Any, list[str]]] = []  # objects, and their attributes that may change
        self._cell_objects: list[Any] = [None]
        self._cell_codes = {id(None): 0}
        found: set[int] = set()
        for value in (env, *env.grid.grid):
            self._discover(value, found)
        self.start = self._now = self._save()

    def step(self, state: Any, action: int) -> tuple[Hashable, float, bool]:
        """Take an action in a state as if at the first step: (state reached, reward, terminated), and the environment is left there."""
        self._restore(state)
        self._env.step_count = 0
        _, reward, terminated, _, _ = self._env.step(action)
        self._now = self._save()
        return self._now, reward, terminated

    def _save(self) -> tuple[bytes, tuple[tuple[Any, ...], ...]]:
        codes = self._cell_codes
        cells = array("H", [codes[id(cell)] for cell in self._env.grid.grid]).tobytes()
        return cells, tuple(tuple([_freeze(getattr(node, name)) for name in names]) for node, names in self._nodes)

    def _restore(self, state: Any) -> None:
        """Set what differs from the state that the environment is in."""
        (cells, contents), (cells_now, contents_now) = state, self._now
        if cells != cells_now:
            objects = self._cell_objects
            self._env.grid.grid = [objects[code] for code in array("H", cells)]
        for (node, names), values, values_now in zip(self._nodes, contents, contents_now, strict=True):
            if values != values_now:
                for name, value, value_now in zip(names, values, values_now, strict=True):
                    if value != value_now:
                        setattr(node, name, _thaw(value))

    def _discover(self, value: Any, found: set[int]) -> None:
        from minigrid.core.world_object import Floor, Goal, Lava, Wall, WorldObj

        if id(value) in found or _is_constant(value):
            return
        if isinstance(value, list | tuple | set | dict):
            for item in _items(value):
                self._discover(item, found)
            return
        found.add(id(value))
        if isinstance(value, WorldObj):
            self._cell_codes[id(value)] = len(self._cell_objects)
            self._cell_objects.append(value)
        if isinstance(value, Wall | Floor | Goal | Lava):  # nothing about these ever changes
            return
        names = [name for name, part in vars(value).items() if name != "step_count" and not _is_fixture(part)]
        self._nodes.append((value, names))
        for name in names:
            self._discover(getattr(value, name), found)


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | np.generic | np.ndarray | Enum) or _is_fixture(value)


def _is_fixture(value: Any) -> bool:
    """Spaces, random generators, functions and the like: parts of an environment that are no part of its state. The grid is saved apart."""
    from gymnasium import Space
    from gymnasium.envs.registration import EnvSpec
    from minigrid.core.grid import Grid

    return isinstance(value, Space | EnvSpec | np.random.Generator | Grid | type) or callable(value)


def _items(container: Any) -> Iterable[Any]:
    return container.items() if isinstance(container, dict) else container


def _freeze(value: Any) -> Any:
    """A hashable twin: containers by value, arrays as tuples, objects as themselves."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    if isinstance(value, tuple):
        return tuple(_freeze(item) for item in value)
    if isinstance(value, list | dict):
        return _Values(type(value), tuple(_freeze(item) for item in _items(value)))
    if isinstance(value, set):
        return frozenset(value)
    return value


def _thaw(value: Any) -> Any:
    if isinstance(value, _Values):
        return value.kind(_thaw(item) for item in value.items)
    if isinstance(value, tuple):
        return tuple(_thaw(item) for item in value)
    return set(value) if isinstance(value, frozenset) else value
