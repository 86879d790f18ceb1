"""Networks with a coagent whose output is a vector of real numbers: the record, what is refused, and by whom."""

from dataclasses import replace

import numpy as np
import pytest
from small import random_mdp

import optioncoagent as oc
from optioncoagent import gallery
from optioncoagent.network import CoagentNetwork

PAIR = oc.Gaussian(2, low=-1.0, high=1.0)
OPTION, ACTION = oc.Coagent("option", 3), oc.Coagent("action", PAIR, upstream=("option",))


def test_a_gaussian_in_place_of_a_number():
    network = CoagentNetwork([OPTION, ACTION])
    assert network["action"].gaussian == PAIR and network["action"].num_outputs == 1 and network["action"].num_parameters == 4
    assert [c.name for c in network.counted] == ["option"] and network.gaussians == {"action": PAIR}
    assert network.critic_inputs == ("option",) and network.memory == () and "action:2 numbers" in repr(network)
    assert replace(ACTION, name="move").gaussian == PAIR and hash(ACTION) == hash(oc.Coagent("action", PAIR, upstream=("option",)))
    assert oc.option_critic(3, PAIR).memory == oc.option_critic(3, 2).memory == ("option",)


def test_minus_one_and_one_stand_for_the_bounds():
    gaussian = oc.Gaussian(4, low=(-2.0, 0.0, -np.inf, 5.0), high=(2.0, 10.0, np.inf, np.inf))
    np.testing.assert_array_equal(gaussian.centre, [0, 5, 0, 5])
    np.testing.assert_array_equal(gaussian.unit, [2, 5, 1, 1])
    np.testing.assert_array_equal(gaussian.action([[-1, -1, -1, -1], [0.5, 1, 7, 0.5], [3, -3, -1e9, 0]])[0], [-2, 0, -1, 5])
    np.testing.assert_array_equal(gaussian.action([0.5, 1, 7, 0.5]), [1, 10, 7, 5.5])
    np.testing.assert_array_equal(gaussian.action([3, -3, -1e9, 2]), [2, 0, -1e9, 7])
    wide = oc.Gaussian(1, low=-3.4e38, high=3.4e38)  # as good as no bounds
    assert wide.unit == 1 and wide.action([4.0]) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: oc.Gaussian(0), "size=0"),
        (lambda: oc.Gaussian(True), "size=True"),
        (lambda: oc.Gaussian(2, low=(0.0, 0.0, 0.0)), "low=.* one for each of 2"),
        (lambda: oc.Gaussian(1, low=float("nan")), "low=nan"),
        (lambda: oc.Gaussian(1, low=1.0, high=1.0), "low=.* must be below high"),
        (lambda: oc.Gaussian(1, scale=0.0), "scale=0.0"),
    ],
)
def test_a_gaussian_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def with_action(*others, action="action", **changes):
    return CoagentNetwork([OPTION, replace(ACTION, **changes), *others], action=action)


REFUSED = {
    "coagent 'later': upstream reads 'action', whose output is Gaussian": lambda: with_action(oc.Coagent("later", 2, upstream=("action",))),
    "coagent 'later': shares='action_2'.*\\('2 numbers',\\).*\\('3 numbers',\\)": lambda: CoagentNetwork(
        [
            oc.Coagent("two", oc.Gaussian(2)),
            oc.Coagent("three", oc.Gaussian(3)),
            oc.Coagent("action_2", 2, upstream=("two",), additive=True),
            oc.Coagent("later", 2, upstream=("three",), additive=True, shares="action_2"),
        ],
        action="action_2",
    ),
    "coagent 'option': previous reads 'action', whose output is Gaussian": lambda: CoagentNetwork(
        [replace(OPTION, previous=("action",)), ACTION]
    ),
    "coagent 'option': its execution function looks at 'action'": lambda: CoagentNetwork(
        [replace(OPTION, executes=lambda x: x.previous["action"] == 0), ACTION]
    ),
    "coagent 'action': its Gaussian has bounds": lambda: with_action(
        oc.Coagent("later", 2, upstream=("action",), additive=True), action="later"
    ),
    "coagent 'action': executes=0.5: a Gaussian is drawn at every step": lambda: with_action(executes=0.5),
    "coagent 'action': executes=<function": lambda: with_action(executes=lambda x: x.start),
    "coagent 'action_gate': previous reads 'action', whose": lambda: gallery.with_gate(oc.option_critic(2, PAIR), "action"),
    "coagent 'action': initial=0": lambda: with_action(initial=0),
    "coagent 'action': previous=\\('option',\\): let an earlier coagent": lambda: with_action(previous=("option",)),
    "coagent 'action': num_outputs=3 beside its Gaussian": lambda: with_action(num_outputs=3),
    "coagent 'action': its output is Gaussian and nobody": lambda: with_action(action="option"),
    "coagent 'option': action has outputs that are counted and Gaussian": lambda: with_action(action=("option", "action")),
    "coagent 'other': shares='action', whose parameters have another shape": lambda: with_action(
        oc.Coagent("other", oc.Gaussian(3), upstream=("option",), shares="action"), action=("action", "other")
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_only_counted_outputs_allow_is_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_the_exact_solver_and_the_simulator_refuse_by_name():
    mdp, network = random_mdp(), oc.option_critic(2, PAIR)
    params = oc.option_critic(2, mdp.num_actions).init_params(mdp.num_observations)
    message = "coagent 'action': its output is Gaussian, .*finitely many outputs.* train the network with CoagentActorCritic"
    for solve in (
        lambda: network.init_params(mdp.num_observations),
        lambda: network.policies(params, mdp.num_observations),
        lambda: oc.expected_return(mdp, network, params),
        lambda: oc.policy_gradient(mdp, network, params),
        lambda: oc.local_gradient(mdp, network, params, "option"),
        lambda: oc.finite_difference(mdp, network, params),
        lambda: oc.ascend(mdp, network, params, 1),
        lambda: oc.comdp(mdp, CoagentNetwork([OPTION, ACTION]), params, "action"),
        lambda: oc.synchronous(mdp, network, params),
        lambda: oc.estimate_return(mdp, network, params, 10),
        lambda: oc.estimate_gradient(mdp, network, params, 10),
    ):
        with pytest.raises(ValueError, match=message):
            solve()


@pytest.mark.parametrize(
    "describe",
    [
        lambda actions: oc.option_critic((2, 3), actions),
        lambda actions: gallery.always_terminating(2, actions),
        lambda actions: gallery.random_length(2, actions, 3),
        lambda actions: gallery.clocked_options(2, actions, 3),
        lambda actions: gallery.double_actor_critic(2, actions),
        lambda actions: gallery.initiation_sets(2, actions),
        lambda actions: gallery.stochastic_layers((2, 3), actions),
        lambda actions: gallery.feed_forward_options((2, 2), actions),
        lambda actions: gallery.with_memory(gallery.always_terminating(2, actions), 3),
    ],
)
def test_the_gallery_takes_a_gaussian_for_its_actions(describe):
    """Wherever all reads are of counted outputs, the network has the memory and the critic's inputs that it has with counted actions."""
    real, counted = describe(PAIR), describe(4)
    assert real.gaussians == {"action": PAIR}
    assert (real.memory, real.critic_inputs) == (counted.memory, counted.critic_inputs)
