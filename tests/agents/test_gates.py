"""Execution functions that look at observations: they say the same of each whatever others are beside it, or are refused."""

import numpy as np
import pytest
import torch
from small import SMALL

import optioncoagent as oc
from optioncoagent.agents.sweep import gate, gate_on_axes
from optioncoagent.network import LocalState

REDUCING = [
    lambda x: x.state[:, 0].max() > 0,
    lambda x: torch.sigmoid(x.state.mean()),
    lambda x: x.state[0, 0] > 0,
    lambda x: x.state[:, 0] > x.state[:, 0].mean(),
]


def gated(executes):
    return oc.CoagentNetwork([oc.Coagent("gated", 3, executes=executes), oc.Coagent("action", 2, upstream=("gated",))])


@pytest.mark.parametrize("executes", REDUCING)
def test_what_reduces_over_the_batch_is_refused_by_name(executes):
    agent = oc.CoagentActorCritic("CartPole-v1", gated(executes), **SMALL)
    with pytest.raises(ValueError, match="coagent 'gated': its execution function says .* of an observation by itself, .* among others"):
        agent.learn(1)


def test_another_shape_is_refused_by_name():
    agent = oc.CoagentActorCritic("CartPole-v1", gated(lambda x: x.state[:, :1] > 0), **SMALL)
    with pytest.raises(ValueError, match=r"coagent 'gated': its execution function gave shape \(5, 1\) for 5 observations"):
        agent.learn(1)


@pytest.mark.parametrize(
    "executes",
    [
        lambda x: x.state[:, 0] > 0,
        lambda x: torch.sigmoid(x.state @ torch.ones(4)),
        lambda x: 0.5 if x.state is not None else 1.0,
        lambda x: x.start | (x.state.norm(dim=1) > 1) | (x.previous["gated"] == 2),
    ],
)
def test_what_looks_at_each_row_alone_is_taken(executes):
    agent = oc.CoagentActorCritic("CartPole-v1", gated(executes), **SMALL).learn(64)
    assert agent.num_timesteps == 64 and np.isfinite(agent.update()["gated/loss"])


def test_what_is_given_may_be_changed():
    def later(x):
        run, previous, state = x.start, x.previous["a"], x.state
        run |= (state[:, 0] > 0) & (x.upstream["a"] == 0)
        previous += 1
        state *= 0
        return run & (previous == 1) & (x.state[:, 0] >= -9)

    network = oc.CoagentNetwork([oc.Coagent("a", 2), oc.Coagent("action", 2, executes=later)])
    state, start = torch.tensor([[1.0], [-1.0], [2.0], [-2.0]]), torch.tensor([False, False, False, True])
    previous = {name: torch.tensor([0, 0, 1, 0]) for name in network.names}
    beta = gate_on_axes(network, 1, ("a",), start, state, previous, torch.float64)
    np.testing.assert_array_equal(beta, [[1, 0, 0, 1], [0, 0, 0, 1]])
    assert start.tolist() == [False, False, False, True] and previous["a"].tolist() == [0, 0, 1, 0]
    assert state.tolist() == [[1.0], [-1.0], [2.0], [-2.0]]


def test_what_was_drawn_in_this_step_may_be_changed():
    """By a gate that asks about what its coagent is about to read: the output that acts stays as it was."""

    def later(x):
        drawn = x.upstream["a"]
        drawn += 1
        return (x.state[:, 0] > 0) & (drawn == 2)

    network = oc.CoagentNetwork([oc.Coagent("a", 2), oc.Coagent("action", 2, executes=later)])
    drawn, state = torch.tensor([0, 1, 1]), torch.tensor([[1.0], [1.0], [-1.0]])
    beta = gate(network, 1, LocalState(torch.zeros(3, dtype=torch.bool), state, {"a": drawn}, {}), torch.float64)
    assert beta.tolist() == [0, 1, 0] and drawn.tolist() == [0, 1, 1]


def test_a_mask_on_observations_is_taken():
    def executes(x):
        chances = (x.state[:, 0] > 0).float()
        chances[x.start] = 1.0
        return chances

    assert np.isfinite(oc.CoagentActorCritic("CartPole-v1", gated(executes), **SMALL).update()["gated/executed"])


def test_outputs_of_the_step_and_observations_have_one_shape_too():
    """So that they may be stacked, or changed in place; the values on axes are those of each joint output."""

    def both(x):
        verdict = x.state[:, 0] > 0
        verdict &= x.upstream["a"] == 1
        return torch.stack([verdict, x.upstream["b"] != 2, ~x.start]).all(dim=0)

    network = oc.CoagentNetwork([oc.Coagent("a", 2), oc.Coagent("idle", 2), oc.Coagent("b", 3), oc.Coagent("action", 2, executes=both)])
    state, start = torch.tensor([[1.0], [-1.0], [2.0], [3.0]]), torch.tensor([False, False, False, True])
    previous = dict.fromkeys(network.names, torch.zeros(4, dtype=torch.long))
    beta = gate_on_axes(network, 3, ("a", "idle", "b"), start, state, previous, torch.float64)
    assert beta.shape == (2, 1, 3, 4)
    for a, b in np.ndindex(2, 3):
        np.testing.assert_array_equal(beta[a, 0, b], [a == 1 and b != 2, 0, a == 1 and b != 2, 0])
    agent = oc.CoagentActorCritic("CartPole-v1", network, **SMALL).learn(64)
    assert np.isfinite(agent.update()["action/loss"])


def test_a_gate_may_change_what_it_is_given():
    """What it is asked before the first rollout, too."""

    def shifts(x):
        state, previous = x.state, x.previous["action"]
        state -= 1
        previous += 1
        return state[:, 0] > -1

    def looks(x):
        return (x.state[:, 0] - 1 > -1) & (x.previous["action"] >= 0)

    ends = []
    for executes in (shifts, looks):
        network = oc.CoagentNetwork([oc.Coagent("action", 2, executes=executes)])
        ends.append(oc.CoagentActorCritic("CartPole-v1", network, seed=0, **SMALL).learn(128).module.state_dict())
    assert all(torch.equal(*pair) for pair in zip(*(end.values() for end in ends), strict=True))
