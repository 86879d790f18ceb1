"""What the options of an agent do in a level, cell by cell, from exact occupancies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optioncoagent.exact import option_values
from optioncoagent.gallery import TERMINATE
from optioncoagent.maps.plans import NOWHERE, FloorPlan
from optioncoagent.mdp import MDP
from optioncoagent.network import softmax

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CellMaps:
    """Quantities of flat option-critic's options over C cells; times are discounted.

    policy: (O, F, C, A), mean action probabilities of an option for each facing (F = 1 where there is none), weighted by time; NaN where
    it never is. time: (O, F, C), share of all time that the option runs there, facing so. termination: (O, C), mean probability that it
    ends on arrival there; NaN where it never arrives. arrivals: (O, C), share of all such decisions. chosen: (O, C), share of all choices.
    length: (O,), mean number of steps from a choice to the next.
    """

    policy: FloatArray
    time: FloatArray
    termination: FloatArray
    arrivals: FloatArray
    chosen: FloatArray
    length: FloatArray


def cell_maps(mdp: MDP, params: Mapping[str, Any], plan: FloorPlan, **convention: Any) -> CellMaps:
    """params, convention: as `option_values` takes them. ValueError for a network that is not flat option-critic."""
    values = option_values(mdp, params, **convention)
    policies = {name: softmax(np.asarray(logits, dtype=np.float64))[mdp.observation] for name, logits in params.items()}
    num_options = policies["option"].shape[1]
    num_facings = 1 if plan.facing is None else 4
    facing = np.zeros(mdp.num_states, dtype=np.int64) if plan.facing is None else plan.facing
    live = (plan.cell != NOWHERE) & ~mdp.terminal

    def add_up(weights: FloatArray) -> FloatArray:
        """(S, O, …) to (O, F, C, …): sums over the states of each pose."""
        total = np.zeros((num_facings, plan.num_cells, *weights.shape[1:]))
        np.add.at(total, (facing[live], plan.cell[live]), weights[live])
        return np.moveaxis(total, 2, 0)

    time = add_up(values.d_z)
    actions = add_up(values.d_z[:, :, None] * policies["action"])
    arrivals = add_up(values.d_beta).sum(axis=1)
    ends = add_up(values.d_beta * policies["termination"][:, :, TERMINATE]).sum(axis=1)
    chosen = add_up(values.d_omega[:, None] * policies["option"]).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return CellMaps(
            policy=actions / time[..., None],
            time=time / time.sum(),
            termination=ends / arrivals,
            arrivals=arrivals / arrivals.sum(),
            chosen=chosen / chosen.sum(),
            length=time.reshape(num_options, -1).sum(axis=1) / chosen.sum(axis=1),
        )
