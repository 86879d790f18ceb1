"""What runs went through: learning curves with intervals over seeds, and what options were like. Figures are drawn from files.

Runs of one task and one setting that differ in their seed make one curve: their mean, and the bootstrap interval of it.
"""

from __future__ import annotations

import json
import re
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optioncoagent.agents import files
from optioncoagent.gallery import TERMINATE
from optioncoagent.runs import checkpoints, folder, statistics
from optioncoagent.runs.rows import read_training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 200  # of a curve
EPISODES = 10  # a mean return over fewer is not drawn
LINES, DOTS = ("-", "--"), (":", "-.")  # of the last level or component, of the others
PANELS: tuple[tuple[str, Mapping[str, tuple[str, str]]], ...] = (
    ("return", {r"return_mean": LINES}),
    ("option length", {r"option(_\d+)?_length": LINES}),
    ("termination probability", {r"termination(_\d+)?_probability": LINES}),
    ("share of terminations\n< 0.05 (dotted: > 0.95)", {r"termination(_\d+)?/sure_1": LINES, r"termination(_\d+)?/sure_0": DOTS}),
    ("usage entropy, nats", {r"option(_\d+)?/usage_entropy": LINES}),
    ("information, nats\n(dotted: divergence)", {r"action(_\d+)?/information": LINES, r"action(_\d+)?/divergence": DOTS}),
)
# columns of any network, by the names of those that an OptionCritic has of its own
AS_OPTION_CRITIC = {r"(option(?:_\d+)?)/length": r"\1_length", rf"(termination(?:_\d+)?)/probability_{TERMINATE}": r"\1_probability"}
LETTER = 0.06  # width in inches of a letter in a legend, about
LINE = 0.14  # height in inches of a line there


@dataclass(frozen=True)
class Curve:
    """One run: its task, its settings (`folder.settings_of`), its columns {name: (rows,)}."""

    env_id: str
    settings: Mapping[str, Any]
    columns: Mapping[str, np.ndarray]


Groups = dict[str, dict[str, list[Curve]]]  # {task: {setting: runs}}


def read_curves(folders: Iterable[str | Path]) -> list[Curve]:
    """The rows of runs, each once. Raises FileNotFoundError or ValueError naming the file for what is missing or damaged; warns where two
    are of one seed, which then counts twice."""
    curves, seen = [], dict[str, Path]()
    for path in folder.distinct(folders):
        command = folder.read_command(path)
        seed = command.get("settings", {}).get("seed")
        same = seen.setdefault(json.dumps([command["env_id"], seed, folder.settings_of(command)], sort_keys=True), path)
        if same != path and seed is not None:
            warnings.warn(f"{same} and {path} are of one task, setting and seed ({seed}): it counts twice", stacklevel=2)
        columns = read_training(path, _ends(path))
        for name, new in AS_OPTION_CRITIC.items():
            columns |= {re.sub(name, new, old): x for old, x in columns.items() if re.fullmatch(name, old)}
        few = columns["episodes"] < EPISODES  # those that end first are short, and say little of the others
        columns["return_mean"] = np.where(few, np.nan, columns["return_mean"])
        curves.append(Curve(command["env_id"], folder.settings_of(command), columns))
    return curves


