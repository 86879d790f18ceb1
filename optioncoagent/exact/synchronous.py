"""The synchronous, acyclic reduction of an asynchronous, possibly cyclic network (ACN, appendix C)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from optioncoagent.exact.tick import Nodes, execution
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork, FloatArray, IntArray

MAX_TRANSITIONS = 5_000_000  # of the reduced MDP


class SynchronousMDP(MDP):
    """The reduced MDP. states[i] = (s, start, u_1, …, u_m), u the outputs of the step before; actions[j] = (a, u', e), u' and e tuples."""

    states: list[tuple[int, ...]]
    actions: list[tuple[int, tuple[int, ...], tuple[int, ...]]]


def synchronous(
    mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any]
) -> tuple[SynchronousMDP, CoagentNetwork, dict[str, FloatArray]]:
    """Reduce (mdp, network, params) to a network in which every coagent always executes and nothing is remembered.

    The reduced state is (s, start, u), u the outputs of all coagents at the step before; the reduced action is (a, u', e), the action,
    all outputs of this step and who executed; a is a function of u', so that an action's index is that of (u', e) in C order. Coagent i
    becomes two: "i_executes" emits e_i (0 or 1) with law β_i, and "i" emits u_i': drawn from π_i if e_i = 1, a copy of u_i if not. Costs
    become part of the reward. The MDP lists what its indices mean in `.states` and `.actions`.

    J is the same, and so are the laws of states, outputs, executions and rewards (ACN, C.1, C.2). Under a horizon s is a state of
    `mdp.unrolled`.
    Raises ValueError for params that do not fit, and where the reduction has more than MAX_TRANSITIONS (state, action, successor)s.
    """
    mdp = mdp.unrolled
    network.check_actions(mdp.num_actions)
    policies = network.policies(params, mdp.num_observations)
    sizes, m = network.num_outputs, len(network.names)
    num_outputs, num_executions = prod(sizes), 2**m
    size = 2 * mdp.transition_matrix.nnz * num_outputs**2 * num_executions // mdp.num_actions
    num_states = mdp.num_states * 2 * num_outputs
    if size > MAX_TRANSITIONS:
        raise ValueError(
            f"the reduction has {num_states} states, {num_outputs * num_executions} actions and about {size} transitions, more than "
            f"{MAX_TRANSITIONS}: it carries every output of every coagent, and is meant for small networks"
        )
    outputs = np.stack(np.unravel_index(np.arange(num_outputs), sizes), axis=1)  # (num_outputs, m)
    executions = np.stack(np.unravel_index(np.arange(num_executions), (2,) * m), axis=1)
    reduced_mdp = _reduce_mdp(mdp, network, outputs, executions)
    reduced, logits = _reduce_network(mdp, network, policies, outputs)
    return reduced_mdp, reduced, logits


def _reduce_mdp(mdp: MDP, network: CoagentNetwork, outputs: IntArray, executions: IntArray) -> SynchronousMDP:
    S, A, U, E = mdp.num_states, mdp.num_actions, len(outputs), len(executions)
    action = np.asarray(network.joint_action({n: outputs[:, i] for i, n in enumerate(network.names)})).reshape(U)
    cost = executions @ np.array([c.cost for c in network.coagents])
    # Ṗ((s, u), (a, u', e), (s', u'')) = P(s, a, s') 1{u'' = u'}, and start is true at the first step only
    P = mdp.transition_matrix.tocoo()
    R = mdp.transition_reward
    source, by = P.row // A, P.row % A
    edge, after = np.nonzero(by[:, None] == action[None, :])  # transitions of the MDP, u' that make its action
    entry, start, before, e = (g.reshape(-1) for g in np.meshgrid(np.arange(edge.size), [0, 1], np.arange(U), np.arange(E), indexing="ij"))
    s, t, u = source[edge[entry]], P.col[edge[entry]], after[entry]
    rows = ((s * 2 + start) * U + before) * (U * E) + u * E + e
    columns = (t * 2) * U + u
    # Ṙ = R(s, a, s') - Σ_i c_i e_i at every step but the first
    reward = R[edge[entry]] - np.where((start == 0) & ~mdp.terminal[s], cost[e], 0.0)
    shape = (S * 2 * U * U * E, S * 2 * U)
    # ḋ0(s, u) = d0(s) Π h_0^i(u_i)
    h0 = np.prod([network.initial(n)[outputs[:, i]] for i, n in enumerate(network.names)], axis=0)
    d0 = np.zeros((S, 2, U))
    d0[:, 1] = mdp.d0[:, None] * h0
    reduced = SynchronousMDP(
        sp.csr_array((P.data[edge[entry]], (rows, columns)), shape=shape),
        sp.csr_array((reward, (rows, columns)), shape=shape),
        d0.reshape(-1),
        mdp.gamma,
        np.repeat(mdp.terminal, 2 * U),
    )
    reduced.states = [(s, start, *u) for s in range(S) for start in (0, 1) for u in map(tuple, outputs.tolist())]
    reduced.actions = [(int(a), tuple(u), tuple(e)) for a, u in zip(action, outputs.tolist(), strict=True) for e in executions.tolist()]
    return reduced


def _reduce_network(
    mdp: MDP, network: CoagentNetwork, policies: Mapping[str, FloatArray], outputs: IntArray
) -> tuple[CoagentNetwork, dict[str, FloatArray]]:
    """Two coagents for each one, with logits ln β_i, and ln π_i or a copy; both read the whole reduced state."""
    S, U = mdp.num_states, len(outputs)
    state, start, before = (g.reshape(-1) for g in np.meshgrid(np.arange(S), [0, 1], np.arange(U), indexing="ij"))
    previous = {n: outputs[before, i] for i, n in enumerate(network.names)}
    nodes = Nodes(start == 1, mdp.observation[state].astype(np.int64), previous)
    coagents, logits = [], {}
    gates = {name: f"{name}_executes" for name in network.names}
    for name in gates:
        while gates[name] in network.names:  # a coagent of that name is there
            gates[name] += "_"
    for position, name in enumerate(network.names):
        earlier, c = network.names[:position], network[name]
        gate = gates[name]
        shape = (len(nodes), *network.num_outputs[:position])
        beta = np.broadcast_to(execution(network, nodes, mdp.num_observations, name, earlier), shape)
        coagents.append(Coagent(gate, 2, upstream=earlier))
        logits[gate] = _log(np.stack([1 - beta, beta], axis=-1))
        # π_i as a table over (reduced state, earlier outputs, u)
        index = [nodes.observation.reshape(-1, *(1,) * position)] if c.observes else []
        index += [np.arange(network[n].num_outputs).reshape([-1 if n == other else 1 for other in ("", *earlier)]) for n in c.upstream]
        index += [previous[n].reshape(-1, *(1,) * position) for n in c.previous]
        drawn = np.broadcast_to(policies[name][tuple(index)], (*shape, c.num_outputs))
        copied = np.broadcast_to(np.eye(c.num_outputs)[previous[name]].reshape(-1, *(1,) * position, c.num_outputs), drawn.shape)
        coagents.append(Coagent(name, c.num_outputs, upstream=(*earlier, gate)))
        logits[name] = _log(np.stack([copied, drawn], axis=-2))
    action = (*network.names, *gates.values())
    return CoagentNetwork(coagents, action=action), logits


def _log(probability: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.log(probability)
