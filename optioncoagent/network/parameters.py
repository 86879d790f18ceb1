"""Where the parameters of a network lie: one block for each coagent that has some of its own, end to end in network order."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from optioncoagent.network.coagent import FloatArray


class ParameterBlock(NamedTuple):
    """Logits of one owner: an array of `shape`, the last axis its outputs; `part`: the slice that they take of a flat vector."""

    owner: str
    shape: tuple[int, ...]
    part: slice


class ParameterLayout:
    """Blocks of parameters, and which of them each coagent uses. Everything that lays parameters out, flat or by name, reads this.

    blocks: one an owner, in network order. of[name]: the block that a coagent's policy uses, its own or another's. size: of all blocks.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], owners: Mapping[str, str]):
        self.blocks: tuple[ParameterBlock, ...] = ()
        self.size = 0
        for owner, shape in shapes.items():
            self.blocks += (ParameterBlock(owner, shape, slice(self.size, self.size + prod(shape))),)
            self.size += prod(shape)
        by_owner = {block.owner: block for block in self.blocks}
        self.of = {name: by_owner[owner] for name, owner in owners.items()}

    def flat(self, arrays: Mapping[str, Any]) -> FloatArray:
        """{owner: array of its shape} as one vector (size,)."""
        return np.concatenate([np.asarray(arrays[block.owner], dtype=np.float64).ravel() for block in self.blocks])

    def unflat(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Inverse of `flat`, as views; leading axes of `vector` are kept."""
        return {block.owner: vector[..., block.part].reshape(*vector.shape[:-1], *block.shape) for block in self.blocks}

    def check(self, params: Mapping[str, Any]) -> dict[str, FloatArray]:
        """The logits as float64 arrays, {owner: array}.

        Raises ValueError where logits are missing, unknown, have the wrong shape, are NaN or +inf, or are -inf for a whole row.
        """
        unknown = set(params) - {block.owner for block in self.blocks}
        if unknown:
            raise ValueError(
                f"params has {sorted(unknown, key=repr)}, which the network does not: it needs {[block.owner for block in self.blocks]}"
            )
        checked = {}
        for name, shape, _ in self.blocks:
            if name not in params:
                raise ValueError(f"params has no logits for coagent {name!r}")
            logits = np.asarray(params[name], dtype=np.float64)
            if logits.shape != shape:
                raise ValueError(f"params[{name!r}] has shape {logits.shape}, the network needs {shape}")
            if np.isnan(logits).any() or (logits == np.inf).any() or not np.isfinite(logits).any(axis=-1).all():
                raise ValueError(f"params[{name!r}] has NaN, +inf or a row of -inf: a softmax needs one finite logit in each row")
            checked[name] = logits
        return checked


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis; -inf logits have probability 0."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
