"""Claim: where goals come back, learned options pay with networks as they do with tables, or they do not.

    python benchmarks/recurring_deep.py [--policies tables] [--tune] [--agents "4 options" …] [--places doorways …] [--tasks 40]
        [--seeds 5] [--first-seed 0] [--workers 1] [--table]

The tasks of recurring_goals.py (four rooms, dynamics "code"; the goal of each task is one of the four doorways, or any cell)
with the learner of this library in place of tables: the cell as indicators, the default network, and the default setting but for what is
searched, 32 environments for 64 steps, four passes over each rollout in four minibatches, no limit of an update's KL, which holds back
whoever has to change its mind, and no entropy bonus of terminations, which draws them to a half. 40 tasks of 20,480 frames, one after the
other, the first of them learned from nothing, too. The observation says where the agent is and never where the goal is; episodes go on
while the goal moves, and are cut after 1,000 steps. Some agents are told when a task begins, the others are not:

    flat, anew              told: begins anew at every task
    flat, slow start        told: begins at slow weights, which move a little towards what each task ended with (Reptile); critic anew
    flat, new head          told: its encoder goes on; the action's head and the critic begin anew
    flat, goes on           is not told: everything goes on
    4 options               told: encoder, options and terminations go on; the policy over options and the critic begin anew
    4 options, one step     as 4 options, which always end: chosen at every step, without duration
    4 options, slow start   told: as 4 options, but what goes on there begins at slow weights here
    4 options, goes on      is not told: everything goes on
    4 options, bandit       as 4 options, but the policy over them does not observe, a bandit's, and is asked every eight steps on average,
                            whatever the options do; no parameters are common to options
    … of one step           as 4 options, bandit, asked at every step
    … that observes         as 4 options, bandit, with a policy over options that observes

With --policies tables they have no encoder: every policy and the critic are linear in the indicators, a table, with nothing in common
between options, learned by the same learner. Anew is at the weights that the agent had at first. Whatever begins anew, or at slow weights,
has new moments of Adam, too. For each agent the best of its grid of eight or twelve (--tune: doorways, one seed, 1000, 20 tasks): the step
size of Adam, or two of them, one for what begins anew and one for what goes on, the weight of the entropy bonus, and how far slow weights
move; lives of more tasks (--tasks) have step sizes of their own where tables with options, or a slow start, pay late (LONG). Figures are
goals reached per thousand steps: over all tasks, in the first ten, and in the last 20, in all and in the first and in the last fifth of
each task's frames; and the share of the last 20 that is learned: 50 per thousand in the last fifth. Rows go to recurring_deep.csv beside
this file; runs whose row is there are not run again.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import rows
import torch
import tyro
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from recurring_goals import DOORWAYS

import optioncoagent as oc
from optioncoagent.experiments.problems import fewest_steps
from optioncoagent.gallery import always_terminating, random_length
from optioncoagent.mdp import MDP
from optioncoagent_envs.tabular.four_rooms import CELLS, FourRooms
from optioncoagent_envs.tabular.tables import MOVES

ROWS = Path(__file__).with_suffix(".csv")
TASKS, FRAMES, NUM_ENVS, NUM_STEPS = 40, 20_480, 32, 64
MAX_STEPS = 1000
LEARNED = 50.0  # goals per thousand steps
PLACES = ("doorways", "anywhere")
MEAN_LENGTH = 8  # of the options that a bandit chooses
Policies = Literal["network", "tables"]


@cache
def dynamics() -> tuple[np.ndarray, np.ndarray]:
    """For every cell and move the cells that may follow and their cumulative probabilities, (cells, moves, most) each, wherever the goal
    is."""
    first, second = (FourRooms("code", goal).P for goal in (0, 1))  # at its goal a table does not go on
    outcomes = [second[0], *(first[s] for s in range(1, len(CELLS)))]
    most = max(len(one) for of_moves in outcomes for one in of_moves.values())
    following, cumulative = np.zeros((len(CELLS), len(MOVES), most), dtype=np.int64), np.ones((len(CELLS), len(MOVES), most))
    for s, of_moves in enumerate(outcomes):
        for a, found in of_moves.items():
            following[s, a, : len(found)] = [t for _, t, _, _ in found]
            cumulative[s, a, : len(found)] = np.cumsum([p for p, _, _, _ in found])
            cumulative[s, a, len(found) - 1 :] = 1.0
    return following, cumulative


class Rooms(VectorEnv):
    """Many times four rooms with one goal, `goal`, which may be set from outside: it counts from the next step on."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int, goal: int):
        self.num_envs, self.goal = num_envs, goal
        self.single_observation_space, self.single_action_space = gym.spaces.Discrete(len(CELLS)), gym.spaces.Discrete(len(MOVES))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.age = np.zeros(self.num_envs, dtype=np.int64)
        self.state = self._starts(self.num_envs)
        return self.state.copy(), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        following, cumulative = dynamics()
        drawn = (cumulative[self.state, actions] <= self.np_random.random((self.num_envs, 1))).sum(axis=1)
        self.state = following[self.state, actions, drawn]
        self.age += 1
        terminated = self.state == self.goal
        truncated = (self.age == MAX_STEPS) & ~terminated
        ended, info = terminated | truncated, dict[str, Any]()
        if ended.any():
            info = {"final_obs": self.state.astype(object), "_final_obs": ended}
            self.age[ended] = 0
            self.state = np.where(ended, self._starts(self.num_envs), self.state)
        return self.state.copy(), terminated.astype(float), terminated, truncated, info

    def _starts(self, number: int) -> np.ndarray:
        """Drawn from all cells but the goal."""
        drawn = self.np_random.integers(len(CELLS) - 1, size=number)
        return drawn + (drawn >= self.goal)


