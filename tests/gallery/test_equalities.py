"""What the docstrings of the gallery say is equal: the same J, and the same gradient where parameters correspond."""

from dataclasses import replace

import numpy as np
import pytest
from small import random_mdp

import optioncoagent as oc
from optioncoagent import gallery
from optioncoagent.gallery import random_length, stochastic_layers, with_memory
from optioncoagent.network import softmax

MDP = random_mdp(num_actions=3)
S, A = MDP.num_observations, MDP.num_actions
NEVER = -np.inf


def drawn(network, **fixed):
    return {**network.init_params(S, seed=1), **fixed}


def J(network, params):
    return oc.expected_return(MDP, network, params)


def gradient(network, params):
    return oc.policy_gradient(MDP, network, params)


def same(network, params, other, others, names=None):
    """Equal returns, and, under the names {here: there}, equal gradients; by default those that both have."""
    assert J(network, params) == pytest.approx(J(other, others), rel=1e-10)
    here, there = gradient(network, params), gradient(other, others)
    names = {name: name for name in here.keys() & there.keys()} if names is None else names
    assert names
    for name, its_name in names.items():
        np.testing.assert_allclose(here[name].reshape(there[its_name].shape), there[its_name], atol=1e-10)


def log_odds(probability):
    """Logits of a termination with this probability everywhere, (S, O, 2)."""
    with np.errstate(divide="ignore"):
        return np.broadcast_to(np.log([probability, 1 - probability]), (S, 3, 2))


def test_one_option_is_the_flat_policy():
    network, flat = oc.option_critic(1, A), gallery.stochastic_layers((), A)
    params = drawn(network)
    same(network, params, flat, {"action": params["action"].reshape(S, A)}, {"action": "action"})


def test_a_top_level_of_one_option_is_one_level_fewer():
    network, other = oc.option_critic((1, 3), A, deliberation_cost=0.1), oc.option_critic(3, A, deliberation_cost=0.1)
    free = oc.CoagentNetwork([replace(c, cost=0.0) if c.name == "option_1" else c for c in network.coagents])
    params = drawn(network)
    names = {"termination_2": "termination", "option_2": "option", "action": "action"}
    others = {its: params[name].reshape(other.parameter_shape(its, S)) for name, its in names.items()}
    same(free, params, other, others, names)


def test_always_terminating_is_option_critic_that_terminates():
    network, other = gallery.always_terminating(3, A), oc.option_critic(3, A)
    params = drawn(network)
    same(network, params, other, {**params, "termination": log_odds(1.0)})


def test_always_terminating_is_the_flat_mixture():
    network, flat = gallery.always_terminating(3, A), gallery.stochastic_layers((), A)
    params = drawn(network)
    mixture = (softmax(params["option"])[..., None] * softmax(params["action"])).sum(axis=1)
    assert J(network, params) == pytest.approx(J(flat, {"action": np.log(mixture)}), rel=1e-10)


def test_random_length_is_option_critic_with_one_termination_probability():
    network, other = gallery.random_length(3, A, 4), oc.option_critic(3, A)
    params = drawn(network)
    same(network, params, other, {**params, "termination": log_odds(0.25)})


def test_random_length_one_is_always_terminating():
    network, other = gallery.random_length(3, A, 1), gallery.always_terminating(3, A)
    same(network, drawn(network), other, drawn(network))


def test_a_clock_of_one_phase_is_always_terminating():
    network, other = gallery.clocked_options(3, A, 1), gallery.always_terminating(3, A)
    params = drawn(network)
    same(network, params, other, {name: params[name] for name in ("option", "action")})


def test_a_clock_without_preference_is_random_length():
    network, other = gallery.clocked_options(3, A, 4), gallery.random_length(3, A, 4)
    params = drawn(network, clock=np.zeros((4, 4)))
    same(network, params, other, {name: params[name] for name in ("option", "action")})


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_cycle_ends_options_after_so_many_steps(length):
    """Nothing happens but that choices cost 1: J = -γ^k - γ^2k - …; and none of the gradient moves the clock."""
    assert all(softmax(gallery.cycle(length))[phase, (phase + 1) % length] == 1 for phase in range(length))
    mdp = oc.MDP(np.ones((1, 2, 1)), np.zeros((1, 2)), [1.0], 0.9, [False])
    clock, option, action = gallery.clocked_options(2, 2, length).coagents
    network = oc.CoagentNetwork([clock, oc.Coagent("option", 2, executes=option.executes, cost=1.0), action])
    params = {**network.init_params(1), "clock": gallery.cycle(length)}
    assert oc.expected_return(mdp, network, params) == pytest.approx(-(0.9**length) / (1 - 0.9**length), rel=1e-12)
    assert np.abs(oc.policy_gradient(mdp, network, params)["clock"]).max() < 1e-14


