"""A coagent network and an MDP as flat arrays, the form that compiled loops read.

What a coagent may read at a tick is the vector of *variables* (start, observation, U_t^1 … U_t^m, U_{t-1}^1 … U_{t-1}^m). Its execution
function and its policy are flat tables, and each finds its entry as `first + strides @ variables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Wiring:
    """Where m coagents find their gates and policies. Parameters of all coagents are laid end to end in network order.

    num_outputs, costs, action_strides: (m,); the joint action is `action_strides @ outputs`.
    gates: all execution tables, flat; gate_first (m,), gate_strides (m, 2 + 2m).
    policy_first: (m + 1,), where each coagent's parameters begin; policy_strides (m, 2 + 2m), to output 0 of the row in force.
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
    initial: FloatArray

    @property
    def num_parameters(self) -> int:
        return int(self.policy_first[-1])

    def rows(self) -> tuple[IntArray, IntArray]:
        """Where each softmax row begins, and the row of each parameter; one row more, of one entry, for "nobody executed"."""
        num_rows = np.diff(self.policy_first) // self.num_outputs
        sizes = np.append(np.repeat(self.num_outputs, num_rows), 1)
        return np.concatenate(([0], np.cumsum(sizes))), np.repeat(np.arange(sizes.size), sizes)

    def reads(self) -> tuple[IntArray, IntArray, IntArray]:
        """Strides that are not zero, of the m gates and then the m policies: (first of each, variable, stride)."""
        strides = np.concatenate((self.gate_strides, self.policy_strides))
        row, axis = np.nonzero(strides)
        return np.searchsorted(row, np.arange(strides.shape[0] + 1)), np.ascontiguousarray(axis), strides[row, axis]

    def cumulative(self, policies: FloatArray) -> FloatArray:
        """Cumulative law of each softmax row."""
        parts = []
        for i, n in enumerate(self.num_outputs):
            running = np.cumsum(policies[self.policy_first[i] : self.policy_first[i + 1]].reshape(-1, n), axis=1)
            parts.append((running / running[:, -1:]).ravel())
        return np.concatenate(parts)


def wire(network: CoagentNetwork, num_observations: int) -> Wiring:
    """Lay out a network for `num_observations` observations."""
    names, m = network.names, len(network.names)
    gates: list[FloatArray] = []
    gate_first, gate_strides = [], np.zeros((m, 2 + 2 * m), dtype=np.int64)
    policy_first, policy_strides = [0], np.zeros((m, 2 + 2 * m), dtype=np.int64)
    variable = {name: i for i, name in enumerate(names)}
    for i, name in enumerate(names):
        table, touched = network.execution_table(name, num_observations), network.touched[name]
        gate_first.append(sum(g.size for g in gates))
        gates.append(table.ravel())
        read = [0] * touched.start + [1] * touched.state
        read += [2 + variable[other] for other in touched.upstream] + [2 + m + variable[other] for other in touched.previous]
        gate_strides[i, read] = c_strides(table.shape)

        coagent, shape = network[name], network.parameter_shape(name, num_observations)
        read = [1] if coagent.observes else []
        read += [2 + variable[other] for other in coagent.upstream] + [2 + m + variable[other] for other in coagent.previous]
        policy_strides[i, read] = c_strides(shape)[:-1]
        policy_first.append(policy_first[-1] + int(np.prod(shape)))

    action_strides = np.zeros(m, dtype=np.int64)
    action_strides[[variable[name] for name in network.action]] = c_strides(tuple(network[name].num_outputs for name in network.action))
    initial = np.ones((m, max(network.num_outputs)))
    for i, name in enumerate(names):
        initial[i, : network.num_outputs[i]] = cumulative(network.initial(name))
    return Wiring(
        num_outputs=np.array(network.num_outputs, dtype=np.int64),
        costs=np.array([c.cost for c in network.coagents], dtype=np.float64),
        action_strides=action_strides,
        gates=np.concatenate(gates),
        gate_first=np.array(gate_first, dtype=np.int64),
        gate_strides=gate_strides,
        policy_first=np.array(policy_first, dtype=np.int64),
        policy_strides=policy_strides,
        initial=initial,
    )


@dataclass(frozen=True)
class Dynamics:
    """An MDP's transitions in rows s*A + a: entries first[row] … first[row + 1] hold successor, probability, cumulative, reward."""

    first: IntArray
    successor: IntArray
    probability: FloatArray
    cumulative: FloatArray
    reward: FloatArray


def dynamics(mdp: MDP) -> Dynamics:
    """Rows of P with the reward R(s, a, s') of each entry."""
    P = mdp.transition_matrix.copy()
    P.eliminate_zeros()
    rows = np.repeat(np.arange(P.shape[0]), np.diff(P.indptr))
    s, a = np.divmod(rows, mdp.num_actions)
    if sp.issparse(mdp.R):
        taken = mdp.R.tocsr()[rows, P.indices]
        reward = np.asarray(taken.toarray() if sp.issparse(taken) else taken).ravel()
    else:
        reward = mdp.R[s, a] if mdp.R.ndim == 2 else mdp.R[s, a, P.indices]
    sums = np.add.reduceat(P.data, P.indptr[:-1])
    probability = P.data / sums[rows]
    running = np.cumsum(probability)
    cumulative = running - np.concatenate(([0.0], running))[P.indptr[rows]]
    cumulative[P.indptr[1:] - 1] = 1.0
    return Dynamics(
        P.indptr.astype(np.int64), P.indices.astype(np.int64), probability, cumulative, np.ascontiguousarray(reward, dtype=np.float64)
    )


def flat(network: CoagentNetwork, arrays: Mapping[str, Any]) -> FloatArray:
    """{name: array} laid end to end in network order."""
    return np.concatenate([np.asarray(arrays[name], dtype=np.float64).ravel() for name in network.names])


def unflat(network: CoagentNetwork, vector: FloatArray, num_observations: int) -> dict[str, FloatArray]:
    """Inverse of `flat`; leading axes of `vector` are kept."""
    arrays, first = {}, 0
    for name in network.names:
        shape = network.parameter_shape(name, num_observations)
        size = int(np.prod(shape))
        arrays[name] = vector[..., first : first + size].reshape(*vector.shape[:-1], *shape)
        first += size
    return arrays


def check_actions(mdp: MDP, network: CoagentNetwork) -> None:
    """ValueError unless the network's joint actions are the MDP's."""
    if network.num_actions != mdp.num_actions:
        raise ValueError(
            f"the network's action {network.action} has {network.num_actions} joint outputs, the MDP has {mdp.num_actions} actions"
        )


def c_strides(shape: tuple[int, ...]) -> list[int]:
    """Strides, in entries, of a C-ordered array."""
    return [int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape))]


def cumulative(law: FloatArray) -> FloatArray:
    """Running sums of a law, exactly 1 from its last possible value on."""
    running = np.cumsum(law) / law.sum()
    running[np.flatnonzero(law)[-1] :] = 1.0
    return running
