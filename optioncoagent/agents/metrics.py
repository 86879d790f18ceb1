"""What a rollout says about the episodes and the coagents: plain numbers under stable names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from optioncoagent.agents.losses import entropy
from optioncoagent.agents.rollout import Rollout
from optioncoagent.agents.targets import Batch
from optioncoagent.network import CoagentNetwork


def episodes(recent: Iterable[tuple[float, int]]) -> dict[str, float]:
    """Mean return and length of the last episodes (at most 100); NaN before the first has ended."""
    pairs = list(recent)
    means = np.mean(pairs, axis=0) if pairs else (np.nan, np.nan)
    return {"return_mean": float(means[0]), "length_mean": float(means[1])}


def coagents(network: CoagentNetwork, rollout: Rollout, batch: Batch) -> dict[str, float]:
    """For each coagent: how often it executed; the entropy and, for each output, the mean probability of its policy where it executed;
    how often each output was in force; and its entropy for each output of the coagents that it reads (NaN where a case did not occur)."""
    row = {}
    valid = rollout.valid.flatten()
    outputs = {name: rollout.outputs[name].flatten()[valid] for name in network.names}
    for coagent in network.coagents:
        name, part = coagent.name, batch.coagents[coagent.name]
        executed = part.executed
        entropies = entropy(part.log_old)
        row[f"{name}/executed"] = float(executed.double().mean())
        row[f"{name}/entropy"] = _mean(entropies, executed)
        for u in range(coagent.num_outputs):
            row[f"{name}/probability_{u}"] = _mean(part.log_old[:, u].exp(), executed)
            row[f"{name}/usage_{u}"] = float((outputs[name] == u).double().mean())
        for other in coagent.upstream:
            for u in range(network[other].num_outputs):
                row[f"{name}/entropy_{other}_{u}"] = _mean(entropies, executed & (outputs[other] == u))
    return row


def _mean(x: torch.Tensor, where: torch.Tensor) -> float:
    return float(x[where].mean()) if bool(where.any()) else float("nan")
