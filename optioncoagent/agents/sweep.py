"""One critic to every baseline: sweep the network backwards once.

Tensors here are laid out *on axes*: one axis for each coagent's output at this step, in order, and the batch last, (d_1, …, d_m, n); an
axis on which nothing depends has length 1. Outputs of the step before are known, so they are gathered and have no axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optioncoagent.network import CoagentNetwork, LocalState, check_probability, execution_probability


def sweep(
    network: CoagentNetwork, policies: Mapping[str, Tensor], q: Tensor, start: Tensor, state: Any, previous: Mapping[str, Tensor]
) -> list[Tensor]:
    """Values W_0, …, W_m, each on axes: W_k is the expected return once coagents 1 … k have run, given their outputs.

    policies: {name: π on axes} (see `policy_on_axes`). q: Q(s, K) on axes (see `critic_on_axes`). start (n,) bool; state: the observations;
    previous {name: (n,) int}, outputs of the step before. W_0 is the value upon arrival (U of option-critic), W_k as a function of u_k
    the value of each output of coagent k (Q_β of option-critic's first coagent), W_m the critic. A cost is charged where its coagent
    executes, not at the first step.
    """
    values = [q]
    for k in reversed(range(len(network.coagents))):
        coagent, w = network.coagents[k], values[0]
        # W_{k-1} = β_k [ Σ_u π_k(u) W_k(u) − c_k ] + (1 − β_k) W_k(previous u)
        drawn = (policies[coagent.name] * w).sum(dim=k, keepdim=True)
        if coagent.cost:
            drawn = drawn - coagent.cost * (~start).to(q.dtype)
        beta = gate_on_axes(network, k, start, state, previous, q.dtype)
        if isinstance(beta, float) and beta == 1.0:
            values.insert(0, drawn)
        else:
            values.insert(0, beta * drawn + (1 - beta) * select(w, k, previous[coagent.name]))
    return values


def gate_on_axes(
    network: CoagentNetwork, k: int, start: Tensor, state: Any, previous: Mapping[str, Tensor], dtype: torch.dtype
) -> float | Tensor:
    """Execution probability of coagent k for every output of the coagents before it, on axes (or a number)."""
    m = len(network.coagents)
    upstream = {
        c.name: torch.arange(c.num_outputs, device=start.device).reshape([-1 if axis == j else 1 for axis in range(m + 1)])
        for j, c in enumerate(network.coagents[:k])
    }
    return gate(network, k, LocalState(start, state, upstream, previous), dtype)


def gate(network: CoagentNetwork, k: int, x: LocalState, dtype: torch.dtype) -> float | Tensor:
    """Execution probability of coagent k on local states, a float if it is constant."""
    coagent = network.coagents[k]
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # so that 0.3 * x.start has the precision of the rest
    try:
        beta = execution_probability(coagent, x)
    finally:
        torch.set_default_dtype(default)
    if not callable(coagent.executes):
        return float(beta)
    beta = torch.as_tensor(beta, device=x.start.device).to(dtype)
    return check_probability(coagent.name, beta) if network.touched[coagent.name].state else beta


def policy_on_axes(network: CoagentNetwork, name: str, table: Tensor, previous: Mapping[str, Tensor]) -> Tensor:
    """π of a coagent on axes, from its table (n, configurations, outputs), with the outputs of the step before gathered."""
    coagent = network[name]
    upstream_sizes = [network[other].num_outputs for other in coagent.upstream]
    table = table.reshape(len(table), math.prod(upstream_sizes), -1, coagent.num_outputs)
    index = joint_index(network, coagent.previous, previous)
    if index is not None:  # gather the previous outputs
        table = table.gather(2, index.reshape(-1, 1, 1, 1).expand(-1, table.shape[1], 1, table.shape[3]))
    sizes = dict(zip(coagent.upstream, upstream_sizes, strict=True))
    return _place(network, table, {**sizes, name: coagent.num_outputs}, (*coagent.upstream, name))


def critic_on_axes(network: CoagentNetwork, q: Tensor) -> Tensor:
    """Q(s, K), (n, configurations of K), on axes."""
    sizes = {name: network[name].num_outputs for name in network.critic_inputs}
    return _place(network, q, sizes, network.critic_inputs)


def select(w: Tensor, axis: int, index: Tensor) -> Tensor:
    """The entries of a tensor on axes at one output of one coagent, (n,) int; keeps the axis, with length 1."""
    if w.shape[axis] == 1:
        return w
    shape = [*w.shape]
    shape[axis], shape[-1] = 1, len(index)
    return w.expand(*w.shape[:-1], len(index)).gather(axis, index.expand(shape))


def at_outputs(w: Tensor, outputs: list[Tensor]) -> Tensor:
    """A tensor on axes where the first coagents gave these outputs: axes of the others are kept and flattened, (rest, n)."""
    for axis, index in enumerate(outputs):
        w = select(w, axis, index)
    return w.reshape(-1, w.shape[-1])


def configuration(network: CoagentNetwork, name: str, outputs: Mapping[str, Tensor], previous: Mapping[str, Tensor]) -> Tensor | None:
    """Which configuration of the outputs that its policy reads a coagent is in, (n,) int; None if it reads none."""
    coagent = network[name]
    now, before = joint_index(network, coagent.upstream, outputs), joint_index(network, coagent.previous, previous)
    if now is None or before is None:
        return before if now is None else now
    return now * math.prod(network[other].num_outputs for other in coagent.previous) + before


def joint_index(network: CoagentNetwork, names: tuple[str, ...], outputs: Mapping[str, Tensor]) -> Tensor | None:
    """Index, in C order, of the joint outputs of some coagents, (n,) int; None if there are none."""
    index: Tensor | None = None
    for name in names:
        index = outputs[name] if index is None else index * network[name].num_outputs + outputs[name]
    return index


def _place(network: CoagentNetwork, table: Tensor, sizes: Mapping[str, int], order: tuple[str, ...]) -> Tensor:
    """(n, product of sizes), flattened in `order`, to a tensor on axes."""
    in_network_order = [name for name in network.names if name in sizes]
    table = table.reshape(len(table), *(sizes[name] for name in order))
    table = table.permute(*(1 + order.index(name) for name in in_network_order), 0)
    return table.reshape(*(sizes.get(name, 1) for name in network.names), table.shape[-1])
