"""How one tick of a network runs, derived once for every solver: what is read, what still matters, what may be retained, what costs.

A solver that carries arrays over joint outputs through a tick needs an axis for an output only from the moment its coagent has run until
its last reader has, or to the end if the solver keeps it: the outputs that are *live*. `CoagentNetwork.plan(kept)` lists the coagents in
order with what is live around each; the learner's sweep keeps `network.critic_inputs`, the exact tick memory and action.

    forwards                                               backwards, with values W in place of laws
    law has axes for turn.live                             W has axes for turn.needed
    if turn.kept: times π, or retained: an axis for it     an axis, of length 1, for each name in turn.dropped
    summed over turn.dropped: axes for turn.needed         if turn.kept: averaged over its own axis: axes for turn.live
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

from optioncoagent.network.execution import Touched


@dataclass(frozen=True)
class CoagentPlan:
    """One coagent's turn in a tick. Names are in network order wherever the description does not order them itself.

    name, num_outputs, cost: as described.
    live, needed: outputs of this step that still matter before it runs, and after it has; live_sizes: how many outputs each of `live` has.
    gate, policy: the part of X_t that the axes of its execution table and of its policy's table stand for, (start, state, upstream,
    previous) in this order; the policy's table has its own output as one axis more, the last, its upstream and previous in the
    description's order, and never looks at start.
    retains_first, retains_later: may it fail to execute at a first step, at a later one? Where neither, its gate is 1.
    """

    name: str
    num_outputs: int
    live: tuple[str, ...]
    live_sizes: tuple[int, ...]
    needed: tuple[str, ...]
    gate: Touched
    policy: Touched
    retains_first: bool
    retains_later: bool
    cost: float

    @property
    def kept(self) -> bool:
        """Does anything that comes after it in this tick, or what the solver keeps, depend on its output?"""
        return self.name in self.needed

    @property
    def outputs(self) -> tuple[str, ...]:
        """The axes of a table over the outputs once it has run: `live`, and its own if that is kept."""
        return (*self.live, self.name) if self.kept else self.live

    @property
    def dropped(self) -> tuple[str, ...]:
        """Those of `outputs` that do not matter any more."""
        return tuple(n for n in self.outputs if n not in self.needed)

    @property
    def unread(self) -> tuple[str, ...]:
        """Those of `live` that its policy does not read."""
        return tuple(n for n in self.live if n not in self.policy.upstream)

    @property
    def num_values(self) -> int:
        """Entries of a table over the joint outputs `live` and its own: what a solver's memory grows with, at each node or step."""
        return prod(self.live_sizes) * self.num_outputs


def plan(network: Any, kept: Iterable[str]) -> tuple[CoagentPlan, ...]:
    """The turn of each coagent, in order, in a tick at whose end the outputs `kept` matter. Use `CoagentNetwork.plan`, which remembers it.

    An output is live from its coagent's turn until the last one whose policy's table or execution function reads it, or to the end if kept.
    """
    needed = set(kept)
    turns: list[CoagentPlan] = []
    for c in reversed(network.coagents):
        touched, after = network.touched[c.name], needed
        needed = (needed - {c.name}).union(c.tabled[0], touched.upstream)
        live = tuple(n for n in network.names if n in needed)
        turns.append(
            CoagentPlan(
                name=c.name,
                num_outputs=c.num_outputs,
                live=live,
                live_sizes=tuple(network[n].num_outputs for n in live),
                needed=tuple(n for n in network.names if n in after),
                gate=touched,
                policy=Touched(False, c.observes, *c.tabled),
                retains_first=network.may_retain(c.name, start=True),
                retains_later=network.may_retain(c.name, start=False),
                cost=float(c.cost),
            )
        )
    return tuple(reversed(turns))
