"""Claim: with a bonus for what was seldom met, tasks that the learner alone does not reach are solved, and easy ones cost
no more frames.

For each task, bonus and seed: frames until the mean return (the environment's own) of the last 100 episodes reaches the task's target,
or the return where the limit came first. Rows go to exploration.csv beside this file; runs whose row is there are not run again.

    python benchmarks/exploration.py [--only DoorKey-8x8-v0 …] [--settings indicators …] [--seeds 5] [--minutes 60] [--table]
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rows
import tyro

import optioncoagent as oc
from optioncoagent.agents import exploration

ROWS = Path(__file__).with_suffix(".csv")
COUNTINGS = {
    "both": exploration.BOTH,
    "episodic": exploration.Counting(power=0.0),  # of observations, for ever
    "lifetime": exploration.LIFETIME,
    "difference": exploration.NOVELTY_DIFFERENCE,
    "place": replace(exploration.EPISODIC, counted="place"),
    "place, seldom": exploration.Counting(power=0.25, counted="place"),
}
# codes of MiniGrid as numbers, as they were shown to the network at first; since then as indicators
CODES = dict(observation_kinds={"image": "grid"}, **rows.SIXTEEN)
SETTINGS = {
    "default": CODES,
    "flat": dict(num_options=1, **CODES),
    "big": CODES | dict(num_envs=128, num_steps=64, num_minibatches=32, update_epochs=4),
    "indicators": rows.SIXTEEN,
    "now": {},  # the present default, whose bonus for places falls
    "now, flat": dict(num_options=1),
    "non-episodic": dict(int_returns="non-episodic"),  # the bonus goes on past the end of an episode
    "non-episodic, flat": dict(num_options=1, int_returns="non-episodic"),
}
# 0.9 where an episode may be so short. MultiRoom-N4-S5-v0, in spite of its name, has six rooms
TARGETS = {"MultiRoom-N4-S5-v0": 0.65, "MultiRoom-N6-v0": 0.5, "KeyCorridorS3R3-v0": 0.85, "UnlockPickup-v0": 0.8, "FourRooms-v0": 0.5}


@dataclass(frozen=True)
class Run:
    """One row's key. bonus: a name of COUNTINGS, or "none"; settings: a name of SETTINGS; limit: frames after which a run has failed."""

    task: str
    bonus: str
    seed: int
    limit: int
    settings: str = "default"
    int_coef: float = 0.005


def runs(task: str, bonuses: str, seeds: int, limit: int, settings: str = "default", int_coef: float = 0.005) -> list[Run]:
    """`seeds` runs with each of some bonuses, names with semicolons between."""
    scales = {bonus: 0.0 if bonus == "none" else int_coef for bonus in bonuses.split(";")}
    return [Run(task, bonus, seed, limit, settings, scale) for seed in range(seeds) for bonus, scale in scales.items()]


RUNS = [
    *runs("DoorKey-8x8-v0", "none", 3, 400_000),
    *runs("DoorKey-8x8-v0", "both", 5, 400_000),
    *runs("DoorKey-8x8-v0", "episodic;difference;lifetime", 3, 400_000),
    *runs("MultiRoom-N4-S5-v0", "both;episodic;difference", 3, 600_000),
    *runs("KeyCorridorS3R3-v0", "both", 3, 1_600_000, "big"),
    *runs("MultiRoom-N6-v0", "both", 1, 1_500_000, "big"),
    *runs("DoorKey-5x5-v0", "none;both", 5, 150_000),
    *runs("Unlock-v0", "none;both", 3, 300_000),
    *runs("RedBlueDoors-6x6-v0", "none;both", 3, 400_000),
    *runs("SimpleCrossingS9N1-v0", "none;both", 3, 300_000),
    *runs("KeyCorridorS3R1-v0", "none;both", 3, 300_000),
    *runs("Dynamic-Obstacles-6x6-v0", "none;both", 3, 200_000),
    *runs("DoorKey-6x6-v0", "none;both", 3, 400_000),
    *runs("Empty-8x8-v0", "none;both", 3, 100_000),
    *runs("LavaCrossingS9N1-v0", "none;both", 3, 400_000),
    *runs("DoorKey-8x8-v0", "both", 3, 400_000, int_coef=0.001),
    *runs("DoorKey-8x8-v0", "both", 3, 400_000, int_coef=0.02),
    *runs("MultiRoom-N4-S5-v0", "both", 3, 600_000, int_coef=0.001),
    *runs("MultiRoom-N4-S5-v0", "both", 3, 600_000, int_coef=0.02),
    *runs("DoorKey-8x8-v0", "both", 3, 400_000, "flat"),
    *runs("DoorKey-8x8-v0", "both;place", 3, 400_000, "indicators"),
    *runs("KeyCorridorS3R3-v0", "both;place", 3, 1_000_000, "indicators"),
    *runs("MultiRoom-N6-v0", "both;place", 3, 1_000_000, "indicators"),
    *runs("UnlockPickup-v0", "both;place", 3, 600_000, "indicators"),
    *runs("Empty-8x8-v0", "both;place", 3, 100_000, "indicators"),
    *runs("Unlock-v0", "both;place", 3, 200_000, "indicators"),
    *runs("SimpleCrossingS9N1-v0", "both;place", 3, 200_000, "indicators"),
    *runs("FourRooms-v0", "both;place", 3, 400_000, "indicators"),
    *runs("LockedRoom-v0", "place", 1, 1_500_000, "indicators"),
    *runs("DoorKey-8x8-v0", "place, seldom", 1, 400_000, "indicators"),
    *runs("KeyCorridorS3R3-v0", "place, seldom", 1, 1_000_000, "indicators"),
    *runs("MultiRoom-N6-v0", "place, seldom", 1, 1_000_000, "indicators"),
    *runs("PutNear-6x6-N2-v0", "none;place", 2, 600_000, "now"),
    *runs("PutNear-6x6-N2-v0", "none;place", 2, 600_000, "now, flat"),
    *runs("PutNear-6x6-N2-v0", "place", 3, 600_000, "non-episodic"),
    *runs("PutNear-6x6-N2-v0", "place", 3, 600_000, "non-episodic, flat"),
    *runs("Dynamic-Obstacles-5x5-v0", "place", 3, 200_000, "now"),
    *runs("Dynamic-Obstacles-5x5-v0", "place", 3, 200_000, "non-episodic"),
    *runs("Dynamic-Obstacles-8x8-v0", "place", 3, 200_000, "now"),
    *runs("Dynamic-Obstacles-8x8-v0", "place", 3, 200_000, "non-episodic"),
    *runs("PutNear-8x8-N3-v0", "none", 1, 1_500_000, "now"),
    *runs("PutNear-8x8-N3-v0", "none", 1, 1_500_000, "now, flat"),
    *runs("PutNear-8x8-N3-v0", "place", 1, 1_500_000, "non-episodic"),
    *runs("PutNear-8x8-N3-v0", "place", 1, 1_500_000, "non-episodic, flat"),
]


