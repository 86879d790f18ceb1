"""Claim: with default settings option-critic solves DoorKey-5x5 in about the frames that PPO needs, and in far less time.

For each seed: frames and seconds until the mean return of the last 100 episodes reaches 0.9. The alternative is Stable-Baselines3's
PPO with the convolutions and settings of MiniGrid's documentation (PPO's defaults, features_dim 128), entropy bonus 0.01, 2,048 steps
a rollout, on Gymnasium's own environments, in the same run. `pip install -e ".[benchmark]"`, then

    python benchmarks/train_minigrid.py [--env-id MiniGrid-DoorKey-5x5-v0] [--seeds 0 1 2 3 4] [--no-ppo]
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import rows
import torch
import tyro

import optioncoagent as oc


@dataclass(frozen=True)
class Benchmark:
    env_id: str = "MiniGrid-DoorKey-5x5-v0"
    """Task."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds."""
    limit: int = 150_000
    """Frames after which a run has failed."""
    target: float = 0.9
    """Mean return of the last 100 episodes."""
    ppo: bool = True
    """Run PPO beside it."""


def option_critic(command: Benchmark, seed: int) -> tuple[float, float]:
    """(frames, seconds) to the target, infinite if the limit comes first. Making the agent and its environment is included."""
    began = time.perf_counter()
    agent = oc.OptionCritic(command.env_id, seed=seed)
    frames, _ = rows.train_until(agent, command.target, command.limit)
    return frames, time.perf_counter() - began if frames < float("inf") else float("inf")


def ppo(command: Benchmark, seed: int) -> tuple[float, float]:
    """The same for Stable-Baselines3's PPO."""
    import minigrid  # noqa: F401  (registers the ids)
    from minigrid.wrappers import ImgObsWrapper
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class Convolutions(BaseFeaturesExtractor):
        def __init__(self, observation_space: gym.Space, features_dim: int = 128):
            super().__init__(observation_space, features_dim)
            channels = (observation_space.shape[0], 16, 32, 64)
            layers = [m for a, b in zip(channels, channels[1:], strict=False) for m in (torch.nn.Conv2d(a, b, 2), torch.nn.ReLU())]
            self.convolutions = torch.nn.Sequential(*layers, torch.nn.Flatten())
            with torch.no_grad():
                size = self.convolutions(torch.as_tensor(observation_space.sample()[None]).float()).shape[1]
            self.linear = torch.nn.Sequential(torch.nn.Linear(size, features_dim), torch.nn.ReLU())

        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            return self.linear(self.convolutions(observations))

    class UntilTarget(BaseCallback):
        frames = float("inf")

        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            episodes = self.model.ep_info_buffer
            if len(episodes) == 100 and np.mean([e["r"] for e in episodes]) >= command.target:
                self.frames = min(self.frames, self.num_timesteps)
                self.seconds = time.perf_counter() - began
                self.model._total_timesteps = 0  # ends the loop of learn

    began = time.perf_counter()
    env = make_vec_env(command.env_id, 8, seed=seed, wrapper_class=ImgObsWrapper)
    policy = dict(features_extractor_class=Convolutions, features_extractor_kwargs=dict(features_dim=128))
    model = PPO("CnnPolicy", env, n_steps=256, ent_coef=0.01, policy_kwargs=policy, seed=seed, device="cpu")
    watch = UntilTarget()
    model.learn(command.limit, callback=watch)
    return watch.frames, getattr(watch, "seconds", float("inf"))


def main(command: Benchmark) -> None:
    torch.set_num_threads(1)
    oc.OptionCritic(command.env_id, seed=0).update()  # compiles the environment
    columns = {"option-critic": option_critic} | ({"PPO": ppo} if command.ppo else {})
    print(f"{command.env_id}: frames and seconds until the mean return of 100 episodes is {command.target}\n")
    print("seed  " + "".join(f"{name:>26}" for name in columns))
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in columns}
    for seed in command.seeds:
        for name, run in columns.items():
            results[name].append(run(command, seed))
        print(f"{seed:4}  " + "".join(f"{results[n][-1][0]:>14,.0f} {results[n][-1][1]:>8.1f} s " for n in columns), flush=True)
    medians = {name: np.array([rows.median(column) for column in zip(*pairs, strict=True)]) for name, pairs in results.items()}
    print("median" + "".join(f"{medians[n][0]:>14,.0f} {medians[n][1]:>8.1f} s " for n in columns))
    if command.ppo:
        frames, seconds = medians["PPO"] / medians["option-critic"]
        print(f"\nPPO / option-critic: frames {frames:.2f}, seconds {seconds:.1f}")


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
