"""How the steps of a rollout are cut into minibatches: rows of the flattened, time-major (num_steps · num_envs) batch."""

from __future__ import annotations

import torch
from torch import Tensor


def by_step(valid: Tensor, number: int, generator: torch.Generator) -> list[Tensor]:
    """Every step that is valid, (num_steps, num_envs) bool, once in a random order."""
    rows = valid.flatten().nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
    return list(rows.tensor_split(min(number, len(rows))))


def by_environment(valid: Tensor, number: int, generator: torch.Generator) -> list[Tensor]:
    """The whole rollout of every environment with a valid step once, environments in a random order: each part is time-major, (num_steps ·
    some of the envs,)."""
    num_steps, num_envs = valid.shape
    order = valid.any(dim=0).nonzero()[:, 0]
    order = order[torch.randperm(len(order), generator=generator).to(order.device)]
    times = num_envs * torch.arange(num_steps, device=valid.device)
    return [(times[:, None] + envs).flatten() for envs in order.tensor_split(min(number, len(order)))]
