"""Solve (I - A) x = b where A is known only by its products with vectors: γ times the transitions of a chain, or their transpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse.linalg as sla

from optioncoagent.exact.solve import MAX_GROWTH, TOLERANCE
from optioncoagent.exact.tick import INSTEAD
from optioncoagent.network import FloatArray

Product = Callable[[FloatArray], FloatArray]

AIM = 1e-13  # residual that needs no further round
REDUCTION = 1e-7  # of the residual, in one round: further down, rounding errors of the recursions count
MAX_STEPS = 2_000  # of BiCGSTAB in a round, two products each
RESTART, MAX_RESTARTS = 20, 20  # of GMRES in a round
MAX_TERMS = 5_000  # of the series, where the chain has cycles


def solve(product: Product, right: FloatArray, acyclic: bool, words: str, visits: bool = False) -> FloatArray:
    """x (n,) with x = b + A x; product: v -> A v.

    acyclic: A is nilpotent, so that the series b + A b + A² b + … ends, and is summed. Else by BiCGSTAB, in rounds of iterative refinement
    (see "Accuracy and Stability of Numerical Algorithms" by Higham, chapter 12); where a round does not bring the residual down, GMRES goes
    on, then the series. Raises ValueError, calling the system `words`, if max |b + A x - x| / (max |b| + max |x|) stays above TOLERANCE.
    visits: x are visits, not values, which grow over the sum of |b| and not over its largest (see `solve.MAX_GROWTH`).
    """
    scale = float(np.abs(right).max(initial=0.0))
    if scale == 0:
        return np.zeros_like(right)
    x, left, error = np.zeros_like(right), right, 1.0
    for method in (_series,) if acyclic else (_bicgstab, _gmres, _series):
        falling = True
        while falling and error > AIM and (method is not _series or error > TOLERANCE):
            refined = x + method(product, left, right.size if acyclic else MAX_TERMS)
            after = right + product(refined) - refined
            new = float(np.abs(after).max() / (scale + np.abs(refined).max())) if np.isfinite(refined).all() else np.inf
            falling = new < error / 10
            if new < error:
                x, left, error = refined, after, new
    if error > TOLERANCE or np.abs(x).max() > MAX_GROWTH * (np.abs(right).sum() if visits else scale):
        raise ValueError(
            f"{words} has no accurate solution by iteration (residual {error:.1e}): it mixes too slowly, or some node ends with a "
            f"probability too small for float64; scale the logits down, lower gamma or let fewer outputs be retained. {INSTEAD}"
        )
    return x


def _bicgstab(product: Product, right: FloatArray, terms: int) -> FloatArray:
    with np.errstate(all="ignore"):  # of a breakdown the residual tells
        return sla.bicgstab(_operator(product, right), right, rtol=REDUCTION, atol=0.0, maxiter=MAX_STEPS)[0]


def _gmres(product: Product, right: FloatArray, terms: int) -> FloatArray:
    return sla.gmres(_operator(product, right), right, rtol=REDUCTION, atol=0.0, restart=RESTART, maxiter=MAX_RESTARTS)[0]


def _series(product: Product, right: FloatArray, terms: int) -> FloatArray:
    """Σ_k A^k b, until a term is too small to matter."""
    total = term = right
    for _ in range(terms):
        term = product(term)
        total = total + term
        if not np.abs(term).max() > AIM / 100 * np.abs(total).max():
            break
    return total


def _operator(product: Product, right: FloatArray) -> sla.LinearOperator:
    return sla.LinearOperator((right.size, right.size), matvec=lambda x: x - product(x), dtype=np.float64)