@dataclass(frozen=True)
class Sizes:
    """slow: Adam's step size for what goes on; fast: for what begins anew with a task. entropy: the weight of its bonus. part: how far slow
    weights move towards what a task ended with."""

    slow: float
    fast: float
    entropy: float
    part: float = 0.0


ENTROPIES = (0.01, 0.1)
ONE_SPEED = tuple(Sizes(size, size, entropy) for size in (0.001, 0.003, 0.01, 0.03) for entropy in ENTROPIES)
TWO_SPEEDS = tuple(Sizes(slow, fast, entropy) for slow in (0.0001, 0.001) for fast in (0.01, 0.03) for entropy in ENTROPIES)
TWO_SPEEDS += (Sizes(0.001, 0.03, 0.3), Sizes(0.003, 0.03, 0.1), Sizes(0.003, 0.03, 0.3), Sizes(0.003, 0.01, 0.1))  # beyond the edges found
SLOW_START = tuple(Sizes(size, size, entropy, part=part) for size in (0.003, 0.01) for entropy in ENTROPIES for part in (0.1, 0.3))
ONE_SPEED_TABLES = tuple(Sizes(size, size, entropy) for size in (0.01, 0.03, 0.1, 0.3) for entropy in ENTROPIES)
SLOW_START_TABLES = tuple(Sizes(size, size, entropy, part=part) for size in (0.03, 0.1) for entropy in ENTROPIES for part in (0.1, 0.3))
TWO_SPEEDS_TABLES = tuple(Sizes(slow, fast, entropy) for slow in (0.003, 0.01, 0.03) for fast in (0.1, 0.3) for entropy in ENTROPIES)
BANDIT = tuple(Sizes(slow, fast, entropy) for slow in (0.001, 0.003) for fast in (0.1, 0.3) for entropy in ENTROPIES)
GRIDS: dict[Policies, dict[str, tuple[Sizes, ...]]] = {
    "network": {
        "flat, anew": ONE_SPEED,
        "flat, slow start": SLOW_START,
        "flat, new head": TWO_SPEEDS,
        "flat, goes on": ONE_SPEED,
        "4 options": TWO_SPEEDS,
        "4 options, one step": TWO_SPEEDS,
        "4 options, slow start": SLOW_START,
        "4 options, goes on": ONE_SPEED,
        "4 options, bandit": BANDIT,
    },
    "tables": {
        "flat, anew": ONE_SPEED_TABLES,
        "flat, slow start": SLOW_START_TABLES,
        "flat, goes on": ONE_SPEED_TABLES,
        "4 options": TWO_SPEEDS_TABLES,
        "4 options, one step": TWO_SPEEDS_TABLES,
        "4 options, slow start": SLOW_START_TABLES,
        "4 options, bandit": TWO_SPEEDS_TABLES,
        "4 options, bandit of one step": TWO_SPEEDS_TABLES,
        "4 options, bandit that observes": TWO_SPEEDS_TABLES,
    },
}
# the heads that begin anew where something does, if these are not the policy over options and the critic; none: everything does
HEADS: dict[str, tuple[str, ...]] = {
    "flat, anew": (),
    "flat, slow start": ("critic",),
    "flat, new head": ("policy_action", "critic"),
}
# what --tune printed
TUNED: dict[Policies, dict[str, Sizes]] = {
    "network": {
        "flat, anew": Sizes(0.01, 0.01, 0.01),
        "flat, slow start": Sizes(0.01, 0.01, 0.01, 0.1),
        "flat, new head": Sizes(0.001, 0.03, 0.01),
        "flat, goes on": Sizes(0.003, 0.003, 0.1),
        "4 options": Sizes(0.003, 0.01, 0.1),
        "4 options, one step": Sizes(0.003, 0.01, 0.1),
        "4 options, slow start": Sizes(0.01, 0.01, 0.01, 0.1),
        "4 options, goes on": Sizes(0.001, 0.001, 0.1),
        "4 options, bandit": Sizes(0.003, 0.1, 0.01),
    },
    "tables": {
        "flat, anew": Sizes(0.1, 0.1, 0.01),
        "flat, slow start": Sizes(0.03, 0.03, 0.01, 0.1),
        "flat, goes on": Sizes(0.1, 0.1, 0.1),
        "4 options": Sizes(0.03, 0.1, 0.1),
        "4 options, one step": Sizes(0.03, 0.1, 0.1),
        "4 options, slow start": Sizes(0.1, 0.1, 0.01, 0.1),
        "4 options, bandit": Sizes(0.03, 0.1, 0.01),
        "4 options, bandit of one step": Sizes(0.03, 0.3, 0.1),
        "4 options, bandit that observes": Sizes(0.01, 0.1, 0.01),
    },
}
# of more than TASKS tasks, where slow steps that pay late count for more: the best of three, and for the bandits of eight steps and of one
# of five, over whole lives of TASKS tasks with seeds 0 to 4 (of "4 options, one step" the best of three was that of TUNED; of a bandit of
# one step the goals of all tasks were 25.2 with these, and 22.7 with TUNED)
LONG: dict[tuple[Policies, str], Sizes] = {("tables", "flat, slow start"): Sizes(0.03, 0.03, 0.01, 0.05)} | dict.fromkeys(
    [("tables", "4 options, bandit" + of) for of in ("", " of one step", " that observes")], Sizes(0.01, 0.1, 0.01)
)


