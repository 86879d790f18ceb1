"""What a rollout says about the episodes and the coagents: plain numbers under stable names."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from optioncoagent.agents.distributions import entropy, scale_of
from optioncoagent.agents.rollout import Rollout
from optioncoagent.agents.targets import Batch
from optioncoagent.network import CoagentNetwork
from optioncoagent.network.roles import SURE, gating, held, lasting, read


def episodes(recent: Iterable[tuple[float, int]]) -> dict[str, float]:
    """Mean return and length of the last episodes (at most 100); NaN before the first has ended."""
    pairs = list(recent)
    means = np.mean(pairs, axis=0) if pairs else (np.nan, np.nan)
    return {"return_mean": float(means[0]), "length_mean": float(means[1])}


def coagents(network: CoagentNetwork, rollout: Rollout, batch: Batch) -> dict[str, float]:
    """For each coagent: how often it executed; the entropy and, for each output, the mean probability of its policy where it executed;
    how often each output was in force; and its entropy for each output of the coagents that it reads (NaN where a case did not occur).

    Of those whose output is held, the mean length, steps from one execution to the next; of those that policies read, the entropy of how
    often each output was in force, usage_entropy, and, if they are remembered, the mean number of steps for which an output stays the same,
    run_length: longer than length where an option is chosen again, and there for options that are drawn at every step, too. Of those that
    execution functions look at, for each output the share of the executions at which it was nearly certain, sure_0, sure_1, …
    (probability above `SURE`); the rest is in between. Of a Gaussian the entropy is the mean of −ln π over what
    was drawn, and the scale is that of one of its numbers with this entropy.
    """
    row: dict[str, Tensor] = {}
    valid = rollout.valid.flatten()
    outputs = {c.name: rollout.outputs[c.name].flatten() for c in network.counted}
    is_held, is_read, is_lasting, is_gating = held(network), read(network), lasting(network), gating(network)
    start = rollout.start.flatten()
    logs = batch.log_old.split([c.num_outputs for c in network.by_kind])
    for coagent, log_old in zip(network.by_kind, logs, strict=True):
        name, executed = coagent.name, rollout.executed[coagent.name].flatten() & valid
        entropies = entropy(log_old) if coagent.gaussian is None else -log_old[0]
        row[f"{name}/executed"] = _mean(executed, valid)
        row[f"{name}/entropy"] = _mean(entropies, executed)
        if coagent.gaussian is None:
            probabilities = _mean(log_old.exp(), executed)
            for u in range(coagent.num_outputs):
                row[f"{name}/probability_{u}"] = probabilities[u]
                row[f"{name}/usage_{u}"] = _mean(outputs[name] == u, valid)
        else:
            row[f"{name}/scale"] = scale_of(row[f"{name}/entropy"], coagent.gaussian.size)
        for other in coagent.tabled[0]:
            for u in range(network[other].num_outputs):
                row[f"{name}/entropy_{other}_{u}"] = _mean(entropies, executed & (outputs[other] == u))
        if name in is_held:
            row[f"{name}/length"] = 1 / row[f"{name}/executed"]
        if name in is_read and coagent.gaussian is None:
            usage = torch.stack([row[f"{name}/usage_{u}"] for u in range(coagent.num_outputs)])
            row[f"{name}/usage_entropy"] = torch.special.entr(usage).sum()
        if name in is_lasting and coagent.gaussian is None:
            changed = start | (outputs[name] != rollout.previous[name].flatten())
            row[f"{name}/run_length"] = 1 / _mean(changed, valid)
        if name in is_gating:
            sure = _mean(log_old > math.log(SURE), executed)
            row |= {f"{name}/sure_{u}": sure[u] for u in range(coagent.num_outputs)}
    return dict(zip(row, torch.stack(list(row.values())).tolist(), strict=True))


def _mean(x: Tensor, where: Tensor) -> Tensor:
    """Mean over the last axis of x, (…, n), of those for which `where` (n,) holds; NaN if there are none."""
    return (x.double() @ where.double()) / where.sum()
