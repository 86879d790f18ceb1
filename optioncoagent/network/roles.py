"""Which coagents of a network have the part that options, actions and terminations have in option-critic, read from the description."""

from __future__ import annotations

import re

from optioncoagent.network.description import CoagentNetwork

SURE = 0.95  # a probability above this is near 1, one below 1 - this near 0
MOST = 8  # coagents that are shown


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


def is_option(name: str) -> bool:
    """Has a coagent the name of an option? With several levels they are option_1, option_2, …, top level first."""
    return re.fullmatch(r"option(_\d+)?", name) is not None


def gate_of(network: CoagentNetwork, name: str) -> str | None:
    """The name of an option's termination, of "option_2" termination_2: one of two outputs which say whether the option executes."""
    gate = name.replace("option", "termination", 1)
    if not is_option(name) or gate not in network.names or network[gate].num_outputs != 2 or name not in network.readers(gate):
        return None
    return gate


def shown_of(network: CoagentNetwork) -> tuple[str, ...]:
    """The coagents that films and maps show, in order: all with finitely many outputs but actions and the terminations of options. Of more
    than `MOST`, as in layers of small units, the options alone."""
    gates = {gate_of(network, name) for name in network.names}
    names = tuple(c.name for c in network.counted if c.name not in network.action and c.name not in gates)
    return names if len(names) <= MOST else tuple(filter(is_option, names))
