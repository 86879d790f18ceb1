"""The network runs, the environment steps: one rollout of every environment.

What the environment gives is looked at before anything is learned from it: `check` names the environment, the step and the part that is not
finite, and a wrong shape or a missing last observation is named at once.

Axes are time-major: (num_steps, num_envs). Outputs are held for each environment; a first step starts from outputs drawn from h_0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor

from optioncoagent.agents.actions import Actions
from optioncoagent.agents.distributions import draw, sample
from optioncoagent.agents.environments import autoreset_mode
from optioncoagent.agents.heads import Linear
from optioncoagent.agents.last import LastObservations
from optioncoagent.agents.modules import CoagentModule
from optioncoagent.agents.moved import Key, Values, changed, values_of
from optioncoagent.agents.observations import ObservationSpec, Tensors, fault_of
from optioncoagent.agents.places import Places
from optioncoagent.agents.sweep import at_configuration, configuration, gate
from optioncoagent.agents.torch_state import derive_seed
from optioncoagent.network import CoagentNetwork, LocalState

Outputs = dict[str, Tensor]  # {coagent: (n,) int, or (n, size) numbers of a Gaussian}


@dataclass
class Rollout:
    """What happened, in tensors (num_steps, num_envs, ...).

    observation: leaves. start: first step of an episode? valid: was the action taken (False for the reset step of a NEXT_STEP
    environment)? age: steps since the episode began. previous, outputs, executed: {coagent: tensor}. reward. terminated, truncated:
    how step t ended. last: leaves (num_envs, ...), the observations after the last step; final_index: (k, 2), the (t, i) of truncated
    steps, and final_observation their leaves (k, ...), the observations on which they ended. hidden: (num_steps + 1, num_envs, ...), the
    hidden state before each step and after the last, None for a network without recurrence. places: (num_steps + 1, num_envs, k), where
    each environment was before each step and after the last, if somebody asked. scale: what the rewards have been divided by.
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
    hidden: Tensor | None = None
    places: np.ndarray | None = None
    scale: float = 1.0


@dataclass
class Running:
    """Everything about the environments that goes on from one rollout to the next.

    broken: may the environments be somewhere else than is noted here, because an interrupt or an error has left a rollout in mid-step, or
    because somebody else has reset or stepped them (`watch`)? The next rollout then starts new episodes. moving: which attributes a step
    changes, of an environment that was given as an object; left: what they were when the last rollout ended: if they are others when the
    next one begins, somebody else has moved it. places: what tells where the environments are, if somebody wants to know.
    """

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
    broken: bool = False
    moving: set[Key] = field(default_factory=set)
    left: Values = field(default_factory=dict)
    places: Places | None = None


