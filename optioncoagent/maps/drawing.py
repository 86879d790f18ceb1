"""The figure of option maps: a row for each option, a column for each quantity, the floor plan below all of them.

An option is an output of a coagent; of networks without options, the outputs of all coagents that are shown stand in their place.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optioncoagent.maps import MAX_STATES
from optioncoagent.maps.occupancy import CellMaps, cell_maps
from optioncoagent.maps.plans import STEPS, FloorPlan
from optioncoagent.network.roles import MOST, shown_of

SELDOM = 0.02  # of an option's mean over the floor's cells: what is rarer is not drawn
NEVER = 5e-4  # of all time: an option that runs less is not drawn
WALL, FLOOR = "0.35", "0.96"
MOVE, TURN, HANDLE = "#1f4e9c", "#5d7088", "#c0392b"
INCHES = 2.75  # width of a panel
NUMBERED = 10  # columns of the largest floor plan in which numbers can be read
LETTERS = {"pickup": "P", "drop": "D", "toggle": "T", "done": "–"}
MARKERS = {"key": "^", "ball": "o", "box": "s"}  # in a corner of their cell; other things are its frame
FILLED = {"goal": 0.35, "lava": 0.35}  # opacity of what fills its cell
COLOURS = {"yellow": "goldenrod", "grey": "dimgray", "lava": "orangered"}  # instead of what is too pale, or red for another reason
COLUMNS = (
    ("does: its most probable action", ""),
    ("runs: share of all time", "Blues"),
    ("ends: probability on arrival", "Reds"),
    ("is chosen: share of all choices", "Greens"),
)


def option_maps(agent: Any, level: int = 0, max_states: int = MAX_STATES) -> Any:
    """A matplotlib Figure of what the options of an agent do in a level of its grid task; of a network of one's own what the outputs of its
    coagents do (`roles.shown_of`), each by itself, whatever the others give.

    level: a MiniGrid seed. ValueError for a network without a coagent that could be shown, one that executes by what it observes, a task
    without a floor plan, or a MiniGrid level with more than `max_states` states.
    """
    from optioncoagent.maps.plans import read_level

    env_id, network = agent.interface.env_id, agent.network.tabulated()
    if env_id is None:
        raise ValueError("this agent was made from an environment object: maps need the id of its task")
    names = shown_of(network)
    if not names:
        raise ValueError(
            f"maps are drawn of coagents named option, and, of {MOST} at most, of all others but actions and terminations; this agent's "
            f"coagents are {', '.join(network.names)}"
        )
    agent.check_tables()
    mdp, plan = read_level(env_id, agent.settings.gamma, level, agent.interface.env_kwargs, max_states)
    if mdp.observations is not None and (reading := [name for name, touched in network.touched.items() if touched.state]):
        raise ValueError(
            f"coagent {reading[0]!r} executes by what it observes, and the exact solver knows observations by number: no maps of it"
        )
    params = agent.params(mdp)
    maps = [cell_maps(mdp, network, params, plan, name) for name in names]
    named = f"{env_id}, level of seed {level}" if plan.facing is not None else env_id
    return draw(maps, plan, f"{named} after {agent.num_timesteps:,} steps of training (γ = {agent.settings.gamma:g})")


def draw(maps: Sequence[CellMaps], plan: FloorPlan, title: str) -> Any:
    """The figure of the `CellMaps` of some coagents on a floor plan."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    drawn: list[_Row] = []
    for part in maps:
        share = part.time.sum(axis=1)
        often = [_often(weights, plan) for weights in (share, part.arrivals, part.chosen)]
        shaded = np.stack([np.where(*x, np.nan) for x in zip(often, (share, part.ends, part.chosen), strict=True)], axis=1)
        drawn += [_Row(part, int(output), shaded[output]) for output in np.flatnonzero(share.sum(axis=1) > NEVER)]
    limits = [1.0 if column == 1 else max(np.nanmax(row.shaded[column], initial=1e-9) for row in drawn) for column in range(3)]
    rows, columns = plan.walls.shape
    height = INCHES * rows / columns
    figure = Figure(figsize=((INCHES + 0.15) * len(COLUMNS) + 1.3, len(drawn) * (height + 0.05) + 1.4), layout="constrained")
    grid = figure.add_gridspec(len(drawn) + 1, len(COLUMNS), height_ratios=[height] * len(drawn) + [0.13])
    for column, (heading, colours) in enumerate(COLUMNS):
        image = None
        for place, row in enumerate(drawn):
            axes = figure.add_subplot(grid[place, column])
            floor(axes, plan)
            if column:
                image = shade(axes, plan, row.shaded[column - 1], limits[column - 1], colours)
            else:
                axes.set_ylabel(row.caption, fontsize=11, rotation=0, ha="right", va="center", labelpad=8)
                arrows(axes, plan, row.maps.policy[row.output], row.maps.time[row.output])
            if place == 0:
                axes.set_title(heading, fontsize=11)
        below = figure.add_subplot(grid[len(drawn), column])
        if image is None:
            below.axis("off")
            below.legend(handles=_legend(plan), loc="upper center", ncols=3, fontsize=9, frameon=False, handletextpad=0.4, columnspacing=1)
        else:
            figure.colorbar(image, cax=below, orientation="horizontal", format=PercentFormatter(1.0))
    figure.suptitle(title, fontsize=12)
    there = [(row.maps.name, row.output) for row in drawn]
    absent = [_named(part.name, u) for part in maps for u in range(len(part.length)) if (part.name, u) not in there]
    figure.supxlabel("\n".join(textwrap.wrap(_explanation(plan, absent), 175)), fontsize=9, x=0.01, ha="left")
    return figure


