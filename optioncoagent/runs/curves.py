"""What runs went through: learning curves with intervals over seeds, option lengths, terminations, usage. Figures are drawn from files.

Runs of one task and one setting that differ in their seed make one curve: their mean, and the bootstrap interval of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optioncoagent.agents import files
from optioncoagent.runs import checkpoints, folder
from optioncoagent.runs.rows import read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 200  # of a curve
NO_SETTING = ("env_id", "seed", "total_timesteps", "eval_episodes", "checkpoint_seconds", "track", "wandb_project_name")
PANELS = (
    ("return", r"return_mean"),
    ("option length", r"option(_\d+)?_length"),
    ("termination probability", r"termination(_\d+)?_probability"),
)


@dataclass(frozen=True)
class Curve:
    """One run: its task, its settings (flat), its columns {name: (rows,)}."""

    env_id: str
    settings: Mapping[str, Any]
    columns: Mapping[str, np.ndarray]


Groups = dict[str, dict[str, list[Curve]]]  # {task: {setting: runs}}


def read_curves(folders: Iterable[str | Path]) -> list[Curve]:
    """The rows of runs. Raises FileNotFoundError or ValueError naming the file for what is missing or damaged."""
    curves = []
    for path in map(Path, folders):
        command = folder.read_config(path).get("command", {})
        if "env_id" not in command:
            raise ValueError(f"{path / folder.CONFIG} is damaged, or of another version: it names no environment")
        flat = {**command, **command.get("settings", {})}
        columns = read_rows(path, _ends(path))
        if not len(columns.get("timesteps", ())):
            raise ValueError(f"{path} has no rows yet")
        settings = {name: json.dumps(value) for name, value in flat.items() if name not in ("settings", *NO_SETTING)}
        curves.append(Curve(command["env_id"], settings, columns))
    return curves


def group(curves: Iterable[Curve]) -> Groups:
    """By task, then by setting, which is named by what differs between the runs."""
    curves = list(curves)
    names = sorted({name for curve in curves for name in curve.settings})
    differing = [name for name in names if len({curve.settings.get(name) for curve in curves}) > 1]
    groups: Groups = {}
    for curve in curves:
        label = ", ".join(f"{name}={curve.settings.get(name, '-').strip('[]').replace(' ', '')}" for name in differing)
        groups.setdefault(curve.env_id, {}).setdefault(label, []).append(curve)
    return groups


def interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over runs and the ends of its bootstrap interval (percentile), each (points,), of values (runs, points).

    NaN, where a run does not reach or has no such number, is left out; a point of one run has no interval.
    """
    from scipy.stats import bootstrap

    known = np.isfinite(values)
    mean, low, high = (np.full(values.shape[1], np.nan) for _ in range(3))
    for pattern in np.unique(known, axis=1).T:
        points = (known == pattern[:, None]).all(axis=0)
        here = values[pattern][:, points]
        if len(here):
            mean[points] = here.mean(axis=0)
        if len(here) > 1:
            ends = bootstrap((here,), np.mean, axis=0, confidence_level=level, method="percentile", rng=np.random.default_rng(0))
            low[points], high[points] = ends.confidence_interval
    return mean, low, high