class Sampler:
    """One source of randomness for each coagent, so that adding one does not change what the others draw."""

    def __init__(self, network: CoagentNetwork, seed: int, device: torch.device | str):
        self.network = network
        self.device = device
        self.generators = {name: torch.Generator(device).manual_seed(derive_seed(seed, name)) for name in network.names}
        self.laws = {c.name: torch.as_tensor(network.initial(c.name), device=device)[:, None] for c in network.counted}
        self.normals = {name: gaussian.size for name, gaussian in network.gaussians.items()}

    def uniforms(self, num_steps: int, n: int) -> Tensor:
        """All that so many steps of n environments need, (num_steps, coagents, 3 + size, n): for an output, for whether the coagent
        executes, and for its output before a first step; then standard normals, as many as the largest Gaussian has numbers."""
        kind: Any = dict(dtype=torch.float32, device=self.device)  # whatever torch's default is
        parts = [torch.rand(num_steps, 3, n, generator=generator, **kind) for generator in self.generators.values()]
        uniforms, size = torch.stack(parts, dim=1), max(self.normals.values(), default=0)
        if not size:
            return uniforms
        normals = torch.zeros(num_steps, len(parts), size, n, **kind)
        for k, (name, generator) in enumerate(self.generators.items()):
            if name in self.normals:
                normals[:, k, : self.normals[name]].normal_(generator=generator)
        return torch.cat([uniforms, normals], dim=2)

    def initial(self, uniforms: Tensor) -> Outputs:
        """Outputs before the first step that anybody can see, drawn from h_0 with the uniforms (coagents, …, n) of one step."""
        of = dict(zip(self.network.names, uniforms, strict=True))
        return {name: draw(law, of[name][2]) for name, law in self.laws.items()}


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

    features (n, f) of the observations `state`; heads: `module.heads()`; uniforms (coagents, …, n) of `Sampler`. deterministic: the most
    likely output of each policy; gates are still sampled.
    """
    network = module.network
    readout = module.readout(features, heads)
    outputs: Outputs = {}
    executed: Outputs = {}
    for k, (name, uniform) in enumerate(zip(network.names, uniforms, strict=True)):
        logits = at_configuration(module.logits(name, readout), configuration(network, name, outputs, previous))
        logits = module.terms.added(name, logits, outputs, previous)
        output = sample(network.coagents[k], logits, uniform, deterministic)
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
    """Step every environment `num_steps` times. Changes `running` to where the next rollout begins.

    Raises ValueError for observations, rewards or endings of a wrong shape, and where the last observation of a truncated episode is
    missing.
    """
    network, env, n = module.network, running.env, len(running.start)
    same_step = autoreset_mode(env) == AutoresetMode.SAME_STEP
    device = running.start.device
    uniforms, heads, hidden = sampler.uniforms(num_steps, n), module.heads(), [running.hidden]
    actions, last = Actions.of(env.single_action_space), LastObservations(env, spec, device)
    steps: list[dict[str, Any]] = []
    running.finished, running.seconds = [], 0.0
    if running.broken or changed(running.left, values_of(env)):
        _restart(running, spec)
    before = values_of(env)
    places = [np.array(running.places())] if running.places else []  # copied: an environment may give its own
    for t in range(num_steps):
        # the coagents run
        previous, state = running.outputs, spec.state(running.observation)
        if bool(running.start.any()):
            initial = sampler.initial(uniforms[t])
            previous = {name: torch.where(running.start, drawn, previous[name]) for name, drawn in initial.items()}
        features, after = module.features(state, running.start, running.hidden)
        outputs, executed = tick(module, features, heads, uniforms[t], state, running.start, previous)
        hidden.append(after)

        # the environment steps
        action = actions.taken(network, outputs)
        running.broken = True  # until all of this step is noted
        if same_step:
            last.before_step()
        began = perf_counter()
        observation, reward, terminated, truncated, info = step(env, action, spec)
        running.seconds += perf_counter() - began
        shown, paid = spec.tensors(observation, device), reward  # a reset step's reward is of no episode
        if not same_step:
            paid = np.where(running.valid.cpu().numpy(), reward, 0.0)
        now = values_of(env)
        running.moving |= changed(before, now)
        before = now
        steps.append(
            dict(
                observation=running.observation,
                start=running.start,
                valid=running.valid,
                age=running.age,
                previous=previous,
                outputs=outputs,
                executed=executed,
                reward=torch.from_numpy(paid),
                terminated=torch.from_numpy(terminated),
                truncated=torch.from_numpy(truncated),
            )
        )

        # endings
        ended = terminated | truncated
        running.episode_return += paid
        for i in np.flatnonzero(ended):
            running.finished.append((float(running.episode_return[i]), int(running.age[i]) + 1))
            running.episode_return[i] = 0.0
        if same_step:
            last.note(t, np.flatnonzero(truncated & ~terminated).tolist(), info)
        ended_now = torch.from_numpy(ended).to(device)
        running.start = ended_now if same_step else ~running.valid
        running.valid = torch.ones_like(ended_now) if same_step else ~ended_now
        running.age = torch.where(running.start, 0, running.age + 1)
        running.outputs, running.hidden = {name: outputs[name] for name in sampler.laws}, after
        running.observation = shown
        if running.places:
            places.append(np.array(running.places()))
        running.broken = False
    running.left = {key: value for key, value in before.items() if key in running.moving}
    stacked = {key: _stack([step[key] for step in steps], device) for key in steps[0]}
    index, final = last.gathered()
    held = None if running.hidden is None else torch.stack([h for h in hidden if h is not None])
    return Rollout(
        **stacked, last=running.observation, final_index=index, final_observation=final, hidden=held,
        places=np.stack(places) if places else None,
    )  # fmt: skip


def step(env: VectorEnv, action: np.ndarray, spec: ObservationSpec) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """A step of the environments, with rewards float64 and endings bool, each (n,). Raises ValueError naming what has another shape."""
    try:
        observation, reward, terminated, truncated, info = env.step(action)
    except Exception:
        _blame_an_observation(env, spec)
        raise
    n = env.num_envs
    return observation, _one_each("reward", reward, n, np.float64), _one_each("terminated", terminated, n, np.bool_), _one_each(
        "truncated", truncated, n, np.bool_), info  # fmt: skip


def _one_each(name: str, given: Any, n: int, dtype: Any) -> np.ndarray:
    array = np.array(given, dtype=dtype)
    if array.size != n:
        raise ValueError(f"the vector environment gave {name} of shape {array.shape}: it must be one for each of {n} environments")
    return array.reshape(n)


def _blame_an_observation(env: VectorEnv, spec: ObservationSpec) -> None:
    """Raise ValueError if one environment of a batch shows what the others' could not be stacked with."""
    for i, shown in enumerate(getattr(env.unwrapped, "_env_obs", ())):  # Gymnasium's own batch in this process
        if shown is not None:
            try:
                spec.tensors(spec.stack([shown]))
            except ValueError as error:
                raise ValueError(f"environment {i}: {error}") from error
            space = env.single_observation_space
            try:
                concatenate(space, [shown], create_empty_array(space))  # type: ignore[arg-type]
            except (TypeError, ValueError) as error:
                raise ValueError(f"environment {i} shows what its observation space {space} does not hold: {error}") from error


