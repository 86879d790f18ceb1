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


def longest_episode(mdp: MDP, network: CoagentNetwork) -> int:
    """Steps after which γ^t / (1 - γ) < 1e-9, or the MDP's own horizon if that is less; with γ = 1 episodes end by themselves."""
    values = mdp.R.data if sp.issparse(mdp.R) else mdp.R
    if mdp.gamma == 1:
        limit = PATIENCE
    elif mdp.gamma == 0 or not (np.any(values) or any(c.cost for c in network.coagents)):
        limit = 1
    else:
        limit = max(1, math.ceil(math.log(NEGLIGIBLE * (1 - mdp.gamma)) / math.log(mdp.gamma)))
    return limit if mdp.horizon is None else min(mdp.horizon, limit)


def check_patience(limit: int, capped: Any) -> None:
    """ValueError if an episode that nobody capped did not end."""
    if limit == PATIENCE and np.any(capped):
        raise ValueError(f"γ = 1 and an episode had not ended after {PATIENCE:,} steps: give max_steps or γ < 1")


def check_counts(**counts: Any) -> None:
    """ValueError naming the first argument that is not an integer of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name}={value!r}: it needs an integer of at least 1")


def check_flag(name: str, value: Any) -> None:
    """ValueError for what is neither True nor False, as a text of either, which Python takes for True."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}={value!r}: it needs True or False")


def run_blocks(block: Callable[[int], None], num_blocks: int, threads: int) -> None:
    """Call block(0) … block(num_blocks - 1), each writing to a place of its own, on some threads."""
    if threads == 1:
        for i in range(num_blocks):
            block(i)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(block, range(num_blocks)))
