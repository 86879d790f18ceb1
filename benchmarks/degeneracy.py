"""Claim: what makes options last, and what it costs: remedies for options that end at once, one by one.

    python benchmarks/degeneracy.py [--where "four rooms" MiniGrid] [--tasks Unlock …] [--seeds 3] [--workers 1] [--table]

Four options. Remedies: a deliberation cost, charged for each new choice and part of the values (Harb et al., "When Waiting Is Not an
Option", AAAI 2018); the same number as a margin, a regulariser of the terminations alone, which the critic does not know (OC; on MiniGrid
in standard deviations of the advantages, by which all of them are divided); terminations that are improbable at first (b = 0.05);
terminations without the entropy bonus, which draws b to a half; a reward for actions that tell which option chose them, given the one that
ran before (`optioncoagent.agents.diversity`; on MiniGrid only); and, for comparison, ends that nothing decides, after four steps on
average.

In four rooms (dynamics "code", no move) tabular agents, 40 runs of 1,000 episodes each, whose figures are exact: the option's
length, the entropy of how options are used, I(ω; A | s) and the share of terminations below 0.05 and above 0.95, under the occupancies of
what each run ended with. On MiniGrid the default agent for 100,000 frames; figures are means over the last ten updates, and frames until
the mean return of 100 episodes is 0.8, infinite where that was later. Rows go to degeneracy_four_rooms.csv and degeneracy.csv beside this
file; runs whose row is there are not run again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rows
import torch
import tyro

import optioncoagent as oc
from optioncoagent.exact import degeneracy
from optioncoagent.experiments.problems import four_rooms
from optioncoagent.gallery import TERMINATE, option_critic, random_length
from optioncoagent.network import CoagentNetwork
from optioncoagent.simulate import actor_critic
from optioncoagent.simulate.intra_option import Learner, train_option_critic

ROWS = Path(__file__).with_suffix(".csv")
FOUR_ROOMS = ROWS.with_stem("degeneracy_four_rooms")
PICTURE = Path(__file__).parent / "figures" / "degeneracy.png"
TASKS = ("DoorKey-6x6", "KeyCorridorS3R1", "Unlock")
FRAMES, TARGET, LAST = 100_000, 0.8, 10
RUNS, EPISODES, MAX_STEPS = 40, 1000, 1000
SELDOM = -3.0  # the logit of b = 0.05
SIZES = (2.0, 0.1, 0.0)  # as described_four_rooms.py has found them for four options
LOOP = Learner(policy_over_options="learned", temperature=1.0, discounted=False, policy_step_size=1.0, critic_step_size=1.0)
FIGURES = ("length", "usage_entropy", "information", "sure_0", "sure_1")


@dataclass(frozen=True)
class Remedy:
    """cost: of deliberation; bias: added to the logits of ending; entropy: do terminations have the entropy bonus? chance: ends by
    chance; margin: in place of the cost, in four rooms in option-critic's own loop, which has it. diversity: the weight of that reward, on
    MiniGrid."""

    cost: float = 0.0
    bias: float = 0.0
    entropy: bool = True
    chance: bool = False
    margin: float | None = None
    diversity: float = 0.0

    def network(self, num_actions: int) -> CoagentNetwork:
        return random_length(4, num_actions, 4) if self.chance else option_critic(4, num_actions, deliberation_cost=self.cost)


ON_MINIGRID = {
    "none": Remedy(),
    "cost 0.001": Remedy(0.001),
    "cost 0.005": Remedy(0.005),
    "cost 0.02": Remedy(0.02),
    "no entropy of terminations": Remedy(entropy=False),
    "no entropy of terminations, cost 0.02": Remedy(0.02, entropy=False),
    "no entropy of terminations, seldom ending at first": Remedy(bias=SELDOM, entropy=False),
    "seldom ending at first": Remedy(bias=SELDOM),
    "ending by chance": Remedy(chance=True),
    "margin 0.01": Remedy(margin=0.01),
    "margin 0.05": Remedy(margin=0.05),
    "margin 0.2": Remedy(margin=0.2),
    "diversity 0.003": Remedy(diversity=0.003),
    "diversity 0.01": Remedy(diversity=0.01),
    "diversity 0.03": Remedy(diversity=0.03),
    "no entropy of terminations, diversity 0.01": Remedy(entropy=False, diversity=0.01),
    "ending by chance, diversity 0.01": Remedy(chance=True, diversity=0.01),
}
IN_FOUR_ROOMS = {
    "none": Remedy(),
    "cost 0.001": Remedy(0.001),
    "cost 0.005": Remedy(0.005),
    "cost 0.02": Remedy(0.02),
    "cost 0.05": Remedy(0.05),
    "cost 0.1": Remedy(0.1),
    "seldom ending at first": Remedy(bias=SELDOM),
    "seldom ending at first, cost 0.005": Remedy(0.005, SELDOM),
    "ending by chance": Remedy(chance=True),
    "own loop, none": Remedy(margin=0.0),
    "own loop, margin 0.001": Remedy(margin=0.001),
    "own loop, margin 0.005": Remedy(margin=0.005),
    "own loop, margin 0.02": Remedy(margin=0.02),
    "own loop, margin 0.1": Remedy(margin=0.1),
}


class WithMargin(oc.CoagentActorCritic):
    """Terminations learn as if going on were worth so much more than the critic says; nothing else does."""

    margin = 0.0

    def losses(self, batch: Any, read: torch.Tensor | None = None) -> torch.Tensor:
        read = self._read(batch) if read is None else read
        parts, of_termination = super().losses(batch, read), self.loss_names.index("termination/loss")
        # ξ ∂(1 − b) where the termination executed, at all but first steps, is the gradient of −ξ b
        b = read[: len(self.module.part)][self.module.part == of_termination].softmax(dim=0)[TERMINATE]
        penalty = self.margin * (b * batch.valid * ~batch.start).mean()
        return torch.stack([part + penalty if i == of_termination else part for i, part in enumerate(parts)])


@dataclass(frozen=True)
class Run:
    task: str
    remedy: str
    seed: int


def make(run: Run) -> oc.CoagentActorCritic:
    remedy = ON_MINIGRID[run.remedy]
    settings: dict[str, Any] = {"diversity_coef": remedy.diversity}
    if not remedy.entropy:
        settings["ent_coefs"] = {"termination": 0.0}
    learner = oc.CoagentActorCritic if remedy.margin is None else WithMargin
    agent = learner(f"MiniGrid-{run.task}-v0", remedy.network, seed=run.seed, **settings)
    if isinstance(agent, WithMargin):
        agent.margin = remedy.margin or 0.0
    if remedy.bias:
        with torch.no_grad():
            agent.module.common["policy_termination"].bias[TERMINATE] += remedy.bias  # type: ignore[index,operator]
    return agent


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, agent = time.perf_counter(), make(run)
    frames, seen = float("inf"), list[dict[str, float]]()
    while agent.num_timesteps < FRAMES:
        seen.append(agent.update())
        if frames == float("inf") and len(agent.recent) == 100 and seen[-1]["return_mean"] >= TARGET:
            frames = agent.num_timesteps
    names = ("option/length", "option/usage_entropy", "action/information", "termination/sure_0", "termination/sure_1")
    means = [np.mean([row.get(name, np.nan) for row in seen[-LAST:]]) for name in names]
    found = {name: round(float(mean), 4) for name, mean in zip(FIGURES, means, strict=True)}
    ended = {"frames": frames, "return_mean": round(seen[-1]["return_mean"], 4)}
    return run, ended | found | {"divergence": round(seen[-1]["action/divergence"], 4), "seconds": round(time.perf_counter() - began, 1)}


def ends(remedy: Remedy, threads: int) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """Steps of the last 100 episodes of each run, (RUNS,), and its parameters."""
    mdp = four_rooms("code")[0]
    if remedy.margin is not None:
        schedule, given = np.zeros((RUNS, EPISODES), dtype=np.int64), replace(LOOP, margin=remedy.margin)
        loop = train_option_critic([mdp], schedule, given, seed=1, max_steps=MAX_STEPS, threads=threads)
        termination = np.stack([loop.preferences["termination"], np.zeros_like(loop.preferences["termination"])], axis=-1)
        return loop.steps[:, -100:].mean(axis=1), [
            {"termination": termination[run], **{name: loop.preferences[name][run] for name in ("option", "action")}} for run in range(RUNS)
        ]
    network = remedy.network(mdp.num_actions)
    start = network.init_params(mdp.num_observations, scale=0.0)
    if remedy.bias:
        start["termination"][..., TERMINATE] += remedy.bias
    trials = actor_critic(mdp, network, EPISODES, *SIZES, RUNS, seed=1, params=start, max_steps=MAX_STEPS, threads=threads)
    return trials.steps[:, -100:].mean(axis=1), [{name: x[run] for name, x in trials.params.items()} for run in range(RUNS)]


def judge(name: str, threads: int) -> None:
    """Train the runs of a remedy in four rooms, if some have no row, and write what the exact solver says of those."""
    there = rows.read(FOUR_ROOMS, Run)
    missing = [seed for seed in range(RUNS) if Run("four rooms", name, seed) not in there]
    if not missing:
        return
    remedy, mdp = IN_FOUR_ROOMS[name], four_rooms("code")[0]
    network = Remedy(chance=remedy.chance).network(mdp.num_actions)  # a cost changes J, and no occupancy
    exact = ("option/length", "option/usage_entropy", "action/marginal_information", "termination/sure_0", "termination/sure_1")
    trained = list(zip(*ends(remedy, threads), strict=True))
    for seed in missing:
        steps, params = trained[seed]
        found = degeneracy(mdp, network, params)
        numbers = {figure: round(found.get(source, float("nan")), 4) for figure, source in zip(FIGURES, exact, strict=True)}
        value = oc.expected_return(mdp, network, params)
        rows.write(FOUR_ROOMS, Run("four rooms", name, seed), {"steps": round(float(steps), 2), "J": round(value, 5), **numbers})


def table(results: dict[Run, dict[str, float]], first: tuple[str, ...]) -> None:
    """Means over runs and, of three or more, half their 95 % interval by Student's t; of frames all of them."""
    columns = ("task", "remedy", *first, *FIGURES)
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    tasks, remedies = dict.fromkeys(run.task for run in results), dict.fromkeys([*IN_FOUR_ROOMS, *ON_MINIGRID])
    there = {(run.task, run.remedy) for run in results}
    for task, remedy in [(task, remedy) for task in tasks for remedy in remedies if (task, remedy) in there]:
        found, cells = [row for run, row in results.items() if (run.task, run.remedy) == (task, remedy)], []
        for name in columns[2:]:
            x = np.array([row[name] for row in found])
            if name == "frames":
                cells.append(" ".join("∞" if np.isinf(one) else f"{one / 1000:.0f}k" for one in x))
            else:
                digits = 1 if name == "steps" else 4 if name == "J" else 2
                half = rows.half_interval(x)
                shown = f"{x.mean():.{digits}f}" + (f" ± {half:.{digits}f}" if len(x) > 2 else "")
                cells.append("" if np.isnan(x).any() else shown)
        print(f"| {task} | {remedy} | {' | '.join(cells)} |")