class _Row(NamedTuple):
    """An output of a coagent, and where it is in force, ends and is chosen, (3, C); NaN where nothing is drawn."""

    maps: CellMaps
    output: int
    shaded: NDArray[np.float64]

    @property
    def caption(self) -> str:
        share, length = self.maps.time[self.output].sum(), self.maps.length[self.output]
        return f"{_named(self.maps.name, self.output)}\n{share:.0%} of the time\n{length:.1f} steps long"


def _named(coagent: str, output: int) -> str:
    return f"{coagent.replace('_', ' ')}{': ' if coagent[-1].isdigit() else ' '}{output}"


def floor(axes: Any, plan: FloorPlan) -> None:
    """Walls, what lies in the rooms, where episodes start."""
    from matplotlib.colors import ListedColormap

    rows, columns = plan.walls.shape
    axes.imshow(plan.walls, cmap=ListedColormap([FLOOR, WALL]), vmin=0, vmax=1, interpolation="none")
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6)
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_visible(False)
    for cell, (what, colour) in plan.marks.items():
        _mark(axes, divmod(cell, columns), what, colour, columns)
    if len(plan.starts) == 1:
        _mark(axes, divmod(int(plan.starts[0]), columns), "start", "black", columns)


def shade(axes: Any, plan: FloorPlan, values: NDArray[np.float64], limit: float, colours: str) -> Any:
    """Values of cells as colours, and, where there is room, as numbers in percent."""
    rows, columns = plan.walls.shape
    grid = values.reshape(rows, columns)
    image = axes.imshow(np.ma.masked_invalid(grid), cmap=colours, vmin=0, vmax=limit, interpolation="none")
    for row, column in np.argwhere(np.isfinite(grid) & (columns <= NUMBERED)):
        value = grid[row, column]
        colour = "white" if value > 0.6 * limit else "black"
        number = f"{100 * value:.0f}" if value >= 0.005 else "<1"
        axes.text(column, row, number, color=colour, fontsize=_points(columns, 0.3), ha="center", va="center")
    return image


