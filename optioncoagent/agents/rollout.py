"""The network runs, the environment steps: one rollout of every environment.

Axes are time-major: (num_steps, num_envs). Outputs are held for each environment; a first step starts from outputs drawn from h_0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from optioncoagent.agents.environments import autoreset_mode
from optioncoagent.agents.modules import CoagentModule, Linear, derive_seed
from optioncoagent.agents.observations import ObservationSpec, Tensors
from optioncoagent.agents.sweep import at_configuration, configuration, gate
from optioncoagent.network import CoagentNetwork, LocalState

Outputs = dict[str, Tensor]  # {coagent: (n,) int}


@dataclass
class Rollout:
    """What happened, in tensors (num_steps, num_envs, ...).

    observation: leaves. start: first step of an episode? valid: was the action taken (False for the reset step of a NEXT_STEP
    environment)? age: steps since the episode began. previous, outputs, executed: {coagent: tensor}. reward. terminated, truncated:
    how step t ended. last: leaves (num_envs, ...), the observations after the last step; final_index: (k, 2), the (t, i) of truncated
    steps, and final_observation their leaves (k, ...), the observations on which they ended. hidden: (num_steps + 1, num_envs, ...), the
    hidden state before each step and after the last, None for a network without recurrence. scale: what the rewards have been divided by.
    """

    observation: Tensors
    start: Tensor
    valid: Tensor
    age: Tensor
    previous: Outputs
    outputs: Outputs
    executed: Outputs
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    last: Tensors
    final_index: Tensor
    final_observation: Tensors | None
    hidden: Tensor | None
    scale: float = 1.0


@dataclass
class Running:
    """Everything about the environments that goes on from one rollout to the next."""

    env: VectorEnv
    observation: Tensors
    start: Tensor
    valid: Tensor
    age: Tensor
    outputs: Outputs
    episode_return: np.ndarray
    hidden: Tensor | None = None
    finished: list[tuple[float, int]] = field(default_factory=list)  # (return, length) of episodes that ended in the last rollout
    seconds: float = 0.0  # spent inside the environment in the last rollout


class Sampler:
    """One source of randomness for each coagent, so that adding one does not change what the others draw."""

    def __init__(self, network: CoagentNetwork, seed: int, device: torch.device | str):
        self.network = network
        self.device = device
        self.generators = {name: torch.Generator(device).manual_seed(derive_seed(seed, name)) for name in network.names}
        self.laws = {name: torch.as_tensor(network.initial(name), device=device)[:, None] for name in network.names}

    def uniforms(self, num_steps: int, n: int) -> Tensor:
        """All that so many steps of n environments need, (num_steps, coagents, 3, n): for an output, for whether the coagent executes,
        and for its output before a first step."""
        parts = [torch.rand(num_steps, 3, n, generator=generator, device=self.device) for generator in self.generators.values()]
        return torch.stack(parts, dim=1)

    def initial(self, uniforms: Tensor) -> Outputs:
        """Outputs before the first step, drawn from h_0 with the uniforms (coagents, 3, n) of one step."""
        return {name: draw(law, uniform[2]) for (name, law), uniform in zip(self.laws.items(), uniforms, strict=True)}


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Sample from probabilities (outputs, n) or (outputs, 1) by inversion, (n,) int."""
    return (probabilities.cumsum(dim=0)[:-1] <= uniform).sum(dim=0)


