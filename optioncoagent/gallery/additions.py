"""What can be added to any network: a memory, a gate that is learned. Functions from network to network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from optioncoagent.network import Coagent, CoagentNetwork, LocalState, execution_probability

OPEN = 0
CLOSED = 1


def with_memory(network: CoagentNetwork, num_outputs: int, readers: Iterable[str] | None = None) -> CoagentNetwork:
    """The network and a coagent "memory" of so many outputs, which reads itself and the state, and which `readers` read.

        memory_{t-1} ──► memory ──► readers, the first axis of their parameters after the observation
                S_t ───────▲                     executes at every step; 0 before the first

    A stochastic finite-state controller, as in Peshkin, Meuleau, Kaelbling, "Learning Policies with External Memory" (ICML 1999): what the
    agent can no longer see, it may have noted. readers: by default the action coagents; those that share parameters read it together.
    Equal to the network itself with one output. ValueError for a reader that is not there, or a network that has a memory by that name.
    """
    names = network.action if readers is None else (readers,) if isinstance(readers, str) else tuple(readers)
    unknown = [name for name in names if name not in network.names]
    if unknown:
        raise ValueError(f"readers={unknown}: the network has {network.names}")
    owners = {network[name].owner for name in names}
    memory = Coagent("memory", num_outputs, previous=("memory",), initial=0)
    coagents = [replace(c, upstream=("memory", *c.upstream)) if c.owner in owners else c for c in network.coagents]
    return CoagentNetwork([memory, *coagents], action=network.action)


def with_gate(network: CoagentNetwork, name: str, upstream: tuple[str, ...] = ()) -> CoagentNetwork:
    """The network and a binary coagent NAME_gate, just before NAME, that lets it execute: OPEN; or retain what it has: CLOSED.

        name_{t-1} ──► name_gate ┄┄┄┄ gates ┄┄┄► name          name executes iff it would have and its gate is OPEN
              S_t ────────▲                                    the gate executes at every step but the first, when it is OPEN

    A learned execution function is one more coagent (Kostas, Nota, Thomas, "Asynchronous Coagent Networks", ICML 2020, arXiv 1902.05650).
    upstream: earlier coagents that the gate reads besides. Equal to `option_critic` where `always_terminating` has a gate on its option: a
    termination is a gate. On the action of a flat policy it learns to repeat actions, and is equal to `option_critic` with one option for
    each action, which always takes it; compare Sharma, Lakshminarayanan, Ravindran, "Learning to Repeat" (ICLR 2017), where the number of
    repetitions is drawn at once.
    ValueError for a name that is not there.
    """
    if name not in network.names:
        raise ValueError(f"there is no coagent {name!r} to gate: the network has {network.names}")
    gate = Coagent(f"{name}_gate", 2, upstream=upstream, previous=(name,), executes=lambda x: ~x.start, initial=OPEN)
    coagents = list(network.coagents)
    place, gated = network.names.index(name), network[name]

    def executes(x: LocalState) -> Any:
        return execution_probability(gated, x) * (x.upstream[gate.name] == OPEN)

    coagents[place : place + 1] = [gate, replace(gated, executes=executes)]
    return CoagentNetwork(coagents, action=network.action)
