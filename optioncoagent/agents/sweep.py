"""One critic to every baseline: sweep the network backwards once.

Tensors here are laid out *on axes*: one axis for each coagent on whose output at this step they depend, in order, and the batch last.
Outputs of the step before are known, so they are gathered and have no axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optioncoagent.network import CoagentNetwork, LocalState, check_probability, execution_probability


class OnAxes(NamedTuple):
    """Numbers for each joint output of some coagents. names: of these, in network order; values: (d_1, …, d_k, n), an axis for each."""

    names: tuple[str, ...]
    values: Tensor

    def along(self, names: tuple[str, ...]) -> Tensor:
        """The values with axes for all of `names`, which hold `self.names`, in network order; length 1 where nothing depends on it."""
        sizes = dict(zip(self.names, self.values.shape, strict=False))
        return self.values.reshape(*(sizes.get(name, 1) for name in names), self.values.shape[-1])


def sweep(
    network: CoagentNetwork,
    policies: Mapping[str, OnAxes],
    q: OnAxes,
    start: Tensor,
    state: Any,
    previous: Mapping[str, Tensor],
    scale: float = 1.0,
) -> list[OnAxes]:
    """Values W_0, …, W_m, each on axes: W_k is the expected return once coagents 1 … k have run, given those outputs that still matter.

    policies: {name: π on axes} (see `policy_on_axes`), at least of the coagents whose output matters. q: Q(s, K) on axes (see
    `critic_on_axes`). start (n,) bool; state: the observations; previous {name: (n,) int}, outputs of the step before. W_0 is the value
    upon arrival (U of option-critic), W_k as a function of u_k the value of each output of coagent k (Q_β of option-critic's first
    coagent), W_m the critic. A cost is charged where its coagent executes, not at the first step; scale: what rewards, and so the costs,
    are divided by.
    """
    values = [q]
    for k, turn in reversed([*enumerate(network.plan(network.critic_inputs))]):
        w = values[0].along((*turn.live, turn.name))
        # W_{k-1} = β_k [ Σ_u π_k(u) W_k(u) − c_k ] + (1 − β_k) W_k(previous u)
        value = (policies[turn.name].along((*turn.live, turn.name)) * w).sum(dim=-2) if turn.kept else w.squeeze(-2)
        if turn.cost:
            value = value - turn.cost / scale * (~start).to(w.dtype)
        beta = gate_on_axes(network, k, turn.live, start, state, previous, w.dtype)
        if not (isinstance(beta, float) and beta == 1.0):
            value = beta * value + (1 - beta) * select(w, len(turn.live), previous[turn.name]).squeeze(-2)
        values.insert(0, OnAxes(turn.live, value))
    return values


def gate_on_axes(
    network: CoagentNetwork,
    k: int,
    names: tuple[str, ...],
    start: Tensor,
    state: Any,
    previous: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> float | Tensor:
    """Execution probability of coagent k with an axis for each of these earlier coagents, all that it touches among them (or a number)."""
    touched = network.touched[network.names[k]]
    if not touched.state:
        upstream = {
            name: torch.arange(network[name].num_outputs, device=start.device).reshape(-1, *(1,) * (len(names) - axis))
            for axis, name in enumerate(names)
        }
        return gate(network, k, LocalState(start, state, upstream, previous), dtype)
    # asked about all steps at once for each joint output that it looks at, so that all fields have one shape
    sizes = [network[name].num_outputs if name in touched.upstream else 1 for name in names]
    rows = []
    for outputs in product(*map(range, sizes)):
        upstream = {name: torch.full_like(start, u, dtype=torch.long) for name, u in zip(names, outputs, strict=True)}
        rows.append(torch.as_tensor(gate(network, k, LocalState(start, state, upstream, previous), dtype)).reshape(-1).expand(len(start)))
    return torch.stack(rows).reshape(*sizes, len(start))


def gate(network: CoagentNetwork, k: int, x: LocalState, dtype: torch.dtype) -> float | Tensor:
    """Execution probability of coagent k on local states, a float if it is constant."""
    coagent, touched = network.coagents[k], network.touched[network.names[k]]
    if not callable(coagent.executes):
        return float(coagent.executes)
    if touched.state:  # what it makes of the observations has the precision of the observations
        upstream = {name: x.upstream[name].clone() for name in touched.upstream}  # it may change what it is given
        state = x.state.clone() if isinstance(x.state, Tensor) else {path: part.clone() for path, part in x.state.items()}
        x = LocalState(x.start.clone(), state, upstream, {name: x.previous[name].clone() for name in touched.previous})
        beta = torch.as_tensor(execution_probability(coagent, x), device=x.start.device).to(dtype)
        return check_probability(coagent.name, beta)
    fields = [x.start] * touched.start + [x.upstream[name] for name in touched.upstream] + [x.previous[name] for name in touched.previous]
    table = _execution_table(network, coagent.name, x.start.device, dtype)
    return table[tuple(field.long() for field in fields)] if fields else float(table)


@lru_cache(maxsize=1024)
def _execution_table(network: CoagentNetwork, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    """`CoagentNetwork.execution_table` of a coagent that does not touch the state."""
    return torch.tensor(network.execution_table(name, 1), device=device, dtype=dtype)


def policy_on_axes(network: CoagentNetwork, name: str, table: Tensor, previous: Mapping[str, Tensor]) -> OnAxes:
    """π of a coagent on axes, from its table (configurations, outputs, n), with the outputs of the step before gathered."""
    coagent = network[name]
    upstream = math.prod(network[other].num_outputs for other in coagent.upstream)
    table = table.reshape(upstream, -1, *table.shape[1:])
    index = joint_index(network, coagent.previous, previous)
    if index is not None:  # gather the previous outputs
        table = table.gather(1, index.expand(upstream, 1, table.shape[2], -1))
    return _on_axes(network, table, (*coagent.upstream, name))


def critic_on_axes(network: CoagentNetwork, q: Tensor) -> OnAxes:
    """Q(s, K), (configurations of K, n), on axes."""
    return _on_axes(network, q, network.critic_inputs)


def select(values: Tensor, axis: int, index: Tensor) -> Tensor:
    """The entries of values on axes at one output of one coagent, (n,) int; keeps the axis, with length 1."""
    if values.shape[axis] == 1:
        return values
    shape = [*values.shape]
    shape[axis], shape[-1] = 1, len(index)
    return values.expand(*values.shape[:-1], len(index)).gather(axis, index.expand(shape))


def at_outputs(w: OnAxes, outputs: Mapping[str, Tensor]) -> Tensor:
    """Values where some coagents gave these outputs, {name: (n,) int}: axes of the others are kept and flattened, (rest, n)."""
    values = w.values
    for axis, name in enumerate(w.names):
        if name in outputs:
            values = select(values, axis, outputs[name])
    return values.reshape(-1, values.shape[-1])


def at_configuration(table: Tensor, index: Tensor | None) -> Tensor:
    """A table (configurations, outputs, n) in the configurations (n,) that a coagent is in, (outputs, n); None if there is only one."""
    return table[0] if index is None else table.gather(0, index.expand(1, *table.shape[1:]))[0]


def configuration(network: CoagentNetwork, name: str, outputs: Mapping[str, Tensor], previous: Mapping[str, Tensor]) -> Tensor | None:
    """Which row of its policy's table over outputs a coagent is in, (n,) int; None if there is only one."""
    coagent = network[name]
    now, before = (joint_index(network, read, given) for read, given in zip(coagent.tabled, (outputs, previous), strict=True))
    if now is None or before is None:
        return before if now is None else now
    return now * math.prod(network[other].num_outputs for other in coagent.previous) + before


def joint_index(network: CoagentNetwork, names: tuple[str, ...], outputs: Mapping[str, Tensor]) -> Tensor | None:
    """Index, in C order, of the joint outputs of some coagents, (n,) int; None if there are none."""
    index: Tensor | None = None
    for name in names:
        index = outputs[name] if index is None else index * network[name].num_outputs + outputs[name]
    return index


def _on_axes(network: CoagentNetwork, table: Tensor, order: tuple[str, ...]) -> OnAxes:
    """A table (…, n), its outputs in C order over the coagents in `order`, on axes."""
    names = tuple(name for name in network.names if name in order)
    table = table.reshape(*(network[name].num_outputs for name in order), table.shape[-1])
    return OnAxes(names, table.permute(*(order.index(name) for name in names), -1))
