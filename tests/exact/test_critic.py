"""Q(s, K) against plain enumeration, and against option-critic's own values."""

import numpy as np
import pytest
from additive_networks import layers, with_bits, with_shared_terms
from enumerated import random_network
from small import appendix_d, random_mdp
from tabular import critic

import optioncoagent as oc
from optioncoagent.exact.critic import critic_values


def two_actions():
    """A joint action of which one part is memory and the other read from it."""
    first = oc.Coagent("a", 2, executes=0.5)
    return oc.CoagentNetwork([first, oc.Coagent("h", 3), oc.Coagent("b", 2, upstream=("h", "a"))], action=("b", "a"))


NETWORKS = {
    "flat": lambda: oc.option_critic(3, 2, deliberation_cost=0.3),
    "two levels, terminate first": lambda: oc.option_critic((2, 2), 2, first="terminate"),
    "appendix D": lambda: appendix_d(2),
    **{f"random {seed}": lambda seed=seed: random_network(seed) for seed in range(8)},
}


def agree(mdp, network):
    params = network.init_params(mdp.num_observations, seed=1)
    found, expected = critic_values(mdp, network, params), critic(mdp, network, params)
    assert found.shape == expected.shape
    seen = expected != 0  # the enumeration leaves 0 where K cannot occur
    assert seen.sum() > seen.size / 4
    np.testing.assert_allclose(found[seen], expected[seen], atol=1e-9)


LARGE = ("random 4", "random 7")  # whose histories are many


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in NETWORKS])
def test_it_is_the_enumerated_conditional_expectation(name):
    agree(random_mdp(), NETWORKS[name]())


@pytest.mark.parametrize("make", (layers, with_bits, with_shared_terms))
def test_of_additive_coagents_it_is_averaged_over_what_their_critic_does_not_know(make):
    mdp, network = random_mdp(), make(2)
    known = network.tabulated()
    known.critic_inputs = network.critic_inputs
    params = known.init_params(mdp.num_observations, seed=1)
    found, expected = critic_values(mdp, network, params), critic(mdp, known, params)
    assert found.shape == expected.shape == (5, *(2,) * len(network.critic_inputs))
    np.testing.assert_allclose(found[expected != 0], expected[expected != 0], atol=1e-9)
    assert (expected != 0).sum() > expected.size / 2


def test_a_joint_action_and_shared_observations():
    mdp = random_mdp(num_actions=4)
    agree(oc.MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, [0, 1, 1, 0, 2]), two_actions())


def test_of_flat_option_critic_it_is_q_omega():
    mdp, network = random_mdp(), oc.option_critic(3, 2, deliberation_cost=0.1)
    params = network.init_params(5)
    np.testing.assert_allclose(
        critic_values(mdp, network, params), oc.option_values(mdp, params, deliberation_cost=0.1).q_omega, atol=1e-12
    )
