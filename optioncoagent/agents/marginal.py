"""The marginal form: a coagent's gradient at one step in expectation over the tick, given what is known at its start.

The plain forms weigh a step with E_t^i at the outputs that were drawn. Their conditional expectation given S_t and the outputs that are
remembered is known, since every value is on axes: the same gradient, with less variance, and every configuration of the outputs that a
coagent reads learns from every step. The action's values are not known where the critic does not have it; there the expectation is taken
given the action and where it led, over everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from optioncoagent.agents.sweep import OnAxes, critic_on_axes, gate_on_axes, policy_on_axes, select, sweep
from optioncoagent.network import CoagentNetwork


def laws(
    network: CoagentNetwork, policies: Mapping[str, OnAxes], start: Tensor, state: Any, previous: Mapping[str, Tensor]
) -> list[tuple[OnAxes, Tensor]]:
    """For each coagent the law, on axes, of the outputs that still matter before it runs, given the start of the tick; and that law times
    its probability to execute.

    Arguments as in `sweep.sweep`.
    """
    law, found = OnAxes((), torch.ones_like(start, dtype=policies[network.names[0]].values.dtype)), []
    for k, turn in enumerate(network.plan(network.critic_inputs)):
        before = law.along(turn.live)
        beta = gate_on_axes(network, k, turn.live, start, state, previous, before.dtype)
        executed = before * beta
        found.append((OnAxes(turn.live, before), executed))
        if turn.kept:
            # Pr(u) = β(x) π(x, u) + (1 - β(x)) 1{u = u_{t-1}}
            after = executed.unsqueeze(-2) * policies[turn.name].along((*turn.live, turn.name))
            if turn.may_retain:
                kept = F.one_hot(previous[turn.name].long(), turn.num_outputs).T.to(before.dtype)
                after = after + (before - executed).unsqueeze(-2) * kept
        else:
            after = before
        if turn.dropped:
            after = after.sum(dim=tuple(turn.outputs.index(n) for n in turn.dropped))
        law = OnAxes(turn.needed, after)
    return found


def expected(network: CoagentNetwork, k: int, executed: Tensor, policy: OnAxes, value: OnAxes) -> tuple[Tensor, Tensor]:
    """For every configuration of the outputs that coagent k reads at this step: advantages (configurations, outputs, n), and how likely it
    is to execute in it, (configurations, n).

    executed: law before it times its probability to execute (see `laws`); policy; value: W_k, with its own output.
    """
    turn = network.plan(network.critic_inputs)[k]
    names = (*turn.live, turn.name)
    old, w = policy.along(names), value.along(names)
    # E[ E_t^i Σ_u ∂π(u) W(u) | S_t, U_{t-1} ] = Σ_x Pr(x) β(x) Σ_u ∂ρ_u(x) π_old(u) [ W(u) − Σ_v π_old(v) W(v) ]
    advantage = executed.unsqueeze(-2) * old * (w - (old * w).sum(dim=-2, keepdim=True))
    sizes = (*turn.live_sizes, turn.num_outputs, executed.shape[-1])
    return read(network, k, advantage.expand(sizes)), read(network, k, executed.unsqueeze(-2).expand(*turn.live_sizes, 1, -1))[:, 0]


def given_action(
    network: CoagentNetwork, executed: Tensor, policy: OnAxes, q: OnAxes, action: Tensor, target: OnAxes
) -> tuple[Tensor, Tensor]:
    """The same for the last coagent, the action, whose values the critic does not know, in the score form with one step of return.

    action (n,): what was drawn. target: R_t + γ W_0(S_{t+1}, memory), on axes of memory. The other outputs are averaged over their law
    given the action, so that the expectation is that of ∂ln π(A) (target − Q) at what was drawn, whatever the critic.
    """
    k = len(network.names) - 1
    turn = network.plan(network.critic_inputs)[k]
    chance = select(policy.along((*turn.live, turn.name)), len(turn.live), action)
    # Pr(x | A) = Pr(x) π(A|x) / Σ_y Pr(y) π(A|y)
    joint = executed * chance.squeeze(-2)
    posterior = joint / joint.sum(dim=tuple(range(joint.ndim - 1)), keepdim=True)
    delta = posterior * (target.along(turn.live) - q.along(turn.live))
    one_hot = F.one_hot(action.long(), turn.num_outputs).T.to(delta.dtype)
    advantage = delta.unsqueeze(-2) * one_hot
    return read(network, k, advantage), read(network, k, executed.unsqueeze(-2).expand(*turn.live_sizes, 1, -1))[:, 0]


def multi_update(
    network: CoagentNetwork, executed: Tensor, policy: OnAxes, outputs: Mapping[str, Tensor], advantage: Tensor
) -> tuple[Tensor, Tensor]:
    """Pr(x) π(A|x)/π(A|X) times the advantage of what was drawn, for every x."""
    k = len(network.names) - 1
    turn = network.plan(network.critic_inputs)[k]
    chance = select(policy.along((*turn.live, turn.name)), len(turn.live), outputs[turn.name]).squeeze(-2)
    drawn = chance
    for axis, name in enumerate(turn.live):
        drawn = select(drawn, axis, outputs[name])
    weighed = executed * chance / drawn * advantage
    one_hot = F.one_hot(outputs[turn.name].long(), turn.num_outputs).T.to(advantage.dtype)
    return read(network, k, weighed.unsqueeze(-2) * one_hot), executed


def read(network: CoagentNetwork, k: int, values: Tensor) -> Tensor:
    """Values with axes (*live, outputs, n), summed over the outputs that coagent k does not read, (configurations, outputs, n): its
    upstream in C order of the description."""
    turn = network.plan(network.critic_inputs)[k]
    unread = tuple(turn.live.index(n) for n in turn.unread)
    if unread:
        values = values.sum(dim=unread)
    kept = [n for n in turn.live if n not in turn.unread]
    axes = (*(kept.index(n) for n in turn.policy.upstream), -2, -1)
    return values.permute(axes).reshape(-1, *values.shape[-2:])


def arrivals(network: CoagentNetwork, tables: Mapping[str, Tensor], q: Tensor, state: Any, scale: float) -> OnAxes:
    """W_0 on arriving at n observations in mid-episode, for every joint value of memory, on axes.

    tables: {name: policy (configurations, outputs, n)}; q: Q(s, K), (configurations of K, n).
    """
    n, device = q.shape[-1], q.device
    start, found = torch.zeros(n, dtype=torch.bool, device=device), []
    critic, sizes = critic_on_axes(network, q), tuple(network[name].num_outputs for name in network.memory)
    for values in product(*(range(size) for size in sizes)):
        held = dict.fromkeys(network.names, 0) | dict(zip(network.memory, values, strict=True))
        previous = {name: torch.full((n,), u, device=device) for name, u in held.items()}
        policies = {name: policy_on_axes(network, name, table, previous) for name, table in tables.items()}
        found.append(sweep(network, policies, critic, start, state, previous, scale)[0].values)
    return OnAxes(network.memory, torch.stack(found).reshape(*sizes, n))


def why_not(network: CoagentNetwork, name: str) -> str | None:
    """Why a coagent cannot have the marginal form, None if it can."""
    if name not in network.action or name in network.critic_inputs:
        return None
    if network.names[-1] != name:
        return "the critic does not know its output, and other coagents run after it"
    if any(other != name and other not in network.critic_inputs for other in network.action):
        return "the critic does not know its output, nor that of another action coagent"
    if network.may_retain(name, start=True) or network.may_retain(name, start=False):
        return "the critic does not know its output, and it does not always execute"
    return None


def num_configurations(network: CoagentNetwork, name: str) -> int:
    """Joint outputs of this step that a policy reads."""
    return prod(network[other].num_outputs for other in network[name].upstream)
