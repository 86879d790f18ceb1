"""Option-critic in four rooms: the goal moves after half of the episodes (OC, section "Four-rooms domain")."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optioncoagent.experiments.problems import fewest_steps, four_rooms
from optioncoagent.runs.statistics import pooled
from optioncoagent.simulate import Learner, train_option_critic

ASSUMPTIONS = (
    "OC's numbers: 104 cells, γ = 0.99, reward 1 at the goal, goal at the east doorway, moved after 1,000 episodes to a random cell of the "
    "lower-right room and back for the next run; start uniform over the other cells; step sizes 0.5 critic, 0.25 policies and "
    "terminations; temperature 0.001; 1,000 steps at most. Read into it: π_Ω is Boltzmann over Q_Ω at the same temperature; the factor "
    "1/temperature of the score is part of the step size, as in the authors' script; the actor's advantage is Q_U - Q_Ω; updates carry "
    'γ^t. A run cut off at 1,000 steps counts as 1,000. "text": a slip replaces the move. "code": a slip hops after it. "script": so too, '
    "but not after a move that a wall stopped, as in the authors' script. They are never to be compared."
)
BIN = 5  # episodes to a row
DYNAMICS = ("text", "code", "script")


@dataclass(frozen=True)
class Setting:
    """A learner on one of the dynamics, the goal moved after half of the episodes, as the figure has it; a seed is 50 of the 350 runs."""

    dynamics: str
    learner: Learner
    seeds: int = 7
    trials: int = 50
    episodes: int = 2000
    moved_at: int = 1000
    max_steps: int = 1000


@dataclass(frozen=True)
class Optimal:
    """The least expected number of steps, before and after the goal moves (mean over its new places)."""

    dynamics: str
    seeds: int = 1


AGENTS = {
    "flat": Learner(num_options=1),
    "4 options": Learner(num_options=4),
    "8 options": Learner(num_options=8),
    "4 options, learned π_Ω": Learner(num_options=4, policy_over_options="learned"),
}
DEVIATIONS = {
    "no γ^t": replace(AGENTS["4 options"], discounted=False),
    "max Q_Ω for V_Ω": replace(AGENTS["4 options"], v_omega="max"),
    "pair (S_t, ω_t)": replace(AGENTS["4 options"], pair="departure"),
    "option after the switch": replace(AGENTS["4 options"], pair="post_switch"),
    "margin 0.01": replace(AGENTS["4 options"], margin=0.01),
    "learned π_Ω, no gate": replace(AGENTS["4 options, learned π_Ω"], gated=False),
}
SETTINGS: dict[str, Setting | Optimal] = {
    **{f"{dynamics}: {name}": Setting(dynamics, learner) for dynamics in DYNAMICS for name, learner in AGENTS.items()},
    **{f"text: {name}": Setting("text", learner) for name, learner in DEVIATIONS.items()},
    **{f"{dynamics}: optimal": Optimal(dynamics) for dynamics in DYNAMICS},
}
FULL = SETTINGS


def run(setting: Setting | Optimal, seed: int, threads: int = 1) -> list[dict[str, Any]]:
    """Rows of `Setting`, one for BIN episodes: episode (the first), trials, steps and squares (mean over trials, Σ of squared deviations),
    option_length, termination. Of `Optimal`: before, after."""
    mdps = four_rooms(setting.dynamics)
    if isinstance(setting, Optimal):
        steps = [fewest_steps(mdp) for mdp in mdps]
        return [{"before": steps[0], "after": float(np.mean(steps[1:]))}]
    schedule = np.zeros((setting.trials, setting.episodes), dtype=np.int64)
    schedule[:, setting.moved_at :] = np.random.default_rng(seed).integers(1, len(mdps), size=(setting.trials, 1))
    runs = train_option_critic(mdps, schedule, setting.learner, seed, setting.max_steps, threads)
    binned = [x.reshape(setting.trials, -1, BIN).mean(axis=2) for x in (runs.steps, runs.option_length, runs.termination)]
    steps, lengths, terminations = binned
    mean, squares = steps.mean(axis=0), ((steps - steps.mean(axis=0)) ** 2).sum(axis=0)
    return [
        {
            "episode": BIN * k + 1,
            "trials": setting.trials,
            "steps": float(mean[k]),
            "squares": float(squares[k]),
            "option_length": float(lengths[:, k].mean()),
            "termination": float(terminations[:, k].mean()),
        }
        for k in range(mean.size)
    ]


def curves(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{setting: {episode, steps, error (standard error over trials), option_length, termination}}, seeds pooled."""
    settings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if "steps" in row:
            settings[row["setting"]].append(row)
    found = {}
    for name, part in settings.items():
        episodes = np.array(sorted({row["episode"] for row in part}))
        column = {
            key: np.array([row[key] for row in sorted(part, key=lambda r: (r["episode"], r["seed"]))]) for key in part[0] if key in _COLUMNS
        }
        column = {key: values.reshape(episodes.size, -1) for key, values in column.items()}
        steps, error = pooled(column["trials"], column["steps"], column["squares"])
        found[name] = {"episode": episodes, "steps": steps, "error": error, "trials": int(column["trials"][0].sum())}
        found[name] |= {key: np.average(column[key], axis=1, weights=column["trials"]) for key in ("option_length", "termination")}
    return found


