"""Learning in the gridworld: mean return of 10,000 trials (ACN, appendix D, figure 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from optioncoagent.exact import expected_return, policy_gradient
from optioncoagent.experiments.figure5 import Training
from optioncoagent.experiments.problems import bits_network, fewest_steps, gridworld
from optioncoagent.runs.statistics import pooled

ASSUMPTIONS = (
    "Read into the paper, which does not say: start top-left, goal bottom-right, moves stop at the edge, reward -1 on every step, "
    "no cap on episodes; outputs before the first step uniform; logits and critic start at zero."
)


@dataclass(frozen=True)
class Learning:
    """Trials of the paper's learner; a seed is a tenth of them."""

    seeds: int = 10
    trials: int = 1000
    episodes: int = 200
    training: Training = Training()


@dataclass(frozen=True)
class Ascent:
    """The best J that ascent along the exact gradient (L-BFGS) finds; a seed is a restart from normal(0, 1) logits."""

    seeds: int = 16
    bound: float = 8.0  # of the logits: policies stay stochastic, so that every policy ends
    iterations: int = 300


SETTINGS = {"learning": Learning(), "best": Ascent()}
FULL = SETTINGS


def run(setting: Learning | Ascent, seed: int, threads: int = 1) -> list[dict[str, Any]]:
    """Rows of `Learning`: episode, trials, mean, squares (Σ (G - mean)²). Of `Ascent`: J, fewest_steps."""
    if isinstance(setting, Ascent):
        return [{"J": _ascend(setting, seed), "fewest_steps": fewest_steps(gridworld())}]
    returns = setting.training(setting.episodes, setting.trials, seed, threads).returns
    mean = returns.mean(axis=0)
    squares = ((returns - mean) ** 2).sum(axis=0)
    return [
        {"episode": e + 1, "trials": setting.trials, "mean": float(mean[e]), "squares": float(squares[e])} for e in range(setting.episodes)
    ]


def _ascend(setting: Ascent, seed: int) -> float:
    mdp, network = gridworld(), bits_network()
    layout = network.parameters(mdp.num_observations)

    def negative(theta: Any) -> tuple[float, Any]:
        params = layout.unflat(theta)
        try:
            return -expected_return(mdp, network, params), -layout.flat(policy_gradient(mdp, network, params))
        except ValueError:  # episodes so long that the solver refuses them: the line search steps back
            return 1e9, np.zeros_like(theta)

    start = layout.flat(network.init_params(mdp.num_observations, seed))
    bounds = [(-setting.bound, setting.bound)] * start.size
    found = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": setting.iterations})
    return -float(found.fun)


def curve(rows: list[dict[str, Any]]) -> tuple[Any, Any, Any]:
    """Episodes, mean return and its standard error over all trials, NaN for one."""
    learning = [row for row in rows if row["setting"] == "learning"]
    episodes = np.array(sorted({row["episode"] for row in learning}))
    ordered = sorted(learning, key=lambda row: (row["episode"], row["seed"]))
    shape = episodes.size, len({row["seed"] for row in learning})
    parts = (np.reshape([row[key] for row in ordered], shape) for key in ("trials", "mean", "squares"))
    return episodes, *pooled(*parts)


def best(rows: list[dict[str, Any]]) -> float:
    """The largest J that exact ascent found from any of its starts."""
    return max((row["J"] for row in rows if row["setting"] == "best"), default=float("nan"))


def plot(rows: list[dict[str, Any]]) -> Any:
    """Mean return by episode, the best J found for this network, and what a network that always executes could reach."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    episodes, mean, error = curve(rows)
    axes.fill_between(episodes, mean - 2 * error, mean + 2 * error, color="C0", alpha=0.3, linewidth=0)
    axes.plot(episodes, mean, "C0", label="mean return (band: 2 standard errors)")
    restarts = [row for row in rows if row["setting"] == "best"]
    if restarts:
        axes.axhline(
            best(rows), color="C3", linestyle="--", label=f"best J found, exact ascent, {len(restarts)} restarts: {best(rows):.3f}"
        )
        axes.axhline(-restarts[0]["fewest_steps"], color="0.5", linestyle=":", label="shortest path, if every coagent always executed")
    axes.set(xlabel="episode", ylabel="return")
    trials = sum(row["trials"] for row in rows if row["setting"] == "learning" and row["episode"] == 1)
    axes.set_title(f"Gridworld: actor-critic with eligibility traces, {trials:,} trials", fontsize=10)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """What is printed: mean returns along training, and the best J."""
    episodes, mean, error = curve(rows)
    lines = [
        f"mean return in episode {episodes[i]}: {mean[i]:.2f} ± {error[i]:.2f}"
        for i in (0, 9, 49, 99, -1)
        if -len(episodes) <= i < len(episodes)
    ]
    return [*lines, f"best J found: {best(rows):.4f}"]
