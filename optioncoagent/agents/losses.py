"""Gradient forms and the clipped objective they share.

A form is data: for every output u of a coagent a weight w_u and an advantage A_u, such that Σ_u w_u ∂ρ_u A_u, with ρ_u = π(u) /
π_old(u), is the coagent's local gradient at one step. The objective Σ_u w_u min(ρ_u A_u, clip(ρ_u) A_u) has that gradient at ρ = 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

Form = tuple[Tensor, Tensor]  # weight, advantage; both (n, outputs)


def expected(old: Tensor, values: Tensor) -> Form:
    """Σ_u ∂π(u) W(u): the expectation over the coagent's own output (for a binary coagent of option-critic, the Q_β form of ACN, E.2)."""
    # Σ_u ∂π(u) W(u) = Σ_u π_old(u) ∂ρ_u [ W(u) − Σ_v π_old(v) W(v) ]
    return old, values - (old * values).sum(dim=-1, keepdim=True)


def difference(old: Tensor, values: Tensor) -> Form:
    """−∂π(0) (W(1) − W(0)), for two outputs: the advantage form (OC, Theorem 2)."""
    gap = values[:, 1:2] - values[:, 0:1]
    zero = torch.zeros_like(gap)
    return torch.cat([old[:, 0:1], zero], dim=-1), torch.cat([-gap, zero], dim=-1)


def score(output: Tensor, advantage: Tensor, num_outputs: int) -> Form:
    """∂ ln π(U) A: the sampled output (n,) and its advantage (n,)."""
    weight = torch.nn.functional.one_hot(output, num_outputs).to(advantage.dtype)
    return weight, advantage[:, None].expand_as(weight)


def clipped_objective(log_new: Tensor, log_old: Tensor, form: Form, clip_coef: float) -> Tensor:
    """Σ_u w_u min(ρ_u A_u, clip(ρ_u, 1 ± clip_coef) A_u), shape (n,). See "Proximal Policy Optimization Algorithms" by Schulman et
    al., equation 7.
    """
    weight, advantage = form
    ratio = (log_new - log_old).exp()
    clipped = ratio.clamp(1 - clip_coef, 1 + clip_coef)
    return (weight * torch.minimum(ratio * advantage, clipped * advantage)).sum(dim=-1)


def entropy(log_policy: Tensor) -> Tensor:
    """−Σ_u π ln π over the last axis."""
    return -(log_policy.exp() * log_policy).sum(dim=-1)
