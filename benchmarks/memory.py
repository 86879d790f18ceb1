"""Claim: who remembers what is seen at the start of MiniGrid-Memory, which says which way to turn at the end, and which tasks ask for it.

    python benchmarks/memory.py [--tasks MemoryS9 …] [--agents options flat …] [--default now] [--seeds 5] [--workers 1] [--table]

On MemoryS7 and S9 who stands where the corridor forks and looks back sees all three objects at once, so that nothing need be remembered; on
S11 and S13 the first object is too far, and an agent that cannot remember is right every second time. An episode begins anywhere in the
corridor, facing the fork: only from the first of S11's eight places is the first object in view, from the others it is for who looks back.
MemoryS11InView and MemoryS13InView always begin at the first place, so that there is remembering left to learn, and no looking back. The
agents, all by the default setting, and what of them can remember:

    options            four options: the one in force was chosen by what was seen then
    flat               nothing
    anew               four options chosen at every step: the heads of four options, nothing that lasts
    units              gated recurrent units (`recurrent_size=64`), learned by backpropagation through time; flat, or with four options
    coagent            a memory coagent of four outputs (`gallery.with_memory`), learned by its own local gradient, nothing through time:
                       its form is score with the sampled return, as the critic cannot tell what is remembered; flat, or with four options

views: with a bonus of 0.03 for every observation that is new to its episode, in place of 0.005 for every place, so that who has looked back
is paid for it before it can make use of what was seen there; a step size that falls to zero, so that what was learned stays; and more
frames. Of these the flat agent is also run without the units, with 0.03 for places, and with the default bonus ("steady").

Rows go to memory.csv beside this file; runs whose row is there are not run again. A row holds the mean return of 100 evaluation episodes
after the frames of the budget, the frames at which the mean return of the last 100 episodes first was 0.9, infinite if never, and how
long options lasted in the end. `--default before`: the default when the first rows were made (`rows.EXPECTED`), 500,000 frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import rows
import tyro
from minigrid.envs import MemoryEnv

import optioncoagent as oc
from optioncoagent.gallery import always_terminating, with_memory
from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.rows import POSITION, position
from optioncoagent_envs.minigrid.tasks import FAMILIES
from optioncoagent_envs.minigrid.tasks.memory import memory

ROWS = Path(__file__).with_suffix(".csv")
DEFAULTS: dict[str, dict[str, Any]] = {"now": {}, "before": rows.EXPECTED}
# {task: frames}, by the present default those of the suite's stages
FRAMES = {"MemoryS7": 600_000, "MemoryS9": 600_000, "MemoryS11": 1_500_000, "MemoryS13": 1_500_000}
FRAMES |= {"MemoryS11InView": 300_000, "MemoryS13InView": 300_000}
FRAMES_STEADY = {"MemoryS11": 2_000_000, "MemoryS13": 4_000_000}
FRAMES_BEFORE, TARGET, EPISODES = 500_000, 0.9, 100


class InView(MemoryEnv):
    """MiniGrid-Memory that begins where the first object is in view."""

    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)
        self.agent_pos = np.array((1, height // 2))


@njit(cache=True, nogil=True)
def in_view(rows, rng, grid, agent, shape, settings):
    """The same, compiled."""
    memory(rows, rng, grid, agent, shape, settings)
    for row in rows:
        agent[row, POSITION] = position(shape, 1, shape[1] // 2)


FAMILIES[InView] = replace(FAMILIES[MemoryEnv], generate=in_view)
for size in (11, 13):
    if f"MemoryS{size}InView-v0" not in gym.registry:
        gym.register(f"MemoryS{size}InView-v0", entry_point=InView, kwargs={"size": size})


def remembering(network: oc.CoagentNetwork, readers: tuple[str, ...]) -> oc.CoagentNetwork:
    return with_memory(network, 4, readers=readers)


@dataclass(frozen=True)
class Agent:
    """network: from the number of actions. settings: in place of the default's."""

    network: Callable[[int], oc.CoagentNetwork]
    forms: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)


