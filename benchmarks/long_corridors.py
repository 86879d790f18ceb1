"""Claim: in a long corridor persistence pays, whoever brings it; options that begin alike bring none, options learned elsewhere do.

    python benchmarks/long_corridors.py [--tune] [--lengths 10 20 40] [--agents flat "4 options" …] [--threads 2] [--table]

A corridor of n cells: an episode begins in the first and ends in the last, for a reward of 1; the actions are left and right. A policy that
draws them evenly needs some n² steps, one that goes right n - 1, so that long corridors are hard exploration at its plainest. Agents, all
trained by `simulate.actor_critic` (tables, a critic v(s), traces; the same δ for every coagent):

    flat                    a policy of the state
    flat, sticky            the last action is repeated with probability 3/4, whatever happens
    flat, gated             the last action is repeated until a gate opens, a coagent that learns (`with_gate`)
    4 options               all alike at first, so that they act as the flat agent does
    4 options, different    policies that differ at first: in every cell, logits drawn from a standard normal
    2 options, made         that go left and right nearly always, as if both ends had been goals before; when they end, which is chosen
                            and what they do is learned
    2 options, made, 8      the same, each until a coin of probability 1/8 ends it
    2 options, made, 1      the same, chosen anew at every step

For each agent and length, step sizes of policies and critic and the decay of traces are those of a grid of 4 x 3 x 3 (--tune: 10 runs each,
seed 1) with the fewest steps, in the mean, until learned: until the first twenty episodes of at most 2 (n - 1) steps in the mean are over;
a run that does not come to it in 200 episodes counts with all its steps twice. Then ten other seeds of ten runs, of which a row holds the
median and the share that learned: a large step may leave a run stuck for good. "At first" is exact: the expected steps of the first
episode, by the solver; a mean of ten where something is drawn. Rows go to long_corridors.csv beside this file; runs whose row is there are
not run again. Policies that differ at first are learned up to 20 cells alone: with 40 they need 22,470 steps for the first episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro

import optioncoagent as oc
from optioncoagent.gallery import always_terminating, random_length, stochastic_layers, with_gate
from optioncoagent.simulate import actor_critic

ROWS = Path(__file__).with_suffix(".csv")
PICTURE = Path(__file__).parent / "figures" / "long_corridors.png"
LEFT, RIGHT = range(2)
EPISODES, WINDOW, GAMMA = 200, 20, 0.99
RUNS, SEEDS, DRAWS = 10, 10, 10
Sizes = tuple[float, float, float]  # step sizes of policies and critic, decay of traces
GRID: list[Sizes] = [
    (policy, critic, decay) for policy in (2.0, 8.0, 32.0, 128.0) for critic in (0.1, 0.3, 1.0) for decay in (0.0, 0.5, 0.9)
]


def corridor(n: int) -> oc.MDP:
    """n cells, of which the last ends the episode for a reward of 1."""
    P = np.zeros((n, 2, n))
    cells = np.arange(n)
    P[cells, LEFT, np.maximum(cells - 1, 0)] = P[cells, RIGHT, np.minimum(cells + 1, n - 1)] = 1
    P[-1] = np.eye(n)[-1]
    R = np.zeros((n, 2))
    R[-2, RIGHT] = 1
    return oc.MDP(P, R, np.eye(n)[0], GAMMA, terminal=np.eye(n, dtype=bool)[-1])


def sticky() -> oc.CoagentNetwork:
    """A flat policy whose action is drawn anew with probability 1/4."""
    return oc.CoagentNetwork([oc.Coagent("action", 2, executes=lambda x: 1 / 4 + 3 / 4 * x.start)])


Params = dict[str, np.ndarray]


def alike(network: oc.CoagentNetwork, n: int, rng: np.random.Generator) -> Params:
    return {name: np.zeros(network.parameter_shape(name, n)) for name in network.names}


def different(network: oc.CoagentNetwork, n: int, rng: np.random.Generator) -> Params:
    return alike(network, n, rng) | {"action": rng.normal(size=network.parameter_shape("action", n))}


def directed(network: oc.CoagentNetwork, n: int, rng: np.random.Generator) -> Params:
    """The first option goes left, the second right, each nearly always."""
    return alike(network, n, rng) | {"action": np.broadcast_to(4.0 * np.eye(2), network.parameter_shape("action", n)).copy()}


@dataclass(frozen=True)
class Agent:
    network: Callable[[], oc.CoagentNetwork]
    begins: Callable[[oc.CoagentNetwork, int, np.random.Generator], Params] = alike


AGENTS = {
    "flat": Agent(lambda: stochastic_layers((), 2)),
    "flat, sticky": Agent(sticky),
    "flat, gated": Agent(lambda: with_gate(stochastic_layers((), 2), "action")),
    "4 options": Agent(lambda: oc.option_critic(4, 2)),
    "4 options, different": Agent(lambda: oc.option_critic(4, 2), different),
    "2 options, made": Agent(lambda: oc.option_critic(2, 2), directed),
    "2 options, made, 8": Agent(lambda: random_length(2, 2, 8), directed),
    "2 options, made, 1": Agent(lambda: always_terminating(2, 2), directed),
}


# {(agent, length): sizes}, what --tune printed
TUNED: dict[tuple[str, int], Sizes] = {
    ("flat", 10): (32.0, 1.0, 0.5),
    ("flat, sticky", 10): (128.0, 0.3, 0.5),
    ("flat, gated", 10): (128.0, 1.0, 0.5),
    ("4 options", 10): (128.0, 0.1, 0.5),
    ("4 options, different", 10): (32.0, 1.0, 0.5),
    ("2 options, made", 10): (32.0, 1.0, 0.5),
    ("2 options, made, 8", 10): (128.0, 0.1, 0.5),
    ("2 options, made, 1", 10): (128.0, 0.3, 0.5),
    ("flat", 20): (8.0, 0.3, 0.9),
    ("flat, sticky", 20): (128.0, 1.0, 0.5),
    ("flat, gated", 20): (8.0, 0.1, 0.9),
    ("4 options", 20): (32.0, 1.0, 0.5),
    ("4 options, different", 20): (32.0, 1.0, 0.5),
    ("2 options, made", 20): (32.0, 1.0, 0.5),
    ("2 options, made, 8", 20): (32.0, 1.0, 0.5),
    ("2 options, made, 1", 20): (32.0, 1.0, 0.5),
    ("flat", 40): (8.0, 0.3, 0.9),
    ("flat, sticky", 40): (32.0, 0.1, 0.9),
    ("flat, gated", 40): (32.0, 0.1, 0.9),
    ("4 options", 40): (128.0, 1.0, 0.5),
    ("2 options, made", 40): (128.0, 1.0, 0.5),
    ("2 options, made, 8", 40): (32.0, 1.0, 0.5),
    ("2 options, made, 1", 40): (8.0, 0.3, 0.9),
}


@dataclass(frozen=True)
class Run:
    agent: str
    length: int
    seed: int


def steps_until_learned(agent: str, n: int, sizes: Sizes, runs: int, seed: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps until learned, and whether it was, of each run, (runs,)."""
    network, mdp, found = AGENTS[agent].network(), corridor(n), []
    drawn = np.random.default_rng(seed)
    for _ in range(DRAWS if AGENTS[agent].begins is different else 1):
        begins = AGENTS[agent].begins(network, n, drawn)
        share = runs // DRAWS if AGENTS[agent].begins is different else runs
        trials = actor_critic(mdp, network, EPISODES, *sizes, share, seed, begins, max_steps=20 * n * n, threads=threads)
        seed += 1000
        found.append(trials.steps)
    steps = np.concatenate(found)
    so_far = np.cumsum(steps, axis=1)
    means = (so_far[:, WINDOW - 1 :] - np.pad(so_far, ((0, 0), (1, 0)))[:, : EPISODES - WINDOW + 1]) / WINDOW
    short = means <= 2 * (n - 1)
    learned = short.any(axis=1)
    at = so_far[np.arange(len(steps)), WINDOW - 1 + short.argmax(axis=1)]
    return np.where(learned, at, 2 * so_far[:, -1]), learned


