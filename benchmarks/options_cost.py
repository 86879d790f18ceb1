"""Claim: four options need at most 1.1 times the flat agent's frames on easy MiniGrid tasks.

For each task, agent and seed: frames until the mean return of the last 100 episodes reaches 0.9, or infinity where the limit came first.
Rows go to options_cost.csv beside this file; runs whose row is there are not run again. Printed are the frames of each seed, and for each
agent the median over tasks and seeds of its frames over flat's median on the task, with a bootstrap interval.

    python benchmarks/options_cost.py [--agents flat options] [--only Unlock-v0 …] [--seeds 3] [--workers 1] [--table]
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import tyro

import optioncoagent as oc

ROWS = Path(__file__).with_suffix(".csv")
TASKS = ("Unlock-v0", "SimpleCrossingS9N1-v0", "KeyCorridorS3R1-v0", "Dynamic-Obstacles-6x6-v0", "DoorKey-6x6-v0")
TARGET, LIMIT = 0.9, 300_000
EXTRA = {"flat": "", "options": ""}


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def train(run: Run) -> tuple[Run, dict[str, float]]:
    """Frames to the target (infinite if the limit comes first), the mean return of the last 100 episodes, seconds."""
    began = time.perf_counter()
    name, *more = run.agent.split(" ")
    for key, value in (word.split("=") for word in more if word.isupper() or "HEADS" in word):
        os.environ[key] = value
    kw = {k: float(v) for k, v in (word.split("=") for word in more if "HEADS" not in word)}
    agent = oc.OptionCritic(f"MiniGrid-{run.task}", num_options=1 if name == "flat" else 4, seed=run.seed, int_coef=0.005, **kw)
    frames, row = float("inf"), {"return_mean": float("nan")}
    while agent.num_timesteps < LIMIT and frames == float("inf"):
        row = agent.update()
        if len(agent.recent) == 100 and row["return_mean"] >= TARGET:
            frames = agent.num_timesteps
    for word in more:
        os.environ.pop(word.split("=")[0], None)
    return run, dict(frames=frames, return_mean=round(row["return_mean"], 4), seconds=round(time.perf_counter() - began, 1))


def read() -> dict[Run, float]:
    """Frames of every run that there is."""
    if not ROWS.exists():
        return {}
    with ROWS.open(newline="") as file:
        return {Run(row["task"], row["agent"], int(row["seed"])): float(row["frames"]) for row in csv.DictReader(file)}


def write(run: Run, result: dict[str, float]) -> None:
    row, new = asdict(run) | result, not ROWS.exists()
    with ROWS.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def ratio(frames: dict[Run, float], agent: str, rng: np.random.Generator | None) -> float:
    """Median over tasks and seeds of the frames of `agent` over flat's median on the task; with rng, of tasks and seeds drawn again."""
    found = []
    tasks = [t for t in TASKS if any((r.task, r.agent) == (t, agent) for r in frames)]
    for task in tasks if rng is None else rng.choice(tasks, len(tasks)):
        of = {name: np.array([x for run, x in frames.items() if (run.task, run.agent) == (task, name)]) for name in ("flat", agent)}
        if len(of["flat"]) and len(of[agent]):
            of = of if rng is None else {name: rng.choice(x, len(x)) for name, x in of.items()}
            flat = np.quantile(of["flat"], 0.5, method="higher")
            found += list(of[agent] / min(flat, LIMIT))
    return float(np.quantile(found, 0.5, method="higher")) if found else float("nan")


def table(frames: dict[Run, float]) -> None:
    agents = list(dict.fromkeys(run.agent for run in frames))
    for agent in agents:
        for task in TASKS:
            seeds = sorted((run.seed, x) for run, x in frames.items() if (run.task, run.agent) == (task, agent))
            print(f"{agent:28}{task:26}", "  ".join(f"{x / 1000:.0f}k" for _, x in seeds))
    for agent in agents:
        rng = np.random.default_rng(0)
        low, high = np.quantile([ratio(frames, agent, rng) for _ in range(1000)], [0.025, 0.975], method="nearest")
        unsolved = sum(x == float("inf") for run, x in frames.items() if run.agent == agent)
        print(f"{agent:28} median ratio to flat {ratio(frames, agent, None):.2f} [{low:.2f}, {high:.2f}], {unsolved} unsolved")


@dataclass(frozen=True)
class Benchmark:
    agents: tuple[str, ...] = ("flat", "options")
    only: tuple[str, ...] = TASKS
    seeds: int = 3
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    there = read()
    runs = [Run(task, agent, seed) for seed in range(command.seeds) for task in command.only for agent in command.agents]
    missing = [] if command.table else [run for run in runs if run not in there]
    with multiprocessing.get_context("spawn").Pool(command.workers) as pool:
        for run, result in pool.imap_unordered(train, missing):
            write(run, result)
            print(run, result, flush=True)
    table(read())


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
