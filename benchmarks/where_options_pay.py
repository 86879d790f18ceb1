"""Claim: where options need fewer frames than the flat agent, it is known what of them does it: what a flat control has too, or not.

    python benchmarks/where_options_pay.py [--tasks DoorKey-8x8 …] [--agents flat …] [--seeds 10] [--workers 1] [--table]

Agents on MiniGrid, all with the default setting and as many frames, each until the mean return of the last 100 episodes reaches the task's
target, infinite if it has not with the rollout in which the limit is reached. The tasks are ten harder ones of minigrid_suite.py: its
middle and hard ones without FourRooms, GoToDoor-5x5 and MemoryS7, which were not run, and RedBlueDoors-6x6; with the frames of their
stages as limits and the returns at which they count as learned there as targets (UnlockPickup's is 0.8 here, and 0.85 there by now). Of
the flat agent and of four options its rows are read, as those are the same runs. Options: 2, 4, 8 or 16, and two levels of two. Flat
controls, each with something that options have, and no options:

    sticky          the last action is repeated with probability 1/4, whatever happens: persistence that nobody learns
    wide            as many weights as four options have, or a little more: the encoder's second layer is wider

and, if they are asked for,

    gated           the last action is repeated until a gate opens, a coagent that learns (`with_gate`): actions last as long as it pays

and options without what is learned of their ends: chosen anew at every step (the heads of four options, without persistence), or with
probability 1/4; and four options with the encoder of the flat agent that is wide. "RedBlueDoors-6x6 no bonus" is without the exploration
bonus, which is the default on MiniGrid. Two further tasks have rows that were made with a default before (`rows.BEFORE`); they are marked
so, and still run with it. None of these three is averaged with the ten.

Rows go to where_options_pay.csv beside this file; runs whose row is there are not run again. Printed are, for each task and agent, the
frames of each seed, their median with its bootstrap interval, the mean return when the run stopped, the mean length of an option (of an
action where it is held), what the option tells of the action, and the probability that the agent needs fewer frames than the flat one
(ties count half) with its interval. Then the same over the tasks that both have rows of, each with the same weight, with two intervals:
of these tasks, and of tasks like these (`statistics.sooner`). Of fewer than four seeds there is no interval, of fewer than three no median.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minigrid_suite
import numpy as np
import rows
import tyro

import optioncoagent as oc
from optioncoagent.gallery import always_terminating, random_length, stochastic_layers, with_gate
from optioncoagent.runs import statistics

ROWS = Path(__file__).with_suffix(".csv")
PICTURE = Path(__file__).parent / "figures" / "where_options_pay.png"
# {task: (limit, target)}
HARD = {
    "RedBlueDoors-6x6": (200_000, 0.8),
    "DoorKey-8x8": (600_000, 0.9),
    "MultiRoom-N4-S5": (600_000, 0.7),
    "UnlockPickup": (600_000, 0.8),
    "LavaCrossingS9N1": (600_000, 0.85),
    "KeyCorridorS3R2": (600_000, 0.85),
    "KeyCorridorS3R3": (1_500_000, 0.8),
    "MultiRoom-N6": (1_500_000, 0.55),
    "BlockedUnlockPickup": (1_500_000, 0.85),
    "ObstructedMaze-1Dl": (1_500_000, 0.85),
}
NO_BONUS = {"RedBlueDoors-6x6 no bonus": (400_000, 0.8)}
BEFORE = {
    "Dynamic-Obstacles-6x6": (150_000, 0.8),
    "DoorKey-6x6 no bonus": (150_000, 0.8),
}
TASKS = HARD | NO_BONUS | BEFORE
GROUPS = {"now": tuple(HARD), "no bonus": tuple(NO_BONUS), "before": tuple(BEFORE)}
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
    "4 options, wide": Agent(options(4).network, (64, 101)),
    "8 options": options(8),
    "16 options": options(16),
    "2 x 2 options": options((2, 2)),
    "4, anew at every step": Agent(lambda num_actions: always_terminating(4, num_actions)),
    "4, ending by chance": Agent(lambda num_actions: random_length(4, num_actions, mean_length=4)),
}
USUAL = ("flat", "flat, sticky", "flat, wide", "2 options", "4 options", "8 options", "16 options", "2 x 2 options")


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def make(run: Run) -> oc.CoagentActorCritic:
    chosen, (task, *without) = AGENTS[run.agent], run.task.split(" ", 1)
    defaults = rows.BEFORE if run.task in BEFORE else {}
    settings: dict[str, Any] = defaults | ({"int_coef": 0.0} if without == ["no bonus"] else {})
    if chosen.hidden_sizes:
        settings["hidden_sizes"] = chosen.hidden_sizes
    return oc.CoagentActorCritic(f"MiniGrid-{task}-v0", chosen.network, forms={"action": "score"}, seed=run.seed, **settings)


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, (limit, target), agent = time.perf_counter(), TASKS[run.task], make(run)
    frames, row = rows.train_until(agent, target, limit)
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


def read() -> Results:
    """The rows that there are, with those of the suite's agents, of which it knows the frames and no more."""
    found: Results = {}
    for row in minigrid_suite.read():
        task, agent = row["task"], {"flat": "flat", "options": "4 options"}.get(row["agent"])
        if task in HARD and agent:
            reached = minigrid_suite.frames_until(row, HARD[task][1])
            found[Run(task, agent, row["seed"])] = {"frames": reached} | dict.fromkeys(("return_mean", "length", "information"), np.nan)
    return found | rows.read(ROWS, Run)


