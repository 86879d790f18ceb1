"""Claim: with one default setting, four options and the flat agent learn MiniGrid's tasks on a laptop; how far, and where not.

    python benchmarks/minigrid_suite.py [--stages easy middle hard] [--seeds 5] [--workers 1] [--folder runs/minigrid_suite] [--table]
    python benchmarks/minigrid_suite.py --stages easy-rest middle-rest hard-rest hardest [--seeds 1] …
    python benchmarks/minigrid_suite.py --run options-non-episodic [--stages …] [--seeds 1] [--agents options options-non-episodic]
    python benchmarks/minigrid_suite.py --ppo [--stages …] [--seeds 5]

One version of each of twenty tasks over the whole range of difficulty, and of the rest in stages of their own, each trained for the frames
of its stage, without early stops; the hardest are given more in `large_rollouts`. In no stage are Playground, which pays nothing, and those
made by wave function collapse, which need other packages. The runs are a sweep's run folders; a row for each goes to minigrid_suite.csv
beside this file, and what has a row is not run again. A row holds the frames and the seconds at which the mean return of the last 100
episodes first reached 0.05, 0.10, …, the share of the steps afterwards in which it was below four fifths of that, and the mean of 100
evaluation episodes.
A task counts as learned at nine tenths (to the nearest twentieth) of the best return of any run on it, the final one or a mean on the way.
Printed are, for each task and agent, frames and seconds until then (median over seeds; ∞ where the run ended first), how many seeds got
there, how much of the steps afterwards they had fallen back, and the interquartile mean of the final returns with its bootstrap interval,
of fewer than four seeds each of them; then, for each two of the agents, their ratio of frames (the median over tasks, and the geometric
mean over those that all runs of both learned) and the probability that the first is sooner (`statistics.sooner`). The rows are drawn too.

--run: other agents than the two; non-episodic: with a bonus whose return does not end with the episode (`int_returns`).

--ppo: Stable-Baselines3's PPO on some of the tasks, for the same frames, as MiniGrid's documentation trains it (`minigrid_ppo`), in place
of the agents. It needs stable-baselines3.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rows import fewest_seeds, median, shown_sooner

from optioncoagent.cli import Train
from optioncoagent.runs import statistics
from optioncoagent.runs.folder import EVALUATION
from optioncoagent.runs.rows import read_rows
from optioncoagent.runs.specification import Specification, Trial, check
from optioncoagent.runs.sweep import run_sweep

ROWS = Path(__file__).with_suffix(".csv")
PICTURE = Path(__file__).parent / "figures" / "minigrid_suite.png"
FIELDS = ("task", "agent", "seed", "frames", "seconds", "final_return", "reached_frames", "reached_seconds", "fallen")
LEVELS = np.arange(1, 20) / 20
AGENTS: dict[str, dict[str, Any]] = {
    "options": {},
    "flat": {"num_options": 1},
    "options-non-episodic": {"int_returns": "non-episodic"},
    "flat-non-episodic": {"num_options": 1, "int_returns": "non-episodic"},
}
USUAL: tuple[Literal["options", "flat"], ...] = ("options", "flat")
STAGES = {
    "easy": (
        200_000,
        "Empty-8x8 DoorKey-5x5 Unlock SimpleCrossingS9N1 LavaGapS7 RedBlueDoors-6x6 Fetch-5x5-N2 Dynamic-Obstacles-6x6".split(),
    ),
    "middle": (
        600_000,
        "DoorKey-8x8 MultiRoom-N4-S5 UnlockPickup LavaCrossingS9N1 KeyCorridorS3R2 FourRooms GoToDoor-5x5 MemoryS7".split(),
    ),
    "hard": (1_500_000, "KeyCorridorS3R3 MultiRoom-N6 BlockedUnlockPickup ObstructedMaze-1Dl".split()),
    "easy-rest": (
        200_000,
        "Empty-5x5 Empty-Random-5x5 Empty-6x6 Empty-Random-6x6 Empty-16x16 DoorKey-6x6 DistShift1 DistShift2 LavaGapS5 LavaGapS6 "
        "GoToObject-6x6-N2 Fetch-6x6-N2 Dynamic-Obstacles-5x5 Dynamic-Obstacles-Random-5x5 Dynamic-Obstacles-Random-6x6 "
        "Dynamic-Obstacles-8x8 MultiRoom-N2-S4 KeyCorridorS3R1 SimpleCrossingS9N2 SimpleCrossingS9N3".split(),
    ),
    "middle-rest": (
        600_000,
        "GoToDoor-6x6 GoToDoor-8x8 GoToObject-8x8-N2 LavaCrossingS9N2 LavaCrossingS9N3 SimpleCrossingS11N5 RedBlueDoors-8x8 "
        "Dynamic-Obstacles-16x16 MemoryS9 Fetch-8x8-N3 PutNear-6x6-N2 ObstructedMaze-1Dlh".split(),
    ),
    "hard-rest": (
        1_500_000,
        "LavaCrossingS11N5 KeyCorridorS4R3 KeyCorridorS5R3 PutNear-8x8-N3 ObstructedMaze-1Dlhb ObstructedMaze-2Dl DoorKey-16x16 "
        "MemoryS11".split(),
    ),
    "hardest": (
        1_500_000,
        "LockedRoom KeyCorridorS6R3 ObstructedMaze-2Dlh ObstructedMaze-2Dlhb ObstructedMaze-1Q ObstructedMaze-2Q ObstructedMaze-Full "
        "MemoryS13 MemoryS13Random MemoryS17Random".split(),
    ),
}
FIRST = ("easy", "middle", "hard")
PPO_TASKS = "Empty-8x8 DoorKey-5x5 Unlock SimpleCrossingS9N1 Fetch-5x5-N2 DoorKey-8x8 MultiRoom-N4-S5 LavaCrossingS9N1".split()


def tasks_of(stages: tuple[str, ...]) -> list[str]:
    return [task for stage in stages for task in STAGES[stage][1]]


Row = dict[str, Any]


def specification(stage: str, tasks: list[str], seed: int, agents: tuple[str, ...]) -> Specification:
    (frames, _), settings = STAGES[stage], {agent: AGENTS[agent] for agent in agents}
    content = {"tasks": [f"MiniGrid-{task}-v0" for task in tasks], "seeds": [seed], "total_timesteps": frames, "settings": settings}
    return check(content, Train)


def row_of(trial: Trial, folder: Path) -> Row:
    """What a finished run folder comes to."""
    run = read_rows(folder / trial.name)
    reached = [statistics.time_to_threshold(run, level) for level in LEVELS]
    frames, seconds = ([x for x in part if np.isfinite(x)] for part in zip(*reached, strict=True))
    fallen = [share for level in LEVELS for share in [statistics.fallen(run, level)] if np.isfinite(share)]
    returns = json.loads((folder / trial.name / EVALUATION).read_text())["returns"]
    return {
        "task": trial.task.removeprefix("MiniGrid-").removesuffix("-v0"),
        "agent": trial.setting,
        "seed": trial.seed,
        "frames": int(run["timesteps"][-1]),
        "seconds": round(statistics.seconds(run), 1),
        "final_return": round(float(np.mean(returns)), 4),
        "reached_frames": " ".join(f"{x:.0f}" for x in frames),
        "reached_seconds": " ".join(f"{x:.1f}" for x in seconds),
        "fallen": " ".join(f"{x:.3f}" for x in fallen),
    }


def read() -> list[Row]:
    if not ROWS.exists():
        return []
    with ROWS.open(newline="") as file:
        rows: list[Row] = list(csv.DictReader(file))
    for row in rows:
        row |= {"seed": int(row["seed"]), "final_return": float(row["final_return"])}
    return rows


def write(rows: list[Row]) -> None:
    new = not ROWS.exists()
    with ROWS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def fill(command: Benchmark) -> None:
    """Run what has no row, seed by seed and task by task, so that a benchmark that is stopped early has something of everything."""
    for seed, stage in product(range(command.seeds), command.stages):
        for task in STAGES[stage][1]:
            there = {(row["task"], row["agent"], row["seed"]) for row in read()}
            if missing := tuple(agent for agent in command.run if (task, agent, seed) not in there):
                chosen = specification(stage, [task], seed, missing)
                failed = run_sweep(chosen, command.folder / stage, command.workers, "pool")
                write([row_of(trial, command.folder / stage) for trial in chosen.trials if trial.name not in failed])
                for name, reason in failed.items():
                    print(f"{name} failed: {reason}")


def fill_ppo(command: Benchmark) -> None:
    from minigrid_ppo import train

    budgets = {task: frames for stage in command.stages for frames, tasks in [STAGES[stage]] for task in tasks if task in PPO_TASKS}
    for seed in range(command.seeds):
        for task, frames in budgets.items():
            if (task, "ppo", seed) not in {(row["task"], row["agent"], row["seed"]) for row in read()}:
                row = train(task, seed, frames, LEVELS)
                write([row])
                print(row, flush=True)


@dataclass(frozen=True)
class Learned:
    """One agent on one task. frames, seconds: until the task was learned, of each seed, infinite where it was not; fallen: of the steps
    from then on, the share in which the mean return was below four fifths of that, NaN where it is not known; final: returns."""

    frames: np.ndarray
    seconds: np.ndarray
    fallen: np.ndarray
    final: np.ndarray


def summarise(rows: list[Row]) -> tuple[dict[str, float], dict[tuple[str, str], Learned]]:
    """{task: return at which it counts as learned}; {(task, agent): Learned}."""
    best, groups = defaultdict(lambda: -np.inf), defaultdict(list)
    for row in rows:
        on_the_way = len(row["reached_frames"].split()) / len(LEVELS) * LEVELS[-1]
        best[row["task"]] = max(best[row["task"]], row["final_return"], on_the_way)
        groups[row["task"], row["agent"]].append(row)
    thresholds = {task: max(round(0.9 * value * 20) / 20, 0.05) for task, value in best.items()}
    found = {}
    for (task, agent), group in groups.items():
        place = round(thresholds[task] * 20) - 1
        columns = [[_at(row[name], place) for row in group] for name in ("reached_frames", "reached_seconds")]
        columns += [[_at(row["fallen"], place, np.nan) for row in group], [row["final_return"] for row in group]]
        found[task, agent] = Learned(*map(np.array, columns))
    return thresholds, found


def frames_until(row: Row, level: float) -> float:
    """Frames at which the mean return of a row first was this high, a multiple of a twentieth; infinite if never."""
    return _at(row["reached_frames"], round(level * 20) - 1)


def _at(text: str, place: int, otherwise: float = np.inf) -> float:
    numbers = text.split()
    return float(numbers[place]) if place < len(numbers) else otherwise


def mean(values: np.ndarray) -> float:
    """Of those that are known."""
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else np.nan


def ratios(found: dict[tuple[str, str], Learned], pair: tuple[str, str], rng: np.random.Generator | None = None) -> float:
    """Median over tasks (`statistics.middle_ratio`) of one agent's median frames over another's, but tasks that neither learned; with
    `rng`, of seeds drawn anew."""
    values = []
    for task in dict.fromkeys(task for task, _ in found):
        if all((task, agent) in found for agent in pair):
            ours, theirs = (found[task, agent].frames for agent in pair)
            if rng is not None:
                ours, theirs = rng.choice(ours, len(ours)), rng.choice(theirs, len(theirs))
            if np.isfinite(median(ours)) or np.isfinite(median(theirs)):
                values.append(0.0 if np.isinf(median(theirs)) else median(ours) / median(theirs))
    return statistics.middle_ratio(values) if values else float("nan")


def mean_ratio(found: dict[tuple[str, str], Learned], pair: tuple[str, str], rng: np.random.Generator | None = None) -> tuple[float, int]:
    """Geometric mean of one agent's frames over another's, and over how many tasks: those that every run of both learned; with `rng`, of
    seeds drawn anew. Medians are multiples of a rollout and often tie, which this does not."""
    logarithms = []
    for task in dict.fromkeys(task for task, _ in found):
        both = [found[task, agent].frames for agent in pair if (task, agent) in found]
        if len(both) == 2 and np.isfinite(np.concatenate(both)).all():
            ours, theirs = both if rng is None else (rng.choice(x, len(x)) for x in both)
            logarithms.append(np.log(ours).mean() - np.log(theirs).mean())
    return (float(np.exp(np.mean(logarithms))) if logarithms else float("nan")), len(logarithms)


def shown(learned: Learned) -> list[str]:
    """Five cells: medians of frames and seconds, ∞ where it is not, seeds that learned, what had fallen back, and the final return."""
    frames, seconds = (median(x) for x in (learned.frames, learned.seconds))
    iqm, low, high = statistics.interval([learned.final])
    return [
        f"{frames / 1000:.0f}k" if np.isfinite(frames) else "∞",
        f"{seconds:.0f}" if np.isfinite(seconds) else "∞",
        f"{np.isfinite(learned.frames).sum()}/{len(learned.frames)}",
        "" if np.isnan(mean(learned.fallen)) else f"{mean(learned.fallen):.1%}",
        f"{iqm:.3f} [{low:.3f}, {high:.3f}]" if len(learned.final) >= statistics.FEWEST else " ".join(f"{x:.3f}" for x in learned.final),
    ]


def table(rows: list[Row], tasks: list[str], agents: tuple[str, ...]) -> None:
    thresholds, found = summarise(rows)
    head = "".join(f" {agent}: frames | seconds | learned | fell back | final return |" for agent in agents)
    print(f"| task | learned at |{head}\n|---|---|" + "---|" * 5 * len(agents))
    for task in tasks:
        if any((task, agent) in found for agent in agents):
            cells = [cell for agent in agents for cell in (shown(found[task, agent]) if (task, agent) in found else [""] * 5)]
            print(f"| {task} | {thresholds[task]:.2f} | {' | '.join(cells)} |")
    for agent in agents:
        known = {task: found[task, agent] for task in tasks if (task, agent) in found}
        below = mean(np.array([mean(learned.fallen) for learned in known.values()]))
        ends = {task: of.final[np.isfinite(of.frames)] / thresholds[task] for task, of in known.items()}
        all_ends = np.concatenate([*ends.values(), []])
        if not np.isnan(below):
            print(f"\n{agent}: below four fifths of what was reached for {below:.1%} of the steps afterwards, mean over tasks;", end=" ")
            print(f"in the final evaluation {(all_ends < 0.8).sum()} of {len(all_ends)} runs that learned are there,", end=" ")
            lower = [f"{task} {(x < 1).sum()} of {len(x)}" for task, x in ends.items() if (x < 1).any()]
            print(f"{(all_ends < 1).sum()} below the return itself" + f" ({', '.join(lower)})" * bool(lower))
    columns = ("pair", "frames of the first over the second's, median over tasks", "geometric mean", "the first is sooner, probability")
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for pair in combinations([agent for agent in agents if agent != "ppo"], 2):
        both = [task for task in tasks if all((task, agent) in found for agent in pair)]
        if both:
            ours, theirs = ([found[task, agent].frames for task in both] for agent in pair)
            middle, (centre, number) = ratios(found, pair), mean_ratio(found, pair)
            ratio, geometric = f"{middle:.2f}", f"{centre:.2f}"
            if fewest_seeds(ours + theirs) >= statistics.FEWEST:
                rng = np.random.default_rng(0)
                ratio += _between([ratios(found, pair, rng) for _ in range(2000)])
                geometric += _between([mean_ratio(found, pair, rng)[0] for _ in range(2000)])
            print(f"| {' / '.join(pair)} | {ratio} | {geometric} ({number} tasks) | {shown_sooner(ours, theirs)} |")


def _between(drawn: list[float]) -> str:
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return f" [{low:.2f}, {high:.2f}]"


def draw(rows: list[Row], tasks: list[str]) -> None:
    """A line for each task: every seed's frames until it was learned, at the right edge where it was not."""
    from matplotlib.figure import Figure

    thresholds, found = summarise(rows)
    tasks = [task for task in tasks if any(task == known for known, _ in found)]
    figure = Figure(figsize=(8, 0.33 * len(tasks) + 1.6), layout="constrained")
    axes = figure.subplots()
    edge = 1.6 * max(frames for frames, _ in STAGES.values())
    names = {"options": "four options", "flat": "flat", "ppo": "Stable-Baselines3's PPO, documented settings"}
    for agent, colour, shift in (("options", "C1", -0.25), ("flat", "C0", 0.0), ("ppo", "0.5", 0.25)):
        axes.plot([], [], "o", color=colour, markersize=4, label=names[agent])
        for y, task in enumerate(tasks):
            if (task, agent) not in found:
                continue
            frames = found[task, agent].frames
            x = np.where(np.isfinite(frames), frames, edge)
            axes.plot(x, np.full(len(x), y + shift), "o", color=colour, markersize=4, alpha=0.7)
            axes.plot([median(x)] * 2, [y + shift - 0.12, y + shift + 0.12], color=colour, linewidth=2)
    axes.axvline(edge / 1.25, color="0.8", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(right=edge * 1.3)
    axes.set_yticks(range(len(tasks)), [f"{task} ({thresholds[task]:.2f})" for task in tasks])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("frames until learned (return in brackets); right of the line: not within the budget")
    figure.legend(loc="outside lower center", ncols=len(names), fontsize=8)
    figure.savefig(PICTURE, dpi=130)


@dataclass(frozen=True)
class Benchmark:
    stages: tuple[str, ...] = FIRST
    """Of STAGES; run, and in the table."""
    run: tuple[Literal["options", "flat", "options-non-episodic", "flat-non-episodic"], ...] = USUAL
    """Those that are trained."""
    seeds: int = 5
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    folder: Path = Path("runs/minigrid_suite")
    """Where the run folders go."""
    ppo: bool = False
    """Run Stable-Baselines3's PPO, and nothing else."""
    agents: tuple[str, ...] | None = None
    """In the table; those of --run and ppo, if none are given. There are rows of defaults before, too: "options, no limit"
    (`rows.UNLIMITED`), "options, expected returns" (`rows.EXPECTED`), "options, 64 environments", "options before", and of all but the
    second flat ones likewise."""
    leave_out: tuple[str, ...] = ()
    """Tasks that are not in the table."""
    table: bool = False
    """Only print the table of the rows that there are, and draw those of the first twenty tasks."""


def main(command: Benchmark) -> None:
    if not command.table:
        fill_ppo(command) if command.ppo else fill(replace(command, folder=command.folder.absolute()))
    tasks, rows = [task for task in tasks_of(command.stages) if task not in command.leave_out], read()
    table([row for row in rows if row["task"] in tasks], tasks, command.agents or (*command.run, "ppo"))
    draw([row for row in rows if row["task"] in tasks_of(FIRST)], tasks_of(FIRST))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
