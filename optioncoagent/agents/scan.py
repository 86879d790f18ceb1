"""Gated recurrent units over sequences on a processor: compiled loops in place of an operation of torch for each step and gate.

    [r; z] = σ(x_rz + W_rz h + b_rz)    n = tanh(x_n + r (W_n h + b_n))    h' = (1 - z) n + z h

with h = 0 before a step that starts an episode. Units are few and minibatches hold few sequences, long ones: what torch's own units take
is the calls, hundreds of steps long, one after the other; here the arithmetic is what is left. The equations are torch's (`nn.GRU`), which
other devices run. A batch is time-major: row t n + i is step t of sequence i. Gates lie side by side in the order r, z, n.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from optioncoagent.compiling import njit


class Units(torch.autograd.Function):
    """The states (T n, u) after every step of the units with inputs `given` = W_ih x + b_ih (T n, 3 u), from `hidden` (n, u) on.

    start: (T n,) bool. weight: W (3 u, u); bias: b (3 u,).
    """

    @staticmethod
    def forward(ctx: Any, given: Tensor, start: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        gates = given.new_empty(given.shape)  # in rows one after the other, however those of `given` lie
        before, after, inner = (given.new_empty(len(given), hidden.shape[1]) for _ in range(3))
        _forward(*map(_array, (given, start, hidden, weight.T, bias, before, after, gates, inner)))
        ctx.save_for_backward(start, weight, before, gates, inner)
        ctx.num_sequences = len(hidden)
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Any) -> Any:
        start, weight, before, gates, inner = ctx.saved_tensors
        of_given, of_product = torch.empty_like(gates), torch.empty_like(gates)  # of W_ih x + b_ih, of W h + b
        of_hidden = before.new_zeros(ctx.num_sequences, before.shape[1])
        _backward(*map(_array, (upstream[0], start, weight, before, gates, inner, of_given, of_product, of_hidden)))
        return of_given, None, of_hidden, of_product.T @ before, of_product.sum(dim=0)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


@njit(cache=True, nogil=True, fastmath={"contract"})
def _forward(given, start, hidden, weight, bias, before, after, gates, inner):
    """weight: W transposed, (u, 3 u), so that the innermost loop runs along memory. inner: W_n h + b_n."""
    n, u = hidden.shape
    one = given.dtype.type(1)
    product = np.empty((n, 3 * u), given.dtype)
    for first in range(0, len(given), n):
        for i in range(n):
            for k in range(u):
                carried = hidden[i, k] if first == 0 else after[first - n + i, k]
                before[first + i, k] = given.dtype.type(0) if start[first + i] else carried
            for j in range(3 * u):
                product[i, j] = bias[j]
        for k in range(u):
            for i in range(n):
                factor = before[first + i, k]
                for j in range(3 * u):
                    product[i, j] += factor * weight[k, j]
        for i in range(n):
            row = first + i
            for j in range(2 * u):
                gates[row, j] = one / (one + math.exp(-(given[row, j] + product[i, j])))
            for k in range(u):
                r, z, h_n = gates[row, k], gates[row, u + k], product[i, 2 * u + k]
                new = math.tanh(given[row, 2 * u + k] + r * h_n)
                inner[row, k] = h_n
                gates[row, 2 * u + k] = new
                after[row, k] = new + z * (before[row, k] - new)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _backward(upstream, start, weight, before, gates, inner, of_given, of_product, of_hidden):
    """From the last step to the first; of_hidden carries ∂ of the state between steps, and at the end is that of the first state."""
    n, u = of_hidden.shape
    one = upstream.dtype.type(1)
    for first in range(len(upstream) - n, -1, -n):
        for i in range(n):
            row = first + i
            for k in range(u):
                r, z, new, h = gates[row, k], gates[row, u + k], gates[row, 2 * u + k], before[row, k]
                of_after = upstream[row, k] + of_hidden[i, k]
                of_new = of_after * (one - z) * (one - new * new)
                of_r = of_new * inner[row, k] * r * (one - r)
                of_z = of_after * (h - new) * z * (one - z)
                of_given[row, k] = of_product[row, k] = of_r
                of_given[row, u + k] = of_product[row, u + k] = of_z
                of_given[row, 2 * u + k], of_product[row, 2 * u + k] = of_new, of_new * r
                of_hidden[i, k] = of_after * z
        for j in range(3 * u):
            for i in range(n):
                factor = of_product[first + i, j]
                for k in range(u):
                    of_hidden[i, k] += factor * weight[j, k]
        for i in range(n):
            if start[first + i]:
                of_hidden[i, :] = 0
