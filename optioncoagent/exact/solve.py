"""Solve (I - γ T) v = r and its transpose, for the T of a Markov chain.

Small systems are dense. Chains that are acyclic in time are back-substituted: ordered along time, I - γ T is triangular and its
factors are itself. Others are factorised sparsely, and where a factorisation would fill in, iterated, with the residual checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray
from scipy.linalg.lapack import dgetrf, dgetrs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DENSE_BELOW = 200  # unknowns; a dense factorisation wins below
ITERATE_ABOVE = 30_000  # unknowns of a chain with cycles; a sparse factorisation fills in above
TOLERANCE = 1e-10  # largest residual |r - (I - γ T) v| relative to |r| + |v| that is accepted


class Pattern:
    """Where the entries of T are, (n, n); compiled once, its values change with the parameters.

    rows, columns: (k,) positions, none twice. method: "dense", "back-substitution", "sparse LU" or "iterative".
    """

    def __init__(self, rows: IntArray, columns: IntArray, size: int):
        self.rows, self.columns, self.size = rows, columns, size
        self.order = None if size < DENSE_BELOW else _topological_order(rows, columns, size)
        if size < DENSE_BELOW:
            self.method = "dense"
        elif self.order is not None:
            self.method = "back-substitution"
        else:
            self.method = "sparse LU" if size < ITERATE_ABOVE else "iterative"
        self._flat = rows * size + columns

    def factorise(self, entries: FloatArray, gamma: float) -> System:
        """The system I - γ T with T's entries (k,) in the order of rows and columns."""
        return System(self, self._dense(entries, gamma) if self.method == "dense" else self._sparse(entries, gamma))

    def _dense(self, entries: FloatArray, gamma: float) -> FloatArray:
        matrix = np.zeros(self.size * self.size)
        matrix[self._flat] = -gamma * entries
        matrix[:: self.size + 1] += 1.0
        return matrix.reshape(self.size, self.size)

    def _sparse(self, entries: FloatArray, gamma: float) -> sp.csc_array:
        indices, indptr, position, diagonal = self._compressed
        values = np.zeros(indices.size)
        values[position] = -gamma * entries
        values[diagonal] += 1.0
        return sp.csc_array((values, indices, indptr), shape=(self.size, self.size))

    @cached_property
    def _compressed(self) -> tuple[NDArray[np.int32], NDArray[np.int32], IntArray, IntArray]:
        """csc structure of T + I, in the order of `order`; where the entries of T, and the diagonal, lie in it."""
        rank = np.arange(self.size)
        if self.order is not None:
            rank[self.order] = np.arange(self.size)
        rows, columns = (np.concatenate([rank[index], np.arange(self.size)]) for index in (self.rows, self.columns))
        keys, position = np.unique(columns * self.size + rows, return_inverse=True)
        indptr = np.searchsorted(keys, np.arange(self.size + 1) * self.size)
        split = self.rows.size
        return (keys % self.size).astype(np.int32), indptr.astype(np.int32), position[:split], position[split:]


@dataclass
class System:
    """A factorised I - γ T. `solve` checks every answer; `residual` is the largest relative residual so far."""

    pattern: Pattern
    matrix: FloatArray | sp.csc_array
    residual: float = 0.0

    def solve(self, right: FloatArray, transposed: bool = False) -> FloatArray:
        """Solve (I - γ T) v = right, or its transpose; right (n,). Raises ValueError where the system has no accurate answer."""
        if self.pattern.size == 0:
            return np.zeros(0)
        order = self.pattern.order
        permuted = right if order is None else right[order]
        solution = self._apply_inverse(permuted, transposed)
        matrix = self.matrix.T if transposed else self.matrix
        residual = np.inf
        if np.isfinite(solution).all():
            scale = np.abs(permuted).max() + np.abs(solution).max()
            residual = float(np.abs(permuted - matrix @ solution).max() / scale) if scale else 0.0
        if not residual <= TOLERANCE:
            raise ValueError(
                f"the chain's linear system ({self.pattern.size} nodes, {self.pattern.method}) was solved to a residual of {residual:.1e} "
                "only: some reachable node ends with a probability too small for float64; scale the logits down or lower gamma"
            )
        self.residual = max(self.residual, residual)
        if order is None:
            return solution
        restored = np.empty_like(solution)
        restored[order] = solution
        return restored

    def _apply_inverse(self, right: FloatArray, transposed: bool) -> FloatArray:
        if self.pattern.method == "dense":
            lu, pivots, _ = self._lu_dense
            return dgetrs(lu, pivots, right, trans=0 if transposed else 1)[0]
        if self.pattern.method == "iterative":
            matrix = self.matrix.T if transposed else self.matrix
            solution, failed = sla.bicgstab(matrix, right, rtol=1e-13, atol=0.0, maxiter=2000)
            if not failed:
                return solution
        return self._lu_sparse.solve(right, trans="T" if transposed else "N")

    @cached_property
    def _lu_dense(self) -> tuple[FloatArray, NDArray[np.int32], int]:
        return dgetrf(self.matrix.T)  # of the transpose, which is in Fortran's order already

    @cached_property
    def _lu_sparse(self) -> sla.SuperLU:
        natural = self.pattern.order is not None
        try:
            return sla.splu(
                self.matrix,
                permc_spec="NATURAL" if natural else "MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:
            raise ValueError(f"the chain's linear system is singular: some reachable node never ends ({error})") from error


def _topological_order(rows: IntArray, columns: IntArray, size: int) -> IntArray | None:
    """Nodes so that every entry goes from an earlier to a later one; None for a chain with a cycle."""
    graph = sp.csr_array((np.ones(rows.size, dtype=np.int8), (rows, columns)), shape=(size, size))
    waiting = np.bincount(columns, minlength=size)
    layer = np.flatnonzero(waiting == 0)
    order = [layer]
    while layer.size:
        starts, stops = graph.indptr[layer], graph.indptr[layer + 1]
        successors = graph.indices[ranges(starts, stops)]
        reached, counts = np.unique(successors, return_counts=True)
        waiting[reached] -= counts
        layer = reached[waiting[reached] == 0]
        order.append(layer)
    found = np.concatenate(order)
    return found if found.size == size else None


def ranges(starts: IntArray, stops: IntArray) -> IntArray:
    """The indices start … stop-1 of every pair, one after the other."""
    lengths = stops - starts
    return np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
