"""Observation spaces the learner understands, and observations as tensors.

A space is described by its leaves: a MiniGrid image ("grid"), any other Box ("box"), Discrete, MultiBinary, and a MiniGrid mission where it
varies. Anything else is refused by name before training starts.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

Tensors = dict[str, Tensor]  # one tensor a leaf, batch axes first

LARGEST_GRID = 32  # cells; a larger image of a MiniGrid environment shows pixels
MISSION_FEATURES = 256  # words and word pairs of a mission are hashed into this many indicators


@dataclass(frozen=True)
class Leaf:
    """One part of an observation. path: its keys, joined by "/" ("" for a space that is no Dict). size: features it gives an encoder."""

    path: str
    kind: str
    shape: tuple[int, ...]
    size: int
    offset: int = 0


@dataclass(frozen=True)
class ObservationSpec:
    """What an observation looks like: all that the agent needs to know of a Gymnasium space."""

    leaves: tuple[Leaf, ...]

    @classmethod
    def from_space(cls, space: gym.Space[Any], minigrid: bool = False) -> ObservationSpec:
        """Describe a single environment's observation space; minigrid: are its small images MiniGrid's codes and not pixels?

        Raises ValueError naming the part that is not supported.
        """
        leaves = tuple(_leaves(space, "", minigrid))
        if not leaves:
            raise ValueError(f"the observation space {space} has nothing that varies")
        return cls(leaves)

    @classmethod
    def from_json(cls, leaves: Sequence[Mapping[str, Any]]) -> ObservationSpec:
        return cls(tuple(Leaf(**{**leaf, "shape": tuple(leaf["shape"])}) for leaf in leaves))

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(leaf) for leaf in self.leaves]

    def is_batched(self, observation: Any) -> bool:
        """Is this a batch of observations (as from a vector environment) rather than one? ValueError if neither."""
        batched = set()
        for leaf in self.leaves:
            try:
                part = _get(observation, leaf.path)
            except (KeyError, IndexError, TypeError) as error:
                raise ValueError(
                    f"observation{_at(leaf.path)} is missing: the agent was made for {[x.path for x in self.leaves]}"
                ) from error
            if leaf.kind == "mission":
                batched.add(not isinstance(part, str))
                continue
            shape = np.shape(part)
            if shape[len(shape) - len(leaf.shape) :] != leaf.shape or len(shape) > len(leaf.shape) + 1:
                raise ValueError(
                    f"observation{_at(leaf.path)} has shape {shape}; the agent was made for {leaf.shape}, or (n, *{leaf.shape})"
                )
            batched.add(shape != leaf.shape)
        if len(batched) > 1:
            raise ValueError("the observation is a batch in some parts and a single one in others")
        return batched.pop()

    def tensors(self, observation: Any, device: torch.device | str = "cpu") -> Tensors:
        """A batch of observations, as a Gymnasium vector environment gives it, to tensors (n, ...)."""
        return {leaf.path: _tensor(leaf, _get(observation, leaf.path)).to(device) for leaf in self.leaves}

    def blank(self, device: torch.device | str = "cpu") -> Tensors:
        """A batch of one observation of zeros."""
        dtypes = {"discrete": torch.int64, "box": torch.float32}
        sizes = {leaf.path: (leaf.size,) if leaf.kind == "mission" else leaf.shape for leaf in self.leaves}
        return {
            leaf.path: torch.zeros(1, *sizes[leaf.path], dtype=dtypes.get(leaf.kind, torch.uint8), device=device) for leaf in self.leaves
        }

    def stack(self, observations: Sequence[Any]) -> Any:
        """Single observations to one batch, in the form of a vector environment's."""
        if self.leaves[0].path == "":
            return np.stack([np.asarray(o) for o in observations])
        return _Stacked(observations)

    def state(self, tensors: Tensors) -> Tensor | Tensors:
        """What an execution function and an encoder see: the tensor, or a dict of tensors for a Dict space."""
        return tensors[""] if "" in tensors else tensors


class _Stacked(Mapping[str, Any]):
    """A list of (nested) dict observations, read as one dict of batches."""

    def __init__(self, observations: Sequence[Any]):
        self.observations = observations

    def __getitem__(self, key: str) -> Any:
        parts = [o[key] for o in self.observations]
        if isinstance(parts[0], Mapping):
            return _Stacked(parts)
        return tuple(parts) if isinstance(parts[0], str) else np.stack([np.asarray(p) for p in parts])

    def __iter__(self) -> Any:
        return iter(self.observations[0])

    def __len__(self) -> int:
        return len(self.observations[0])


def _leaves(space: gym.Space[Any], path: str, minigrid: bool) -> Any:
    if isinstance(space, gym.spaces.Dict):
        for key, part in space.spaces.items():
            yield from _leaves(part, f"{path}/{key}" if path else key, minigrid)
    elif is_mission(space):
        if _mission_varies(space):
            yield Leaf(path, "mission", (), MISSION_FEATURES)
    elif isinstance(space, gym.spaces.Box):
        codes = minigrid and len(space.shape) == 3 and max(space.shape) <= LARGEST_GRID
        kind = "box" if space.dtype != np.uint8 else "grid" if codes else "pixels"
        yield Leaf(path, kind, space.shape, int(np.prod(space.shape)))
    elif isinstance(space, gym.spaces.Discrete):
        yield Leaf(path, "discrete", (), int(space.n), int(space.start))
    elif isinstance(space, gym.spaces.MultiBinary):
        yield Leaf(path, "box", tuple(space.shape), int(np.prod(space.shape)))
    else:
        raise ValueError(
            f"observation{_at(path)} is {space}, which is not supported: give a Box, Discrete, MultiBinary, a MiniGrid observation or a "
            "Dict of those (a Gymnasium wrapper can turn yours into one)"
        )


def is_mission(space: gym.Space[Any]) -> bool:
    return any(kind.__name__ == "MissionSpace" for kind in type(space).__mro__)  # by name: minigrid may not be imported


def _mission_varies(space: Any) -> bool:
    """MiniGrid's missions vary with their placeholders; BabyAI's (a subclass) always."""
    return space.ordered_placeholders is not None or type(space).__name__ != "MissionSpace"


def _get(observation: Any, path: str) -> Any:
    for key in path.split("/") if path else ():
        observation = observation[key]
    return observation


def _at(path: str) -> str:
    return "".join(f"[{key!r}]" for key in path.split("/")) if path else ""


def _tensor(leaf: Leaf, part: Any) -> Tensor:
    if leaf.kind == "mission":
        missions = (part,) if isinstance(part, str) else part
        return torch.from_numpy(np.stack([mission_features(mission) for mission in missions]))
    array = np.asarray(part)
    return torch.from_numpy(array.astype(np.int64) - leaf.offset if leaf.kind == "discrete" else array.copy())


@lru_cache(maxsize=4096)
def mission_features(mission: str) -> np.ndarray:
    """Indicators (MISSION_FEATURES,) uint8 of the hashed words and neighbouring word pairs of a mission."""
    words = mission.lower().replace(",", " ").split()
    features = np.zeros(MISSION_FEATURES, dtype=np.uint8)
    for token in [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False))]:
        features[zlib.crc32(token.encode()) % MISSION_FEATURES] = 1
    return features