def arrows(axes: Any, plan: FloorPlan, policy: NDArray[np.float64], time: NDArray[np.float64]) -> None:
    """The most probable action of an option in each cell and, where the agent faces somewhere, for each facing, the paler the rarer.

    policy: (F, C, A). time: (F, C).
    """
    columns = plan.walls.shape[1]
    often = time.max(initial=0.0)
    for facing, cell in np.argwhere(_often(time.reshape(1, -1), plan).reshape(time.shape)):
        action = plan.actions[int(np.argmax(policy[facing, cell]))]
        alpha = 0.3 + 0.7 * float(np.sqrt(time[facing, cell] / often))
        row, column = divmod(int(cell), columns)
        if plan.facing is None:
            step = np.array({"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}[action])
            _arrow(axes, (row, column) - 0.35 * step, (row, column) + 0.35 * step, MOVE, alpha, columns)
            continue
        step = np.array(STEPS[facing])
        if action == "forward":
            _arrow(axes, (row, column) + 0.1 * step, (row, column) + 0.48 * step, MOVE, alpha, columns)
        elif action in ("left", "right"):
            side = 1 if action == "right" else -1
            towards = np.array(STEPS[(facing + side) % 4])
            begin, end = (row, column) + 0.36 * step - 0.12 * towards, (row, column) + 0.22 * step + 0.24 * towards
            _arrow(axes, begin, end, TURN, alpha, columns, bend=-0.5 * side)
        else:
            y, x = (row, column) + 0.3 * step
            size = _points(columns, 0.3)
            axes.text(x, y, LETTERS[action], color=HANDLE, alpha=alpha, fontsize=size, weight="bold", ha="center", va="center")


def _arrow(axes: Any, begin: Any, end: Any, colour: str, alpha: float, columns: int, bend: float = 0.0) -> None:
    from matplotlib.patches import FancyArrowPatch

    style = (
        f"simple,head_length={_points(columns, 0.2):.2f},head_width={_points(columns, 0.22):.2f},tail_width={_points(columns, 0.06):.2f}"
    )
    bow = f"arc3,rad={bend}"
    axes.add_patch(
        FancyArrowPatch(
            begin[::-1], end[::-1], arrowstyle=style, connectionstyle=bow, color=colour, alpha=alpha, linewidth=0, shrinkA=0, shrinkB=0
        )
    )


def _mark(axes: Any, place: tuple[int, int], what: str, colour: str, columns: int) -> None:
    row, column = place
    if what in MARKERS:
        size = _points(columns, 0.17)
        axes.plot(column + 0.34, row + 0.34, MARKERS[what], color=_colour(what, colour), markersize=size, markeredgecolor="black", zorder=4)
    else:
        axes.add_patch(_frame(what, colour, (column - 0.46, row - 0.46)))


def _frame(what: str, colour: str, corner: tuple[float, float] = (0.0, 0.0)) -> Any:
    """A cell that is, or is under, such a thing."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    edge = _colour(what, colour)
    face = to_rgba(edge, FILLED.get(what, 0.0))
    style = ":" if what == "start" else "-"
    return Rectangle(corner, 0.92, 0.92, facecolor=face, edgecolor=edge, linewidth=1.8, linestyle=style, zorder=3)


def _legend(plan: FloorPlan) -> list[Any]:
    from matplotlib.lines import Line2D

    things = dict.fromkeys(plan.marks.values())
    handles: list[Any] = []
    for what, colour in [*things, *([("start", "black")] if len(plan.starts) == 1 else [])]:
        name = what if what in ("start", "goal", "lava") else f"{colour} {what}"
        if what in MARKERS:
            handles.append(Line2D([], [], marker=MARKERS[what], color=_colour(what, colour), markeredgecolor="black", linestyle="none"))
        else:
            handles.append(_frame(what, colour))
        handles[-1].set_label(name)
    return handles


def _colour(what: str, colour: str) -> str:
    return COLOURS.get(what, COLOURS.get(colour, colour))


def _points(columns: int, part: float) -> float:
    """A part of a cell's width in points."""
    return 72 * INCHES / columns * part


def _often(weights: NDArray[np.float64], plan: FloorPlan) -> NDArray[np.bool_]:
    """Where weights, (options, …), are worth drawing."""
    return weights > SELDOM * weights.sum(axis=-1, keepdims=True) / np.unique(plan.cell).size


def _explanation(plan: FloorPlan, absent: list[str]) -> str:
    where = ""
    if plan.facing is not None:
        where = (
            "An action is drawn on the side of the cell that the agent faces: straight arrow, forward; bent arrow, turn; P, D, T, –, "
            "pick up, drop, toggle, done. What it carries and which doors are open is averaged over, by time. "
        )
    numbers = "numbers are percent; " if plan.walls.shape[1] <= NUMBERED else ""
    unused = f" (Almost) never running, and not drawn: {', '.join(absent)}." if absent else ""
    return (
        f"{where}Paler is rarer. Exact occupancies of this level, discounted; {numbers}blank floor is (almost) never reached. "
        f"What ends is chosen anew, be it the same; a length runs from a choice of it to the next choice of any.{unused}"
    )