def test_one_layer_is_option_critic():
    network, other = gallery.feed_forward_options((3,), A), oc.option_critic(3, A)
    same(network, drawn(network), other, drawn(network))


def test_feed_forward_options_are_a_hierarchy_that_forgets_the_path():
    network, other = gallery.feed_forward_options((2, 3, 2), A), oc.option_critic((2, 3, 2), A)
    params = drawn(network)
    # the node above, or of the layer itself, is the last axis before the outputs; the path above comes before it
    on_paths = {"termination_2": 1, "termination_3": 2, "option_3": 1, "action": 2}
    everywhere, paths = {}, {"option_1": (), "option_2": (), "termination_1": ()}
    for name, shape in ((name, other.parameter_shape(name, S)) for name in other.names):
        paths[name] = tuple(range(1, 1 + on_paths.get(name, 0)))
        everywhere[name] = np.broadcast_to(np.expand_dims(params[name], paths[name]), shape)
    assert J(network, params) == pytest.approx(J(other, everywhere), rel=1e-10)
    here, there = gradient(network, params), gradient(other, everywhere)
    for name in network.names:
        np.testing.assert_allclose(here[name], there[name].sum(axis=paths[name]), atol=1e-10)


def test_shared_layers_have_the_layers_gradients_added():
    network, other = gallery.feed_forward_options((2, 2, 2), A, shared=True), gallery.feed_forward_options((2, 2, 2), A)
    params = drawn(network)
    owners = {name: network[name].owner for name in network.names}
    everyone = {name: params[owner] for name, owner in owners.items()}
    assert list(params) == ["termination_1", "option_1", "option_2", "action"]
    assert J(network, params) == pytest.approx(J(other, everyone), rel=1e-10)
    here, there = gradient(network, params), gradient(other, everyone)
    for owner in params:
        np.testing.assert_allclose(here[owner], sum(there[n] for n in owners if owners[n] == owner), atol=1e-10)


LAW = (0.2, 0.3, 0.5)


