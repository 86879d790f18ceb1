"""Claim: in four rooms learned options pay where goals come back, and not where every goal is new.

    python benchmarks/recurring_goals.py [--tune] [--agents "4 options" …] [--places 4 …] [--threads 2] [--table] [--plot]

Four rooms (dynamics "code"), 100 tasks of 200 episodes one after the other; the goal of each is one of so many places, drawn
among all cells once for a run, or one of the four doorways. Agents are tabular, softmax at temperature 1, and learn everything by local
gradients, from nothing: what the first tasks teach is paid for in the same steps. Some are told when a task begins, the others are not:

    flat, anew              told: begins anew at every task
    flat, slow start        told: begins at a slow policy, which moves a little towards what each task ended with (Reptile); critic anew
    flat, goes on           is not told: policy and critic go on
    4 options               told: options, policies and terminations, go on; the policy over options and the critic begin anew
    4 options, one step     as 4 options, which always end: chosen at every step, without duration
    4 policies              as 4 options, which never end: one is chosen at the beginning of an episode and followed to its end
    4 options, goes on      is not told: everything goes on
    doorway options         told: options by hand, as in Sutton, Precup and Singh (1999), one to each doorway, with the four actions as
                            options of one step; they stay, the policy over them begins anew

Step sizes: for each agent those of its grid of twelve (--tune, four places, 20 runs, seed 1) with the fewest steps in all. Then ten other
seeds of 20 runs. A row holds mean steps of an episode: over all tasks, in the first and in the last ten, and of the last ten's first five
and last ten episodes, and how long options last there. Rows go to recurring_goals.csv; what has a row is not run again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro

from optioncoagent.mdp import MDP
from optioncoagent.simulate.intra_option import Learner, train_option_critic
from optioncoagent_envs.tabular.four_rooms import CELLS, STATE, FourRooms
from optioncoagent_envs.tabular.tables import MOVES

ROWS = Path(__file__).with_suffix(".csv")
PICTURE = Path(__file__).parent / "figures" / "recurring_goals.png"
TASKS, EPISODES, RUNS, SEEDS = 100, 200, 20, 10
DOORWAYS = tuple(STATE[cell] for cell in ((3, 6), (6, 2), (7, 9), (10, 6)))
PLACES = ("doorways", "4", "16", str(len(CELLS)))
SOFT = Learner(policy_over_options="learned", temperature=1.0, discounted=False, critic_step_size=1.0, termination_step_size=1.0)
SURE = 8.0  # a logit that is as good as certain

Sizes = tuple[float, float]
OVER = tuple((policy, over) for policy in (0.1, 0.25, 0.5, 1.0) for over in (16.0, 64.0, 256.0))
# step sizes of policy and critic, of policy and slow policy, of options' policies and the policy over options
GRIDS: dict[str, tuple[Sizes, ...]] = {
    "flat, anew": tuple((policy, critic) for policy in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0) for critic in (0.5, 1.0)),
    "flat, slow start": tuple((policy, slow) for policy in (0.5, 2.0, 8.0, 32.0) for slow in (0.003, 0.01, 0.03)),
    "flat, goes on": tuple((policy, critic) for policy in (0.1, 0.25, 0.5, 1.0, 2.0, 4.0) for critic in (0.5, 1.0)),
    "4 options": OVER,
    "4 options, one step": OVER,
    "4 policies": OVER,
    "4 options, goes on": OVER,
    "doorway options": tuple((0.0, over) for over in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)),
}
AGENTS = tuple(GRIDS)
ENDS = {"4 options, one step": 1000.0, "4 policies": -1000.0}  # logits of terminations that do not learn
# what --tune printed
TUNED: dict[str, Sizes] = {
    "flat, anew": (4.0, 1.0),
    "flat, slow start": (2.0, 0.01),
    "flat, goes on": (0.5, 1.0),
    "4 options": (0.5, 256.0),
    "4 options, one step": (0.5, 64.0),
    "4 policies": (0.1, 256.0),
    "4 options, goes on": (1.0, 16.0),
    "doorway options": (0.0, 8.0),
}


@dataclass(frozen=True)
class Run:
    agent: str
    places: str
    seed: int


def learner(agent: str, sizes: Sizes) -> Learner:
    if agent == "flat, slow start":
        return replace(SOFT, num_options=1, policy_step_size=sizes[0])
    if agent.startswith("flat"):
        return replace(SOFT, num_options=1, policy_step_size=sizes[0], critic_step_size=sizes[1])
    if agent == "doorway options":
        return replace(SOFT, num_options=8, policy_step_size=0.0, termination_step_size=0.0, option_step_size=sizes[1])
    ends = 0.0 if agent in ENDS else SOFT.termination_step_size
    return replace(SOFT, num_options=4, policy_step_size=sizes[0], option_step_size=sizes[1], termination_step_size=ends)


def problems() -> list[MDP]:
    """Four rooms with the goal at each of its cells."""
    return [MDP.from_env(FourRooms("code", goal), gamma=0.99) for goal in range(len(CELLS))]


def goals(places: str, runs: int, seed: int) -> np.ndarray:
    """The goal of each task, (runs, TASKS): of each run one of its own places."""
    rng = np.random.default_rng(seed)
    number = len(DOORWAYS) if places == "doorways" else int(places)
    own = np.array([rng.choice(len(CELLS), number, replace=False) for _ in range(runs)])
    own = np.tile(DOORWAYS, (runs, 1)) if places == "doorways" else own
    return np.take_along_axis(own, rng.integers(number, size=(runs, TASKS)), axis=1)


def distances(place: int) -> np.ndarray:
    """Moves from every cell to a place, (cells,)."""
    far, found = np.full(len(CELLS), np.inf), [place]
    far[place] = 0
    for s in found:
        for t in _beside(s):
            if np.isinf(far[t]):
                far[t] = far[s] + 1
                found.append(t)
    return far


def _beside(s: int) -> list[int]:
    return [STATE[cell] for cell in ((CELLS[s][0] + r, CELLS[s][1] + c) for r, c in MOVES) if cell in STATE]


def by_hand(num_states: int) -> dict[str, np.ndarray]:
    """Preferences of options that go to each doorway and end there, and of four that take one action and end."""
    number = len(DOORWAYS) + len(MOVES)
    ends, actions = np.full((num_states, number), SURE), np.zeros((num_states, number, len(MOVES)))
    for o, doorway in enumerate(DOORWAYS):
        far = distances(doorway)
        ends[: len(CELLS), o] = np.where(far > 0, -SURE, SURE)
        for s, (r, c) in enumerate(CELLS):
            nearer = [far[STATE.get((r + dr, c + dc), s)] < far[s] for dr, dc in MOVES]
            actions[s, o] = SURE * np.array(nearer)
    for a in range(len(MOVES)):
        actions[:, len(DOORWAYS) + a, a] = SURE
    return {"termination": ends, "option": np.zeros((num_states, number)), "action": actions}


def life(
    mdps: list[MDP], agent: str, sizes: Sizes, goals: np.ndarray, seed: int, threads: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Steps of each episode and the mean length of its options, (runs, TASKS, EPISODES) each; preferences at the end."""
    chosen, runs, states = learner(agent, sizes), len(goals), mdps[0].num_states
    if agent.endswith("goes on"):
        trials = train_option_critic(mdps, np.repeat(goals, EPISODES, axis=1), chosen, seed, threads=threads)
        return trials.steps.reshape(runs, TASKS, EPISODES), trials.option_length.reshape(runs, TASKS, EPISODES), trials.preferences
    shape = (runs, states, chosen.num_options)
    start = {"termination": np.zeros(shape), "option": np.zeros(shape), "action": np.zeros((*shape, len(MOVES)))}
    if agent == "doorway options":
        start |= by_hand(states)
    start["termination"] += ENDS.get(agent, 0.0)
    kept, (steps, lengths) = start, np.zeros((2, runs, TASKS, EPISODES))
    for task in range(TASKS):
        schedule = np.repeat(goals[:, task : task + 1], EPISODES, axis=1)
        trials = train_option_critic(mdps, schedule, chosen, seed * TASKS + task, threads=threads, preferences=kept)
        steps[:, task], lengths[:, task] = trials.steps, trials.option_length
        if agent == "flat, slow start":
            # slow ← slow + ε (what the task ended with - slow)
            kept = kept | {"action": kept["action"] + sizes[1] * (trials.preferences["action"] - kept["action"])}
        elif agent != "flat, anew":
            kept = trials.preferences | {"option": start["option"]}
    return steps, lengths, trials.preferences


