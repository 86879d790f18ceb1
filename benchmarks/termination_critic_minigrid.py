"""Claim: with the deep learner, too, terminations can learn to end where it can be foretold; what such options are worth.

    python benchmarks/termination_critic_minigrid.py [--tasks Unlock …] [--seeds 5] [--workers 1] [--table]

The termination critic (see termination_critic.py, which has it exactly) on MiniGrid: four options, the default agent for 100,000 frames,
whose terminations ascend −H(p_ω) in place of the return, H being the entropy of where option ω ends. "Where" is the agent's place (x, y
and what it carries; of every layout of the walls the same numbers), and the end of the episode is one more. What p_ω is, and what going on
leads to, is counted in each rollout (`endings`). Beside it: terminations by the return; and both without their entropy bonus.

Means over the last ten updates: H and how often options last until the episode ends, means over the options as often as they end, and the
learner's figures; frames until the mean return of 100 episodes is 0.8, infinite where that was later. Rows go to
termination_critic_minigrid.csv beside this file; runs whose row is there are not run again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rows
import torch
import tyro
from scipy.special import entr

import optioncoagent as oc
from optioncoagent.agents import losses
from optioncoagent.agents.rollout import Rollout
from optioncoagent.agents.sizes import Size
from optioncoagent.agents.targets import Batch
from optioncoagent.gallery import TERMINATE, option_critic

ROWS = Path(__file__).with_suffix(".csv")
TASKS = ("DoorKey-6x6", "KeyCorridorS3R1", "Unlock")
OPTIONS, FRAMES, TARGET, LAST = 4, 100_000, 0.8, 10
# what the rows hold: the learner's figures by other names, and this file's
FIGURES = {
    "length": "option/length", "usage": "option/usage_entropy", "divergence": "action/divergence", "ends": f"termination/sure_{TERMINATE}",
    "stays": f"termination/sure_{1 - TERMINATE}", "H": "H", "to the end": "to the end",
}  # fmt: skip


@dataclass(frozen=True)
class Endings:
    """Of the terminations of a rollout, for option-critic.

    values: (T, N, 2), what each output leads to, E ln p_ω(where the option ends). known: (T, N) bool, where one was asked and both are
    known. p: (options, places), where options end; the last place is the end of the episode. often: (options,), how many ended.
    """

    values: np.ndarray
    known: np.ndarray
    p: np.ndarray
    often: np.ndarray


def endings(rollout: Rollout, num_options: int = OPTIONS) -> Endings:
    """Where the options of a rollout ended, and what the terminations made of it.

    Going on from a place is worth the mean of ln p_ω over where ω then ended, of all who went on with it from there; nobody may have, or
    not have ended yet. Options that a time limit cuts off, or that the rollout leaves, ended nowhere.
    """
    assert rollout.places is not None
    before, after = (x["option"].cpu().numpy() for x in (rollout.previous, rollout.outputs))
    executed = (rollout.executed["termination"] & rollout.valid).cpu().numpy()
    ended = executed & (rollout.outputs["termination"].cpu().numpy() == TERMINATE)
    terminated = (rollout.terminated & rollout.valid).cpu().numpy()
    over = terminated | rollout.truncated.cpu().numpy() | ~rollout.valid.cpu().numpy()
    names, place = np.unique(rollout.places[:-1].reshape(before.size, -1), axis=0, return_inverse=True)
    place, end, nowhere = place.reshape(before.shape), len(names), -1

    # C_ω(f): how often option ω ended at f
    C = np.zeros((num_options, end + 1))
    np.add.at(C, (before[ended], place[ended]), 1)
    np.add.at(C, (after[terminated], end), 1)

    # to[t]: where the option that went on from t ended, backwards in time
    to, next_end = np.full(before.shape, nowhere), np.full(before.shape[1], nowhere)
    for t in reversed(range(len(before))):
        to[t] = np.where(over[t], np.where(terminated[t], end, nowhere), next_end)
        next_end = np.where(ended[t], place[t], to[t])

    often = C.sum(axis=1)
    p = C / np.maximum(often, 1)[:, None]
    log_p = np.log(np.maximum(C, 1) / np.maximum(often, 1)[:, None])  # where it never ended: as if this were the first
    went_on = executed & ~ended & (to != nowhere)
    number, total = np.zeros_like(C), np.zeros_like(C)
    np.add.at(number, (before[went_on], place[went_on]), 1)
    np.add.at(total, (before[went_on], place[went_on]), log_p[before[went_on], to[went_on]])
    values = np.zeros((*before.shape, 2))
    values[..., TERMINATE] = log_p[before, place]
    values[..., 1 - TERMINATE] = (total / np.maximum(number, 1))[before, place]
    return Endings(values, executed & (number[before, place] > 0), p, often)


class Foretelling(oc.CoagentActorCritic):
    """An agent that looks at where its options end; terminations learn from that in place of the return if `critic`."""

    critic = True

    def _epochs(self, rollout: Rollout, batch: Batch, size: Size) -> tuple[list[torch.Tensor], float]:
        seen = endings(rollout)
        weight = seen.often / max(seen.often.sum(), 1)
        self.seen = {"H": float(weight @ entr(seen.p).sum(axis=1)), "to the end": float(weight @ seen.p[:, -1])}
        if self.critic:
            batch = replace(batch, learned=self.foretold(seen, batch.learned))
        return super()._epochs(rollout, batch, size)

    def foretold(self, seen: Endings, learned: torch.Tensor) -> torch.Tensor:
        """What is learned (see `Batch`), with the terminations' advantages those of where options end, over the root mean square of what
        ending is worth more than going on."""
        learned, termination = learned.clone(), self.module.part[:-1] == self.loss_names.index("termination/loss")
        values = torch.as_tensor(seen.values.reshape(-1, 2)).to(learned)
        known = torch.as_tensor(seen.known.reshape(-1)).to(learned)
        advantage = known * losses.expected(learned[:, 0, termination].T.exp(), values.T)
        # of W(terminate) − W(go on)
        gap = (values[:, TERMINATE] - values[:, 1 - TERMINATE])[known > 0]
        learned[:, 1, termination] = (advantage / (gap.square().mean().sqrt() + 1e-8 if len(gap) else 1.0)).T
        return learned


AGENTS: dict[str, dict[str, Any]] = {
    "by the return": dict(critic=False),
    "termination critic": dict(critic=True),
    "by the return, no entropy": dict(critic=False, ent_coefs={"termination": 0.0}),
    "termination critic, no entropy": dict(critic=True, ent_coefs={"termination": 0.0}),
}


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def make(run: Run) -> Foretelling:
    settings = dict(AGENTS[run.agent])
    critic = settings.pop("critic")
    agent = Foretelling(f"MiniGrid-{run.task}-v0", lambda num_actions: option_critic(OPTIONS, num_actions), seed=run.seed, **settings)
    agent.critic = critic
    return agent


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, agent = time.perf_counter(), make(run)
    frames, seen = float("inf"), list[dict[str, float]]()
    while agent.num_timesteps < FRAMES:
        seen.append(agent.update() | agent.seen)
        if frames == float("inf") and len(agent.recent) == 100 and seen[-1]["return_mean"] >= TARGET:
            frames = agent.num_timesteps
    means = {name: round(float(np.mean([row[source] for row in seen[-LAST:]])), 4) for name, source in FIGURES.items()}
    ended = {"frames": frames, "return": round(seen[-1]["return_mean"], 4)}
    return run, ended | means | {"seconds": round(time.perf_counter() - began, 1)}


def table(results: dict[Run, dict[str, float]]) -> None:
    """Thousand frames of each seed, then means over seeds, and half their 95 % interval by Student's t."""
    columns = ("return", *FIGURES)
    print(f"| task | terminations | frames | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 3)}")
    for task in TASKS:
        for name in AGENTS:
            found = [row for run, row in sorted(results.items(), key=lambda x: x[0].seed) if (run.task, run.agent) == (task, name)]
            if found:
                frames = " ".join(rows.thousands(row["frames"] for row in found))
                x = {column: np.array([row[column] for row in found]) for column in columns}
                cells = [f"{x[column].mean():.2f} ± {rows.half_interval(x[column]):.2f}" for column in columns]
                print(f"| {task} | {name} | {frames} | {' | '.join(cells)} |")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = TASKS
    seeds: int = 5
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs = [Run(task, agent, seed) for seed in range(command.seeds) for task in command.tasks for agent in AGENTS]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table(rows.read(ROWS, Run))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
