"""Agents on disk: arrays in safetensors, everything else in JSON. Nothing is pickled, so loading never runs code.

A folder holds agent.json (settings, gradient forms, the environment's interface, counters), weights.safetensors, optimizer.safetensors and
progress.safetensors (see `progress`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from optioncoagent.agents.environments import Interface
from optioncoagent.agents.progress import Arrays

AGENT, WEIGHTS, OPTIMIZER, PROGRESS = "agent.json", "weights.safetensors", "optimizer.safetensors", "progress.safetensors"


@dataclass(frozen=True)
class Saved:
    """The contents of agent.json. description: what a subclass needs to make its network again."""

    settings: dict[str, Any]
    forms: dict[str, str]
    interface: Interface
    num_timesteps: int
    num_episodes: int
    recent: list[tuple[float, int]]
    description: dict[str, Any]


def save(folder: Path, saved: Saved, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Arrays, overwrite: bool) -> None:
    """Write an agent. Raises FileExistsError if the folder holds one and `overwrite` is not set."""
    if (folder / AGENT).exists() and not overwrite:
        raise FileExistsError(f"{folder} holds an agent already: choose another folder, or overwrite=True")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: x.detach().cpu().contiguous() for name, x in module.state_dict().items()}, folder / WEIGHTS)
    moments = optimizer.state_dict()["state"]
    save_file({f"{i}.{key}": x.cpu().contiguous() for i, state in moments.items() for key, x in state.items()}, folder / OPTIMIZER)
    safetensors.numpy.save_file(progress, folder / PROGRESS)
    content = {**vars(saved), "interface": saved.interface.to_json()}
    (folder / AGENT).write_text(json.dumps(content, indent=2, default=lambda x: np.asarray(x).tolist()) + "\n")


def read(folder: Path) -> Saved:
    """Read agent.json. Raises FileNotFoundError that says what is missing."""
    if not (folder / AGENT).exists():
        raise FileNotFoundError(f"{folder} holds no agent: there is no {AGENT} in it")
    content = json.loads((folder / AGENT).read_text())
    return Saved(**{**content, "interface": Interface.from_json(content["interface"])})


def read_progress(folder: Path) -> Arrays:
    return safetensors.numpy.load_file(folder / PROGRESS)


def restore(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights and optimiser back into an agent of the same description. Raises RuntimeError if the shapes differ."""
    module.load_state_dict(load_file(folder / WEIGHTS))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, x in load_file(folder / OPTIMIZER).items():
        i, _, name = key.partition(".")
        state.setdefault(int(i), {})[name] = x
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
