"""Claim: with the default settings what is learned on MiniGrid does not always stay learned; which settings keep it.

    python benchmarks/steadiness.py [--tasks DoorKey-5x5 …] [--agents default …] [--seeds 3] [--workers 1] [--table]

Four options, the task's frames, no early stop. Agents: the default now; the one before, without a limit of an update's KL; before it, with
expectations in λ-returns and an encoder that all coagents shape; the default before rollouts grew (indicators of MiniGrid's codes, a bonus
for places), and this with one thing changed: a bonus for observations; codes as numbers; half the step size of Adam, or one that goes to
zero; indicators scaled by half as much. Rows go to steadiness.csv beside this file; runs whose row is there are not run again. A row holds
the frames at which the mean return of the last 100 episodes first was the target, its mean and least over the updates after the first third
of the frames, the share of these updates in which it was below the target, and the mean return of 100 evaluation episodes at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro

import optioncoagent as oc
from optioncoagent.agents import encoder

ROWS = Path(__file__).with_suffix(".csv")
# {task: (frames, target)}
TASKS = {
    "DoorKey-5x5": (200_000, 0.9),
    "MultiRoom-N6": (700_000, 0.5),
    "RedBlueDoors-6x6": (200_000, 0.8),
    "Unlock": (200_000, 0.85),
    "KeyCorridorS3R2": (600_000, 0.85),
    "UnlockPickup": (600_000, 0.8),
    "FourRooms": (600_000, 0.45),
    "Empty-8x8": (200_000, 0.9),
    "DoorKey-6x6": (200_000, 0.85),
    "DistShift1": (200_000, 0.85),
    "MultiRoom-N4-S5": (300_000, 0.7),
}
AGENTS: dict[str, dict[str, Any]] = {
    "now": {},
    "no limit": rows.UNLIMITED,
    "growing rollouts": rows.EXPECTED,
    "default": rows.SIXTEEN,
    "observations": rows.SIXTEEN | dict(int_counts="observation"),
    "numbers": rows.SIXTEEN | dict(observation_kinds={"image": "grid"}),
    "numbers, observations": rows.BEFORE,
    "half the step": rows.SIXTEEN | dict(learning_rate=5e-4),
    "falling step": rows.SIXTEEN | dict(anneal_lr=True),
    "scaled by a quarter": rows.SIXTEEN,
}
SCALES = {"scaled by a quarter": 0.25}


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def train(run: Run) -> tuple[Run, dict[str, float]]:
    limit, target = TASKS[run.task]
    encoder.SCALE["cells"] = SCALES.get(run.agent, 0.5)
    agent, first, means = oc.OptionCritic(f"MiniGrid-{run.task}-v0", seed=run.seed, **AGENTS[run.agent]), [float("inf")], list[float]()

    def note(agent: Any, row: dict[str, float]) -> None:
        if np.isinf(first[0]) and len(agent.recent) == 100 and row["return_mean"] >= target:
            first[0] = agent.num_timesteps
        if agent.num_timesteps > limit / 3:
            means.append(row["return_mean"])

    agent.learn(limit, callback=note, progress_bar=False)
    after = np.array(means)
    final = float(np.mean(agent.evaluate(100).returns))
    numbers = dict(mean=after.mean(), least=after.min(), below=(after < target).mean(), final_return=final)
    return run, {"frames": first[0]} | {name: round(float(x), 3) for name, x in numbers.items()}


def table(results: dict[Run, dict[str, float]]) -> None:
    columns = ("frames", "mean", "least", "below", "final_return")
    for task, agent in dict.fromkeys((run.task, run.agent) for run in sorted(results, key=lambda run: run.task)):
        found = [results[run] for run in sorted(results, key=lambda run: run.seed) if (run.task, run.agent) == (task, agent)]
        print(f"{task:14}{agent:24}" + "".join(f"{' '.join(f'{row[c]:g}' for row in found):24}" for c in columns))


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(TASKS)
    """Of MiniGrid, without its prefix and version."""
    agents: tuple[str, ...] = tuple(AGENTS)
    """Of AGENTS."""
    seeds: int = 3
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are: of each seed frames, mean, least, share below, evaluation."""


def main(command: Benchmark) -> None:
    runs = [Run(task, agent, seed) for task in command.tasks for seed in range(command.seeds) for agent in command.agents]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table(rows.read(ROWS, Run))
    rows.print_sooner(rows.read(ROWS, Run), "agent", "default")


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
