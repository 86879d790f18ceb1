"""An agent in table form: the same policies on the states of an MDP, so that its critic can be any function of the state.

The twin is a learner like the agent, with the agent's settings in double precision; its encoder looks up, for a state, the logits of all
coagents and the values Q(s, K), and its heads pass them on; terms of additive policies are the agent's. What the learner computes from a
rollout of it is therefore a gradient with respect to logits, state by state, and to terms; summed over the states that share an
observation and pulled back through the agent's networks (see `gradient`) it is the one that the agent would follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optioncoagent.agents import CoagentActorCritic
from optioncoagent.agents.rollout import Rollout, collect
from optioncoagent.agents.settings import Settings
from optioncoagent.agents.sizes import Size
from optioncoagent.agents.targets import Batch, make_batch
from optioncoagent.auditing.gradient import FloatArray, logit_tables
from optioncoagent.auditing.states import StatesVectorEnv
from optioncoagent.mdp import MDP


class Twin:
    """The agent's twin on an MDP, its own critic in it; rollouts of it, and gradients of what the learner makes of them.

    copies: rollouts that are collected at a time, side by side. own_critic and what `set_critic` takes are in the units of the rewards; the
    learner's own units, those of `batch` and `gradient`, are these over `scale`, the agent's scale of returns.
    SETTINGS are those of the agent's that decide what its learner computes from a rollout.
    Raises ValueError for an execution function that reads an observation which states share, as the twin sees the state.
    """

    SETTINGS = (
        "gamma", "gae_lambda", "clip_coef", "ent_coef", "ent_coefs", "vf_coef", "max_grad_norm",
        "normalize_advantages", "discount_weighting", "sampled_returns",
    )  # fmt: skip

    def __init__(self, agent: Any, mdp: MDP, seed: int, max_steps: int | None = None, copies: int = 1):
        self.mdp, self.network = mdp, agent.network
        reading = [name for name, touched in agent.network.touched.items() if touched.state]
        if reading and not np.array_equal(mdp.observation, np.arange(mdp.num_states)):
            raise ValueError(f"coagent {reading[0]!r} executes by the observation, which states share: such an agent cannot be audited")
        size: Size = agent.size  # of its next rollout
        settings = {name: getattr(agent.settings, name) for name in self.SETTINGS}
        self.settings: Settings = replace(
            Settings(),
            seed=seed,
            dtype="float64",
            device="cpu",
            hidden_sizes=(),
            encoder_gradient="all",  # its encoder is the table of what is asked for
            **{**settings, "num_steps": size.num_steps, "num_minibatches": size.num_minibatches},
        )
        logits, q = logit_tables(agent, mdp)
        self.scale: float = agent.reward_scale
        self.num_minibatches = size.num_minibatches
        self.own_critic = self.scale * _of_states(mdp, q)
        # columns of the table: an observing coagent's logits, then the next one's, …, last Q(s, K)
        self.columns: dict[str, slice] = {}
        parts, width = [], 0
        for name, table in logits.items():
            if agent.network[name].observes:
                parts.append(_of_states(mdp, table))
                self.columns[name] = slice(width, width := width + parts[-1].shape[1])
        self.columns["critic"] = slice(width, width := width + self.own_critic.shape[1])
        self.shapes = {name: table.shape for name, table in logits.items()} | {"critic": q.shape}
        lookup = nn.Embedding(mdp.num_states, width)
        self.num_envs = agent.num_envs
        env = StatesVectorEnv(mdp, copies * agent.num_envs, max_steps)
        self.learner = CoagentActorCritic(env, agent.network, encoder=lookup, **vars(self.settings))
        self.table: Tensor = lookup.weight
        module: Any = self.learner.module
        with torch.no_grad():
            self.table.copy_(torch.from_numpy(np.concatenate([*parts, self.own_critic / self.scale], axis=1)))
            for name, table in logits.items():
                if name in self.columns:
                    _pass_on(module.policies[f"policy_{name}"], self.columns[name])
                else:
                    module.policies[f"policy_{name}"].logits.copy_(torch.from_numpy(table.reshape(-1)))
            _pass_on(module.critic, self.columns["critic"])
            for key, terms in agent.module.terms.tables.items():
                module.terms.tables[key].copy_(terms)
        self.free = {name: module.policies[f"policy_{name}"].logits for name in logits if name not in self.columns}
        self.terms = {c.name: module.terms.of(c.name) for c in self.network.coagents if c.additive and c.owner == c.name}

    def set_critic(self, q: FloatArray) -> None:
        """Replace the critic by Q(s, K), (S, *sizes of K)."""
        with torch.no_grad():
            self.table[:, self.columns["critic"]] = torch.from_numpy(q.reshape(self.mdp.num_states, -1) / self.scale)

    def rollouts(self) -> list[Rollout]:
        """The next num_steps steps of all environments, as the learner collects them: a rollout of num_envs of them for each copy."""
        learner, n = self.learner, self.num_envs
        learner.running = learner.running or learner._start()
        together = collect(learner.module, learner.sampler, learner.spec, learner.running, learner.size.num_steps)
        return [_part(together, first, first + n) for first in range(0, together.start.shape[1], n)]

    def order(self, n: int) -> Tensor:
        """A random order of n steps."""
        return torch.randperm(n, generator=self.learner.shuffle)

    def batch(self, rollout: Rollout, settings: Settings, forms: Mapping[str, str]) -> Batch:
        """What the learner makes of a rollout, with the critic that is set."""
        scaled = replace(rollout, reward=rollout.reward / self.scale, scale=self.scale)
        return make_batch(self.learner.module, self.learner.spec, scaled, settings, forms)

    def gradient(self, batch: Batch, settings: Settings) -> dict[str, FloatArray]:
        """−len(batch) times the gradient of the learner's losses, {coagent: (num_observations, …) like its logits; "critic"}, of an
        additive coagent with those of its terms below, as `gradient.pull_back` takes them.

        The losses are means over the batch, so that this is the sum over its steps, upwards.
        """
        self.learner.settings = settings
        leaves = [self.table, *self.free.values(), *self.terms.values()]
        loss = self.learner.losses(batch).sum()
        found = [-len(batch) * x.numpy() for x in torch.autograd.grad(loss, leaves)]
        by_observation = np.zeros((self.mdp.num_observations, self.table.shape[1]))
        np.add.at(by_observation, self.mdp.observation, found[0])
        tables = {name: by_observation[:, columns] for name, columns in self.columns.items()}
        tables |= dict(zip(self.free, found[1:], strict=False))
        tables = {name: tables[name].reshape(-1, *shape[1:]) if name in self.columns else tables[name].reshape(shape)
                  for name, shape in self.shapes.items()}  # fmt: skip
        for name, terms in zip(self.terms, found[1 + len(self.free) :], strict=True):
            tables[name] = np.concatenate([tables[name].reshape(-1, len(terms)), terms.T])
        return tables


def _part(rollout: Rollout, first: int, stop: int) -> Rollout:
    """The rollout of some of the environments."""

    def part(x: Any, index: Any) -> Any:
        if x is None or isinstance(x, float):
            return x
        return {key: part(inner, index) for key, inner in x.items()} if isinstance(x, dict) else x[index]

    of_these = {f.name: getattr(rollout, f.name) for f in fields(rollout)}
    final_index, final, last = (of_these.pop(name) for name in ("final_index", "final_observation", "last"))
    inside = (final_index[:, 1] >= first) & (final_index[:, 1] < stop)
    return Rollout(
        **part(of_these, (slice(None), slice(first, stop))),
        last=part(last, slice(first, stop)),
        final_index=final_index[inside] - torch.tensor([0, first]),
        final_observation=part(final, inside) if bool(inside.any()) else None,
    )


def _of_states(mdp: MDP, table: FloatArray) -> FloatArray:
    """Rows for observations to rows for states, flattened; zeros for observations that the agent's environment never shows."""
    flat = table.reshape(len(table), prod(table.shape[1:]))
    return np.pad(flat, ((0, mdp.num_observations - len(flat)), (0, 0)))[mdp.observation]


def _pass_on(head: Any, columns: slice) -> None:
    """Make a linear layer pass on some of its inputs."""
    head.weight.zero_()
    head.weight[torch.arange(len(head.weight)), torch.arange(columns.start, columns.stop)] = 1.0
    head.bias.zero_()
