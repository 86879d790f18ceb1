"""From tables to torch: a gradient with respect to policies' logits, pulled back through an agent's networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optioncoagent.agents.torch_state import torch_threads
from optioncoagent.exact import policy_gradient
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork
from optioncoagent.network.additive import collected, sizes

FloatArray = NDArray[np.float64]
CHUNK = 4096  # observations that go through the networks at a time
MAX_ENTRIES = 1 << 24  # of the table that an additive policy adds up to


def agent_gradient(agent: Any, mdp: MDP, objective: str = "discounted") -> dict[str, NDArray[Any]]:
    """∇J with respect to the agent's torch parameters on an enumerated MDP, exactly: {name of a parameter: array like it}.

    With g = ∂J/∂logits of the tables `agent.params(mdp)` (see `policy_gradient`), a row for each observation o,

        ∂J/∂θ = Σ_i Σ_o g_i(o) · ∂ logits_i(o; θ)/∂θ

    which is one backward pass through the encoder and all heads over the observations of the MDP. The tables are logits up to a number
    for each row, which a softmax does not see: Σ_u g(o, u) = 0. The critic's parameters have gradient zero. Of an additive coagent g is
    that of the table over everything it reads, which gives the gradient of the terms by sums.

    mdp: made from the agent's environment, see `agent.params`. The networks compute in the agent's own precision. Raises ValueError
    where `agent.params` and `policy_gradient` do, and, before anything is computed, for an additive coagent whose table is too large.
    """
    network, n = agent.network, mdp.num_observations
    check_tables(network, n)
    with torch_threads(agent.settings.torch_threads):
        tables = policy_gradient(mdp, network.tabulated(), agent.params(mdp), objective)
        return pull_back(agent, mdp, collected(network, tables, n))


def check_tables(network: CoagentNetwork, num_observations: int) -> None:
    """ValueError naming an additive coagent with a table over all that it reads that is too large for the exact solver."""
    for coagent in network.coagents:
        rows, read = prod(sizes(network, coagent.name, num_observations)), (*coagent.upstream, *coagent.previous)
        if coagent.additive and rows * coagent.num_outputs > MAX_ENTRIES:
            raise ValueError(
                f"coagent {coagent.name!r}: its policy is additive, and the exact gradient needs a table over the joint values of the "
                f"{len(read)} outputs that it reads: {rows:,} rows of {coagent.num_outputs}, more than {MAX_ENTRIES:,} numbers. Audit an "
                "agent with narrower layers, which learns in the same way"
            )


def pull_back(agent: Any, mdp: MDP, tables: Mapping[str, FloatArray], encoder: bool = True) -> dict[str, NDArray[Any]]:
    """Σ_i Σ_o g_i(o) · ∂ logits_i(o; θ)/∂θ for any coefficients g, {coagent, or "critic" for Q(o, K): array like its table}; of an
    additive coagent a row for each row of its terms, (Σ sizes, outputs), as `network.additive` lays them out. Without the encoder its
    features are constants."""
    parameters = dict(agent.module.named_parameters())
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    learned = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}  # 0 in those that are constants
    for first, readout in _readouts(agent, mdp, encoder):
        product = torch.zeros((), device=readout.device, dtype=readout.dtype)
        for name, table in tables.items():
            for values, coefficients in _given(agent, mdp, name, table, first, readout):
                product = product + (torch.as_tensor(coefficients).to(values).reshape(values.shape) * values).sum()
        for name, part in zip(learned, torch.autograd.grad(product, list(learned.values()), allow_unused=True), strict=True):
            if part is not None:
                total[name] += part
    return {name: x.cpu().numpy() for name, x in total.items()}


def _given(agent: Any, mdp: MDP, name: str, table: FloatArray, first: int, readout: Tensor) -> Iterator[tuple[Tensor, FloatArray]]:
    """What a coagent's parameters give at some observations (see `_readouts`), in rows, and its coefficients; what does not depend on the
    observation is there with the first ones."""
    module, here = agent.module, slice(first, first + readout.shape[-1])
    if name == "critic":
        yield module.q(readout).T, table[here]
        return
    coagent = agent.network[name]
    if coagent.additive:
        table, terms = np.split(table, [mdp.num_observations if coagent.observes else 1])
        if not first:
            yield module.terms.of(name).T, terms
    if coagent.observes:
        yield module.logits(name, readout).flatten(0, 1).T, table[here]
    elif not first:
        yield module.logits(name, readout[:, :1]).flatten(0, 1).T, table


@torch.no_grad()
def logit_tables(agent: Any, mdp: MDP) -> tuple[dict[str, FloatArray], FloatArray]:
    """Logits of every coagent that has parameters of its own for the observations of an MDP, {coagent: (observations, …)} shaped as
    `params`, and Q(o, K); of an additive one what the observation gives, without the terms."""
    module, network = agent.module, agent.network
    chunks = [readout for _, readout in _readouts(agent, mdp)]
    logits = {}
    for name, shape in module.shapes.items():
        if network[name].shares is not None:
            continue
        parts = [module.logits(name, x).flatten(0, 1).T.double().cpu().numpy().reshape(-1, *shape) for x in chunks]
        logits[name] = np.concatenate(parts) if network[name].observes else parts[0][0]
    return logits, np.concatenate([module.q(x).T.double().cpu().numpy().reshape(-1, *module.critic_shape) for x in chunks])


def _readouts(agent: Any, mdp: MDP, encoder: bool = True) -> Iterator[tuple[int, Tensor]]:
    """(number of the first, `CoagentModule.readout`) of the observations of an MDP, some at a time; without the encoder its features are
    constants."""
    observations, seen = agent.observations(mdp)
    tensors = agent.spec.tensors(observations, agent.settings.device)
    for first in range(0, seen, CHUNK):
        features, _ = agent.module.features(agent.spec.state({path: x[first : first + CHUNK] for path, x in tensors.items()}))
        yield first, agent.module.readout(features if encoder else features.detach())
