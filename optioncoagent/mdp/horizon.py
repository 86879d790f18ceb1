"""A finite horizon, unrolled: the time becomes part of the state, and no part of the observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

MAX_TRANSITIONS = 50_000_000  # of all steps together: some gigabytes, and more where they are solved


def unroll(mdp: Any) -> dict[str, Any]:
    """Arrays of the MDP whose first T steps are those of `mdp` and whose layer T is its end: state t S + s for t = 0 … T.

    P(t S + s, a, (t + 1) S + s') = P(s, a, s') for t < T; observations are those of s. An expected return of it is
    E[Σ_{t<T} γ^t R_t], its value at t S + s that of the remaining T - t steps (backward induction, as the chain is acyclic in time).
    Raises ValueError for more than MAX_TRANSITIONS.
    """
    T, S, A = mdp.horizon, mdp.num_states, mdp.num_actions
    P = mdp.transition_matrix.tocoo()
    if T * P.nnz > MAX_TRANSITIONS:
        raise ValueError(
            f"horizon={T}: {P.nnz:,} transitions at each step are more than {MAX_TRANSITIONS:,} together; a horizon of at most "
            f"{MAX_TRANSITIONS // P.nnz:,}, or none, may do: step t counts γ^t"
        )
    layers = np.arange(T)[:, None]
    last = T * S + np.arange(S)
    rows = np.append(layers * S * A + P.row, last[:, None] * A + np.arange(A))
    columns = np.append((layers + 1) * S + P.col, np.repeat(last, A))
    shape = ((T + 1) * S * A, (T + 1) * S)
    reward = np.append(np.tile(mdp.transition_reward, T), np.zeros(S * A))
    return {
        "P": sp.csr_array((np.append(np.tile(P.data, T), np.ones(S * A)), (rows, columns)), shape=shape),
        "R": sp.csr_array((reward, (rows, columns)), shape=shape),
        "d0": np.append(mdp.d0, np.zeros(T * S)),
        "terminal": np.append(np.tile(mdp.terminal, T), np.ones(S, dtype=bool)),
        "observation": np.tile(mdp.observation, T + 1),
    }
