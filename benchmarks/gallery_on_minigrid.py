"""Claim: every kind of options in the gallery learns MiniGrid by the default setting; which of them needs fewest frames is measured here.

    python benchmarks/gallery_on_minigrid.py [--tasks DoorKey-8x8 …] [--agents flat …] [--seeds 5] [--workers 1] [--table]

Six tasks of minigrid_suite.py, each until the mean return of the last 100 episodes reaches that at which it counts as learned there,
infinite if the frames of its stage come first. One agent for each kind, always with four options where there are any, described by a
function of `optioncoagent.gallery` and trained by the same learner with the same settings: nothing was tuned for any of them. Rows of the
flat agent and of option-critic are those of minigrid_suite.py.

    flat                     no options
    option-critic            termination, choice and actions learned (Bacon et al.)
    deliberation cost        0.01 for each new choice (Harb et al.)
    two levels               two options of two options each
    double actor-critic      drawn at every step, by a policy that knows the option before (Zhang and Whiteson)
    at every step            drawn at every step, whatever it was: four heads, no persistence
    by chance                a new choice with probability 1/4
    clock                    a new choice when a clock of four phases shows the first; the law of the phases is learned
    initiation               a coagent for each option says whether it is available here (after Khetarpal et al.)
    feed-forward             two layers of four; an option is a node of its layer (Zini et al.)
    feed-forward, shared     the same, with one termination and one policy for both layers
    memory                   option-critic, and a memory of four values that every coagent reads
    gated action             option-critic, and a gate that lets the last action be repeated; the gate is learned
    flat, gated action       the gate alone

Rows go to gallery_on_minigrid.csv beside this file; runs whose row is there are not run again. Printed are, for each agent, the thousand
frames of each seed, how many runs learned, for how many steps it is the same option, and the probability that it is sooner than the flat
agent, and than option-critic, with the interval of these tasks (`statistics.sooner`). Of two levels or layers it is the lower one's option;
the same action, where a gate holds it and there are no options; unknown where nothing lasts, and of the suite's rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import minigrid_suite
import numpy as np
import rows
import tyro

import optioncoagent as oc
from optioncoagent import gallery

ROWS = Path(__file__).with_suffix(".csv")
# {task: (limit, target)}
TASKS = {
    "DoorKey-5x5": (200_000, 0.85),
    "LavaGapS7": (200_000, 0.85),
    "DoorKey-8x8": (600_000, 0.9),
    "MultiRoom-N4-S5": (600_000, 0.7),
    "LavaCrossingS9N1": (600_000, 0.85),
    "KeyCorridorS3R2": (600_000, 0.85),
}
FLAT, OPTIONS = "flat", "option-critic"
OF_THE_SUITE = {FLAT: "flat", OPTIONS: "options"}
# {agent: its network, from the number of actions}
AGENTS: dict[str, Callable[[int], oc.CoagentNetwork]] = {
    FLAT: lambda n: oc.option_critic(1, n),
    OPTIONS: lambda n: oc.option_critic(4, n),
    "deliberation cost": lambda n: oc.option_critic(4, n, deliberation_cost=0.01),
    "two levels": lambda n: oc.option_critic((2, 2), n),
    "double actor-critic": lambda n: gallery.double_actor_critic(4, n),
    "at every step": lambda n: gallery.always_terminating(4, n),
    "by chance": lambda n: gallery.random_length(4, n, mean_length=4),
    "clock": lambda n: gallery.clocked_options(4, n, num_phases=4),
    "initiation": lambda n: gallery.initiation_sets(4, n),
    "feed-forward": lambda n: gallery.feed_forward_options((4, 4), n),
    "feed-forward, shared": lambda n: gallery.feed_forward_options((4, 4), n, shared=True),
    "memory": lambda n: gallery.with_memory(oc.option_critic(4, n), 4),
    "gated action": lambda n: gallery.with_gate(oc.option_critic(4, n), "action"),
    "flat, gated action": lambda n: gallery.with_gate(gallery.stochastic_layers((), n), "action"),
}
LENGTHS = ("option_2/run_length", "option/run_length", "action/run_length")  # of what lasts, the lowest level first


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


Results = dict[Run, dict[str, float]]


def make(run: Run) -> oc.CoagentActorCritic:
    """The action learns in the score form, also where the critic knows it, as it does in the suite."""
    return oc.CoagentActorCritic(f"MiniGrid-{run.task}-v0", AGENTS[run.agent], forms={"action": "score"}, seed=run.seed)


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, (limit, target), agent = time.perf_counter(), TASKS[run.task], make(run)
    frames, row = rows.train_until(agent, target, limit)
    numbers = {
        "return_mean": row["return_mean"],
        "length": next((row[name] for name in LENGTHS if name in row), float("nan")),
        "information": row.get("action/information", float("nan")),
    }
    weights = sum(parameter.numel() for parameter in agent.module.parameters())
    seconds = round(time.perf_counter() - began, 1)
    return run, {"frames": frames, **{name: round(x, 4) for name, x in numbers.items()}, "weights": weights, "seconds": seconds}


def read() -> Results:
    """The rows that there are, with those of the suite's agents, of which it knows the frames and no more."""
    found: Results = {}
    for row in minigrid_suite.read():
        for agent, name in OF_THE_SUITE.items():
            if row["agent"] == name and row["task"] in TASKS:
                frames = minigrid_suite.frames_until(row, TASKS[row["task"]][1])
                found[Run(row["task"], agent, row["seed"])] = {"frames": frames, "length": np.nan}
    return found | rows.read(ROWS, Run)


def of_agent(results: Results, agent: str, name: str) -> dict[str, np.ndarray]:
    """{task: a number of each seed}, of the tasks that the agent has rows of."""
    found = {}
    for task in TASKS:
        runs = sorted((run for run in results if (run.task, run.agent) == (task, agent)), key=lambda run: run.seed)
        if runs:
            found[task] = np.array([results[run][name] for run in runs])
    return found


def table(results: Results) -> None:
    """A line for each agent."""
    print(f"| agent | {' | '.join(f'{task} ({target})' for task, (_, target) in TASKS.items())} | learned | length ", end="")
    print(f"| sooner than {FLAT} | than {OPTIONS} |\n|{'---|' * (len(TASKS) + 5)}")
    frames = {agent: of_agent(results, agent, "frames") for agent in AGENTS}
    for agent, ours in frames.items():
        if ours:
            cells = [" ".join(rows.thousands(ours.get(task, ()))) for task in TASKS]
            every, lengths = (np.concatenate([*x.values()]) for x in (ours, of_agent(results, agent, "length")))
            cells += [
                f"{np.isfinite(every).sum()}/{len(every)}",
                f"{lengths[np.isfinite(lengths)].mean():.1f}" if np.isfinite(lengths).any() else "",
            ]
            for other in (FLAT, OPTIONS):
                both = [task for task in ours if task in frames[other]]
                pair = [ours[task] for task in both], [frames[other][task] for task in both]
                cells.append(rows.shown_sooner(*pair) if both and other != agent else "")
            print(f"| {agent} | {' | '.join(cells)} |")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(TASKS)
    """Of TASKS."""
    agents: tuple[str, ...] = tuple(AGENTS)
    """Of AGENTS."""
    seeds: int = 5
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    if not command.table:
        runs = [Run(task, agent, seed) for seed in range(command.seeds) for task in command.tasks for agent in command.agents]
        there = read()
        rows.fill(ROWS, [run for run in runs if run not in there], train, command.workers)
    table(read())


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
