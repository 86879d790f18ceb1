"""One tick of a network over a batch of nodes: the law of its outputs forwards, their values and gradients backwards.

A node is what the past leaves to a step: whether it is the first, the state, and the previous outputs that anybody can still see. Within
the tick an output is an array axis from the moment it is drawn until its last reader has run; then it is summed out. All arrays have the
nodes on axis 0 (length 1 where nothing depends on the node) and the live outputs, in order, on the axes after it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from optioncoagent.network import CoagentNetwork, CoagentPlan, FloatArray, IntArray

MAX_NUMBERS = 1 << 28  # in all the laws of a tick together, in the transitions out of all nodes, or in the values of a chain
INSTEAD = "estimate_return and estimate_gradient sample it instead"


@dataclass(frozen=True)
class Nodes:
    """A batch of N nodes: start (N,) bool, observation (N,) int, previous {name: (N,) int} for the outputs that are carried."""

    start: NDArray[np.bool_]
    observation: IntArray
    previous: Mapping[str, IntArray]

    def __len__(self) -> int:
        return self.start.size


@dataclass(frozen=True)
class _Step:
    """One coagent's turn at the nodes, all that its parameters do not change.

    turn: what the network's plan says of it. beta: β(x), (N or 1, *live). retained: one-hot of its previous output, (N, 1 …, u), None
    where nothing depends on it. axes: order of its table's axes (observation, previous …, upstream in network order, u); back: the order
    that undoes it. shape: of a table gathered to nodes, without axis 0. rows: (N,) the row of its table that each node reads, None if all
    read the same. scatter: adds nodes up to rows. dropped, unread: the axes of the plan's outputs of these names. cost: (N, 1 …) or None.
    """

    turn: CoagentPlan
    beta: FloatArray
    retained: FloatArray | None
    rows: IntArray | None
    scatter: sp.csr_array | None
    axes: tuple[int, ...]
    back: tuple[int, ...]
    shape: tuple[int, ...]
    dropped: tuple[int, ...]
    unread: tuple[int, ...]
    cost: FloatArray | None


class Tick:
    """The network's tick, compiled for one batch of nodes.

    Raises ValueError naming a coagent where too many outputs are live at a time.
    """

    def __init__(self, network: CoagentNetwork, nodes: Nodes, num_observations: int):
        self.nodes, self.num_nodes = nodes, len(nodes)
        self.final = network.final
        numbers, turns = 0, network.plan(self.final)
        for turn in turns:
            size = len(nodes) * turn.num_values
            numbers += size
            if numbers > MAX_NUMBERS:
                raise ValueError(
                    f"coagent {turn.name!r}: {len(turn.live)} outputs are still to be read when it runs, {turn.live}; their joint law with "
                    f"its own has {size:,} numbers at {len(nodes)} nodes, too many for the exact solver: put coagents nearer to those that "
                    f"read them, or let them read fewer. {INSTEAD}"
                )
        self.steps = [_compile(network, nodes, num_observations, turn) for turn in turns]

    def gather(self, policies: Mapping[str, FloatArray]) -> list[FloatArray]:
        """Each coagent's policy at the nodes, (N or 1, *live or 1, u)."""
        gathered = []
        for step in self.steps:
            table = policies[step.turn.name].transpose(step.axes).reshape(-1, *step.shape)
            gathered.append(table if step.rows is None else table[step.rows])
        return gathered

    def forward(self, gathered: list[FloatArray]) -> tuple[list[FloatArray], FloatArray, FloatArray]:
        """Laws of the live outputs before each coagent; the law of the final outputs (N, *final); the expected cost (N,)."""
        law, laws, cost = np.ones(1), [], np.zeros(self.num_nodes)
        for step, policy in zip(self.steps, gathered, strict=True):
            laws.append(law)
            executed = law * step.beta
            if step.cost is not None:
                cost += (executed * step.cost).sum(axis=tuple(range(1, executed.ndim)))
            if step.turn.kept:
                # Pr(u) = β(x) π(x, u) + (1 - β(x)) 1{u = u_{t-1}}
                law_with = executed[..., None] * policy
                if step.retained is not None:
                    law_with = law_with + (law * (1.0 - step.beta))[..., None] * step.retained
                law = law_with
            if step.dropped:
                law = law.sum(axis=step.dropped)
        return laws, np.broadcast_to(law, (self.num_nodes, *law.shape[1:])), cost

    def backward(
        self, gathered: list[FloatArray], values: FloatArray, greedy: Collection[str] = ()
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        """Sweep the values of the final outputs (N, *final) back through the tick.

        Returns for each coagent W_i, the value of the live outputs with its own (N or 1, *live, u), and its mean under the policy (the
        same, without u). greedy: coagents that count as if they gave their best output.
        """
        after: list[FloatArray] = []
        means: list[FloatArray] = []
        value = values
        for step, policy in zip(reversed(self.steps), reversed(gathered), strict=True):
            if step.dropped:
                value = np.expand_dims(value, step.dropped)
            if not step.turn.kept:
                value = value[..., None]
            mean = (policy * value).sum(axis=-1) if step.turn.kept else value[..., 0]
            if step.turn.name in greedy:
                mean = value.max(axis=-1)
            after.append(value)
            means.append(mean)
            # W_{i-1} = β [ Σ_u π W_i - c ] + (1 - β) W_i(u_{t-1})
            arrival = mean
            if step.retained is not None:
                arrival = step.beta * mean + (1.0 - step.beta) * (step.retained * value).sum(axis=-1)
            value = arrival if step.cost is None else arrival - step.beta * step.cost
        return after[::-1], means[::-1]

    def gradient(
        self, index: int, policy: FloatArray, occupancy: FloatArray, law: FloatArray, value: FloatArray, mean: FloatArray
    ) -> FloatArray:
        """Δ_i = Σ_x d_i(x) Σ_u ∂π_i(x, u) (Q_i(x, u) - b(x)) with respect to coagent i's logits, like policy (params[i] after softmax).

        occupancy (N,): Σ_t γ^t Pr(node at t). law, value, mean: what `forward` and `backward` gave for this coagent; the mean is the
        baseline.
        """
        step = self.steps[index]
        if value.shape[-1] == 1:  # nothing that is read depends on this output
            return np.zeros_like(policy)
        # d_i(x) = Σ_t γ^t Pr(X_t^i = x, E_t^i = 1)
        executed = occupancy.reshape(-1, *(1,) * len(step.turn.live)) * law * step.beta
        # ∂π_u/∂θ_v = π_u (1{u = v} - π_v), and Σ_u π_u (Q_u - b) = 0
        return policy * self.add_up(index, policy.shape, executed[..., None] * (value - mean[..., None]))

    def add_up(self, index: int, shape: tuple[int, ...], numbers: FloatArray) -> FloatArray:
        """Numbers (N, *live, u), summed over all that coagent i's policy does not read: a table like its own, of this shape but for the
        last axis, which is that of the numbers. What is summed already has length 1."""
        step = self.steps[index]
        if step.unread:
            numbers = numbers.sum(axis=step.unread)
        if step.scatter is None:
            by_row = numbers.sum(axis=0)
        else:
            by_row = step.scatter @ numbers.reshape(self.num_nodes, prod(numbers.shape[1:]))
        arranged = (*(shape[axis] for axis in step.axes[:-1]), numbers.shape[-1])
        return by_row.reshape(arranged).transpose(step.back)


def _compile(network: CoagentNetwork, nodes: Nodes, num_observations: int, turn: CoagentPlan) -> _Step:
    beta = execution(network, nodes, num_observations, turn.name, turn.live)
    ones = (1,) * len(turn.live)
    retained = None
    if turn.kept and (beta < 1).any():
        retained = np.eye(turn.num_outputs)[nodes.previous[turn.name]].reshape(len(nodes), *ones, turn.num_outputs)
    rows, num_rows = _rows(network, nodes, num_observations, turn)
    scatter = None
    if rows is not None:
        scatter = sp.csr_array((np.ones(len(nodes)), (rows, np.arange(len(nodes)))), shape=(num_rows, len(nodes)))
    # the table's axes are (observation, upstream as described, previous as described, u)
    reads = turn.policy
    observed, last = int(reads.state), reads.state + len(reads.upstream) + len(reads.previous)
    upstream = {n: observed + i for i, n in enumerate(reads.upstream)}
    axes = (*range(observed), *range(observed + len(upstream), last), *(upstream[n] for n in turn.live if n in upstream), last)
    return _Step(
        turn=turn,
        beta=beta,
        retained=retained,
        rows=rows,
        scatter=scatter,
        axes=axes,
        back=tuple(map(int, np.argsort(axes))),
        shape=(*(size if n in upstream else 1 for n, size in zip(turn.live, turn.live_sizes, strict=True)), turn.num_outputs),
        dropped=tuple(1 + turn.outputs.index(n) for n in turn.dropped),
        unread=tuple(1 + turn.live.index(n) for n in turn.unread),
        cost=turn.cost * (~nodes.start).astype(np.float64).reshape(-1, *ones) if turn.cost else None,
    )


def _rows(network: CoagentNetwork, nodes: Nodes, num_observations: int, turn: CoagentPlan) -> tuple[IntArray | None, int]:
    """The row of (observation, previous …) in which each node finds its policy, (N,), None if there is one only; how many there are."""
    known = [(num_observations, nodes.observation)] * turn.policy.state
    known += [(network[n].num_outputs, nodes.previous[n]) for n in turn.policy.previous]
    rows: IntArray | None = None
    for size, value in known:
        rows = value if rows is None else rows * size + value
    return rows, prod(size for size, _ in known)


def execution(network: CoagentNetwork, nodes: Nodes, num_observations: int, name: str, live: tuple[str, ...]) -> FloatArray:
    """β_i at the nodes, (N or 1, *live or 1)."""
    table, touched = network.execution_table(name, num_observations), network.touched[name]
    # upstream outputs stay axes, the rest is known at the nodes
    seen = [nodes.start.astype(np.int64)] * touched.start + [nodes.observation] * touched.state
    upstream = range(len(seen), len(seen) + len(touched.upstream))
    table = np.moveaxis(table, upstream, range(-len(upstream), 0))
    seen += [nodes.previous[n] for n in touched.previous]
    shape = (network[n].num_outputs if n in touched.upstream else 1 for n in live)
    return (table[tuple(seen)] if seen else table).reshape(len(nodes) if seen else 1, *shape)
