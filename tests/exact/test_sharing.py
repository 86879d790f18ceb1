"""Coagents that share parameters: the local gradients add (Zini et al., "Coagent Networks Revisited", 2020), by several roads."""

from dataclasses import replace

import numpy as np
import pytest
from brute_force import truncated_gradient, truncated_return
from hypothesis import given, settings
from strategies import cases
from witness import assert_same, torch_witness

import optioncoagent as oc
from optioncoagent.exact import comdp, expected_return, finite_difference, local_gradient, policy_gradient, synchronous
from optioncoagent.network import Coagent, CoagentNetwork


def unshared(network, params):
    """The same network with parameters for everyone, equal to their owner's."""
    own = CoagentNetwork([replace(c, shares=None) for c in network.coagents], action=network.action)
    return own, {c.name: params[c.shares or c.name].copy() for c in network.coagents}


@given(cases(sharing=True))
def test_the_gradient_is_central_differences(case):
    assert len(case.params) < len(case.network.names)
    gradient = policy_gradient(*case)
    assert set(gradient) == set(case.params)
    assert_same(gradient, finite_difference(*case), 1e-6)


@given(cases(gammas=(0.0, 0.3), max_states=2, max_outputs=2, sharing=True))
def test_the_gradient_is_that_of_an_enumerated_return(case):
    """γ^12 is below 1e-6: what is left out changes no digit that is compared."""
    assert expected_return(*case) == pytest.approx(truncated_return(*case, horizon=12), rel=1e-4, abs=1e-5)
    assert_same(policy_gradient(*case), truncated_gradient(*case, horizon=12), 1e-4)


@given(cases(sharing=True))
def test_the_gradient_is_the_sum_of_the_unshared_networks_at_equal_params(case):
    mdp, network, params = case
    own, everyone = unshared(network, params)
    assert expected_return(*case) == pytest.approx(expected_return(mdp, own, everyone), rel=1e-12, abs=1e-14)
    parts, summed = policy_gradient(mdp, own, everyone), {}
    for c in network.coagents:
        np.testing.assert_allclose(local_gradient(*case, c.name), parts[c.name], atol=1e-12)
        summed[c.owner] = summed.get(c.owner, 0.0) + parts[c.name]
    assert_same(policy_gradient(*case), summed, 1e-10)


@given(cases(sharing=True))
@settings(max_examples=30)
def test_the_gradient_is_autograd_through_the_linear_solve(case):
    J, expected = torch_witness(*case)
    assert expected_return(*case) == pytest.approx(J, rel=1e-9, abs=1e-12)
    assert_same(policy_gradient(*case), expected, 1e-9)


@given(cases(sharing=True, max_coagents=2, max_outputs=2, max_states=2))
@settings(max_examples=20)
def test_the_synchronous_reduction_has_the_same_return(case):
    assert expected_return(*synchronous(*case)) == pytest.approx(expected_return(*case), rel=1e-9, abs=1e-9)


@given(cases(sharing=True, synchronous=True))
@settings(max_examples=20)
def test_the_comdp_of_a_coagent_that_shares_is_that_of_the_unshared_network(case):
    mdp, network, params = case
    own, everyone = unshared(network, params)
    for name in network.names:
        shared, alone = comdp(*case, name), comdp(mdp, own, everyone, name)
        np.testing.assert_array_equal(shared.P, alone.P)
        np.testing.assert_array_equal(shared.R, alone.R)


def pair(**changes):
    """Two bits with one set of parameters, each of which the action reads."""
    second = Coagent("b", **{"num_outputs": 2, "executes": 0.5, "shares": "a", **changes})
    return CoagentNetwork([Coagent("a", 2), second, Coagent("action", 3, upstream=("a", "b"))])


def test_params_have_the_owners_key_only():
    network = pair()
    params = network.init_params(4)
    assert list(params) == ["a", "action"]
    policies = network.policies(params, 4)
    np.testing.assert_array_equal(policies["b"], policies["a"])
    layout = network.parameters(4)
    assert [block.owner for block in layout.blocks] == ["a", "action"] and layout.of["b"] == layout.of["a"]
    assert layout.size == 4 * 2 + 4 * 2 * 2 * 3
    with pytest.raises(ValueError, match=r"params has .'b'."):
        network.policies({**params, "b": params["a"]}, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pair(shares="zz"), "coagent 'b': shares='zz', but no coagent has that name"),
        (lambda: pair(shares="b"), "coagent 'b': shares='b' is itself"),
        (lambda: pair(num_outputs=3), "coagent 'b': shares='a', whose parameters have another shape"),
        (lambda: pair(observes=False), "coagent 'b': shares='a', whose parameters have another shape"),
        (lambda: pair(previous=("a",)), "coagent 'b': shares='a', whose parameters have another shape"),
        (
            lambda: CoagentNetwork([Coagent("a", 2), Coagent("b", 2, shares="a"), Coagent("action", 2, shares="b")]),
            "coagent 'action': shares='b', which shares 'a' itself: share 'a'",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_chain_of_readers_worked_out():
    """One state, γ = 0, both coagents draw a bit with the logits (0, x), reward 1 where both are 1: J = p², ∂J/∂x = 2 p · p (1 - p)."""
    mdp = oc.MDP(np.ones((1, 4, 1)), np.array([[0.0, 0.0, 0.0, 1.0]]), [1.0], 0.0, [False])
    network = CoagentNetwork([Coagent("a", 2), Coagent("b", 2, shares="a")], action=("a", "b"))
    params, p = {"a": np.array([[0.0, 0.7]])}, 1 / (1 + np.exp(-0.7))
    assert expected_return(mdp, network, params) == pytest.approx(p**2)
    assert policy_gradient(mdp, network, params)["a"][0] == pytest.approx([-2 * p**2 * (1 - p), 2 * p**2 * (1 - p)])
    assert local_gradient(mdp, network, params, "b")[0, 1] == pytest.approx(p**2 * (1 - p))
