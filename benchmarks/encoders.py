"""Claim: an indicator for each of MiniGrid's codes costs fewer frames than the codes as numbers, an embedding or convolutions.

    python benchmarks/encoders.py [--tasks Unlock …] [--encoders codes indicators …] [--seeds 5] [--workers 1] [--table]

A cell of MiniGrid is (object, colour, state), three codes. The encoders, all followed by two layers of 64 with ReLU:

    codes          the codes over ten: observation_kinds={"image": "grid"}
    indicators     an indicator for each value of each code, 21 a cell: the default
    embedding      for each cell the sum of three learned vectors of 8, one for each code
    convolutions   codes through three 2 × 2 convolutions of 16, 32 and 64 channels, a maximum over 2 × 2 after the first: the network of
                   MiniGrid's documentation

The direction is given as indicators, the mission as the default encoder reads it. Four options, and the default settings then
(`rows.SIXTEEN`) but for the bonus, which counts observations. Rows go to encoders.csv beside this file; runs whose row is there are not run
again. A row holds the frames and the seconds of CPU until the mean return of the last 100 episodes first was the task's target (infinite if
never), that mean at the end, and frames per CPU second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rows
import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

import optioncoagent as oc

ROWS = Path(__file__).with_suffix(".csv")
VALUES = (11, 6, 4)  # of object, colour, state
SIDE, DIRECTIONS, WIDTH = 7, 4, 64
# {task: (frames, target)}
TASKS = {
    "DoorKey-5x5": (100_000, 0.9),
    "Unlock": (150_000, 0.9),
    "SimpleCrossingS9N1": (200_000, 0.9),
    "Fetch-5x5-N2": (200_000, 0.6),
    "KeyCorridorS3R1": (200_000, 0.9),
    "RedBlueDoors-6x6": (250_000, 0.8),
    "GoToDoor-5x5": (300_000, 0.6),
    "DoorKey-8x8": (300_000, 0.9),
}


class Embedding(nn.Module):
    """(n, 7, 7, 3) codes, each cell as a sum of three learned vectors, (n, 392)."""

    size = 8
    num_features = SIDE * SIDE * size

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, self.size) for n in VALUES)

    def forward(self, image: Tensor) -> Tensor:
        codes = image.long().unbind(dim=-1)
        cells = sum(table(code) for table, code in zip(self.tables, codes, strict=True))
        return cells.flatten(1)  # type: ignore[union-attr]


class Convolutions(nn.Module):
    """(n, 7, 7, 3) codes over ten through small convolutions, (n, 64)."""

    num_features = 64

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 2), nn.ReLU(), nn.Conv2d(32, 64, 2), nn.ReLU(), nn.Flatten()
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image.permute(0, 3, 1, 2).float() / 10)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A MiniGrid observation as features (n, 64): the image as `cells` shows it, direction and mission beside it."""

    def __init__(self, cells: Any, mission: int):
        super().__init__()
        self.cells, self.mission = cells, mission
        sizes = (cells.num_features + DIRECTIONS + mission, WIDTH, WIDTH)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        for layer in self.hidden:
            nn.init.orthogonal_(layer.weight, 2**0.5)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        parts = [self.cells(observation["image"]), F.one_hot(observation["direction"], DIRECTIONS).float()]
        if self.mission:
            parts.append(observation["mission"].float())
        x = torch.cat(parts, dim=1)
        for layer in self.hidden:
            x = F.relu(layer(x))
        return x


CELLS: dict[str, Callable[[], nn.Module]] = {"embedding": Embedding, "convolutions": Convolutions}
KINDS: dict[str, dict[str, str]] = {"codes": {"image": "grid"}, "indicators": {}}
ENCODERS = (*KINDS, *CELLS)


@dataclass(frozen=True)
class Run:
    task: str
    encoder: str
    seed: int


def make(run: Run) -> oc.OptionCritic:
    env_id = f"MiniGrid-{run.task}-v0"
    settings: dict[str, Any] = dict(seed=run.seed, int_counts="observation", **rows.SIXTEEN)
    if run.encoder in KINDS:
        return oc.OptionCritic(env_id, observation_kinds=KINDS[run.encoder], **settings)
    mission = sum(leaf.size for leaf in oc.OptionCritic(env_id).spec.leaves if leaf.kind == "mission")
    torch.manual_seed(run.seed)
    return oc.OptionCritic(env_id, **settings, encoder=Encoder(CELLS[run.encoder](), mission))


def train(run: Run) -> tuple[Run, dict[str, float]]:
    agent, (limit, target) = make(run), TASKS[run.task]
    began, frames, seconds, row = time.process_time(), float("inf"), float("inf"), {"return_mean": float("nan")}
    while agent.num_timesteps < limit:
        row = agent.update()
        if np.isinf(frames) and len(agent.recent) == 100 and row["return_mean"] >= target:
            frames, seconds = agent.num_timesteps, round(time.process_time() - began, 1)
    speed = round(agent.num_timesteps / (time.process_time() - began))
    return run, dict(frames=frames, seconds=seconds, return_mean=round(row["return_mean"], 4), frames_per_second=speed)


def table(results: dict[Run, dict[str, float]]) -> None:
    """Thousands of frames of each seed (its return where the target was not reached), their median, and the median of the seconds."""
    print(f"{'task':20}{'encoder':14}{'frames':>8}{'seconds':>9}{'speed':>8}   of each seed")
    for task, encoder in dict.fromkeys((run.task, run.encoder) for run in sorted(results, key=lambda run: (run.task, run.encoder))):
        found = [results[run] for run in sorted(results, key=lambda run: run.seed) if (run.task, run.encoder) == (task, encoder)]
        middle = {name: np.sort([row[name] for row in found])[len(found) // 2] for name in ("frames", "seconds", "frames_per_second")}
        each = " ".join(f"{row['frames'] / 1000:.0f}" if np.isfinite(row["frames"]) else f"({row['return_mean']:.2f})" for row in found)
        frames = f"{middle['frames'] / 1000:.0f}k"
        print(f"{task:20}{encoder:14}{frames:>8}{middle['seconds']:9.1f}{middle['frames_per_second']:8.0f}   {each}")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(TASKS)
    encoders: tuple[str, ...] = ENCODERS
    seeds: int = 5
    workers: int = 1
    table: bool = False
    """Print what is there, run nothing."""


def main(command: Benchmark) -> None:
    if not command.table:
        chosen = [Run(task, encoder, seed) for seed in range(command.seeds) for task in command.tasks for encoder in command.encoders]
        rows.fill(ROWS, chosen, train, command.workers)
    table(rows.read(ROWS, Run))
    rows.print_sooner(rows.read(ROWS, Run), "encoder", "codes")


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
