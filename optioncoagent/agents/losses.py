"""Gradient forms and the clipped objective they share; everything has the steps of a batch as its last axis.

A form is data: for every output u of a coagent an advantage a_u such that Σ_u a_u ∂ρ_u, with ρ_u = π(u) / π_old(u), is the coagent's local
gradient at one step. The objective Σ_u min(ρ_u a_u, clip(ρ_u) a_u) has that gradient at ρ = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Coefs(NamedTuple):
    """clip: of the probability ratios; ent, vf: weights of the entropy bonus and of the critic's loss."""

    clip: float
    ent: float
    vf: float


def expected(old: Tensor, values: Tensor) -> Tensor:
    """Σ_u ∂π(u) W(u): the expectation over the coagent's own output (for a binary coagent of option-critic, the Q_β form of ACN, E.2)."""
    # Σ_u ∂π(u) W(u) = Σ_u ∂ρ_u π_old(u) [ W(u) − Σ_v π_old(v) W(v) ]
    return old * (values - (old * values).sum(dim=0))


def difference(old: Tensor, values: Tensor) -> Tensor:
    """−∂π(0) (W(1) − W(0)), for two outputs: the advantage form (OC, Theorem 2)."""
    gap = values[1] - values[0]
    return torch.stack([-old[0] * gap, torch.zeros_like(gap)])


def score(output: Tensor, advantage: Tensor, num_outputs: int) -> Tensor:
    """∂ ln π(U) A: the sampled output (n,) and its advantage (n,)."""
    return torch.zeros(num_outputs, *advantage.shape, dtype=advantage.dtype, device=advantage.device).scatter_(
        0, output[None], advantage[None]
    )


def log_policies(logits: Tensor, num_outputs: Sequence[int]) -> Tensor:
    """ln π of policies with so many outputs, whose logits lie side by side, (U, n)."""
    return torch.cat([part.log_softmax(dim=0) for part in logits.split(tuple(num_outputs))])


def entropy(log_policy: Tensor) -> Tensor:
    """−Σ_u π ln π over the first axis."""
    return -(log_policy.exp() * log_policy).sum(dim=0)


class Losses(torch.autograd.Function):
    """What is minimised, in parts, (coagents + 1,): means over the steps of a batch of each coagent's loss, and of the critic's:

        −Σ_u [ min(ρ_u a_u, clip(ρ_u, 1 ± clip_coef) a_u) − ent_coef e π_u ln π_u ]          vf_coef e (Q − target)²

    read (U + 1, n): z of every output, the coagents' side by side, num_outputs of each, and Q; the rest as in `targets.Batch`. The
    gradient is written out, which takes a third of the operations that recording it would. See "Proximal Policy Optimization Algorithms"
    by Schulman et al., equation 7.
    """

    @staticmethod
    def forward(ctx: Any, read: Tensor, batch: Any, num_outputs: tuple[int, ...], coefs: Coefs) -> Tensor:
        log_old, advantage, executed = (x.T.contiguous() for x in (batch.log_old, batch.advantage, batch.executed))
        log_new = log_policies(read[:-1], num_outputs)
        policy, ratio = log_new.exp(), (log_new - log_old).exp()
        gain, clipped = ratio * advantage, ratio.clamp(1 - coefs.clip, 1 + coefs.clip) * advantage
        bonus = executed * policy * log_new
        # g_u = ∂/∂ ln π_u = ρ_u a_u 1{not clipped} − ent_coef e π_u ln π_u, but for a multiple of π_u
        g = torch.sub(gain * (gain <= clipped), bonus, alpha=coefs.ent)
        # ∂/∂z_u = g_u − π_u Σ_v g_v
        n, parts = read.shape[-1], zip(policy.split(num_outputs), g.split(num_outputs), strict=True)
        error = batch.valid * (read[-1] - batch.target)
        ctx.gradients = [*(pi * part.sum(dim=0) - part for pi, part in parts), 2 * coefs.vf * error[None]]
        gained = torch.sub(torch.minimum(gain, clipped), bonus, alpha=coefs.ent).mean(dim=-1)
        return torch.stack([*(-part.sum() for part in gained.split(num_outputs)), coefs.vf / n * error.dot(error)])

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        n = ctx.gradients[0].shape[-1]
        return torch.cat([scale * part for scale, part in zip(upstream[0] / n, ctx.gradients, strict=True)]), None, None, None
