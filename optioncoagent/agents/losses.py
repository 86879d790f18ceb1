"""Gradient forms and the clipped objective they share.

A form is data: for every output u of a coagent an advantage a_u such that Σ_u a_u ∂ρ_u, with ρ_u = π(u) / π_old(u), is the coagent's local
gradient at one step. The objective Σ_u min(ρ_u a_u, clip(ρ_u) a_u) has that gradient at ρ = 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def expected(old: Tensor, values: Tensor) -> Tensor:
    """Σ_u ∂π(u) W(u): the expectation over the coagent's own output (for a binary coagent of option-critic, the Q_β form of ACN, E.2)."""
    # Σ_u ∂π(u) W(u) = Σ_u ∂ρ_u π_old(u) [ W(u) − Σ_v π_old(v) W(v) ]
    return old * (values - (old * values).sum(dim=-1, keepdim=True))


def difference(old: Tensor, values: Tensor) -> Tensor:
    """−∂π(0) (W(1) − W(0)), for two outputs: the advantage form (OC, Theorem 2)."""
    gap = values[:, 1:2] - values[:, 0:1]
    return torch.cat([-old[:, 0:1] * gap, torch.zeros_like(gap)], dim=-1)


def score(output: Tensor, advantage: Tensor, num_outputs: int) -> Tensor:
    """∂ ln π(U) A: the sampled output (n,) and its advantage (n,)."""
    return torch.nn.functional.one_hot(output, num_outputs) * advantage[:, None]


def clipped_objective(log_new: Tensor, log_old: Tensor, advantage: Tensor, clip_coef: float) -> Tensor:
    """min(ρ_u a_u, clip(ρ_u, 1 ± clip_coef) a_u), of the shape of its arguments. See "Proximal Policy Optimization Algorithms" by Schulman
    et al., equation 7.
    """
    ratio = (log_new - log_old).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantage)


def log_policies(logits: Tensor, num_outputs: Sequence[int]) -> Tensor:
    """ln π of policies with so many outputs, whose logits lie side by side, (n, U)."""
    return torch.cat([part.log_softmax(dim=-1) for part in logits.split(tuple(num_outputs), dim=-1)], dim=-1)


def entropy(log_policy: Tensor) -> Tensor:
    """−Σ_u π ln π over the last axis."""
    return -(log_policy.exp() * log_policy).sum(dim=-1)
