"""The picture of an audit along training. matplotlib"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optioncoagent.auditing.examination import BEST, EXACT, OWN, own_forms

Row = Mapping[str, Any]
COLORS = {OWN: "C3", EXACT: "C0", BEST: "C2"}
STYLES = ("-", "--", ":", "-.")


def draw(rows: Sequence[Row]) -> Any:
    """A figure: of each coagent, in the agent's own gradient form, cosine and norm ratio against steps, a line for each critic, and a cross
    where the estimate is lost in its noise; below J, what the critic tells apart at one state, the norms of the exact gradients.

    rows: those of `examine` with what `command.moment` says of each checkpoint (timesteps, J, …); with a column seed a line for each.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    forms = own_forms(rows)
    seeds, steps = sorted({row.get("seed", 0) for row in rows}), sorted({row["timesteps"] for row in rows})
    plain = [row for row in rows if not row["deviation"] and row["form"] == forms[row["coagent"]]]
    figure = Figure(figsize=(3.3 * max(len(forms), 3), 8.5), layout="constrained", dpi=120)
    parts: Any = figure.subfigures(2, 1, height_ratios=(2, 1))
    upper, lower = parts
    panels, below = upper.subplots(2, len(forms), sharex=True, squeeze=False), lower.subplots(1, 3)
    for column, coagent in zip(panels.T, forms, strict=True):
        for critic, color in COLORS.items():
            for seed in seeds:
                _line(column, [row for row in plain if _is(row, coagent, critic, seed)], color, steps)
        column[0].set(title=f"{coagent}, {forms[coagent]} form", ylim=(-1.05, 1.05))
        column[1].set_yscale("log")
        for axes, straight in zip(column, (0, 1), strict=True):
            axes.axhline(straight, color="gray", linewidth=0.8)
    panels[0, 0].set_ylabel("cosine to the exact gradient\n(band: ± 2 standard errors)")
    panels[1, 0].set_ylabel("norm over that of\nthe exact gradient")
    for critic, color in COLORS.items():
        if any(row["critic"] == critic for row in plain):
            panels[0, -1].plot([], [], "o-", color=color, markersize=3, linewidth=1, label=f"{critic} critic")
    panels[0, -1].plot([], [], "x", color="gray", label="lost in noise")
    panels[0, -1].legend(fontsize=8, frameon=False, loc="lower right")
    for i, seed in enumerate(seeds):
        _below(below, [row for row in plain if row["critic"] == EXACT and row.get("seed", 0) == seed], tuple(forms), not i)
    for axes, title in zip(below, ("J", "Q told apart at one state", "norm of the exact gradient"), strict=True):
        axes.set_ylabel(title)
        axes.legend(fontsize=8, frameon=False)
    below[1].set_yscale("log")
    below[2].set_yscale("log")
    for axes in (*panels.flat, *below):
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in (*panels[1], *below):
        axes.set_xlabel("environment steps")
    return figure


def _is(row: Row, coagent: str, critic: str, seed: Any) -> bool:
    return bool(row["coagent"] == coagent and row["critic"] == critic and row.get("seed", 0) == seed)


def _columns(rows: Sequence[Row], *names: str) -> list[NDArray[Any]]:
    return [np.array([row[name] for row in rows], dtype=np.float64) for name in names]


def _line(column: Sequence[Any], rows: Sequence[Row], color: str, moments: Sequence[float]) -> None:
    """Cosine and norm ratio of one coagent with one critic, with a gap where there is no row."""
    blank = {"cosine": np.nan, "cosine_error": np.nan, "norm_ratio": np.nan, "lost": False}
    at = {row["timesteps"]: row for row in rows}
    rows = [{"timesteps": step, **blank, **at.get(step, {})} for step in moments]
    steps, cosine, error, ratio, lost = _columns(rows, "timesteps", "cosine", "cosine_error", "norm_ratio", "lost")
    cosine, error, ratio = (np.where(lost == 0, y, np.nan) for y in (cosine, error, ratio))
    column[0].plot(steps, cosine, "o-", color=color, markersize=3, linewidth=1)
    column[0].fill_between(steps, cosine - 2 * error, cosine + 2 * error, color=color, alpha=0.2, linewidth=0)
    column[0].plot(steps[lost == 1], np.zeros(int(lost.sum())), "x", color=color)
    column[1].plot(steps, ratio, "o-", color=color, markersize=3, linewidth=1)


def _below(panels: Sequence[Any], rows: Sequence[Row], coagents: tuple[str, ...], labelled: bool) -> None:
    """J, what is told apart, and norms, of one run with the exact critic."""
    one = [row for row in rows if row["coagent"] == coagents[-1]]
    steps, J, mean, error, ours, theirs = _columns(one, "timesteps", "J", "J_episodes", "J_error", "critic_apart", "critic_apart_exact")

    def label(text: str) -> str | None:
        return text if labelled else None

    panels[0].plot(steps, J, "o-", color="C0", markersize=3, linewidth=1, label=label("exact"))
    panels[0].errorbar(steps, mean, 2 * error, fmt="k.", markersize=4, linewidth=1, label=label("episodes, ± 2 standard errors"))
    for y, color, text in ((ours, "C3", "own critic"), (theirs, "C0", "exact")):
        panels[1].plot(steps, np.where(y > 0, y, np.nan), "o-", color=color, markersize=3, linewidth=1, label=label(text))
    for i, coagent in enumerate(coagents):
        steps, norm = _columns([row for row in rows if row["coagent"] == coagent], "timesteps", "exact_norm")
        style = "o" + STYLES[i % len(STYLES)]
        panels[2].plot(steps, np.where(norm > 0, norm, np.nan), style, color=f"C{i}", markersize=3, linewidth=1, label=label(coagent))
