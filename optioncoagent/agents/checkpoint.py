"""Agents on disk: weights and optimiser in safetensors, everything else in JSON. Nothing is pickled, so loading never runs code.

A folder holds agent.json (settings, gradient forms, the environment's interface, counters), weights.safetensors and optimizer.safetensors.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from optioncoagent.agents.environments import Interface

if TYPE_CHECKING:
    from optioncoagent.agents.learner import CoagentActorCritic

AGENT, WEIGHTS, OPTIMIZER = "agent.json", "weights.safetensors", "optimizer.safetensors"


@dataclass(frozen=True)
class Saved:
    """The contents of agent.json."""

    settings: dict[str, Any]
    forms: dict[str, str]
    interface: Interface
    num_timesteps: int
    num_episodes: int
    description: dict[str, Any]


def save(agent: CoagentActorCritic, folder: Path, overwrite: bool) -> None:
    """Write an agent. Raises FileExistsError if the folder holds one and `overwrite` is not set."""
    if (folder / AGENT).exists() and not overwrite:
        raise FileExistsError(f"{folder} holds an agent already: choose another folder, or overwrite=True")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: x.detach().cpu().contiguous() for name, x in agent.module.state_dict().items()}, folder / WEIGHTS)
    moments = agent.optimizer.state_dict()["state"]
    save_file({f"{i}.{key}": x.cpu().contiguous() for i, state in moments.items() for key, x in state.items()}, folder / OPTIMIZER)
    content = {
        "settings": asdict(agent.settings),
        "forms": agent.forms,
        "interface": agent.interface.to_json(),
        "num_timesteps": agent.num_timesteps,
        "num_episodes": agent.num_episodes,
        "description": agent.description,
    }
    (folder / AGENT).write_text(json.dumps(content, indent=2) + "\n")


def read(folder: Path) -> Saved:
    """Read agent.json. Raises FileNotFoundError that says what is missing."""
    if not (folder / AGENT).exists():
        raise FileNotFoundError(f"{folder} holds no agent: there is no {AGENT} in it")
    content = json.loads((folder / AGENT).read_text())
    interface = Interface.from_json(content["interface"])
    counters = content["num_timesteps"], content["num_episodes"]
    return Saved(content["settings"], content["forms"], interface, *counters, content["description"])


def restore(agent: CoagentActorCritic, folder: Path, saved: Saved) -> None:
    """Put weights, optimiser and counters back into an agent of the same description. Raises RuntimeError if the shapes differ."""
    agent.module.load_state_dict(load_file(folder / WEIGHTS))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, x in load_file(folder / OPTIMIZER).items():
        i, _, name = key.partition(".")
        state.setdefault(int(i), {})[name] = x
    agent.optimizer.load_state_dict({**agent.optimizer.state_dict(), "state": state})
    agent.num_timesteps, agent.num_episodes = saved.num_timesteps, saved.num_episodes
