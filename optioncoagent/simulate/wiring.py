"""A coagent network and an MDP as flat arrays, the form that compiled loops read.

What a coagent may read at a tick is the vector of *variables* (start, observation, U_t^1 … U_t^m, U_{t-1}^1 … U_{t-1}^m). Its execution
function and its policy are flat tables, and each finds its entry as `first + strides @ variables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray, IntArray, Touched


class Wiring(NamedTuple):
    """Where m coagents find their gates and policies; parameters lie as `CoagentNetwork.parameters` has them.

    num_outputs, costs, action_strides: (m,); the joint action is `action_strides @ outputs`.
    gates: all execution tables, flat; gate_first (m,), where each begins; gate_strides (m, 2 + 2m).
    policy_first (m,): where each coagent's parameters begin; policy_strides (m, 2 + 2m), to output 0 of the row in force.
    read_first, read_axis, read_stride: those strides that are not zero, of the m gates and then the m policies: those of row i stand at
    read_first[i] … read_first[i + 1], for these variables.
    row_first, row_of: where each softmax row begins, and the row of each parameter; one row more, of one entry, for "nobody executed".
    initial: (m, max num_outputs) cumulative law of the outputs before the first step.
    """

    num_outputs: IntArray
    costs: FloatArray
    action_strides: IntArray
    gates: FloatArray
    gate_first: IntArray
    gate_strides: IntArray
    policy_first: IntArray
    policy_strides: IntArray
    read_first: IntArray
    read_axis: IntArray
    read_stride: IntArray
    row_first: IntArray
    row_of: IntArray
    initial: FloatArray

    @property
    def num_parameters(self) -> int:
        return self.row_of.size - 1

    def cumulative(self, policies: FloatArray) -> FloatArray:
        """Cumulative law of each softmax row of the flat policies (num_parameters,), exactly 1 at its end."""
        cumulative, width = np.empty_like(policies), np.diff(self.row_first)[self.row_of[:-1]]
        for n in np.unique(width):
            running = np.cumsum(policies[width == n].reshape(-1, n), axis=1)
            cumulative[width == n] = (running / running[:, -1:]).ravel()
        return cumulative


def wire(network: CoagentNetwork, num_observations: int) -> Wiring:
    """Lay out a network for `num_observations` observations."""
    names, m, turns = network.names, len(network.names), network.plan(network.action)
    layout = network.parameters(num_observations)
    tables = [network.execution_table(name, num_observations) for name in names]
    gate_strides, policy_strides = np.zeros((m, 2 + 2 * m), dtype=np.int64), np.zeros((m, 2 + 2 * m), dtype=np.int64)
    for i, turn in enumerate(turns):
        gate_strides[i, _variables(network, turn.gate)] = c_strides(tables[i].shape)
        policy_strides[i, _variables(network, turn.policy)] = c_strides(layout.of[turn.name].shape)[:-1]
    row, axis = np.nonzero(strides := np.concatenate((gate_strides, policy_strides)))
    row_sizes = np.concatenate([*(np.full(prod(block.shape[:-1]), block.shape[-1]) for block in layout.blocks), [1]])
    action_strides = np.zeros(m, dtype=np.int64)
    action_strides[[names.index(name) for name in network.action]] = c_strides(tuple(network[name].num_outputs for name in network.action))
    initial = np.ones((m, max(network.num_outputs)))
    for i, name in enumerate(names):
        initial[i, : network.num_outputs[i]] = cumulative(network.initial(name))
    return Wiring(
        num_outputs=np.array(network.num_outputs, dtype=np.int64),
        costs=np.array([turn.cost for turn in turns], dtype=np.float64),
        action_strides=action_strides,
        gates=np.concatenate([table.ravel() for table in tables]),
        gate_first=np.cumsum([0] + [table.size for table in tables[:-1]]),
        gate_strides=gate_strides,
        policy_first=np.array([layout.of[name].part.start for name in names], dtype=np.int64),
        policy_strides=policy_strides,
        read_first=np.searchsorted(row, np.arange(2 * m + 1)),
        read_axis=np.ascontiguousarray(axis),
        read_stride=strides[row, axis],
        row_first=np.concatenate(([0], np.cumsum(row_sizes))),
        row_of=np.repeat(np.arange(row_sizes.size), row_sizes),
        initial=initial,
    )


def _variables(network: CoagentNetwork, reads: Touched) -> list[int]:
    """The variables that a table has axes for, axis by axis."""
    m, number = len(network.names), {name: i for i, name in enumerate(network.names)}
    variables = [0] * reads.start + [1] * reads.state + [2 + number[name] for name in reads.upstream]
    return variables + [2 + m + number[name] for name in reads.previous]


class Dynamics(NamedTuple):
    """An MDP as a compiled loop reads it. Rows are s*A + a: entries first[row] … first[row + 1] hold successor, probability, cumulative
    and reward. start (S,): cumulative law of S_0. observation, terminal (S,). num_actions: A. gamma.
    """

    first: IntArray
    successor: IntArray
    probability: FloatArray
    cumulative: FloatArray
    reward: FloatArray
    start: FloatArray
    observation: IntArray
    terminal: NDArray[np.bool_]
    num_actions: int
    gamma: float


def dynamics(mdp: MDP) -> Dynamics:
    """Rows of P with the reward R(s, a, s') of each entry."""
    P = mdp.transition_matrix
    rows = np.repeat(np.arange(P.shape[0]), np.diff(P.indptr))
    sums = np.add.reduceat(P.data, P.indptr[:-1])
    probability = P.data / sums[rows]
    running = np.cumsum(probability)
    along = running - np.concatenate(([0.0], running))[P.indptr[rows]]
    along[P.indptr[1:] - 1] = 1.0
    return Dynamics(
        first=P.indptr.astype(np.int64),
        successor=P.indices.astype(np.int64),
        probability=probability,
        cumulative=along,
        reward=np.ascontiguousarray(mdp.transition_reward, dtype=np.float64),
        start=cumulative(mdp.d0),
        observation=mdp.observation.astype(np.int64),
        terminal=mdp.terminal,
        num_actions=mdp.num_actions,
        gamma=mdp.gamma,
    )


def policy_table(network: CoagentNetwork, params: Mapping[str, Any], num_observations: int) -> FloatArray:
    """The softmax policies of all owners of parameters, flat as their layout has them."""
    layout = network.parameters(num_observations)
    return layout.flat(network.policies(params, num_observations))


def c_strides(shape: tuple[int, ...]) -> list[int]:
    """Strides, in entries, of a C-ordered array."""
    return [int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape))]


def cumulative(law: FloatArray) -> FloatArray:
    """Running sums of a law, exactly 1 from its last possible value on."""
    running = np.cumsum(law) / law.sum()
    running[np.flatnonzero(law)[-1] :] = 1.0
    return running
