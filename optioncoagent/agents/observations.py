"""Observation spaces the learner understands, and observations as tensors.

A space is described by its leaves, the parts of (nested) Dict and Tuple spaces, each taken for one of these kinds:

    discrete   Discrete and MultiDiscrete: an indicator for each value
    box        other numbers (Box, MultiBinary): as they are, so they should be of the order of one
    cells      MiniGrid's codes: an indicator for each object, colour and state a cell may have
    grid       MiniGrid's codes: divided by 10
    pixels     divided by 255; an image goes through convolutions
    slope      a number that may be infinite (MiniGrid's goal_direction): its angle
    mission    a MiniGrid mission that varies, or is asked for: indicators of its words and pairs of words

Anything else is refused by name before training starts. Bytes are pixels only where they look like an image (`is_image`) and do not come
from MiniGrid, whose codes declare the same bounds; `observation_kinds` of the settings says otherwise.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from optioncoagent.agents.settings import BOX_KINDS

Tensors = dict[str, Tensor]  # one tensor a leaf, batch axes first

LARGEST_GRID = 32  # cells; a larger image of a MiniGrid environment shows pixels
SMALLEST_IMAGE = 16  # pixels; fewer bytes a side are codes of a small grid
MISSION_FEATURES = 256  # words and word pairs of a mission are hashed into this many indicators
LARGEST_NUMBER = 1e9  # gradients go with the square of what is observed, and their norm with the fourth power: single precision ends there
CODES = (11, 6, 4)  # values of a cell's object, colour and state, in MiniGrid
READ_AS = {
    "discrete": "an indicator for each value",
    "box": "numbers as they are",
    "cells": "MiniGrid's codes, an indicator for each value",
    "grid": "MiniGrid's codes, divided by 10",
    "pixels": "pixels, divided by 255",
    "slope": "slopes, as angles",
    "mission": "a mission, by its words",
}


@dataclass(frozen=True)
class Leaf:
    """One part of an observation. path: its keys, joined by "/" ("" for a space without parts; parts of a Tuple are "0", "1", …).

    size: features it gives an encoder. offset: the first value of a Discrete, or of each component of a MultiDiscrete, whose numbers of
    values are `counts`.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    size: int
    offset: int | tuple[int, ...] = 0
    counts: tuple[int, ...] = ()

    def __str__(self) -> str:
        convolved = ", through convolutions" if self.kind == "pixels" and image_axes(self.shape) else ""
        return f"observation{at(self.path)}: {self.kind} {self.shape}, {READ_AS[self.kind]}{convolved}"


