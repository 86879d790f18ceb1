"""How the steps of a rollout are cut into minibatches: rows of the flattened, time-major (num_steps · num_envs) batch."""

from __future__ import annotations

import torch
from torch import Tensor


def by_step(valid: Tensor, number: int, generator: torch.Generator) -> list[Tensor]:
    """Every step that is valid, (num_steps, num_envs) bool, once in a random order."""
    rows = valid.flatten().nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
    return list(rows.split(-(-len(rows) // number)))


def by_environment(valid: Tensor, number: int, generator: torch.Generator) -> list[Tensor]:
    """Every environment's whole rollout once, environments in a random order: each part is time-major, (num_steps · some of the envs,)."""
    num_steps, num_envs = valid.shape
    order = torch.randperm(num_envs, generator=generator).to(valid.device)
    times = num_envs * torch.arange(num_steps, device=valid.device)
    return [(times[:, None] + envs).flatten() for envs in order.split(-(-num_envs // number))]
