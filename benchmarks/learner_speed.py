"""Claim: learning from what a coagent network did costs a small multiple of the bare network; acting costs a larger one.

CPU time of learning from one rollout with default settings (sweep, λ-returns, gradient forms, eight epochs of minibatches, metrics) against
forward, backward, clipping and Adam on as many minibatches of a bare network as wide: one that multiplies by all of MiniGrid's indicators,
as plain torch does ("dense"), and one with the agent's own encoder, whose first layer looks up those that are 1 ("looked up"); CPU time
of acting for 32 environments (`collect` less the environments) against the forward passes of each; what the figures of what options say of
actions take of all that; and what the exploration bonus takes of training (learning, acting and environments), for places and for
observations. Least of several updates, on one thread.

    python benchmarks/learner_speed.py [--env-id MiniGrid-DoorKey-5x5-v0] [--minibatches 256 1024] [--num-options 4]
    python benchmarks/learner_speed.py --observation-kinds image grid                    # MiniGrid's codes as numbers
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import tyro
from torch import nn

import optioncoagent as oc
from optioncoagent.agents import degeneracy, learner, rollout
from optioncoagent.agents.exploration import CountBonus, make_bonus
from optioncoagent.agents.rollout import Rollout

NUM_ENVS, NUM_MINIBATCHES, EPOCHS = 32, 8, 8


@dataclass(frozen=True)
class Benchmark:
    env_id: str = "MiniGrid-DoorKey-5x5-v0"
    """Task."""
    minibatches: tuple[int, ...] = (256, 1024)
    """Sizes of minibatches."""
    num_options: int = 4
    """Options."""
    observation_kinds: dict[str, str] = field(default_factory=dict)
    """What parts of the observation are taken for, as in the settings."""
    updates: int = 7
    """Updates of which the least is taken."""


Bare = tuple[nn.Module, list[Any]]  # a network, and the minibatches of a rollout as it takes them


def bare(agent: oc.OptionCritic, seen: Rollout, size: int) -> dict[str, Bare]:
    """Networks as wide as the agent's: as many inputs, units and rows of the readout, on what it has seen."""
    sizes = [sum(leaf.size for leaf in agent.spec.leaves), *agent.settings.hidden_sizes]
    hidden = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    readout = nn.Linear(sizes[-1], len(agent.module.heads()[1]))
    given = agent.module.inputs(agent.spec.state({path: x.flatten(0, 1) for path, x in seen.observation.items()}))
    parts = [{name: x[i * size : (i + 1) * size] for name, x in given.items()} for i in range(NUM_MINIBATCHES)]
    dense = nn.Sequential(*hidden, deepcopy(readout)), list(torch.rand(NUM_MINIBATCHES, size, sizes[0]))
    return {"dense": dense, "looked up": (nn.Sequential(deepcopy(agent.module.encoder), readout), parts)}


def learning(network: nn.Module, minibatches: Sequence[Any]) -> float:
    """CPU seconds of as many steps of Adam as one update takes, on as much data."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-5, fused=True)
    began = time.process_time()
    for x in [*minibatches] * EPOCHS:
        optimizer.zero_grad(set_to_none=True)
        network(x).square().mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
    return time.process_time() - began


@torch.no_grad()
def acting(network: nn.Module, minibatches: Sequence[Any], num_steps: int) -> float:
    """CPU seconds of as many forward passes as one rollout takes."""
    x = minibatches[0]
    x = x[:NUM_ENVS] if isinstance(x, torch.Tensor) else {name: part[:NUM_ENVS] for name, part in x.items()}
    began = time.process_time()
    for _ in range(num_steps):
        network(x)
    return time.process_time() - began


def figures(agent: oc.OptionCritic, seen: Rollout) -> float:
    """CPU seconds of one estimate of what options say of actions."""
    began = time.process_time()
    degeneracy.informations(agent.module, agent.spec, seen)
    return time.process_time() - began


def paying(bonus: CountBonus, seen: Rollout) -> float:
    """CPU seconds of a bonus for one rollout."""
    began = time.process_time()
    bonus(seen)
    return time.process_time() - began


def main(command: Benchmark) -> None:
    torch.set_num_threads(1)
    learner.perf_counter = rollout.perf_counter = time.process_time  # what the agent's own clocks show
    columns = "minibatch", "learning", "dense", "looked up", "acting", "dense", "looked up", "figures", "bonus: places", "observations"
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for size in command.minibatches:
        num_steps = size * NUM_MINIBATCHES // NUM_ENVS
        agent = oc.OptionCritic(
            command.env_id,
            command.num_options,
            num_steps=num_steps,
            num_envs=NUM_ENVS,
            num_minibatches=NUM_MINIBATCHES,
            update_epochs=EPOCHS,
            target_kl=1e9,  # learns from every minibatch
            observation_kinds=command.observation_kinds,
        )
        agent.update()  # compiles the environment
        seen = rollout.collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)
        networks, times, counted = bare(agent, seen, size), [], ("place", "observation")
        bonuses = [make_bonus(replace(agent.settings, int_counts=what), agent.spec, agent.env, NUM_ENVS) for what in counted]
        for _ in range(command.updates):
            row = agent.update()
            seen = rollout.collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)
            spent = {part: row[f"seconds_{part}"] for part in ("learning", "acting", "environment")} | {"figures": figures(agent, seen)}
            for name, (network, minibatches) in networks.items():
                spent |= {f"learning, {name}": learning(network, minibatches), f"acting, {name}": acting(network, minibatches, num_steps)}
            times.append(spent | {what: paying(bonus, seen) for what, bonus in zip(counted, bonuses, strict=True)})
        least = {name: min(spent[name] for spent in times) for name in times[0]}
        cells = [str(size)]
        for part in ("learning", "acting"):
            cells.append(f"{1e6 * least[part] / (num_steps * NUM_ENVS):.1f} µs a frame")
            cells += [f"{least[part] / least[f'{part}, {name}']:.2f} times" for name in networks]
        cells.append(f"{least['figures'] / (least['learning'] + least['acting']):.1%}")
        whole = sum(least[part] for part in ("learning", "acting", "environment"))
        print(f"| {' | '.join([*cells, *(f'{least[what] / whole:.2%}' for what in counted)])} |")


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
