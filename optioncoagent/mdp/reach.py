"""Which nodes of a chain are reached from which, and the error where γ = 1 and there is no way to the end."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order


def spread(source: NDArray[np.int64], target: NDArray[np.int64], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Nodes that a walk along the edges source -> target reaches from the seeds (N,), seeds included."""
    n, first = seeds.size, np.flatnonzero(seeds)
    edges = np.append(source, np.full(first.size, n)), np.append(target, first)  # node n leads to every seed
    graph = sp.csr_array((np.ones(edges[0].size, dtype=bool), edges), shape=(n + 1, n + 1))
    reached = np.zeros(n + 1, dtype=bool)
    reached[breadth_first_order(graph, n, return_predecessors=False)] = True
    return reached[:n]


def ranges(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indices start … stop-1 of every pair, one after the other."""
    lengths = stops - starts
    return np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)


def refuse_endless(first: str, count: int, remedy: str = "") -> None:
    """ValueError if there is any: `count` nodes that are reached have no way to the end, `first` in words is one of them."""
    if count:
        raise ValueError(
            f"γ = 1 and an episode may never end: from {first} ({count} such nodes are reached) there is no way to a terminal state, and "
            f"the return is not defined; use gamma < 1{remedy}, or check the MDP's terminal states"
        )
