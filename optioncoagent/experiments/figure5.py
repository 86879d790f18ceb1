"""Gradient estimates in the gridworld: cosine distance against episodes (ACN, appendix D, figure 5)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optioncoagent.exact import policy_gradient
from optioncoagent.experiments.problems import bits_network, gridworld
from optioncoagent.runs.statistics import standard_error
from optioncoagent.simulate import actor_critic, estimate_finite_difference, estimate_gradient

ASSUMPTIONS = (
    "Read into the paper, which does not say: start top-left, goal bottom-right, moves stop at the edge, reward -1 on every step, "
    "no cap on episodes; outputs before the first step uniform; logits and critic start at zero; central differences share "
    "their episodes equally among the 104 evaluations, and both sides of a difference use the same random numbers."
)


@dataclass(frozen=True)
class Training:
    """Actor-critic with eligibility traces; the numbers are the paper's."""

    input_step_size: float = 0.02842
    output_step_size: float = 0.1598
    critic_step_size: float = 0.024686
    trace_decay: float = 0.8085

    def __call__(self, episodes: int, trials: int, seed: int, threads: int = 1) -> Any:
        step_size = {"bit_1": self.input_step_size, "bit_2": self.input_step_size, "action": self.output_step_size}
        return actor_critic(
            gridworld(), bits_network(), episodes, step_size, self.critic_step_size, self.trace_decay, trials, seed, threads=threads
        )


@dataclass(frozen=True)
class Setting:
    """Train, freeze the parameters, estimate. episodes: where the running estimates are compared with the truth."""

    seeds: int = 20
    training_episodes: int = 5
    training: Training = Training()
    episodes: tuple[int, ...] = tuple(round(10 ** (2 + k / 2)) for k in range(11))
    ungated_episodes: int = 1_000_000
    finite_difference_episodes: int = 30_000_000
    eps: float = 0.25


SETTINGS = {"gridworld": Setting()}
FULL = {
    "gridworld": replace(
        SETTINGS["gridworld"], episodes=tuple(round(10 ** (2 + k / 2)) for k in range(13)), finite_difference_episodes=500_000_000
    )
}


def run(setting: Setting, seed: int, threads: int = 1) -> list[dict[str, Any]]:
    """One trial. Rows: episodes, estimate, reference, coagent, distance (1 - cosine)."""
    mdp, network = gridworld(), bits_network()
    trained = setting.training(setting.training_episodes, 1, seed)
    params = {name: logits[0] for name, logits in trained.params.items()}
    exact = policy_gradient(mdp, network, params)
    difference = estimate_finite_difference(
        mdp, network, params, setting.finite_difference_episodes, setting.eps, seed, threads=threads
    ).mean
    rows = _compare(setting.finite_difference_episodes, "finite differences", difference, {"exact": exact})
    for gated in (True, False):
        sums, done = {name: np.zeros_like(logits) for name, logits in params.items()}, 0
        for number, episodes in enumerate(setting.episodes):
            if not gated and episodes > setting.ungated_episodes:
                break
            part_seed = (seed * len(setting.episodes) + number) * 2 + gated
            part = estimate_gradient(mdp, network, params, episodes - done, part_seed, threads=threads, gated=gated)
            sums, done = {name: sums[name] + (episodes - done) * part.mean[name] for name in sums}, episodes
            estimate = {name: total / done for name, total in sums.items()}
            references = {"exact": exact, "finite differences": difference} if gated else {"exact": exact}
            rows += _compare(episodes, "ACPGT" if gated else "without the gate", estimate, references)
    return rows


def _compare(episodes: int, name: str, estimate: Any, references: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"episodes": episodes, "estimate": name, "reference": reference, "coagent": coagent, "distance": _distance(x, gradient[coagent])}
        for reference, gradient in references.items()
        for coagent, x in estimate.items()
    ]


def _distance(x: Any, y: Any) -> float:
    """1 - cosine, written so that small distances keep their digits: |x/|x| - y/|y||² / 2."""
    norms = np.linalg.norm(x), np.linalg.norm(y)
    if 0 in norms:
        return 1.0
    return float(np.sum((x / norms[0] - y / norms[1]) ** 2) / 2)


def curves(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[tuple[int, float, float]]]:
    """{(estimate, reference): [(episodes, mean distance, standard error over trials)]}; a trial's distance is its coagents' mean."""
    trials: dict[Any, list[float]] = defaultdict(list)
    for row in rows:
        trials[row["estimate"], row["reference"], row["episodes"], row["seed"]].append(row["distance"])
    points: dict[Any, list[float]] = defaultdict(list)
    for (estimate, reference, episodes, _), distances in trials.items():
        points[estimate, reference, episodes].append(float(np.mean(distances)))
    found: dict[Any, Any] = defaultdict(list)
    for (estimate, reference, episodes), values in sorted(points.items()):
        error = standard_error(values)
        found[estimate, reference].append((episodes, float(np.mean(values)), float(error)))
    return dict(found)


def plot(rows: list[dict[str, Any]]) -> Any:
    """Cosine distance to the exact gradient and to finite differences, mean and standard error over trials."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    found = curves(rows)
    styles = {
        ("ACPGT", "exact"): ("C0", "o-", "ACPGT to the exact gradient"),
        ("ACPGT", "finite differences"): ("C2", "s--", "ACPGT to finite differences of sampled returns"),
        ("without the gate", "exact"): ("C3", "^-", "without the execution gate $E_t^i$, to the exact gradient"),
    }
    for key, (colour, style, label) in styles.items():
        if key in found:
            episodes, mean, error = np.array(found[key]).T
            axes.errorbar(episodes, mean, error, fmt=style, color=colour, capsize=3, markersize=4, label=label)
    if ("finite differences", "exact") in found:
        episodes, mean, error = found["finite differences", "exact"][0]
        axes.axhline(mean, color="0.5", linestyle=":", label=f"finite differences ({episodes:.1e} episodes) to the exact gradient")
    axes.set(xscale="log", yscale="log", xlabel="episodes used by the estimate", ylabel="cosine distance, mean over coagents")
    trials = len({row["seed"] for row in rows})
    axes.set_title(f"Gridworld: local gradient estimates ({trials} trials, mean ± standard error)", fontsize=10)
    axes.legend(fontsize=8)
    return figure


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each curve's last point."""
    return [
        f"{estimate} to {reference}: {points[-1][1]:.2e} ± {points[-1][2]:.0e} at {points[-1][0]:.0e} episodes"
        for (estimate, reference), points in curves(rows).items()
    ]
