"""The picture of `optioncoagent gradients`: the table, and, where steps were taken, how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from optioncoagent.exact import Comparison


def picture(heading: str, along: Sequence[tuple[int, list[Comparison]]]) -> Figure:
    """Cosine and norm ratio of each form, from the last pair (steps taken, table); with more than one, the cosines between too."""
    from matplotlib.figure import Figure

    rows = along[-1][1]
    figure = Figure(figsize=(10 if len(along) == 1 else 15, 1.6 + 0.32 * len(rows)), layout="constrained", dpi=120)
    panels = figure.subplots(1, 2 if len(along) == 1 else 3)
    colors = _colors(rows)
    names = [f"{r.form} ({r.coagent})" for r in rows]

    cosine, ratio = panels[:2]
    _dots(cosine, names, [r.cosine for r in rows], colors, start=0.0)
    cosine.set(xlim=(min(-0.05, np.nanmin([-0.05, *(r.cosine for r in rows)]) - 0.05), 1.05), xlabel="cosine to the exact gradient")
    _dots(ratio, names, [r.norm_ratio for r in rows], colors, start=1.0)
    ratio.set(xscale="log", xlabel="norm / norm of the exact gradient", yticklabels=[])
    if len(along) > 1:
        _lines(panels[2], along, colors)
    figure.suptitle(heading, fontsize=9)
    return figure


def _dots(axes: Axes, names: list[str], values: list[float], colors: list[str], start: float) -> None:
    """One line a form, from `start` to its value, the first on top."""
    positions = np.arange(len(names))[::-1]
    axes.hlines(positions, start, values, color=colors, linewidth=2)
    axes.scatter(values, positions, color=colors, zorder=3)
    axes.axvline(1.0, color="0.6", linewidth=0.8)
    axes.set_yticks(positions, names)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="x", alpha=0.25)


def _lines(axes: Axes, along: Sequence[tuple[int, list[Comparison]]], colors: list[str]) -> None:
    """Cosine of each form that deviates, against the exact-gradient steps taken."""
    for i, row in enumerate(along[-1][1]):
        if not row.exact:
            style = "-" if row.coagent.startswith("termination") else "--"
            label = f"{row.form} ({row.coagent})" if "_" in row.coagent else row.form
            axes.plot([step for step, _ in along], [rows[i].cosine for _, rows in along], style, color=colors[i], label=label)
    axes.axhline(1.0, color="0.6", linewidth=0.8)
    axes.set(xlabel="exact-gradient steps", ylabel="cosine to the exact gradient")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _colors(rows: Sequence[Comparison]) -> list[str]:
    """Black for exact forms, a colour each for the others."""
    deviations = [r.form for r in rows if not r.exact]
    return ["black" if r.exact else f"C{deviations.index(r.form)}" for r in rows]
