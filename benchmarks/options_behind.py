"""Claim: on some of MiniGrid's harder tasks four options need more frames than the flat agent, and the cause is known.

    python benchmarks/options_behind.py [--tasks KeyCorridorS3R2 …] [--agents flat options …] [--seeds 10] [--workers 1] [--table]

Three tasks on which options were behind in minigrid_suite.py, the default setting then (`rows.EXPECTED`), and one thing changed at a time.
The flat agent and four options; options that are alike for ever, in policies and critic (the flat agent by another name: what differs
from it is chance); policies that are alike, or a critic that does not tell options apart, so that neither terminations nor the choice of
options learn anything; what the critic, or every head, learns for one option alone scaled by 1/16 or 1/64 in place of 1/4; no entropy
bonus of terminations and choice; their gradient from sampled returns (score), also with a critic that does not tell options apart;
`sampled_returns`, which takes the critic's differences between options out of the advantages of actions; an encoder that learns from
critic and actions alone (`encoder_gradient`); the last two together; and a scale for each coagent's advantages, its own root mean
square, in place of one for all.

A row holds the frames until the mean return of the last 100 episodes reached the target, infinite if the limit came first. Rows go to
options_behind.csv beside this file; runs whose row is there are not run again. Printed are for each task and agent the frames of each seed
and their median, and over the tasks with more than three seeds of both the probability of being sooner than flat, and than options as
they are, with 95 % intervals of these tasks (`statistics.sooner`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rows
import torch
import tyro

import optioncoagent as oc
from optioncoagent.agents import learner, modules
from optioncoagent.agents.heads import RESIDUAL, Linear
from optioncoagent.agents.targets import Batch, make_batch

ROWS = Path(__file__).with_suffix(".csv")
# {task: (limit, target)}
TASKS = {"KeyCorridorS3R2": (600_000, 0.85), "LavaCrossingS9N1": (600_000, 0.85), "RedBlueDoors-6x6": (300_000, 0.8)}


@dataclass(frozen=True)
class Change:
    """policies, critic: the scale of what a head learns for one option alone. own_scales: of advantages. The rest goes to the agent."""

    num_options: int = 4
    policies: float = RESIDUAL
    critic: float = RESIDUAL
    own_scales: bool = False
    forms: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


SCORE = {"termination": "score", "option": "score"}
SAMPLED, ALONE = {"sampled_returns": True}, {"encoder_gradient": "sampled"}
AGENTS = {
    "flat": Change(1),
    "options": Change(),
    "alike": Change(policies=0.0, critic=0.0),
    "policies alike": Change(policies=0.0),
    "critic alike": Change(critic=0.0),
    "critic 1/16": Change(critic=1 / 16),
    "critic 1/64": Change(critic=1 / 64),
    "all heads 1/16": Change(policies=1 / 16, critic=1 / 16),
    "no entropy bonus": Change(settings={"ent_coefs": {"termination": 0.0, "option": 0.0}}),
    "score": Change(forms=SCORE),
    "score, critic alike": Change(forms=SCORE, critic=0.0),
    "sampled returns": Change(settings=SAMPLED),
    "encoder left alone": Change(settings=ALONE),
    "sampled returns, encoder left alone": Change(settings=SAMPLED | ALONE),
    "own scales": Change(own_scales=True),
}


class Module(modules.CoagentModule):
    """With scales of its own for what is learned for one option alone."""

    chosen = Change()

    def _linear(self, name: str, head: Any) -> Linear:
        if name not in self.common:
            return super()._linear(name, head)
        common: Any = self.common[name]
        scale = self.chosen.critic if name == "critic" else self.chosen.policies
        pairs = zip(common.linear(), head.linear(), strict=True)
        weight, bias = (torch.add(c, r.unflatten(0, (-1, len(c))), alpha=scale).flatten(0, 1) for c, r in pairs)
        return weight, bias


def make_batch_of_own_scales(module: Any, *given: Any) -> Batch:
    """Each coagent's advantages over their own root mean square: of Σ_u |a_u|, over the steps at which it has any."""
    batch = make_batch(module, *given)
    learned = batch.learned.clone()
    first = 0
    for coagent in module.network.by_kind:
        advantage = learned[:, 1, first : first + coagent.num_outputs]
        sizes = advantage.abs().sum(dim=1)
        if bool((sizes > 0).any()):
            advantage /= sizes[sizes > 0].square().mean().sqrt()
        first += coagent.num_outputs
    return replace(batch, learned=learned)


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def make(run: Run) -> oc.CoagentActorCritic:
    chosen = AGENTS[run.agent]
    agent = oc.CoagentActorCritic(
        f"MiniGrid-{run.task}-v0",
        lambda num_actions: oc.option_critic(chosen.num_options, num_actions),
        forms=chosen.forms,
        seed=run.seed,
        **rows.EXPECTED | chosen.settings,
    )
    agent.module.__class__, agent.module.chosen = Module, chosen
    return agent


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, (limit, target) = time.perf_counter(), TASKS[run.task]
    learner.make_batch = make_batch_of_own_scales if AGENTS[run.agent].own_scales else make_batch
    frames, row = rows.train_until(make(run), target, limit)
    numbers = {"return_mean": row["return_mean"], "length": row["option/length"], "information": row["action/information"]}
    return run, {"frames": frames, **{k: round(x, 4) for k, x in numbers.items()}, "seconds": round(time.perf_counter() - began, 1)}


def table(results: dict[Run, dict[str, float]]) -> None:
    frames: dict[tuple[str, str], np.ndarray] = {}
    for task in TASKS:
        for agent in AGENTS:
            runs = sorted((run for run in results if (run.task, run.agent) == (task, agent)), key=lambda run: run.seed)
            if runs:
                frames[task, agent] = np.array([results[run]["frames"] for run in runs])
    print("| task | agent | thousand frames | median |\n|---|---|---|---|")
    for (task, agent), x in frames.items():
        each, middle = (" ".join(rows.thousands(ys)) for ys in (x, [rows.median(x)]))
        print(f"| {task} ({TASKS[task][1]}) | {agent} | {each} | {middle} |")
    print("\n| agent | sooner than flat, 95 % | tasks | sooner than options | tasks |\n|---|---|---|---|---|")
    for agent in AGENTS:
        cells = []
        for other in ("flat", "options"):
            both = [task for task in TASKS if min(len(frames.get((task, name), ())) for name in (agent, other)) > 3]
            ours, theirs = ([frames[task, name] for task in both] for name in (agent, other))
            found = rows.sooner(ours, theirs) if both and agent != other else None
            cells += ["{:.2f} [{:.2f}, {:.2f}]".format(*found), str(len(both))] if found else ["", ""]
        print(f"| {agent} | {' | '.join(cells)} |")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(TASKS)
    """Of TASKS."""
    agents: tuple[str, ...] = tuple(AGENTS)
    """Of AGENTS."""
    seeds: int = 10
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs = [Run(task, agent, seed) for seed in range(command.seeds) for task in command.tasks for agent in command.agents]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table(rows.read(ROWS, Run))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
