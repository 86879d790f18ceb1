"""Solve (I - A) x = b where A is known only by its products with vectors: γ times the transitions of a chain, or their transpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse.linalg as sla

from optioncoagent.exact.solve import MAX_GROWTH, TOLERANCE
from optioncoagent.network import FloatArray

AIM = 1e-13  # residual at which an iteration is content
MAX_STEPS = 300  # of BiCGSTAB
RESTART, MAX_RESTARTS = 20, 30  # of GMRES
MAX_TERMS = 5_000  # of the Neumann series, where the chain has cycles


def solve(product: Callable[[FloatArray], FloatArray], right: FloatArray, acyclic: bool, words: str) -> tuple[FloatArray, float]:
    """x (n,) with x = b + A x, and its residual max |b + A x - x| / (max |b| + max |x|).

    acyclic: A is nilpotent, so that the series b + A b + A² b + … ends, and is summed. Else BiCGSTAB, GMRES and the series take turns, each
    from where the last one left off. Raises ValueError, calling the system `words`, where none gives an accurate answer.
    """
    scale = float(np.abs(right).max(initial=0.0))
    if scale == 0:
        return np.zeros_like(right), 0.0

    def residual(x: FloatArray) -> float:
        return float(np.abs(right + product(x) - x).max() / (scale + np.abs(x).max())) if np.isfinite(x).all() else np.inf

    operator = sla.LinearOperator((right.size, right.size), matvec=lambda x: x - product(x), dtype=np.float64)
    best, error = np.zeros_like(right), 1.0
    for method in (_series,) if acyclic else (_bicgstab, _gmres, _series):
        x = method(operator, product, right, best, right.size if acyclic else MAX_TERMS)
        if (new := residual(x)) < error:
            best, error = x, new
        if error <= AIM:
            break
    if not error <= TOLERANCE or np.abs(best).max() > MAX_GROWTH * scale:
        raise ValueError(
            f"{words} has no accurate solution by iteration (residual {error:.1e}): it mixes or ends too slowly; scale the logits down, lower "
            "gamma, or let the network retain less, so that its transition matrix can be built"
        )
    return best, error


def _bicgstab(operator: sla.LinearOperator, product: object, right: FloatArray, x: FloatArray, terms: int) -> FloatArray:
    with np.errstate(all="ignore"):
        return sla.bicgstab(operator, right, x0=x, rtol=AIM / 10, atol=0.0, maxiter=MAX_STEPS)[0]


def _gmres(operator: sla.LinearOperator, product: object, right: FloatArray, x: FloatArray, terms: int) -> FloatArray:
    return sla.gmres(operator, right, x0=x, rtol=AIM / 10, atol=0.0, restart=RESTART, maxiter=MAX_RESTARTS)[0]


def _series(
    operator: object, product: Callable[[FloatArray], FloatArray], right: FloatArray, x: FloatArray, terms: int
) -> FloatArray:
    """x + Σ_k A^k (b + A x - x), until a term is too small to matter."""
    term = right + product(x) - x
    for _ in range(terms):
        x = x + term
        term = product(term)
        if not np.abs(term).max() > AIM / 100 * np.abs(x).max():
            break
    return x + term