def tune(command: Benchmark) -> None:
    mdps = problems()
    for agent in command.agents:
        found = {}
        for sizes in GRIDS[agent]:
            steps, _, _ = life(mdps, agent, sizes, goals("4", 20, 1), 1, command.threads)
            found[sizes] = steps.mean()
        print(agent, min(found, key=lambda sizes: found[sizes]), " ".join(f"{sizes}: {x:.1f}" for sizes, x in found.items()), flush=True)


def fill(command: Benchmark) -> None:
    mdps, there = problems(), rows.read(ROWS, Run)
    chosen = [Run(agent, places, seed) for seed in range(100, 100 + SEEDS) for places in command.places for agent in command.agents]
    for run in chosen:
        if run not in there:
            chosen_goals = goals(run.places, RUNS, run.seed)
            steps, lengths, _ = life(mdps, run.agent, TUNED[run.agent], chosen_goals, run.seed, command.threads)
            parts = {"all": steps, "first_tasks": steps[:, :10], "last_tasks": steps[:, -10:]}
            parts |= {"first_episodes": steps[:, -10:, :5], "last_episodes": steps[:, -10:, -10:], "length": lengths[:, -10:]}
            rows.write(ROWS, run, {name: round(float(part.mean()), 3) for name, part in parts.items()})
            print(run, flush=True)


