"""Encoder, recurrence, one head for each coagent, one critic."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optioncoagent.agents.additive import Terms
from optioncoagent.agents.cells import FirstLayer, indicators, looked_up
from optioncoagent.agents.images import Convolutions
from optioncoagent.agents.observations import CODES, Leaf, ObservationSpec, Tensors, first_values, image_axes
from optioncoagent.agents.recurrent import Memoryless, Recurrence
from optioncoagent.agents.settings import Settings, check_device
from optioncoagent.network import Coagent, CoagentNetwork

SCALE = {"cells": 0.5, "grid": 1 / 10, "pixels": 1 / 255}  # bytes to about [0, 1]; MiniGrid's codes end at 10
Linear = tuple[Tensor, Tensor]  # weights (rows, f), biases (rows,)
RESIDUAL = 0.25  # scale of what a head learns for one configuration alone, beside what it learns for all
MAX_LOGITS = 100_000  # a head larger than this is a mistake in the description, not a policy


class Inputs(nn.Module):
    """The leaves of an observation as an `Encoder` takes them, without parameters, so that it is done once for a whole rollout.

    {"numbers": (n, size), the leaves side by side that are neither images nor cells: indicators, and numbers scaled to order one;
    "image " + path: (n, …); "cells": (n, codes) int32, the columns of those of all cells' `indicators` (n, num_indicators) that are 1}.
    """

    scale: Tensor
    first: Tensor
    last: Tensor

    def __init__(self, spec: ObservationSpec):
        super().__init__()
        self.images = [leaf for leaf in spec.leaves if leaf.kind == "pixels" and image_axes(leaf.shape)]
        self.cells = [leaf for leaf in spec.leaves if leaf.kind == "cells"]
        self.flat = [leaf for leaf in spec.leaves if leaf not in self.images and leaf not in self.cells]
        self.num_indicators = sum(leaf.size for leaf in self.cells)
        scale = [torch.full((leaf.size,), SCALE.get(leaf.kind, 1.0)) for leaf in self.flat]
        self.register_buffer("scale", torch.cat([torch.zeros(0), *scale]), persistent=False)
        # for each code of each cell the column of its first value, and its last value
        cell = torch.arange(0, self.num_indicators, sum(CODES), dtype=torch.int32)[:, None]
        first = cell + torch.tensor(list(accumulate(CODES[:-1], initial=0)), dtype=torch.int32)
        self.register_buffer("first", first.flatten(), persistent=False)
        self.register_buffer("last", (torch.tensor(CODES, dtype=torch.int32) - 1).repeat(len(cell)), persistent=False)

    def forward(self, state: Tensor | Tensors) -> Tensors:
        tensors = {"": state} if isinstance(state, Tensor) else state
        given = {f"image {leaf.path}": tensors[leaf.path] for leaf in self.images}
        if self.flat:
            rows = torch.cat([_row(leaf, tensors[leaf.path], self.scale.dtype) for leaf in self.flat], dim=-1)
            given["numbers"] = rows.to(self.scale.dtype).mul_(self.scale)
        if self.cells:
            codes = torch.cat([tensors[leaf.path].flatten(1) for leaf in self.cells], dim=-1)
            # what is no code of MiniGrid's is refused before anything is learned from it
            given["cells"] = self.first + codes.int().clamp(min=0).minimum(self.last)
        return given


class Given(nn.Module):
    """Observations as an encoder of one's own takes them: as they are, but numbers, if no codes or pixels, in the module's precision."""

    def __init__(self, spec: ObservationSpec, dtype: torch.dtype):
        super().__init__()
        self.numbers, self.dtype = {leaf.path for leaf in spec.leaves if leaf.kind in ("box", "slope")}, dtype

    def forward(self, state: Tensor | Tensors) -> Tensor | Tensors:
        tensors = {"": state} if isinstance(state, Tensor) else state
        given = {path: x.to(self.dtype) if path in self.numbers else x for path, x in tensors.items()}
        return given[""] if isinstance(state, Tensor) else given


def _one_hot(x: Tensor, size: int) -> Tensor:
    """(n,) int as rows (n, size) uint8; torch's own makes them of eight bytes each, and looks for the least and the largest first."""
    return torch.zeros(len(x), size, dtype=torch.uint8, device=x.device).scatter_(1, x[:, None], 1)


def _row(leaf: Leaf, x: Tensor, dtype: torch.dtype) -> Tensor:
    """One leaf as a row of numbers, (n, size); what are bytes stay bytes."""
    if leaf.kind == "discrete":
        x = x - first_values(leaf, x)
    if leaf.counts:
        columns = x.reshape(len(x), -1).unbind(dim=1)
        return torch.cat([_one_hot(column, n) for column, n in zip(columns, leaf.counts, strict=True)], dim=-1)
    if leaf.kind == "discrete":
        return _one_hot(x, leaf.size)
    x = x.reshape(len(x), -1)
    x = x if x.dtype == torch.uint8 else x.to(dtype)
    return x.to(dtype).atan() if leaf.kind == "slope" else x


class Encoder(nn.Module):
    """What `Inputs` gives, numbers, convolved images and cells' indicators side by side, through layers of `hidden_sizes` with ReLU."""

    def __init__(self, spec: ObservationSpec, hidden_sizes: tuple[int, ...]):
        super().__init__()
        self.inputs = Inputs(spec)
        self.images = nn.ModuleDict({str(spec.leaves.index(leaf)): Convolutions(leaf.shape) for leaf in self.inputs.images})
        num_numbers = len(self.inputs.scale) + sum(image.num_features for image in self.images.values())  # type: ignore[misc]
        sizes = (num_numbers + self.inputs.num_indicators, *hidden_sizes)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight, math.sqrt(2))  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.lookup: Tensor | None = None

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """While no weight changes, as in a rollout: what the first layer looks up is laid out once, and not at every step."""
        if self.inputs.cells and len(self.layers):
            self.lookup = looked_up(self.layers[0].weight, self.inputs.num_indicators)  # type: ignore[arg-type]
        try:
            yield
        finally:
            self.lookup = None

    def forward(self, given: Tensors) -> Tensor:
        parts = [given["numbers"]] if self.inputs.flat else []
        for leaf, convolutions in zip(self.inputs.images, self.images.values(), strict=True):
            image = given[f"image {leaf.path}"]
            parts.append(convolutions(image.reshape(-1, *leaf.shape).to(self.inputs.scale.dtype) * SCALE["pixels"]))
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1) if parts else self.inputs.scale.new_zeros(len(given["cells"]), 0)
        if self.inputs.cells and not len(self.layers):
            x = torch.cat([x, SCALE["cells"] * indicators(given["cells"], self.inputs.num_indicators, x.dtype)], dim=-1)
        for number, layer in enumerate(self.layers):
            with_cells = number == 0 and self.inputs.cells
            parameters = layer.weight, layer.bias
            x = F.relu(FirstLayer.apply(x, given["cells"], *parameters, SCALE["cells"], self.lookup) if with_cells else layer(x))
        return x


