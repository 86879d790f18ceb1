"""What `predict` hands from one call to the next, checked: the running outputs of what is remembered, and a hidden state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optioncoagent.agents.modules import CoagentModule


def checked(state: Any, n: int, module: CoagentModule) -> tuple[Tensor, Tensor | None]:
    """Running outputs (n, memory), and the hidden state (n, units) of a network with recurrence, else None, of what `predict` returned for
    n observations: arrays, tensors or lists. Raises ValueError for anything else."""
    network, weight, hidden = module.network, module.critic.weight, None
    sizes = [network[name].num_outputs for name in network.memory]
    if (blank := module.recurrence.initial(n)) is not None:
        part = _numbers(state[1]) if isinstance(state, tuple | list) and len(state) == 2 else None
        if part is None or part.size != blank.numel():
            raise ValueError(f"state={state!r}: a recurrent agent's is the pair that predict returned, here for {n} observations")
        state, hidden = state[0], torch.as_tensor(part, dtype=weight.dtype, device=weight.device).reshape(blank.shape)
        if not bool(hidden.isfinite().all()):
            raise ValueError("state: a hidden state that predict returned is finite, and this one is not")
    held = _numbers(state)
    if held is None or held.size != n * len(sizes) or not _are_outputs(held.reshape(n, len(sizes)), sizes):
        raise ValueError(f"state={state!r}: for {n} observations it has shape ({n}, {len(sizes)}), outputs of {network.memory} in {sizes}")
    return torch.as_tensor(held.reshape(n, len(sizes)).astype(np.int64), device=weight.device), hidden


def _numbers(given: Any) -> np.ndarray | None:
    """What somebody gave as an array of numbers; None of what is none."""
    try:
        array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    except ValueError:  # parts of several shapes
        return None
    return array if array.dtype.kind in "biuf" else None


def _are_outputs(held: np.ndarray, sizes: Sequence[int]) -> bool:
    """Are these (n, k) outputs of coagents with so many each?"""
    return bool(((held % 1 == 0) & (held >= 0) & (held < np.array(sizes, dtype=int))).all())