def group(curves: Iterable[Curve]) -> Groups:
    """By task, then by setting, which is named by what differs between the runs."""
    curves = list(curves)
    names = sorted(folder.differing([curve.settings for curve in curves]))
    groups: Groups = {}
    for curve in curves:
        label = ", ".join(f"{name}={_shown(curve.settings, name)}" for name in names)
        groups.setdefault(curve.env_id, {}).setdefault(label, []).append(curve)
    return groups


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over runs and the ends of its 95 % bootstrap interval, each (points,), of values (runs, points).

    There is no mean where a run that has numbers has none: runs that stop once they have learned would drop out of it, and the mean of the
    others would say nothing of all of them. Of fewer than four runs there is no interval (`statistics.interval`).
    """
    values = values[~np.isnan(values).all(axis=1)]
    points = np.isfinite(values).all(axis=0)
    found = np.full((3, values.shape[1]), np.nan)
    if len(values) and points.any():
        found[:, points] = statistics.interval([values[:, points]], estimate=np.mean)
    return found[0], found[1], found[2]


def on_grid(runs: Sequence[Curve], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps (points,), and a column of several runs at these steps, (runs, points): linear between rows, NaN before the first and after
    the last that has a number, infinite beside a row that is (options that never ended). Of a single row there is one point."""
    first, last = (choose(choose(run.columns["timesteps"]) for run in runs) for choose in (min, max))
    steps = np.linspace(first, last, POINTS) if last > first else np.array([first])
    values = np.full((len(runs), len(steps)), np.nan)
    for i, run in enumerate(runs):
        column = run.columns.get(name, np.array([np.nan]))
        known = np.isfinite(column)
        if known.any():
            values[i] = np.interp(steps, run.columns["timesteps"][known], column[known], left=np.nan, right=np.nan)
        if np.isinf(column).any():
            values[i, np.interp(steps, run.columns["timesteps"], np.isinf(column), left=0, right=0) > 0] = np.inf
    return steps, values