class CoagentModule(nn.Module):
    """The parameters: an encoder, recurrent units if there are any, a policy head for each coagent, the critic Q(s, K).

    inputs: from observations to what the encoder takes, without parameters, so that it is computed once for a whole rollout. A head gives
    logits (of a Gaussian means, and logarithms of scales) for every configuration of the discrete outputs its policy reads; a coagent that
    does not observe has a plain table. common: a head with several configurations c, and so the critic with several K, is

        logits(s, c) = common(s) + RESIDUAL residual(s, c)        residual = 0 at first

    so that all configurations start the same and each learns from the steps of all (of critics: "Dueling Network Architectures" by Wang
    et al.); `policies` and `critic` then hold the residuals. Without, configurations have nothing in common.
    Raises ValueError naming the coagent whose head would have more than `MAX_LOGITS` logits, or whose values would be as many.
    """

    part: Tensor

    def __init__(
        self, network: CoagentNetwork, inputs: nn.Module, encoder: nn.Module, recurrence: Memoryless | Recurrence, seed: int, common: bool
    ):
        super().__init__()
        self.network, num_features = network, recurrence.num_features
        self.shapes = {name: (*network.configuration_shape(name), network[name].num_parameters) for name in network.names}
        self.critic_shape = tuple(network[name].num_outputs for name in network.critic_inputs)
        check_sizes(network, self.shapes, self.critic_shape)
        self.inputs, self.encoder, self.recurrence = inputs, encoder, recurrence
        self.policies = nn.ModuleDict()
        owned = {name: shape for name, shape in self.shapes.items() if network[name].owner == name}
        shared: dict[str, nn.Module] = {}

        def head(name: str, key: str, coagent: Coagent, configurations: int) -> Any:
            with seeded(seed, name):  # a head starts the same whatever other heads there are
                if not common or configurations == 1 or not coagent.observes:
                    return _make_head(coagent, num_features, configurations)
                shared[key] = _make_head(coagent, num_features, 1)
                return _make_head(coagent, num_features, configurations, residual=True)

        for name, shape in owned.items():
            key = f"policy_{name}"
            self.policies[key] = head(name, key, network[name], math.prod(shape[:-1]))
        # about 0: a made-up value misleads every coagent
        self.critic = head("critic", "critic", Coagent("critic", 1), math.prod(self.critic_shape))
        self.common = nn.ModuleDict(shared)
        self.terms = Terms(network, torch.Generator().manual_seed(derive_seed(seed, "terms")))
        ends = list(accumulate((math.prod(shape) for shape in owned.values()), initial=0))
        first_row = dict(zip(owned, ends, strict=False))  # of each head's logits in a readout
        self.first_row = {name: first_row[network[name].owner] for name in network.names}
        self.critic_row = ends[-1]
        # which coagent each of the outputs that are counted is of, one after the other, and then the critic
        outputs = torch.tensor([*(c.num_outputs for c in network.counted), 1])
        part = torch.arange(len(outputs)).repeat_interleave(outputs)
        self.register_buffer("part", part, persistent=False)

    def features(self, state: Any, start: Tensor | None = None, hidden: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Features (n, f) of observations, and the hidden state after them: see `encode`."""
        return self.encode(self.inputs(state), start, hidden)

    def encode(self, x: Any, start: Tensor | None = None, hidden: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Features (n, f) of `inputs(observations)`, and the hidden state after them.

        start: (n,) bool, where an episode begins; hidden: the hidden state before, None for a network without recurrence. With recurrence
        n may be several steps of as many sequences as there are states: see `recurrent`.
        """
        given: tuple[Tensor, Tensor | None] = self.recurrence(self.encoder(x).to(self.critic.weight.dtype), start, hidden)
        return given

    def unchanged(self) -> AbstractContextManager[None]:
        """To be entered while no parameter changes: see `Encoder.unchanged`."""
        return self.encoder.unchanged() if isinstance(self.encoder, Encoder) else nullcontext()

    def heads(self) -> Linear:
        """All policies in order and then the critic as one linear layer. Weights are zero where a coagent does not observe."""
        heads: dict[str, Any] = {**self.policies, "critic": self.critic}
        weights, biases = zip(*(self._linear(name, head) for name, head in heads.items()), strict=True)
        return torch.cat(weights), torch.cat(biases)

    def _linear(self, name: str, head: Any) -> Linear:
        weight, bias = head.linear()
        if name in self.common:
            common: Any = self.common[name]
            weight, bias = (_added(*pair) for pair in zip(common.linear(), (weight, bias), strict=True))
        return weight, bias

    def readout(self, features: Tensor, heads: Linear | None = None, shaping: Tensor | None = None) -> Tensor:
        """All logits of all coagents and then all values of the critic, (rows, n); heads: `heads()`, if they are there already; shaping:
        (rows, 1), 0 for those whose gradient is to end at the features, else 1."""
        weight, bias = heads or self.heads()
        if shaping is None:
            return torch.addmm(bias[:, None], weight, features.T)
        read: Tensor = _Readout.apply(features, weight, bias, shaping)
        return read

    def shaping(self, names: Iterable[str]) -> Tensor | None:
        """`readout`'s: 1 for the rows of these coagents and of the critic; None where that is all of them."""
        shaping = torch.zeros(self.critic_row + math.prod(self.critic_shape), 1, dtype=self.critic.weight.dtype, device=self.part.device)
        shaping[self.critic_row :] = 1
        for name in names:
            first = self.first_row[name]
            shaping[first : first + math.prod(self.shapes[name])] = 1
        return None if bool(shaping.all()) else shaping

    def logits(self, name: str, readout: Tensor) -> Tensor:
        """Logits of a coagent for every configuration it may read, (configurations, outputs, n); of one with a Gaussian means and then
        logarithms of scales."""
        shape, first = self.shapes[name], self.first_row[name]
        return readout[first : first + math.prod(shape)].reshape(-1, shape[-1], readout.shape[-1])

    def read(self, readout: Tensor, rows: Tensor, indicators: Tensor) -> Tensor:
        """These rows of a readout, (R, n) of `Batch.rows`, with the terms of additive policies; indicators: (n, Σ sizes) of `Terms`."""
        read: Tensor = self.terms(readout.gather(0, rows), indicators)
        return read

    def q(self, readout: Tensor) -> Tensor:
        """Q(s, K) for every K, (number of configurations of K, n)."""
        return readout[self.critic_row :]

    def rows_of(self, name: str, configuration: Tensor) -> Tensor:
        """Which rows of a readout are a coagent's logits in the configurations (n,) that it is in, (outputs, n)."""
        outputs = self.shapes[name][-1]
        return self.first_row[name] + outputs * configuration + torch.arange(outputs, device=configuration.device)[:, None]


class _Readout(torch.autograd.Function):
    """weight features + bias, (rows, n), whose gradient reaches the features (n, f) through some of the rows alone."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, shaping: Tensor) -> Tensor:
        ctx.save_for_backward(features, weight, shaping)
        return torch.addmm(bias[:, None], weight, features.T)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        (of_rows,), (features, weight, shaping) = upstream, ctx.saved_tensors
        of_features = of_rows.T @ (weight * shaping) if ctx.needs_input_grad[0] else None
        return of_features, of_rows @ features, of_rows.sum(dim=1), None


def check_sizes(network: CoagentNetwork, shapes: Mapping[str, tuple[int, ...]], critic_shape: tuple[int, ...]) -> None:
    """Raise ValueError naming the coagent whose head would have more than `MAX_LOGITS` logits, or whose values would be as many."""
    for name, shape in (*shapes.items(), (f"{network.action[0]} (its critic)", critic_shape)):
        if math.prod(shape) > MAX_LOGITS:
            raise ValueError(
                f"coagent {name!r} would need {math.prod(shape):,} logits, one for each of {shape}: let it read fewer outputs "
                f"(at most {MAX_LOGITS:,})"
            )
    for turn in network.plan(network.critic_inputs):
        if network[turn.name].additive and turn.kept:
            raise ValueError(
                f"coagent {turn.name!r}: its policy is additive, and an average over its output, on which the critic or the table of "
                "another coagent depends, would need a table: let only additive coagents read it, in the same step, let it always execute "
                "and read nothing of the step before"
            )
        if turn.num_values > MAX_LOGITS:
            raise ValueError(
                f"coagent {turn.name!r}: {len(turn.live)} outputs of coagents before it still matter when it runs, {turn.live}, and there "
                f"would be {turn.num_values:,} values at each step (at most {MAX_LOGITS:,}): put coagents nearer to those that read them, "
                "or let them read fewer"
            )


def make_module(network: CoagentNetwork, spec: ObservationSpec, settings: Settings, encoder: nn.Module | None) -> CoagentModule:
    """The parameters of a network on observations like `spec`, freshly drawn; `encoder` in place of the default one.

    Raises ValueError for a device that torch does not have, and for an encoder that does not give (n, features).
    """
    dtype = getattr(torch, settings.dtype)
    check_device(settings.device)
    if encoder is not None and not isinstance(encoder, nn.Module):
        raise ValueError(f"encoder={encoder!r}: give an instance of torch.nn.Module")
    inputs: nn.Module = Given(spec, dtype)
    if encoder is None:
        with seeded(settings.seed, "encoder"):
            encoder = own = Encoder(spec, settings.hidden_sizes)
        inputs = own.inputs
    encoder = encoder.to(settings.device, dtype)
    num_features = _num_features(encoder, inputs, spec, settings.device)
    with seeded(settings.seed, "recurrence"):
        recurrence = Recurrence(num_features, settings.recurrent_size) if settings.recurrent_size else Memoryless(num_features)
    return CoagentModule(network, inputs, encoder, recurrence, settings.seed, bool(settings.hidden_sizes)).to(settings.device, dtype)


def _num_features(encoder: nn.Module, inputs: nn.Module, spec: ObservationSpec, device: str) -> int:
    """What an encoder gives for two observations is to be (2, features) numbers."""
    with torch.no_grad():
        blank = spec.blank(device, 2)
        try:
            given = encoder(inputs(spec.state(blank)))
        except Exception as error:
            shapes = {path: tuple(x.shape) for path, x in blank.items()}
            error.add_note(f"the encoder was given two observations, of shape {shapes.get('', shapes)}")
            raise
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

    def linear(self) -> Linear:
        return self.weight, self.bias


class _GaussianHead(nn.Module):
    """Means, and logarithms of scales, of a Gaussian's numbers in each configuration: a head or table for each of the two."""

    def __init__(self, size: int, mean: _Head | _Table, log_scale: _Head | _Table, start: float):
        super().__init__()
        self.size, self.mean, self.log_scale = size, mean, log_scale
        nn.init.constant_(log_scale.bias if isinstance(log_scale, _Head) else log_scale.logits, start)

    def linear(self) -> Linear:
        pairs = zip(self.mean.linear(), self.log_scale.linear(), strict=True)
        # side by side in each configuration: means, and then logarithms of scales
        weight, bias = (torch.cat([x.unflatten(0, (-1, self.size)) for x in pair], dim=1).flatten(0, 1) for pair in pairs)
        return weight, bias


def _make_head(coagent: Coagent, num_features: int, configurations: int, residual: bool = False) -> _Head | _Table | _GaussianHead:
    """A head with a coagent's parameters in so many configurations; residual: all of them 0 at first."""

    def part(size: int, observes: bool) -> _Head | _Table:
        number = configurations * size
        return _Head(num_features, number, 0.0 if residual else 0.01) if observes else _Table(num_features, number)

    gaussian = coagent.gaussian
    if gaussian is None:
        return part(coagent.num_outputs, coagent.observes)
    mean, log_scale = part(gaussian.size, coagent.observes), part(gaussian.size, coagent.observes and gaussian.scale_observes)
    return _GaussianHead(gaussian.size, mean, log_scale, 0.0 if residual else math.log(gaussian.scale))


def _added(common: Tensor, residual: Tensor) -> Tensor:
    """What all configurations have in common (outputs, …) and the residual of each (configurations · outputs, …), together."""
    return torch.add(common, residual.unflatten(0, (-1, len(common))), alpha=RESIDUAL).flatten(0, 1)


class _Table(nn.Module):
    """Logits of a coagent that does not look at the observation."""

    def __init__(self, num_features: int, num_logits: int):
        super().__init__()
        self.num_features = num_features
        self.logits = nn.Parameter(torch.zeros(num_logits))

    def linear(self) -> Linear:
        return self.logits.new_zeros(len(self.logits), self.num_features), self.logits


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
    """Run a block with torch's global random state, of the CPU, set from (seed, name), and put it back."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(derive_seed(seed, name))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def derive_seed(seed: int, name: str) -> int:
    """A seed for one named source of randomness."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "little")
