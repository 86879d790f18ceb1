"""Large networks: the tick by factors and its chain, never built, give the numbers of the dense solver; what is too large is refused."""

import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases, horizon_cases
from witness import assert_same

from optioncoagent.exact import critic, critic_values, expected_return, gradients, iterate, large, policy_gradient
from optioncoagent.exact.chain import Chain, chain
from optioncoagent.exact.large import LargeChain, is_large
from optioncoagent.gallery import option_critic
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork


def assert_dense(mdp, network, params):
    """J and every local gradient, by both roads."""
    mdp = mdp.unrolled
    dense, factored = chain(mdp, network, params), LargeChain(mdp, network, params)
    assert factored.expected_return == pytest.approx(dense.expected_return, rel=1e-10, abs=1e-11)
    assert_same(*({n: made.local_gradient(n) for n in network.names} for made in (factored, dense)), 1e-9)


@given(cases())
def test_sweeps_are_the_matrix(case):
    assert_dense(*case)


@given(cases(sharing=True))
def test_sweeps_are_the_matrix_where_parameters_are_shared(case):
    assert_dense(*case)


@given(horizon_cases())
def test_sweeps_are_the_matrix_under_a_horizon(case):
    assert_dense(*case)


@given(cases(max_states=2, gammas=(0.9, 0.5)), st.sampled_from((2, (2, 3))), st.sampled_from(("select", "terminate")))
def test_sweeps_are_the_matrix_of_option_critic(case, options, first):
    mdp = case.mdp
    network = option_critic(options, mdp.num_actions, first, deliberation_cost=0.2)
    assert_dense(mdp, network, network.init_params(mdp.num_observations, 1))


def ending(num_states=4, num_actions=4, gamma=1.0):
    """A random MDP that ends with probability 0.1 or so at every step."""
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(num_states), (num_states, num_actions))
    P[-1] = np.eye(num_states)[-1]
    R = rng.normal(size=(num_states, num_actions))
    R[-1] = 0.0
    return MDP(P, R, np.eye(num_states)[0], gamma)


def layered(width, **settings):
    """Two layers of asynchronous bits and an action."""
    first, second = ([f"{layer}{i}" for i in range(width)] for layer in "ab")
    bits = [Coagent(name, 2, executes=0.5, **settings) for name in first]
    bits += [Coagent(name, 2, observes=False, upstream=tuple(first), executes=0.5) for name in second]
    return CoagentNetwork([*bits, Coagent("action", 4, observes=False, upstream=tuple(second))])


def test_the_network_of_appendix_d():
    bits = [Coagent(name, 2, executes=0.5) for name in ("bit_1", "bit_2")]
    network = CoagentNetwork([*bits, Coagent("action", 4, observes=False, upstream=("bit_1", "bit_2"), executes=0.5)])
    for gamma in (0.9, 1.0):
        assert_dense(ending(gamma=gamma), network, network.init_params(4))


def test_an_output_read_after_it_has_run_again_keeps_both_axes():
    """The last coagent reads what the first, which retains, was before and is now; as does a gate."""
    first = Coagent("first", 3, executes=lambda x: 0.3 + 0.2 * x.previous["gated"], initial=[0.2, 0.5, 0.3], cost=0.1)
    gated = Coagent("gated", 2, executes=lambda x: 0.25 * (x.previous["first"] + x.upstream["first"]))
    network = CoagentNetwork([first, gated, Coagent("action", 4, upstream=("first", "gated"), previous=("first", "action"))])
    for gamma in (0.9, 1.0):
        assert_dense(ending(gamma=gamma), network, network.init_params(4))