def test_the_double_actor_critic_has_the_return_and_the_gradient_of_option_critic():
    """J at π', and ∇J through the derivative of (b, π_Ω) -> π'."""
    network, double = oc.option_critic(3, A, first="terminate", initial=LAW), gallery.double_actor_critic(3, A, initial=LAW)
    params = drawn(network)
    mapped = gallery.double_params(params)
    assert J(network, params) == pytest.approx(J(double, mapped), rel=1e-10)
    call_and_return, upper = gradient(network, params), gradient(double, mapped)
    np.testing.assert_allclose(call_and_return["action"], upper["action"], atol=1e-10)

    # ∂J/∂π'(ω'|s,ω) = (∂J/∂ln π') / π', (S, O, O), up to a constant in ω' that a law does not see
    slope = upper["option"] / np.exp(mapped["option"])
    b, choice = softmax(params["termination"])[..., oc.TERMINATE], softmax(params["option"])
    # ∂J/∂b_ω(s) = Σ_ω' (π_Ω(ω'|s) - 1{ω'=ω}) ∂J/∂π', and b is a softmax of two logits
    d_b = ((choice[:, None] - np.eye(3)) * slope).sum(axis=2)
    along = b * (1 - b) * d_b
    np.testing.assert_allclose(call_and_return["termination"][..., oc.TERMINATE], along, atol=1e-10)
    np.testing.assert_allclose(call_and_return["termination"][..., oc.CONTINUE], -along, atol=1e-10)
    # ∂J/∂π_Ω(ω'|s) = Σ_ω b_ω(s) ∂J/∂π'(ω'|s,ω), and π_Ω is a softmax
    d_choice = (b[..., None] * slope).sum(axis=1)
    expected = choice * (d_choice - (choice * d_choice).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(call_and_return["option"], expected, atol=1e-10)
    assert all(np.abs(part).max() > 1e-3 for part in call_and_return.values())


def test_the_double_actor_critic_selects_first_with_an_option_that_is_left_for_good():
    network, double = oc.option_critic(3, A), gallery.double_actor_critic(4, A, initial=3)
    params = drawn(network)
    leaves = np.broadcast_to([0.0, NEVER], (S, 1, 2))
    wider = {
        "termination": np.concatenate([params["termination"], leaves], axis=1),
        "option": np.concatenate([params["option"], np.full((S, 1), NEVER)], axis=1),
        "action": np.concatenate([params["action"], np.zeros((S, 1, A))], axis=1),
    }
    mapped = gallery.double_params(wider)
    assert J(network, params) == pytest.approx(J(double, mapped), rel=1e-10)
    np.testing.assert_allclose(gradient(double, mapped)["action"][:, :3], gradient(network, params)["action"], atol=1e-10)


def bits(probability):
    """Logits of three initiation coagents: availability (S, 3) as given."""
    with np.errstate(divide="ignore"):
        logits = np.log(np.stack([1 - probability, probability], axis=-1))
    return {f"initiation_{i}": logits[:, i] for i in range(3)}


def test_everything_available_is_option_critic():
    network, other = gallery.initiation_sets(3, A), oc.option_critic(3, A)
    params = drawn(network, **bits(np.ones((S, 3))))
    flat = {**{name: params[name] for name in ("termination", "action")}, "option": params["option"][:, 1, 1, 1]}
    same(network, params, other, flat, {"termination": "termination", "action": "action"})
    np.testing.assert_allclose(gradient(network, params)["option"][:, 1, 1, 1], gradient(other, flat)["option"], atol=1e-10)


def test_binding_initiation_sets_renormalise_the_policy_over_options():
    network, other = gallery.initiation_sets(3, A), oc.option_critic(3, A)
    interest = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [1, 1, 1], [1, 1, 1]])
    preference = np.random.default_rng(0).normal(size=(S, 3))
    sets = np.moveaxis(np.indices((2, 2, 2)), 0, -1)  # (2, 2, 2, 3): which are available
    sets[0, 0, 0] = 1  # the empty set does not bind
    binding = np.where(sets, preference[:, None, None, None], NEVER)
    params = drawn(network, **bits(interest), option=binding)
    # π_Ω(ω|s) ∝ I_ω(s) exp(preference)
    flat = {**{name: params[name] for name in ("termination", "action")}, "option": np.where(interest, preference, NEVER)}
    same(network, params, other, flat, {"termination": "termination", "action": "action"})


def test_no_layers_are_the_flat_policy():
    network = gallery.stochastic_layers((), A)
    assert network.names == ("action",) and network.parameter_shape("action", S) == (S, A)


def test_only_the_first_layer_sees_the_state():
    network = gallery.stochastic_layers((2, 3), A)
    assert gallery.stochastic_layers(map(int, "23"), A).names == network.names
    shapes = {name: network.parameter_shape(name, S) for name in network.names}
    assert shapes["unit_1_0"] == shapes["unit_1_1"] == (S, 2)
    assert shapes["unit_2_0"] == shapes["unit_2_2"] == (2, 2, 2) and shapes["action"] == (2, 2, 2, A)


def test_one_unit_is_always_terminating_between_two_laws():
    network, other = gallery.stochastic_layers((1,), A), gallery.always_terminating(2, A)
    params = drawn(network)
    wide = {"option": params["unit_1_0"], "action": np.broadcast_to(params["action"], (S, 2, A))}
    assert J(network, params) == pytest.approx(J(other, wide), rel=1e-10)
    here, there = gradient(network, params), gradient(other, wide)
    np.testing.assert_allclose(here["unit_1_0"], there["option"], atol=1e-10)
    np.testing.assert_allclose(here["action"], there["action"].sum(axis=0), atol=1e-10)


@pytest.mark.parametrize("other", [oc.option_critic(3, A), gallery.feed_forward_options((2, 2), A), gallery.stochastic_layers((2,), A)])
def test_a_memory_of_one_output_is_no_memory(other):
    network = gallery.with_memory(other, 1)
    assert network.memory == ("memory", *other.memory)
    same(network, drawn(network, **_without_axis(network, other)), other, other.init_params(S, seed=1))


def _without_axis(network, other):
    return {name: value.reshape(network.parameter_shape(name, S)) for name, value in other.init_params(S, seed=1).items()}


