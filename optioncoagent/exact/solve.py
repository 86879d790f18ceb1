"""Solve (I - γ T) v = r and its transpose, for the T of a Markov chain.

Small systems are dense. Chains that are acyclic in time are back-substituted: ordered along time, I - γ T is triangular and is its own
factor. Of the others, the large ones are iterated for a few steps first, which is enough where a chain mixes fast and a factorisation
would fill in; else they are factorised sparsely. Every answer's residual is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray
from scipy.linalg.lapack import dgetrf, dgetrs

from optioncoagent.mdp.reach import ranges
from optioncoagent.network import FloatArray, IntArray

DENSE_BELOW = 200  # unknowns; a dense factorisation wins below
ITERATE_ABOVE = 1_000  # unknowns of a chain with cycles; smaller ones are factorised in no time
MAX_ITERATIONS = 30  # of BiCGSTAB; a chain that mixes more slowly than that is local, and a factorisation of it does not fill in much
MAX_GROWTH = 1e10  # largest growth, about the number of steps to the end: each factor of ten costs a digit
TOLERANCE = 1e-10  # largest residual |r - (I - γ T) v| relative to |r| + |v| that is accepted
TOO_LONG = "some reachable node ends with a probability too small for float64; scale the logits down or lower gamma"


class Pattern:
    """Where the entries of T are, (n, n); compiled once, its values change with the parameters.

    rows, columns: (k,) positions, none twice. order: of time, where the chain is large and acyclic, else None.
    """

    def __init__(self, rows: IntArray, columns: IntArray, size: int):
        self.rows, self.columns, self.size = rows, columns, size
        self.order = None if size < DENSE_BELOW else _topological_order(rows, columns, size)
        self._flat = rows * size + columns

    def factorise(self, entries: FloatArray, gamma: float, fault: str = TOO_LONG) -> System:
        """The system I - γ T with T's entries (k,) in the order of rows and columns. fault: why it may have no accurate answer."""
        return System(self, self._dense(entries, gamma) if self.size < DENSE_BELOW else self._sparse(entries, gamma), fault)

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
    """I - γ T, to be solved. After a solve, `method` says how it went, and `residual` is the largest relative residual so far."""

    pattern: Pattern
    matrix: FloatArray | sp.csc_array
    fault: str = TOO_LONG
    method: str = ""
    residual: float = 0.0

    def solve(self, right: FloatArray, transposed: bool = False) -> FloatArray:
        """Solve (I - γ T) v = right, or its transpose; right (n,). Raises ValueError where the system has no accurate answer."""
        if self.pattern.size == 0:
            return np.zeros(0)
        order = self.pattern.order
        permuted = right if order is None else right[order]
        solution = self._apply_inverse(permuted, transposed)
        residual = self._residual(solution, permuted, transposed)
        # |v|_max <= growth |r|_max, and of the transpose, whose answers are visits, <= growth |r|_1
        given = np.abs(permuted).sum() if transposed else np.abs(permuted).max()
        if not residual <= TOLERANCE or np.abs(solution).max() / MAX_GROWTH > given:
            raise ValueError(
                f"the chain's linear system ({self.pattern.size} nodes, {self.method}) has no accurate solution "
                f"(residual {residual:.1e}): {self.fault}"
            )
        self.residual = max(self.residual, residual)
        if order is None:
            return solution
        restored = np.empty_like(solution)
        restored[order] = solution
        return restored

    def _residual(self, solution: FloatArray, right: FloatArray, transposed: bool) -> float:
        """max |right - (I - γ T) v| / (max |right| + max |v|)."""
        if not np.isfinite(solution).all():
            return np.inf
        scale = np.abs(right).max() + np.abs(solution).max()
        error = np.abs(right - (self.matrix.T if transposed else self.matrix) @ solution).max()
        return float(error / scale) if scale else 0.0

    def _apply_inverse(self, right: FloatArray, transposed: bool) -> FloatArray:
        if isinstance(self.matrix, np.ndarray):
            self.method = "dense"
            lu, pivots, _ = self._dense_factors
            return dgetrs(lu, pivots, right, trans=0 if transposed else 1)[0]
        if self.pattern.order is None and self.pattern.size > ITERATE_ABOVE and self.method != "sparse LU":
            self.method = "iterative"
            matrix, largest = self.matrix.T if transposed else self.matrix, np.abs(right).max()
            unit = right / largest if largest else right  # its squares neither overflow nor vanish
            solution, unfinished = sla.bicgstab(matrix, unit, rtol=1e-13, atol=0.0, maxiter=MAX_ITERATIONS)
            if not unfinished and self._residual(solution, unit, transposed) <= TOLERANCE:
                return solution * largest
        self.method = "sparse LU" if self.pattern.order is None else "back-substitution"
        return self._sparse_factors.solve(right, trans="T" if transposed else "N")

    @cached_property
    def _dense_factors(self) -> tuple[FloatArray, NDArray[np.int32], int]:
        return dgetrf(self.matrix.T)  # of the transpose, which is in Fortran's order already

    @cached_property
    def _sparse_factors(self) -> sla.SuperLU:
        # a triangular matrix in its own order does not fill in; else order by minimum degree, and pivot on the diagonal, which dominates
        order = "MMD_AT_PLUS_A" if self.pattern.order is None else "NATURAL"
        try:
            return sla.splu(self.matrix, permc_spec=order, diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        except RuntimeError as error:
            raise ValueError(f"the chain's linear system ({self.pattern.size} nodes) is singular: {self.fault}") from error


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
