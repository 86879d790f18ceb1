"""Claim: layers of bits, each a coagent with a local gradient of its own and no backpropagation through any, learn CartPole-v1 and a
MiniGrid task, and get somewhere on a MuJoCo task.

    python benchmarks/many_coagents.py [--task CartPole-v1] [--layers 16 64 16+16] [--learners posterior gaussian …] [--seeds 3]
    python benchmarks/many_coagents.py --table

Layers of `gallery.stochastic_layers(additive=True)`: the first one's logits are linear in what is observed (numbers and the products of any
two of them; indicators of MiniGrid's codes), those of the others and of the action in the bits that they read. score: ∂ ln π(U) A for every
bit; posterior: the same averaged over what the bit may have been, given what those that read it gave; gaussian: units that give a real
number each in place of a bit, with ∂ ln π(U) A. backpropagation: a policy without layers, on an encoder with as many ReLU units, from the
same features; on CartPole-v1 from the observation alone. The critic is linear in what the first layer reads, or a head of that encoder. A
row holds the mean return of the last 100 episodes after each quarter of the frames, the mean of 100 evaluation episodes at the end, and
seconds of the processor (of the first rows for CartPole-v1, seconds). Rows go to many_coagents.csv (CartPole-v1) and
many_coagents_tasks.csv beside this file; runs whose row is there are not run again. MuJoCo needs `pip install "gymnasium[mujoco]"`.

The variance of their updates is measured by many_coagents_variance.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rows
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

import optioncoagent as oc
from optioncoagent.gallery import stochastic_layers

QUARTERS = tuple(f"return_{quarter}" for quarter in (25, 50, 75, 100))
LEARNERS = ("score", "posterior", "backpropagation", "gaussian")
CARTPOLE = "CartPole-v1"


@dataclass(frozen=True)
class Run:
    layers: str
    learner: str
    seed: int


@dataclass(frozen=True)
class TaskRun:
    task: str
    layers: str
    learner: str
    seed: int


class Products(nn.Module):
    """Numbers and the products of any two of them: nothing is learned here."""

    def forward(self, x: Tensor) -> Tensor:
        i, j = torch.triu_indices(x.shape[1], x.shape[1])
        return torch.cat([x, x[:, i] * x[:, j]], dim=1).float()


class Numbers(nn.Module):
    """Numbers as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float()


class Codes(nn.Module):
    """Indicators of MiniGrid's codes of objects, colours and states in all cells, and of the direction: nothing is learned here."""

    def forward(self, state: dict[str, Tensor]) -> Tensor:
        image = state["image"].flatten(1, -2).long()
        parts = [F.one_hot(image[..., i], size).flatten(1) for i, size in enumerate((11, 6, 3))]
        return torch.cat([*parts, F.one_hot(state["direction"].long(), 4)], dim=1).float()


@dataclass(frozen=True)
class Task:
    """frames: of a run. features, num_features: what the first layer reads. rate: Adam's step size, for every learner."""

    frames: int
    features: Callable[[], nn.Module]
    num_features: int
    rate: float = 3e-3


TASKS = {
    CARTPOLE: Task(100_000, Products, 14),
    "MiniGrid-DoorKey-5x5-v0": Task(50_000, Codes, 7 * 7 * (11 + 6 + 3) + 4),
    "InvertedPendulum-v5": Task(100_000, Products, 14),
    "Ant-v5": Task(300_000, Numbers, 105, 1e-3),
    "Hopper-v5": Task(150_000, Products, 11 + 66, 1e-3),
    "HalfCheetah-v5": Task(150_000, Products, 17 + 153, 1e-3),
}


def make(task: str, layers: str, learner: str, seed: int) -> oc.CoagentActorCritic:
    sizes, of = tuple(map(int, layers.split("+"))), TASKS[task]
    settings: dict[str, Any] = {"seed": seed, "learning_rate": of.rate, **rows.SIXTEEN}
    if learner == "backpropagation" and task == CARTPOLE:
        return oc.CoagentActorCritic(task, lambda n: stochastic_layers((), n), hidden_sizes=sizes, **settings)
    if learner == "backpropagation":
        torch.manual_seed(seed)
        relus = [part for pair in pairwise((of.num_features, *sizes)) for part in (nn.Linear(*pair), nn.ReLU())]
        encoder = nn.Sequential(of.features(), *relus)
        return oc.CoagentActorCritic(task, lambda n: stochastic_layers((), n), encoder=encoder, hidden_sizes=(), **settings)
    settings |= {"encoder": of.features(), "hidden_sizes": ()}
    if learner == "gaussian":
        return oc.CoagentActorCritic(task, lambda n: stochastic_layers(sizes, n, additive=True, units=oc.Gaussian()), **settings)
    settings["forms"] = {f"unit_{layer}_{i}": learner for layer, size in enumerate(sizes, start=1) for i in range(size)}
    return oc.CoagentActorCritic(task, lambda n: stochastic_layers(sizes, n, additive=True), **settings)


def train(task: str, layers: str, learner: str, seed: int) -> rows.Result:
    began, returns, frames = time.process_time(), list[float](), TASKS[task].frames
    agent = make(task, layers, learner, seed)
    while agent.num_timesteps < frames:
        mean = agent.update()["return_mean"]
        if agent.num_timesteps >= frames * (len(returns) + 1) / len(QUARTERS):
            returns.append(round(mean, 3))
    evaluation = round(float(np.mean(agent.evaluate(100).returns)), 3)
    seconds = round(time.process_time() - began, 1)
    return {"frames": agent.num_timesteps, **dict(zip(QUARTERS, returns, strict=True)), "evaluation": evaluation, "seconds": seconds}


def place(task: str, layers: str, learner: str, seed: int) -> tuple[Path, Run | TaskRun]:
    """The file of a run's row, and what it is there."""
    path = Path(__file__).with_suffix(".csv")
    if task == CARTPOLE:
        return path, Run(layers, learner, seed)
    return path.with_name("many_coagents_tasks.csv"), TaskRun(task, layers, learner, seed)


def tables() -> None:
    for task in TASKS:
        path, example = place(task, "", "", 0)
        measured = {run: row for run, row in rows.read(path, type(example)).items() if getattr(run, "task", task) == task}
        for layers, learner in dict.fromkeys((run.layers, run.learner) for run in measured):
            found = [row for run, row in measured.items() if (run.layers, run.learner) == (layers, learner)]
            means = " ".join(f"{np.mean([row[name] for row in found]):7.4g}" for name in QUARTERS)
            evaluated = " ".join(f"{row['evaluation']:.4g}" for row in found)
            print(f"{task:26}{layers:8}{learner:18}{means}   evaluated {evaluated}")


@dataclass(frozen=True)
class Benchmark:
    task: str = CARTPOLE
    """One of TASKS."""
    layers: tuple[str, ...] = ("16", "64", "16+16")
    """Units in each layer, joined by +."""
    learners: tuple[str, ...] = LEARNERS
    """How they learn."""
    seeds: int = 3
    """Run seeds below this."""
    table: bool = False
    """Only print the tables of the rows that there are."""


def main(command: Benchmark) -> None:
    for seed in range(0 if command.table else command.seeds):
        for layers in command.layers:
            for learner in command.learners:
                path, run = place(command.task, layers, learner, seed)
                if run not in rows.read(path, type(run)):
                    rows.write(path, run, result := train(command.task, layers, learner, seed))
                    print(run, result, flush=True)
    tables()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Benchmark))
