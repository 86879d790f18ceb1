"""Claim: what options are worth when a MiniGrid task changes: frames until the new task is learned, options beside the flat agent.

    python benchmarks/transfer.py [--changes "DoorKey-5x5 DoorKey-8x8" …] [--agents options …] [--seeds 10] [--workers 1] [--table]

Each agent learns the first task for its frames, then the second until the mean return of the last 100 episodes reaches a target, infinite
if the limit comes first. Agents, all with the default setting: four options and the flat agent go on learning everything; "options kept"
keeps its encoder, its options' policies and their terminations and learns the policy over options and the critic alone; "anew" begins
with the second task. Rows go to transfer.csv beside this file; runs whose row is there are not run again.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro

import optioncoagent as oc

ROWS = Path(__file__).with_suffix(".csv")
# {change: (frames of the first task, limit of the second, target)}
CHANGES = {
    "DoorKey-5x5 DoorKey-8x8": (80_000, 300_000, 0.9),
    "MultiRoom-N2-S4 MultiRoom-N4-S5": (80_000, 300_000, 0.65),
    "KeyCorridorS3R1 KeyCorridorS3R2": (120_000, 300_000, 0.8),
    "SimpleCrossingS9N1 LavaCrossingS9N1": (120_000, 300_000, 0.9),
}
AGENTS = ("options", "options kept", "options anew", "flat", "flat anew")
KEPT = ("encoder.", "policies.policy_action.", "policies.policy_termination.", "common.policy_action.", "common.policy_termination.")


@dataclass(frozen=True)
class Run:
    change: str
    agent: str
    seed: int


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began = time.perf_counter()
    first, second = (f"MiniGrid-{task}-v0" for task in run.change.split())
    frames, limit, target = CHANGES[run.change]
    settings: dict[str, Any] = dict(num_options=1 if run.agent.startswith("flat") else 4, seed=run.seed)
    reached, first_return = float("inf"), float("nan")
    if run.agent.endswith("anew"):
        agent = oc.OptionCritic(second, **settings)
    else:
        agent = oc.OptionCritic(first, **settings).learn(frames)
        first_return = float(np.mean([episode_return for episode_return, _ in agent.recent]))
        with tempfile.TemporaryDirectory() as folder:
            agent.save(folder)
            agent = oc.OptionCritic.load(folder, env=second)
    if run.agent == "options kept":
        for name, parameter in agent.module.named_parameters():
            parameter.requires_grad_(not name.startswith(KEPT))
    begin = agent.num_timesteps
    row = {"return_mean": float("nan")}
    while agent.num_timesteps - begin < limit:
        row = agent.update()
        if len(agent.recent) == 100 and row["return_mean"] >= target:
            reached = agent.num_timesteps - begin
            break
    seconds = round(time.perf_counter() - began, 1)
    return run, dict(first_return=round(first_return, 4), frames=reached, return_mean=round(row["return_mean"], 4), seconds=seconds)


def median(values: np.ndarray) -> float:
    """The upper one of two in the middle, so that infinity has no mean with anything."""
    return float(np.sort(values)[len(values) // 2])


def table(results: dict[Run, dict[str, float]]) -> None:
    """Medians over seeds with their 95 % bootstrap interval (percentiles; seeds drawn anew)."""
    print("| change | agent | frames of the second task, seed by seed | median, 95 % |\n|---|---|---|---|")
    for change in CHANGES:
        for agent in AGENTS:
            found = [results[run] for run in sorted(results, key=lambda run: run.seed) if (run.change, run.agent) == (change, agent)]
            if not found:
                continue
            frames, rng = np.array([row["frames"] for row in found]) / 1000, np.random.default_rng(0)
            drawn = [median(rng.choice(frames, len(frames))) for _ in range(2000)]
            ends = np.quantile(drawn, [0.025, 0.975], method="nearest")
            shown = " ".join("∞" if np.isinf(x) else f"{x:.0f}" for x in frames)
            print(f"| {change.replace(' ', ' → ')} | {agent} | {shown} | {median(frames):.0f} [{ends[0]:.0f}, {ends[1]:.0f}] |")


@dataclass(frozen=True)
class Benchmark:
    changes: tuple[str, ...] = tuple(CHANGES)
    """Of CHANGES."""
    agents: tuple[str, ...] = AGENTS
    """Of AGENTS."""
    seeds: int = 10
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs = [Run(change, agent, seed) for seed in range(command.seeds) for change in command.changes for agent in command.agents]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table(rows.read(ROWS, Run))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
