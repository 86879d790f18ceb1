"""Encoder, one head for each coagent, one critic."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optioncoagent.agents.images import Convolutions
from optioncoagent.agents.observations import Leaf, ObservationSpec, Tensors, image_axes
from optioncoagent.agents.settings import Settings
from optioncoagent.network import CoagentNetwork

SCALE = {"grid": 1 / 10, "pixels": 1 / 255}  # bytes to about [0, 1]; MiniGrid's codes end at 10
MAX_LOGITS = 100_000  # a head larger than this is a mistake in the description, not a policy


class Encoder(nn.Module):
    """All leaves of an observation to one vector, indicators, numbers and convolved images side by side, then layers of `hidden_sizes`
    with ReLU."""

    def __init__(self, spec: ObservationSpec, hidden_sizes: tuple[int, ...]):
        super().__init__()
        self.spec = spec
        images = [str(i) for i, leaf in enumerate(spec.leaves) if leaf.kind == "pixels" and image_axes(leaf.shape)]
        self.images = nn.ModuleDict({i: Convolutions(spec.leaves[int(i)].shape) for i in images})
        flat = sum(leaf.size for i, leaf in enumerate(spec.leaves) if str(i) not in images)
        sizes = (flat + sum(image.num_features for image in self.images.values()), *hidden_sizes)  # type: ignore[misc]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight, math.sqrt(2))  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, state: Tensor | Tensors) -> Tensor:
        tensors = {"": state} if isinstance(state, Tensor) else state
        dtype = next((x.dtype for x in self.parameters()), torch.get_default_dtype())
        parts = [features(leaf, tensors[leaf.path], dtype) for leaf in self.spec.leaves]
        for i, image in self.images.items():
            parts[int(i)] = image(parts[int(i)].reshape(-1, *self.spec.leaves[int(i)].shape))
        x = torch.cat(parts, dim=-1)
        for layer in self.layers:
            x = F.relu(layer(x))
        return x


def features(leaf: Leaf, x: Tensor, dtype: Any) -> Tensor:
    """One leaf as numbers, (n, size)."""
    if leaf.counts:
        columns = x.reshape(len(x), -1).unbind(dim=1)
        return torch.cat([F.one_hot(column, n) for column, n in zip(columns, leaf.counts, strict=True)], dim=-1).to(dtype)
    if leaf.kind == "discrete":
        return F.one_hot(x, leaf.size).to(dtype)
    x = x.reshape(len(x), -1).to(dtype)
    return x.atan() if leaf.kind == "slope" else x * SCALE.get(leaf.kind, 1.0)


class CoagentModule(nn.Module):
    """The parameters: an encoder, a policy head for each coagent, the critic Q(s, K).

    A head gives logits for every configuration of the discrete outputs its policy reads; a coagent that does not observe has a plain table.
    Raises ValueError naming the coagent whose head would have more than `MAX_LOGITS` logits, or whose values would be as many.
    """

    def __init__(self, network: CoagentNetwork, encoder: nn.Module, num_features: int, seed: int):
        super().__init__()
        self.network = network
        self.shapes = {name: (*network.configuration_shape(name), network[name].num_outputs) for name in network.names}
        self.critic_shape = tuple(network[name].num_outputs for name in network.critic_inputs)
        for name, shape in (*self.shapes.items(), (f"{network.action[0]} (its critic)", self.critic_shape)):
            if math.prod(shape) > MAX_LOGITS:
                raise ValueError(
                    f"coagent {name!r} would need {math.prod(shape):,} logits, one for each of {shape}: let it read fewer outputs "
                    f"(at most {MAX_LOGITS:,})"
                )
        for name, live in zip(network.names, network.live(network.critic_inputs), strict=False):
            if (size := math.prod(network[other].num_outputs for other in (*live, name))) > MAX_LOGITS:
                raise ValueError(
                    f"coagent {name!r}: {len(live)} outputs of coagents before it still matter when it runs, {live}, and there would be "
                    f"{size:,} values at each step (at most {MAX_LOGITS:,}): put coagents nearer to those that read them, or let them "
                    "read fewer"
                )
        self.encoder = encoder
        self.policies = nn.ModuleDict()
        for name, shape in self.shapes.items():
            with seeded(seed, name):  # a head starts the same whatever other heads there are
                observes = network[name].observes
                self.policies[f"policy_{name}"] = _Head(num_features, math.prod(shape), 0.01) if observes else _Table(math.prod(shape))
        with seeded(seed, "critic"):
            self.critic = _Head(num_features, math.prod(self.critic_shape), 0.01)  # about 0: a made-up value misleads every coagent

    def features(self, state: Any) -> Tensor:
        return self.encoder(state).to(self.critic.weight.dtype)

    def logits(self, name: str, features: Tensor) -> Tensor:
        """Logits of a coagent for every configuration it may read, (n, number of configurations, outputs)."""
        return self.policies[f"policy_{name}"](features).reshape(len(features), -1, self.shapes[name][-1])

    def log_table(self, name: str, features: Tensor) -> Tensor:
        """ln π of a coagent for every configuration it may read, (n, number of configurations, outputs)."""
        return F.log_softmax(self.logits(name, features), dim=-1)

    def log_policy(self, name: str, features: Tensor, configuration: Tensor | None) -> Tensor:
        """ln π of a coagent in the configurations (n,) that it is in, (n, outputs)."""
        return F.log_softmax(at_configuration(self.logits(name, features), configuration), dim=-1)

    def q(self, features: Tensor) -> Tensor:
        """Q(s, K) for every K, (n, number of configurations of K)."""
        return self.critic(features)


def at_configuration(table: Tensor, index: Tensor | None) -> Tensor:
    """Rows (n, outputs) of a table (n, configurations, outputs); index (n,) or None where there is only one configuration."""
    if index is None:
        return table[:, 0]
    return table.gather(1, index[:, None, None].expand(-1, 1, table.shape[-1]))[:, 0]


def make_module(network: CoagentNetwork, spec: ObservationSpec, settings: Settings, encoder: nn.Module | None) -> CoagentModule:
    """The parameters of a network on observations like `spec`, freshly drawn; `encoder` in place of the default one.

    Raises ValueError for a device that torch does not have, and for an encoder that does not give (n, features).
    """
    dtype = getattr(torch, settings.dtype)
    try:
        torch.zeros(1, device=settings.device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={settings.device!r}: torch cannot compute there ({str(error).splitlines()[0]})") from error
    if encoder is not None and not isinstance(encoder, nn.Module):
        raise ValueError(f"encoder={encoder!r}: give an instance of torch.nn.Module")
    with seeded(settings.seed, "encoder"):
        encoder = (encoder or Encoder(spec, settings.hidden_sizes)).to(settings.device, dtype)
    return CoagentModule(network, encoder, _num_features(encoder, spec, settings.device), settings.seed).to(settings.device, dtype)


def _num_features(encoder: nn.Module, spec: ObservationSpec, device: str) -> int:
    """What an encoder gives for two observations is to be (2, features) numbers."""
    with torch.no_grad():
        given = encoder(spec.state(spec.blank(device, 2)))
    if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != 2 or given.shape[1] == 0:
        shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(
            f"the encoder gives {shape} for two observations: it must give (n, features), here (2, features); torch.nn.Flatten() as its "
            "last layer makes a map flat"
        )
    return given.shape[1]


class _Head(nn.Linear):
    def __init__(self, num_features: int, num_outputs: int, gain: float):
        super().__init__(num_features, num_outputs)
        nn.init.orthogonal_(self.weight, gain)
        nn.init.zeros_(self.bias)


class _Table(nn.Module):
    """Logits of a coagent that does not look at the observation."""

    def __init__(self, num_logits: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_logits))

    def forward(self, features: Tensor) -> Tensor:
        return self.logits.expand(len(features), -1)


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Run a block (or, as a decorator, a function) with this many threads of torch, and put their number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Run a block with torch's global random state set from (seed, name), and put it back."""
    state = torch.get_rng_state()
    torch.manual_seed(derive_seed(seed, name))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def derive_seed(seed: int, name: str) -> int:
    """A seed for one named source of randomness."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "little")
