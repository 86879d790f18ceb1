"""An agent's policies as tables of the observations of an MDP, which the exact solver and the simulator read, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optioncoagent.agents import distributions
from optioncoagent.agents.encoder import Encoder
from optioncoagent.agents.modules import CoagentModule
from optioncoagent.agents.observations import ObservationSpec
from optioncoagent.agents.recurrent import Memoryless
from optioncoagent.network import Coagent, CoagentNetwork

Tables = dict[str, np.ndarray]  # {coagent: (n, …) if it observes, else (…)}


def of_readout(
    module: CoagentModule, readout: Tensor, of: Callable[[Coagent, Tensor], Tensor], names: Iterable[str] | None = None
) -> Tables:
    """What there is `of` the parameters of these coagents (all by default), a function of `distributions`, for the n observations of a
    readout."""
    tables, network = {}, module.network
    names = network.names if names is None else tuple(names)
    for name in names:
        network.check_name(name)
    for c in (network[name] for name in names):
        tabulated = network.tabulated() if c.additive else network
        shape = distributions.table_shape(c, tabulated.configuration_shape(c.name))
        given = module.terms.tabulated(c.name, module.logits(c.name, readout))
        table = of(c, given).reshape(-1, *shape).cpu().numpy()
        tables[c.name] = table if c.observes else table[0]
    return tables


def observations(mdp: Any, network: CoagentNetwork, spec: ObservationSpec) -> tuple[Any, int]:
    """See `CoagentActorCritic.observations`."""
    leaf, listed = spec.leaves[0], getattr(mdp, "observations", None)
    network.check_actions(mdp.num_actions)
    if leaf.kind == "discrete" and not leaf.path and not leaf.counts:
        largest = int(mdp.observation[~mdp.terminal].max(initial=0))
        if largest >= leaf.size:
            raise ValueError(f"{mdp} shows observation {largest}, and the agent's space has {leaf.size}: it is of another environment")
        seen = min(mdp.num_observations, leaf.size)
        return leaf.offset + np.arange(seen), seen
    if listed is None:
        raise ValueError("params needs an agent on a Discrete space, or an MDP from MDP.from_minigrid")
    return spec.stack(listed), len(listed)


def padded(tables: Tables, network: CoagentNetwork, rows: int) -> Tables:
    """Tables as the exact solver takes them: those of owners, in double precision, with so many rows of zeros at the end."""
    padding = {name: [(0, rows if network[name].observes else 0)] + [(0, 0)] * (table.ndim - 1) for name, table in tables.items()}
    return {name: np.pad(table.astype(np.float64), padding[name]) for name, table in tables.items() if network[name].shares is None}


def take_over(module: CoagentModule, spec: ObservationSpec, mdp: Any, params: Mapping[str, Any]) -> None:
    """See `CoagentActorCritic.set_params`."""
    network, leaf, encoder = module.network, spec.leaves[0], module.encoder
    is_table = isinstance(encoder, Encoder) and not len(encoder.layers) and isinstance(module.recurrence, Memoryless)
    if leaf.path or leaf.kind != "discrete" or leaf.counts or not is_table:
        raise ValueError(
            "set_params needs an agent whose policies are tables: hidden_sizes=() and the default encoder on a Discrete space, and "
            "recurrent_size=0"
        )
    for coagent in network.coagents:
        if coagent.additive:
            raise ValueError(f"coagent {coagent.name!r}: its policy is additive, and set_params takes tables: train the agent, or load it")
    network.policies(params, mdp.num_observations)  # says what does not fit
    read = {}  # of every table what the agent can see
    for name in params:
        table = torch.as_tensor(np.asarray(params[name], dtype=np.float64))
        read[name] = table[: leaf.size] if network[name].observes else table
        if not bool(read[name].isfinite().all()):
            raise ValueError(f"params[{name!r}] has a logit of -inf, which the agent's linear layer cannot hold: give a finite one")
    with torch.no_grad():
        for name, table in read.items():
            head: Any = module.policies[f"policy_{name}"]
            if network[name].observes:
                # what is not written stays, and so does the bias, which is a part of it
                head.weight[:, : len(table)] = (table.flatten(1).T - head.bias[:, None].double()).to(head.weight)
            else:
                head.logits.copy_(table.flatten())
