"""Claim: most of MiniGrid's hardest tasks are learned in ten minutes of one core, from rollouts that are large or grow.

    python benchmarks/large_rollouts.py [--tasks LockedRoom …] [--counts observation place] [--sizes 256] [--devices cpu] [--seeds 1]
        [--seconds 600] [--workers 1] [--table]

Four options by the default now, and the flat agent by the same ("flat"); by the defaults before, without a limit of an update's KL
(`rows.UNLIMITED`) and growing as it did (`rows.EXPECTED`); and by this with 16 environments and rollouts of one size, 256 environments for
64 steps in 16 minibatches, or 1024 in 32 with layers of 256 units, with four passes over each rollout. A run ends after its seconds: of CPU
time on a cpu, of the clock on another device. A row, in large_rollouts.csv beside this file, holds the frames and seconds at which the mean
return of the last 100 episodes first reached 0.1, 0.2, …, the mean at the end, and that of 50 evaluation episodes. What
has a row is not run again. Means count once every environment has made the steps of a longest episode: the first hundred of a thousand to
end are those that succeed by chance.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import rows
import tyro

import optioncoagent as oc

ROWS = Path(__file__).with_suffix(".csv")
TASKS = "LockedRoom DoorKey-16x16 ObstructedMaze-1Dlhb ObstructedMaze-2Dlhb KeyCorridorS6R3 MemoryS13".split()
LEVELS = [level / 10 for level in range(1, 10)]
SIZES: dict[str, dict[str, Any]] = {
    "16": rows.SIXTEEN,
    "growing": rows.EXPECTED,
    "no limit": rows.UNLIMITED,
    "now": {},
    "flat": dict(num_options=1),
    "256": rows.EXPECTED | dict(num_envs=256, num_steps=64, num_minibatches=16, update_epochs=4),
    "1024": rows.EXPECTED | dict(num_envs=1024, num_steps=64, num_minibatches=32, update_epochs=4, hidden_sizes=(256, 256)),
}


@dataclass(frozen=True)
class Run:
    task: str
    counts: str
    size: str
    device: str
    seed: int


def train(run: Run, limit: float) -> tuple[Run, rows.Result]:
    clock = time.process_time if run.device == "cpu" else time.perf_counter
    settings = SIZES[run.size] | dict(int_counts=run.counts, device=run.device, seed=run.seed)
    agent, began, reached = oc.OptionCritic(f"MiniGrid-{run.task}-v0", **settings), clock(), dict[float, tuple[int, float]]()
    settled = agent.num_envs * gym.make(f"MiniGrid-{run.task}-v0").unwrapped.max_steps

    def note(agent: Any, row: dict[str, float]) -> bool:
        for level in LEVELS:
            if agent.num_timesteps >= settled and row["return_mean"] >= level:
                reached.setdefault(level, (agent.num_timesteps, clock() - began))
        return clock() - began < limit

    agent.learn(10**9, callback=note, progress_bar=False)
    last = float(np.mean([episode_return for episode_return, _ in agent.recent]))
    result: dict[str, float] = dict(frames=agent.num_timesteps, seconds=round(clock() - began, 1), last=round(last, 3))
    result["final_return"] = round(float(np.mean(agent.evaluate(50).returns)), 3)
    for level in LEVELS:
        frames, seconds = reached.get(level, (float("inf"), float("inf")))
        result |= {f"frames_{level}": frames, f"seconds_{level}": round(seconds, 1)}
    return run, result


def table() -> None:
    """Every row: millions of frames and seconds until the highest level that it reached, and the returns at the end."""
    print("| task | counted | environments | device | seed | level | frames | seconds | evaluation | after |\n" + "|---" * 10 + "|")
    for run, row in rows.read(ROWS, Run).items():
        best = max([level for level in LEVELS if np.isfinite(row[f"frames_{level}"])], default=None)
        shown = "- | ∞ | ∞" if best is None else f"{best} | {row[f'frames_{best}'] / 1e6:.1f} M | {row[f'seconds_{best}']:.0f}"
        after = f"{row['frames'] / 1e6:.1f} M, {row['seconds']:.0f} s"
        print(f"| {run.task} | {run.counts} | {run.size} | {run.device} | {run.seed} | {shown} | {row['final_return']:.2f} | {after} |")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(TASKS)
    """Of MiniGrid, without its prefix and version."""
    counts: tuple[str, ...] = ("observation", "place")
    """What the bonus counts."""
    sizes: tuple[str, ...] = ("256",)
    """Of SIZES."""
    devices: tuple[str, ...] = ("cpu",)
    """Of torch."""
    seeds: int = 1
    """Run seeds below this."""
    seconds: float = 600
    """What a run may take."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs = [
        Run(task, counts, size, device, seed)
        for seed in range(command.seeds)
        for device in command.devices
        for size in command.sizes
        for task in command.tasks
        for counts in command.counts
    ]
    if not command.table:
        rows.fill(ROWS, runs, partial(train, limit=command.seconds), command.workers)
    table()


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
