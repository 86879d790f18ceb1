"""What a sweep came to: a row for each trial, and a table of tasks and settings over seeds."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optioncoagent.agents import files
from optioncoagent.runs import statistics
from optioncoagent.runs.folder import EVALUATION, read_evaluation
from optioncoagent.runs.rows import read_training
from optioncoagent.runs.specification import Specification
from optioncoagent.runs.statistics import FEWEST

Row = dict[str, Any]
ALL_TASKS = "all tasks"
SOONER = ("sooner", "sooner_low", "sooner_high")


def trial_rows(specification: Specification, folder: Path) -> list[Row]:
    """One row for each trial: task, setting, seed, finished, final_return (mean of the final evaluation), timesteps, seconds, and, for
    tasks with a threshold, frames_to_threshold and seconds_to_threshold (infinite if it was not reached). A trial that has not finished
    has no numbers, nor has one whose rows are damaged, which is warned of."""
    rows = []
    for trial in specification.trials:
        run_folder = folder / trial.name
        row: Row = {"task": trial.task, "setting": trial.setting, "seed": trial.seed, "finished": (run_folder / EVALUATION).exists()}
        if row["finished"]:
            try:
                run = read_training(run_folder)
            except (ValueError, OSError) as error:
                warnings.warn(f"{error}; {trial.name} counts as not finished", stacklevel=2)
                rows.append(row | {"finished": False})
                continue
            row["final_return"] = float(read_evaluation(run_folder)[0].mean())
            row["timesteps"] = float(run["timesteps"][-1])
            row["seconds"] = statistics.seconds(run)
            if trial.task in specification.thresholds:
                reached = statistics.time_to_threshold(run, specification.thresholds[trial.task])
                row["frames_to_threshold"], row["seconds_to_threshold"] = reached
        rows.append(row)
    return rows


def summarise(specification: Specification, trials: Sequence[Row]) -> list[Row]:
    """The table: for each task and setting, and for each setting over all tasks, the interquartile mean of the final returns with the
    ends of its 95 % bootstrap interval, stratified by task; seeds finished and not; and the medians of the times to the threshold, in
    which a trial that did not reach it counts as infinite. Settings but the first have the probability that a run of theirs reaches it
    in fewer frames than one of the first (`statistics.sooner`; over all tasks the mean over those with a threshold), with the ends of its
    95 % interval where every task has four seeds of both. Over all tasks there is a mean where as many seeds of each have finished: of
    other numbers it would say which tasks have."""
    groups: list[tuple[str, tuple[str, ...], str]] = [
        (task, (task,), name) for task in specification.tasks for name in specification.settings
    ]
    if len(specification.tasks) > 1:
        groups += [(ALL_TASKS, specification.tasks, name) for name in specification.settings]
    first = next(iter(specification.settings))
    table = []
    for label, tasks, name in groups:
        row = _summary(label, [_of(trials, task, name) for task in tasks], name)
        if name != first:
            row |= _sooner([(_of(trials, task, name), _of(trials, task, first)) for task in tasks])
        table.append(row)
    return table


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """All rows or none; columns in the order in which they first appear."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    files.write_file(path, text.getvalue().encode())


def to_text(table: Sequence[Row]) -> str:
    """The table as it is printed."""
    lines = [["task", "setting", "seeds", f"final return (IQM, 95 % from {FEWEST} seeds on)"]]
    timed, compared = any("reached" in row for row in table), any("sooner" in row for row in table)
    if timed:
        lines[0] += ["reached", "frames to threshold", "seconds"]
    if compared:
        lines[0].append(f"sooner than {table[0]['setting']} (95 % from {FEWEST} seeds on)")
    for row in table:
        seeds = f"{row['seeds']}" + (f" ({row['unfinished']} missing)" if row["unfinished"] else "")
        line = [row["task"], row["setting"], seeds, _with_interval(*(row[f"final_return_{name}"] for name in statistics.Interval._fields))]
        if timed:
            line += [row.get("reached", ""), *(_time(row.get(name)) for name in ("frames_to_threshold", "seconds_to_threshold"))]
        if compared:
            probability, low, high = (row.get(name, math.nan) for name in SOONER)
            line.append(_with_interval(probability, low, high, digits=2, nothing=""))
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if any(row["task"] == ALL_TASKS for row in table):
        alike = "final returns as they are, which says something where tasks pay alike"
        text.append(f"{ALL_TASKS}: {alike}; - unless as many seeds of each have finished")
    return "\n".join(text)


def _of(trials: Sequence[Row], task: str, setting: str) -> list[Row]:
    return [row for row in trials if (row["task"], row["setting"]) == (task, setting)]


def _summary(label: str, by_task: list[list[Row]], setting: str) -> Row:
    rows = [row for part in by_task for row in part]
    finished = [row for row in rows if row["finished"]]
    row: Row = {"task": label, "setting": setting, "seeds": len(finished), "unfinished": len(rows) - len(finished)}
    strata = [[trial["final_return"] for trial in part if trial["finished"]] for part in by_task]
    alike = len(strata[0]) > 0 and len({*map(len, strata)}) == 1
    whole = statistics.interval(strata) if alike else statistics.Interval(math.nan, math.nan, math.nan)
    row |= {f"final_return_{name}": float(value) for name, value in whole._asdict().items()}
    timed = [trial for trial in finished if "frames_to_threshold" in trial]
    if timed:
        row["reached"] = f"{sum(math.isfinite(trial['frames_to_threshold']) for trial in timed)}/{len(timed)}"
        if len(by_task) == 1:  # frames on different tasks do not add up
            row |= {name: statistics.median([trial[name] for trial in timed]) for name in ("frames_to_threshold", "seconds_to_threshold")}
    return row


def _sooner(by_task: list[tuple[list[Row], list[Row]]]) -> Row:
    """Trials of a setting and of the first one, for each task: how probable it is that the setting's are sooner; {} if no task says."""
    frames = [[[trial["frames_to_threshold"] for trial in rows if "frames_to_threshold" in trial] for rows in pair] for pair in by_task]
    ours, theirs = ([np.array(pair[i]) for pair in frames if all(pair)] for i in (0, 1))
    if not ours:
        return {}
    probability, *ends = statistics.sooner(ours, theirs)
    several = statistics.fewest_seeds([*ours, *theirs]) >= FEWEST
    return dict(zip(SOONER, [probability, *(ends if several else [math.nan] * 2)], strict=True))


def _with_interval(centre: float, low: float, high: float, digits: int = 3, nothing: str = "-") -> str:
    if math.isnan(centre):
        return nothing
    return f"{centre:.{digits}f}" + ("" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")


def _time(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if math.isfinite(value) else "not reached"
