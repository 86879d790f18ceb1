"""Which nodes of a chain are reached from which, and the error where γ = 1 and there is no way to the end."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def spread(source: NDArray[np.int64], target: NDArray[np.int64], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Nodes that a walk along the edges source -> target reaches from the seeds (N,), seeds included."""
    graph = sp.csr_array((np.ones(source.size, dtype=bool), (source, target)), shape=(seeds.size, seeds.size))
    reached, frontier = seeds.copy(), np.flatnonzero(seeds)
    while frontier.size:
        successors = np.unique(graph.indices[ranges(graph.indptr[frontier], graph.indptr[frontier + 1])])
        frontier = successors[~reached[successors]]
        reached[frontier] = True
    return reached


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