FIELDS = ("all", "first_tasks", "last_tasks", "first_episodes", "last_episodes", "length")


def table() -> None:
    """Means over the ten seeds of 20 runs each, and half their 95 % interval by Student's t."""
    found = rows.read(ROWS, Run)
    print("| places | agent | all tasks | first ten | last ten | their first 5 episodes | their last 10 | length |\n" + "|---" * 8 + "|")
    for places in PLACES:
        for agent in AGENTS:
            cells = []
            for name in FIELDS:
                x = np.array([row[name] for run, row in found.items() if (run.agent, run.places) == (agent, places)])
                if agent.startswith("flat") and name == "length":
                    cells.append("")
                elif len(x):
                    cells.append(f"{x.mean():.1f} ± {rows.half_interval(x):.1f}")
            if cells:
                print(f"| {places} | {agent} | {' | '.join(cells)} |")


def draw(threads: int) -> None:
    """Steps along the tasks (goals at doorways), steps in the last tasks against places, and the options of the first run."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, ScalarFormatter

    figure = Figure(figsize=(9, 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.3, 1))
    along, against = above.subplots(1, 2)
    mdps, places, found = problems(), goals("doorways", 100, 200), rows.read(ROWS, Run)
    for colour, agent in enumerate(AGENTS):
        steps, _, learned = life(mdps, agent, TUNED[agent], places, 200, threads)
        along.plot(np.arange(TASKS) + 1, steps.mean(axis=(0, 2)), f"C{colour}", label=agent)
        if agent == "4 options":
            _draw_options(below.subplots(1, 4), learned, set(places[0]))
        last = {n: [row["last_tasks"] for run, row in found.items() if (run.agent, run.places) == (agent, n)] for n in PLACES}
        means = [np.mean(last[n]) if last[n] else np.nan for n in PLACES]
        against.plot(range(len(PLACES)), means, f"C{colour}o-")
    along.set(yscale="log", xlabel="task", ylabel="steps per episode", title="goals at the doorways, 100 runs")
    against.set(yscale="log", xlabel="places where goals may be", title="the last ten tasks")
    against.set_xticks(range(len(PLACES)), PLACES)
    for axes in (along, against):
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_locator(LogLocator(subs=()))
        axes.title.set_fontsize(9)
        axes.grid(alpha=0.3)
    above.legend(loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(PICTURE, dpi=120)


def _draw_options(panels: Any, learned: dict[str, np.ndarray], places: set[int]) -> None:
    """For each option of the first run the mean move in each cell, and how probably it ends there (dark: surely); circles: goals."""
    from scipy.special import expit, softmax

    policy, ends = softmax(learned["action"][0], axis=-1), expit(learned["termination"][0])
    r, c = np.array(CELLS).T
    for o, axes in enumerate(panels):
        board = np.full((13, 13), np.nan)
        board[r, c] = ends[: len(CELLS), o]
        axes.imshow(board, cmap="Oranges", vmin=0, vmax=1)
        down, right = (policy[: len(CELLS), o] @ np.array(MOVES)).T
        axes.quiver(c, r, right, down, angles="xy", scale_units="xy", scale=1.1, width=0.008)
        for place in places:
            axes.plot(CELLS[place][1], CELLS[place][0], "o", mfc="none", color="C0", markersize=9)
        axes.set_title(f"option {o}", fontsize=9)
        axes.set_facecolor("0.3")
        axes.set(xticks=[], yticks=[])


@dataclass(frozen=True)
class Benchmark:
    agents: tuple[str, ...] = AGENTS
    """Of AGENTS."""
    places: tuple[str, ...] = PLACES
    """Where goals may be."""
    tune: bool = False
    """Search the grids of step sizes."""
    threads: int = 2
    """Threads; the results do not depend on them."""
    table: bool = False
    """Only print the table of the rows that there are."""
    plot: bool = False
    """Draw steps along the tasks, and the options that one run has learned."""


def main(command: Benchmark) -> None:
    if command.tune:
        tune(command)
        return
    if command.plot:
        draw(command.threads)
        return
    if not command.table:
        fill(command)
    table()


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
