"""What the outputs of a coagent do in a level, cell by cell, from exact occupancies: an option's, if it chooses among options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optioncoagent.exact import output_occupancies
from optioncoagent.maps.plans import NOWHERE, FloorPlan
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CellMaps:
    """Quantities of the O outputs of a coagent over C cells, and its name; times are discounted.

    policy: (O, F, C, A), mean action probabilities under an output for each facing (F = 1 where there is none), weighted by time; NaN
    where it never is in force. time: (O, F, C), share of all time that the output is in force there, facing so. ends: (O, C), mean
    probability that the coagent executes, and so may choose another, on arrival there; NaN where the output never arrives. arrivals:
    (O, C), share of all arrivals. chosen: (O, C), share of all choices. length: (O,), mean number of steps from a choice to the next.
    """

    name: str
    policy: FloatArray
    time: FloatArray
    ends: FloatArray
    arrivals: FloatArray
    chosen: FloatArray
    length: FloatArray


def cell_maps(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], plan: FloorPlan, name: str) -> CellMaps:
    """The maps of coagent `name`. Raises ValueError as `output_occupancies` does."""
    found = output_occupancies(mdp, network, params, name)
    num_facings = 1 if plan.facing is None else 4
    facing = np.zeros(mdp.num_states, dtype=np.int64) if plan.facing is None else plan.facing
    live = (plan.cell != NOWHERE) & ~mdp.terminal

    def add_up(weights: FloatArray) -> FloatArray:
        """(S, O, …) to (O, F, C, …): sums over the states of each pose."""
        total = np.zeros((num_facings, plan.num_cells, *weights.shape[1:]))
        np.add.at(total, (facing[live], plan.cell[live]), weights[live])
        return np.moveaxis(total, 2, 0)

    actions = add_up(found.running)
    time = actions.sum(axis=-1)
    arrivals, ends, chosen = (add_up(weights).sum(axis=1) for weights in (found.arrivals, found.ends, found.chosen))
    with np.errstate(invalid="ignore", divide="ignore"):
        return CellMaps(
            name=name,
            policy=actions / time[..., None],
            time=time / time.sum(),
            ends=ends / arrivals,
            arrivals=arrivals / arrivals.sum(),
            chosen=chosen / chosen.sum(),
            length=time.sum(axis=(1, 2)) / chosen.sum(axis=1),
        )
