"""Where training stands, as arrays that a checkpoint can hold: the random states, the counts, the environments and what
runs in them.

Environments are kept where their state is arrays, which is MiniGrid's compiled backend. Others start new episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from optioncoagent.agents.observations import ObservationSpec
from optioncoagent.agents.rollout import Running

Arrays = dict[str, np.ndarray]
Generators = Mapping[str, torch.Generator]


def to_arrays(generators: Generators, running: Running, stages: Mapping[str, Any]) -> Arrays:
    """Everything that the next update depends on, but for the parameters; stages: what keeps a state of its own."""
    arrays = {f"generator/{name}": generator.get_state().numpy() for name, generator in generators.items()}
    arrays |= of_stages(stages)
    env: Any = running.env
    if has_arrays(env) and not running.broken:
        # but for the seeds, Python's integers, that name the levels: a reset brings them back
        arrays |= {f"environment/{name}": x for name, x in env.get_state().items() if x.dtype != object}
        arrays |= {f"outputs/{name}": x.cpu().numpy() for name, x in running.outputs.items()}
        if running.hidden is not None:
            arrays["hidden"] = running.hidden.cpu().numpy()
        arrays |= {"start": running.start.cpu().numpy(), "age": running.age.cpu().numpy(), "episode_return": running.episode_return}
    return arrays


def of_stages(stages: Mapping[str, Any]) -> Arrays:
    """What of it the stages keep."""
    return {f"{stage}/{name}": x for stage, part in stages.items() for name, x in part.to_arrays().items()}


def from_arrays(arrays: Arrays, generators: Generators, running: Running, spec: ObservationSpec) -> None:
    """Put generators and `running`, which has just been started from the same seed, where `to_arrays` found them; generators of another
    device than then stay where they are."""
    for name, generator in generators.items():
        kept = arrays.get(f"generator/{name}")
        if kept is not None and len(kept) == len(generator.get_state()):
            generator.set_state(torch.from_numpy(kept))
    env: Any = running.env
    if "start" not in arrays or not has_arrays(env):
        return
    device = running.start.device
    env.set_state({name: arrays.get(f"environment/{name}", x) for name, x in env.get_state().items()})
    running.observation = spec.tensors(env.observations(), device)
    running.outputs = {name: torch.from_numpy(arrays[f"outputs/{name}"]).to(device) for name in running.outputs}
    if running.hidden is not None:
        running.hidden = torch.from_numpy(arrays["hidden"]).to(device)
    running.start, running.age = (torch.from_numpy(arrays[name]).to(device) for name in ("start", "age"))
    running.episode_return = arrays["episode_return"]


def restore_stages(arrays: Arrays, stages: Mapping[str, Any]) -> None:
    """Give stages back what `to_arrays` found in them; one that was not there then starts anew."""
    for stage, part in stages.items():
        prefix = f"{stage}/"
        if kept := {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}:
            part.from_arrays(kept)


def has_arrays(env: Any) -> bool:
    """Can the environment's state be kept?"""
    return getattr(env, "backend", None) == "compiled"
