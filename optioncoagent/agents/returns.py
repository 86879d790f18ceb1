"""λ-returns over one rollout, time-major (num_steps, num_envs)."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_advantages(delta_t: Tensor, trace_t: Tensor) -> Tensor:
    """Σ_k (Π_{j<k} trace_{t+j}) δ_{t+k}, shape (num_steps, num_envs).

    delta_t: temporal-difference errors of steps t. trace_t: γλ where step t+1 is of the same episode and the same rollout, else 0,
    so that it tells of both endings. See "High-Dimensional Continuous Control Using Generalized Advantage Estimation" by Schulman et al.
    """
    # over the next k steps: A_t^(k) = Σ_{j<k} (Π_{i<j} trace_{t+i}) δ_{t+j}; k doubles until it spans the rollout
    advantages, products, k = delta_t, trace_t, 1
    while k < len(delta_t):
        # A_t^(2k) = A_t^(k) + (Π_{i<k} trace_{t+i}) A_{t+k}^(k)
        advantages = torch.cat([advantages[:-k] + products[:-k] * advantages[k:], advantages[-k:]])
        products = torch.cat([products[:-k] * products[k:], torch.zeros_like(products[-k:])])
        k *= 2
    return advantages
