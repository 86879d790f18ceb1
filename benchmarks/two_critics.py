"""Question: shall the environment's return and the bonus's have one critic, or one each?

    python benchmarks/two_critics.py [--tasks DoorKey-8x8 …] [--agents …] [--seeds 4] [--workers 1] [--table]

The default has one critic, of the sum. Here each return has a head of its own, on the same features, and a coagent's advantage is the sum
of both in its gradient form, which is linear in critic and rewards: with heads that add up to the one critic it is the same number (see
tests/benchmarks/test_two_critics.py). So what differs is how two functions are fitted in place of their sum; and the bonus's return may
then have a discount of its own, or go on beyond the end of an episode, as "Exploration by Random Network Distillation" by Burda et al.
has it (0.999 for rewards, 0.99 for the bonus).

Tasks, limits and targets are those of where_options_pay.py, and so are the rows of the default, four options with one critic. Rows go to
two_critics.csv beside this file; runs whose row is there are not run again.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import rows
import torch
import tyro
import where_options_pay as pay
from torch import Tensor, nn

import optioncoagent as oc
from optioncoagent.agents.rollout import Rollout
from optioncoagent.agents.sizes import Size
from optioncoagent.agents.targets import Batch, make_batch

ROWS = Path(__file__).with_suffix(".csv")
TASKS = ("DoorKey-8x8", "MultiRoom-N4-S5", "KeyCorridorS3R2")
AGENTS: dict[str, dict[str, Any]] = {
    "two critics": {},
    "two critics, non-episodic": {"non_episodic": True},
    "two critics, rewards by 0.999": {"gamma": 0.999, "bonus_gamma": 0.99},
}


@dataclass(frozen=True)
class WithSecond(Batch):
    """second: (B,), λ-return of the bonus."""

    second: Tensor


class Apart:
    """The reward stage of a bonus, which leaves the rewards alone and keeps what it would have added."""

    def __init__(self, stage: Any):
        self.stage, self.bonus = stage, torch.zeros(())

    def __call__(self, rollout: Rollout) -> tuple[Rollout, dict[str, float]]:
        paid, row = self.stage(rollout)
        self.bonus = paid.reward - rollout.reward
        return rollout, row

    def to_arrays(self) -> Any:
        return self.stage.to_arrays()

    def from_arrays(self, arrays: Any) -> None:
        self.stage.from_arrays(arrays)


class TwoCritics(oc.OptionCritic):
    """Option-critic with a critic of the bonus beside that of the rewards.

    non_episodic: does the bonus's return go on beyond the end of an episode? bonus_gamma: its discount, by default that of the rewards.
    """

    def __init__(self, env: Any, non_episodic: bool = False, bonus_gamma: float | None = None, **settings: Any):
        super().__init__(env, normalize_advantages=False, normalize_rewards=False, **settings)  # advantages: `both` does it
        self.non_episodic, self.bonus_gamma = non_episodic, bonus_gamma or self.settings.gamma
        self.rewards["exploration"] = Apart(self.rewards["exploration"])
        heads = {"critic": self.module.critic, "common": self.module.common["critic"]}
        self.module.second = nn.ModuleDict(copy.deepcopy(heads))
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=self.settings.learning_rate, eps=1e-5, fused=True)

    @contextmanager
    def of_bonus(self) -> Iterator[None]:
        """Within the block the critic is that of the bonus."""
        module, second = self.module, self.module.second
        ours = module.critic, module.common["critic"]
        module.critic, module.common["critic"] = second["critic"], second["common"]  # type: ignore[index,assignment]
        try:
            yield
        finally:
            module.critic, module.common["critic"] = ours

    @torch.no_grad()
    def q(self, batch: Batch) -> Tensor:
        """Q(S_t, K_t) at the steps of a batch, (B,)."""
        return self._read(batch)[len(self.module.part) - 1]

    def both(self, rollout: Rollout, batch: Batch) -> WithSecond:
        """The batch of the rewards, with the advantages of both returns, and the bonus's targets."""
        paid = replace(rollout, reward=self.rewards["exploration"].bonus)  # type: ignore[attr-defined]
        if self.non_episodic:  # an episode's last step leads to the next one's first
            never = torch.zeros_like(paid.terminated)
            paid = replace(paid, terminated=never, truncated=never, final_index=paid.final_index[:0], final_observation=None)
        gained = batch.target - self.q(batch)
        with self.of_bonus():
            settings = replace(self.settings, gamma=self.bonus_gamma)
            of_bonus = make_batch(self.module, self.spec, paid, settings, self.forms)
            gained = gained + of_bonus.target - self.q(of_bonus)
        learned = batch.learned.clone()
        # in standard deviations of the advantages of the sum, as with one critic
        learned[:, 1] = (batch.learned[:, 1] + of_bonus.learned[:, 1]) / (gained[batch.valid > 0].std(correction=0) + 1e-8)
        given = {field.name: getattr(batch, field.name) for field in fields(Batch)}
        return WithSecond(**given | {"learned": learned}, second=of_bonus.target)

    def _epochs(self, rollout: Rollout, batch: Batch, size: Size) -> tuple[list[Tensor], float]:
        return super()._epochs(rollout, self.both(rollout, batch), size)

    def losses(self, batch: Any, read: Tensor | None = None) -> Tensor:
        parts = super().losses(batch, read)
        features, _ = self.module.encode(batch.inputs, batch.start, batch.hidden)
        with self.of_bonus():
            weight, bias = self.module._linear("critic", self.module.critic)
        row = batch.rows[:, len(self.module.part) - 1] - self.module.critic_row
        q = torch.addmm(bias, features, weight.T).gather(1, row[:, None])[:, 0]
        error = (q - batch.second) * batch.valid
        return torch.cat([parts[:-1], parts[-1:] + self.settings.vf_coef * error.square().mean()])


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, (limit, target) = time.perf_counter(), pay.TASKS[run.task]
    agent = TwoCritics(f"MiniGrid-{run.task}-v0", seed=run.seed, **AGENTS[run.agent])
    frames, row = rows.train_until(agent, target, limit)
    return run, {"frames": frames, "return_mean": round(row["return_mean"], 4), "seconds": round(time.perf_counter() - began, 1)}


def table(results: dict[Run, dict[str, float]]) -> None:
    """Thousand frames of each seed, and how probable it is that a run is sooner than one of the default."""
    default: dict[str, list[float]] = {task: [] for task in TASKS}
    for run, row in pay.read().items():
        if run.agent == "4 options" and run.task in default:
            default[run.task].append(row["frames"])
    found: dict[str, list[list[float]]] = {}
    for name in AGENTS:
        of = {run: row["frames"] for run, row in sorted(results.items(), key=lambda pair: pair[0].seed) if run.agent == name}
        found[name] = [[frames for run, frames in of.items() if run.task == task] for task in TASKS]
    print(f"| critics | {' | '.join(TASKS)} | sooner than one critic |\n|{'---|' * (len(TASKS) + 2)}")
    for name, frames in {"one critic": [*default.values()], **found}.items():
        cells = [" ".join(rows.thousands(task)) for task in frames]
        compared = name in AGENTS and all(frames)
        shown = rows.shown_sooner([*map(np.array, frames)], [*map(np.array, default.values())]) if compared else ""
        print(f"| {name} | {' | '.join(cells)} | {shown} |")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = TASKS
    agents: tuple[str, ...] = tuple(AGENTS)
    seeds: int = 4
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
