"""What gives the parameters of a policy: a linear layer on the features, a table where it does not observe, two of them for a Gaussian."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from optioncoagent.network import Coagent

Linear = tuple[Tensor, Tensor]  # weights (rows, f), biases (rows,)
RESIDUAL = 0.25  # scale of what a head learns for one configuration alone, beside what it learns for all


class Head(nn.Linear):
    def __init__(self, num_features: int, num_outputs: int, gain: float):
        super().__init__(num_features, num_outputs)
        nn.init.orthogonal_(self.weight, gain)
        nn.init.zeros_(self.bias)

    def linear(self) -> Linear:
        return self.weight, self.bias


class GaussianHead(nn.Module):
    """Means, and logarithms of scales, of a Gaussian's numbers in each configuration: a head or table for each of the two."""

    def __init__(self, size: int, mean: Head | Table, log_scale: Head | Table, start: float):
        super().__init__()
        self.size, self.mean, self.log_scale = size, mean, log_scale
        nn.init.constant_(log_scale.bias if isinstance(log_scale, Head) else log_scale.logits, start)

    def linear(self) -> Linear:
        pairs = zip(self.mean.linear(), self.log_scale.linear(), strict=True)
        # side by side in each configuration: means, and then logarithms of scales
        weight, bias = (torch.cat([x.unflatten(0, (-1, self.size)) for x in pair], dim=1).flatten(0, 1) for pair in pairs)
        return weight, bias


def make_head(coagent: Coagent, num_features: int, configurations: int, residual: bool = False) -> Head | Table | GaussianHead:
    """A head with a coagent's parameters in so many configurations; residual: all of them 0 at first."""

    def part(size: int, observes: bool) -> Head | Table:
        number = configurations * size
        return Head(num_features, number, 0.0 if residual else 0.01) if observes else Table(num_features, number)

    gaussian = coagent.gaussian
    if gaussian is None:
        return part(coagent.num_outputs, coagent.observes)
    mean, log_scale = part(gaussian.size, coagent.observes), part(gaussian.size, coagent.observes and gaussian.scale_observes)
    return GaussianHead(gaussian.size, mean, log_scale, 0.0 if residual else math.log(gaussian.scale))


def added(common: Tensor, residual: Tensor) -> Tensor:
    """What all configurations have in common (outputs, …) and the residual of each (configurations · outputs, …), together."""
    return torch.add(common, residual.unflatten(0, (-1, len(common))), alpha=RESIDUAL).flatten(0, 1)


class Table(nn.Module):
    """Logits of a coagent that does not look at the observation."""

    def __init__(self, num_features: int, num_logits: int):
        super().__init__()
        self.num_features = num_features
        self.logits = nn.Parameter(torch.zeros(num_logits))

    def linear(self) -> Linear:
        return self.logits.new_zeros(len(self.logits), self.num_features), self.logits
