"""The conjugate MDP of one coagent: the decision problem that the rest of the network and the MDP make for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray

MAX_ENTRIES = 20_000_000  # of a CoMDP's transition array


class CoMDP(MDP):
    """An MDP whose state x has a meaning: states[x] = (s, u_1, …, u_{i-1}), the outputs of all earlier coagents in order."""

    states: list[tuple[int, ...]]


def comdp(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], coagent: str) -> CoMDP:
    """The CoMDP of a coagent in a synchronous, acyclic network (ACN, appendix A).

    Its states are all x = (s, u_pre), listed in `.states`: s slowest, the outputs of the earlier coagents in order, the last one fastest.
    Its actions are the coagent's outputs, its rewards R[x, u, x'] the expectation of R_t given them. Under a horizon s is a state of
    `mdp.unrolled`.

    Raises ValueError for an unknown coagent, for a network with memory, with coagents that may fail to execute, or with
    costs (use `synchronous` first), for a CoMDP of more than MAX_ENTRIES transitions and for a network with too many joint outputs.
    """
    mdp = mdp.unrolled
    _check_synchronous(network, coagent)
    network.check_actions(mdp.num_actions)
    policies = network.policies(params, mdp.num_observations)
    earlier = network.names[: network.names.index(coagent)]
    sizes = tuple(network[n].num_outputs for n in earlier)
    S, U, num_outputs = mdp.num_states, prod(sizes), network[coagent].num_outputs
    if (S * U) ** 2 * num_outputs > MAX_ENTRIES:
        raise ValueError(
            f"the CoMDP of {coagent!r} has {S * U} states and {num_outputs} actions: more than {MAX_ENTRIES} transitions; "
            "local_gradient gives the coagent's gradient without it"
        )
    if prod(network.num_outputs) * max(S, mdp.num_actions) > MAX_ENTRIES:
        raise ValueError(
            f"the {len(network.names)} coagents have {prod(network.num_outputs):,} joint outputs, too many: a CoMDP is for small networks"
        )
    pre, post = _halves(mdp, network, policies, coagent)
    P, R = dense(mdp)
    # P^i(x, u, x') = π_pre(x'.s, x'.u_pre) Σ_a P(x.s, a, x'.s) π_post(x, u, a)
    to_state = np.einsum("sat,spua->sput", P, post)
    P_i = np.einsum("sput,tq->sputq", to_state, pre)
    # R^i(x, u, x') = Σ_a R(x.s, a, x'.s) P(x.s, a, x'.s) π_post(x, u, a) / Σ_â P(x.s, â, x'.s) π_post(x, u, â)
    weighted = np.einsum("sat,sat,spua->sput", P, R, post)
    reward = np.divide(weighted, to_state, out=np.zeros_like(weighted), where=to_state > 0)
    R_i = np.broadcast_to(reward[..., None], (*reward.shape, U))
    # d_0^i(x) = d_0(x.s) π_pre(x.s, x.u_pre)
    d0 = mdp.d0[:, None] * pre
    shape = (S * U, num_outputs, S * U)
    result = CoMDP(P_i.reshape(shape), R_i.reshape(shape), d0.reshape(-1), mdp.gamma, np.repeat(mdp.terminal, U))
    result.states = [(s, *u) for s in range(S) for u in np.ndindex(*sizes)]
    return result


def _check_synchronous(network: CoagentNetwork, coagent: str) -> None:
    network.check_name(coagent)
    wrong = [f"remembers {n!r}" for n in network.memory]
    for c in network.coagents:
        if c.name not in network.memory and network.may_retain(c.name):
            wrong.append(f"need not execute {c.name!r}")
        if c.cost:
            wrong.append(f"charges for {c.name!r} at every step but the first")
    if wrong:
        raise ValueError(
            f"a CoMDP is defined for synchronous, acyclic networks, and this one {', '.join(wrong)}: "
            "reduce it with optioncoagent.synchronous first"
        )


def _halves(mdp: MDP, network: CoagentNetwork, policies: Mapping[str, FloatArray], coagent: str) -> tuple[FloatArray, FloatArray]:
    """π_pre(s, u_pre), shape (S, U_pre), and π_post((s, u_pre), u, a), shape (S, U_pre, u, A)."""
    position, sizes = network.names.index(coagent), network.num_outputs
    factors = [factor(mdp, network, policies[name], name, network.names) for name in network.names]
    before = prod(sizes[:position])
    # π_pre = Π_{j<i} π_j
    pre = np.ones((mdp.num_states, *sizes[:position]))
    for j in range(position):
        pre = pre * factors[j].reshape(factors[j].shape[: position + 1])
    # π_post = Σ Π_{j>i} π_j over the later outputs that make the action a
    after = np.ones((mdp.num_states, *sizes))
    for later_factor in factors[position + 1 :]:
        after = after * later_factor
    action = np.broadcast_to(network.joint_action(dict(zip(network.names, np.indices(sizes, sparse=True), strict=True))), sizes)
    later = (before, sizes[position], -1)
    is_action = action.reshape(later)[..., None] == np.arange(network.num_actions)
    post = np.einsum("spuz,puza->spua", after.reshape(mdp.num_states, *later), is_action.astype(np.float64))
    return pre.reshape(mdp.num_states, before), post


def factor(mdp: MDP, network: CoagentNetwork, policy: FloatArray, name: str, names: Sequence[str]) -> FloatArray:
    """π_i(s, u_pre, u_i) with an axis for the state and one for the output of each of `names`, of length 1 where it plays no part."""
    table = policy[mdp.observation] if network[name].observes else policy[None]
    read = (*network[name].upstream, name)
    order = sorted(range(len(read)), key=lambda i: names.index(read[i]))
    shape = [table.shape[0]] + [network[n].num_outputs if n in read else 1 for n in names]
    return table.transpose(0, *(1 + i for i in order)).reshape(shape)


def dense(mdp: MDP) -> tuple[FloatArray, FloatArray]:
    """P and R as (S, A, S) arrays."""
    shape = (mdp.num_states, mdp.num_actions, mdp.num_states)
    P, R = (array.toarray().reshape(shape) if sp.issparse(array) else array for array in (mdp.P, mdp.R))
    return P, np.broadcast_to(R[:, :, None] if R.ndim == 2 else R, shape)
