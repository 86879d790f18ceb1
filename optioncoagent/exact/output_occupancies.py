"""How often each output of one coagent is in force, and where: option-critic's d_z and d_β, for any coagent of any network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from optioncoagent.exact.chain import chain
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork, FloatArray


@dataclass(frozen=True)
class OutputOccupancies:
    """Occupancies of the U outputs of coagent i, times being discounted; all are 0 at terminal states.

    running (S, U, A)   Σ_{t≥0} γ^t Pr(S_t = s, U^i_t = u, A_t = a)
    chosen (S, U)       Σ_{t≥0} γ^t Pr(S_t = s, U^i_t = u, E^i_t = 1)
    arrivals (S, U)     Σ_{t≥1} γ^t Pr(S_t = s, U^i_{t-1} = u)
    ends (S, U)         Σ_{t≥1} γ^t Pr(S_t = s, U^i_{t-1} = u, E^i_t = 1)
    """

    running: FloatArray
    chosen: FloatArray
    arrivals: FloatArray
    ends: FloatArray


def output_occupancies(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], coagent: str) -> OutputOccupancies:
    """Where the outputs of `coagent` are in force, chosen and given up, on a finite MDP.

    Under a horizon T the states are those of `mdp.unrolled`, t S + s for t = 0 … T. Raises ValueError for a name that is no coagent's, and
    where `expected_return` does.
    """
    network.check_name(coagent)
    mdp = mdp.unrolled
    network, params = _remembered(network, params, coagent)
    made = chain(mdp, network, params)
    structure, occupancy, layout = made.structure, made.occupancy, made.structure.layout
    nodes, num_outputs, later = structure.tick.nodes, network[coagent].num_outputs, ~made.structure.tick.nodes.start

    def of_states(numbers: FloatArray) -> FloatArray:
        """(N, …), added up to (S, …)."""
        total = np.zeros((mdp.num_states, *numbers.shape[1:]))
        np.add.at(total, structure.states, numbers)
        return total

    def of_arrivals(numbers: FloatArray) -> FloatArray:
        """(N,) of nodes, added up to (S, U) by the output of the step before."""
        before = structure.states * num_outputs + nodes.previous[coagent]
        total = np.bincount(before[later], numbers[later], mdp.num_states * num_outputs)
        return total.astype(np.float64, copy=False).reshape(-1, num_outputs)

    index = network.names.index(coagent)
    step, policy = structure.tick.steps[index], made.gathered[index]
    executed = occupancy.reshape(-1, *(1,) * len(step.turn.live)) * made.laws[index] * step.beta
    live = tuple(range(1, executed.ndim))

    # the law of what the next step can see, coagent's output among it, and of the action: (N, M R), to (N, U A)
    law = layout.arrange(structure.tick.forward(made.gathered)[1]).reshape(len(nodes), layout.M * layout.R)
    output = np.unravel_index(np.arange(layout.M), layout.memory_sizes)[layout.memory.index(coagent)]
    column = (output[:, None] * layout.A + layout.action).reshape(-1)
    add_up = sp.csr_array((np.ones(column.size), (np.arange(column.size), column)), shape=(column.size, num_outputs * layout.A))
    return OutputOccupancies(
        running=of_states((occupancy[:, None] * law) @ add_up).reshape(-1, num_outputs, layout.A),
        chosen=of_states((executed[..., None] * policy).sum(axis=live)),
        arrivals=of_arrivals(occupancy),
        ends=of_arrivals(executed.sum(axis=live)),
    )


def _remembered(network: CoagentNetwork, params: Mapping[str, Any], coagent: str) -> tuple[CoagentNetwork, dict[str, Any]]:
    """The same network, with a coagent that looks at this one's output a step later, and does nothing, where nobody else does."""
    if coagent in network.memory:
        return network, dict(params)
    name = "looks_back_at_" + coagent
    onlooker = Coagent(name, 1, observes=False, previous=(coagent,))
    return CoagentNetwork([*network.coagents, onlooker], network.action), {**params, name: np.zeros((network[coagent].num_outputs, 1))}