def test_a_memory_recalls_what_is_no_longer_seen():
    """A signal, then a choice that pays if it is the signal's, where both cases look alike: ½ without a memory, 1 with one."""
    P = np.zeros((5, 2, 5))
    P[0, :, 2] = P[1, :, 3] = P[2:, :, 4] = 1.0
    R = np.zeros((5, 2))
    R[2, 0] = R[3, 1] = 1.0
    mdp = oc.MDP(P, R, [0.5, 0.5, 0, 0, 0], 1.0, np.arange(5) == 4, np.array([0, 1, 2, 2, 3]))
    flat = gallery.stochastic_layers((), 2)
    network = gallery.with_memory(flat, 2)
    assert oc.expected_return(mdp, flat, flat.init_params(4)) == pytest.approx(0.5)
    params = {"memory": np.zeros((4, 2, 2)), "action": np.zeros((4, 2, 2))}
    params["memory"][0, :, 1] = params["memory"][1, :, 0] = -40.0  # note the signal,
    params["memory"][2] = params["action"][2] = np.where(np.eye(2), 0.0, -40.0)  # keep it, and act on it
    assert oc.expected_return(mdp, network, params) == pytest.approx(1.0)


def test_readers_that_share_parameters_read_the_memory_together():
    shared = gallery.feed_forward_options((2, 2, 2), A, shared=True)
    network = gallery.with_memory(shared, 2, readers=("option_3",))
    assert network["option_2"].upstream == ("memory", "option_1") and network["option_3"].upstream == ("memory", "option_2")
    assert network["action"].upstream == ("option_3",)


def test_a_termination_is_a_gate():
    network, other = gallery.with_gate(gallery.always_terminating(3, A), "option"), oc.option_critic(3, A)
    params = other.init_params(S, seed=1)
    renamed = {"option_gate": params["termination"], "option": params["option"], "action": params["action"]}
    assert (gallery.OPEN, gallery.CLOSED) == (oc.TERMINATE, oc.CONTINUE)
    same(network, renamed, other, params, {"option_gate": "termination", "option": "option", "action": "action"})


def test_a_gate_on_the_action_repeats_it():
    """Option-critic whose options are the actions."""
    network, other = gallery.with_gate(gallery.stochastic_layers((), A), "action"), oc.option_critic(A, A)
    params = drawn(network)
    takes = np.broadcast_to(np.where(np.eye(A), 0.0, NEVER), (S, A, A))
    options = {"termination": params["action_gate"], "option": params["action"], "action": takes}
    same(network, params, other, options, {"action_gate": "termination", "action": "option"})


def test_an_open_gate_is_no_gate():
    other = gallery.random_length(3, A, 2.5)
    network = gallery.with_gate(other, "option")
    params = other.init_params(S, seed=1)
    same(network, {**params, "option_gate": np.broadcast_to([0.0, NEVER], (S, 3, 2))}, other, params)


def test_options_chosen_blindly_are_those_of_a_policy_that_is_the_same_everywhere():
    mdp = random_mdp(num_actions=3)
    blind, seeing = random_length(3, 3, 4, observes=False), random_length(3, 3, 4)
    params = blind.init_params(mdp.num_observations, seed=1)
    everywhere = {**params, "option": np.broadcast_to(params["option"], (mdp.num_observations, 3))}
    assert params["option"].shape == (3,)
    assert oc.expected_return(mdp, blind, params) == pytest.approx(oc.expected_return(mdp, seeing, everywhere), rel=1e-10)
    here, there = oc.policy_gradient(mdp, blind, params), oc.policy_gradient(mdp, seeing, everywhere)
    np.testing.assert_allclose(here["option"], there["option"].sum(axis=0), atol=1e-10)
    np.testing.assert_allclose(here["action"], there["action"], atol=1e-10)


def test_a_memory_is_0_before_the_first_step():
    """What a first step pays for what it remembers is what the memory of 0 makes of it."""
    network = with_memory(stochastic_layers((), 2), 2)
    mdp = oc.MDP([[[0, 1], [0, 1]], [[0, 1], [0, 1]]], [[1.0, 3.0], [0, 0]], [1, 0], 0.9)
    keeps = np.broadcast_to(np.where(np.eye(2), 0.0, -np.inf), (2, 2, 2))  # memory as it was, and the action that it says
    assert oc.expected_return(mdp, network, {"memory": keeps, "action": keeps}) == pytest.approx(1.0)
    np.testing.assert_array_equal(network.initial("memory"), [1, 0])
