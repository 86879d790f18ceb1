"""Claim: describing what is learned as a coagent network costs little over the bare network.

CPU time of learning from one rollout with default settings (sweep, λ-returns, gradient forms, eight epochs of minibatches, metrics) against
forward, backward, clipping and Adam of a network of the same widths on as many minibatches; CPU time of acting for 16 environments
(`collect` less the environments) against the forward passes of that network; what the figures of what options say of actions take of all
that; and what the exploration bonus takes of training (learning, acting and environments), for places and for observations. Least of
several updates, on one thread.

    python benchmarks/learner_speed.py [--env-id MiniGrid-DoorKey-5x5-v0] [--minibatches 256 1024] [--num-options 4]
    python benchmarks/learner_speed.py --observation-kinds image grid                    # MiniGrid's codes as numbers
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch
import tyro
from torch import nn

import optioncoagent as oc
from optioncoagent.agents import degeneracy, learner, rollout
from optioncoagent.agents.exploration import CountBonus, make_bonus
from optioncoagent.agents.rollout import Rollout

NUM_ENVS, NUM_MINIBATCHES, EPOCHS = 16, 8, 8


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


def bare(agent: oc.OptionCritic) -> nn.Sequential:
    """A network as wide as the agent's: as many inputs, units and rows of the readout."""
    sizes = [sum(leaf.size for leaf in agent.spec.leaves), *agent.settings.hidden_sizes]
    hidden = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], len(agent.module.heads()[1])))


def learning(network: nn.Sequential, size: int) -> float:
    """CPU seconds of as many steps of Adam as one update takes, on as much data."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-5, fused=True)
    minibatches = torch.rand(NUM_MINIBATCHES, size, network[0].in_features)
    began = time.process_time()
    for x in [*minibatches] * EPOCHS:
        optimizer.zero_grad(set_to_none=True)
        network(x).square().mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
    return time.process_time() - began


@torch.no_grad()
def acting(network: nn.Sequential, num_steps: int) -> float:
    """CPU seconds of as many forward passes as one rollout takes."""
    x = torch.rand(NUM_ENVS, network[0].in_features)
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
    columns = "minibatch", "learning, bare", "agent", "ratio", "acting, bare", "agent", "ratio", "figures", "bonus: places", "observations"
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
        network, times, counted = bare(agent), [], ("place", "observation")
        bonuses = [make_bonus(replace(agent.settings, int_counts=what), agent.spec, agent.env, NUM_ENVS) for what in counted]
        for _ in range(command.updates):
            row = agent.update()
            seen = rollout.collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)
            ours, theirs = (
                [row[f"seconds_{part}"] for part in ("learning", "acting")],
                (learning(network, size), acting(network, num_steps)),
            )
            spent = figures(agent, seen), row["seconds_environment"], *(paying(bonus, seen) for bonus in bonuses)
            times.append((theirs[0], ours[0], theirs[1], ours[1], *spent))
        least = [min(part) for part in zip(*times, strict=True)]
        frames = num_steps * NUM_ENVS
        shown = [f"{1e6 * seconds / frames:.2f} µs a frame" for seconds in least]
        ratios = f"{least[1] / least[0]:.2f}", f"{least[3] / least[2]:.2f}", f"{least[4] / (least[1] + least[3]):.1%}"
        shares = [f"{seconds / (least[1] + least[3] + least[5]):.2%}" for seconds in least[6:]]
        cells = (size, *shown[:2], ratios[0], *shown[2:4], *ratios[1:], *shares)
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
