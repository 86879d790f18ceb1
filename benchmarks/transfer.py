"""Claim: what options are worth when a MiniGrid task changes: frames until the new task is learned, options beside the flat agent.

    python benchmarks/transfer.py [--changes "DoorKey-5x5 DoorKey-8x8" …] [--agents options …] [--default now] [--seeds 5]
        [--workers 1] [--table]

Each agent learns the first task for its frames, then the second until the mean return of the last 100 episodes reaches a target, infinite
if the limit comes first. Agents, all with the present default, or all with one before (`rows.SIXTEEN`): four options and the flat agent
go on learning everything;
"options kept" keeps its encoder, its options' policies and their terminations and learns the policy over options and the critic alone;
"encoder kept" keeps its encoder alone, as it is, under heads and a critic that begin anew, so that it says what options kept have of
their features; "new heads" is the same with an encoder that goes on learning; "anew" begins with the second task. By the present default
rollouts grow with all the steps that an agent has learned from, so that those which go on have larger ones after 262,144 steps of both
tasks, others of the second. Rows go to transfer.csv beside this file; runs whose row is there are not run again.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rows
import tyro

import optioncoagent as oc

ROWS = Path(__file__).with_suffix(".csv")
# {change: (frames of the first task, limit of the second, target)}
CHANGES = {
    "DoorKey-5x5 DoorKey-8x8": (80_000, 300_000, 0.9),
    "MultiRoom-N2-S4 MultiRoom-N4-S5": (80_000, 300_000, 0.65),
    "MultiRoom-N4-S5 MultiRoom-N6": (200_000, 1_000_000, 0.55),
    "KeyCorridorS3R1 KeyCorridorS3R2": (120_000, 300_000, 0.8),
    "SimpleCrossingS9N1 LavaCrossingS9N1": (120_000, 300_000, 0.9),
    "FourRooms-first FourRooms-last": (160_000, 300_000, 0.5),
    "Unlock UnlockPickup": (80_000, 600_000, 0.8),
    "UnlockPickup BlockedUnlockPickup": (600_000, 1_500_000, 0.85),
}
# FourRooms with its goal in one place, of the first room and of the last; the agent starts anywhere. These are MiniGrid's own levels in
# Python, so that their seconds are not to be compared
GOALS = {"FourRooms-first": (3, 3), "FourRooms-last": (15, 15)}
# one mission in all episodes, which is observed all the same, as those of the second task vary
MISSION = {"Unlock": {"observation_kinds": {"mission": "mission"}}}
DEFAULTS: dict[str, dict[str, Any]] = {"now": {}, "before": rows.SIXTEEN}
AGENTS = ("options", "options kept", "options, encoder kept", "options anew", "flat", "flat, encoder kept", "flat, new heads", "flat anew")
# which agents are compared over the changes together
PAIRS = (
    ("options", "flat"),
    ("options", "options anew"),
    ("flat", "flat anew"),
    ("options anew", "flat anew"),
    ("options kept", "options, encoder kept"),
    ("options, encoder kept", "flat, encoder kept"),
    ("flat, new heads", "flat"),
)
KEPT = ("encoder", "termination", "action")


@dataclass(frozen=True)
class Run:
    change: str
    agent: str
    seed: int
    default: str = "now"
    """Of DEFAULTS."""


def environment(task: str) -> dict[str, Any]:
    """What an agent of the task is made with."""
    goal = {"env_kwargs": {"goal_pos": GOALS[task]}} if task in GOALS else {}
    return {"env": f"MiniGrid-{'FourRooms' if goal else task}-v0"} | goal | MISSION.get(task, {})


def second_agent(run: Run) -> tuple[oc.OptionCritic, float]:
    """The agent as it begins the second task, and the mean return of its last 100 episodes of the first, NaN where it had none."""
    first, second = (environment(task) for task in run.change.split())
    frames, _, _ = CHANGES[run.change]
    settings: dict[str, Any] = dict(num_options=1 if run.agent.startswith("flat") else 4, seed=run.seed, **DEFAULTS[run.default])
    if run.agent.endswith("anew"):
        return oc.OptionCritic(**second, **settings), float("nan")
    learned = oc.OptionCritic(**first, **settings).learn(frames)
    first_return = float(np.mean([episode_return for episode_return, _ in learned.recent]))
    if run.agent.endswith(("encoder kept", "new heads")):
        agent = oc.OptionCritic(**second, **settings, frozen=("encoder",) if run.agent.endswith("encoder kept") else ())
        agent.module.encoder.load_state_dict(learned.module.encoder.state_dict())
    else:
        with tempfile.TemporaryDirectory() as folder:
            learned.save(folder)
            agent = oc.OptionCritic.load(folder, **second, frozen=KEPT if run.agent == "options kept" else ())
    return agent, first_return


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, (_, limit, target), (agent, first_return) = time.perf_counter(), CHANGES[run.change], second_agent(run)
    reached, row = rows.train_until(agent, target, limit)
    seconds = round(time.perf_counter() - began, 1)
    return run, dict(first_return=round(first_return, 4), frames=reached, return_mean=round(row["return_mean"], 4), seconds=seconds)


def table(results: dict[Run, dict[str, float]]) -> None:
    """What the agents need by one default: medians over seeds with 95 % bootstrap intervals, how often fewer frames are needed than by
    the flat agent that goes on, and how often over the changes together, of PAIRS."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for change in CHANGES:
        for agent in AGENTS:
            runs = sorted((run for run in results if (run.change, run.agent) == (change, agent)), key=lambda run: run.seed)
            found[change, agent] = np.array([results[run]["frames"] for run in runs]) / 1000
    print("| change | agent | thousand frames of the second task | median, 95 % | sooner than flat, 95 % |\n|---|---|---|---|---|")
    for (change, agent), frames in found.items():
        flat = found[change, "flat"]
        if not len(frames):
            continue
        low, high = rows.median_interval(frames)
        cells = [_shown(*frames), f"{_shown(rows.median(frames))} [{_shown(low)}, {_shown(high)}]" if len(frames) > 3 else ""]
        cells.append(rows.shown_sooner([frames], [flat]) if len(flat) and agent != "flat" else "")
        print(f"| {change.replace(' ', ' → ')} | {agent} | {' | '.join(cells)} |")
    print("\n| agent | against | changes | sooner, these together, 95 % |\n|---|---|---|---|")
    for agent, other in PAIRS:
        both = [(found[change, agent], found[change, other]) for change in CHANGES if all(len(found[change, x]) for x in (agent, other))]
        if both:
            ours, theirs = ([*part] for part in zip(*both, strict=True))
            print(f"| {agent} | {other} | {len(both)} | {rows.shown_sooner(ours, theirs)} |")


def _shown(*thousands: float) -> str:
    return " ".join("∞" if np.isinf(x) else f"{x:.0f}" for x in thousands)


@dataclass(frozen=True)
class Benchmark:
    changes: tuple[str, ...] = tuple(CHANGES)
    """Of CHANGES."""
    agents: tuple[str, ...] = AGENTS
    """Of AGENTS."""
    default: Literal["now", "before"] = "now"
    """Of DEFAULTS."""
    seeds: int = 5
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs = [
        Run(change, agent, seed, command.default) for seed in range(command.seeds) for change in command.changes for agent in command.agents
    ]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    asked = {run: row for run, row in rows.read(ROWS, Run).items() if run.default == command.default and run.change in command.changes}
    table(asked)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
