"""Claim: on easy MiniGrid tasks the marginal form needs about as many frames as the plain forms, for all that its variance is less.

For each task, form and seed: frames until the mean return of the last 100 episodes reaches 0.9, or infinity where the limit came first.
Rows go to form_frames.csv beside this file; runs whose row is there are not run again. Printed are the frames of each seed and, for each
form, the geometric mean over tasks and seeds of its frames over the plain forms' at the same task and seed, with a bootstrap interval.

    python benchmarks/form_frames.py [--forms plain marginal …] [--only DoorKey-5x5-v0 …] [--seeds 5] [--table]
"""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import tyro

import optioncoagent as oc

ROWS = Path(__file__).with_suffix(".csv")
FIELDS = ("task", "options", "form", "seed", "frames", "return_mean", "option_length", "seconds")
TASKS = ("DoorKey-5x5-v0", "Unlock-v0", "SimpleCrossingS9N1-v0")
TARGET, LIMIT = 0.9, 300_000
FORMS: dict[str, dict[str, str]] = {
    "plain": {},
    "marginal": {"": "marginal"},
    "marginal, action plain": {"": "marginal", "action": "score"},
    "marginal, shared rest": {"": "marginal", "action": "marginal_shared"},
    "multi-update": {"action": "multi_update"},
}


@dataclass(frozen=True)
class Run:
    task: str
    options: str
    form: str
    seed: int


def train(run: Run) -> dict[str, float]:
    began = time.perf_counter()
    sizes = tuple(int(n) for n in run.options.split("x"))
    agent = oc.OptionCritic(f"MiniGrid-{run.task}", num_options=sizes, seed=run.seed)
    chosen = FORMS[run.form]
    agent.forms |= {name: chosen.get(name, chosen.get("", form)) for name, form in agent.forms.items()}
    frames, row = float("inf"), {"return_mean": float("nan")}
    while agent.num_timesteps < LIMIT and frames == float("inf"):
        row = agent.update()
        if len(agent.recent) == 100 and row["return_mean"] >= TARGET:
            frames = agent.num_timesteps
    agent.env.close()
    seconds = round(time.perf_counter() - began, 1)
    return dict(
        frames=frames,
        return_mean=round(row["return_mean"], 4),
        option_length=round(row.get("option_length", row.get("option_1_length", 0.0)), 2),
        seconds=seconds,
    )


def read() -> dict[Run, dict[str, float]]:
    if not ROWS.exists():
        return {}
    with ROWS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        Run(row["task"], row["options"], row["form"], int(row["seed"])): {name: float(row[name]) for name in FIELDS[4:]} for row in rows
    }


def write(run: Run, result: dict[str, float]) -> None:
    new = not ROWS.exists()
    with ROWS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(run) | result)


def table(rows: dict[Run, dict[str, float]]) -> None:
    kinds = dict.fromkeys((run.options, run.form) for run in rows)
    for options, form in kinds:
        for task in dict.fromkeys(run.task for run in rows):
            mine = sorted((run for run in rows if (run.options, run.form, run.task) == (options, form, task)), key=lambda run: run.seed)
            print(f"{options:6}{form:24}{task:24}", "  ".join(f"{rows[run]['frames'] / 1000:.0f}k" for run in mine))
    print(f"\n{'':30}frames over the plain forms' and 95 % interval, pairs, unsolved, mean option length")
    for options, form in kinds:
        mine = {run: row for run, row in rows.items() if (run.options, run.form) == (options, form)}
        pairs = [
            (row["frames"], rows[replace(run, form="plain")]["frames"]) for run, row in mine.items() if replace(run, form="plain") in rows
        ]
        ratios = np.log([min(a, LIMIT) / min(b, LIMIT) for a, b in pairs])
        drawn = np.random.default_rng(0).choice(ratios, (2000, ratios.size)).mean(axis=1)
        low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
        unsolved, length = (f([row[key] for row in mine.values()]) for f, key in ((np.isinf, "frames"), (np.mean, "option_length")))
        print(f"{options:6}{form:24}{np.exp(ratios.mean()):.2f} [{low:.2f}, {high:.2f}]{ratios.size:5}{unsolved.sum():4}  {length:.1f}")


@dataclass(frozen=True)
class Benchmark:
    options: tuple[str, ...] = ("4", "16", "4x4")
    """Number of options, or of each level, with an x between them."""
    forms: tuple[str, ...] = tuple(FORMS)
    """Names of FORMS."""
    only: tuple[str, ...] = TASKS
    """Tasks."""
    seeds: int = 5
    """Run seeds below this."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    there = read()
    runs = [
        Run(task, options, form, seed)
        for seed in range(command.seeds)
        for options in command.options
        for task in command.only
        for form in command.forms
    ]
    for run in [] if command.table else runs:
        if run not in there:
            result = train(run)
            write(run, result)
            print(run, result, flush=True)
    table(read())


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
