"""Claim: an agent that remembers solves MiniGrid-Memory, where what is seen at the start says which way to turn at the end.

    python benchmarks/memory.py [--tasks MemoryS7 …] [--agents none "gated units" "memory coagent"] [--seeds 3] [--workers 1] [--table]

Four options with no memory, with gated recurrent units (`recurrent_size=64`, learned by backpropagation through time), and with a memory
coagent of four outputs (`gallery.with_memory`, learned by its own local gradient, nothing through time: its form is score with the sampled
return, as the critic cannot tell what is remembered); the rest as by default then (`rows.EXPECTED`). Rows go to memory.csv beside this
file; runs whose row is there are not run again. A row holds the mean return of 100 evaluation episodes after the frames of the budget, and
the frames at which the mean return of the last 100 episodes first was 0.9, infinite if never. An agent that cannot remember is right every
second time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro

import optioncoagent as oc
from optioncoagent.gallery import with_memory

ROWS = Path(__file__).with_suffix(".csv")
TASKS = ("MemoryS7", "MemoryS11")
FRAMES, TARGET, EPISODES = 500_000, 0.9, 100


def remembering(num_actions: int) -> oc.CoagentNetwork:
    return with_memory(oc.option_critic(4, num_actions), 4, readers=("option", "action"))


def make(agent: str, task: str, seed: int) -> oc.CoagentActorCritic:
    env_id = f"MiniGrid-{task}-v0"
    if agent == "memory coagent":
        settings: dict[str, Any] = rows.EXPECTED | dict(gae_lambda=1.0, sampled_returns=True)
        return oc.CoagentActorCritic(env_id, remembering, forms={"memory": "score"}, seed=seed, **settings)
    return oc.OptionCritic(env_id, seed=seed, recurrent_size=64 if agent == "gated units" else 0, **rows.EXPECTED)


AGENTS = ("none", "gated units", "memory coagent")


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, solved = time.perf_counter(), float("inf")
    agent = make(run.agent, run.task, run.seed)
    while agent.num_timesteps < FRAMES:
        row = agent.update()
        if np.isinf(solved) and len(agent.recent) == EPISODES and row["return_mean"] >= TARGET:
            solved = agent.num_timesteps
    final = float(np.mean(agent.evaluate(EPISODES).returns))
    seconds = round(time.perf_counter() - began, 1)
    return run, dict(frames=agent.num_timesteps, solved_at=solved, final_return=round(final, 4), seconds=seconds)


def table(results: dict[Run, dict[str, float]]) -> None:
    for task, agent in dict.fromkeys((run.task, run.agent) for run in results):
        found = [results[run] for run in sorted(results, key=lambda run: run.seed) if (run.task, run.agent) == (task, agent)]
        frames = " ".join(f"{row['solved_at'] / 1000:.0f}k" if np.isfinite(row["solved_at"]) else "∞" for row in found)
        returns = " ".join(f"{row['final_return']:.2f}" for row in found)
        print(f"{task:12}{agent:16}{returns:28}{frames}")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = TASKS
    """Of MiniGrid, without its prefix and version."""
    agents: tuple[str, ...] = AGENTS
    """What remembers."""
    seeds: int = 3
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs = [Run(task, agent, seed) for seed in range(command.seeds) for task in command.tasks for agent in command.agents]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table(rows.read(ROWS, Run))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
