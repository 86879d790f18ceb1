"""Memory between encoder and heads: gated recurrent units whose state is zero where an episode starts, or none.

A batch is n sequences side by side, time-major: row t · n + i is step t of sequence i, and `hidden` (n, units) is the state before their
first steps. A single step of n environments is n sequences of one step. Time is as many steps as rows over states.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from optioncoagent.agents.scan import Units


class Memoryless(nn.Module):
    """No memory: what the encoder gives is what the heads read."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def initial(self, n: int) -> Tensor | None:
        """The hidden state of n environments before their first steps."""
        return None

    def forward(self, x: Tensor, start: Tensor | None, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return x, None


class Recurrence(nn.Module):
    """One layer of gated recurrent units; what the heads read is their state.

    See "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation" by Cho et al.
    """

    def __init__(self, num_features: int, size: int):
        super().__init__()
        self.num_features = size
        self.gru = nn.GRU(num_features, size)
        for name, parameter in self.gru.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                for gate in parameter.detach().chunk(3):
                    nn.init.orthogonal_(gate)

    def initial(self, n: int) -> Tensor | None:
        """The hidden state of n environments before their first steps, (n, units)."""
        return next(self.parameters()).new_zeros(n, self.num_features)

    def forward(self, x: Tensor, start: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Features (T · n, units) of inputs (T · n, f), and the hidden state (n, units) after the last step.

        start: (T · n,) bool, where an episode begins: the state before such a step is zero.
        """
        n = len(hidden)
        if x.device.type == "cpu":
            of_inputs, of_states, *biases = self.gru.parameters()
            features = Units.apply(F.linear(x, of_inputs, biases[0]), start, hidden, of_states, biases[1])
            return features, features[-n:]
        return self.packed(x, start, hidden)

    def packed(self, x: Tensor, start: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The same by torch's units, on any device."""
        n = len(hidden)
        if len(x) == n:  # one step of each
            features = self.gru(x[None], _kept(hidden, start)[None])[0][0]
            return features, features
        order, batch_sizes, first = stretches(start.reshape(-1, n))
        before = _kept(hidden[first % n], start[first])
        data = self.gru(PackedSequence(x[order], batch_sizes), before[None])[0].data
        features = torch.empty_like(data).index_copy(0, order, data)
        return features, features[-n:]


def _kept(hidden: Tensor, start: Tensor) -> Tensor:
    return torch.where(start[:, None], 0.0, hidden)


def stretches(start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The stretches without a start into which sequences fall, (T, n) bool, packed so that one call runs them all side by side.

    Returns the rows (T · n,) of the time-major batch in packed order, first steps of all stretches first and longer stretches before
    shorter ones; how many stretches have a first, second, … step (on the CPU); and the row of each stretch's first step.
    """
    steps, n = start.shape
    time = torch.arange(steps, device=start.device)[:, None]
    began = torch.where(start, time, 0).cummax(dim=0).values  # when the stretch of each step did
    stretch = (n * began + torch.arange(n, device=start.device)).flatten()  # named by the row of its first step
    position = (time - began).flatten()
    length = torch.bincount(stretch, minlength=steps * n)
    by_length = length.argsort(descending=True, stable=True)
    rank = torch.empty_like(by_length).index_copy_(0, by_length, torch.arange(steps * n, device=start.device))
    order = (position * (steps * n) + rank[stretch]).argsort()
    batch_sizes = torch.bincount(position).cpu()
    return order, batch_sizes, by_length[: int(batch_sizes[0])]
