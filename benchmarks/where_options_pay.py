"""Claim: where options need fewer frames than the flat agent, it is known what of them does it: what a flat control has too, or not.

    python benchmarks/where_options_pay.py [--tasks DoorKey-8x8 …] [--agents flat …] [--seeds 10] [--workers 1] [--table]

Agents on MiniGrid, all with the default setting and as many frames, each until the mean return of the last 100 episodes reaches the task's
target, infinite if the limit comes first. Flat controls, each with something that options have, and no options:

    gated           the last action is repeated until a gate opens, a coagent that learns (`with_gate`): actions last as long as it pays
    sticky          the last action is repeated with probability 1/4, whatever happens: persistence that nobody learns
    wide            as many weights as four options have, or a little more: the encoder's second layer is wider

and options without what is learned of their ends: chosen anew at every step (the heads of four options, without persistence), or with
probability 1/4. A task "no bonus" is without the exploration bonus, which is the default on MiniGrid. Rows go to where_options_pay.csv
beside this file; runs whose row is there are not run again. Printed are, for each task and agent, the frames of each seed, their median
with its bootstrap interval, the mean return when the run stopped, the mean length of an option (of an action where it is held), and the
probability that the agent needs fewer frames than the flat one (ties count half) with its interval; then the same over all tasks. Of fewer
than four seeds there is no interval, of fewer than three no median.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro

import optioncoagent as oc
from optioncoagent.gallery import always_terminating, random_length, stochastic_layers, with_gate

ROWS = Path(__file__).with_suffix(".csv")
PICTURE = Path(__file__).parent / "figures" / "where_options_pay.png"
# {task: (limit, target)}
TASKS = {
    "Dynamic-Obstacles-6x6": (150_000, 0.8),
    "DoorKey-6x6 no bonus": (150_000, 0.8),
    "KeyCorridorS3R1": (150_000, 0.8),
}
REPEAT = 1 / 4


def sticky(num_actions: int) -> oc.CoagentNetwork:
    """A flat policy whose action is drawn anew with probability 1 - REPEAT."""

    def executes(x: Any) -> Any:
        return 1 - REPEAT + REPEAT * x.start

    return oc.CoagentNetwork([oc.Coagent("action", num_actions, executes=executes)])


@dataclass(frozen=True)
class Agent:
    """network: from the number of actions. hidden_sizes: the default where there are none. The action learns in the score form, everywhere,
    also where the critic knows it."""

    network: Callable[[int], oc.CoagentNetwork]
    hidden_sizes: tuple[int, ...] = ()


def options(num_options: Any) -> Agent:
    return Agent(lambda num_actions: oc.option_critic(num_options, num_actions))


AGENTS = {
    "flat": options(1),
    "flat, gated": Agent(lambda num_actions: with_gate(stochastic_layers((), num_actions), "action")),
    "flat, sticky": Agent(sticky),
    "flat, wide": Agent(options(1).network, (64, 101)),
    "2 options": options(2),
    "4 options": options(4),
    "8 options": options(8),
    "16 options": options(16),
    "2 x 2 options": options((2, 2)),
    "4, anew at every step": Agent(lambda num_actions: always_terminating(4, num_actions)),
    "4, ending by chance": Agent(lambda num_actions: random_length(4, num_actions, mean_length=4)),
}


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def make(run: Run) -> oc.CoagentActorCritic:
    chosen, (task, *without) = AGENTS[run.agent], run.task.split(" ", 1)
    settings = rows.BEFORE | ({"int_coef": 0.0} if without else {})
    if chosen.hidden_sizes:
        settings["hidden_sizes"] = chosen.hidden_sizes
    return oc.CoagentActorCritic(f"MiniGrid-{task}-v0", chosen.network, forms={"action": "score"}, seed=run.seed, **settings)


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, (limit, target), agent = time.perf_counter(), TASKS[run.task], make(run)
    frames, row = float("inf"), {}
    while agent.num_timesteps < limit and frames == float("inf"):
        row = agent.update()
        if len(agent.recent) == 100 and row["return_mean"] >= target:
            frames = agent.num_timesteps
    weights = sum(parameter.numel() for parameter in agent.module.parameters())
    length = next((row[name] for name in ("option/length", "option_2/length", "action/length") if name in row), 1.0)
    return run, {
        "frames": frames,
        "return_mean": round(row["return_mean"], 4),
        "length": round(length, 2),
        "information": round(row.get("action/information", float("nan")), 4),
        "weights": weights,
        "seconds": round(time.perf_counter() - began, 1),
    }


Results = dict[Run, dict[str, float]]


def frames_of(results: Results, task: str, agent: str) -> np.ndarray:
    """Frames until the target, of each seed."""
    runs = sorted((run for run in results if (run.task, run.agent) == (task, agent)), key=lambda run: run.seed)
    return np.array([results[run]["frames"] for run in runs])


def better(ours: list[np.ndarray], flat: list[np.ndarray]) -> str:
    """Probability of being sooner, with its interval where no task has fewer than four seeds: of fewer a bootstrap says too much."""
    middle, low, high = rows.sooner(ours, flat)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]" if min(map(len, [*ours, *flat])) > 3 else f"{middle:.2f}"


def table(results: Results) -> None:
    tasks = [task for task in TASKS if any(run.task == task for run in results)]
    columns = ("task", "agent", "thousand frames", "median", "return when stopped", "length", "sooner than flat, 95 %")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for task in tasks:
        for agent in AGENTS:
            found, frames = [row for run, row in results.items() if (run.task, run.agent) == (task, agent)], frames_of(results, task, agent)
            if found:
                numbers = [*frames, rows.median(frames), *rows.median_interval(frames)]
                *each, middle, low, high = ("∞" if np.isinf(x) else f"{x / 1000:.0f}" for x in numbers)
                means = [f"{np.mean([row[name] for row in found]):.2f}" for name in ("return_mean", "length")]
                cells = [" ".join(each), f"{middle} [{low}, {high}]" if len(frames) > 3 else middle * (len(frames) > 2), *means]
                cells.append("" if agent == "flat" else better([frames], [frames_of(results, task, "flat")]))
                print(f"| {task} | {agent} | {' | '.join(cells)} |")
    print("\n| agent | sooner than flat, all tasks | solved |\n|---|---|---|")
    for agent in AGENTS:
        found = [row for run, row in results.items() if run.agent == agent]
        if found:
            shared = [task for task in tasks if len(frames_of(results, task, agent))]
            pairs = [[frames_of(results, task, name) for task in shared] for name in (agent, "flat")]
            solved = f"{sum(np.isfinite(row['frames']) for row in found)}/{len(found)}"
            print(f"| {agent} | {'' if agent == 'flat' else better(*pairs)} | {solved} |")


def draw(results: Results) -> None:
    """A panel for each task, a line for each agent: every seed's frames, at the right edge where the limit came first."""
    from matplotlib.figure import Figure

    tasks = [task for task in TASKS if any(run.task == task for run in results)]
    figure = Figure(figsize=(3.0 * len(tasks) + 2.0, 4.2), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        limit, target = TASKS[task]
        edge = 1.2 * limit / 1000
        for y, agent in enumerate(AGENTS):
            x = np.minimum(frames_of(results, task, agent) / 1000, edge)
            if len(x):
                colour = "C0" if agent.startswith("flat") else "C1"
                axes.plot(x, np.full(len(x), y), "o", color=colour, markersize=4, alpha=0.6)
                if len(x) > 2:
                    axes.plot([rows.median(x)] * 2, [y - 0.35, y + 0.35], color=colour, linewidth=2)
        axes.axvline(1.1 * limit / 1000, color="0.8", linewidth=1)
        axes.set_title(f"{task} ({target})", fontsize=9)
        axes.set_xlim(0, 1.3 * limit / 1000)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(AGENTS)), list(AGENTS))
    panels[0].invert_yaxis()
    figure.supxlabel("thousand frames until the return in brackets; right of the line: not within the limit", fontsize=9)
    figure.savefig(PICTURE, dpi=130)


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(TASKS)
    """Of TASKS."""
    agents: tuple[str, ...] = tuple(AGENTS)
    """Of AGENTS."""
    seeds: int = 10
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are, and draw them."""


def main(command: Benchmark) -> None:
    runs = [Run(task, agent, seed) for seed in range(command.seeds) for task in command.tasks for agent in command.agents]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    results = rows.read(ROWS, Run)
    table(results)
    draw(results)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