def frames_of(results: Results, task: str, agent: str) -> np.ndarray:
    """Frames until the target, of each seed."""
    runs = sorted((run for run in results if (run.task, run.agent) == (task, agent)), key=lambda run: run.seed)
    return np.array([results[run]["frames"] for run in runs])


def pairs(results: Results, tasks: Iterable[str], agent: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames of an agent and of the flat one, in each of these tasks that have rows of both."""
    found = [(frames_of(results, task, agent), frames_of(results, task, "flat")) for task in tasks]
    both = [pair for pair in found if min(map(len, pair))]
    return [ours for ours, _ in both], [flat for _, flat in both]


def shown(results: Results) -> tuple[list[str], list[str]]:
    """Tasks and agents that there are rows of, in order."""
    return [task for task in TASKS if any(run.task == task for run in results)], [
        agent for agent in AGENTS if any(run.agent == agent for run in results)
    ]


def called(task: str) -> str:
    """A task with its target."""
    return f"{task} ({TASKS[task][1]})" + (", defaults before" if task in BEFORE else "")


def table_of_seeds(results: Results) -> None:
    """The ten harder tasks, a line for each, a column for each agent: every seed's thousand frames."""
    agents = [agent for agent in AGENTS if any(pairs(results, HARD, agent))]
    print(f"| task (return) | {' | '.join(agents)} |\n|{'---|' * (len(agents) + 1)}")
    for task in HARD:
        cells = [" ".join(rows.thousands(frames_of(results, task, agent))) for agent in agents]
        print(f"| {called(task)} | {' | '.join(cells)} |")
    every = {agent: np.concatenate([frames_of(results, task, agent) for task in HARD]) for agent in agents}
    print(f"| learned | {' | '.join(f'{np.isfinite(frames).sum()}/{len(frames)}' for frames in every.values())} |")
    against = ["" if agent == "flat" else rows.shown_sooner(*pairs(results, HARD, agent)) for agent in agents]
    print(f"| sooner than flat | {' | '.join(against)} |\n")


def table_of_pairs(results: Results) -> None:
    """Every two agents on the ten: probability that the row's is sooner than the column's, *: its interval of 95 % leaves out a half,
    **: so does one of 100 % less 5 % over the number of pairs (Bonferroni)."""
    agents = [agent for agent in AGENTS if any(pairs(results, HARD, agent))]
    print(f"| sooner than | {' | '.join(agents[1:])} |\n|{'---|' * len(agents)}")
    number = len(agents) * (len(agents) - 1) // 2
    for i, first in enumerate(agents[:-1]):
        cells = [""] * i
        for second in agents[i + 1 :]:
            both = [(frames_of(results, task, first), frames_of(results, task, second)) for task in HARD]
            both = [pair for pair in both if min(map(len, pair))]
            if not both:
                cells.append("")
                continue
            ours, theirs = zip(*both, strict=True)
            drawn = [statistics.sooner(ours, theirs, 400 * number, confidence=1 - 0.05 / n) for n in (1, number)]
            several = rows.fewest_seeds([*ours, *theirs]) >= statistics.FEWEST
            stars = sum(not low <= 0.5 <= high for _, low, high in drawn) if several else 0
            cells.append(f"{drawn[0][0]:.2f}{'*' * stars}")
        print(f"| {first} | {' | '.join(cells)} |")
    print()


def table(results: Results) -> None:
    tasks, agents = shown(results)
    columns = ("task", "agent", "thousand frames", "median", "return when stopped", "length", "information", "sooner than flat, 95 %")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for task in tasks:
        for agent in agents:
            found, frames = [row for run, row in results.items() if (run.task, run.agent) == (task, agent)], frames_of(results, task, agent)
            if found:
                numbers = [*frames, rows.median(frames), *rows.median_interval(frames)]
                *each, middle, low, high = rows.thousands(numbers)
                means = [
                    f"{np.mean([row[name] for row in found]):.2f}".replace("nan", "") for name in ("return_mean", "length", "information")
                ]
                cells = [" ".join(each), f"{middle} [{low}, {high}]" if len(frames) > 3 else middle * (len(frames) > 2)]
                ours, flat = pairs(results, [task], agent)
                cells += [*means, rows.shown_sooner(ours, flat) if ours and agent != "flat" else ""]
                print(f"| {called(task)} | {agent} | {' | '.join(cells)} |")
    print("\n| defaults | agent | tasks | sooner than flat, these tasks | tasks like these | solved |\n|---|---|---|---|---|---|")
    for defaults, group in GROUPS.items():
        for agent in agents:
            found = [row for run, row in results.items() if run.agent == agent and run.task in group]
            both = pairs(results, group, agent)
            if found and both[0]:
                like_these = rows.shown_sooner(*both, hierarchical=True) if len(both[0]) > 3 else ""
                intervals = ("", "") if agent == "flat" else (rows.shown_sooner(*both), like_these)
                solved = f"{sum(np.isfinite(row['frames']) for row in found)}/{len(found)}"
                print(f"| {defaults} | {agent} | {len(both[0])} | {' | '.join(intervals)} | {solved} |")


def picture(results: Results) -> Any:
    """A matplotlib Figure: a panel for each task, a line for each agent; then the ten harder tasks together, if more than three."""
    from matplotlib.figure import Figure

    tasks, agents = shown(results)
    number = len(tasks) + (sum(task in HARD for task in tasks) > 3)
    columns = min(4, number)
    lines = -(-number // columns)
    figure = Figure(figsize=(2.7 * columns + 1.5, (0.17 * len(agents) + 0.75) * lines + 0.4), layout="constrained")
    panels = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
    for axes, task in zip(panels, tasks, strict=False):
        _draw_task(axes, results, task, agents)
    for axes in panels[len(tasks) : number]:
        _draw_all(axes, results, agents)
    for axes in panels[number:]:
        axes.set_axis_off()
    for axes in panels:
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(labelsize=7)
    panels[0].set_yticks(range(len(agents)), agents)
    panels[0].set_ylim(len(agents) - 0.4, -0.6)
    figure.supxlabel("thousand frames until the return in brackets; right of the line: not within the limit", fontsize=8)
    return figure


def _colour(agent: str) -> str:
    return "C0" if agent.startswith("flat") else "C1"


def _draw_task(axes: Any, results: Results, task: str, agents: list[str]) -> None:
    """Every seed's frames, at the right edge where the limit came first, and their median."""
    limit = TASKS[task][0] / 1000
    for y, agent in enumerate(agents):
        x = np.minimum(frames_of(results, task, agent) / 1000, 1.2 * limit)
        axes.plot(x, np.full(len(x), y), "o", color=_colour(agent), markersize=3, alpha=0.5)
        if len(x) > 2:
            axes.plot([rows.median(x)] * 2, [y - 0.38, y + 0.38], color=_colour(agent), linewidth=2)
    axes.axvline(1.1 * limit, color="0.8", linewidth=1)
    axes.set_title(called(task).replace(", ", "\n"), fontsize=8)
    axes.set_xlim(0, 1.3 * limit)
    axes.set_xticks([0, limit / 2, limit])


def _draw_all(axes: Any, results: Results, agents: list[str]) -> None:
    """The probability of being sooner than the flat agent, over the ten harder tasks, with its interval for tasks like these."""
    for y, agent in enumerate(agents):
        ours, flat = pairs(results, HARD, agent)
        if ours and agent != "flat":
            middle, low, high = rows.sooner(ours, flat, hierarchical=True)
            axes.plot(middle, y, "o", color=_colour(agent), markersize=4)
            if len(ours) > 3 and rows.fewest_seeds([*ours, *flat]) > 3:
                axes.plot([low, high], [y, y], color=_colour(agent), linewidth=1.5)
    axes.axvline(0.5, color="0.8", linewidth=1)
    axes.set_title("sooner than flat,\ntasks like these ten", fontsize=8)
    axes.set_xlim(0, 1)


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(HARD)
    """Of TASKS."""
    agents: tuple[str, ...] = USUAL
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
        there = read()
        rows.fill(ROWS, [run for run in runs if run not in there], train, command.workers)
    results = read()
    table_of_seeds(results)
    table_of_pairs(results)
    table(results)
    picture(results).savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
