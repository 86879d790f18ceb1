"""From tables to torch: a gradient with respect to policies' logits, pulled back through an agent's networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optioncoagent.agents.modules import torch_threads
from optioncoagent.exact import policy_gradient
from optioncoagent.mdp import MDP

FloatArray = NDArray[np.float64]
CHUNK = 4096  # observations that go through the networks at a time


def agent_gradient(agent: Any, mdp: MDP, objective: str = "discounted") -> dict[str, NDArray[Any]]:
    """∇J with respect to the agent's torch parameters on an enumerated MDP, exactly: {name of a parameter: array like it}.

    With g = ∂J/∂logits of the tables `agent.params(mdp)` (see `policy_gradient`), a row for each observation o,

        ∂J/∂θ = Σ_i Σ_o g_i(o) · ∂ logits_i(o; θ)/∂θ

    which is one backward pass through the encoder and all heads over the observations of the MDP. The tables are logits up to a number
    for each row, which a softmax does not see: Σ_u g(o, u) = 0. The critic's parameters have gradient zero.

    mdp: made from the agent's environment, see `agent.params`. The networks compute in the agent's own precision. Raises where
    `agent.params` and `policy_gradient` do.
    """
    with torch_threads(agent.settings.torch_threads):
        return pull_back(agent, mdp, policy_gradient(mdp, agent.network, agent.params(mdp), objective))


def pull_back(agent: Any, mdp: MDP, tables: Mapping[str, FloatArray]) -> dict[str, NDArray[Any]]:
    """Σ_i Σ_o g_i(o) · ∂ logits_i(o; θ)/∂θ for any coefficients g, {coagent, or "critic" for Q(o, K): array like its table}."""
    module = agent.module
    parameters = dict(module.named_parameters())
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for first, readout in _readouts(agent, mdp):
        product = torch.zeros((), device=readout.device, dtype=readout.dtype)
        for name, table in tables.items():
            if name != "critic" and not agent.network[name].observes:
                if first:
                    continue
                values, rows = module.logits(name, readout[:, :1]), table[None]
            else:
                values = module.q(readout) if name == "critic" else module.logits(name, readout)
                rows = table[first : first + readout.shape[-1]]
            values = values.flatten(0, -2).T
            product = product + (torch.as_tensor(rows).to(values).reshape(values.shape) * values).sum()
        for name, part in zip(total, torch.autograd.grad(product, list(parameters.values()), allow_unused=True), strict=True):
            if part is not None:
                total[name] += part
    return {name: x.cpu().numpy() for name, x in total.items()}


@torch.no_grad()
def logit_tables(agent: Any, mdp: MDP) -> tuple[dict[str, FloatArray], FloatArray]:
    """Logits of every coagent for the observations of an MDP, {coagent: (observations, …)} shaped as `params`, and Q(o, K)."""
    module, network = agent.module, agent.network
    chunks = [readout for _, readout in _readouts(agent, mdp)]
    logits = {}
    for name, shape in module.shapes.items():
        parts = [module.logits(name, x).flatten(0, 1).T.double().cpu().numpy().reshape(-1, *shape) for x in chunks]
        logits[name] = np.concatenate(parts) if network[name].observes else parts[0][0]
    return logits, np.concatenate([module.q(x).T.double().cpu().numpy().reshape(-1, *module.critic_shape) for x in chunks])


def _readouts(agent: Any, mdp: MDP) -> Iterator[tuple[int, Tensor]]:
    """(number of the first, `CoagentModule.readout`) of the observations of an MDP, some at a time."""
    observations, seen = agent.observations(mdp)
    tensors = agent.spec.tensors(observations, agent.settings.device)
    for first in range(0, seen, CHUNK):
        features, _ = agent.module.features(agent.spec.state({path: x[first : first + CHUNK] for path, x in tensors.items()}))
        yield first, agent.module.readout(features)
