"""Agents on disk: arrays in safetensors, everything else in JSON. Nothing is pickled, so loading never runs code.

A folder holds weights.safetensors, optimizer.safetensors, progress.safetensors (see `progress`) and agent.json (settings, gradient forms,
the environment's interface, counters), which has the checksums of all four: a folder of which one bit is not what was written does not
load. A run folder holds such folders under checkpoints/. The folders of version 0.1.0, which have no checksums, load too.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import nn

from optioncoagent.agents import files
from optioncoagent.agents.environments import Interface
from optioncoagent.agents.exploration import DEFAULT
from optioncoagent.agents.files import AGENT, checkpoints
from optioncoagent.agents.heads import RESIDUAL
from optioncoagent.agents.progress import Arrays
from optioncoagent.agents.settings import OLD_DEFAULTS, Settings, make_settings, on_this_machine
from optioncoagent.network import CoagentNetwork
from optioncoagent.network.aspects import BEHAVIOUR, aspects, differences

UNDECIDED: dict[str, Any] = {"int_coef": None, "int_counts": "auto"}
WEIGHTS, OPTIMIZER, PROGRESS = "weights.safetensors", "optimizer.safetensors", "progress.safetensors"


@dataclass(frozen=True)
class Saved:
    """The contents of agent.json. description: what a subclass needs to make its network again. network: the `aspects` of one that is given
    again. decided: of which settings the environment decided, None in a folder that does not say. arrays: of the other files, as read."""

    settings: dict[str, Any]
    forms: dict[str, str]
    interface: Interface
    num_timesteps: int
    num_episodes: int
    recent: list[tuple[float, int]]
    description: dict[str, Any]
    network: dict[str, Any] = field(default_factory=dict)
    decided: list[str] | None = None
    arrays: dict[str, Arrays] = field(default_factory=dict)

    def settings_for(self, env: Any) -> dict[str, Any]:
        """Its settings on this machine; where an environment is given, that one decides on what the agent's own had decided on, and whether
        there are places to count."""
        settings = on_this_machine(self.settings)
        if env is None:
            return settings
        usual = ["int_coef"] * (settings["int_coef"] == DEFAULT)  # what it mostly decides, where the folder does not say
        decided = [*(usual if self.decided is None else self.decided), *["int_counts"] * (settings["int_counts"] == "place")]
        return settings | {name: UNDECIDED[name] for name in decided}

    def left_to_the_environment(self, given: Settings, chosen: Mapping[str, Any]) -> Settings:
        """The settings that an agent loaded from here was given, but for those that its environment had decided, and that were not `chosen`
        when it was loaded."""
        return replace(given, **{name: UNDECIDED[name] for name in self.decided or () if name not in chosen})


def decided(given: Settings) -> list[str]:
    """Which settings the environment decides on."""
    return [name for name, value in UNDECIDED.items() if getattr(given, name) == value]


def save(folder: Path, saved: Saved, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Arrays, overwrite: bool) -> None:
    """Write an agent, whole or not at all. Raises FileExistsError if the folder holds one and `overwrite` is not set, or is that of a run,
    NotADirectoryError for a file."""
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file, and an agent is a folder: choose another path")
    if (folder / files.CHECKPOINTS).exists():
        raise FileExistsError(
            f"{folder} is the folder of a run, whose agents are its checkpoints: choose another, such as {folder / 'best'}"
        )
    if files.find(folder, AGENT).exists() and not overwrite:
        raise FileExistsError(f"{folder} holds an agent already: choose another folder, or overwrite=True")
    weights = {name: x.detach().cpu().numpy() for name, x in module.state_dict().items()}
    moments = optimizer.state_dict()["state"]
    adam = {f"{i}.{key}": x.cpu().numpy() for i, state in moments.items() for key, x in state.items()}
    arrays = {WEIGHTS: weights, OPTIMIZER: adam, PROGRESS: progress}
    contents = {name: safetensors.numpy.save({key: np.array(x, order="C") for key, x in part.items()}) for name, part in arrays.items()}
    described = {name: value for name, value in vars(saved).items() if name != "arrays"} | {"interface": saved.interface.to_json()}
    contents[AGENT] = files.seal({**described, "checksums": {name: files.digest(data) for name, data in contents.items()}})
    files.write_into(folder, contents)


def read(path: Path) -> Saved:
    """Read an agent folder, or the newest intact checkpoint of a run folder (with a warning that names those that are not intact).

    Raises FileNotFoundError that says what is missing, ValueError if a file is damaged, foreign or of a newer version.
    """
    folders = [path] if files.find(path, AGENT).exists() else checkpoints(path)
    if not folders:
        raise FileNotFoundError(f"{path} holds no agent: there is no {AGENT} in it")
    refused: list[Exception] = []
    for folder in folders:
        try:
            saved = _read(folder)
        except (ValueError, OSError) as error:
            refused.append(error)
            continue
        for reason in refused:
            warnings.warn(f"{reason}; {folder} is read in its place", stacklevel=3)
        return saved
    if len(refused) == 1:
        raise refused[0]
    raise ValueError(f"{path} holds no intact checkpoint: {'; '.join(map(str, refused))}")


def check_network(folder: Path, network: CoagentNetwork, before: Mapping[str, Any], warns: bool = False) -> None:
    """Hold a network against the `aspects` of the one that an agent was saved with, if there are any: ValueError if its parameters would
    mean something else; a warning, if asked for, where they only act otherwise (`aspects.BEHAVIOUR`)."""
    found = differences(before, json.loads(json.dumps(aspects(network)))) if before else {}
    if other := [text for aspect, texts in found.items() if aspect not in BEHAVIOUR for text in texts]:
        raise ValueError(f"{folder} holds an agent with another network: {'; '.join(other)}; give it the one it was made with")
    if warns and found:
        otherwise = "; ".join(text for texts in found.values() for text in texts)
        warnings.warn(f"the network is not quite that of {folder}: {otherwise}", stacklevel=4)


def restore(folder: Path, saved: Saved, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights and optimiser back into an agent of the same description. Raises ValueError if it was saved with another network."""
    weights, adam = ({name: torch.from_numpy(x) for name, x in saved.arrays[part].items()} for part in (WEIGHTS, OPTIMIZER))
    if not any(name.startswith("common.") for name in weights):
        _give_common_parts(module, weights, adam)
    for name, x in module.state_dict().items():  # single numbers had an axis in agents of before
        if x.ndim == 0 and name in weights and weights[name].numel() == 1:
            weights[name] = weights[name].reshape(())
    ours, theirs = ({name: tuple(x.shape) for name, x in part.items()} for part in (module.state_dict(), weights))
    if ours != theirs:
        differing = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        raise ValueError(
            f"{folder} holds an agent with another network or encoder: {', '.join(differing)} differ; give it the one it was made with"
        )
    module.load_state_dict(weights)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, x in adam.items():
        i, _, name = key.partition(".")
        state.setdefault(int(i), {})[name] = x
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _give_common_parts(module: nn.Module, weights: dict[str, torch.Tensor], adam: dict[str, torch.Tensor]) -> None:
    """Make what was saved when heads had no common part what the module has now, in place: all of it is residual, the common part 0.

    The logits W x = RESIDUAL (W / RESIDUAL) x stay, and so do Adam's steps along them: its moments are of RESIDUAL times the gradient.
    """
    ours = module.state_dict()
    for i, (name, _) in enumerate(module.named_parameters()):
        head, _, last = name.rpartition(".")
        common = f"common.{head.removeprefix('policies.')}.{last}"
        if common in ours and name in weights:
            weights[name] = weights[name] / RESIDUAL
            weights[common] = torch.zeros_like(ours[common])
            for moment, power in (("exp_avg", 1), ("exp_avg_sq", 2)):
                if (key := f"{i}.{moment}") in adam:
                    adam[key] = adam[key] * RESIDUAL**power


def _read(folder: Path) -> Saved:
    path = files.find(folder, AGENT)
    content = files.unseal(path)
    try:
        content["settings"] = OLD_DEFAULTS | content["settings"]
        checksums = dict(content.pop("checksums", {}))
        make_settings(content["settings"])
        saved = Saved(**{**content, "interface": Interface.from_json(content["interface"])}, arrays={})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged, or another program's ({type(error).__name__}: {error})") from error
    arrays = {name: _arrays(files.find(folder, name), checksums.get(name)) for name in (WEIGHTS, OPTIMIZER, PROGRESS)}
    return replace(saved, arrays=arrays)


def _arrays(path: Path, checksum: str | None) -> Arrays:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {path.parent} holds an agent that is not whole")
    data = path.read_bytes()
    if checksum is not None and files.digest(data) != checksum:
        raise ValueError(f"{path} is damaged: its content does not have the checksum that {AGENT} has for it")
    try:
        return {name: x.copy() for name, x in safetensors.numpy.load(data).items()}
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or another program's ({error})") from error