def usage(runs: Sequence[Curve], coagent: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps (points,), and how often each output of a coagent was in force, (outputs, points), the mean over runs.

    What is option 0 in one run is another in the next, so outputs are ranked in each run by how often they were used in all. As with
    `band` there is none where a run that has numbers has none.
    """
    names = _columns(runs, rf"{re.escape(coagent)}/usage_\d+")
    per_output = np.stack([on_grid(runs, name)[1] for name in names])  # (outputs, runs, points)
    per_output = per_output[:, ~np.isnan(per_output).all(axis=(0, 2))]
    order = np.argsort(-np.nanmean(per_output, axis=2), axis=0)
    return on_grid(runs, names[0])[0], np.take_along_axis(per_output, order[:, :, None], axis=0).mean(axis=1)


def plot(curves: Iterable[Curve]) -> Figure:
    """Return, what options are like (see `agents.metrics`) and their usage against steps: a column for each task, a colour for each
    setting. What no run has a column of is left out."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import EngFormatter

    groups = group(curves)
    everything = [run for settings in groups.values() for runs in settings.values() for run in runs]
    shown = [(title, lines) for title, lines in PANELS if any(_columns(everything, pattern) for pattern in lines)]
    usages = {task: _usages(settings) for task, settings in groups.items()}
    labels = list(dict.fromkeys(label for settings in groups.values() for label in settings))
    colors = dict(zip(labels, _colors(len(labels)), strict=True))
    num_rows, width = len(shown) + max(map(len, usages.values())), 1.5 + 4.5 * len(groups)
    legend = Legend.of(groups, width)
    figure = Figure(figsize=(width, 0.5 + 1.8 * num_rows + legend.height), layout="constrained", dpi=120)
    panels = figure.subplots(num_rows, len(groups), squeeze=False, sharex="col")
    for j, (task, settings) in enumerate(groups.items()):
        for axes, (title, lines) in zip(panels[:, j], shown, strict=False):
            for pattern, styles in lines.items():
                _curves(axes, settings, pattern, colors, styles)
            levels = max(len(_columns(runs, pattern)) for runs in settings.values() for pattern in lines)
            several = "last component solid" if "information" in title else "upper levels dashed"
            axes.set_ylabel(title + (f"\n({several})" if levels > 1 else "") if j == 0 else "", fontsize=8)
            if title.startswith("option length"):
                _plain_log(axes)
            if "termination" in title:
                axes.set_ylim(-0.02, 1.02)
            if title == "return" and not any(np.isfinite(run.columns["return_mean"]).any() for runs in settings.values() for run in runs):
                axes.text(
                    0.5, 0.5, f"fewer than {EPISODES} episodes have ended", ha="center", va="center", fontsize=8, transform=axes.transAxes
                )
                axes.set_yticks([])
        panels[0, j].set_title(task, fontsize=10)
        panels[-1, j].xaxis.set_major_formatter(EngFormatter(sep=""))
        for axes, (label, coagent) in zip(panels[len(shown) :, j], usages[task], strict=False):
            _stack(axes, settings[label], coagent, label)
        for axes in panels[len(shown) + len(usages[task]) :, j]:
            axes.set_axis_off()
        panels[len(shown) + len(usages[task]) - 1, j].set_xlabel("environment steps")
        panels[len(shown) + len(usages[task]) - 1, j].tick_params(labelbottom=True)
    handles = [Line2D([], [], color=colors[label], linewidth=1.4) for label in labels]
    figure.legend(handles, legend.labels, loc="outside lower center", ncols=legend.columns, fontsize=7, frameon=False)
    return figure


class Legend(NamedTuple):
    """What stands under a picture: labels, broken into lines where they are long, in so many columns; its height in inches."""

    labels: list[str]
    columns: int
    height: float

    @classmethod
    def of(cls, groups: Groups, width: float) -> Legend:
        """The settings and how many seeds they have, in so many inches."""
        numbers: dict[str, set[int]] = {}
        for settings in groups.values():
            for label, runs in settings.items():
                numbers.setdefault(label, set()).add(len(runs))
        letters, labels = int(width / LETTER), []
        for label, found in numbers.items():
            seeds = "–".join(map(str, sorted({min(found), max(found)}))) + " seed" + "s" * (max(found) > 1)
            labels.append(textwrap.fill(f"{label} ({seeds})" if label else seeds, letters - 8))
        lines = [line for label in labels for line in label.split("\n")]
        columns = min(max(letters // (max(map(len, lines)) + 8), 1), len(labels))
        return cls(labels, columns, LINE * -(-len(lines) // columns))


def _curves(axes: Axes, settings: Mapping[str, Sequence[Curve]], pattern: str, colors: Mapping[str, str], styles: tuple[str, str]) -> None:
    """Mean and interval of every setting, and where there is none a thin line for each of several runs; styles: of the last of several
    levels or components, of the others."""
    for label, runs in settings.items():
        names = sorted(_columns(runs, pattern), key=_level)
        for level, name in enumerate(names):
            steps, values = on_grid(runs, name)
            mean, low, high = band(values)
            axes.plot(steps, mean, styles[level < len(names) - 1], color=colors[label], linewidth=1.4)
            if (alone := _alone(mean)).any():
                axes.plot(steps[alone], mean[alone], "o", color=colors[label], markersize=3)
            axes.fill_between(steps, low, high, color=colors[label], alpha=0.2, linewidth=0)
            for run in values if len(runs) > 1 else ():
                axes.plot(steps, np.where(np.isnan(low), run, np.nan), styles[level < len(names) - 1], color=colors[label], linewidth=0.5)
    axes.grid(alpha=0.25)


def _colors(number: int) -> list[Any]:
    """So many that can be told apart: Matplotlib's own ten, or along a colour map."""
    from matplotlib import colormaps

    return [f"C{i}" for i in range(number)] if number <= 10 else list(colormaps["turbo"](np.linspace(0.03, 0.97, number)))


def _alone(values: np.ndarray) -> np.ndarray:
    """Which numbers of a line have none beside them, so that nothing would be drawn of them, (points,) bool."""
    known = np.pad(np.isfinite(values), 1)
    return known[1:-1] & ~known[:-2] & ~known[2:]


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name]).strip("[]").replace(" ", "") if name in settings else "-"


def _level(column: str) -> int:
    """Of a hierarchy, 1 the top one, or of an action with components: 2 of termination_2/sure_1."""
    number = re.match(r"[a-z]+_(\d+)", column)
    return int(number[1]) if number else 0


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
    if len(steps) == 1:  # a bar
        steps, shares = steps * np.array([0.98, 1.02]), shares.repeat(2, axis=1)
    axes.stackplot(steps, shares, colors=grays, linewidth=0)
    axes.set_ylim(0, 1)
    axes.set_ylabel(f"{coagent} usage\n(the most used below)", fontsize=8)
    axes.set_title(textwrap.fill(label, int(4.5 / LETTER)), fontsize=7)


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
