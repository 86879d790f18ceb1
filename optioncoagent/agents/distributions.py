"""What coagents draw their outputs from: softmax policies, and Gaussians; how to draw, probabilities, densities, entropies.

A head gives each coagent some numbers in each configuration, `Coagent.num_parameters` of them, along the first axis here: logits, or the
means of a Gaussian's numbers and then the logarithms of their standard deviations. Steps are the last axis; an output that is counted is
(n,) int, a Gaussian's (n, size).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optioncoagent.network import Coagent, CoagentNetwork


def sample(coagent: Coagent, given: Tensor, uniform: Tensor, deterministic: bool) -> Tensor:
    """An output from what a head gives (parameters, n) and one row of `Sampler.uniforms`; deterministic: the most likely output."""
    if coagent.gaussian is None:
        return given.argmax(dim=0) if deterministic else draw(given.softmax(dim=0), uniform[0])
    mean, log_scale = given.chunk(2)
    return (mean if deterministic else mean + log_scale.exp() * uniform[3 : 3 + len(mean)]).T


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Sample from probabilities (outputs, n) or (outputs, 1) by inversion, (n,) int."""
    return (probabilities.cumsum(dim=0)[:-1] <= uniform).sum(dim=0)


def probabilities(coagent: Coagent, given: Tensor) -> Tensor:
    """π of the outputs that others may depend on, from (configurations, parameters, n): (configurations, outputs, n)."""
    return given.softmax(dim=1) if coagent.gaussian is None else torch.ones_like(given[:, :1])


def table(coagent: Coagent, given: Tensor) -> Tensor:
    """The policy itself, from (configurations, parameters, n): probabilities (n, configurations, outputs); of a Gaussian, in the units of
    the action and not yet within its bounds, mean and standard deviation (n, configurations, 2, size)."""
    if coagent.gaussian is None:
        return given.softmax(dim=1).permute(2, 0, 1)
    mean, log_scale = given.permute(2, 0, 1).chunk(2, dim=-1)
    centre, unit = (torch.as_tensor(x).to(mean) for x in (coagent.gaussian.centre, coagent.gaussian.unit))
    return torch.stack([centre + unit * mean, unit * log_scale.exp()], dim=-2)


def log_table(coagent: Coagent, given: Tensor) -> Tensor:
    """ln π of a policy that is counted, (n, configurations, outputs): finite where π itself is rounded to zero."""
    return given.log_softmax(dim=1).permute(2, 0, 1)


def table_shape(coagent: Coagent, configurations: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of `table` at one observation, an axis for each coagent read."""
    return (*configurations, coagent.num_outputs) if coagent.gaussian is None else (*configurations, 2, coagent.gaussian.size)


def which(coagent: Coagent, output: Tensor) -> Tensor:
    """Which of the outputs that others may depend on it was, (n,) int: of a Gaussian's there is one."""
    return output if coagent.gaussian is None else torch.zeros(len(output), dtype=torch.long, device=output.device)


def numbers(network: CoagentNetwork, outputs: Mapping[str, Tensor]) -> Tensor:
    """The outputs of all Gaussians side by side, (n, numbers)."""
    drawn, any_output = [outputs[name] for name in network.gaussians], next(iter(outputs.values()))
    return torch.cat(drawn, dim=-1) if drawn else any_output.new_zeros(len(any_output), 0)


def log_probabilities(network: CoagentNetwork, read: Tensor, drawn: Tensor) -> Tensor:
    """ln π of every output that is counted, and of what the Gaussians gave, (U, n); read (R, n): the rows of `Batch.rows`."""
    sizes = [c.num_outputs for c in network.counted]
    rows = [log_policies(read[: sum(sizes)], sizes)]
    rows += [log_density(given, numbers)[None] for given, numbers in of_gaussians(network, read, drawn)]
    return torch.cat(rows)


def of_gaussians(network: CoagentNetwork, read: Tensor, drawn: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What the heads give each Gaussian (2 size, n) and what it gave (size, n), from all rows read and all numbers drawn (numbers, n)."""
    sizes = [gaussian.size for gaussian in network.gaussians.values()]
    given = read[len(read) - 2 * sum(sizes) :].split([2 * size for size in sizes])
    return list(zip(given, drawn.split(sizes), strict=True))


def log_policies(logits: Tensor, num_outputs: Sequence[int]) -> Tensor:
    """ln π of softmax policies with so many outputs, whose logits lie side by side, (U, n)."""
    return torch.cat([logits[:0], *(part.log_softmax(dim=0) for part in logits.split(tuple(num_outputs)))])


def log_density(given: Tensor, drawn: Tensor) -> Tensor:
    """ln π of what a Gaussian gave, (n,): given (2 size, n), drawn (size, n)."""
    mean, log_scale = given.chunk(2)
    # ln N(u; μ, σ) = −½ ((u − μ) / σ)² − ln σ − ½ ln 2π
    return (-0.5 * ((drawn - mean) * (-log_scale).exp()).square() - log_scale).sum(dim=0) - 0.5 * len(drawn) * math.log(2 * math.pi)


def log_probability(coagent: Coagent, given: Tensor, output: Tensor) -> Tensor:
    """ln π of one output, (n,) int or (n, size), in each of several cases, (cases, parameters, n): (cases, n)."""
    if coagent.gaussian is not None:
        return torch.stack([log_density(case, output.T) for case in given])
    return given.log_softmax(dim=1).gather(1, output.expand(len(given), 1, -1))[:, 0]


def entropy(log_policy: Tensor) -> Tensor:
    """−Σ_u π ln π over the first axis."""
    return -(log_policy.exp() * log_policy).sum(dim=0)


def scale_of(entropy: Tensor, size: int) -> Tensor:
    """The geometric mean of a Gaussian's standard deviations, from its entropy."""
    return (entropy / size - 0.5 * (1 + math.log(2 * math.pi))).exp()


def gaussian_entropy(given: Tensor) -> Tensor:
    """∫ −π ln π of a Gaussian, (n,), from (2 size, n)."""
    log_scale = given[len(given) // 2 :]
    return log_scale.sum(dim=0) + 0.5 * len(log_scale) * (1 + math.log(2 * math.pi))
