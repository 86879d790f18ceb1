"""What a gradient form does to learning: exact ascent along each form on four rooms, and how close each stays to the exact gradient.

Two settings. In "all-learn" every coagent learns, and one coagent's part of the gradient is a form; in "options-learn" the intra-option
policies stay as they were drawn, so that J can rise only by choosing and leaving options well. The cosines are measured along one path,
the exact ascent's, so that all forms are compared at the same parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from optioncoagent.exact import FORMS, compare_gradients, expected_return
from optioncoagent.experiments.ascent import ascent_path, constant, gradient_along
from optioncoagent.gallery import option_critic
from optioncoagent.mdp import MDP
from optioncoagent.runs.statistics import standard_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EXACT = "exact forms"  # they are one vector, so their ascents are one curve


@dataclass(frozen=True)
class Setting:
    """One ascent: environment, network, logits drawn normal(0, scale), step size, and which coagents learn."""

    name: str
    title: str
    env_id: str = "optioncoagent_envs:OptionCoagent/FourRooms-v0"
    gamma: float = 0.99
    num_options: int = 4
    scale: float = 1.0
    learning_rate: float = 50.0
    num_steps: int = 200
    num_points: int = 50
    learns: tuple[str, ...] = ("termination", "option", "action")


SETTINGS = (
    Setting("all-learn", "all coagents learn"),
    Setting(
        "options-learn", "intra-option policies fixed", learning_rate=100.0, num_steps=300, num_points=60, learns=("termination", "option")
    ),
)


class Row(NamedTuple):
    """One form after one number of steps: its cosine to the exact gradient along the exact ascent, and J along its own ascent."""

    setting: str
    seed: int
    form: str
    coagent: str
    step: int
    cosine: float
    expected_return: float


def run(setting: Setting, seed: int) -> list[Row]:
    """Ascend along each form that deviates, and along the exact gradient, from the same random logits (`seed`)."""
    import gymnasium as gym

    mdp = MDP.from_env(gym.make(setting.env_id), setting.gamma)
    network = option_critic(setting.num_options, mdp.num_actions)
    start = network.init_params(mdp.num_observations, seed, setting.scale)
    every = max(1, setting.num_steps // setting.num_points)

    def path(form: str | None) -> list:
        gradient = gradient_along(mdp, network, form, setting.learns)
        steps = ascent_path(start, gradient, constant(setting.learning_rate), setting.num_steps)
        return [params for step, params in enumerate(steps) if step % every == 0]

    deviations = [form for form in FORMS.values() if not form.exact]
    exact_path = path(None)
    compared = [{row.form: row.cosine for row in compare_gradients(mdp, params, deviations)} for params in exact_path]
    rows = []
    for name, coagent in [(EXACT, "all"), *((form.name, form.coagent) for form in deviations)]:
        visited = exact_path if name == EXACT else path(name)
        for i, params in enumerate(visited):
            cosine = 1.0 if name == EXACT else compared[i][name]
            rows.append(Row(setting.name, seed, name, coagent, i * every, cosine, expected_return(mdp, network, params)))
    return rows


def plot(rows: Iterable[Row]) -> Figure:
    """Three panels for each setting: cosine of each form along the exact ascent; J along each form's own ascent; the same less J along
    the exact ascent. Lines are means over seeds, bands their standard errors."""
    from matplotlib.figure import Figure

    rows = list(rows)
    names = list(dict.fromkeys(row.setting for row in rows))
    titles = {setting.name: setting.title for setting in SETTINGS}
    figure = Figure(figsize=(14, 3.8 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), 3, squeeze=False)
    for (cosine, height, gap), name in zip(panels, names, strict=True):
        _, reference = _curves(rows, name, EXACT, "expected_return")
        for form, color, style in _styles(rows):
            steps, returns = _curves(rows, name, form, "expected_return")
            _band(height, steps, returns, form, color, style)
            if form != EXACT:
                _band(cosine, *_curves(rows, name, form, "cosine"), form, color, style)
                _band(gap, steps, returns - reference, form, color, style)
        cosine.axhline(1.0, color="black", linewidth=1.6)
        gap.axhline(0.0, color="black", linewidth=1.6)
        cosine.set_title(titles.get(name, name), loc="left")
        cosine.set_ylabel("cosine to the exact gradient, along its ascent")
        height.set_ylabel("J along each form's own ascent")
        gap.set_ylabel("J less that of the exact ascent")
        for axes in (cosine, height, gap):
            axes.set_xlabel("ascent steps")
            axes.grid(alpha=0.25)
    handles, labels = panels[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _band(axes: Axes, steps: np.ndarray, curves: np.ndarray, label: str, color: str, style: str) -> None:
    """Mean and standard error of curves (seeds, K)."""
    mean = curves.mean(axis=0)
    axes.plot(steps, mean, color=color, linestyle=style, label=label, linewidth=1.6)
    if len(curves) > 1:
        error = standard_error(curves)
        axes.fill_between(steps, mean - error, mean + error, color=color, alpha=0.18, linewidth=0)


def _styles(rows: list[Row]) -> list[tuple[str, str, str]]:
    """(form, colour, line style): exact forms black, forms of the policy over options dashed; dots where another line may lie below."""
    coagents = {row.form: row.coagent for row in rows}
    others = [form for form in coagents if form != EXACT]
    style = {form: "-" if coagents[form] == "termination" else "--" for form in others} | {"post_switch_option": ":"}
    return [(EXACT, "black", "-"), *((form, f"C{i}", style[form]) for i, form in enumerate(others))]


def _curves(rows: list[Row], setting: str, form: str, value: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, (K,), and one curve a seed, (seeds, K)."""
    mine = [row for row in rows if row.setting == setting and row.form == form]
    steps = sorted({row.step for row in mine})
    by_seed = {(row.seed, row.step): getattr(row, value) for row in mine}
    return np.array(steps), np.array([[by_seed[seed, step] for step in steps] for seed in sorted({row.seed for row in mine})])