def tick(
    module: CoagentModule,
    features: Tensor,
    heads: Linear,
    uniforms: Tensor,
    state: Any,
    start: Tensor,
    previous: Outputs,
    deterministic: bool = False,
) -> tuple[Outputs, Outputs]:
    """Run the coagents once, in order: {name: outputs (n,)}, {name: executed (n,) bool}.

    features (n, f) of the observations `state`; heads: `module.heads()`; uniforms (coagents, 3, n) of `Sampler`. deterministic: argmax of
    each policy; gates are still sampled.
    """
    network = module.network
    readout = module.readout(features, heads)
    outputs: Outputs = {}
    executed: Outputs = {}
    for k, (name, uniform) in enumerate(zip(network.names, uniforms, strict=True)):
        logits = at_configuration(module.logits(name, readout), configuration(network, name, outputs, previous))
        output = logits.argmax(dim=0) if deterministic else draw(logits.softmax(dim=0), uniform[0])
        beta = gate(network, k, LocalState(start, state, outputs, previous), logits.dtype)
        if isinstance(beta, float) and beta == 1.0:
            executes = torch.ones_like(start)
        else:
            executes = uniform[1] < beta
            output = torch.where(executes, output, previous[name])
        outputs[name], executed[name] = output, executes
    return outputs, executed


@torch.no_grad()
def collect(module: CoagentModule, sampler: Sampler, spec: ObservationSpec, running: Running, num_steps: int) -> Rollout:
    """Step every environment `num_steps` times. Changes `running` to where the next rollout begins."""
    network, env, n = module.network, running.env, len(running.start)
    same_step = autoreset_mode(env) == AutoresetMode.SAME_STEP
    device = running.start.device
    uniforms, heads, hidden = sampler.uniforms(num_steps, n), module.heads(), [running.hidden]
    steps: list[dict[str, Any]] = []
    final_index: list[tuple[int, int]] = []
    final_observations: list[Any] = []
    running.finished, running.seconds = [], 0.0
    for t in range(num_steps):
        # the coagents run
        previous, state = running.outputs, spec.state(running.observation)
        if bool(running.start.any()):
            initial = sampler.initial(uniforms[t])
            previous = {name: torch.where(running.start, initial[name], previous[name]) for name in network.names}
        features, running.hidden = module.features(state, running.start, running.hidden)
        outputs, executed = tick(module, features, heads, uniforms[t], state, running.start, previous)
        hidden.append(running.hidden)

        # the environment steps
        action = network.joint_action(outputs).cpu().numpy() + env.single_action_space.start  # type: ignore[attr-defined]
        began = perf_counter()
        observation, reward, terminated, truncated, info = env.step(action)
        running.seconds += perf_counter() - began
        steps.append(
            dict(
                observation=running.observation,
                start=running.start,
                valid=running.valid,
                age=running.age,
                previous=previous,
                outputs=outputs,
                executed=executed,
                reward=torch.from_numpy(np.asarray(reward, dtype=np.float64)),
                terminated=torch.from_numpy(terminated.copy()),
                truncated=torch.from_numpy(truncated.copy()),
            )
        )

        # endings: where SAME_STEP has already reset, the last observation of a truncated episode is in info
        ended = terminated | truncated
        running.episode_return += reward
        for i in np.flatnonzero(ended):
            running.finished.append((float(running.episode_return[i]), int(running.age[i]) + 1))
            running.episode_return[i] = 0.0
            if same_step and not terminated[i]:
                final_index.append((t, int(i)))
                final_observations.append(info["final_obs"][i])
        ended_now = torch.from_numpy(ended).to(device)
        running.start = ended_now if same_step else ~running.valid
        running.valid = torch.ones_like(ended_now) if same_step else ~ended_now
        running.age = torch.where(running.start, 0, running.age + 1)
        running.outputs = outputs
        running.observation = spec.tensors(observation, device)
    stacked = {key: _stack([step[key] for step in steps], device) for key in steps[0]}
    final = spec.tensors(spec.stack(final_observations), device) if final_observations else None
    index = torch.tensor(final_index, dtype=torch.long, device=device).reshape(-1, 2)
    held = None if running.hidden is None else torch.stack([h for h in hidden if h is not None])
    return Rollout(**stacked, last=running.observation, final_index=index, final_observation=final, hidden=held)


def _stack(parts: list[Any], device: torch.device) -> Any:
    if isinstance(parts[0], dict):
        return {key: _stack([part[key] for part in parts], device) for key in parts[0]}
    return torch.stack(parts).to(device)
