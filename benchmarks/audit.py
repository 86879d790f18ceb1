"""Claim: an agent's action follows the exact gradient all along training; its terminations and its policy over options follow
their critic's error: each option's part of the critic also fits what the common part misses where that option is in force, and what there
is to be told apart is less than that.

Agents are trained on MiniGrid-DoorKey-5x5-v0 and audited on its level 0 (see `optioncoagent audit`) at MOMENTS. Rows go to audit.csv
beside this file and the picture of "default", the agent of an earlier default (`rows.BEFORE`), to figures/audit.png; "now" is the present
one. With --frames, frames to a mean return of 0.9 of each agent, rows in audit_frames.csv: what a critic that tells options apart with
less error is worth. Runs whose rows are there are not run again. With --frozen, critics are fitted twice, to other rollouts of one agent
that does not change: where they agree, their error is not noise.

    python benchmarks/audit.py [--agents default …] [--seeds 3] [--table]
    python benchmarks/audit.py --frozen [--agents default centred]
    python benchmarks/audit.py --frames [--agents default "critic residual 1/16" …] [--seeds 5] [--table]
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from rows import BEFORE, train_until

import optioncoagent as oc
from optioncoagent.agents import modules
from optioncoagent.agents.heads import RESIDUAL, Linear
from optioncoagent.agents.minibatches import by_step
from optioncoagent.auditing import examine
from optioncoagent.auditing.command import discounted_successes, one_level
from optioncoagent.auditing.examination import own_forms
from optioncoagent.auditing.gradient import logit_tables
from optioncoagent.auditing.picture import draw
from optioncoagent.exact import critic_values, option_values

HERE = Path(__file__)
ROWS, FRAMES, PICTURE = HERE.with_suffix(".csv"), HERE.with_name("audit_frames.csv"), HERE.parent / "figures" / "audit.png"
ENV, LEVEL, MAX_STEPS = "MiniGrid-DoorKey-5x5-v0", 0, 250
MOMENTS = tuple(2048 * n for n in (4, 8, 12, 16, 24, 32, 40, 49))
TASKS, TARGET, LIMIT = ("MiniGrid-DoorKey-5x5-v0", "MiniGrid-DoorKey-6x6-v0"), 0.9, 300_000
Row = dict[str, Any]


@dataclass(frozen=True)
class Critic:
    """residual: scale of what the critic learns of one option alone. epochs: passes more in which only the critic's heads learn.

    centred: what an option adds is learned from which option the network drew, 1{ω} less the probability that it had given the
    observation and the option before, so that nothing that depends on these alone can be taken for a difference between options; with V
    for the common part and r for what an option adds,

        (V(s) − G)² + (V(s) + r(s, ω) − Σ_ω' μ(ω') r(s, ω') − G)², V held fixed in the second        Q(s, ω) = V(s) + r(s, ω) − mean r(s, ·)

    as Robinson's regression has it ("Root-N-Consistent Semiparametric Regression", 1988). settings: the default was `rows.BEFORE` when
    these were compared; "now" is the present one.
    """

    residual: float = RESIDUAL
    epochs: int = 0
    centred: bool = False
    settings: dict[str, Any] = field(default_factory=BEFORE.copy)


AGENTS = {
    "now": Critic(settings={}),
    "default": Critic(),
    "critic residual 1": Critic(residual=1.0),
    "critic residual 1/16": Critic(residual=1 / 16),
    "critic residual 1/64": Critic(residual=1 / 64),
    "8 epochs more": Critic(epochs=8),
    "centred": Critic(centred=True),
    "centred, residual 1": Critic(centred=True, residual=1.0),
}


class Module(modules.CoagentModule):
    """With a scale of its own for the critic's residuals, which may be less their mean."""

    chosen = Critic()

    def _linear(self, name: str, head: Any) -> Linear:
        if name != "critic":
            return super()._linear(name, head)
        common: Any = self.common[name]
        residuals = (r - r.mean(dim=0) if self.chosen.centred else r for r in head.linear())
        weight, bias = (c + self.chosen.residual * r for c, r in zip(common.linear(), residuals, strict=True))
        return weight, bias


class Agent(oc.OptionCritic):
    """With further epochs for the critic's heads, or another loss for it."""

    chosen = Critic()

    def losses(self, batch: Any, read: torch.Tensor | None = None) -> torch.Tensor:
        parts = super().losses(batch, read)
        if not self.chosen.centred:
            return parts
        module, options = self.module, self.network["option"].num_outputs
        features, _ = module.encode(batch.inputs, batch.start, batch.hidden)
        value = F.linear(features, *module.common["critic"].linear())[:, 0]
        residual = self.chosen.residual * F.linear(features, *module.critic.linear())
        # Pr(ω | s, ω before) = b π(ω) + (1 − b) 1{ω = ω before}, and π(ω) at a first step
        old = batch.learned[:, 0].exp()
        end, choice = old[:, oc.TERMINATE, None], old[:, 2 : 2 + options]
        before = F.one_hot((batch.rows[:, 0] - module.first_row["termination"]) // 2, options)
        law = torch.where(batch.start[:, None], choice, end * choice + (1 - end) * before)
        drawn = F.one_hot(batch.rows[:, -1] - module.critic_row, options)
        told = ((drawn - law) * residual).sum(dim=1)
        errors = (value - batch.target) ** 2 + (value.detach() + told - batch.target) ** 2
        return torch.cat([parts[:-1], self.settings.vf_coef * (batch.valid * errors).mean()[None]])

    def _epochs(self, rollout: Any, batch: Any, size: Any) -> tuple[list[torch.Tensor], float]:
        found = super()._epochs(rollout, batch, size)
        for _ in range(self.chosen.epochs):
            self._critic_epoch(rollout, batch, size.num_minibatches)
        return found

    def _critic_epoch(self, rollout: Any, batch: Any, num_minibatches: int) -> None:
        heads = [*self.module.critic.parameters(), *self.module.common["critic"].parameters()]
        if not hasattr(self, "critic_optimizer"):
            self.critic_optimizer = torch.optim.Adam(heads, lr=self.settings.learning_rate, eps=1e-5)
        for steps in by_step(rollout.valid, num_minibatches, self.shuffle):
            slopes = torch.autograd.grad(self.losses(batch.at(steps))[-1], heads)
            for head, slope in zip(heads, slopes, strict=True):
                head.grad = slope
            self.critic_optimizer.step()


def make(name: str, seed: int, env_id: str = ENV) -> Agent:
    agent = Agent(env_id, seed=seed, **AGENTS[name].settings)
    agent.module.__class__, agent.module.chosen, agent.chosen = Module, AGENTS[name], AGENTS[name]
    return agent


def audited(name: str, seed: int) -> Iterable[Row]:
    """The rows of `examine` at each moment, each with what is said of the moment."""
    agent = make(name, seed)
    mdp = oc.MDP.from_minigrid(ENV, agent.settings.gamma, LEVEL, view="egocentric")
    for moment in MOMENTS:
        agent.learn(moment - agent.num_timesteps)
        found = examine(agent, mdp, rollouts=32, seed=0, max_steps=MAX_STEPS)
        episodes = agent.evaluate(100, seed=0, env=one_level(ENV, LEVEL, agent.num_envs))
        returns = discounted_successes(episodes.returns, episodes.lengths, mdp.gamma)
        shared = {"agent": name, "seed": seed, "timesteps": agent.num_timesteps, "J": found.expected_return}
        shared |= {"J_episodes": returns.mean(), "J_error": returns.std(ddof=1) / 10}
        errors = {error.critic: error._asdict() for error in found.critic}
        shared |= {f"critic_{key}": x for key, x in errors["own"].items() if key != "critic"}
        for row in found.rows:
            yield shared | row._asdict()


def frames(name: str, seed: int, env_id: str) -> Row:
    reached, row = train_until(make(name, seed, env_id), TARGET, LIMIT)
    return {"agent": name, "seed": seed, "task": env_id, "frames": reached, "return_mean": row["return_mean"]}


def told_apart(agent: Agent, mdp: oc.MDP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q̂ and Q less their means over options at each state, and the share of time in each (state, option)."""
    params = agent.params(mdp)
    share = option_values(mdp, params).d_z / option_values(mdp, params).d_z.sum()
    table = logit_tables(agent, mdp)[1]
    own = np.pad(table, ((0, mdp.num_observations - len(table)), (0, 0)))[mdp.observation]
    weight = share / np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
    own, exact = (x - (weight * x).sum(axis=1, keepdims=True) for x in (own, critic_values(mdp, agent.network, params)))
    return own, exact, share


def frozen(names: tuple[str, ...], steps: int = 12 * 2048) -> None:
    """What is told apart by critics' heads fitted to so many rollouts of one agent, twice."""
    agent = make("default", 0).learn(steps)
    mdp = oc.MDP.from_minigrid(ENV, agent.settings.gamma, LEVEL, view="egocentric")
    print("| critic | rollouts | of the fits | exact | correlation of the fits | with the exact |\n|---|---|---|---|---|---|")
    for name in names:
        for rollouts in (16, 64):
            one, other = (fitted(name, seed, agent, rollouts, mdp) for seed in (101, 102))
            exact, share = one[1], one[2]
            size = [np.sqrt((share * x**2).sum()) for x in (one[0], other[0], exact)]
            inner = [(share * x * y).sum() for x, y in ((one[0], other[0]), (one[0], exact), (other[0], exact))]
            with_exact = f"{inner[1] / size[0] / size[2]:+.2f}, {inner[2] / size[1] / size[2]:+.2f}"
            sizes = f"{size[0]:.4f}, {size[1]:.4f} | {size[2]:.4f}"
            print(f"| {name} | {rollouts} | {sizes} | {inner[0] / size[0] / size[1]:+.2f} | {with_exact} |", flush=True)


def fitted(name: str, seed: int, agent: Agent, rollouts: int, mdp: oc.MDP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`told_apart` by a critic whose heads alone learn, from nothing."""
    copy = make(name, seed)
    copy.module.load_state_dict(agent.module.state_dict())
    copy.scale, copy.rewards, copy.settings = None, {}, replace(copy.settings, max_grad_norm=1e9)
    heads = [*copy.module.critic.parameters(), *copy.module.common["critic"].parameters()]
    with torch.no_grad():
        for part in copy.module.critic.parameters():
            part.zero_()
    for rate in (1e-3, 1e-4):
        copy.optimizer = torch.optim.Adam(heads, lr=rate)
        copy.learn(rollouts // 2 * copy.num_envs * copy.size.num_steps)
    return told_apart(copy, mdp)


def read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: _number(x) for key, x in row.items()} for row in csv.DictReader(file)]


def write(path: Path, rows: Iterable[Row]) -> None:
    rows = [{key: f"{x:.5g}" if isinstance(x, float) else x for key, x in row.items()} for row in rows]
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _number(x: str) -> Any:
    try:
        return float(x)
    except ValueError:
        return x == "True" if x in ("True", "False") else x


def medians(rows: list[Row], keys: tuple[str, ...], columns: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, float]]:
    """Medians over those seeds that were not lost, and how many were."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    found = {}
    for group, part in groups.items():
        kept = [row for row in part if not row["lost"]]
        found[group] = {c: float(np.median([row[c] for row in kept])) if kept else np.nan for c in columns}
        found[group]["lost"] = sum(row["lost"] for row in part)
    return found


def table(rows: list[Row]) -> None:
    columns = ("cosine", "norm_ratio", "noise", "exact_norm")
    for name in dict.fromkeys(row["agent"] for row in rows):
        mine = [row for row in rows if row["agent"] == name]
        print(f"\n{name}: medians over {len({row['seed'] for row in mine})} seeds\n")
        print("| steps | J exact | J of episodes | critic's error | between options: critic | exact | correlation |")
        print("|---|---|---|---|---|---|---|")
        shared = ("J", "J_episodes", "critic_rmse", "critic_apart", "critic_apart_exact", "critic_correlation")
        for (moment,), x in medians(
            [row for row in mine if row["coagent"] == "action" and row["critic"] == "exact"], ("timesteps",), shared
        ).items():
            print(f"| {moment:,.0f} | " + " | ".join(f"{x[key]:.3g}" for key in shared) + " |")
        forms = own_forms(mine)
        ours = [row for row in mine if row["form"] == forms[row["coagent"]] and not row["deviation"]]
        print("\n| steps | coagent | critic | cosine | norm ratio | noise | exact | lost |\n|---|---|---|---|---|---|---|---|")
        for (moment, coagent, critic), x in sorted(medians(ours, ("timesteps", "coagent", "critic"), columns).items()):
            print(f"| {moment:,.0f} | {coagent} | {critic} | " + " | ".join(f"{x[key]:.3g}" for key in columns) + f" | {x['lost']:.0f} |")
        print("\n| coagent | form | critic | with | cosine | norm ratio | noise | lost |\n|---|---|---|---|---|---|---|---|")
        for (coagent, form, critic, what), x in medians(mine, ("coagent", "form", "critic", "deviation"), columns).items():
            shown = " | ".join(f"{x[key]:.3g}" for key in columns[:3])
            print(f"| {coagent} | {form} | {critic} | {what or 'nothing'} | {shown} | {x['lost']:.0f} |")


def frames_table(rows: list[Row]) -> None:
    print("| task | agent | frames to 0.9 of each seed | median |\n|---|---|---|---|")
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["seed"]):
        groups[row["task"], row["agent"]].append(row["frames"])
    for (task, agent), found in groups.items():
        shown = ", ".join(f"{x / 1000:.0f}k" for x in found)
        print(f"| {task} | {agent} | {shown} | {float(np.quantile(found, 0.5, method='higher')) / 1000:.0f}k |")


@dataclass(frozen=True)
class Benchmark:
    agents: tuple[str, ...] = ("default",)
    """Names of AGENTS."""
    seeds: int = 3
    """Run seeds below this."""
    frames: bool = False
    """Frames to the target return, in place of audits."""
    frozen: bool = False
    """Critics fitted to an agent that does not change."""
    table: bool = False
    """Only print and draw what there is."""


def main(command: Benchmark) -> None:
    if command.frozen:
        return frozen(command.agents)
    path = FRAMES if command.frames else ROWS
    done = {(row["agent"], row["seed"], row.get("task")) for row in read(path)}
    tasks = TASKS if command.frames else (None,)
    for seed in () if command.table else range(command.seeds):
        for task in tasks:
            for name in command.agents:
                if (name, seed, task) not in done:
                    write(path, [frames(name, seed, task)] if task else audited(name, seed))
                    print(name, seed, task or "", flush=True)
    if command.frames:
        frames_table(read(path))
    else:
        rows = read(path)
        table(rows)
        draw([row for row in rows if row["agent"] == "default"]).savefig(PICTURE)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