def over_tasks(results: dict[Run, dict[str, float]]) -> None:
    """On MiniGrid a line for each remedy: how many of its runs reached the target, the median of their frames, and means."""
    columns = {"return": "return_mean", "length": "length", "usage": "usage_entropy", "divergence": "divergence"}
    columns |= {"sure to end": "sure_0", "sure not to end": "sure_1"}
    print(f"\n| remedy | reach {TARGET} | thousand frames | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 3)}")
    for remedy in ON_MINIGRID:
        found = [row for run, row in results.items() if run.remedy == remedy]
        if found:
            frames = np.array([row["frames"] for row in found])
            cells = [f"{np.isfinite(frames).sum()} of {len(frames)}", f"{rows.median(frames) / 1000:.0f}".replace("inf", "∞")]
            means = [np.mean([row[name] for row in found]) for name in columns.values()]
            print(f"| {remedy} | {' | '.join([*cells, *('' if np.isnan(x) else f'{x:.2f}' for x in means)])} |")


def draw(results: dict[Run, dict[str, float]]) -> None:
    """In four rooms: how long options last against the steps that the agent then needs, a point for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes, own = figure.subplots(), [name for name in IN_FOUR_ROOMS if name.startswith("own")]
    for i, name in enumerate(IN_FOUR_ROOMS):
        found = np.array([(row["length"], row["steps"]) for run, row in results.items() if run.remedy == name])
        style = dict(marker="^", color=str(0.75 - 0.18 * own.index(name))) if name in own else dict(marker="o", color=f"C{i}")
        if len(found):
            axes.plot(*found.T, linestyle="", markersize=4, alpha=0.6, label=name, **style)
    axes.set(xlabel="steps that an option lasts, exact", ylabel="steps to the goal, last 100 episodes")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8)
    figure.savefig(PICTURE, dpi=120)


@dataclass(frozen=True)
class Benchmark:
    where: tuple[str, ...] = ("four rooms", "MiniGrid")
    """Of these two."""
    tasks: tuple[str, ...] = TASKS
    """Of MiniGrid."""
    remedies: tuple[str, ...] = tuple(ON_MINIGRID)
    """On MiniGrid."""
    seeds: int = 3
    """On MiniGrid: run seeds below this."""
    workers: int = 1
    """Runs at a time; threads in four rooms."""
    table: bool = False
    """Only print the tables of the rows that there are, and draw them."""


def main(command: Benchmark) -> None:
    runs = [Run(task, remedy, seed) for seed in range(command.seeds) for task in command.tasks for remedy in command.remedies]
    if "four rooms" in command.where:
        for name in IN_FOUR_ROOMS:
            if not command.table:
                judge(name, command.workers)
        judged = rows.read(FOUR_ROOMS, Run)
        table(judged, ("steps", "J"))
        draw(judged)
    if "MiniGrid" in command.where:
        if not command.table:
            rows.fill(ROWS, runs, train, command.workers)
        found = rows.read(ROWS, Run)
        table(found, ("frames", "return_mean", "divergence"))
        over_tasks(found)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
