"""Which coagents of a network have the part that options, actions and terminations have in option-critic, read from the description."""

from __future__ import annotations

from optioncoagent.network.description import CoagentNetwork

SURE = 0.95  # a probability above this is near 1, one below 1 - this near 0


def held(network: CoagentNetwork) -> list[str]:
    """Coagents whose output may last longer than a step, and matters then: options."""
    return [name for name in network.memory if network.may_retain(name, start=False)]


def read(network: CoagentNetwork) -> list[str]:
    """Coagents whose output a policy reads: options."""
    return [name for name in network.names if any(name in (*c.upstream, *c.previous) for c in network.coagents)]


def lasting(network: CoagentNetwork) -> list[str]:
    """Of what policies read, what a later step can tell from another output: options, whether they are held or drawn again."""
    return [name for name in read(network) if name in network.memory]


def gating(network: CoagentNetwork) -> list[str]:
    """Coagents at whose outputs an execution function looks: terminations."""
    return [name for name in network.names if any(name in (*x.upstream, *x.previous) for x in network.touched.values())]