@dataclass(frozen=True)
class ObservationSpec:
    """What an observation looks like: all that the agent needs to know of a Gymnasium space. str() says in a line for each leaf what it is
    taken for."""

    leaves: tuple[Leaf, ...]

    @classmethod
    def from_space(
        cls, space: gym.Space[Any], minigrid: bool = False, rendered: bool = False, kinds: Mapping[str, str] | None = None
    ) -> ObservationSpec:
        """Describe a single environment's observation space; minigrid: do its bytes hold MiniGrid's codes? rendered: or pictures of them?

        kinds: {path: kind} of the leaves that are something else than they seem (one of `settings.BOX_KINDS`, for a Box), or of a mission
        that does not vary and is to be observed all the same ("mission").
        Raises ValueError naming the part that is not supported, or that cannot be what `kinds` says.
        """
        kinds = kinds or {}
        leaves = tuple(_leaves(space, "", minigrid, rendered, {path for path, kind in kinds.items() if kind == "mission"}))
        if not leaves:
            raise ValueError(f"the observation space {space} has nothing that varies")
        return cls(leaves).taken_for(kinds)

    def taken_for(self, kinds: Mapping[str, str]) -> ObservationSpec:
        """The same, where `kinds` says what a leaf is. Raises ValueError for a leaf that there is not, or that cannot be that."""
        unknown = set(kinds) - {leaf.path for leaf in self.leaves}
        if unknown:
            raise ValueError(f"observation_kinds names {sorted(unknown)}; the parts of an observation are {[x.path for x in self.leaves]}")
        others = {leaf.path for leaf in self.leaves if kinds.get(leaf.path, leaf.kind) != leaf.kind}
        for leaf in self.leaves:
            if leaf.path in others and not {kinds[leaf.path], leaf.kind} <= set(BOX_KINDS):
                raise ValueError(
                    f"observation_kinds={dict(kinds)}: observation{at(leaf.path)} is taken for {leaf.kind}; numbers (a Box) may be any of "
                    f"{BOX_KINDS}, and nothing else can be chosen"
                )
        return ObservationSpec(tuple(_box(x.path, kinds[x.path], x.shape) if x.path in others else x for x in self.leaves))

    @classmethod
    def from_json(cls, leaves: Sequence[Mapping[str, Any]]) -> ObservationSpec:
        plain: list[dict[str, Any]] = [{name: tuple(x) if isinstance(x, list) else x for name, x in leaf.items()} for leaf in leaves]
        return cls(tuple(Leaf(**leaf) for leaf in plain))

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(leaf) for leaf in self.leaves]

    def __str__(self) -> str:
        return "\n".join(map(str, self.leaves))

    def is_batched(self, observation: Any) -> bool:
        """Is this a batch of observations (as from a vector environment) rather than one? ValueError if neither."""
        batched = set()
        for leaf in self.leaves:
            part = self._part(observation, leaf)
            if leaf.kind == "mission":
                batched.add(not isinstance(part, str))
                continue
            shape = np.shape(part)
            if shape[len(shape) - len(leaf.shape) :] != leaf.shape or len(shape) > len(leaf.shape) + 1:
                raise ValueError(
                    f"observation{at(leaf.path)} has shape {shape}; the agent was made for {leaf.shape}, or (n, *{leaf.shape})"
                )
            if shape[:1] == (0,) and shape != leaf.shape:
                raise ValueError(f"observation{at(leaf.path)} has shape {shape}, a batch of no observations: give at least one")
            batched.add(shape != leaf.shape)
        if len(batched) > 1:
            raise ValueError("the observation is a batch in some parts and a single one in others")
        return batched.pop()

    def tensors(self, observation: Any, device: torch.device | str = "cpu") -> Tensors:
        """A batch of observations, as a Gymnasium vector environment gives it, to tensors (n, ...).

        Raises ValueError naming the leaf that is missing, has another shape, or a value that its space does not have.
        """
        return {leaf.path: _tensor(leaf, self._part(observation, leaf)).to(device) for leaf in self.leaves}

    def blank(self, device: torch.device | str = "cpu", n: int = 1) -> Tensors:
        """A batch of n observations of zeros, or of first values."""
        dtypes = {"discrete": torch.int64, "box": torch.float32, "slope": torch.float32}
        sizes = {leaf.path: (leaf.size,) if leaf.kind == "mission" else leaf.shape for leaf in self.leaves}
        zeros = {
            leaf.path: torch.zeros(n, *sizes[leaf.path], dtype=dtypes.get(leaf.kind, torch.uint8), device=device) for leaf in self.leaves
        }
        return {leaf.path: zeros[leaf.path] + first_values(leaf, zeros[leaf.path]) for leaf in self.leaves}

    def stack(self, observations: Sequence[Any]) -> Any:
        """Single observations to one batch, as `tensors` and `is_batched` take it."""
        parts = {leaf.path: [self._part(o, leaf) for o in observations] for leaf in self.leaves}
        return _ByLeaf({path: part if part and isinstance(part[0], str) else _stacked(path, part) for path, part in parts.items()})

    def take(self, observation: Any, index: Sequence[int]) -> Any:
        """Some observations of a batch, as a batch."""
        parts = {leaf.path: self._part(observation, leaf) for leaf in self.leaves}
        return _ByLeaf({path: [part[i] for i in index] if isinstance(part, list | tuple) else np.asarray(part)[index]
                        for path, part in parts.items()})  # fmt: skip

    def state(self, tensors: Tensors) -> Tensor | Tensors:
        """What an execution function and an encoder see: the tensor, or a dict of tensors for a Dict or Tuple space."""
        return tensors[""] if "" in tensors else tensors

    def fault(self, tensors: Tensors) -> tuple[tuple[int, ...], str] | None:
        """The first value that nothing can be learned from, as (index over the batch axes, words), or None."""
        for leaf in self.leaves:
            x = tensors[leaf.path]
            name, found = f"observation{at(leaf.path)}", None
            if leaf.kind == "cells":
                found = _unknown_code(name, leaf.path, x)
            elif leaf.kind != "discrete" and x.dtype.itemsize > 1:  # what has one byte is finite and small
                found = fault_of(name, x, infinite=leaf.kind == "slope")
            if found is not None:
                return found[0][: x.ndim - len(leaf.shape)], found[1]
        return None

    def _part(self, observation: Any, leaf: Leaf) -> Any:
        try:
            return part_of(observation, leaf.path)
        except KeyError as error:
            raise ValueError(f"observation{at(leaf.path)} is missing: the agent was made for {[x.path for x in self.leaves]}") from error


def told_apart(one: Any, other: Any) -> tuple[str, str]:
    """Two unequal values as text: their str, or their repr where the strs are equal, as of Discretes of different sizes."""
    return (str(one), str(other)) if str(one) != str(other) else (repr(one), repr(other))