def reset(env: VectorEnv, spec: ObservationSpec, seed: int | None = None) -> Any:
    """The first observations. Raises ValueError naming the environment whose observation has another shape than its space."""
    try:
        observation, _ = env.reset(seed=seed)
    except Exception:
        _blame_an_observation(env, spec)
        raise
    return observation


def _restart(running: Running, spec: ObservationSpec) -> None:
    """New episodes in every environment."""
    running.observation = spec.tensors(reset(running.env, spec), running.start.device)
    running.start, running.valid = torch.ones_like(running.start), torch.ones_like(running.valid)
    running.age, running.episode_return = torch.zeros_like(running.age), np.zeros(len(running.start))
    running.broken = False


def watch(running: Running) -> None:
    """Note it if somebody else resets or steps the vector environment, or what it wraps, or puts it somewhere else: the next rollout then
    starts new episodes, with no value from the old ones. (While a rollout steps it, `broken` is set anyway.) By partial functions, not
    closures, so that of a deep copy of both it is noted in the copy."""
    layers = [running.env]
    while isinstance(layers[-1], VectorWrapper):
        layers.append(layers[-1].env)
    for layer, name in product(layers, ("reset", "step", "set_env", "set_state")):
        if callable(call := getattr(layer, name, None)):
            setattr(layer, name, partial(_noted, running, call))


def _noted(running: Running, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    running.broken = True
    return call(*args, **kwargs)


def check(spec: ObservationSpec, rollout: Rollout) -> None:
    """Raise ValueError for what would make the parameters NaN, naming the environment, the step and what it was."""
    fault = fault_of("the reward", rollout.reward)
    if fault is not None:
        (t, i), words = fault
        age = int(rollout.age[t, i]) + 1
    elif (fault := spec.fault(rollout.observation)) is not None:
        (t, i), words = fault
        age = int(rollout.age[t, i])
    elif (fault := spec.fault(rollout.last)) is not None:
        (i,), words = fault
        age = 0 if bool(rollout.terminated[-1, i] | rollout.truncated[-1, i]) else int(rollout.age[-1, i]) + 1
    elif rollout.final_observation is not None and (fault := spec.fault(rollout.final_observation)) is not None:
        (k,), words = fault
        t, i = rollout.final_index[k].tolist()
        age = int(rollout.age[t, i]) + 1
    else:
        return
    raise ValueError(f"environment {i}, after {age} steps of its episode: {words}; nothing was learned from this rollout")


def _stack(parts: list[Any], device: torch.device) -> Any:
    if isinstance(parts[0], dict):
        return {key: _stack([part[key] for part in parts], device) for key in parts[0]}
    return torch.stack(parts).to(device)
