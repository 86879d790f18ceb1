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
from torch import nn

from optioncoagent.agents.environments import Interface
from optioncoagent.agents.progress import Arrays
from optioncoagent.agents.settings import make_settings

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
    weights = {name: x.detach().cpu().numpy() for name, x in module.state_dict().items()}
    moments = optimizer.state_dict()["state"]
    adam = {f"{i}.{key}": x.cpu().numpy() for i, state in moments.items() for key, x in state.items()}
    for name, arrays in ((WEIGHTS, weights), (OPTIMIZER, adam), (PROGRESS, progress)):
        (folder / name).write_bytes(safetensors.numpy.save({key: np.ascontiguousarray(x) for key, x in arrays.items()}))
    content = {**vars(saved), "interface": saved.interface.to_json()}
    (folder / AGENT).write_text(json.dumps(content, indent=2, default=lambda x: np.asarray(x).tolist()) + "\n")


def read(folder: Path) -> Saved:
    """Read agent.json. Raises FileNotFoundError that says what is missing, ValueError if it is damaged."""
    if not (folder / AGENT).exists():
        raise FileNotFoundError(f"{folder} holds no agent: there is no {AGENT} in it")
    try:
        content = json.loads((folder / AGENT).read_text())
        make_settings(content["settings"])
        return Saved(**{**content, "interface": Interface.from_json(content["interface"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / AGENT} is damaged, or of another version ({type(error).__name__}: {error})") from error


def read_progress(folder: Path) -> Arrays:
    return _arrays(folder / PROGRESS)


def _arrays(path: Path) -> Arrays:
    try:
        return {name: x.copy() for name, x in safetensors.numpy.load(path.read_bytes()).items()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def restore(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights and optimiser back into an agent of the same description. Raises ValueError if it was saved with another network."""
    weights = {name: torch.from_numpy(x) for name, x in _arrays(folder / WEIGHTS).items()}
    ours, theirs = ({name: tuple(x.shape) for name, x in part.items()} for part in (module.state_dict(), weights))
    if ours != theirs:
        differing = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        raise ValueError(
            f"{folder} holds an agent with another network or encoder: {', '.join(differing)} differ; give it the one it was made with"
        )
    module.load_state_dict(weights)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, x in _arrays(folder / OPTIMIZER).items():
        i, _, name = key.partition(".")
        state.setdefault(int(i), {})[name] = torch.from_numpy(x)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
