"""Networks with additive coagents, and with coagents that share parameters."""

import optioncoagent as oc
from optioncoagent.gallery import stochastic_layers


def layers(num_actions):
    """Bits that observe, bits that read them, and an action."""
    return stochastic_layers((2, 3), num_actions, additive=True)


def with_bits(num_actions):
    """Options that last, bits that read them, and an action that observes and adds up all of them."""
    option = oc.Coagent("option", 2, executes=lambda x: x.start | (x.previous["last"] == 0))
    last = oc.Coagent("last", 2, upstream=("option",))
    bits = [oc.Coagent(f"bit_{i}", 2 + i, True, ("option", "last"), additive=True) for i in range(2)]
    action = oc.Coagent("action", num_actions, True, ("bit_0", "option", "bit_1"), additive=True)
    return oc.CoagentNetwork([option, last, *bits, action])


def with_shared_terms(num_actions):
    """The second layer's bits do not observe and have the same terms."""
    first = [oc.Coagent(f"first_{i}", 2) for i in range(2)]
    read = tuple(c.name for c in first)
    second = [oc.Coagent(f"second_{i}", 2, False, read, shares=s, additive=True) for i, s in enumerate((None, "second_0"))]
    return oc.CoagentNetwork([*first, *second, oc.Coagent("action", num_actions, False, ("second_0", "second_1"), additive=True)])


def with_a_reader_that_rests(num_actions):
    """A bit that the action reads, and a unit, which executes seldom and is read by nobody."""
    unit = oc.Coagent("unit", 2, False, ("bit",), executes=0.3, additive=True)
    return oc.CoagentNetwork([oc.Coagent("bit", 2), unit, oc.Coagent("action", num_actions, True, ("bit",), additive=True)])


def sharing(num_actions):
    """Two bits that execute half the time, with one set of parameters."""
    bits = [oc.Coagent(f"bit_{i}", 2, executes=0.5, shares=s) for i, s in enumerate((None, "bit_0"))]
    return oc.CoagentNetwork([*bits, oc.Coagent("action", num_actions, upstream=("bit_0", "bit_1"))])
