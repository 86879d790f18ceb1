"""The plan of a tick against its definition, read off the description by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import networks

import optioncoagent as oc


def test_option_critic_by_hand():
    termination, option, action = oc.option_critic(3, 4, deliberation_cost=0.5).plan(("option",))
    assert (termination.live, termination.needed, termination.dropped) == ((), ("termination",), ())
    assert (termination.retains_first, termination.retains_later) == (True, False)
    assert termination.gate == oc.network.Touched(start=True)
    assert termination.policy == oc.network.Touched(state=True, previous=("option",))
    assert (option.live, option.needed, option.dropped, option.unread) == (
        ("termination",), ("option",), ("termination",), ("termination",),
    )  # fmt: skip
    assert option.retains_first and option.retains_later and option.cost == 0.5 and option.num_values == 2 * 3
    assert (action.live, action.needed, action.kept, action.outputs, action.unread) == (("option",), ("option",), False, ("option",), ())
    assert not (action.retains_first or action.retains_later) and action.num_values == 3 * 4


@given(networks(max_coagents=3), st.data())
def test_an_output_is_live_while_somebody_later_reads_it_or_it_is_kept(network, data):
    kept = data.draw(st.sets(st.sampled_from(network.names)))
    turns = network.plan(kept)
    assert tuple(turn.name for turn in turns) == network.names
    for i, turn in enumerate(turns):
        for names, first in ((turn.live, i), (turn.needed, i + 1)):
            read = {n for later in turns[first:] for n in (*later.policy.upstream, *later.gate.upstream)}
            assert names == tuple(n for n in network.names[:first] if n in read | kept)
        assert set(turn.outputs) - set(turn.dropped) == set(turn.needed)
        gate = network.execution_table(turn.name, 4)
        may_retain = turn.gate.state or (gate < 1).any()
        assert (turn.retains_first or turn.retains_later) == may_retain
        assert turn.num_values == np.prod([network[n].num_outputs for n in (*turn.live, turn.name)])
