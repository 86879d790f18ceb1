"""Are execution functions that look at observations functions of each observation by itself?"""

from __future__ import annotations

import torch
from torch import Tensor

from optioncoagent.agents.observations import ObservationSpec, Tensors
from optioncoagent.network import Coagent, CoagentNetwork, LocalState, execution_probability

ROUNDING = 1e-4  # sums over the parts of an observation may be rounded otherwise where there are more observations


def check_gates(network: CoagentNetwork, spec: ObservationSpec, first: Tensors) -> None:
    """Raise ValueError naming the coagent whose execution function says something else of an observation by itself than of it among others.

    They are asked about the first observations, and one of zeros. Of those that look at outputs alone `network.execution` knows.
    """
    device = next(iter(first.values())).device
    blank = spec.blank(str(device))
    seen = {path: torch.cat([x, blank[path].to(x)]) for path, x in first.items()}
    n = len(next(iter(seen.values())))

    def asked(coagent: Coagent, rows: slice) -> Tensor:
        zeros = torch.zeros(n, dtype=torch.long, device=device)[rows]
        earlier = network.names[: network.names.index(coagent.name)]
        # all of it copies, which it may change
        upstream, previous = ({name: zeros.clone() for name in names} for names in (earlier, network.names))
        x = LocalState(zeros == 0, spec.state({path: part[rows].clone() for path, part in seen.items()}), upstream, previous)
        beta = torch.as_tensor(execution_probability(coagent, x), device=device, dtype=torch.float64)
        if beta.numel() != 1 and beta.shape != zeros.shape:
            raise ValueError(
                f"coagent {coagent.name!r}: its execution function gave shape {tuple(beta.shape)} for {len(zeros)} observations: it must "
                "give a probability or a bool for each, or one for all"
            )
        return beta.reshape(-1).expand(len(zeros))

    for coagent in network.coagents:
        if network.touched[coagent.name].state:
            together = asked(coagent, slice(0, n))
            for i in range(n):
                alone, among = float(asked(coagent, slice(i, i + 1))), float(together[i])
                if not abs(alone - among) < ROUNDING:
                    raise ValueError(
                        f"coagent {coagent.name!r}: its execution function says {alone} of an observation by itself, {among} of the same "
                        "one among others: work on each row of the fields alone, without any(), all(), max() or a mean over rows"
                    )
