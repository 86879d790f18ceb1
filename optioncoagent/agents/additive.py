"""What additive policies add to the logits of their heads: one term for each output that they read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn

from optioncoagent.agents.distributions import log_probability
from optioncoagent.network import CoagentNetwork
from optioncoagent.network.additive import indicators

Read = tuple[str, bool]  # an output's name, and whether it is that of the step before


class Terms(nn.Module):
    """The terms of all additive policies, {coagent: (logits, Σ sizes of the outputs that it reads)}, in the order in which it reads them.

    A sum of terms is a product with indicators of the outputs read. Acting, each coagent has its own; learning, when all outputs are
    known, all coagents have one product, with weights that are zero where an output is not read. A head gives the term of the observation.
    """

    where: Tensor
    rows: Tensor

    def __init__(self, network: CoagentNetwork, generator: torch.Generator):
        super().__init__()
        self.network = network
        additive = [c for c in network.coagents if c.additive]
        self.read: dict[str, list[Read]] = {c.name: [(n, False) for n in c.upstream] + [(n, True) for n in c.previous] for c in additive}
        self.read_by_any: list[Read] = list(dict.fromkeys(read for reads in self.read.values() for read in reads))
        self.tables = nn.ParameterDict()
        for c in additive:
            if c.owner == c.name:
                shape = c.num_parameters, self._ends(self.read[c.name])[-1]
                self.tables[f"terms_{c.name}"] = torch.randn(shape, generator=generator) / max(len(self.read[c.name]), 1) ** 0.5
        first = dict(zip(self.read_by_any, self._ends(self.read_by_any), strict=False))
        width = self._ends(self.read_by_any)[-1]
        # logits of all coagents as `Batch.rows` has them: the critic lies between those that are counted and Gaussians
        ends = accumulate((c.num_parameters for c in network.coagents), initial=0)
        self.starts = {c.name: end + (c.gaussian is not None) for c, end in zip(network.coagents, ends, strict=False)}
        rows, where = list[int](), list[int]()
        for c in additive:
            columns = [first[read] + u for read in self.read[c.name] for u in range(network[read[0]].num_outputs)]
            for u in range(c.num_parameters):
                where += [len(rows) * width + column for column in columns]
                rows.append(self.starts[c.name] + u)
        self.register_buffer("where", torch.tensor(where, dtype=torch.long), persistent=False)
        self.register_buffer("rows", torch.tensor(rows, dtype=torch.long), persistent=False)

    def of(self, name: str) -> Tensor:
        """A coagent's terms."""
        table: Tensor = self.tables[f"terms_{self.network[name].owner}"]
        return table

    def added(self, name: str, logits: Tensor, outputs: Mapping[str, Tensor], previous: Mapping[str, Tensor]) -> Tensor:
        """A coagent's logits (logits, n) with its terms, if it has any, for these outputs, {name: (n,) int}."""
        if not self.read.get(name):
            return logits
        return torch.addmm(logits, self.of(name), self._indicators(self.read[name], outputs, previous))

    def likelihoods(self, name: str, read: Tensor, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """ln π of what a coagent gave, had one output that it reads been another, {read at this step: (outputs, n)}.

        read (R, n): as `forward` gives it.
        """
        coagent, table = self.network[name], self.of(name).T[..., None]
        logits = read[self.starts[name] : self.starts[name] + coagent.num_parameters]
        sizes = [self.network[read].num_outputs for read, _ in self.read[name]]
        found = {}
        for (other, before), terms in zip(self.read[name], table.split(sizes), strict=True):
            if not before:
                had = logits + terms - terms[outputs[other], :, 0].T
                found[other] = log_probability(coagent, had, outputs[name])
        return found

    def tabulated(self, name: str, logits: Tensor) -> Tensor:
        """A coagent's logits with its terms, if it has any, for all joint outputs that it reads: from (1, logits, n), (configurations,
        logits, n). ValueError where these are too many."""
        if not self.read.get(name):
            return logits
        sizes = tuple(self.network[read].num_outputs for read, _ in self.read[name])
        which = torch.as_tensor(indicators(name, sizes)).to(logits)
        return logits + (which @ self.of(name).T)[..., None]

    def indicators(self, outputs: Mapping[str, Tensor], previous: Mapping[str, Tensor]) -> Tensor:
        """Indicators of all outputs that some additive coagent reads, (Σ sizes, n)."""
        if not self.read_by_any:
            return next(iter(outputs.values())).new_zeros(0, len(next(iter(outputs.values()))))
        return self._indicators(self.read_by_any, outputs, previous)

    def forward(self, read: Tensor, indicators: Tensor) -> Tensor:
        """The rows of a readout that a batch is about, (R, n), with the terms of all coagents; indicators: (n, Σ sizes)."""
        if not self.read_by_any:
            return read
        terms = torch.cat([self.of(name).flatten() for name in self.read])
        weights = terms.new_zeros(len(self.rows) * indicators.shape[1]).index_copy(0, self.where, terms)
        return read.index_add(0, self.rows, weights.reshape(len(self.rows), -1) @ indicators.T)

    def _indicators(self, reads: list[Read], outputs: Mapping[str, Tensor], previous: Mapping[str, Tensor]) -> Tensor:
        ends = self._ends(reads)
        index = torch.stack([(previous if before else outputs)[name] for name, before in reads])
        index = index + torch.tensor(ends[:-1], device=index.device)[:, None]
        blank = torch.zeros(ends[-1], index.shape[1], dtype=self.of(next(iter(self.read))).dtype, device=index.device)
        return blank.scatter_(0, index, 1.0)

    def _ends(self, reads: list[Read]) -> list[int]:
        return list(accumulate((self.network[name].num_outputs for name, _ in reads), initial=0))