def first_values(leaf: Leaf, x: Tensor) -> Tensor | int:
    """What a Discrete, or each component of a MultiDiscrete, is counted from, to be subtracted from x; 0 for all else."""
    return x.new_tensor(leaf.offset).reshape(leaf.shape) if np.any(leaf.offset) else 0


def fault_of(name: str, x: Tensor, infinite: bool = False) -> tuple[tuple[int, ...], str] | None:
    """Where numbers are not finite or too large to learn from, as (index, words), or None; infinite: is an infinite one right?"""
    # half precision ends below that number, and the least of int64 has no absolute value
    exact = x if x.dtype in (torch.float32, torch.float64) else x.double()
    bad = x.isnan() if infinite else ~(exact.abs() <= LARGEST_NUMBER)
    if not bool(bad.any()):
        return None
    index = tuple(bad.nonzero()[0].tolist())
    value = float(x[index])
    if not math.isfinite(value):
        return index, f"{name} has a value that is not finite ({value})"
    return index, (
        f"{name} has a value of the order of 1e{math.floor(math.log10(abs(value)))}, too large for single precision: give the environment "
        "a wrapper that rescales it to the order of one, such as gymnasium.wrappers.TransformObservation or TransformReward"
    )


def _unknown_code(name: str, path: str, x: Tensor) -> tuple[tuple[int, ...], str] | None:
    """The first code that no cell of MiniGrid has, as `fault_of` says it: it would have no indicator."""
    outside = ~((x >= 0) & (x < torch.tensor(CODES, device=x.device)) & (x == x.floor()))
    if not bool(outside.any()):
        return None
    index = tuple(outside.nonzero()[0].tolist())
    words = (
        f"{name} has the code {x[index].item():g} for a cell's {('object', 'colour', 'state')[index[-1]]}, of which MiniGrid has {CODES}"
    )
    return index, f"{words}; observation_kinds={{{path!r}: 'grid'}} takes codes as numbers"


class _ByLeaf(dict[str, Any]):
    """A batch of observations as {path of the leaf: batch of its values}."""


def _stacked(path: str, parts: Sequence[Any]) -> np.ndarray:
    try:
        return np.stack([np.asarray(part) for part in parts])
    except ValueError as error:
        raise ValueError(
            f"observation{at(path)} has different shapes in one batch: {sorted({np.shape(part) for part in parts})}"
        ) from error


def _leaves(space: gym.Space[Any], path: str, minigrid: bool, rendered: bool, missions: Set[str]) -> Any:
    """missions: the paths of those that are observed though they do not vary."""
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, gym.spaces.Dict) else enumerate(space.spaces)
        for key, part in parts:
            longer = [other for other in space.spaces if str(other).startswith(f"{key}/")] if isinstance(space, gym.spaces.Dict) else []
            if not str(key) or longer:
                raise ValueError(
                    f"observation{at(path)} has a part {key!r}{f' and a part {longer[0]!r}' if longer else ''}: parts are named by their "
                    "keys, joined by /, so that a key is not empty, nor the beginning of another one before a /; give it another one with "
                    "gymnasium.wrappers.TransformObservation"
                )
            yield from _leaves(part, f"{path}/{key}" if path else str(key), minigrid, rendered, missions)
    elif is_mission(space):
        if _mission_varies(space) or path in missions:
            yield Leaf(path, "mission", (), MISSION_FEATURES)
    elif isinstance(space, gym.spaces.Box):
        if not np.prod(space.shape):
            return  # no numbers
        yield _box(path, _kind(space, path, minigrid, rendered), space.shape)
    elif isinstance(space, gym.spaces.Discrete):
        yield Leaf(path, "discrete", (), int(space.n), int(space.start))
    elif isinstance(space, gym.spaces.MultiDiscrete):
        counts, first = (tuple(map(int, np.ravel(x))) for x in (space.nvec, space.start))
        yield Leaf(path, "discrete", tuple(space.shape), sum(counts), first, counts)
    elif isinstance(space, gym.spaces.MultiBinary):
        yield Leaf(path, "box", tuple(space.shape), int(np.prod(space.shape)))
    else:
        raise ValueError(
            f"observation{at(path)} is {space}, which is not supported: give a Box, Discrete, MultiDiscrete, MultiBinary, a MiniGrid "
            "observation or a Dict or Tuple of those (a Gymnasium wrapper can turn yours into one)"
        )


def _box(path: str, kind: str, shape: tuple[int, ...]) -> Leaf:
    size = int(np.prod(shape))
    if kind == "cells":
        if shape[-1:] != (len(CODES),):
            raise ValueError(f"observation{at(path)} is to be cells: its shape {shape} must end with 3, for object, colour and state")
        size = size // len(CODES) * sum(CODES)
    return Leaf(path, kind, shape, size)


