"""Gradient forms and the clipped objective they share; everything has the steps of a batch as its last axis.

A form is data: for every output u of a coagent an advantage a_u such that Σ_u a_u ∂ρ_u, with ρ_u = π(u) / π_old(u), is the coagent's local
gradient at one step. The objective Σ_u min(ρ_u a_u, clip(ρ_u) a_u) has that gradient at ρ = 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from optioncoagent.agents.distributions import gaussian_entropy, log_density, log_policies, of_gaussians
from optioncoagent.network import CoagentNetwork

MAX_LOG_RATIO = 20.0  # far beyond any clip_coef; infinity times an advantage of 0 would be NaN


def expected(old: Tensor, values: Tensor) -> Tensor:
    """Σ_u ∂π(u) W(u): the expectation over the coagent's own output (for a binary coagent of option-critic, the Q_β form of ACN, E.2).

    old, values: π_old(u) and W(u), (outputs, n); returns a_u, (outputs, n).
    """
    # Σ_u ∂π(u) W(u) = Σ_u ∂ρ_u π_old(u) [ W(u) − Σ_v π_old(v) W(v) ]
    return old * (values - (old * values).sum(dim=0))


def difference(old: Tensor, values: Tensor) -> Tensor:
    """−∂π(0) (W(1) − W(0)), for two outputs: the advantage form (OC, Theorem 2). Shapes as in `expected`."""
    gap = values[1] - values[0]
    return torch.stack([-old[0] * gap, torch.zeros_like(gap)])


def score(output: Tensor, advantage: Tensor, num_outputs: int) -> Tensor:
    """∂ ln π(U) A: the sampled output (n,) and its advantage (n,); returns a_u, (outputs, n)."""
    return torch.zeros(num_outputs, *advantage.shape, dtype=advantage.dtype, device=advantage.device).scatter_(
        0, output[None], advantage[None]
    )


def posterior(log_posterior: Tensor, advantage: Tensor) -> Tensor:
    """E[ ∂ ln π(U) | what the coagents that read U gave ] A: every output as likely as it is given these, (outputs, n), up to a factor."""
    return log_posterior.softmax(dim=0) * advantage


def gaussian(given: Tensor, drawn: Tensor, learned: Tensor, clip_coef: float) -> Tensor:
    """The loss of a coagent with a Gaussian, a mean over steps: that of `Losses` for what was drawn, with the density in place of π.

    given (2 size, n): means and logarithms of scales. drawn (size, n). learned (3, n): ln π_old of what was drawn, a and c.
    """
    log_old, advantage, weight = learned
    ratio = (log_density(given, drawn) - log_old).clamp(max=MAX_LOG_RATIO).exp()
    objective = torch.minimum(ratio * advantage, ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantage)
    return -(objective + weight * gaussian_entropy(given)).mean()


class Losses(torch.autograd.Function):
    """What is minimised, in parts, (coagents + 1,): means over the steps of a batch of each coagent's loss, and of the critic's:

        −Σ_u [ min(ρ_u a_u, clip(ρ_u, 1 ± clip_coef) a_u) − c π_u ln π_u ]          vf_coef valid (Q − target)²

    read (U + 1, n): the logit z of every output, the coagents' side by side, and Q. part (U + 1,): which of the parts each row belongs to.
    learned (3, U, n): ln π_old, the advantage a, the weight c of the entropy; target, valid (n,): see `targets.Batch`. num_outputs: of each
    coagent. The gradient is written out, which takes a third of the operations that recording it would. See "Proximal Policy Optimization
    Algorithms" by Schulman et al., equation 7.
    """

    @staticmethod
    def forward(
        ctx: Any,
        read: Tensor,
        part: Tensor,
        learned: Tensor,
        target: Tensor,
        valid: Tensor,
        num_outputs: tuple[int, ...],
        clip_coef: float,
        vf_coef: float,
    ) -> Tensor:
        n, of_coagent, (log_old, advantage, weight) = len(target), part[:-1], learned.unbind()
        log_new = log_policies(read[:-1], num_outputs)
        policy, ratio = log_new.exp(), (log_new - log_old).clamp(max=MAX_LOG_RATIO).exp()
        gain, clipped = ratio * advantage, ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantage
        bonus = policy * log_new * weight
        # g_u = ∂/∂ ln π_u = ρ_u a_u 1{not clipped} − c π_u ln π_u, but for a multiple of π_u
        g = gain.masked_fill(gain > clipped, 0.0) - bonus
        # ∂/∂z_u = g_u − π_u Σ_v g_v
        sums = g.new_zeros(len(num_outputs), n).index_add_(0, of_coagent, g)
        error = (read[-1] - target) * valid
        ctx.part, ctx.gradient = part, torch.cat([policy * sums.index_select(0, of_coagent) - g, 2 * vf_coef * error[None]])
        objective = (torch.minimum(gain, clipped) - bonus).sum(dim=-1)
        rows = torch.cat([-objective, vf_coef * error.dot(error)[None]])
        return rows.new_zeros(len(num_outputs) + 1).index_add_(0, part, rows, alpha=1 / n)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        scale = upstream[0].index_select(0, ctx.part) / ctx.gradient.shape[-1]
        return scale[:, None] * ctx.gradient, None, None, None, None, None, None, None


def of_network(network: CoagentNetwork, part: Tensor, read: Tensor, batch: Any, clip_coef: float, vf_coef: float) -> Tensor:
    """The losses of all coagents in the order of `network.by_kind`, and of the critic, (coagents + 1,).

    part: see `Losses`. read (R, n): the rows of the readout that `batch`, a `targets.Batch`, is about.
    """
    counted, learned = len(part) - 1, batch.learned.permute(1, 2, 0).contiguous()
    sizes = tuple(c.num_outputs for c in network.counted)
    if not network.gaussians:  # without slices, for which autograd would fill gradients as large as what they are of
        of_counted: Tensor = Losses.apply(read, part, learned, batch.target, batch.valid, sizes, clip_coef, vf_coef)
        return of_counted
    parts: Tensor = Losses.apply(read[: counted + 1], part, learned[:, :counted], batch.target, batch.valid, sizes, clip_coef, vf_coef)
    pairs = zip(of_gaussians(network, read, batch.drawn.T), learned[:, counted:].unbind(dim=1), strict=True)
    return torch.cat([parts[:-1], torch.stack([gaussian(*pair, row, clip_coef) for pair, row in pairs]), parts[-1:]])


@torch.no_grad()
def divergence(network: CoagentNetwork, read: Tensor, batch: Any) -> Tensor:
    """How far the policies of the actions are from those that acted, given what is upstream of them: KL(π_old ‖ π) of each action coagent
    where it executed, their sum, a mean over steps. read (R, n): the rows of the readout that `batch`, a `targets.Batch`, is about.

    Of a Gaussian it is estimated from what was drawn, without bias: ρ − 1 − ln ρ (Schulman, "Approximating KL divergence").
    """
    log_old, pairs = batch.log_old, dict(zip(network.gaussians, of_gaussians(network, read, batch.drawn.T), strict=True))
    acted, total, first = dict(zip(network.action, batch.acted.T, strict=True)), torch.zeros_like(batch.target[0]), 0
    for coagent in network.by_kind:
        here = slice(first, first := first + coagent.num_outputs)
        if coagent.name not in network.action:
            continue
        if coagent.gaussian is None:
            # Σ_u π_old(u) ( ln π_old(u) − ln π(u) )
            far = (log_old[here].exp() * (log_old[here] - read[here].log_softmax(dim=0))).sum(dim=0)
        else:
            log_ratio = (log_density(*pairs[coagent.name]) - log_old[first - 1]).clamp(max=MAX_LOG_RATIO)
            far = log_ratio.exp() - 1 - log_ratio
        total += far.dot(acted[coagent.name])
    return total / batch.valid.sum()