def test_the_gradient_of_a_large_network_is_its_central_difference():
    """Eight bits, of which nothing but their number makes them large; the public functions go by sweeps."""
    mdp, network = ending(gamma=0.9), layered(4, cost=0.05)
    assert is_large(mdp, network) and not is_large(mdp, layered(2))
    params = network.init_params(4)
    made = gradients._chain(mdp, network, params, "discounted")
    assert isinstance(made, LargeChain) and isinstance(gradients._chain(mdp, layered(2), layered(2).init_params(4), "discounted"), Chain)
    gradient = policy_gradient(mdp, network, params)
    rng = np.random.default_rng(0)
    for _ in range(3):
        along = {name: rng.normal(size=logits.shape) for name, logits in params.items()}
        sides = [expected_return(mdp, network, {n: params[n] + eps * along[n] for n in params}) for eps in (1e-5, -1e-5)]
        slope = sum((gradient[n] * along[n]).sum() for n in params)
        assert slope == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6)


def test_memory_does_not_grow_with_joint_outputs():
    """12 bits at 6 states are 24,576 nodes, whose joint outputs would be 400 million numbers: 20 MB are enough."""
    mdp, network = ending(6, gamma=0.9), layered(6)
    params = network.init_params(6)
    tracemalloc.start()
    policy_gradient(mdp, network, params)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_what_is_too_large_is_refused_before_it_is_made():
    mdp, network = ending(), layered(14)
    params = network.init_params(4)
    tracemalloc.start()
    with pytest.raises(ValueError, match=re.escape("'a0', 'a1', 'a2'") + ".*joint values in each of 3 states.*estimate_gradient"):
        policy_gradient(mdp, network, params)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_a_matrix_that_is_too_large_is_refused_before_it_is_made():
    """Average reward is by the matrix of the chain."""
    mdp = MDP(np.full((6, 4, 6), 1 / 6), np.ones((6, 4)), np.full(6, 1 / 6), 0.9)
    params = layered(6).init_params(6)
    tracemalloc.start()
    message = "coagent 'action': 12 outputs are still to be read.*402,653,184 numbers at 24576 nodes.*estimate_gradient"
    with pytest.raises(ValueError, match=message):
        policy_gradient(mdp, layered(6), params, "average")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


