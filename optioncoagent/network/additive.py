"""Additive policies: logits that are sums of terms, for coagents that read too many outputs for a table over their joint values.

    z(o, u_1, …, u_m) = T_0[o] + T_1[u_1] + … + T_m[u_m]

(T_0 is one row if the coagent does not observe; u_1 … u_m are upstream, then previous). Terms are held one below the other, an array
(rows, num_outputs) with Σ sizes rows where a table has their product.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from optioncoagent.network.coagent import FloatArray
from optioncoagent.network.description import CoagentNetwork

MAX_ENTRIES = 1 << 26  # of the matrix from terms to a table


def sizes(network: CoagentNetwork, name: str, num_observations: int) -> tuple[int, ...]:
    """How many rows each term of an additive coagent has: T_0, T_1, …."""
    coagent = network[name]
    return (num_observations if coagent.observes else 1, *(network[n].num_outputs for n in (*coagent.upstream, *coagent.previous)))


def indicators(name: str, rows: tuple[int, ...]) -> FloatArray:
    """Which row of each term of a coagent belongs to each row of the table, 0 or 1, (Π rows, Σ rows). ValueError above MAX_ENTRIES."""
    _check_rows(name, rows, sum(rows))
    index = np.indices(rows).reshape(len(rows), -1)
    return np.concatenate([np.eye(size)[of_term] for size, of_term in zip(rows, index, strict=True)], axis=1)


def _check_rows(name: str, rows: tuple[int, ...], columns: int) -> None:
    if prod(rows) * columns > MAX_ENTRIES:
        raise ValueError(
            f"coagent {name!r}: a table over the {len(rows)} things that its policy adds up would have {prod(rows):,} rows, too many: "
            "let it read fewer outputs, or do without the table, as CoagentActorCritic trains it"
        )


def expanded(network: CoagentNetwork, params: Mapping[str, Any], num_observations: int) -> dict[str, FloatArray]:
    """Parameters of `network.tabulated()`: the tables that terms add up to; what are tables already stay as they are."""
    tables = {}
    for name, given in params.items():
        tables[name] = np.asarray(given, dtype=np.float64)
        if network[name].additive:
            rows = sizes(network, name, num_observations)
            _check_rows(name, rows, network[name].num_outputs)
            # term by term, each along an axis of its own: a product with indicators would make NaN of 0 times a logit of -inf
            terms = np.split(tables[name], np.cumsum(rows)[:-1])
            axes = [term.reshape(*(-1 if i == j else 1 for j in range(len(rows))), term.shape[-1]) for i, term in enumerate(terms)]
            total = np.broadcast_to(sum(axes), (*rows, network[name].num_outputs))
            tables[name] = np.array(total if network[name].observes else total[0])
    return tables


def collected(network: CoagentNetwork, gradient: Mapping[str, FloatArray], num_observations: int) -> dict[str, FloatArray]:
    """A gradient with respect to the terms, from one with respect to the tables that they add up to: the transpose of `expanded`."""
    terms = {}
    for name, table in gradient.items():
        terms[name] = table
        if network[name].additive:
            rows = sizes(network, name, num_observations)
            axes, table = range(len(rows)), table.reshape(*rows, -1)
            terms[name] = np.concatenate([table.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes])
    return terms
