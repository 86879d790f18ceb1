"""The first layer of an encoder on indicators that are nearly all zero, as those of MiniGrid's codes are: three in 21 for each cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from optioncoagent.compiling import njit


class FirstLayer(torch.autograd.Function):
    """[x, c 1{cells}] Wᵀ + b for numbers x (n, m) and indicators of cells, given as the columns (n, k) where they are 1; W (h, m + size).

    Forward the indicators are a sum of k columns of W, backward gᵀ 1{cells} adds rows of g to columns: see `sums`, and for usual (k,).
    lookup: `looked_up(weight, size)`, if it is there already.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, columns: Tensor, usual: Tensor, weight: Tensor, bias: Tensor, scale: float, lookup: Tensor | None = None
    ) -> Tensor:
        ctx.save_for_backward(x, columns, usual, weight)
        ctx.scale = scale
        numbers = x.shape[1]
        lookup = looked_up(weight, weight.shape[1] - numbers) if lookup is None else lookup
        return torch.addmm(bias, x, weight[:, :numbers].T).add_(F.embedding_bag(columns, lookup, mode="sum"), alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Any) -> Any:
        (gradient,), (x, columns, usual, weight) = upstream, ctx.saved_tensors
        numbers = x.shape[1]
        of_x = gradient @ weight[:, :numbers] if ctx.needs_input_grad[0] else None
        of_weight = torch.empty_like(weight)
        torch.mm(gradient.T, x, out=of_weight[:, :numbers])
        of_weight[:, numbers:] = sums(columns, usual, ctx.scale * gradient, weight.shape[1] - numbers).T
        return of_x, None, None, of_weight, gradient.sum(dim=0), None, None


def looked_up(weight: Tensor, size: int) -> Tensor:
    """The last columns of W as rows one after the other, (size, h)."""
    return weight.detach()[:, weight.shape[1] - size :].T.contiguous()


def indicators(columns: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Rows (n, size) that are 1 in these columns (n, k), else 0. (torch.nn.functional.one_hot makes them of eight bytes each, and looks for
    the least and the largest column first.)"""
    return torch.zeros(len(columns), size, dtype=dtype, device=columns.device).scatter_(1, columns.long(), 1.0)


def sums(columns: Tensor, usual: Tensor, rows: Tensor, size: int) -> Tensor:
    """`indicators(columns, size)`ᵀ rows, (size, h), of rows (n, h). usual (k,): the column that each of the k mostly is, as of what is not
    seen, so that little is to be added where it is another."""
    if rows.device.type != "cpu":
        return indicators(columns, size, rows.dtype).T @ rows
    added = rows.new_zeros(size, rows.shape[1])
    _add(columns.contiguous().numpy(), usual.numpy(), rows.contiguous().numpy(), added.numpy())
    return added


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add(columns: np.ndarray, usual: np.ndarray, rows: np.ndarray, added: np.ndarray) -> None:
    """added[c] += rows[i] for every column c of row i: all rows to the usual columns, and from there to others where they are others."""
    of_all = np.zeros(rows.shape[1], rows.dtype)
    for i in range(len(rows)):
        for k in range(rows.shape[1]):
            of_all[k] += rows[i, k]
        for j in range(columns.shape[1]):
            c, u = columns[i, j], usual[j]  # read once, or the innermost loop cannot run on several numbers at a time
            if c != u:
                for k in range(rows.shape[1]):
                    added[c, k] += rows[i, k]
                    added[u, k] -= rows[i, k]
    for u in usual:
        for k in range(rows.shape[1]):
            added[u, k] += of_all[k]
