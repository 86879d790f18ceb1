"""From a rollout to what the losses need: one sweep, λ-returns, a gradient form for each coagent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optioncoagent.agents import losses
from optioncoagent.agents.modules import CoagentModule, at_configuration
from optioncoagent.agents.observations import ObservationSpec, Tensors
from optioncoagent.agents.returns import lambda_advantages
from optioncoagent.agents.rollout import Outputs, Rollout
from optioncoagent.agents.settings import Settings
from optioncoagent.agents.sweep import at_outputs, configuration, critic_on_axes, joint_index, policy_on_axes, sweep

FORMS = ("expected", "difference", "score")


@dataclass(frozen=True)
class CoagentBatch:
    """One coagent at each step (B,): configuration it read (or None), executed, ln π_old (B, outputs), gradient form."""

    configuration: Tensor | None
    executed: Tensor
    log_old: Tensor
    weight: Tensor
    advantage: Tensor


@dataclass(frozen=True)
class Batch:
    """The steps that were learned from, flattened to (B, ...). weight: γ^t or 1, over the scale of the
    advantages. critic_index: K_t; target: λ-return for Q(S_t, K_t)."""

    observation: Tensors
    weight: Tensor
    critic_index: Tensor | None
    target: Tensor
    coagents: dict[str, CoagentBatch]

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: Tensor | slice) -> Batch:
        return _map(self, lambda x: x[index])


@torch.no_grad()
def make_batch(module: CoagentModule, spec: ObservationSpec, rollout: Rollout, settings: Settings, forms: Mapping[str, str]) -> Batch:
    """All steps of a rollout with targets and gradient forms, computed once with the parameters that acted."""
    network, shape = module.network, rollout.start.shape
    observation = {path: x.flatten(0, 1) for path, x in rollout.observation.items()}
    outputs, previous, executed = (_map(part, lambda x: x.flatten()) for part in (rollout.outputs, rollout.previous, rollout.executed))
    start = rollout.start.flatten()

    # W_0 … W_m at every step, Q(S_t, K_t)
    tables, policies, values = _sweep(module, spec, observation, start, previous)
    q = at_outputs(values[-1], outputs)[0]
    arrival = values[0].values

    # value of S_{t+1}: W_0 upon arrival; at a truncation of the final observation, after a termination 0
    following = torch.cat(
        [arrival.reshape(shape)[1:], arrival_value(module, spec, rollout.last, _map(rollout.outputs, lambda x: x[-1]))[None]]
    )
    if rollout.final_observation is not None:
        t, i = rollout.final_index.T
        following[t, i] = arrival_value(module, spec, rollout.final_observation, _map(rollout.outputs, lambda x: x[t, i]))
    following = torch.where(rollout.terminated, 0.0, following)

    # δ_t = R_t + γ W_0(S_{t+1}) − Q(S_t, K_t);  A_t = δ_t + γλ A_{t+1} within an episode
    delta = rollout.reward.to(q.dtype) + settings.gamma * following - q.reshape(shape)
    trace = settings.gamma * settings.gae_lambda * (~(rollout.terminated | rollout.truncated)).to(q.dtype)
    trace[-1] = 0.0
    costs = {c.name: c.cost * (executed[c.name] & ~start).to(q.dtype) for c in network.coagents}
    if settings.sampled_returns:
        # + γλ ( Q(S_{t+1}, K_{t+1}) − C_{t+1} − W_0(S_{t+1}) ), which has zero mean
        surprise = (q - torch.stack(list(costs.values())).sum(dim=0) - arrival).reshape(shape)
        delta[:-1] += trace[:-1] * surprise[1:]
    advantage = lambda_advantages(delta, trace).flatten()

    weight = settings.gamma ** rollout.age.flatten().to(q.dtype) if settings.discount_weighting else torch.ones_like(q)
    if settings.normalize_advantages:
        weight = weight / (advantage[rollout.valid.flatten()].std(correction=0) + 1e-8)
    coagents = {}
    for k, coagent in enumerate(network.coagents):
        name, before = coagent.name, {earlier: outputs[earlier] for earlier in network.names[:k]}
        index = configuration(network, name, outputs, previous)
        old = at_outputs(policies[name], before).T
        w = at_outputs(values[k + 1], before).T.expand_as(old)
        if forms[name] == "score":
            # return from this coagent's decision on, less its baseline Σ_u π(u) W_k(u)
            later = sum((costs[c.name] for c in network.coagents[k + 1 :]), torch.zeros_like(q))
            form = losses.score(outputs[name], q + advantage - later - (old * w).sum(dim=-1), coagent.num_outputs)
        else:
            form = (losses.expected if forms[name] == "expected" else losses.difference)(old, w)
        coagents[name] = CoagentBatch(index, executed[name], at_configuration(tables[name], index), *form)
    critic_index = joint_index(network, network.critic_inputs, outputs)
    return Batch(observation, weight, critic_index, q + advantage, coagents)[rollout.valid.flatten()]


def arrival_value(module: CoagentModule, spec: ObservationSpec, observation: Tensors, previous: Outputs) -> Tensor:
    """W_0 on arriving at observations (n, ...) in mid-episode with these outputs of the step before, (n,)."""
    start = torch.zeros_like(next(iter(previous.values())), dtype=torch.bool)
    return _sweep(module, spec, observation, start, previous)[2][0].values


def _sweep(module: CoagentModule, spec: ObservationSpec, observation: Tensors, start: Tensor, previous: Outputs) -> Any:
    """(log-policy tables, policies on axes, W_0 … W_m)."""
    network, state = module.network, spec.state(observation)
    features = module.features(state)
    tables = {name: module.log_table(name, features) for name in network.names}
    policies = {name: policy_on_axes(network, name, table.exp(), previous) for name, table in tables.items()}
    return tables, policies, sweep(network, policies, critic_on_axes(network, module.q(features)), start, state, previous)


def _map(x: Any, f: Any) -> Any:
    """Apply f to every tensor of a dict or record."""
    if x is None or isinstance(x, Tensor):
        return x if x is None else f(x)
    if isinstance(x, dict):
        return {key: _map(part, f) for key, part in x.items()}
    return type(x)(**{key: _map(part, f) for key, part in vars(x).items()})
