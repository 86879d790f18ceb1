"""Gradient forms for the simulator, as tables: what every way in which a step can go adds to the estimate.

All start from one sample, the score of each output that was drawn against the value that is known of it a step later,

    g_t = Σ_i E_t^i ∂ln π_i(X_t^i, U_t^i) (R_t + γ W_0(S_{t+1}, memory) - c_t^i - b_i(X_t^i)),

W_0 the value upon arrival, c^i the costs of coagents after i at this step, b_i(x) the mean of what stands before it where i executes in x.
Its expectation is the gradient where the critic is exact. Forms that are its expectation given something have the same mean and at each
step no more variance. So has "given_action" beside multi-updates, of which it is the expectation too where no policy gives an
output probability 0: Σ_x Pr(x|n,u) μ(u|n)/π(u|x) = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from optioncoagent.mdp import MDP
from optioncoagent.mdp.reach import ranges
from optioncoagent.network import CoagentNetwork, FloatArray, IntArray
from optioncoagent.simulate.tables import MAX_ENTRIES, Steps, WalkTable, alias_rows, check_ends, enumerate_steps
from optioncoagent.simulate.ticks import TooLarge
from optioncoagent.simulate.wiring import Wiring, dynamics

FORMS = {
    "score": "Sampled returns: E (G_t - b(S_t)) ∂ln π. It needs no critic.",
    "one_step": "g_t itself: one step, then the critic.",
    "posterior": "The expectation of each coagent's term over its own output, given those of all others; of the action's, one_step.",
    "expected": "The expectation of each coagent's term over its own output, where it executes.",
    "marginal": "The expectation over the whole tick, given its start: over who executes and over all outputs.",
    "given_action": "The expectation over the tick given its start, the action and where it leads: what can be known without a model.",
    "multi_update": "Of the action coagent: all it could have read learns from its output, by importance weights, each with its own value; "
    "biased where a policy gives an output probability 0.",
    "multi_update_running": "The same with the value of what it did read (Flexible Option Learning's code): biased.",
}


def form_table(
    mdp: MDP, network: CoagentNetwork, policies: FloatArray, wiring: Wiring, form: str, critic: Any, must_end: bool = False
) -> tuple[WalkTable, sp.csr_array]:
    """A table to walk through, and what its visits add, (visits, num_parameters); the last visit is that of an entry never drawn.

    critic: Q(s, K), (S, *sizes of K). must_end: raise the ValueError of `check_ends`. Raises ValueError, too, for a network whose table
    would be too large, and for a multi-update of a network whose action is not one coagent, the last, that always executes.
    """
    last = network.names[-1]
    if form.startswith("multi_update") and (network.action != (last,) or network.may_retain(last)):
        raise ValueError(f"form={form!r} is for networks whose last coagent is the whole action and always executes, which {last!r} is not")
    try:
        steps = enumerate_steps(mdp, network, policies, wiring, dynamics(mdp))
        if must_end:
            check_ends(steps.transitions.node, steps.transitions.successor, steps.nodes.first_node, steps.nodes.state)
        visit, weights = _weights(mdp, network, policies, wiring, steps, form, _critic(mdp, network, critic, form))
        table = alias_rows(steps.nodes, steps.transitions.with_visits(visit), weights.shape[0], MAX_ENTRIES)
    except TooLarge:
        instead = "the form score samples it"
        raise ValueError(f"form={form!r}: the table of all that can happen in a step would be too large; {instead}") from None
    added = sp.csr_array(weights @ _scores(policies, wiring))
    return table, sp.csr_array(sp.vstack([added, sp.csr_array((1, added.shape[1]))]))


def _critic(mdp: MDP, network: CoagentNetwork, critic: Any, form: str) -> FloatArray:
    if critic is None:
        raise ValueError(f"form={form!r} needs critic=, Q(s, K), as optioncoagent.exact.critic_values gives it")
    if mdp.horizon is not None:
        raise ValueError(f"form={form!r}: under a horizon values depend on the time; give mdp.unrolled and its critic")
    q = np.asarray(critic, dtype=np.float64)
    shape = (mdp.num_states, *(network[name].num_outputs for name in network.critic_inputs))
    if q.shape != shape or not np.isfinite(q).all():
        raise ValueError(
            f"critic has shape {q.shape}: it needs finite numbers of shape {shape}, (states, *sizes of {network.critic_inputs})"
        )
    return q


@dataclass(frozen=True)
class _Law:
    """The law of transitions at each node, and expectations given a group of them, numbered from 0."""

    probability: FloatArray

    def mean(self, group: IntArray, numbers: FloatArray) -> FloatArray:
        """E[numbers | group], of each transition."""
        return (np.bincount(group, weights=self.probability * numbers) / self.mass(group))[group]

    def given(self, group: IntArray, rows: sp.csr_array) -> sp.csr_array:
        """E[rows | group], a row for each group."""
        law = sp.csr_array((self.probability / self.mass(group)[group], (group, np.arange(group.size))))
        return sp.csr_array(law @ rows)

    def mass(self, group: IntArray) -> FloatArray:
        return np.bincount(group, weights=self.probability).astype(np.float64, copy=False)


def _weights(
    mdp: MDP, network: CoagentNetwork, policies: FloatArray, wiring: Wiring, steps: Steps, form: str, q: FloatArray
) -> tuple[IntArray, sp.csr_array]:
    """Which visit each transition makes, and of every visit the weight of each score, (visits, num_parameters)."""
    nodes, ticks, moves = steps
    m, law = len(network.names), _Law(moves.probability)
    outputs, executed = (x[:, moves.tick] for x in (ticks.variables[2 : 2 + m], ticks.visits != wiring.num_parameters))
    target, charged = _targets(mdp, network, steps, q), wiring.costs[:, None] * executed * (ticks.variables[0, moves.tick] == 0)
    # (node, A, S_{t+1}): what is seen of a step from outside
    action = _numbered(moves.node, wiring.action_strides @ outputs, np.append(nodes.state, mdp.num_states)[moves.successor])
    visit = {"expected": moves.tick, "marginal": moves.node, "given_action": action}.get(form, np.arange(moves.node.size))
    terms, prefix = [], moves.node  # (node, U^pre)
    for i in range(m):
        decided, prefix = _numbered(prefix, executed[i]), _numbered(prefix, outputs[i])
        entry, value = ticks.visits[i][moves.tick], target - charged[i + 1 :].sum(axis=0)
        advantage = value - law.mean(decided, value)
        sample = _rows(advantage * executed[i], entry, wiring.num_parameters)
        if form == "expected":
            # E[g | node, U^pre, E_i], on each tick
            _, one_of = np.unique(moves.tick, return_index=True)
            terms.append(law.given(decided, sample)[decided[one_of]])
        elif form == "posterior" and network.names[i] not in network.action:
            # E[g | node, E_i, all outputs but U_i, where they lead]: what is drawn later says what U_i may have been
            others = _numbered(decided, *np.delete(outputs, i, axis=0), moves.successor)
            terms.append(law.given(others, sample)[others])
        elif form in ("marginal", "given_action"):
            # E[g | node], E[g | node, A, S_{t+1}]
            terms.append(law.given(visit, sample))
        elif form.startswith("multi_update") and i == m - 1:
            # Pr(x'|n) π(u|x') / π(u|x) = Pr(x' | n, u) μ(u|n) / π(u|x), μ(u|n) = Σ_x Pr(x|n) π(u|x)
            chosen = _numbered(moves.node, outputs[i])
            ratio = law.mass(chosen)[chosen] / law.mass(moves.node)[moves.node] / policies[entry]
            if form == "multi_update":
                terms.append(sp.diags_array(ratio) @ law.given(action, sample)[action])
            else:
                drawn = law.given(action, _rows(np.ones(entry.size), entry, wiring.num_parameters))
                terms.append(sp.diags_array(ratio * advantage) @ drawn[action])
        else:
            terms.append(sample)
    return visit, sp.csr_array(sum(terms[1:], start=terms[0]))


def _rows(numbers: FloatArray, entry: IntArray, num_parameters: int) -> sp.csr_array:
    """One number in each row, at an entry; none where the entry is that of nobody."""
    kept = np.flatnonzero(entry < num_parameters)
    return sp.csr_array((numbers[kept], (kept, entry[kept])), shape=(entry.size, num_parameters))


def _targets(mdp: MDP, network: CoagentNetwork, steps: Steps, q: FloatArray) -> FloatArray:
    """R_t + γ W_0(S_{t+1}, memory) of every transition, without the costs of step t."""
    nodes, ticks, moves = steps
    outputs = ticks.variables[2 : 2 + len(network.names)]
    known = tuple(outputs[network.names.index(name)] for name in network.critic_inputs)
    # W_0(n) = Σ_w Pr(w | n) (Q(s, K(w)) - Σ_i c_i E_i(w)); nothing at the end
    value = q[(nodes.state[ticks.node], *known)] - ticks.cost
    arrival = np.bincount(ticks.node, weights=ticks.probability * value, minlength=nodes.state.size + 1)
    return moves.reward + ticks.cost[moves.tick] + mdp.gamma * arrival[moves.successor]


def _scores(policies: FloatArray, wiring: Wiring) -> sp.csr_array:
    """∂ln π(u)/∂θ_v = 1{u = v} - π(v) in each row of softmax, (num_parameters, num_parameters)."""
    row_of = wiring.row_of[:-1]
    sizes = np.diff(wiring.row_first)[row_of]
    u = np.repeat(np.arange(row_of.size), sizes)
    v = ranges(wiring.row_first[row_of], wiring.row_first[row_of] + sizes)
    return sp.csr_array(((u == v) - policies[v], (u, v)), shape=(row_of.size, row_of.size))


def _numbered(*columns: IntArray) -> IntArray:
    """A number 0, 1, … for each distinct row of the columns."""
    number = columns[0]
    for column in columns[1:]:
        number = np.unique(number * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    return number
