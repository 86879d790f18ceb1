"""Every way that one tick of a network can go, with its probability."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from optioncoagent.network import FloatArray, IntArray
from optioncoagent.simulate.wiring import Wiring


class TooLarge(Exception):
    """A table would have more entries than it may: whoever asked for it does without, or says so."""


@dataclass
class Ticks:
    """Partial ticks as columns: the node they leave, their probability, the variables of `wiring`, entries drawn from, cost so far."""

    node: IntArray
    probability: FloatArray
    variables: IntArray
    visits: IntArray
    cost: FloatArray

    def take(self, index: IntArray, factor: FloatArray) -> Ticks:
        return Ticks(self.node[index], self.probability[index] * factor, self.variables[:, index], self.visits[:, index], self.cost[index])


def tick_law(policies: FloatArray, wiring: Wiring, variables: IntArray, gated: bool, limit: int) -> Ticks:
    """Every way the tick can go from every node, coagent by coagent in order. Raises TooLarge beyond `limit` ways."""
    m, n = wiring.num_outputs.size, variables.shape[1]
    ticks = Ticks(np.arange(n), np.ones(n), variables, np.full((m, n), wiring.num_parameters), np.zeros(n))
    for i in range(m):
        gate = wiring.gates[wiring.gate_first[i] + wiring.gate_strides[i] @ ticks.variables]
        retaining, executing = np.flatnonzero(gate < 1), np.flatnonzero(gate > 0)
        outputs = int(wiring.num_outputs[i])
        if retaining.size + executing.size * outputs > limit:
            raise TooLarge

        # E_t^i = 0: U_t^i = U_{t-1}^i
        kept = ticks.take(retaining, 1 - gate[retaining])
        kept.variables[2 + i] = kept.variables[2 + m + i]
        if not gated:
            row = wiring.policy_first[i] + wiring.policy_strides[i] @ kept.variables
            kept.visits[i] = row + kept.variables[2 + i]

        # E_t^i = 1: U_t^i ~ π_i(X_t^i, ·)
        drawn = ticks.take(np.repeat(executing, outputs), np.repeat(gate[executing], outputs))
        drawn.variables[2 + i] = np.tile(np.arange(outputs), executing.size)
        entry = wiring.policy_first[i] + wiring.policy_strides[i] @ drawn.variables + drawn.variables[2 + i]
        drawn.visits[i] = entry
        drawn.probability *= policies[entry]
        drawn.cost += np.where(drawn.variables[0] == 1, 0.0, wiring.costs[i])

        both = Ticks(*(np.concatenate((getattr(kept, f.name), getattr(drawn, f.name)), axis=-1) for f in fields(Ticks)))
        possible = np.flatnonzero(both.probability > 0)
        ticks = both.take(possible, np.ones(possible.size))
    return ticks
