"""What an environment takes for an action, and how the outputs of the action coagents become one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from optioncoagent.network import CoagentNetwork, Gaussian


@dataclass(frozen=True)
class Actions:
    """The actions of an environment.

    num_actions: an int of a Discrete space; a tuple, an entry for each component, of MultiDiscrete and MultiBinary; of a Box a `Gaussian`
    over its numbers, with its bounds. first_action: the first value of an int, or of each component. dtype: what the space
    holds. shape: of a Box.
    """

    num_actions: int | tuple[int, ...] | Gaussian
    first_action: int | tuple[int, ...] = 0
    shape: tuple[int, ...] = ()
    dtype: str = "int64"

    @classmethod
    def of(cls, space: gym.Space[Any]) -> Actions:
        """The actions of a Gymnasium space. Raises ValueError for one that is not supported."""
        if isinstance(space, gym.spaces.Discrete):
            return cls(int(space.n), int(space.start), dtype=space.dtype.name)
        if isinstance(space, gym.spaces.MultiDiscrete) and len(space.shape) == 1:
            return cls(tuple(map(int, space.nvec)), tuple(map(int, space.start)), dtype=space.dtype.name)
        if isinstance(space, gym.spaces.MultiBinary) and len(space.shape) == 1:
            return cls((2,) * space.shape[0], (0,) * space.shape[0], dtype=space.dtype.name)
        if isinstance(space, gym.spaces.Box) and math.prod(space.shape) > 0:
            low, high = (tuple(bound.astype(np.float64).ravel().tolist()) for bound in (space.low, space.high))
            return cls(Gaussian(len(low), low, high), 0, tuple(space.shape), space.dtype.name)
        raise ValueError(
            f"the action space is {space}: only Discrete and Box actions are supported, and MultiDiscrete and MultiBinary ones with one "
            "axis; a Gymnasium wrapper can turn yours into one of these"
        )

    def network(self, described: CoagentNetwork | Callable[[Any], CoagentNetwork]) -> CoagentNetwork:
        """The network, or what a function makes of `num_actions`. Raises TypeError for anything else, ValueError as `check` does."""
        made = described(self.num_actions) if callable(described) else described
        if not isinstance(made, CoagentNetwork):
            returned = f"{getattr(described, '__name__', described)} returned a" if callable(described) else "it is a"
            what = f"network: {returned} {type(made).__name__}"
            raise TypeError(f"{what}, and has to be a CoagentNetwork, or a function from the number of actions to one")
        self.check(made)
        return made

    def check(self, network: CoagentNetwork) -> None:
        """Raise ValueError unless the environment takes exactly the network's actions."""
        sizes = tuple(network[name].num_outputs for name in network.action)
        numbers = sum(network[name].width for name in network.action if name in network.gaussians)
        if isinstance(self.num_actions, Gaussian):
            if numbers != self.num_actions.size:
                raise ValueError(
                    f"the environment takes {self.num_actions.size} real numbers; the network's action coagents {network.action} give "
                    f"{numbers if numbers else f'one of {sizes} outputs'}: give them Gaussians of as many, together"
                )
        elif numbers:
            raise ValueError(
                f"the environment takes one of {self.num_actions} actions, and coagent {network.action[0]!r} gives real numbers: give it "
                "num_outputs in place of a Gaussian"
            )
        elif isinstance(self.num_actions, tuple):
            if sizes != self.num_actions:
                raise ValueError(
                    f"the environment takes {len(self.num_actions)} actions at once, of sizes {self.num_actions}; the network's action "
                    f"coagents {network.action} have sizes {sizes}: make them the same"
                )
        elif network.num_actions != self.num_actions:
            raise ValueError(
                f"the environment takes {self.num_actions} actions, the network's action coagents give {network.num_actions}: make them "
                "the same"
            )

    def taken(self, network: CoagentNetwork, outputs: Mapping[str, Any]) -> np.ndarray:
        """The environment's form of the action coagents' outputs: (n,) of a Discrete space, (n, components), or (n, *shape) of a Box.

        What a Gaussian gave beyond the bounds becomes the bound, for a Box of integers the nearest integer.
        """
        if isinstance(self.num_actions, Gaussian):
            parts = [network.gaussians[name].action(outputs[name].cpu().numpy()) for name in network.action]
            numbers = np.clip(np.concatenate(parts, axis=-1), self.num_actions.low, self.num_actions.high)
            whole = not np.issubdtype(self.dtype, np.floating)
            return (np.rint(numbers) if whole else numbers).astype(self.dtype).reshape(-1, *self.shape)
        if isinstance(self.first_action, tuple):
            numbers = torch.stack([outputs[name] for name in network.action], dim=-1).cpu().numpy() + np.array(self.first_action)
        else:
            numbers = network.joint_action(outputs).cpu().numpy() + self.first_action
        return numbers.astype(self.dtype, copy=False)

    def to_json(self) -> dict[str, Any]:
        plain = asdict(self)
        return plain if isinstance(self.num_actions, Gaussian) else {name: x for name, x in plain.items() if name != "shape"}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Actions:
        plain: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in content.items()}
        if isinstance(plain["num_actions"], dict):
            bounds = {name: tuple(map(float, plain["num_actions"][name])) for name in ("low", "high")}
            plain["num_actions"] = Gaussian(**{**plain["num_actions"], **bounds})
        return cls(**plain)
