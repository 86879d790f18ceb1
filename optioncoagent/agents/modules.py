"""Encoder, recurrence, one head for each coagent, one critic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from itertools import accumulate
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from optioncoagent.agents.additive import Terms
from optioncoagent.agents.encoder import Encoder, Given
from optioncoagent.agents.heads import Linear, added, make_head
from optioncoagent.agents.observations import ObservationSpec
from optioncoagent.agents.recurrent import Memoryless, Recurrence
from optioncoagent.agents.settings import Settings, check_device
from optioncoagent.agents.torch_state import derive_seed, seeded
from optioncoagent.network import Coagent, CoagentNetwork

MAX_LOGITS = 100_000  # a head larger than this is a mistake in the description, not a policy
_HELD: WeakKeyDictionary[nn.Module, ref[CoagentModule]] = WeakKeyDictionary()  # encoders that are an agent's


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
                    return make_head(coagent, num_features, configurations)
                shared[key] = make_head(coagent, num_features, 1)
                return make_head(coagent, num_features, configurations, residual=True)

        for name, shape in owned.items():
            key = f"policy_{name}"
            self.policies[key] = head(name, key, network[name], math.prod(shape[:-1]))
        # begins near 0, as logits do: values drawn at random would mislead every coagent
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
        if not isinstance(self.encoder, Encoder):  # it may work in place, and what was seen is kept
            x = x.clone() if isinstance(x, Tensor) else {path: part.clone() for path, part in x.items()}
        given: tuple[Tensor, Tensor | None] = self.recurrence(self.encoder(x).to(self.critic.weight.dtype), start, hidden)
        return given

    def parts(self, names: Iterable[str]) -> list[nn.Parameter]:
        """The parameters of these coagents' policies, and of "critic" and "encoder", of which the recurrent units are a part."""
        found: list[nn.Parameter] = []
        for name in names:
            owner = self.network[name].owner if name in self.network.names else name
            key = owner if owner == "critic" else f"policy_{owner}"
            heads = {"critic": [self.critic], "encoder": [self.encoder, self.recurrence]}.get(name) or [self.policies[key]]
            for part in (*heads, *([self.common[key]] if key in self.common else [])):
                found += part.parameters()
            found += [table for terms, table in self.terms.tables.items() if terms == f"terms_{owner}"]
        return found

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
            weight, bias = (added(*pair) for pair in zip(common.linear(), (weight, bias), strict=True))
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
        """These rows of a readout, (R, n) of `Batch.rows`, with the terms of additive policies; indicators: (n, Σ widths) of `Terms`."""
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
    """Raise ValueError naming the coagent whose head would have more than `MAX_LOGITS` logits, or whose values would be as many, or that is
    additive where an average over its output would need a table."""
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
    """The parameters of a network on observations like `spec`, freshly drawn; `encoder` in place of the default one, a copy of it where
    another agent has it.

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
    elif (other := _HELD.get(encoder)) is not None and other() is not None:  # another agent's, which is not to change with this one
        # what it keeps of its last call is no parameter, and torch does not copy it
        kept = [x for part in encoder.modules() for x in vars(part).values() if isinstance(x, Tensor) and not x.is_leaf]
        encoder = deepcopy(encoder, {id(x): x.detach() for x in kept})
    encoder = encoder.to(settings.device, dtype).eval()  # until the first epochs: a look at what it gives is no training
    num_features = _num_features(encoder, inputs, spec, settings.device)
    with seeded(settings.seed, "recurrence"):
        recurrence = Recurrence(num_features, settings.recurrent_size) if settings.recurrent_size else Memoryless(num_features)
    return CoagentModule(network, inputs, encoder, recurrence, settings.seed, bool(settings.hidden_sizes)).to(settings.device, dtype)


def hold(module: CoagentModule) -> None:
    """Note that the encoder of this module is an agent's, so that `make_module` gives another agent a copy."""
    _HELD[module.encoder] = ref(module)


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