def train(run: Run) -> dict[str, float]:
    """Frames to the target (infinite if the limit comes first), the mean return of the last 100 episodes, frames and seconds in all."""
    began = time.perf_counter()
    agent = oc.OptionCritic(f"MiniGrid-{run.task}", seed=run.seed, int_coef=run.int_coef, **SETTINGS[run.settings])
    if agent.exploration is not None:
        agent.exploration.counting = COUNTINGS[run.bonus]
    frames, row = rows.train_until(agent, TARGETS.get(run.task, 0.9), run.limit)
    met = 0 if agent.exploration is None else int(np.count_nonzero(agent.exploration.counts))
    seconds = time.perf_counter() - began
    return dict(frames=frames, return_mean=round(row["return_mean"], 4), total=agent.num_timesteps, met=met, seconds=round(seconds, 1))


def table(measured: dict[Run, dict[str, float]]) -> None:
    """For each task and bonus: how many seeds reached the target, frames of each seed, or its return at the limit."""
    print(f"{'task':25}{'settings':20}{'bonus':12}{'int_coef':>8}{'target':>8}  solved  median frames  frames of each seed (or its return)")
    groups: dict[Run, list[Run]] = {}
    for run in RUNS:
        groups.setdefault(replace(run, seed=0), []).append(run)
    for key, members in groups.items():
        found = [measured[run] for run in members if run in measured]
        start = f"{key.task:25}{key.settings:20}{key.bonus:12}{key.int_coef:8}"
        if not found:
            print(f"{start}  not run")
            continue
        frames = np.array([x["frames"] for x in found])
        seeds = [f"{x['frames'] / 1000:.0f}k" if np.isfinite(x["frames"]) else f"({x['return_mean']:.2f})" for x in found]
        median = np.quantile(frames, 0.5, method="higher")
        print(f"{start}{TARGETS.get(key.task, 0.9):8.2f}  {np.isfinite(frames).sum()} of {len(frames)}{median:15,.0f}  {' '.join(seeds)}")


@dataclass(frozen=True)
class Benchmark:
    only: tuple[str, ...] = ()
    """Tasks to run; all by default."""
    settings: tuple[str, ...] = tuple(SETTINGS)
    """Settings to run, names of SETTINGS."""
    seeds: int = 5
    """Run seeds below this."""
    minutes: float = float("inf")
    """Start no run after so many minutes."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    began = time.perf_counter()
    for run in () if command.table else sorted(RUNS, key=lambda run: run.seed):
        late = time.perf_counter() - began > 60 * command.minutes
        chosen = run.seed < command.seeds and (not command.only or run.task in command.only) and run.settings in command.settings
        if late or not chosen or run in rows.read(ROWS, Run):
            continue
        result = train(run)
        rows.write(ROWS, run, result)
        print(run, result, flush=True)
    table(rows.read(ROWS, Run))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