_COLUMNS = ("trials", "steps", "squares", "option_length", "termination")


def plot(rows: list[dict[str, Any]]) -> Any:
    """Columns: the agents under each dynamics, the deviations. Rows: steps to the goal with 95 % bands, option length, termination."""
    from matplotlib.figure import Figure

    found, optimal = curves(rows), {row["setting"]: row for row in rows if "before" in row}
    figure = Figure(figsize=(19, 10), layout="constrained")
    grid = figure.subplots(3, 4, sharex=True, squeeze=False)
    columns = [
        ("text", 'dynamics "text"', list(AGENTS)),
        ("code", 'dynamics "code"', list(AGENTS)),
        ("script", 'dynamics "script"', list(AGENTS)),
        ("text", 'dynamics "text", deviations of public code', ["4 options", *DEVIATIONS]),
    ]
    for column, (dynamics, title, names) in enumerate(columns):
        for number, name in enumerate(names):
            curve = found.get(f"{dynamics}: {name}")
            if curve is None:
                continue
            label = (
                name.replace("π_Ω", r"$\pi_\Omega$")
                .replace("γ^t", r"$\gamma^t$")
                .replace("Q_Ω", r"$Q_\Omega$")
                .replace("V_Ω", r"$V_\Omega$")
            )
            label = label.replace("(S_t, ω_t)", r"$(S_t, \omega_t)$")
            colour, low, high = f"C{number}", curve["steps"] - 1.96 * curve["error"], curve["steps"] + 1.96 * curve["error"]
            grid[0, column].fill_between(curve["episode"], np.maximum(low, 1), high, color=colour, alpha=0.2, linewidth=0)
            grid[0, column].plot(curve["episode"], curve["steps"], color=colour, linewidth=1, label=label)
            if name != "flat":
                for row, key in ((1, "option_length"), (2, "termination")):
                    grid[row, column].plot(curve["episode"], curve[key], color=colour, linewidth=1, label=label)
        if f"{dynamics}: optimal" in optimal:
            best = optimal[f"{dynamics}: optimal"]
            shown = [found[key] for name in names if (key := f"{dynamics}: {name}") in found]
            episodes = max((curve["episode"][-1] + BIN - 1 for curve in shown), default=2000)
            moved = [1, episodes // 2, episodes // 2, episodes]
            grid[0, column].plot(moved, [best["before"]] * 2 + [best["after"]] * 2, color="k", linestyle=":", label="optimal")
        grid[0, column].set(title=title, yscale="log", ylim=(7, 6000))
        if grid[0, column].get_legend_handles_labels()[0]:
            grid[0, column].legend(fontsize=8, loc="upper center", ncols=2)
        grid[2, column].set(xlabel="episode", ylim=(0, 1))
    for row, label in enumerate(("steps to the goal", "option length (steps)", "termination probability")):
        grid[row, 0].set_ylabel(label)
    return figure


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Mean steps over the last 100 episodes before the move, the first 100 after it, and the last 100, with standard errors of a bin."""
    lines = []
    for name, curve in curves(rows).items():
        half = curve["episode"].size // 2
        parts = [slice(half - 100 // BIN, half), slice(half, half + 100 // BIN), slice(-100 // BIN, None)]
        numbers = ", ".join(f"{curve['steps'][p].mean():.1f} ± {curve['error'][p].mean():.1f}" for p in parts)
        lines.append(f"{name} ({curve['trials']} runs): {numbers}; option length {curve['option_length'][-1]:.2f}")
    return lines + [f"{row['setting']}: {row['before']:.2f} before, {row['after']:.2f} after" for row in rows if "before" in row]