def on_grid(runs: Sequence[Curve], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps (points,), and a column of several runs at these steps, (runs, points): linear between rows, NaN before the first and after
    the last that has a number."""
    first, last = (choose(choose(run.columns["timesteps"]) for run in runs) for choose in (min, max))
    steps = np.linspace(first, last, POINTS)
    values = np.full((len(runs), POINTS), np.nan)
    for i, run in enumerate(runs):
        column = run.columns.get(name, np.array([np.nan]))
        known = np.isfinite(column)
        if known.any():
            values[i] = np.interp(steps, run.columns["timesteps"][known], column[known], left=np.nan, right=np.nan)
    return steps, values


def usage(runs: Sequence[Curve], coagent: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps (points,), and how often each output of a coagent was in force, (outputs, points), the mean over runs.

    What is option 0 in one run is another in the next, so outputs are ranked in each run by how often they were used in all.
    """
    names = _columns(runs, rf"{re.escape(coagent)}/usage_\d+")
    per_output = np.stack([on_grid(runs, name)[1] for name in names])  # (outputs, runs, points)
    order = np.argsort(-np.nanmean(per_output, axis=2), axis=0)
    ranked = np.take_along_axis(per_output, order[:, :, None], axis=0)
    return on_grid(runs, names[0])[0], np.nanmean(ranked, axis=1)


def plot(curves: Iterable[Curve]) -> Figure:
    """Return, option length, termination probability and option usage against steps: a column for each task, a colour for each setting."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    groups = group(curves)
    usages = {task: _usages(settings) for task, settings in groups.items()}
    num_rows = len(PANELS) + max(map(len, usages.values()))
    figure = Figure(figsize=(1.5 + 4.5 * len(groups), 0.5 + 2.1 * num_rows), layout="constrained", dpi=120)
    panels = figure.subplots(num_rows, len(groups), squeeze=False, sharex="col")
    colors = {label: f"C{i}" for i, label in enumerate(dict.fromkeys(label for settings in groups.values() for label in settings))}
    for j, (task, settings) in enumerate(groups.items()):
        for i, (title, pattern) in enumerate(PANELS):
            _curves(panels[i, j], settings, pattern, colors)
            levels = max(len(_columns(runs, pattern)) for runs in settings.values())
            panels[i, j].set_ylabel(title + ("\n(upper levels dashed)" if levels > 1 else "") if j == 0 else "")
        panels[0, j].set_title(task, fontsize=10)
        panels[-1, j].xaxis.set_major_formatter(EngFormatter(sep=""))
        _plain_log(panels[1, j])
        panels[2, j].set_ylim(-0.02, 1.02)
        for axes, (label, coagent) in zip(panels[len(PANELS) :, j], usages[task], strict=False):
            _stack(axes, settings[label], coagent, label)
        for axes in panels[len(PANELS) + len(usages[task]) :, j]:
            axes.set_axis_off()
        panels[len(PANELS) + len(usages[task]) - 1, j].set_xlabel("environment steps")
        panels[len(PANELS) + len(usages[task]) - 1, j].tick_params(labelbottom=True)
    panels[0, 0].legend(fontsize=7, frameon=False)
    return figure


def _curves(axes: Axes, settings: Mapping[str, Sequence[Curve]], pattern: str, colors: Mapping[str, str]) -> None:
    """Mean and interval of every setting; of several levels, the upper ones dashed."""
    for label, runs in settings.items():
        names = _columns(runs, pattern)
        for level, name in enumerate(names):
            steps, values = on_grid(runs, name)
            mean, low, high = interval(values)
            seeds = f"{len(runs)} seed" + "s" * (len(runs) > 1)
            named = f"{label} ({seeds})" if label else seeds
            style = "-" if level == len(names) - 1 else "--"
            axes.plot(steps, mean, style, color=colors[label], linewidth=1.4, label=named if level == len(names) - 1 else None)
            axes.fill_between(steps, low, high, color=colors[label], alpha=0.2, linewidth=0)
    axes.grid(alpha=0.25)


def _plain_log(axes: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _stack(axes: Axes, runs: Sequence[Curve], coagent: str, label: str) -> None:
    """Usage of the outputs, the most used at the bottom."""
    steps, shares = usage(runs, coagent)
    grays = [str(x) for x in np.linspace(0.25, 0.92, len(shares))]
    axes.stackplot(steps, shares, colors=grays, linewidth=0)
    axes.set(ylim=(0, 1), ylabel=f"{coagent} usage")
    axes.set_title(label, fontsize=8)


def _usages(settings: Mapping[str, Sequence[Curve]]) -> list[tuple[str, str]]:
    """(setting, coagent) of every panel of usage."""
    return [
        (label, coagent)
        for label, runs in settings.items()
        for coagent in dict.fromkeys(name.partition("/")[0] for name in _columns(runs, r"option(_\d+)?/usage_\d+"))
    ]


def _columns(runs: Sequence[Curve], pattern: str) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.columns if re.fullmatch(pattern, name)))


def _ends(path: Path) -> dict[str, Any] | None:
    """Where the newest checkpoint that can be read found the rows."""
    for one in files.checkpoints(path):
        try:
            return checkpoints.read_record(one).ends
        except (ValueError, OSError):
            continue
    return None
