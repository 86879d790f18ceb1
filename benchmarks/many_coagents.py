"""Claim: a layer of 64 bits, each a coagent with a local gradient of its own and no backpropagation through any, learns CartPole-v1; the
variance of the score form grows with the number of bits, that of the posterior form hardly.

    python benchmarks/many_coagents.py [--layers 16 64 16+16] [--learners score posterior backpropagation] [--seeds 3] [--table]
    python benchmarks/many_coagents.py --variance [--units 16 32 64 128 256]

Layers of `gallery.stochastic_layers(additive=True)`: the first one's logits are linear in the observation and its products, those of the
others and of the action in the bits that they read. score: ∂ ln π(U) A for every bit; posterior: the same averaged over what the bit may
have been, given what those that read it gave. backpropagation: a policy without layers, on an encoder with as many ReLU units, from the
observation alone. The critic is linear in the same features as the first layer, or a head of that encoder. Rows go to many_coagents.csv
beside this file; runs whose row is there are not run again. A row holds the mean return of the last 100 episodes after each quarter of the
frames, and the mean of 100 evaluation episodes at the end.

--variance: at the parameters of an agent that has made some updates, the gradient of the bits' parameters from each of many rollouts, for
both forms from the same rollouts: its variance, summed over these parameters, and the square of its mean (the same for both; less what is
noise in it, so that it may come out negative where noise is all there is). Rows go to many_coagents_variance.csv.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

import optioncoagent as oc
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import stochastic_layers

ROWS = Path(__file__).with_suffix(".csv")
VARIANCES = ROWS.with_name("many_coagents_variance.csv")
RUN = ("layers", "learner", "seed")
QUARTERS = tuple(f"return_{quarter}" for quarter in (25, 50, 75, 100))
FIELDS = (*RUN, "frames", *QUARTERS, "evaluation", "seconds")
LEARNERS = ("score", "posterior", "backpropagation")
FRAMES, RATE = 100_000, 3e-3
Row = dict[str, Any]


class Products(nn.Module):
    """Numbers and the products of any two of them: nothing is learned here."""

    def forward(self, x: Tensor) -> Tensor:
        i, j = torch.triu_indices(x.shape[1], x.shape[1])
        return torch.cat([x, x[:, i] * x[:, j]], dim=1)


def make(layers: str, learner: str, seed: int, **settings: Any) -> oc.CoagentActorCritic:
    sizes = tuple(map(int, layers.split("+")))
    if learner == "backpropagation":
        settings = {"hidden_sizes": sizes, **settings}
        return oc.CoagentActorCritic("CartPole-v1", lambda n: stochastic_layers((), n), seed=seed, learning_rate=RATE, **settings)
    forms = {f"unit_{layer}_{i}": learner for layer, size in enumerate(sizes, start=1) for i in range(size)}
    settings = {"encoder": Products(), "hidden_sizes": (), "forms": forms, "learning_rate": RATE, **settings}
    return oc.CoagentActorCritic("CartPole-v1", lambda n: stochastic_layers(sizes, n, additive=True), seed=seed, **settings)


def train(layers: str, learner: str, seed: int) -> Row:
    began, returns = time.perf_counter(), list[float]()
    agent = make(layers, learner, seed)
    while agent.num_timesteps < FRAMES:
        mean = agent.update()["return_mean"]
        if agent.num_timesteps >= FRAMES * (len(returns) + 1) / len(QUARTERS):
            returns.append(round(mean, 1))
    evaluation = float(np.mean(agent.evaluate(100).returns))
    seconds = round(time.perf_counter() - began, 1)
    named = dict(zip(QUARTERS, returns, strict=True))
    return dict(layers=layers, learner=learner, seed=seed, frames=agent.num_timesteps, **named, evaluation=evaluation, seconds=seconds)


def gradients(agent: oc.CoagentActorCritic, rollouts: int, forms: tuple[dict[str, str], ...]) -> np.ndarray:
    """The gradient of the first layer's parameters in each of these choices of forms, from the same rollouts: (forms, rollouts, size)."""
    agent.update()  # so that the episodes that run are not all new
    assert agent.running is not None
    units = [p for name, p in agent.module.policies.named_parameters() if "unit_1_" in name]
    found = list[list[Tensor]]()
    for _ in range(rollouts):
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, agent.settings.num_steps)
        found.append([])
        for chosen in forms:
            batch = make_batch(agent.module, agent.spec, rollout, agent.settings, chosen)
            parts = torch.autograd.grad(agent.losses(batch)[:-1].sum(), units)
            found[-1].append(torch.cat([part.flatten() for part in parts]))
    return torch.stack([torch.stack(each) for each in found]).transpose(0, 1).double().numpy()


