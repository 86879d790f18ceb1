"""Claim: with few environments training is faster on a processor than on a GPU; how large a batch and a network must be for a GPU to pay.

    python benchmarks/device_speed.py [--env-id MiniGrid-DoorKey-5x5-v0] [--devices cpu cuda] [--updates 5]

Wall-clock time of one update of OptionCritic on each device: acting (the network's part of a rollout), learning from it, and all of it with
the environments. Least of several updates; the device has finished before a clock is read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import rows
import torch
import tyro

import optioncoagent as oc

# {name: settings}; each update learns from num_envs · num_steps frames
SIZES: dict[str, dict[str, Any]] = {
    "16 environments": rows.SIXTEEN,
    "256 environments": rows.SIXTEEN | dict(num_envs=256, num_steps=32),
    "256 environments, 512 units": rows.SIXTEEN | dict(num_envs=256, num_steps=32, hidden_sizes=(512, 512)),
    "1024 environments": rows.SIXTEEN | dict(num_envs=1024, num_steps=32),
    "1024 environments, 1024 units": rows.SIXTEEN | dict(num_envs=1024, num_steps=32, hidden_sizes=(1024, 1024)),
}


@dataclass(frozen=True)
class Benchmark:
    env_id: str = "MiniGrid-DoorKey-5x5-v0"
    """Task."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Of torch."""
    sizes: tuple[str, ...] = tuple(SIZES)
    """Of SIZES."""
    updates: int = 5
    """Updates of which the least is taken."""


def measure(env_id: str, device: str, settings: dict[str, Any], updates: int) -> list[float]:
    """Microseconds a frame of acting, learning and everything."""
    agent = oc.OptionCritic(env_id, device=device, seed=0, **settings)
    agent.update()  # compiles the environment
    frames, times = agent.num_envs * agent.size.num_steps, []
    for _ in range(updates):
        began = time.perf_counter()
        row = agent.update()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append((row["seconds_acting"], row["seconds_learning"], time.perf_counter() - began))
    return [1e6 * min(part) / frames for part in zip(*times, strict=True)]


def main(command: Benchmark) -> None:
    print("| size | device | acting | learning | an update, µs a frame | against the first |\n|---|---|---|---|---|---|")
    for name in command.sizes:
        first = None
        for device in command.devices:
            acting, learning, everything = measure(command.env_id, device, SIZES[name], command.updates)
            first = first or everything
            print(f"| {name} | {device} | {acting:.1f} | {learning:.1f} | {everything:.1f} | {first / everything:.2f} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
