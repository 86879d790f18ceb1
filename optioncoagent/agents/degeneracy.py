"""What options say about actions, estimated from a rollout by the policies' tables: see `informations`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optioncoagent.agents.modules import CoagentModule
from optioncoagent.agents.observations import ObservationSpec
from optioncoagent.agents.rollout import Outputs, Rollout
from optioncoagent.agents.sweep import OnAxes, gate_on_axes
from optioncoagent.agents.targets import mapped, policies_on_axes
from optioncoagent.network import CoagentNetwork

STEPS = 256  # of a rollout, about, from which information is estimated


class Turn(NamedTuple):
    """A coagent's turn at n steps. weight: (upstream sizes …, n), probability that it executes and its policy reads these outputs, given
    the observation and the outputs of the step before. policy: (upstream sizes …, outputs, n)."""

    name: str
    weight: Tensor
    policy: Tensor


def turns(network: CoagentNetwork, policies: Mapping[str, OnAxes], start: Tensor, state: Any, previous: Outputs) -> Iterator[Turn]:
    """The turns of the softmax coagents that read outputs of the same step: the law of these, forwards through the network.

    policies: π on axes; start (n,) bool; state: the observations; previous {name: (n,) int}.
    """
    if not policies:  # all are additive
        return
    law = torch.ones(len(start), dtype=next(iter(policies.values())).values.dtype, device=start.device)
    for k, turn in enumerate(network.plan(())):
        coagent, live = network.coagents[k], turn.live
        beta = gate_on_axes(network, k, live, start, state, previous, law.dtype)
        if coagent.tabled[0] and coagent.gaussian is None:
            others = tuple(axis for axis, name in enumerate(live) if name not in coagent.upstream)
            weight = (law * beta).sum(dim=others) if others else law * beta
            names = tuple(name for name in live if name in coagent.upstream)
            yield Turn(turn.name, weight, policies[turn.name].along((*names, turn.name)))
        if turn.kept:
            # Pr(u) = β π(u) + (1 − β) 1{u = u_{t−1}}
            policy = policies[turn.name].along((*live, turn.name))
            gate = beta if isinstance(beta, float) else beta.expand_as(law).unsqueeze(-2)
            retained = torch.arange(turn.num_outputs, device=start.device)[:, None] == previous[turn.name]
            law = law.unsqueeze(-2) * (gate * policy + (1 - gate) * retained.to(law.dtype))
        dropped = tuple(turn.outputs.index(name) for name in turn.dropped)
        law = law.sum(dim=dropped) if dropped else law


def turns_of(module: CoagentModule, spec: ObservationSpec, rollout: Rollout, times: Tensor) -> Iterator[Turn]:
    """The turns of the policies that acted at these times of a rollout, n = times · environments, time-major."""

    observation, start, previous, hidden = (
        mapped(x, lambda y: y[times].flatten(0, 1)) for x in (rollout.observation, rollout.start, rollout.previous, rollout.hidden)
    )
    state = spec.state(observation)
    features, _ = module.features(state, start, hidden)
    policies = policies_on_axes(module, module.readout(features), previous)
    return turns(module.network, policies, start, state, previous)


def information(weight: Tensor, policy: Tensor) -> Tensor:
    """Σ_n [ m_n H(Σ_x w_nx π_nx / m_n) − Σ_x w_nx H(π_nx) ] / Σ_n m_n with m_n = Σ_x w_nx, in nats; NaN where no weight is left.

    weight: (X, n), of each case x that a policy may be in; policy: (X, outputs, n). With the law of x it is the mutual information of x
    and the output, a mean over the n.
    """
    mass = weight.sum(dim=0)
    mean = (weight[:, None] * policy).sum(dim=0) / mass.clamp(min=torch.finfo(mass.dtype).tiny)
    gained = mass * torch.special.entr(mean).sum(dim=0) - (weight * torch.special.entr(policy).sum(dim=1)).sum(dim=0)
    return gained.sum() / mass.sum()


@torch.no_grad()
def informations(module: CoagentModule, spec: ObservationSpec, rollout: Rollout) -> dict[str, Tensor]:
    """What outputs say about the outputs of the coagents that read them, estimated at some steps of a rollout, in nats.

    For each coagent that reads outputs x of the same step, over the steps s at which it executes:
    information, I(x; u | s, memory): x as the network draws it at s given the outputs of the step before. Where options seldom end it is
    small however they differ, since memory tells which one runs.
    divergence: the same with x as it comes at all of these steps together, at every s alike: how differently the options act where they
    are.
    """
    num_steps, num_envs = rollout.start.shape
    times = torch.arange(0, num_steps, max(num_steps * num_envs // STEPS, 1), device=rollout.start.device)

    valid, row = rollout.valid[times].flatten(), dict[str, Tensor]()
    for name, weight, policy in turns_of(module, spec, rollout, times):
        w, pi = (weight * valid).flatten(0, -2).double(), policy.flatten(0, -3).double()
        usual = w.sum(dim=-1, keepdim=True) / w.sum() * w.sum(dim=0)
        row[f"{name}/information"], row[f"{name}/divergence"] = information(w, pi), information(usual, pi)
    return row