def _kind(space: gym.spaces.Box, path: str, minigrid: bool, rendered: bool) -> str:
    """What a Box is taken for. MiniGrid's codes declare the bounds of pixels: stacked they are still a grid of (object, colour, state);
    flattened, with indicators of the mission beside them, or as indicators, numbers of the order of one."""
    if minigrid and path.endswith("goal_direction") and np.isinf(space.high).all():
        return "slope"
    if minigrid and space.dtype == np.uint8 and not (rendered and is_image(space)) and max(space.shape, default=0) <= LARGEST_GRID:
        return "cells" if len(space.shape) >= 3 and space.shape[-1] == 3 else "box"
    return "pixels" if is_image(space) else "box"


def is_image(space: gym.spaces.Box) -> bool:
    """Does a Box look like an image, or a stack of images, of pixels from 0 to 255?"""
    axes = image_axes(space.shape)
    large = axes is not None and min(space.shape[axis] for axis in axes[1]) >= SMALLEST_IMAGE
    return large and bool((space.low == 0).all() and (space.high == 255).all())


def image_axes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int]] | None:
    """The axes of channels and those of height and width; None if it is no image.

    Two axes are one gray image. Of three, the shorter one of the first (channels, or stacked gray frames) and the last holds channels. Four
    are stacked images, the frames first.
    """
    if len(shape) == 2:
        return (), (0, 1)
    if len(shape) == 3:
        return ((0,), (1, 2)) if shape[0] < shape[2] else ((2,), (0, 1))
    if len(shape) == 4:
        return ((0, 1), (2, 3)) if shape[1] < shape[3] else ((0, 3), (1, 2))
    return None


def is_mission(space: gym.Space[Any]) -> bool:
    return any(kind.__name__ == "MissionSpace" for kind in type(space).__mro__)  # by name: minigrid may not be imported


def _mission_varies(space: Any) -> bool:
    """MiniGrid's missions vary with their placeholders; BabyAI's (a subclass) always."""
    return space.ordered_placeholders is not None or type(space).__name__ != "MissionSpace"


def part_of(whole: Any, path: str) -> Any:
    """What a path names in an observation, or in its space; KeyError if nothing. A key may itself hold a "/"."""
    if isinstance(whole, _ByLeaf):
        return whole[path]
    if not path:
        return whole
    for end in [len(path), *(i for i in range(len(path) - 1, 0, -1) if path[i] == "/")]:
        key, rest = path[:end], path[end + 1 :]
        try:
            return part_of(whole[int(key) if isinstance(whole, tuple | list | gym.spaces.Tuple) else key], rest)
        except (LookupError, TypeError, ValueError):
            continue
    raise KeyError(path)


def at(path: str) -> str:
    """How a message names a part, after "observation"."""
    return f"[{path!r}]" if path else ""


def _tensor(leaf: Leaf, part: Any) -> Tensor:
    if leaf.kind == "mission":
        missions = (part,) if isinstance(part, str) else part
        return torch.from_numpy(np.stack([mission_features(mission) for mission in missions]))
    array = np.asarray(part)
    if array.shape[1:] != leaf.shape or array.ndim == 0:
        raise ValueError(f"observation{at(leaf.path)} has shape {array.shape[1:]}, where the agent was made for {leaf.shape}")
    if array.dtype.kind not in "biufc":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"observation{at(leaf.path)} is {part!r}, where the agent was made for numbers") from error
    if leaf.kind == "discrete":
        given = array
        with np.errstate(invalid="ignore"):
            array = given.astype(np.int64)
        counted = array - np.reshape(leaf.offset, leaf.shape)
        outside = (array != given) | (counted < 0) | (counted >= np.reshape(leaf.counts or leaf.size, leaf.shape))
        if outside.any():
            i = np.argwhere(outside)[0]
            raise ValueError(f"observation{at(leaf.path)} of environment {i[0]} is {np.asarray(part)[i[0]]}, which its space does not have")
        return torch.from_numpy(array)
    # torch has no such types, or does not compute with them
    as_known = {"u": np.float64 if array.dtype.itemsize == 8 else np.int64, "f": np.float64}.get(array.dtype.kind)
    known = array.dtype.itemsize <= (1 if array.dtype.kind == "u" else 8)
    return torch.from_numpy(array.copy() if known or as_known is None else array.astype(as_known))


@lru_cache(maxsize=4096)
def mission_features(mission: str) -> np.ndarray:
    """Indicators (MISSION_FEATURES,) uint8 of the hashed words and neighbouring word pairs of a mission."""
    words = mission.lower().replace(",", " ").split()
    features = np.zeros(MISSION_FEATURES, dtype=np.uint8)
    for token in [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False))]:
        features[zlib.crc32(token.encode()) % MISSION_FEATURES] = 1
    return features
