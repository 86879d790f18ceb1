"""The exact critic of any network: Q(s, K), one value for each state and each joint output of `network.critic_inputs`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from optioncoagent.exact.chain import chain
from optioncoagent.exact.comdp import factor
from optioncoagent.exact.large import LargeChain, is_large
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray


def critic_values(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any]) -> FloatArray:
    """Q(s, K) = E[R_t + γ v(S_{t+1}, M_t) | S_t = s, K_t = K], (S, *sizes of K), costs of later steps in it and those of this one not.

    M_t are the outputs that are memory, v(s', M) the value of arriving at s' with them, and K what screens off everything earlier (see
    `CoagentNetwork`); what is drawn between K and the action comes from policies that read s, K and one another. Defined for every (s, K),
    visited or not; 0 at terminal states; where γ = 1 and no end is certain, what comes after this step counts as 0. Of flat option-critic
    it is Q_Ω. Under a horizon the states are those of `mdp.unrolled`. Of a network with additive coagents, whose K is smaller, params are
    those of its `tabulated`.
    Raises ValueError where `expected_return` does.
    """
    mdp, tables = mdp.unrolled, network.tabulated()
    policies = tables.policies(params, mdp.num_observations)
    sizes = tuple(network[name].num_outputs for name in network.memory)
    if is_large(mdp, tables):
        of_live = LargeChain(mdp, tables, params, everything=True).value.reshape(-1, prod(sizes))
        v = np.zeros((mdp.num_states, prod(sizes)))
        v[~mdp.terminal] = of_live
    else:
        made = chain(mdp, tables, params, everything=True)
        v = np.zeros(mdp.num_states * prod(sizes))
        v[made.structure.keys] = made.value
    # W_m(s, M, a) = r(s, a) + γ Σ_s' P(s'|s,a) v(s', M)
    ahead = (mdp.transition_matrix @ v.reshape(mdp.num_states, -1)).reshape(mdp.num_states, mdp.num_actions, -1)
    after = mdp.expected_reward[:, :, None] + mdp.gamma * ahead
    # on an axis for each output that matters, and Q(s, K) = Σ_{u not in K} Π π(u | s, …) W_m, the last one first
    names = tuple(n for n in network.names if n in {*network.critic_inputs, *network.action, *network.unseen})
    outputs = dict(zip(names, np.indices(tuple(network[n].num_outputs for n in names), sparse=True), strict=True))
    action, memory = np.broadcast_arrays(network.joint_action(outputs), network.joint_index(network.memory, outputs))
    values = after[:, action, memory]
    for name in reversed(network.unseen):
        values = (factor(mdp, network, policies[name], name, names) * values).sum(axis=1 + names.index(name), keepdims=True)
    values = np.where(mdp.terminal.reshape(-1, *(1,) * len(names)), 0.0, values)
    values = values.squeeze(tuple(1 + names.index(name) for name in network.unseen))
    return np.broadcast_to(values, (mdp.num_states, *(network[n].num_outputs for n in network.critic_inputs))).copy()
