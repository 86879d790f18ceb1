"""λ-returns over one rollout, time-major (num_steps, num_envs)."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_advantages(delta_t: Tensor, trace_t: Tensor) -> Tensor:
    """Σ_k (Π_{j<k} trace_{t+j}) δ_{t+k}, shape (num_steps, num_envs).

    delta_t: temporal-difference errors of steps t. trace_t: γλ where step t+1 belongs to the same episode and was learned from, else
    0; it carries both endings. See "High-Dimensional Continuous Control Using Generalized Advantage Estimation" by Schulman et al.
    """
    advantages = torch.empty_like(delta_t)
    following = torch.zeros_like(delta_t[0])
    for t in reversed(range(len(delta_t))):
        # A_t = δ_t + γλ A_{t+1}
        following = delta_t[t] + trace_t[t] * following
        advantages[t] = following
    return advantages
