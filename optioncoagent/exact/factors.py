"""One tick as a product of factors: a small linear map for each coagent, along its own axis, over a grid of states and joint outputs.

`tick` lists the nodes of a chain and carries, at each, a law over the outputs of this step. Here an array has one axis for the state, one
for each output of the step before that somebody is still to see (*old*), and one for each output of this step that somebody is still to
read (*new*). A coagent's turn adds its new axis; its old axis goes when its last reader has run, which mostly is itself. Then the new one
takes the old one's place, and the array is as large after the turn as it was before: twelve bits that all retain are 2^12 numbers at each
state throughout, where the law of the new ones at every node has 2^24.

    forwards     law(…, u) = β π(u) law + (1 - β) 1{u = u_{t-1}} law, summed over the axes that have had their last reader
    backwards    the transpose: W_{i-1} = β [ Σ_u π(u) W_i(u) - c ] + (1 - β) W_i(u_{t-1})

Each is linear in what is swept, so that they are products with the chain's transition matrix, which is never built (see `large`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import scipy.sparse as sp

from optioncoagent.exact.tick import INSTEAD, MAX_NUMBERS
from optioncoagent.network import CoagentNetwork, CoagentPlan, FloatArray, IntArray


@dataclass(frozen=True)
class Turn:
    """One coagent's turn on the grid, its axes in order: 0 is the state, then old and new of each output, in network order.

    plan: the network's plan of it. axes: of the arrays around it, its own new one among them. sizes: of `axes`, without the state's.
    new, old: positions of its own axes among `axes`, None where it has none. dropped: positions of those that have had their last reader.
    """

    plan: CoagentPlan
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    new: int | None
    old: int | None
    dropped: tuple[int, ...]

    @property
    def num_values(self) -> int:
        """Numbers at each state in an array over all its axes: what memory grows with."""
        return prod(self.sizes)


def turns(network: CoagentNetwork, final: tuple[str, ...], start: bool) -> tuple[tuple[str, ...], list[Turn]]:
    """The outputs of the step before that anybody sees at a first (`start`) or later step, in network order; and everybody's turn."""
    plans = network.plan(final)
    last: dict[str, int] = {}
    for i, plan in enumerate(plans):
        own = (plan.name,) * (plan.kept and _retains(plan, start))
        last.update(dict.fromkeys((*plan.policy.previous, *plan.gate.previous, *own), i))
    old = {_old(network, n): n for n in last}
    live, made = set(old), []
    for i, plan in enumerate(plans):
        mine = _new(network, plan.name)
        axes = tuple(sorted({0, *live} | ({mine} if plan.kept else set())))
        gone = {_old(network, n) for n, reader in last.items() if reader == i} | {_new(network, n) for n in plan.dropped}
        retained = mine - 1 in axes and plan.kept and _retains(plan, start)
        made.append(
            Turn(
                plan=plan,
                axes=axes,
                sizes=tuple(network.num_outputs[(axis - 1) // 2] for axis in axes[1:]),
                new=axes.index(mine) if plan.kept else None,
                old=axes.index(mine - 1) if retained else None,
                dropped=tuple(position for position, axis in enumerate(axes) if axis in gone),
            )
        )
        live = set(axes[1:]) - gone
    return tuple(n for n in network.names if n in last), made


def refuse_too_large(network: CoagentNetwork, made: Sequence[Turn], num_states: int) -> None:
    """ValueError naming a coagent and what is live around it, if the arrays of all turns, and of all actions, have too many numbers."""
    actions = network.num_actions * prod(network[n].num_outputs for n in network.memory)
    total = num_states * (actions + sum(turn.num_values for turn in made))
    if total > MAX_NUMBERS:
        turn = max(made, key=lambda turn: turn.num_values)
        live = [network.names[(axis - 1) // 2] for axis in turn.axes[1:]]
        raise ValueError(
            f"coagent {turn.plan.name!r}: when it runs, {len(live)} outputs are still to be seen, of {tuple(dict.fromkeys(live))}: "
            f"{turn.num_values:,} joint values in each of {num_states:,} states, and a sweep over all coagents has {total:,} numbers, "
            f"more than the {MAX_NUMBERS:,} of the exact solver; let fewer be retained, or put coagents nearer to those that read them. "
            f"{INSTEAD}"
        )


class Factor:
    """A coagent's turn with its numbers: β (executes) and 1 - β (retains, None where it never does) on the turn's axes or of length 1.

    observation: (n,), of the states of the grid. support: 1 in place of every positive number, for what is possible at all.
    """

    def __init__(self, network: CoagentNetwork, turn: Turn, observation: IntArray, num_observations: int, start: bool, support: bool):
        self.turn, self.observation, self.num_observations = turn, observation, num_observations
        gate, reads = turn.plan.gate, turn.plan.policy
        table = network.execution_table(turn.plan.name, num_observations)
        if gate.start:
            table = table[int(start)]
        seen = [0] * gate.state + [_new(network, n) for n in gate.upstream] + [_old(network, n) for n in gate.previous]
        beta = _spread(table, seen, turn.axes)
        if gate.state:
            beta = beta[observation]
        self.executes, retains = ((b > 0).astype(np.float64) if support else b for b in (beta, 1.0 - beta))
        self.retains = retains if turn.old is not None else None
        self.cost = 0.0 if start else turn.plan.cost
        mine = _new(network, turn.plan.name)
        self.read = [0] * reads.state + [_new(network, n) for n in reads.upstream] + [_old(network, n) for n in reads.previous] + [mine]

    def gather(self, table: FloatArray) -> FloatArray | None:
        """Its policy on the turn's axes, of length 1 where it does not read; None where its output does not matter."""
        if self.turn.new is None:
            return None
        policy = _spread(table, self.read, self.turn.axes)
        return policy[self.observation] if self.turn.plan.policy.state else policy

    def forward(self, policy: FloatArray | None, law: FloatArray) -> FloatArray:
        """The law (or occupancy) of what is live after its turn, from that of what was live before."""
        turn = self.turn
        if policy is None or turn.new is None:
            return law.sum(axis=turn.dropped) if turn.dropped else law
        law = np.expand_dims(law, turn.new)
        # what is summed out and the policy does not read, is summed out first
        unread = tuple(axis for axis in turn.dropped if policy.shape[axis] == 1)
        executed = _sum(law * self.executes, unread)
        after = _sum(executed * policy, turn.dropped)
        if self.retains is not None and turn.old is not None:
            # Pr(u) = β π(u) + (1 - β) 1{u = u_{t-1}}
            kept = _sum(law * self.retains, tuple(axis for axis in turn.dropped if axis != turn.old))
            if turn.old in turn.dropped:
                after += kept.swapaxes(turn.old, turn.new)
            else:
                for u in range(turn.plan.num_outputs):
                    after[_at(turn.old, u) + (slice(u, u + 1),)] += kept[_at(turn.old, u)]
        return after.squeeze(turn.dropped)

    def backward(self, policy: FloatArray | None, value: FloatArray, costs: bool = True) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The value before its turn, from that after it; and, on the turn's axes, the value of its outputs and its mean under π."""
        turn = self.turn
        value = np.expand_dims(value, turn.dropped)
        mean = stays = value
        if policy is not None and turn.new is not None and value.shape[turn.new] > 1:
            mean = _product(policy, value, turn.new)
            if turn.old is not None:
                if value.shape[turn.old] == 1:
                    stays = value.swapaxes(turn.old, turn.new)
                else:
                    diagonal = np.diagonal(value, axis1=turn.old, axis2=turn.new)
                    stays = np.expand_dims(np.moveaxis(diagonal, -1, turn.old), turn.new)
        # W_{i-1} = β [ Σ_u π W_i - c ] + (1 - β) W_i(u_{t-1})
        arrival = mean if self.retains is None or policy is None else self.executes * mean + self.retains * stays
        if costs and self.cost:
            arrival = arrival - self.cost * self.executes
        return arrival if turn.new is None else arrival.squeeze(turn.new), value, mean

    def gradient(self, table: FloatArray, law: FloatArray, value: FloatArray, mean: FloatArray) -> FloatArray:
        """Σ_x d(x) β(x) ∂π(x, u) (Q(x, u) - b(x)) over the grid, like its logits; table: its policy, mean: the baseline."""
        turn = self.turn
        if turn.new is None or value.shape[turn.new] == 1 or not law.size:  # nothing that is read depends on this output, or no state is
            return np.zeros_like(table)
        advantage = np.expand_dims(law, turn.new) * self.executes * (value - mean)
        unread = tuple(position for position, axis in enumerate(turn.axes) if axis not in self.read)
        by_state = advantage.sum(axis=unread) if unread else advantage
        if turn.plan.policy.state:
            rows = sp.csr_array(
                (np.ones(self.observation.size), (self.observation, np.arange(self.observation.size))),
                shape=(self.num_observations, self.observation.size),
            )
            by_state = rows @ by_state.reshape(self.observation.size, -1)
        # ∂π_u/∂θ_v = π_u (1{u = v} - π_v), and Σ_u π_u (Q_u - b) = 0
        order = np.argsort(self.read)
        arranged = table.transpose(order)
        return (arranged * by_state.reshape(arranged.shape)).transpose(np.argsort(order))


class FactoredTick:
    """A network's tick on the grid of some states, first steps (`start`) or later ones.

    seen: the outputs of the step before on the grid's axes, after the state's, in order. shape: of the grid. support: see `Factor`.
    """

    def __init__(
        self,
        network: CoagentNetwork,
        final: tuple[str, ...],
        policies: Mapping[str, FloatArray],
        observation: IntArray,
        num_observations: int,
        start: bool,
        support: bool = False,
    ):
        self.seen, made = turns(network, final, start)
        self.shape = (observation.size, *(network[n].num_outputs for n in self.seen))
        self.factors = [Factor(network, turn, observation, num_observations, start, support) for turn in made]
        self.tables = [(policies[t.plan.name] > 0).astype(np.float64) if support else policies[t.plan.name] for t in made]
        self.policies = [factor.gather(table) for factor, table in zip(self.factors, self.tables, strict=True)]

    def forward(self, law: FloatArray) -> FloatArray:
        """The law of the final outputs (n, *final) from that on the grid."""
        for factor, policy in zip(self.factors, self.policies, strict=True):
            law = factor.forward(policy, law)
        return law

    def backward(self, value: FloatArray, costs: bool = True) -> FloatArray:
        """The value on the grid from that of the final outputs (n, *final); costs: less those of this tick."""
        for factor, policy in zip(reversed(self.factors), reversed(self.policies), strict=True):
            value = factor.backward(policy, value, costs)[0]
        return np.broadcast_to(value, self.shape)

    def gradients(self, occupancy: FloatArray, value: FloatArray) -> dict[str, FloatArray]:
        """Δ_i of every coagent from these steps, {name: like its logits}: one sweep forwards, whose laws are kept, and one backwards."""
        laws = [occupancy]
        for factor, policy in zip(self.factors[:-1], self.policies[:-1], strict=True):
            laws.append(factor.forward(policy, laws[-1]))
        gradients: dict[str, FloatArray] = {}
        for factor, policy, table in zip(reversed(self.factors), reversed(self.policies), reversed(self.tables), strict=True):
            value, of_outputs, mean = factor.backward(policy, value)
            gradients[factor.turn.plan.name] = factor.gradient(table, laws.pop(), of_outputs, mean)
        return gradients


def _retains(plan: CoagentPlan, start: bool) -> bool:
    return plan.retains_first if start else plan.retains_later


def _old(network: CoagentNetwork, name: str) -> int:
    return 2 * network.names.index(name) + 1


def _new(network: CoagentNetwork, name: str) -> int:
    return 2 * network.names.index(name) + 2


def _spread(table: FloatArray, seen: list[int], axes: tuple[int, ...]) -> FloatArray:
    """A table whose axes are `seen`, on `axes`: transposed, and of length 1 on those it has not."""
    sizes = dict(zip(seen, table.shape, strict=True))
    return table.transpose(np.argsort(seen)).reshape([sizes.get(axis, 1) for axis in axes])


def _at(axis: int, index: int) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(index, index + 1),)


def _sum(array: FloatArray, axes: tuple[int, ...]) -> FloatArray:
    return array.sum(axis=axes, keepdims=True) if axes else array


def _product(policy: FloatArray, value: FloatArray, axis: int) -> FloatArray:
    """Σ_u π(u) W(u), the axis kept; output by output, so that nothing larger than W is made."""
    total = policy[_at(axis, 0)] * value[_at(axis, 0)]
    for u in range(1, value.shape[axis]):
        total += policy[_at(axis, u)] * value[_at(axis, u)]
    return total
