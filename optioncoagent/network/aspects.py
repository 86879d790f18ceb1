"""A network in words and numbers: what sets it apart from others, so that a description can be held against one of before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optioncoagent.network.coagent import Coagent
from optioncoagent.network.description import CoagentNetwork
from optioncoagent.network.digests import digest

BEHAVIOUR = ("executes", "costs", "initial")  # what the same parameters may be tried with; the rest is what they are parameters of


def aspects(network: CoagentNetwork) -> dict[str, Any]:
    """What sets a network apart from others, {aspect: {coagent: what is not as usual}}."""
    aspects: dict[str, dict[str, Any]] = {
        "network": {c.name: c.num_outputs if c.gaussian is None else str(c.gaussian) for c in network.coagents},
        "upstream": {c.name: list(c.upstream) for c in network.coagents if c.upstream},
        "previous": {c.name: list(c.previous) for c in network.coagents if c.previous},
        "observes": {c.name: False for c in network.coagents if not c.observes},
        "executes": {c.name: _in_words(network, c) for c in network.coagents},
        "costs": {c.name: float(c.cost) for c in network.coagents if c.cost},
        "initial": {c.name: network.initial(c.name).tolist() for c in network.coagents if c.initial is not None},
        "shares": {c.name: c.shares for c in network.coagents if c.shares},
        "additive": {c.name: True for c in network.coagents if c.additive},
    }
    return {aspect: of for aspect, of in aspects.items() if of} | {"action": list(network.action)}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[str]]:
    """How two `aspects` differ, in words, {aspect: [for each coagent]}; execution functions by what they say, not by their names."""
    found: dict[str, list[str]] = {}
    for aspect in {**before, **now}:
        there, here = before.get(aspect, {}), now.get(aspect, {})
        pairs = {"": (there, here)} if aspect == "action" else {name: (there.get(name), here.get(name)) for name in {**there, **here}}
        for name, pair in pairs.items():
            old, new = (x.rpartition(", ")[2] if aspect == "executes" and isinstance(x, str) else x for x in pair)
            if old != new:
                said = "num_outputs" if aspect == "network" else aspect
                found.setdefault(aspect, []).append(f"{said}{f' of {name!r}' if name else ''} was {pair[0]} and is {pair[1]}")
    return found


def _in_words(network: CoagentNetwork, coagent: Coagent) -> float | str:
    """A probability as it is; an execution function by its name, and a digest of its table, or of its code where it looks at the state."""
    function = coagent.executes
    if not callable(function):
        return float(function)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    said = function if network.touched[coagent.name].state else network.execution_table(coagent.name, 1)
    return f"{name}, {digest(said)}"
