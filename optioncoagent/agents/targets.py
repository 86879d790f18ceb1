"""From a rollout to what the losses need: one sweep, λ-returns, a gradient form for each coagent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from optioncoagent.agents import distributions, losses
from optioncoagent.agents.heads import Linear
from optioncoagent.agents.modules import CoagentModule
from optioncoagent.agents.observations import ObservationSpec, Tensors
from optioncoagent.agents.returns import lambda_advantages
from optioncoagent.agents.rollout import Outputs, Rollout
from optioncoagent.agents.settings import Settings
from optioncoagent.agents.sweep import OnAxes, at_outputs, configuration, critic_on_axes, joint_index, policy_on_axes, sweep
from optioncoagent.network import CoagentNetwork

# the fields of a rollout that have the axes (num_steps, num_envs)
STEPS = ("observation", "start", "valid", "age", "previous", "outputs", "executed", "reward", "terminated", "truncated")


@dataclass(frozen=True)
class Batch:
    """B steps to learn from, the first axis; the outputs of all coagents, U in number, lie side by side in the order of `network.by_kind`,
    a Gaussian's as one.

    inputs: what the encoder takes; start: where an episode begins; hidden: the hidden states (n, ...) before the first steps of the n
    sequences that the steps then are, time-major, or None for a network without recurrence. rows: (B, R), which of the readout's rows the
    step is about: every coagent's parameters in the configuration that it read, with Q(S_t, K_t) between the logits and what is a
    Gaussian's. indicators: (B, Σ widths), of the outputs that additive policies read, and the numbers of Gaussians among them.
    drawn: (B, numbers), what the Gaussians gave. learned: (B, 3, U), of every output ln π_old; its advantage in its coagent's gradient
    form, with everything that the gradient is weighted with, so zero where the coagent did not execute; and the weight of its coagent's
    entropy where it did, else 0.
    target: (B,), λ-return for Q(S_t, K_t). valid: (B,), 1 where there is something to learn from, else 0; so then is what is learned but
    for ln π_old. acted: (B, action coagents), 1 where they executed at such a step.
    """

    inputs: Any
    start: Tensor
    hidden: Tensor | None
    rows: Tensor
    indicators: Tensor
    drawn: Tensor
    learned: Tensor
    target: Tensor
    valid: Tensor
    acted: Tensor

    def __len__(self) -> int:
        return len(self.target)

    @property
    def log_old(self) -> Tensor:
        """ln π_old of every output, (U, B)."""
        return self.learned[:, 0].T

    def at(self, steps: Tensor) -> Batch:
        """These of its steps, (b,) int; with recurrence whole sequences, as `minibatches.by_environment` cuts them."""
        if self.hidden is None:
            return mapped(self, lambda x: x.index_select(0, steps))
        begun = self.hidden.index_select(0, steps[steps < len(self.hidden)])  # the first n rows are the first steps
        return replace(mapped(replace(self, hidden=None), lambda x: x.index_select(0, steps)), hidden=begun)


@dataclass(frozen=True)
class Values:
    """What the parameters that acted say of n steps: the readout (rows, n), {name: π on axes}, W_0 … W_m."""

    readout: Tensor
    policies: dict[str, OnAxes]
    values: list[OnAxes]


@torch.no_grad()
def make_batch(module: CoagentModule, spec: ObservationSpec, rollout: Rollout, settings: Settings, forms: Mapping[str, str]) -> Batch:
    """All steps of a rollout with targets and gradient forms, computed once with the parameters that acted, time-major (B = T · N).

    Steps that are not valid are among them: nothing is to be learned from them.
    """
    network, heads = module.network, module.heads()
    flat = replace(rollout, **{name: mapped(getattr(rollout, name), lambda x: x.flatten(0, 1)) for name in STEPS})
    hidden = None if rollout.hidden is None else rollout.hidden[0]
    inputs = module.inputs(spec.state(flat.observation))
    features, _ = module.encode(inputs, flat.start, hidden)
    at = evaluate(module, heads, features, spec.state(flat.observation), flat.start, flat.previous, rollout.scale)
    q = at_outputs(at.values[-1], flat.outputs)[0]
    arrival = at.values[0].values.reshape(rollout.start.shape)
    following = following_values(module, spec, heads, rollout, arrival)
    advantage = advantages(network, rollout, settings, q.reshape(arrival.shape), arrival, following).flatten()

    # γ^t, over the scale of the advantages
    weight = settings.gamma ** flat.age.to(q.dtype) if settings.discount_weighting else torch.ones_like(q)
    if settings.normalize_advantages:
        scale = advantage[flat.valid].std(correction=0)
        if bool(scale > 1e-8):  # one step, or steps that are all alike, say nothing of it
            weight = weight / (scale + 1e-8)
    executed = torch.cat([(flat.executed[c.name] & flat.valid).expand(c.num_outputs, -1) for c in network.by_kind]).to(q.dtype)
    entropy = q.new_tensor([settings.ent_coefs.get(c.name, settings.ent_coef) for c in network.by_kind for _ in range(c.num_outputs)])
    rows, indicators = learned_rows(module, flat), module.terms.indicators(flat.outputs, flat.previous).T.contiguous()
    drawn = distributions.numbers(network, flat.outputs)
    read = module.read(at.readout, rows, indicators)
    log_old = distributions.log_probabilities(network, read, drawn.T)
    posteriors = log_posteriors(module, flat, forms, read, log_old)
    advantages_of = gradient_forms(network, flat, forms, at, q, advantage, posteriors)
    advantage_of = torch.cat([advantages_of[c.name] for c in network.by_kind])
    return Batch(
        inputs=inputs,
        start=flat.start,
        hidden=hidden,
        rows=rows.T.contiguous(),
        indicators=indicators,
        drawn=drawn,
        learned=torch.stack([log_old, weight * executed * advantage_of, entropy[:, None] * executed]).permute(2, 0, 1).contiguous(),
        target=q + advantage,
        valid=flat.valid.to(q.dtype),
        acted=torch.stack([flat.executed[name] & flat.valid for name in network.action], dim=1).to(q.dtype),
    )


def learned_rows(module: CoagentModule, flat: Rollout) -> Tensor:
    """The rows of the readout that each step is about, (R, B): see `Batch`."""
    network, nothing = module.network, torch.zeros_like(flat.age)
    configurations = {c.name: configuration(network, c.name, flat.outputs, flat.previous) for c in network.by_kind}
    rows = [module.rows_of(name, nothing if index is None else index) for name, index in configurations.items()]
    known = joint_index(network, network.critic_inputs, flat.outputs)
    rows.insert(len(network.counted), (module.critic_row + (nothing if known is None else known))[None])
    return torch.cat(rows)


def following_values(module: CoagentModule, spec: ObservationSpec, heads: Linear, rollout: Rollout, arrival: Tensor) -> Tensor:
    """Value of S_{t+1} at every step: W_0 upon arrival; at a truncation of the final observation, after a termination 0."""
    outputs, hidden = (mapped(x, lambda x: x[-1]) for x in (rollout.outputs, rollout.hidden))
    last = arrival_value(module, spec, heads, rollout.last, outputs, hidden, rollout.scale)
    following = torch.cat([arrival[1:], last[None]])
    if rollout.final_observation is not None:
        t, i = rollout.final_index.T
        outputs, hidden = mapped(rollout.outputs, lambda x: x[t, i]), mapped(rollout.hidden, lambda x: x[t + 1, i])
        following[t, i] = arrival_value(module, spec, heads, rollout.final_observation, outputs, hidden, rollout.scale)
    return torch.where(rollout.terminated, 0.0, following)


def advantages(network: CoagentNetwork, rollout: Rollout, settings: Settings, q: Tensor, arrival: Tensor, following: Tensor) -> Tensor:
    """λ-advantages of Q(S_t, K_t); all (num_steps, num_envs). arrival: W_0(S_t); following: see `following_values`."""
    # δ_t = R_t + γ W_0(S_{t+1}) − Q(S_t, K_t);  A_t = δ_t + γλ A_{t+1} within an episode
    delta = rollout.reward.to(q.dtype) + settings.gamma * following - q
    trace = settings.gamma * settings.gae_lambda * (~(rollout.terminated | rollout.truncated)).to(q.dtype)
    trace[-1] = 0.0
    if settings.sampled_returns:
        # + γλ ( Q(S_{t+1}, K_{t+1}) − C_{t+1} − W_0(S_{t+1}) ), which has zero mean
        costs = torch.stack([charged(network, name, rollout, q.dtype) for name in network.names]).sum(dim=0)
        delta[:-1] += trace[:-1] * (q - costs - arrival)[1:]
    return lambda_advantages(delta, trace)


def log_posteriors(module: CoagentModule, flat: Rollout, forms: Mapping[str, str], read: Tensor, log_old: Tensor) -> dict[str, Tensor]:
    """ln π(u) Π_j π_j(U_j | u), the product over what read it and executed, for every output of the coagents whose form is posterior,
    (outputs, B).

    read (R, B): rows of the readout with terms; log_old (U, B): see `Batch`.
    """
    network = module.network
    logs = log_old.split([c.num_outputs for c in network.by_kind])
    found = {c.name: log for c, log in zip(network.by_kind, logs, strict=True) if forms[c.name] == "posterior"}
    for c in network.coagents:
        if c.additive and found.keys() & set(c.upstream):
            for name, likelihood in module.terms.likelihoods(c.name, read, flat.outputs).items():
                if name in found:  # an output that was retained says nothing of what this step's reader would have done
                    found[name] = found[name] + torch.where(flat.executed[c.name], likelihood, torch.zeros_like(likelihood))
    return found


def gradient_forms(
    network: CoagentNetwork,
    flat: Rollout,
    forms: Mapping[str, str],
    at: Values,
    q: Tensor,
    advantage: Tensor,
    posteriors: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """For each coagent the advantage of every output, (outputs, B), in its gradient form."""
    made = {}
    for k, coagent in enumerate(network.coagents):
        name, before = coagent.name, {earlier: flat.outputs[earlier] for earlier in network.names[:k]}
        w = at_outputs(at.values[k + 1], before)  # one value for all outputs where nothing depends on this one
        if forms[name] in ("score", "posterior"):
            # return from this coagent's decision on, less its baseline Σ_u π(u) W_k(u)
            baseline = w[0] if len(w) == 1 else (at_outputs(at.policies[name], before) * w).sum(dim=0)
            later = sum((charged(network, other, flat, q.dtype) for other in network.names[k + 1 :]), torch.zeros_like(q))
            gained = q + advantage - later - baseline
            if forms[name] == "posterior":
                made[name] = losses.posterior(posteriors[name], gained)
            else:
                made[name] = losses.score(distributions.which(coagent, flat.outputs[name]), gained, coagent.num_outputs)
        else:
            old = at_outputs(at.policies[name], before)
            made[name] = (losses.expected if forms[name] == "expected" else losses.difference)(old, w.expand_as(old))
    return made


def charged(network: CoagentNetwork, name: str, rollout: Rollout, dtype: torch.dtype) -> Tensor:
    """What a coagent costs at each step: nothing at the first of an episode."""
    return network[name].cost / rollout.scale * (rollout.executed[name] & ~rollout.start).to(dtype)


def arrival_value(
    module: CoagentModule,
    spec: ObservationSpec,
    heads: Linear,
    observation: Tensors,
    previous: Outputs,
    hidden: Tensor | None,
    scale: float,
) -> Tensor:
    """W_0 on arriving at observations (n, ...) in mid-episode with these outputs of the step before, (n,)."""
    first = next(iter(previous.values()))
    start = torch.zeros(len(first), dtype=torch.bool, device=first.device)
    features, _ = module.features(spec.state(observation), start, hidden)
    return evaluate(module, heads, features, spec.state(observation), start, previous, scale).values[0].values


def evaluate(module: CoagentModule, heads: Linear, features: Tensor, state: Any, start: Tensor, previous: Outputs, scale: float) -> Values:
    """Policies and values of steps with these features (n, f); no policies of additive coagents, on whose outputs no value depends."""
    network, readout = module.network, module.readout(features, heads)
    policies = policies_on_axes(module, readout, previous)
    return Values(readout, policies, sweep(network, policies, critic_on_axes(network, module.q(readout)), start, state, previous, scale))


def policies_on_axes(module: CoagentModule, readout: Tensor, previous: Outputs) -> dict[str, OnAxes]:
    """{name: π on axes} of all coagents that are not additive, from a readout (rows, n), after these outputs of the step before, (n,)."""
    given = {c.name: distributions.probabilities(c, module.logits(c.name, readout)) for c in module.network.coagents if not c.additive}
    return {name: policy_on_axes(module.network, name, table, previous) for name, table in given.items()}


def mapped(x: Any, f: Any) -> Any:
    """Apply f to every tensor of a dict or record."""
    if x is None or isinstance(x, Tensor):
        return x if x is None else f(x)
    if isinstance(x, dict):
        return {key: mapped(part, f) for key, part in x.items()}
    return type(x)(**{key: mapped(part, f) for key, part in vars(x).items()})
