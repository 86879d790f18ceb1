"""Pixels to features: three convolutions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optioncoagent.agents.observations import image_axes

# (channels, kernel, stride, padding) of each layer
LARGE = ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0))
SMALL = ((16, 3, 2, 1), (32, 3, 2, 1), (32, 3, 1, 1))
LARGE_FROM = 36  # pixels on the shorter side; the large layers need as many


class Convolutions(nn.Module):
    """Images (n, *shape), channels first or last or stacked frames (see `image_axes`), to (n, num_features).

    From 36 pixels on, the layers of "Human-level control through deep reinforcement learning" by Mnih et al.; smaller ones below.
    """

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        axes = image_axes(shape)
        assert axes is not None
        self.channels, self.sides = axes
        before = math.prod(shape[axis] for axis in self.channels)
        layers = LARGE if min(shape[axis] for axis in self.sides) >= LARGE_FROM else SMALL
        self.layers = nn.ModuleList()
        for channels, kernel, stride, padding in layers:
            layer = nn.Conv2d(before, channels, kernel, stride, padding)
            nn.init.orthogonal_(layer.weight, math.sqrt(2))
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            self.layers.append(layer)
            before = channels
        with torch.no_grad():
            self.num_features = self(torch.zeros(1, *shape)).shape[-1]

    def forward(self, x: Tensor) -> Tensor:
        height, width = (1 + axis for axis in self.sides)
        x = x.permute(0, *(1 + axis for axis in self.channels), height, width)
        x = x.reshape(len(x), -1, *x.shape[-2:])
        for layer in self.layers:
            x = F.relu(layer(x))
        return x.flatten(1)
