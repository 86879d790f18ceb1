"""Which coagents are options, what ends them, which of them are shown."""

import optioncoagent as oc
from optioncoagent.gallery import random_length, stochastic_layers, with_gate
from optioncoagent.network.roles import MOST, gate_of, is_option, shown_of


def test_what_is_an_option_and_its_termination():
    """By names and by what reads what: a gate of an option is neither, nor is a termination that gates nothing, or has three outputs."""
    gated = with_gate(random_length(3, 7, mean_length=3), "option")
    assert shown_of(gated) == ("option_gate", "option") and not is_option("option_gate") and gate_of(gated, "option") is None
    for termination, executes in ((2, 0.5), (3, lambda x: x.upstream["termination"] == 0)):
        network = oc.CoagentNetwork(
            [
                oc.Coagent("termination", termination),
                oc.Coagent("option", 2, executes=executes),
                oc.Coagent("action", 7, upstream=("option",)),
            ]
        )
        assert shown_of(network) == ("termination", "option") and gate_of(network, "option") is None
    assert shown_of(stochastic_layers((MOST + 1,), 7)) == ()
    many = oc.option_critic((2,) * (MOST + 1), 7)
    assert shown_of(many) == tuple(f"option_{level}" for level in range(1, MOST + 2))
