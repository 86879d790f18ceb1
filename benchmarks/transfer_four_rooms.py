"""Claim: in four rooms options that go on learning do not help an agent to recover from a change, where the flat agent is tuned as much as
they are; eight or sixteen that are kept as they are are a somewhat better start than beginning anew, and no more.

    python benchmarks/transfer_four_rooms.py [--tune] [--plot] [--threads 2] [--table]

OC's experiment (dynamics "code"; the goal moves after 1,000 of 2,000 episodes) with policies that are not saturated when
the goal moves: softmax at temperature 1, no weight γ^t. All that is learned, the policy over options included, is learned by local
gradients from a tabular critic. After the move the agents go on; start anew; or keep their options (policies and terminations) as they are
and learn the policy over them, with a new critic. A run has recovered at the first of 20 episodes in a row that take together at most twice
the fewest steps, counted in steps since the move. 350 runs; rows go to transfer_four_rooms.csv.

Step sizes are those with the fewest steps in the first 100 episodes after the move, for each agent by itself, of sixty (--tune, 40 runs
each, seed 1): of policies, critic and policy over options 6 x 2 x 5; of the flat agent, which has no third one, 30 x 2; and, of options
that are kept, of five for the policy over them. "Searched" are those that are told of the move, chosen for what comes after it: the flat
agent that begins anew, of sixty; options that are kept, of sixty before the move times five for the choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro

from optioncoagent.experiments.problems import fewest_steps, four_rooms
from optioncoagent.simulate.intra_option import Learner, train_option_critic

ROWS = Path(__file__).with_suffix(".csv")
PICTURE = Path(__file__).parent / "figures" / "transfer_four_rooms.png"
EPISODES, RUNS, SEEDS = 1000, 35, 10
WINDOW, FACTOR = 20, 2.0
SOFT = Learner(policy_over_options="learned", temperature=1.0, discounted=False)
OPTIONS = (1, 2, 4, 8, 16)
Sizes = tuple[float, float, float]  # of policies, critic, policy over options
CRITIC, OVER = (0.5, 1.0), (1.0, 4.0, 16.0, 64.0, 256.0)
FLAT = [(float(policy), critic, 0.0) for policy in np.geomspace(0.1, 10, 30).round(2) for critic in CRITIC]
GRID = [(policy, critic, over) for policy in (0.3, 0.6, 1.0, 2.0, 3.5, 6.0) for critic in CRITIC for over in OVER]
# what --tune printed
TUNED: dict[int, Sizes] = {1: (0.79, 1.0, 0.0), 2: (2.0, 1.0, 16.0), 4: (3.5, 1.0, 4.0), 8: (3.5, 1.0, 16.0), 16: (3.5, 1.0, 1.0)}
KEPT = {2: 4.0, 4: 16.0, 8: 64.0, 16: 16.0}  # of the policy over options that are kept
KINDS = ("goes on", "anew", "options kept", "anew, searched", "options kept, searched")
MEASURED = ("before", "first_100", "last_100", "steps_to_recover", "not_recovered")
# of those that are told of the move, likewise: step sizes of the flat agent after it; step sizes before it, and of the choice after it
ANEW: dict[int, Sizes] = {1: (5.3, 1.0, 0.0)}
BOTH: dict[int, tuple[Sizes, float]] = {
    2: ((0.3, 1.0, 16.0), 16.0),
    4: ((0.3, 0.5, 64.0), 256.0),
    8: ((6.0, 1.0, 256.0), 256.0),
    16: ((6.0, 1.0, 4.0), 64.0),
}


def grid(num_options: int) -> list[Sizes]:
    return FLAT if num_options == 1 else GRID


@dataclass(frozen=True)
class Run:
    options: int
    kind: str
    seed: int


def learner(num_options: int, sizes: Sizes) -> Learner:
    policy, critic, over = sizes
    return replace(SOFT, num_options=num_options, policy_step_size=policy, critic_step_size=critic, option_step_size=over)


def schedules(mdps: Any, runs: int, seed: int) -> np.ndarray:
    moved = np.random.default_rng(seed).integers(1, len(mdps), size=(runs, 1))
    return np.concatenate([np.zeros((runs, EPISODES), dtype=np.int64), np.repeat(moved, EPISODES, axis=1)], axis=1)


def steps_after(
    mdps: Any, kind: str, before: Learner, after: Learner, runs: int, seed: int, threads: int, episodes: int = EPISODES
) -> tuple[np.ndarray, np.ndarray]:
    """Steps of each episode before and after the move, (runs, episodes) each, with the learner of either."""
    schedule = schedules(mdps, runs, seed)[:, : EPISODES + episodes]
    if kind == "goes on":
        steps = train_option_critic(mdps, schedule, before, seed, threads=threads).steps
        return steps[:, :EPISODES], steps[:, EPISODES:]
    first = train_option_critic(mdps, schedule[:, :EPISODES], before, seed, threads=threads)
    second = after_the_move(mdps, kind, first, after, schedule, seed, threads)
    return first.steps, second


def after_the_move(mdps: Any, kind: str, first: Any, after: Learner, schedule: np.ndarray, seed: int, threads: int) -> np.ndarray:
    """Steps of each episode after the move, of agents that are told of it; first: what they did before it."""
    kept = None
    if kind.startswith("options kept"):
        kept = first.preferences | {"option": np.zeros_like(first.preferences["option"])}
        after = replace(after, policy_step_size=0.0, termination_step_size=0.0)
    return train_option_critic(mdps, schedule[:, EPISODES:], after, seed + 1_000_000, threads=threads, preferences=kept).steps


def learners(num_options: int, kind: str) -> tuple[Learner, Learner] | None:
    """Before and after the move; None where there is no such agent, as one option that is kept cannot change."""
    before = learner(num_options, TUNED[num_options])
    if kind == "options kept":
        return (before, replace(before, option_step_size=KEPT[num_options])) if num_options in KEPT else None
    if kind == "anew, searched":
        return (before, learner(num_options, ANEW[num_options])) if num_options in ANEW else None
    if kind == "options kept, searched":
        if num_options not in BOTH:
            return None
        sizes, over = BOTH[num_options]
        before = learner(num_options, sizes)
        return before, replace(before, option_step_size=over)
    return before, before


def recovery(steps: np.ndarray, fewest: np.ndarray) -> np.ndarray:
    """Steps since the move until a window of episodes is good, (runs,); infinite if none is. fewest: (runs,)."""
    sums = np.cumsum(steps, axis=1)
    before = np.concatenate([np.zeros((len(steps), 1)), sums[:, :-WINDOW]], axis=1)
    good = sums[:, WINDOW - 1 :] - before <= FACTOR * WINDOW * fewest[:, None]
    return np.where(good.any(axis=1), before[np.arange(len(steps)), good.argmax(axis=1)], np.inf)


def tune(threads: int) -> None:
    mdps = four_rooms("code")
    for options in OPTIONS:
        found = {}
        for sizes in grid(options):
            agent = learner(options, sizes)
            _, after = steps_after(mdps, "goes on", agent, agent, 40, 1, threads)
            found[sizes] = after[:, :100].mean()
        _best(str(options), found)
    # of those that are told of the move: 60 settings of the flat agent after it; 300 of options that are kept, before it and of the choice
    flat, anew = learner(1, TUNED[1]), {}
    for sizes in FLAT:
        anew[sizes] = steps_after(mdps, "anew", flat, learner(1, sizes), 40, 1, threads, 100)[1].mean()
    _best("1 anew", anew)
    schedule = schedules(mdps, 40, 1)[:, : EPISODES + 100]
    for options in OPTIONS[1:]:
        kept: dict[Any, float] = {}
        for sizes in GRID:
            agent = learner(options, sizes)
            first = train_option_critic(mdps, schedule[:, :EPISODES], agent, 1, threads=threads)
            for over in OVER:
                after = after_the_move(mdps, "options kept", first, replace(agent, option_step_size=over), schedule, 1, threads)
                kept[sizes, over] = after.mean()
        _best(f"{options} kept", {over: x for (sizes, over), x in kept.items() if sizes == TUNED[options]})
        _best(f"{options} kept, searched", kept)


def _best(name: str, found: dict[Any, float]) -> None:
    best = sorted(found, key=lambda sizes: found[sizes])
    print(name, best[0], "; ".join(f"{sizes}: {found[sizes]:.1f}" for sizes in best[:8]), flush=True)


def fill(threads: int) -> None:
    mdps = four_rooms("code")
    fewest = np.array([fewest_steps(mdp) for mdp in mdps])
    there = rows.read(ROWS, Run)
    for options in OPTIONS:
        for kind in KINDS:
            if (both := learners(options, kind)) is None:
                continue
            for run in (Run(options, kind, seed) for seed in range(100, 100 + SEEDS)):
                if run in there:
                    continue
                before, after = steps_after(mdps, kind, *both, RUNS, run.seed, threads)
                ends = recovery(after, fewest[schedules(mdps, RUNS, run.seed)[:, -1]])
                numbers = (before[:, -100:].mean(), after[:, :100].mean(), after[:, -100:].mean(), np.median(ends), np.isinf(ends).mean())
                rows.write(ROWS, run, {name: round(float(x), 3) for name, x in zip(MEASURED, numbers, strict=True)})


def table() -> None:
    """Means over the ten seeds of 35 runs each, and their 95 % interval by Student's t."""
    measured = sorted(rows.read(ROWS, Run).items(), key=lambda pair: (pair[0].options, KINDS.index(pair[0].kind), pair[0].seed))
    print("| options | after the move | steps before it | first 100 episodes | last 100 | steps to recover (medians) | never |")
    print("|---|---|---|---|---|---|---|")
    for options, kind in dict.fromkeys((run.options, run.kind) for run, _ in measured):
        cells, found = [], [row for run, row in measured if (run.options, run.kind) == (options, kind)]
        for name in MEASURED[:-1]:
            x = np.array([row[name] for row in found])
            if np.isinf(x).any():
                cells.append("∞")
                continue
            half = rows.half_interval(x)
            cells.append(f"{x.mean():,.0f} ± {half:,.0f}" if name == "steps_to_recover" else f"{x.mean():.1f} ± {half:.1f}")
        never = np.mean([row["not_recovered"] for row in found])
        print(f"| {'flat' if options == 1 else options} | {kind} | {' | '.join(cells)} | {never:.0%} |")


