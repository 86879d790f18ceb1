"""What additive policies add to the logits of their heads, or to means and logarithms of scales: a term for each output that they read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn

from optioncoagent.agents.distributions import log_probability
from optioncoagent.network import Coagent, CoagentNetwork
from optioncoagent.network.additive import indicators

Read = tuple[str, bool]  # an output's name, and whether it is that of the step before


class Terms(nn.Module):
    """The terms of all additive policies, {coagent: (logits, Σ widths of the outputs that it reads)}, in the order in which it reads them.

    A sum of terms is a product with indicators of the outputs read, or with the numbers themselves where a Gaussian is read. Acting, each
    coagent has its own; learning, when all outputs are known, all coagents have one product, with weights that are zero where an output is
    not read. A head gives the term of the observation.
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
                self.tables[f"terms_{c.name}"] = self._drawn(c, generator)
                self.register_buffer(f"held_{c.name}", self._held(c), persistent=False)
        first = dict(zip(self.read_by_any, self._ends(self.read_by_any), strict=False))
        width = self._ends(self.read_by_any)[-1]
        # logits of all coagents as `Batch.rows` has them: the critic lies between those that are counted and Gaussians
        ends = accumulate((c.num_parameters for c in network.by_kind), initial=0)
        self.starts = {c.name: end + (c.gaussian is not None) for c, end in zip(network.by_kind, ends, strict=False)}
        rows, where = list[int](), list[int]()
        for c in additive:
            columns = [first[read] + u for read in self.read[c.name] for u in range(network[read[0]].width)]
            for u in range(c.num_parameters):
                where += [len(rows) * width + column for column in columns]
                rows.append(self.starts[c.name] + u)
        self.register_buffer("where", torch.tensor(where, dtype=torch.long), persistent=False)
        self.register_buffer("rows", torch.tensor(rows, dtype=torch.long), persistent=False)

    def of(self, name: str) -> Tensor:
        """A coagent's terms."""
        owner = self.network[name].owner
        table: Tensor = self.tables[f"terms_{owner}"]
        held: Tensor | None = getattr(self, f"held_{owner}")
        return table if held is None else table.masked_fill(held, 0.0)

    def added(self, name: str, logits: Tensor, outputs: Mapping[str, Tensor], previous: Mapping[str, Tensor]) -> Tensor:
        """A coagent's logits (logits, n) with its terms, if it has any, for these outputs, {name: (n,) int or (n, size)}."""
        if not self.read.get(name):
            return logits
        return torch.addmm(logits, self.of(name), self._indicators(self.read[name], outputs, previous))

    def likelihoods(self, name: str, read: Tensor, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """ln π of what a coagent gave, had one output that it reads been another, {read at this step: (outputs, n)}; not of Gaussians.

        read (R, n): as `forward` gives it.
        """
        coagent, table = self.network[name], self.of(name).T[..., None]
        logits = read[self.starts[name] : self.starts[name] + coagent.num_parameters]
        widths = [self.network[read].width for read, _ in self.read[name]]
        found = {}
        for (other, before), terms in zip(self.read[name], table.split(widths), strict=True):
            if not before and other not in self.network.gaussians:
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
        """Indicators of all outputs that some additive coagent reads, and Gaussians' numbers, (Σ widths, n)."""
        if not self.read_by_any:
            return next(iter(outputs.values())).new_zeros(0, len(next(iter(outputs.values()))))
        return self._indicators(self.read_by_any, outputs, previous)

    def forward(self, read: Tensor, indicators: Tensor) -> Tensor:
        """The rows of a readout that a batch is about, (R, n), with the terms of all coagents; indicators: (n, Σ widths)."""
        if not self.read_by_any:
            return read
        terms = torch.cat([self.of(name).flatten() for name in self.read])
        weights = terms.new_zeros(len(self.rows) * indicators.shape[1]).index_copy(0, self.where, terms)
        return read.index_add(0, self.rows, weights.reshape(len(self.rows), -1) @ indicators.T)

    def _indicators(self, reads: list[Read], outputs: Mapping[str, Tensor], previous: Mapping[str, Tensor]) -> Tensor:
        ends, gaussians = self._ends(reads), self.network.gaussians
        given = [(end, (previous if before else outputs)[name], name) for end, (name, before) in zip(ends, reads, strict=False)]
        first = given[0][1]
        blank = torch.zeros(ends[-1], len(first), dtype=next(iter(self.tables.values())).dtype, device=first.device)
        if counted := [(end, output) for end, output, name in given if name not in gaussians]:
            starts, index = zip(*counted, strict=True)
            blank.scatter_(0, torch.stack(index) + torch.tensor(starts, device=first.device)[:, None], 1.0)
        for end, numbers, name in given:
            if name in gaussians:
                blank[end : end + gaussians[name].size] = numbers.T
        return blank

    def _ends(self, reads: list[Read]) -> list[int]:
        return list(accumulate((self.network[name].width for name, _ in reads), initial=0))

    def _drawn(self, coagent: Coagent, generator: torch.Generator) -> Tensor:
        """Terms such that their sum is of order one; 0 for logarithms of scales, which start where the description says."""
        numbers = sum(1 if name not in self.network.gaussians else self.network[name].width for name, _ in self.read[coagent.name])
        drawn = torch.randn(coagent.num_parameters, self._ends(self.read[coagent.name])[-1], generator=generator)
        if coagent.gaussian is not None:
            drawn[coagent.gaussian.size :] = 0.0
        return drawn / max(numbers, 1) ** 0.5

    def _held(self, coagent: Coagent) -> Tensor | None:
        """Which terms stay 0: logarithms of scales that do not observe do not depend on real numbers either. None if there are none."""
        real = [name in self.network.gaussians for name, _ in self.read[coagent.name] for _ in range(self.network[name].width)]
        if coagent.gaussian is None or coagent.gaussian.scale_observes or not any(real):
            return None
        scales = torch.arange(coagent.num_parameters) >= coagent.gaussian.size
        return scales[:, None] & torch.tensor(real)
