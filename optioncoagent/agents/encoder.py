"""From observations to what an encoder takes, and the encoder that an agent has where none is given."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optioncoagent.agents.cells import FirstLayer, indicators, looked_up
from optioncoagent.agents.images import Convolutions
from optioncoagent.agents.observations import CODES, Leaf, ObservationSpec, Tensors, first_values, image_axes

SCALE = {"cells": 0.5, "grid": 1 / 10, "pixels": 1 / 255}  # bytes to about [0, 1]; MiniGrid's codes end at 10


class Inputs(nn.Module):
    """The leaves of an observation as an `Encoder` takes them, without parameters, so that it is done once for a whole rollout.

    {"numbers": (n, size), the leaves side by side that are neither images nor cells: indicators, and numbers scaled to order one;
    "image " + path: (n, …); "cells": (n, codes) int32, the columns of those of all cells' `indicators` (n, num_indicators) that are 1}.
    """

    scale: Tensor
    first: Tensor
    last: Tensor

    def __init__(self, spec: ObservationSpec):
        super().__init__()
        self.images = [leaf for leaf in spec.leaves if leaf.kind == "pixels" and image_axes(leaf.shape)]
        self.cells = [leaf for leaf in spec.leaves if leaf.kind == "cells"]
        self.flat = [leaf for leaf in spec.leaves if leaf not in self.images and leaf not in self.cells]
        self.num_indicators = sum(leaf.size for leaf in self.cells)
        scale = [torch.full((leaf.size,), SCALE.get(leaf.kind, 1.0)) for leaf in self.flat]
        self.register_buffer("scale", torch.cat([torch.zeros(0), *scale]), persistent=False)
        # for each code of each cell the column of its first value, and its last value
        cell = torch.arange(0, self.num_indicators, sum(CODES), dtype=torch.int32)[:, None]
        first = cell + torch.tensor(list(accumulate(CODES[:-1], initial=0)), dtype=torch.int32)
        self.register_buffer("first", first.flatten(), persistent=False)
        self.register_buffer("last", (torch.tensor(CODES, dtype=torch.int32) - 1).repeat(len(cell)), persistent=False)

    def forward(self, state: Tensor | Tensors) -> Tensors:
        tensors = {"": state} if isinstance(state, Tensor) else state
        given = {f"image {leaf.path}": tensors[leaf.path] for leaf in self.images}
        if self.flat:
            rows = torch.cat([_row(leaf, tensors[leaf.path], self.scale.dtype) for leaf in self.flat], dim=-1)
            given["numbers"] = rows.to(self.scale.dtype).mul_(self.scale)
        if self.cells:
            codes = torch.cat([tensors[leaf.path].flatten(1) for leaf in self.cells], dim=-1)
            # what is no code of MiniGrid's is refused before anything is learned from it
            given["cells"] = self.first + codes.int().clamp(min=0).minimum(self.last)
        return given


class Given(nn.Module):
    """Observations as an encoder of one's own takes them: as they are, but numbers, if no codes or pixels, in the module's precision."""

    def __init__(self, spec: ObservationSpec, dtype: torch.dtype):
        super().__init__()
        self.numbers, self.dtype = {leaf.path for leaf in spec.leaves if leaf.kind in ("box", "slope")}, dtype

    def forward(self, state: Tensor | Tensors) -> Tensor | Tensors:
        tensors = {"": state} if isinstance(state, Tensor) else state
        given = {path: x.to(self.dtype) if path in self.numbers else x for path, x in tensors.items()}
        return given[""] if isinstance(state, Tensor) else given


def _row(leaf: Leaf, x: Tensor, dtype: torch.dtype) -> Tensor:
    """One leaf as a row of numbers, (n, size); what are bytes stay bytes."""
    if leaf.kind == "discrete":
        x = x - first_values(leaf, x)
    if leaf.counts:
        columns = x.reshape(len(x), -1).unbind(dim=1)
        return torch.cat([indicators(column[:, None], n, torch.uint8) for column, n in zip(columns, leaf.counts, strict=True)], dim=-1)
    if leaf.kind == "discrete":
        return indicators(x[:, None], leaf.size, torch.uint8)
    x = x.reshape(len(x), -1)
    x = x if x.dtype == torch.uint8 else x.to(dtype)
    return x.to(dtype).atan() if leaf.kind == "slope" else x


class Encoder(nn.Module):
    """What `Inputs` gives, numbers, convolved images and cells' indicators side by side, through layers of `hidden_sizes` with ReLU."""

    def __init__(self, spec: ObservationSpec, hidden_sizes: tuple[int, ...]):
        super().__init__()
        self.inputs = Inputs(spec)
        self.images = nn.ModuleDict({str(spec.leaves.index(leaf)): Convolutions(leaf.shape) for leaf in self.inputs.images})
        num_numbers = len(self.inputs.scale) + sum(image.num_features for image in self.images.values())  # type: ignore[misc]
        sizes = (num_numbers + self.inputs.num_indicators, *hidden_sizes)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight, math.sqrt(2))  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.lookup: Tensor | None = None

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """While no weight changes, as in a rollout: what the first layer looks up is laid out once, and not at every step."""
        if self.inputs.cells and len(self.layers):
            self.lookup = looked_up(self.layers[0].weight, self.inputs.num_indicators)  # type: ignore[arg-type]
        try:
            yield
        finally:
            self.lookup = None

    def forward(self, given: Tensors) -> Tensor:
        parts = [given["numbers"]] if self.inputs.flat else []
        for leaf, convolutions in zip(self.inputs.images, self.images.values(), strict=True):
            image = given[f"image {leaf.path}"]
            parts.append(convolutions(image.reshape(-1, *leaf.shape).to(self.inputs.scale.dtype) * SCALE["pixels"]))
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1) if parts else self.inputs.scale.new_zeros(len(given["cells"]), 0)
        if self.inputs.cells and not len(self.layers):
            x = torch.cat([x, SCALE["cells"] * indicators(given["cells"], self.inputs.num_indicators, x.dtype)], dim=-1)
        for number, layer in enumerate(self.layers):
            with_cells = number == 0 and self.inputs.cells
            arguments = given.get("cells"), self.inputs.first, layer.weight, layer.bias, SCALE["cells"], self.lookup
            x = F.relu(FirstLayer.apply(x, *arguments) if with_cells else layer(x))
        return x