def draw(threads: int) -> None:
    """Steps of each episode around the move, means of 350 runs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes, mdps = figure.subplots(), four_rooms("code")
    shown = [
        (1, "goes on", "C0-"),
        (1, "anew", "C0:"),
        (1, "anew, searched", "C0-."),
        (4, "goes on", "C1-"),
        (4, "options kept, searched", "C1-."),
        (8, "options kept, searched", "C2-."),
        (16, "options kept, searched", "C3-."),
    ]
    for options, kind, style in shown:
        both = learners(options, kind)
        assert both is not None
        before, after = steps_after(mdps, kind, *both, 350, 200, threads)
        steps = np.concatenate([before[:, -100:], after], axis=1).mean(axis=0).reshape(-1, 10).mean(axis=1)
        axes.plot(np.arange(-100, EPISODES, 10) + 5, steps, style, label=f"{'flat' if options == 1 else f'{options} options'}, {kind}")
    axes.set(yscale="log", xlabel="episodes since the goal moved", ylabel="steps to the goal, mean of 350 runs")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=120)


@dataclass(frozen=True)
class Benchmark:
    tune: bool = False
    """Search the grid of step sizes."""
    threads: int = 2
    """Threads; the results do not depend on them."""
    plot: bool = False
    """Draw the steps around the move."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    if command.tune:
        tune(command.threads)
        return
    if command.plot:
        draw(command.threads)
        return
    if not command.table:
        fill(command.threads)
    table()


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
