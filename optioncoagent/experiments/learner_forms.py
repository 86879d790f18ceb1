"""The learner with each of its forms of the termination gradient on a MiniGrid task: the same expectation, sampled three ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from optioncoagent.agents.settings import GradientForm
from optioncoagent.runs.statistics import standard_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS: tuple[GradientForm, ...] = get_args(GradientForm)


@dataclass(frozen=True)
class Setting:
    """A task and how long to train; everything else is the learner's default, but for an encoder that learns from all coagents, whatever
    their form, λ-returns with expectations over the next options, and no limit of how far an update goes (target_kl)."""

    name: str
    env_id: str
    num_options: int = 4
    total_timesteps: int = 150_000


SETTINGS = (Setting("DoorKey-5x5", "MiniGrid-DoorKey-5x5-v0"),)


class Row(NamedTuple):
    """Mean return of the last 100 training episodes, NaN before one has ended."""

    setting: str
    seed: int
    form: str
    timesteps: int
    return_mean: float


def run(setting: Setting, seed: int) -> list[Row]:
    """Train once with each form, from the same seed."""
    from optioncoagent.agents import OptionCritic

    rows: list[Row] = []
    for form in FORMS:
        agent = OptionCritic(
            setting.env_id,
            num_options=setting.num_options,
            gradient_form=form,
            seed=seed,
            encoder_gradient="all",
            sampled_returns=False,
            target_kl=None,
        )

        def log(metrics: dict[str, float], form: str = form) -> None:
            rows.append(Row(setting.name, seed, form, int(metrics["timesteps"]), metrics["return_mean"]))

        agent.learn(setting.total_timesteps, log=log)
        agent.env.close()
    return rows


def plot(rows: Iterable[Row]) -> Figure:
    """A panel for each setting: return against steps, one line a form, the mean over seeds and its standard error."""
    from matplotlib.figure import Figure

    rows = list(rows)
    names = list(dict.fromkeys(row.setting for row in rows))
    figure = Figure(figsize=(6.5 * len(names), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for form in dict.fromkeys(row.form for row in rows):
            mine = {(row.seed, row.timesteps): row.return_mean for row in rows if row.setting == name and row.form == form}
            seeds, steps = (sorted({key[i] for key in mine}) for i in (0, 1))
            curves = np.array([[mine[seed, step] for step in steps] for seed in seeds])
            known = ~np.isnan(curves).any(axis=0)
            mean, x = curves[:, known].mean(axis=0), np.array(steps)[known]
            (line,) = axes.plot(x, mean, label=form)
            if len(seeds) > 1:
                error = standard_error(curves[:, known])
                axes.fill_between(x, mean - error, mean + error, color=line.get_color(), alpha=0.18, linewidth=0)
        axes.set(title=name, xlabel="environment steps", ylabel="mean return of the last 100 episodes")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, title="gradient form")
    return figure
