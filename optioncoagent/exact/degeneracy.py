"""How far the options of a network are from being options, exactly: what the learner's rows estimate, weighted by occupancy."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from scipy.special import entr

from optioncoagent.exact.chain import chain
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray
from optioncoagent.network.roles import SURE, gating, held, lasting, read


def degeneracy(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any]) -> dict[str, float]:
    """Figures of degeneracy under the occupancies d(n) = Σ_t γ^t Pr(n at t) of the nodes n = (s, memory), times being discounted.

    {"name/length"}: steps from one execution of a coagent whose output is held to the next. "name/usage_entropy": entropy of how often
    each output that policies read is in force; "name/run_length": steps for which such an output, if remembered, stays the same, across
    choices of it anew. "name/sure_u": share of the executions of a coagent that gates look at in which output u
    has a probability above `SURE`. Of each coagent that reads outputs x of the same step, over its executions, in nats:
    "name/information", I(x; u | n); "name/divergence", the same with x drawn at every node from its law over all of them;
    "name/marginal_information", I(x; u | what else its policy reads), which for option-critic's action is I(ω; A | s): it knows nothing of
    the option that ran before, and so is not small where options last.
    Of a coagent that never executes length is infinite, usage_entropy and run_length are those of its initial output, and what is a share
    or a mean over its executions is NaN. Raises as `expected_return` does, and where the matrix of the chain
    would be too large.
    """
    mdp = mdp.unrolled
    made = chain(mdp, network, params)
    is_held, is_read, is_gating, is_lasting = held(network), read(network), gating(network), lasting(network)
    nodes = made.structure.tick.nodes
    total, found = made.occupancy.sum(), {}
    for step, policy, law in zip(made.structure.tick.steps, made.gathered, made.laws, strict=True):
        name, live = step.turn.name, step.turn.live
        visited = made.occupancy.reshape(-1, *(1,) * len(live)) * law
        executed = visited * step.beta
        rate = executed.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            if name in is_held:
                found[f"{name}/length"] = total / rate
            if name in is_read:
                in_force = executed[..., None] * policy
                if step.retained is not None:
                    in_force = in_force + (visited - executed)[..., None] * step.retained
                found[f"{name}/usage_entropy"] = entr(in_force.reshape(-1, in_force.shape[-1]).sum(axis=0) / total).sum()
                if name in is_lasting:
                    by_node = in_force.sum(axis=tuple(range(1, in_force.ndim - 1)))
                    stays = by_node[np.arange(len(nodes)), nodes.previous[name]] * ~nodes.start
                    found[f"{name}/run_length"] = total / (total - stays.sum())
            if name in is_gating:
                for u in range(step.turn.num_outputs):
                    found[f"{name}/sure_{u}"] = (executed * (policy[..., u] > SURE)).sum() / rate
            if step.turn.policy.upstream:
                num_cases = prod(network[other].num_outputs for other in step.turn.policy.upstream)
                weight = executed.sum(axis=step.unread).reshape(len(executed), num_cases)  # (N, X)
                table = made.policies[name].transpose(step.axes).reshape(-1, num_cases, step.turn.num_outputs)
                rows = np.zeros(len(weight), dtype=np.int64) if step.rows is None else step.rows
                of_rows = np.zeros(table.shape[:2])
                np.add.at(of_rows, rows, weight)
                law_of_all = weight.sum(axis=0) / rate
                found[f"{name}/information"] = _information(weight, table[rows])
                found[f"{name}/divergence"] = _information(weight.sum(axis=1, keepdims=True) * law_of_all, table[rows])
                found[f"{name}/marginal_information"] = _information(of_rows, table)
    return {name: float(x) for name, x in found.items()}


def _information(weight: FloatArray, policy: FloatArray) -> Any:
    """Σ_n [ m_n H(Σ_x w_nx π_nx / m_n) − Σ_x w_nx H(π_nx) ] / Σ_n m_n, m_n = Σ_x w_nx, of weight (N, X), policy (N, X, outputs)."""
    mass = weight.sum(axis=1)
    some = mass > 0
    mean = (weight[some, :, None] * policy[some]).sum(axis=1) / mass[some, None]
    return (mass[some] @ entr(mean).sum(axis=1) - (weight * entr(policy).sum(axis=2)).sum()) / mass.sum()
