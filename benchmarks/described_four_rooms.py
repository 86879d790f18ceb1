"""Claim: in four rooms a network that is only described, learned by local gradients alone, ends no worse than option-critic's own loop.

    python benchmarks/described_four_rooms.py [--tune] [--agents "4 options" …] [--threads 2] [--table]

The experiment of transfer_four_rooms.py (dynamics "code"; the goal moves after 1,000 of 2,000 episodes), where agents have a
loop of their own that knows what an option is. Here each agent is a network of the gallery, and `simulate.actor_critic` trains it: a critic
v(s) and eligibility traces, every coagent, terminations and the policy over options included, by its own score times the same δ. Step sizes
of all policies and of the critic, and the decay of traces: those of a grid of 4 x 3 x 2 (--tune, 40 runs each, seed 1) with the fewest
steps in the last 100 episodes, for each agent by itself, flat ones too. Then ten other seeds of 35 runs, agents that go on after the move.
Rows go to described_four_rooms.csv; runs whose row is there are not run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro

from optioncoagent.experiments.problems import fewest_steps, four_rooms
from optioncoagent.gallery import option_critic, stochastic_layers
from optioncoagent.network import CoagentNetwork
from optioncoagent.simulate import actor_critic
from optioncoagent.simulate.actor_critic import ActorCriticTrials

ROWS = Path(__file__).with_suffix(".csv")
EPISODES, RUNS, SEEDS, MAX_STEPS = 1000, 35, 10, 1000
ACTIONS = 4
AGENTS: dict[str, Callable[[], CoagentNetwork]] = {
    "flat": lambda: stochastic_layers((), ACTIONS),
    "flat, second in the search": lambda: stochastic_layers((), ACTIONS),
    "4 options": lambda: option_critic(4, ACTIONS),
    "4 options, cost 0.1": lambda: option_critic(4, ACTIONS, deliberation_cost=0.1),
}
Sizes = tuple[float, float, float]  # step sizes of policies and critic, decay of traces
GRID: list[Sizes] = [(policy, critic, decay) for policy in (0.5, 1.0, 2.0, 4.0) for critic in (0.05, 0.1, 0.3) for decay in (0.0, 0.7)]
# what --tune printed
TUNED: dict[str, Sizes] = {
    "flat": (1.0, 0.1, 0.0),
    "flat, second in the search": (2.0, 0.1, 0.7),
    "4 options": (2.0, 0.1, 0.0),
    "4 options, cost 0.1": (2.0, 0.1, 0.0),  # not searched: those without the cost
}


@dataclass(frozen=True)
class Run:
    agent: str
    seed: int


def steps_around(mdps: Any, network: CoagentNetwork, sizes: Sizes, runs: int, seed: int, threads: int) -> tuple[Any, Any, Any]:
    """Steps of each episode before and after the move, (runs, episodes) each, and the index of each run's new goal."""
    moved = np.random.default_rng(seed).integers(1, len(mdps), size=runs)

    def train(goal: int, trials: int, seed: int, after: ActorCriticTrials | None) -> ActorCriticTrials:
        return actor_critic(mdps[goal], network, EPISODES, *sizes, trials, seed, max_steps=MAX_STEPS, threads=threads, after=after)

    first = train(0, runs, seed, None)
    steps = np.zeros_like(first.steps)
    for goal in np.unique(moved):
        its = np.flatnonzero(moved == goal)
        part = replace(first, params={name: x[its] for name, x in first.params.items()}, values=first.values[its])
        steps[its] = train(int(goal), len(its), seed + int(goal), part).steps
    return first.steps, steps, moved


def tune(agents: tuple[str, ...], threads: int) -> None:
    mdps = four_rooms("code")
    for agent in agents:
        found = {}
        for sizes in GRID:
            _, after, _ = steps_around(mdps, AGENTS[agent](), sizes, 40, 1, threads)
            found[sizes] = after[:, -100:].mean()
        print(agent, min(found, key=lambda sizes: found[sizes]), " ".join(f"{sizes}: {x:.1f}" for sizes, x in found.items()), flush=True)


def fill(agents: tuple[str, ...], threads: int) -> None:
    mdps, there = four_rooms("code"), rows.read(ROWS, Run)
    for run in [Run(agent, seed) for seed in range(100, 100 + SEEDS) for agent in agents]:
        if run not in there:
            before, after, _ = steps_around(mdps, AGENTS[run.agent](), TUNED[run.agent], RUNS, run.seed, threads)
            parts = {"before": before[:, -100:], "first_100": after[:, :100], "last_100": after[:, -100:]}
            rows.write(ROWS, run, {name: round(float(part.mean()), 3) for name, part in parts.items()})


def table() -> None:
    """Means over the ten seeds of 35 runs each, and half their 95 % interval by Student's t."""
    found, mdps = rows.read(ROWS, Run), four_rooms("code")
    print("| network | step sizes, decay | steps before the move | first 100 episodes | last 100 |\n|---|---|---|---|---|")
    for agent in dict.fromkeys(run.agent for run in found):
        cells = []
        for name in ("before", "first_100", "last_100"):
            x = np.array([row[name] for run, row in found.items() if run.agent == agent])
            cells.append(f"{x.mean():.1f} ± {rows.half_interval(x):.1f}")
        print(f"| {agent} | {', '.join(map(str, TUNED[agent]))} | {' | '.join(cells)} |")
    print(f"| fewest possible | | {fewest_steps(mdps[0]):.1f} | | {np.mean([fewest_steps(mdp) for mdp in mdps[1:]]):.1f} |")


@dataclass(frozen=True)
class Benchmark:
    agents: tuple[str, ...] = tuple(AGENTS)
    """Of AGENTS."""
    tune: bool = False
    """Search the grid of step sizes."""
    threads: int = 2
    """Threads; the results do not depend on them."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    if command.tune:
        tune(command.agents, command.threads)
        return
    if not command.table:
        fill(command.agents, command.threads)
    table()


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
