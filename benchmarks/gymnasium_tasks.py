"""Claim: on Gymnasium's own tasks the default settings come close to Stable-Baselines3's PPO from as many frames, in less time.

For each task, agent and seed: the mean return of the last 100 episodes of training after half and after all of the frames, the frames at
which it first was at Gymnasium's threshold ("reached": infinite if never; rows of before that was noted have none), and the mean of 50 new
episodes afterwards, with the most likely action at every step and with actions that are sampled. Rows go to gymnasium_tasks.csv beside this
file; runs whose row is there are not run again, with --again those whose row has no "reached". Printed are mean and standard deviation over
seeds, of "reached" the median. Everything runs in one thread; seconds are those of the processor.

Episodes of MountainCarContinuous-v0 last up to 999 steps and pay at the end, beyond what the default discount sees: hence a third agent.
PPO is run with Stable-Baselines3's own defaults and, where actions are continuous, with what its zoo recommends for the task, which was
searched for on the task. Taxi-v4 is also run with an exploration bonus ("options, bonus", "flat, bonus"). LunarLander-v3 needs
`pip install "gymnasium[box2d]"`. Rows of defaults before: "options, no limit" and "flat, no limit" (`rows.UNLIMITED`), "options, expected
returns" and flat (`rows.EXPECTED`), and of LunarLander-v3, with rollouts of one size, "options before" and "flat before"; rollouts begin to
grow after 262,144 steps, so that shorter runs are the same by both.

    python benchmarks/gymnasium_tasks.py [--agents options flat ppo "ppo, zoo" …] [--tasks Pendulum-v1 …] [--seeds 5] [--again] [--table]
"""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from rows import EXPECTED, UNLIMITED, median

import optioncoagent as oc

ROWS = Path(__file__).with_suffix(".csv")
FRAMES = {
    "CartPole-v1": 100_000,
    "Acrobot-v1": 100_000,
    "FrozenLake-v1": 100_000,
    "Taxi-v4": 200_000,
    "LunarLander-v3": 300_000,
    "Pendulum-v1": 100_000,
    "MountainCarContinuous-v0": 100_000,
}
EPISODES, SEED = 50, 1_000_000
FIELDS = ("task", "agent", "seed", "frames", "half", "training", "deterministic", "sampled", "seconds", "reached")

GAMMA, SPARSE = "gamma 0.999", "Taxi-v4"
OURS: dict[str, dict[str, Any]] = {
    "options": {},
    "flat": {"num_options": 1},
    "options, bonus": {"int_coef": 1.0},  # of tasks whose observations can be counted
    "flat, bonus": {"num_options": 1, "int_coef": 1.0},
    "options, no limit": UNLIMITED,
    "flat, no limit": UNLIMITED | {"num_options": 1},
    "options, expected returns": EXPECTED,
    "flat, expected returns": EXPECTED | {"num_options": 1},
    f"options, {GAMMA}": EXPECTED | {"gamma": 0.999},
}
# rl-baselines3-zoo, hyperparams/ppo.yml
ZOO: dict[str, dict[str, Any]] = {
    "Pendulum-v1": dict(
        num_envs=4, n_steps=1024, gae_lambda=0.95, gamma=0.9, n_epochs=10, ent_coef=0.0, learning_rate=1e-3, clip_range=0.2, use_sde=True,
        sde_sample_freq=4,
    ),
    "MountainCarContinuous-v0": dict(
        num_envs=1, normalize=True, n_steps=8, batch_size=256, gae_lambda=0.9, gamma=0.9999, n_epochs=10, ent_coef=0.00429,
        learning_rate=7.77e-05, clip_range=0.1, max_grad_norm=5, vf_coef=0.19, use_sde=True,
        policy_kwargs=dict(log_std_init=-3.29, ortho_init=False),
    ),
}  # fmt: skip
THEIRS = ("ppo", "ppo, zoo")


@dataclass(frozen=True)
class Run:
    task: str
    agent: str
    seed: int


def threshold(task: str) -> float:
    """The mean return at which Gymnasium says that a task is solved, infinite where it does not say."""
    level = gym.spec(task).reward_threshold
    return float("inf") if level is None else level


def train_ours(run: Run) -> dict[str, float]:
    agent = oc.OptionCritic(run.task, seed=run.seed, **OURS[run.agent])
    half, reached = [], [float("inf")]

    def note(agent: Any, row: dict[str, float]) -> None:
        if agent.num_timesteps >= FRAMES[run.task] / 2 and not half:
            half.append(row["return_mean"])
        if len(agent.recent) == 100 and row["return_mean"] >= threshold(run.task):
            reached.append(agent.num_timesteps)

    agent.learn(FRAMES[run.task], callback=note)
    after = [float(agent.evaluate(EPISODES, deterministic=d).returns.mean()) for d in (True, False)]
    return dict(half=half[0], training=mean_return(agent.recent), deterministic=after[0], sampled=after[1], reached=min(reached))