def tune(agents: tuple[str, ...], lengths: tuple[int, ...], threads: int) -> None:
    for n in lengths:
        for agent in agents:
            found = {sizes: steps_until_learned(agent, n, sizes, 10, 1, threads)[0].mean() for sizes in GRID}
            print(f"    {(agent, n)}: {min(found, key=lambda sizes: found[sizes])},  # {min(found.values()):.0f}", flush=True)


def fill(agents: tuple[str, ...], lengths: tuple[int, ...], threads: int) -> None:
    there = rows.read(ROWS, Run)
    for run in [Run(agent, n, seed) for seed in range(100, 100 + SEEDS) for n in lengths for agent in agents]:
        if run not in there and (run.agent, run.length) in TUNED:
            steps, learned = steps_until_learned(run.agent, run.length, TUNED[run.agent, run.length], RUNS, run.seed, threads)
            rows.write(ROWS, run, {"steps": float(np.median(steps)), "learned": float(learned.mean())})


def at_first(agent: str, n: int) -> float:
    """Expected steps of the first episode: J with a reward of -1 at every step."""
    mdp, network, rng = corridor(n), AGENTS[agent].network(), np.random.default_rng(0)
    timed = oc.MDP(mdp.P, np.where(mdp.terminal[:, None], 0.0, -np.ones((n, 2))), mdp.d0, 1.0, mdp.terminal)
    draws = DRAWS if AGENTS[agent].begins is different else 1
    return float(np.mean([-oc.expected_return(timed, network, AGENTS[agent].begins(network, n, rng)) for _ in range(draws)]))