def variance(units: int, updates: int, rollouts: int, seed: int = 0) -> list[Row]:
    agent = make(str(units), "score", seed)
    for _ in range(updates):
        agent.update()
    agent.settings = agent.settings.__class__(**{**vars(agent.settings), "num_steps": 32, "ent_coef": 0.0})
    score = dict(agent.forms)
    posterior = {name: "posterior" if name.startswith("unit") else form for name, form in score.items()}
    rows = []
    for name, samples in zip(("score", "posterior"), gradients(agent, rollouts, (score, posterior)), strict=True):
        noise = float(samples.var(axis=0, ddof=1).sum())
        signal = float((samples.mean(axis=0) ** 2).sum()) - noise / rollouts  # of the mean, less what is noise in it
        rows.append(dict(units=units, updates=updates, form=name, rollouts=rollouts, variance=noise, signal=signal))
    return rows


def read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, row: Row) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(row, flush=True)


def tables() -> None:
    rows = read(ROWS)
    for layers, learner in dict.fromkeys((row["layers"], row["learner"]) for row in rows):
        found = [row for row in rows if (row["layers"], row["learner"]) == (layers, learner)]
        means = " ".join(f"{np.mean([float(row[name]) for row in found]):6.0f}" for name in QUARTERS)
        evaluated = " ".join(f"{float(row['evaluation']):.0f}" for row in found)
        print(f"{layers:8}{learner:18}{means}   evaluated {evaluated}")
    measured = {(row["units"], row["updates"], row["form"]): row for row in read(VARIANCES)}
    for units, updates in dict.fromkeys(key[:2] for key in measured):
        score, posterior = (measured[units, updates, form] for form in ("score", "posterior"))
        noise, less, mean = float(score["variance"]), float(posterior["variance"]), float(posterior["signal"])  # both have the same mean
        print(
            f"{units:>4} units, {updates:>2} updates: score {noise:.3g}, posterior {less:.3g}, ratio {noise / less:.0f}, mean² {mean:.2g}"
        )


@dataclass(frozen=True)
class Benchmark:
    layers: tuple[str, ...] = ("16", "64", "16+16")
    """Units in each layer, joined by +."""
    learners: tuple[str, ...] = LEARNERS
    """How they learn."""
    seeds: int = 3
    """Run seeds below this."""
    variance: bool = False
    """Measure the variance of gradients in place of returns."""
    units: tuple[int, ...] = (16, 32, 64, 128, 256)
    """In one layer, for the variance."""
    updates: tuple[int, ...] = (0, 10)
    """After which the variance is measured."""
    rollouts: int = 100
    """For the variance."""
    table: bool = False
    """Only print the tables of the rows that there are."""


def main(command: Benchmark) -> None:
    if command.variance and not command.table:
        there = {(row["units"], row["updates"]) for row in read(VARIANCES)}
        for units, updates in ((units, updates) for updates in command.updates for units in command.units):
            if (str(units), str(updates)) not in there:
                for row in variance(units, updates, command.rollouts):
                    write(VARIANCES, row)
    elif not command.table:
        there = {tuple(row[name] for name in RUN) for row in read(ROWS)}
        for seed in range(command.seeds):
            for layers in command.layers:
                for learner in command.learners:
                    if (layers, learner, str(seed)) not in there:
                        write(ROWS, train(layers, learner, seed))
    tables()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Benchmark))
