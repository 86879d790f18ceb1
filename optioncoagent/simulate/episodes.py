"""How long episodes last, and how blocks of them are spread over threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.sparse as sp

from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork

NEGLIGIBLE = 1e-9  # an episode stops when what it can still earn is less, in units of the largest reward
PATIENCE = 10**9  # steps of one episode, where nothing shows beforehand that it ends


def horizon(mdp: MDP, network: CoagentNetwork) -> int:
    """Steps after which γ^t / (1 - γ) < 1e-9, or the MDP's own horizon; else, with γ = 1, episodes end by themselves."""
    if mdp.horizon is not None:
        return min(mdp.horizon, _until_negligible(mdp, network))
    return _until_negligible(mdp, network)


def _until_negligible(mdp: MDP, network: CoagentNetwork) -> int:
    if mdp.gamma == 1:
        return PATIENCE
    values = mdp.R.data if sp.issparse(mdp.R) else mdp.R
    largest = float(np.abs(values).max(initial=0.0)) + sum(abs(c.cost) for c in network.coagents)
    if mdp.gamma == 0 or largest == 0:
        return 1
    return max(1, math.ceil(math.log(NEGLIGIBLE * (1 - mdp.gamma)) / math.log(mdp.gamma)))


def check_patience(limit: int, capped: Any) -> None:
    """ValueError if an episode that nobody capped did not end."""
    if limit == PATIENCE and np.any(capped):
        raise ValueError(f"γ = 1 and an episode had not ended after {PATIENCE:,} steps: give max_steps or γ < 1")


def check_counts(**counts: Any) -> None:
    """ValueError naming the first argument that is not an integer of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name}={value!r}: it needs an integer of at least 1")


def run_blocks(block: Callable[[int], None], num_blocks: int, threads: int) -> None:
    """Call block(0) … block(num_blocks - 1), each writing to a place of its own, on some threads."""
    if threads == 1:
        for i in range(num_blocks):
            block(i)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(block, range(num_blocks)))
