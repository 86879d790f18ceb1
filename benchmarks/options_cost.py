"""Claim: with heads that have a common part, four options need about as many frames as the flat agent on easy MiniGrid tasks.

For each task, agent and seed: frames until the mean return of the last 100 episodes reaches 0.9, or infinity where the limit came first,
and how far apart the options are then: the mean total variation between the action policies of two options at the observations that the
environments show. Rows go to options_cost.csv beside this file; runs whose row is there are not run again. Printed are the frames of each
seed and, for each agent, the median over tasks and seeds of its frames over flat's median on the task, with a bootstrap interval over
tasks and seeds.

    python benchmarks/options_cost.py [--agents flat options "plain heads"] [--only Unlock-v0 …] [--seeds 5] [--workers 1] [--table]
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rows
import torch
import tyro

import optioncoagent as oc
from optioncoagent.agents import heads, torch_state

ROWS = Path(__file__).with_suffix(".csv")
TASKS = ("Unlock-v0", "SimpleCrossingS9N1-v0", "KeyCorridorS3R1-v0", "Dynamic-Obstacles-6x6-v0", "DoorKey-6x6-v0")
TARGET, LIMIT = 0.9, 300_000


@dataclass(frozen=True)
class Agent:
    """common: which heads have a common part, "policy" and "critic"; residual: the scale of what each option adds."""

    num_options: int = 4
    common: tuple[str, ...] = ("policy", "critic")
    residual: float = heads.RESIDUAL


AGENTS = {
    "flat": Agent(1),
    "options": Agent(),
    "plain heads": Agent(common=()),
    "common, residual 1": Agent(residual=1.0),
    "common, residual 1/8": Agent(residual=1 / 8),
    "common, residual 0": Agent(residual=0.0),
    "common in policies, residual 1": Agent(common=("policy",), residual=1.0),
    "common in policies, residual 1/4": Agent(common=("policy",)),
    "common in critic, residual 1": Agent(common=("critic",), residual=1.0),
}


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def make(run: Run) -> oc.OptionCritic:
    chosen = AGENTS[run.agent]
    heads.RESIDUAL = chosen.residual
    agent = oc.OptionCritic(f"MiniGrid-{run.task}", num_options=chosen.num_options, seed=run.seed, int_coef=0.005, **rows.BEFORE)
    parts: dict[str, Any] = {**agent.module.policies, "critic": agent.module.critic}
    for name in [name for name in agent.module.common if not name.startswith(chosen.common)]:
        del agent.module.common[name]
        with torch_state.seeded(run.seed, name.removeprefix("policy_")), torch.no_grad():
            parts[name].weight.copy_(heads.Head(parts[name].in_features, parts[name].out_features, 0.01).weight)
    return agent


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began = time.perf_counter()
    agent = make(run)
    frames, row = rows.train_until(agent, TARGET, LIMIT)
    seconds, apart = round(time.perf_counter() - began, 1), round(distance(agent), 4)
    return run, dict(frames=frames, return_mean=round(row["return_mean"], 4), seconds=seconds, apart=apart)


def distance(agent: oc.OptionCritic) -> float:
    """Mean total variation between the action policies of two options, 0 for one option."""
    module, state = agent.module, agent.spec.state(agent.running.observation)
    with torch.no_grad():
        policy = module.logits("action", module.readout(module.features(state)[0])).softmax(dim=1)  # (options, actions, n)
    pairs = max(len(policy) * (len(policy) - 1), 1)
    return float((policy[:, None] - policy[None]).abs().sum(dim=2).mean(dim=-1).sum()) / 2 / pairs


Frames = dict[str, np.ndarray]  # {task: frames of each seed}


def ratio(frames: Frames, flat: Frames, rng: np.random.Generator | None = None) -> float:
    """Median over tasks and seeds of frames over flat's median on the task; with `rng`, of tasks and seeds drawn anew."""
    found: list[float] = []
    tasks = [task for task in frames if task in flat]
    for task in tasks if rng is None else rng.choice(tasks, len(tasks)):
        ours, theirs = (x[task] if rng is None else rng.choice(x[task], len(x[task])) for x in (frames, flat))
        found += list(ours / min(np.quantile(theirs, 0.5, method="higher"), LIMIT))
    return float(np.quantile(found, 0.5, method="higher")) if found else float("nan")


def table(results: dict[Run, dict[str, float]]) -> None:
    frames: dict[str, Frames] = {}
    for run in sorted(results, key=lambda run: run.seed):
        of_task = frames.setdefault(run.agent, {})
        of_task[run.task] = np.append(of_task.get(run.task, []), results[run]["frames"])
    for agent, of_task in frames.items():
        for task in TASKS:
            print(f"{agent:34}{task:26}", "  ".join(f"{x / 1000:.0f}k" for x in of_task.get(task, [])))
    print(f"\n{'agent':34}median ratio to flat and its 95 % interval, runs, unsolved, mean distance of options")
    for agent, of_task in frames.items():
        rng = np.random.default_rng(0)
        drawn = [ratio(of_task, frames.get("flat", {}), rng) for _ in range(2000)]
        low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
        of_runs = np.concatenate([*of_task.values()])
        distances = np.array([row["apart"] for run, row in results.items() if run.agent == agent])
        apart = f"{np.nanmean(distances):.2f}" if np.isfinite(distances).any() else "not measured"
        middle = ratio(of_task, frames.get("flat", {}))
        print(f"{agent:34}{middle:.2f} [{low:.2f}, {high:.2f}]{len(of_runs):5}{np.isinf(of_runs).sum():4}  {apart}")


@dataclass(frozen=True)
class Benchmark:
    agents: tuple[str, ...] = ("flat", "options", "plain heads")
    """Names of AGENTS."""
    only: tuple[str, ...] = TASKS
    """Tasks."""
    seeds: int = 5
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs = [Run(task, agent, seed) for seed in range(command.seeds) for task in command.only for agent in command.agents]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table(rows.read(ROWS, Run))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
