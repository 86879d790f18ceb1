"""Stable-Baselines3's PPO on a MiniGrid task, as MiniGrid's documentation trains it: its network, and PPO's default settings.

Used by minigrid_suite.py, whose rows it makes. The network sees the image alone, through three 2 × 2 convolutions of 16, 32 and 64 channels
and a layer of 128; one environment, rollouts of 2,048 steps, no exploration bonus.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from minigrid.wrappers import ImgObsWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

EPISODES, SEED, FEATURES = 100, 1_000_000, 128


class Network(BaseFeaturesExtractor):
    """MiniGrid's documented feature extractor."""

    def __init__(self, space: Box, features_dim: int = FEATURES):
        super().__init__(space, features_dim)
        channels = (space.shape[0], 16, 32, 64)
        layers = [part for a, b in zip(channels, channels[1:], strict=False) for part in (nn.Conv2d(a, b, 2), nn.ReLU())]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            size = self.convolutions(torch.zeros(1, *space.shape)).shape[1]
        self.linear = nn.Sequential(nn.Linear(size, features_dim), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        return self.linear(self.convolutions(image))  # type: ignore[no-any-return]


class Reached(BaseCallback):
    """Frames and seconds at which the mean return of the last 100 episodes first was each of some levels."""

    def __init__(self, levels: np.ndarray):
        super().__init__()
        self.levels, self.frames, self.seconds = levels, list[int](), list[float]()
        self.began = time.perf_counter()

    def _on_step(self) -> bool:
        episodes = self.model.ep_info_buffer or ()
        if self.locals["dones"].any() and len(episodes) == EPISODES:
            mean = np.mean([episode["r"] for episode in episodes])
            while len(self.frames) < len(self.levels) and mean >= self.levels[len(self.frames)]:
                self.frames.append(self.num_timesteps)
                self.seconds.append(time.perf_counter() - self.began)
        return True


def train(task: str, seed: int, frames: int, levels: np.ndarray) -> dict[str, Any]:
    """A row of minigrid_suite.csv."""
    torch.set_num_threads(1)
    env = ImgObsWrapper(gym.make(f"MiniGrid-{task}-v0"))
    settings = dict(features_extractor_class=Network, features_extractor_kwargs=dict(features_dim=FEATURES))
    model, note = PPO("CnnPolicy", env, policy_kwargs=settings, seed=seed, device="cpu"), Reached(levels)
    model.learn(frames, callback=note)
    seconds, returns = time.perf_counter() - note.began, []
    for episode in range(EPISODES):
        (image, _), total, done = env.reset(seed=SEED + episode), 0.0, False
        while not done:
            action, _ = model.predict(image, deterministic=False)
            image, reward, terminated, truncated, _ = env.step(int(action))
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    return {
        "task": task,
        "agent": "ppo",
        "seed": seed,
        "frames": model.num_timesteps,
        "seconds": round(seconds, 1),
        "final_return": round(float(np.mean(returns)), 4),
        "reached_frames": " ".join(map(str, note.frames)),
        "reached_seconds": " ".join(f"{x:.1f}" for x in note.seconds),
    }