def train_theirs(run: Run) -> dict[str, float]:
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    settings = dict(ZOO[run.task]) if run.agent == "ppo, zoo" else {}
    num_envs, normalize = settings.pop("num_envs", 1), settings.pop("normalize", False)
    env: Any = make_vec_env(run.task, num_envs, seed=run.seed)
    if normalize:
        env = VecNormalize(env, gamma=settings["gamma"])
    model = PPO("MlpPolicy", env, seed=run.seed, device="cpu", verbose=0, **settings)
    half, reached = [], [float("inf")]

    class Note(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps >= FRAMES[run.task] / 2 and not half:
                half.append(mean_return((e["r"], e["l"]) for e in self.model.ep_info_buffer))
            return True

        def _on_rollout_end(self) -> None:
            recent = [(e["r"], e["l"]) for e in self.model.ep_info_buffer]
            if len(recent) == 100 and mean_return(recent) >= threshold(run.task):
                reached.append(self.num_timesteps)

    model.learn(FRAMES[run.task], callback=Note())
    after = []
    for deterministic in (True, False):
        envs = gym.make_vec(run.task, EPISODES, vectorization_mode="sync")
        shown, _ = envs.reset(seed=SEED)
        returns, going = np.zeros(EPISODES), np.ones(EPISODES, bool)
        while going.any():
            action, _ = model.predict(env.normalize_obs(shown) if normalize else shown, deterministic=deterministic)
            shown, reward, terminated, truncated, _ = envs.step(action)
            returns += np.where(going, reward, 0.0)
            going &= ~(terminated | truncated)
        after.append(float(returns.mean()))
    training = mean_return((e["r"], e["l"]) for e in model.ep_info_buffer)
    return dict(half=half[0], training=training, deterministic=after[0], sampled=after[1], reached=min(reached))


def mean_return(episodes: Any) -> float:
    returns = [r for r, _ in episodes]
    return float(np.mean(returns)) if returns else float("nan")


def read() -> dict[Run, dict[str, float]]:
    if not ROWS.exists():
        return {}
    with ROWS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {Run(row["task"], row["agent"], int(row["seed"])): {name: float(row.get(name) or "nan") for name in FIELDS[3:]} for row in rows}


def write(run: Run, result: dict[str, float]) -> None:
    """Add the row, or put it in place of the run's older one."""
    found = read() | {run: {name: round(value, 2) for name, value in result.items()}}
    with ROWS.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(run) | {name: "" if np.isnan(x) else f"{x:.12g}" for name, x in row.items()} for run, row in found.items())


def main(
    agents: tuple[str, ...] = (*OURS, *THEIRS),
    tasks: tuple[str, ...] = tuple(FRAMES),
    seeds: int = 5,
    again: bool = False,
    table: bool = False,
) -> None:
    torch.set_num_threads(1)
    for run in [Run(task, agent, seed) for seed in range(seeds) for task in tasks for agent in agents]:
        of_another_task = (
            (run.agent == "ppo, zoo" and run.task not in ZOO)
            or (GAMMA in run.agent and run.task not in ZOO)  # those with continuous actions
            or ("bonus" in run.agent and run.task != SPARSE)
        )
        there = read().get(run)
        if table or of_another_task or (there is not None and not (again and np.isnan(there["reached"]))):
            continue
        began = time.process_time()
        result = (train_ours if run.agent in OURS else train_theirs)(run)
        result = {"frames": FRAMES[run.task], **result, "seconds": time.process_time() - began}
        write(run, result)
        print(run, result, flush=True)
    rows = read()
    for task in tasks:
        for agent in agents:
            found = [row for run, row in rows.items() if run.task == task and run.agent == agent]
            if found:
                values = {name: np.array([row[name] for row in found]) for name in FIELDS[4:]}
                reached = values.pop("reached")
                shown = ", ".join(f"{name} {x.mean():.4g} ± {x.std(ddof=1) if len(x) > 1 else np.nan:.3g}" for name, x in values.items())
                if not np.isnan(reached).any() and np.isfinite(threshold(task)):
                    shown += (
                        f", reached {threshold(task):g} at {' '.join(f'{x:.0f}' for x in np.sort(reached))}, median {median(reached):.0f}"
                    )
                print(f"{task}, {agent} ({len(found)} seeds): {shown}")


if __name__ == "__main__":
    tyro.cli(main)