ENDS = np.array([[[0.5, 0, 0.5], [0, 1, 0]], [[0, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]])  # state 0 may end; state 1 is a trap
TRAP = MDP(ENDS, np.array([[1.0, 0], [1, 1], [0, 0]]), [1, 0, 0], 1.0)


def test_a_node_that_never_ends_is_named_as_by_the_dense_solver():
    network = option_critic(2, 2)
    params = network.init_params(3, scale=0.0)
    for solver in (chain, LargeChain):
        with pytest.raises(ValueError, match="from state 1 with previous outputs option=0 .2 such"):
            solver(TRAP, network, params)
    params["action"][0, :, 1] = -np.inf  # closes the way into the trap
    made = LargeChain(TRAP, network, params)
    assert made.expected_return == pytest.approx(2.0)
    assert np.abs(made.local_gradient("action")).max() < 1e-12


def test_what_is_not_reached_has_no_value_where_gamma_is_one():
    """State 1 leads to state 0, where an episode starts and ends with probability 1/2 at each step, and nothing leads back."""
    mdp = MDP([[[0.5, 0, 0.5]], [[1, 0, 0]], [[0, 0, 1]]], [[1.0], [1.0], [0.0]], [1, 0, 0], 1.0)
    network = CoagentNetwork([Coagent("bit", 2, executes=0.5), Coagent("action", 1, upstream=("bit",))])
    params = network.init_params(3)
    assert LargeChain(mdp, network, params).value == pytest.approx(np.array([2, 2, 0, 0]))
    assert LargeChain(mdp, network, params, everything=True).value == pytest.approx(np.array([2, 2, 3, 3]))


@given(cases(max_coagents=2))
def test_critic_values_by_sweeps(case):
    """Of every node, reached or not, as long as it ends."""
    expected = critic_values(*case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(critic, "is_large", lambda mdp, network: True)
        np.testing.assert_allclose(critic_values(*case), expected, rtol=1e-9, atol=1e-9)


def test_what_may_never_end_has_no_value_even_if_it_is_not_reached():
    """State 1 leads to state 0, which ends, or to the trap, state 2."""
    P = np.array([[0.5, 0, 0, 0.5], [0.5, 0, 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])[:, None]
    mdp = MDP(P, [[1.0], [1.0], [1.0], [0.0]], [1, 0, 0, 0], 1.0)
    network = CoagentNetwork([Coagent("bit", 2, executes=0.5), Coagent("action", 1, upstream=("bit",))])
    made = LargeChain(mdp, network, network.init_params(4), everything=True)
    assert made.value == pytest.approx(np.array([2, 2, 0, 0, 0, 0]))


def test_states_that_are_all_terminal_earn_nothing():
    mdp, network = MDP(np.ones((1, 2, 1)), np.zeros((1, 2)), [1.0], 1.0), option_critic(2, 2)
    made = LargeChain(mdp, network, network.init_params(1))
    assert made.expected_return == 0 and (made.local_gradient("action") == 0).all()


def test_an_end_too_improbable_for_floats_is_an_error():
    mdp = MDP([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[-1.0, -1.0], [0, 0]], [1, 0], 1.0)
    with pytest.raises(ValueError, match="too small for float64"):
        _ = LargeChain(mdp, CoagentNetwork([Coagent("action", 2)]), {"action": np.array([[28.0, 0.0], [0.0, 0.0]])}).value


@pytest.mark.parametrize("gives_up", ((), ("_bicgstab",), ("_bicgstab", "_gmres")))
def test_every_iteration_solves(gives_up, monkeypatch):
    """A random chain of 60 nodes; a method that gives up leaves the rest to the next one."""
    for name in gives_up:
        monkeypatch.setattr(iterate, name, lambda product, right, terms: np.full_like(right, np.nan))
    rng = np.random.default_rng(0)
    A, b = 0.9 * rng.dirichlet(np.full(60, 0.1), 60), rng.normal(size=60)
    np.testing.assert_allclose(iterate.solve(lambda x: A @ x, b, False, "it"), np.linalg.solve(np.eye(60) - A, b), atol=1e-10)


def test_an_acyclic_chain_is_summed_to_its_end():
    """Twelve layers: the series stops by itself, and no Krylov method is asked."""
    A = np.diag(np.ones(11), 1)
    calls = []
    x = iterate.solve(lambda v: calls.append(1) or A @ v, np.ones(12), True, "it")
    np.testing.assert_array_equal(x, np.arange(12, 0, -1))
    assert len(calls) < 20


def test_no_accurate_answer_is_an_error(monkeypatch):
    """A walk on a long ring at γ near 1, and iterations cut short."""
    for name, value in (("MAX_STEPS", 2), ("MAX_RESTARTS", 1), ("RESTART", 2), ("MAX_TERMS", 2)):
        monkeypatch.setattr(iterate, name, value)
    ring = sp.csr_array((np.full(400, 0.999999), (np.arange(400), np.roll(np.arange(400), 1))), shape=(400, 400))
    with pytest.raises(ValueError, match="the ring has no accurate solution.*estimate_return"):
        iterate.solve(lambda x: ring @ x, np.eye(1, 400)[0], False, "the ring")


def test_observations_that_states_share_and_a_spread_start():
    rng = np.random.default_rng(1)
    mdp = ending(5)
    mdp = MDP(mdp.P, mdp.R, np.full(5, 0.2), 0.9, mdp.terminal, np.array([0, 1, 0, 1, 2]))
    network = layered(2, previous=("action",), initial=[0.3, 0.7])
    network = CoagentNetwork([replace(c, cost=float(rng.uniform())) for c in network.coagents])
    assert_dense(mdp, network, network.init_params(3))


def test_the_words_name_the_chain():
    made = large.LargeChain(ending(), layered(2), layered(2).init_params(4))
    assert made.words.startswith("the chain of 48 nodes (3 states")
