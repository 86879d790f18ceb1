"""Average reward: the gain of a chain that goes on for ever, its bias and its stationary law.

With T the transitions between later nodes and r their expected reward, costs subtracted, of a chain with one recurrent class (a unichain;
it may be periodic):

    gain g = lim 1/N E[Σ_{t<N} R_t] = Σ_n d(n) r(n)        d = d T, Σ d = 1        bias h: h + g = r + T h

The first step leaves no trace in g. See "Reinforcement Learning" by Sutton & Barto, sections 10.3 and 13.6. Differentiate h + g = r + T h
and multiply by d: the terms in ∂h cancel, since d = d T, and ∂g = Σ d (∂r + ∂T h). The derivative of one tick is a sum over its
coagents, as for the discounted return (MDP, network and ACPGT stay the same; only d and the values ahead are others), so that

    ∂g/∂θ_i = Σ_x d_i(x) Σ_u ∂π_i(x, u)/∂θ_i Q_i(x, u),    d_i(x) = lim 1/N Σ_{t<N} Pr(X_t^i = x, E_t^i = 1)

with Q_i the differential values: those of `Tick.backward` with h ahead and no discount. Subtracting g from them changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from optioncoagent.exact.chain import Chain, chain
from optioncoagent.exact.solve import Pattern
from optioncoagent.mdp import MDP
from optioncoagent.mdp.reach import spread
from optioncoagent.network import CoagentNetwork, IntArray

_FOR_EVER: WeakKeyDictionary[MDP, MDP] = WeakKeyDictionary()
TOO_SELDOM = "the chain comes back to some node too seldom for float64; scale the logits down"
_WALK = 8  # steps of a walk whose law says which node is visited often


def average_chain(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any]) -> Chain:
    """The chain with the gain as its `expected_return`, the bias as its `value` and the stationary law as its `occupancy`.

    The MDP's discount plays no part. Raises ValueError for an MDP with a horizon or a terminal state to which some actions lead, and where
    the chain has several recurrent classes, so that the gain depends on which of them is entered, or it comes back
    to its nodes too seldom for float64.
    """
    made = chain(_for_ever(mdp), network, params)
    made.gamma = 1.0  # it was built with γ = 0; solves and sweeps from here on are undiscounted
    s = made.structure
    entries, n = made.entries[s.split :], s.keys.size
    T = sp.csr_array((entries, (s.pattern.rows, s.pattern.columns)), shape=(n, n))
    k = _often(T, _recurrent(T, made))
    # cut the way into node k: until it is hit, a(n) is earned and b(n) steps are taken, and what happens between two visits is a cycle
    keep = s.pattern.columns != k
    until = Pattern(s.pattern.rows[keep], s.pattern.columns[keep], n).factorise(entries[keep], 1.0, TOO_SELDOM)
    earned, steps = until.solve(made.reward[s.num_first :]), until.solve(np.ones(n))
    visits = until.solve(np.eye(1, n, k)[0], transposed=True)
    # g = a(k) / b(k),  h = a - g b (h(k) = 0),  d(n) = visits of n in a cycle / its length
    gain = float(earned[k] / steps[k])
    made.expected_return = gain
    made.value = earned - gain * steps
    made.occupancy = np.concatenate([np.zeros(s.num_first), visits / visits.sum()])
    return made


def _for_ever(mdp: MDP) -> MDP:
    """The MDP without its discount, which must neither end nor decide which nodes are kept."""
    if mdp.horizon is not None:
        raise ValueError(f"objective='average' is of a task that goes on for ever, and the MDP has horizon={mdp.horizon}")
    if mdp not in _FOR_EVER:
        P = mdp.transition_matrix.tocoo()
        possible = P.data > 0
        reached = spread(P.row[possible] // mdp.num_actions, P.col[possible], mdp.d0 > 0)
        ends = np.flatnonzero(reached & mdp.terminal)
        if ends.size:
            raise ValueError(
                f"objective='average' is of a task that goes on for ever, and some actions lead to terminal state {ends[0]}, after which "
                "nothing is earned: build an MDP that goes from there to its first states instead"
            )
        _FOR_EVER[mdp] = MDP(mdp.P, mdp.R, mdp.d0, 0.0, mdp.terminal, mdp.observation)
    return _FOR_EVER[mdp]


def _recurrent(T: sp.csr_array, made: Chain) -> IntArray:
    """The nodes of the one class that is never left. Raises ValueError where there are several."""
    count, label = connected_components(T, directed=True, connection="strong")
    edges = T.tocoo()
    left = np.zeros(count, dtype=bool)
    left[label[edges.row[label[edges.row] != label[edges.col]]]] = True
    closed = np.flatnonzero(~left)
    if closed.size > 1:
        s = made.structure
        examples = " and ".join(s.layout.describe(s.keys[np.argmax(label == c)]) for c in closed[:2])
        raise ValueError(
            f"objective='average': the chain has {closed.size} recurrent classes, one with {examples}; the gain depends on which of them "
            "is entered, and has no gradient of this form"
        )
    return np.flatnonzero(label == closed[0])


def _often(T: sp.csr_array, recurrent: IntArray) -> int:
    """A recurrent node that is visited often, so that cycles from it to itself are short."""
    law = np.zeros(T.shape[0])
    law[recurrent] = 1.0 / recurrent.size
    total = np.zeros_like(law)
    transposed = T.T.tocsr()
    for _ in range(_WALK):
        law = transposed @ law
        total += law
    return int(total.argmax())