def table(lengths: tuple[int, ...]) -> None:
    """Expected steps of the first episode; steps until learned, the median of ten runs, mean over seeds with half its 95 % interval by
    Student's t."""
    found = rows.read(ROWS, Run)
    agents = [agent for agent in AGENTS if any(run.agent == agent for run in found)]
    print(f"| agent | {' | '.join(f'{n} cells: at first | until learned' for n in lengths)} |\n|{'---|' * (2 * len(lengths) + 1)}")
    for agent in agents:
        cells = []
        for n in lengths:
            mine = [row for run, row in found.items() if (run.agent, run.length) == (agent, n)]
            steps = np.array([row["steps"] for row in mine])
            missed = "" if all(row["learned"] == 1 for row in mine) else f" ({np.mean([row['learned'] for row in mine]):.0%} learned)"
            cells += [f"{at_first(agent, n):,.0f}", f"{steps.mean():,.0f} ± {rows.half_interval(steps):,.0f}{missed}" if mine else ""]
        print(f"| {agent} | {' | '.join(cells)} |")


def picture(lengths: tuple[int, ...]) -> Any:
    """A matplotlib Figure: steps at first and until learned against the length, a line for each agent."""
    from matplotlib.figure import Figure

    found = rows.read(ROWS, Run)
    figure = Figure(figsize=(9, 4), layout="constrained")
    before, after = figure.subplots(1, 2)
    for number, agent in enumerate(AGENTS):
        style = dict(color=f"C{number}", marker="o", markersize=3, linestyle="-" if "option" in agent else "--", label=agent)
        means = [
            np.mean([row["steps"] for run, row in found.items() if (run.agent, run.length) == (agent, n)] or [np.nan]) for n in lengths
        ]
        before.plot(lengths, [at_first(agent, n) for n in lengths], **style)
        after.plot(lengths, means, **style)
    for axes, title in ((before, "expected steps of the first episode"), (after, "steps until learned")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(lengths, [str(n) for n in lengths])
        axes.minorticks_off()
        axes.set_xlabel("cells")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    figure.legend(*after.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


@dataclass(frozen=True)
class Benchmark:
    agents: tuple[str, ...] = tuple(AGENTS)
    """Of AGENTS."""
    lengths: tuple[int, ...] = (10, 20, 40)
    """Cells."""
    tune: bool = False
    """Search the grid of step sizes."""
    threads: int = 2
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are, and draw them."""


def main(command: Benchmark) -> None:
    if command.tune:
        tune(command.agents, command.lengths, command.threads)
        return
    if not command.table:
        fill(command.agents, command.lengths, command.threads)
    table(command.lengths)
    picture(command.lengths).savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