@dataclass(frozen=True)
class Run:
    agent: str
    places: str
    seed: int
    policies: Policies = "network"
    tasks: int = TASKS


def goals(places: str, seed: int, tasks: int) -> np.ndarray:
    """The goal of each task."""
    return np.random.default_rng(seed).choice(DOORWAYS if places == "doorways" else len(CELLS), tasks)


class OneHot(torch.nn.Module):
    """Cells (n, 1) to their indicators (n, cells)."""

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(cells.flatten(), len(CELLS)).float()


def described(agent: str, num_actions: int) -> oc.CoagentNetwork:
    """The agent's network."""
    if "bandit" in agent:
        length = 1 if agent.endswith("of one step") else MEAN_LENGTH
        return random_length(4, num_actions, length, observes=agent.endswith("that observes"))
    if agent == "4 options, one step":
        return always_terminating(4, num_actions)
    return oc.option_critic(1 if agent.startswith("flat") else 4, num_actions)


def make(agent: str, sizes: Sizes, env: VectorEnv, seed: int, policies: Policies = "network") -> oc.CoagentActorCritic:
    """The agent before its first task."""
    settings: dict[str, Any] = {"num_steps": NUM_STEPS, "num_minibatches": 4, "update_epochs": 4, "target_kl": None, "seed": seed}
    network = described(agent, len(MOVES))
    settings |= {"ent_coef": sizes.entropy, "ent_coefs": {"termination": 0.0} if "termination" in network.names else {}}
    if policies == "tables":
        settings["hidden_sizes"] = ()
    elif "bandit" in agent:  # an encoder of one's own, with hidden_sizes=(): options have nothing but it in common
        torch.manual_seed(seed)
        layers = [OneHot(), torch.nn.Linear(len(CELLS), 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU()]
        settings |= {"encoder": torch.nn.Sequential(*layers), "hidden_sizes": ()}
    made: oc.CoagentActorCritic = oc.CoagentActorCritic(env, network, **settings)
    parts: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for name, parameter in made.module.named_parameters():
        parts[begins_anew(agent, name)].append(parameter)
    groups = [{"params": parts[anew], "lr": sizes.fast if anew else sizes.slow} for anew in (True, False) if parts[anew]]
    made.optimizer = torch.optim.Adam(groups, eps=1e-5, fused=True)
    return made


def begins_anew(agent: str, parameter: str) -> bool:
    """Does this parameter begin anew with a task, if the agent is told?"""
    heads = HEADS.get(agent, ("policy_option", "critic"))
    return not heads or any(part in heads for part in parameter.split("."))


def life(agent: str, sizes: Sizes, schedule: np.ndarray, seed: int, policies: Policies = "network") -> tuple[np.ndarray, float]:
    """Goals reached per thousand steps in each fifth of each task, (tasks, 5), and how long options last in the end."""
    env = Rooms(NUM_ENVS, schedule[0])
    made = make(agent, sizes, env, seed, policies)
    first = {name: parameter.detach().clone() for name, parameter in made.module.named_parameters()}
    updates, rates, row = FRAMES // (NUM_ENVS * NUM_STEPS), list[list[float]](), dict[str, float]()
    for task, goal in enumerate(schedule):
        env.goal = int(goal)
        if task and not agent.endswith("goes on"):
            told(agent, made, first, sizes)
        ended = []
        for _ in range(updates):
            row = made.update()
            assert made.running is not None
            ended.append(sum(reward > 0 for reward, _ in made.running.finished))
        rates.append([1000 * float(part.sum()) / (FRAMES / 5) for part in np.split(np.array(ended), 5)])
    return np.array(rates), row.get("option/length", 1.0)


@torch.no_grad()
def told(agent: str, made: oc.CoagentActorCritic, first: dict[str, torch.Tensor], sizes: Sizes) -> None:
    """A task begins: what does not go on is as it was at first, or for a slow start as the slow weights, which `first` becomes, are."""
    for name, parameter in made.module.named_parameters():
        if agent.endswith("slow start") and not begins_anew(agent, name):
            # slow ← slow + part (what the task ended with − slow)
            first[name] += sizes.part * (parameter - first[name])
        elif not begins_anew(agent, name):
            continue
        parameter.copy_(first[name])
        made.optimizer.state.pop(parameter, None)


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began = time.perf_counter()
    sizes = LONG.get((run.policies, run.agent)) if run.tasks > TASKS else None
    sizes = sizes or TUNED[run.policies][run.agent]
    rates, length = life(run.agent, sizes, goals(run.places, run.seed, run.tasks), run.seed, run.policies)
    late = rates[-20:]
    parts = {"all": rates, "first_tasks": rates[:10], "last_tasks": late, "first_fifth": late[:, 0], "last_fifth": late[:, -1]}
    parts["learned"] = late[:, -1] >= LEARNED
    figures = {name: round(float(part.mean()), 3) for name, part in parts.items()}
    return run, figures | {"length": round(length, 2), "seconds": round(time.perf_counter() - began, 1)}


def tune(policies: Policies, agents: tuple[str, ...], workers: int) -> None:
    trials = [(policies, agent, sizes) for agent in agents for sizes in GRIDS[policies][agent]]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        found: dict[str, dict[Sizes, float]] = {agent: {} for agent in agents}
        for (_, agent, sizes), rate in zip(trials, pool.imap(_tried, trials), strict=True):
            found[agent][sizes] = rate
            if len(found[agent]) == len(GRIDS[policies][agent]):
                print(f'    "{agent}": {max(found[agent], key=found[agent].__getitem__)},')
                print(*(f"    {sizes}: {rate:.1f}" for sizes, rate in found[agent].items()), sep="\n", flush=True)


def _tried(trial: tuple[Policies, str, Sizes]) -> float:
    (policies, agent, sizes), schedule = trial, goals("doorways", 1000, TASKS // 2)
    return float(life(agent, sizes, schedule, 1000, policies)[0].mean())


# columns of the rows, as the table calls them
SHOWN = {
    "all": "all tasks",
    "first_tasks": "first ten",
    "last_tasks": "last 20",
    "first_fifth": "their first fifth",
    "last_fifth": "their last fifth",
    "learned": "learned",
    "length": "length",
}


def table(results: dict[Run, dict[str, float]]) -> None:
    """Means over seeds and, of three or more, half their 95 % interval by Student's t."""
    for places, cells in (("doorways", DOORWAYS), ("anywhere", range(len(CELLS)))):
        fewest = [fewest_steps(MDP.from_env(FourRooms("code", cell), gamma=0.99)) for cell in cells]
        print(f"{places}: at most {np.mean(1000 / np.array(fewest)):.0f}")
    print(f"\n| places | tasks | policies | agent | seeds | {' | '.join(SHOWN.values())} |\n" + "|---" * (5 + len(SHOWN)) + "|")
    for places, tasks, (policies, agents) in product(PLACES, sorted({run.tasks for run in results}), GRIDS.items()):
        for agent in agents:
            these = (agent, places, policies, tasks)
            found = [row for run, row in results.items() if (run.agent, run.places, run.policies, run.tasks) == these]
            if found:
                cells = []
                for name in SHOWN:
                    x, digits = np.array([row[name] for row in found]), 2 if name == "learned" else 1
                    half = f" ± {rows.half_interval(x):.{digits}f}" if len(x) > 2 else ""
                    cells.append("" if name == "length" and agent.startswith("flat") else f"{x.mean():.{digits}f}{half}")
                print(f"| {places} | {tasks} | {policies} | {agent} | {len(found)} | {' | '.join(cells)} |")


@dataclass(frozen=True)
class Benchmark:
    policies: Policies = "network"
    """A network, or tables of the same learner."""
    agents: tuple[str, ...] = ()
    """Of GRIDS; all of these policies, if none are given."""
    places: tuple[str, ...] = PLACES
    """Where goals may be."""
    tasks: int = TASKS
    """Of a life."""
    seeds: int = 5
    """Run as many seeds."""
    first_seed: int = 0
    """From this one on."""
    workers: int = 1
    """Runs at a time."""
    tune: bool = False
    """Search the grids of step sizes."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    agents = command.agents or tuple(GRIDS[command.policies])
    if command.tune:
        tune(command.policies, agents, command.workers)
        return
    seeds = range(command.first_seed, command.first_seed + command.seeds)
    runs = [Run(*of, command.policies, command.tasks) for seed in seeds for of in product(agents, command.places, [seed])]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table(rows.read(ROWS, Run))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
