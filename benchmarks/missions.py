"""Claim: missions as indicators of their words cost no more frames than a learned bag of words, or gates that the mission sets.

    python benchmarks/missions.py [--tasks GoToObj …] [--missions indicators bag gates] [--seeds 3] [--workers 1] [--table]

Five levels of BabyAI, whose missions say what is to be done. The ways to show one, image and direction being the same indicators in all:

    indicators   of words and pairs of words, beside the others in the first layer: the default
    bag          the sum of 32 learned numbers for each word and pair, beside the others in the first layer
    gates        the bag scales, by 1 + what a layer makes of it, and shifts the first layer's units (FiLM, arXiv 1709.07871)

Four options and the default settings then (`rows.EXPECTED`). Rows go to missions.csv beside this file; runs whose row is there are not run
again. A row holds the frames and the seconds until the mean return of the last 100 episodes first was 0.8 (infinite if never), and that
mean at the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rows
import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

import optioncoagent as oc
from optioncoagent.agents.observations import CODES, MISSION_FEATURES

ROWS = Path(__file__).with_suffix(".csv")
SIDE, DIRECTIONS, BAG, WIDTH = 7, 4, 32, 64
TARGET = 0.8
# {task: frames}
TASKS = {"GoToObj": 300_000, "GoToRedBall": 300_000, "OpenDoorColor": 300_000, "GoToLocal": 600_000, "PickupLoc": 600_000}
MISSIONS = ("indicators", "bag", "gates")


class Encoder(nn.Module):
    """A BabyAI observation as features (n, 64), through two layers; the mission as a bag, beside the image or as gates."""

    def __init__(self, gates: bool):
        super().__init__()
        self.bag = nn.Linear(MISSION_FEATURES, BAG, bias=False)
        size = SIDE * SIDE * sum(CODES) + DIRECTIONS
        self.first, self.second = nn.Linear(size if gates else size + BAG, WIDTH), nn.Linear(WIDTH, WIDTH)
        for layer in (self.first, self.second):
            nn.init.orthogonal_(layer.weight, 2**0.5)
            nn.init.zeros_(layer.bias)
        self.gates = nn.Linear(BAG, 2 * WIDTH) if gates else None
        if self.gates is not None:
            nn.init.orthogonal_(self.gates.weight, 2**0.5)
            nn.init.zeros_(self.gates.bias)

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        codes = observation["image"].long().unbind(dim=-1)
        cells = torch.cat([F.one_hot(code, n) for code, n in zip(codes, CODES, strict=True)], dim=-1).flatten(1).float() / 2
        image = torch.cat([cells, F.one_hot(observation["direction"], DIRECTIONS).float()], dim=1)
        bag = self.bag(observation["mission"].float())
        if self.gates is None:
            x = self.first(torch.cat([image, bag], dim=1))
        else:
            scale, shift = self.gates(bag).chunk(2, dim=1)
            x = self.first(image) * (1 + scale) + shift
        return self.second(x.relu()).relu()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Run:
    task: str
    mission: str
    seed: int


def make(run: Run) -> oc.OptionCritic:
    torch.manual_seed(run.seed)
    encoder = None if run.mission == "indicators" else Encoder(run.mission == "gates")
    return oc.OptionCritic(f"BabyAI-{run.task}-v0", encoder=encoder, seed=run.seed, **rows.EXPECTED)


def train(run: Run) -> tuple[Run, dict[str, float]]:
    agent = make(run)
    began, frames, seconds, row = time.perf_counter(), float("inf"), float("inf"), {"return_mean": float("nan")}
    while agent.num_timesteps < TASKS[run.task]:
        row = agent.update()
        if np.isinf(frames) and len(agent.recent) == 100 and row["return_mean"] >= TARGET:
            frames, seconds = agent.num_timesteps, round(time.perf_counter() - began, 1)
    speed = round(agent.num_timesteps / (time.perf_counter() - began))
    return run, dict(frames=frames, seconds=seconds, return_mean=round(row["return_mean"], 4), frames_per_second=speed)


def table(results: dict[Run, dict[str, float]]) -> None:
    """Thousands of frames of each seed (its return where the target was not reached), and frames a second."""
    print("| task | mission | thousand frames | frames a second |\n|---|---|---|---|")
    for task in TASKS:
        for mission in MISSIONS:
            found = [results[run] for run in sorted(results, key=lambda run: run.seed) if (run.task, run.mission) == (task, mission)]
            each = " ".join(f"{x['frames'] / 1000:.0f}" if np.isfinite(x["frames"]) else f"({x['return_mean']:.2f})" for x in found)
            if found:
                print(f"| {task} | {mission} | {each} | {rows.median([x['frames_per_second'] for x in found]):.0f} |")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(TASKS)
    """Of BabyAI, without prefix and version."""
    missions: tuple[str, ...] = MISSIONS
    """How they are shown."""
    seeds: int = 3
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    if not command.table:
        chosen = [Run(task, mission, seed) for seed in range(command.seeds) for task in command.tasks for mission in command.missions]
        rows.fill(ROWS, chosen, train, command.workers)
    table(rows.read(ROWS, Run))
    rows.print_sooner(rows.read(ROWS, Run), "mission", MISSIONS[0])


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