ACTION, MEMORY = {"action": "score"}, {"memory": "score"}
UNITS: dict[str, Any] = dict(recurrent_size=64)
STEADY: dict[str, Any] = dict(anneal_lr=True)
VIEWS: dict[str, Any] = STEADY | dict(int_counts="observation", int_form="episodic", int_coef=0.03)
SAMPLED: dict[str, Any] = dict(gae_lambda=1.0, sampled_returns=True)
AGENTS = {
    "options": Agent(lambda n: oc.option_critic(4, n), ACTION),
    "flat": Agent(lambda n: oc.option_critic(1, n), ACTION),
    "anew": Agent(lambda n: always_terminating(4, n), ACTION),
    "options, units": Agent(lambda n: oc.option_critic(4, n), ACTION, UNITS),
    "flat, units": Agent(lambda n: oc.option_critic(1, n), ACTION, UNITS),
    "options, coagent": Agent(lambda n: remembering(oc.option_critic(4, n), ("option", "action")), ACTION | MEMORY, SAMPLED),
    "flat, coagent": Agent(lambda n: remembering(oc.option_critic(1, n), ("action",)), ACTION | MEMORY, SAMPLED),
    "options, units, views": Agent(lambda n: oc.option_critic(4, n), ACTION, UNITS | VIEWS),
    "flat, units, views": Agent(lambda n: oc.option_critic(1, n), ACTION, UNITS | VIEWS),
    "flat, views": Agent(lambda n: oc.option_critic(1, n), ACTION, VIEWS),
    "flat, units, places": Agent(lambda n: oc.option_critic(1, n), ACTION, UNITS | STEADY | dict(int_coef=0.03)),
    "flat, units, steady": Agent(lambda n: oc.option_critic(1, n), ACTION, UNITS | STEADY),
    "options, coagent, views": Agent(lambda n: remembering(oc.option_critic(4, n), ("option", "action")), ACTION | MEMORY, SAMPLED | VIEWS),
}


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int
    default: str = "now"
    """Of DEFAULTS."""


def make(run: Run) -> oc.CoagentActorCritic:
    agent = AGENTS[run.agent]
    settings: dict[str, Any] = DEFAULTS[run.default] | agent.settings
    env_id = f"{run.task}-v0" if run.task.endswith("InView") else f"MiniGrid-{run.task}-v0"
    return oc.CoagentActorCritic(env_id, agent.network, forms=agent.forms, seed=run.seed, **settings)


def budget(run: Run) -> int:
    """The frames of a run."""
    if run.default == "before":
        return FRAMES_BEFORE
    steady = AGENTS[run.agent].settings.get("anneal_lr", False)
    return FRAMES_STEADY.get(run.task, FRAMES[run.task]) if steady else FRAMES[run.task]


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, agent, seen = time.perf_counter(), make(run), list[dict[str, float]]()
    agent.learn(budget(run), log=seen.append)
    reached = [row["timesteps"] for row in seen if row["episodes"] >= EPISODES and row["return_mean"] >= TARGET]
    final = float(np.mean(agent.evaluate(EPISODES).returns))
    return run, {
        "frames": agent.num_timesteps,
        "solved_at": min(reached, default=float("inf")),
        "final_return": round(final, 4),
        "length": round(seen[-1].get("option/length", float("nan")), 2),
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(results: dict[Run, dict[str, float]]) -> None:
    """What the agents come to by one default, seed by seed, and how often they are sooner than the flat agent that remembers nothing."""
    print("| task | agent | evaluations | thousand frames | learned | sooner than flat, 95 % | length | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for task in FRAMES:
        found = {
            agent: [row for run, row in sorted(results.items(), key=lambda x: x[0].seed) if (run.task, run.agent) == (task, agent)]
            for agent in AGENTS
        }
        at = {agent: np.array([row["solved_at"] for row in there]) for agent, there in found.items()}
        for agent, there in found.items():
            if not there:
                continue
            evaluations = " ".join(f"{row['final_return']:.2f}" for row in there)
            frames = " ".join(rows.thousands(at[agent]))
            sooner = rows.shown_sooner([at[agent]], [at["flat"]]) if agent != "flat" and len(at["flat"]) else ""
            length, seconds = (np.median([row[name] for row in there]) for name in ("length", "seconds"))
            learned = f"{np.isfinite(at[agent]).sum()}/{len(there)}"
            lasts = f"{length:.1f}" if np.isfinite(length) else ""
            print(f"| {task} | {agent} | {evaluations} | {frames} | {learned} | {sooner} | {lasts} | {seconds:.0f} |")


@dataclass(frozen=True)
class Benchmark:
    tasks: tuple[str, ...] = tuple(FRAMES)
    """Of FRAMES: MiniGrid's, without prefix and version."""
    agents: tuple[str, ...] = tuple(AGENTS)
    """Of AGENTS."""
    default: Literal["now", "before"] = "now"
    """Of DEFAULTS."""
    seeds: int = 5
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs = [Run(task, agent, seed, command.default) for seed in range(command.seeds) for task in command.tasks for agent in command.agents]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table({run: row for run, row in rows.read(ROWS, Run).items() if run.default == command.default})


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
