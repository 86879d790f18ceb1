"""The chain and its solvers: edges of the contract, ways to solve that must agree, large chains, what is cached."""

import gc
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from strategies import cases
from witness import assert_same

import optioncoagent.exact
from optioncoagent.exact import chain, comdp, expected_return, finite_difference, local_gradient, policy_gradient, solve, synchronous
from optioncoagent.exact.option_values import option_values
from optioncoagent.gallery import option_critic
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork

FLAT = CoagentNetwork([Coagent("action", 2)])
ENDS = np.array([[[0.5, 0, 0.5], [0, 1, 0]], [[0, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]])  # state 0 may end; state 1 is a trap


def trap(gamma, reward=1.0):
    return MDP(ENDS, np.array([[reward, 0], [reward, reward], [0, 0]]), [1, 0, 0], gamma)


def test_a_node_that_never_ends_is_named_where_gamma_is_one():
    params = FLAT.init_params(3)
    with pytest.raises(ValueError, match="from state 1 .1 such.*use gamma < 1"):
        expected_return(trap(1.0), FLAT, params)
    assert np.isfinite(expected_return(trap(0.999), FLAT, params))
    network = option_critic(2, 2)
    with pytest.raises(ValueError, match="from state 1 with previous outputs option=0 .2 such"):
        policy_gradient(trap(1.0), network, network.init_params(3))


def test_only_what_is_reached_need_end():
    """A logit of -inf closes the way into the trap; option_values has no values there, and says so."""
    params = FLAT.init_params(3, scale=0.0)
    params["action"][0, 1] = -np.inf
    assert expected_return(trap(1.0), FLAT, params) == pytest.approx(2.0)  # 1 + 1/2 + 1/4 + …
    assert policy_gradient(trap(1.0), FLAT, params)["action"] == pytest.approx(0.0)
    network = option_critic(2, 2)
    params = network.init_params(3, scale=0.0)
    params["action"][0, :, 1] = -np.inf
    values = option_values(trap(1.0), params)
    assert values.q_omega[0] == pytest.approx([2.0, 2.0]) and values.v_omega[0] == pytest.approx(2.0)
    assert np.isnan(values.q_omega[1]).all() and np.isnan(values.u[1]).all() and (values.d_z[1] == 0).all()
    assert (values.q_omega[2] == 0).all()


def test_which_logits_are_minus_infinity_may_change_from_call_to_call():
    """One MDP, one network: the way into the trap is closed, opened, closed again; ten other patterns do not confuse them."""
    mdp, network = trap(1.0), option_critic(2, 2)
    params = network.init_params(3, scale=0.0)
    closed = {name: logits.copy() for name, logits in params.items()}
    closed["action"][0, :, 1] = -np.inf
    for _ in range(2):
        assert expected_return(mdp, network, closed) == pytest.approx(2.0)
        with pytest.raises(ValueError, match="may never end"):
            expected_return(mdp, network, params)
        for entry in np.ndindex(5, 2):
            other = {name: logits.copy() for name, logits in closed.items()}
            other["termination"].reshape(-1, 2)[entry] = -np.inf
            assert expected_return(mdp, network, other) == pytest.approx(2.0)


def test_a_terminal_start_earns_nothing():
    mdp = MDP(ENDS, np.array([[1, 0], [1, 1], [0, 0]]), [0, 0, 1], 1.0)
    params = FLAT.init_params(3)
    assert expected_return(mdp, FLAT, params) == 0
    assert (policy_gradient(mdp, FLAT, params)["action"] == 0).all()


@pytest.mark.parametrize("logit", (28.0, 60.0, 800.0))
@pytest.mark.parametrize("dense_below", (200, 0))
def test_an_end_too_improbable_for_floats_is_an_error(logit, dense_below, monkeypatch):
    """e^28 steps to the end leave four digits of J, e^60 none, and e^-800 is no probability at all."""
    monkeypatch.setattr(solve, "DENSE_BELOW", dense_below)
    mdp = MDP([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[-1.0, -1.0], [0, 0]], [1, 0], 1.0)
    with pytest.raises(ValueError, match="too small for float64" if logit < 800 else "may never end"):
        expected_return(mdp, FLAT, {"action": np.array([[logit, 0.0], [0.0, 0.0]])})


def test_many_steps_to_the_end_are_no_error():
    mdp = MDP([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[-1.0, -1.0], [0, 0]], [1, 0], 1.0)
    J = expected_return(mdp, FLAT, {"action": np.array([[14.0, 0.0], [0.0, 0.0]])})
    assert pytest.approx(-(1 + np.exp(14.0)), rel=1e-8) == J


def test_bad_arguments_are_named():
    mdp, params = trap(0.9), FLAT.init_params(3)
    with pytest.raises(ValueError, match="the MDP has 2 actions, the network's action .* has 3"):
        expected_return(mdp, CoagentNetwork([Coagent("action", 3)]), {"action": np.zeros((3, 3))})
    with pytest.raises(ValueError, match="no coagent 'option'"):
        local_gradient(mdp, FLAT, params, "option")
    with pytest.raises(ValueError, match="no coagent 'option'"):
        comdp(mdp, FLAT, params, "option")
    with pytest.raises(ValueError, match="eps=0"):
        finite_difference(mdp, FLAT, params, eps=0)
    with pytest.raises(ValueError, match="no logits"):
        finite_difference(mdp, FLAT, {})
    with pytest.raises(ValueError, match="more than 5000000"):
        wide = CoagentNetwork([*(Coagent(f"c{i}", 4) for i in range(8)), Coagent("action", 2)])
        synchronous(mdp, wide, wide.init_params(3))


def test_finite_difference_leaves_params_alone():
    params = FLAT.init_params(3)
    before = params["action"].copy()
    finite_difference(trap(0.9), FLAT, params)
    np.testing.assert_array_equal(params["action"], before)


def copy(mdp):
    return MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, mdp.observation)


@given(cases())
def test_every_way_to_solve_agrees(case):
    """Dense, sparse and iterative solvers, and back-substitution where it applies, on the same chains."""
    expected, J = policy_gradient(*case), expected_return(*case)
    for iterate_above in (np.inf, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(solve, "DENSE_BELOW", 0)
            patch.setattr(solve, "ITERATE_ABOVE", iterate_above)
            other = case._replace(mdp=copy(case.mdp))
            assert expected_return(*other) == pytest.approx(J, rel=1e-9, abs=1e-9)
            assert_same(policy_gradient(*other), expected, 1e-8)


def layered(num_layers, width, rng, num_actions=2):
    """An MDP in which time passes: from each of `width` states of a layer to a few of the next; rewards everywhere."""
    S = num_layers * width + 1
    s = np.arange(S - 1)
    rows = np.repeat(np.arange((S - 1) * num_actions), 2)
    columns = np.minimum((np.repeat(s // width, 2 * num_actions) + 1) * width + rng.integers(0, width, rows.size), S - 1)
    P = sp.csr_array((np.full(rows.size, 0.5), (rows, columns)), shape=(S * num_actions, S)).tolil()
    P[np.arange((S - 1) * num_actions, S * num_actions), S - 1] = 1.0
    R = rng.normal(size=(S, num_actions))
    R[-1] = 0.0
    d0 = np.zeros(S)
    d0[:width] = 1.0 / width
    return MDP(sp.csr_array(P), R, d0, 1.0)


def test_a_chain_acyclic_in_time_is_back_substituted():
    """2,000 layers: the same as the recursion v_t = r + P v_{t+1}, layer by layer."""
    mdp = layered(2000, 5, np.random.default_rng(0))
    params = FLAT.init_params(mdp.num_observations)
    made = chain.chain(mdp, FLAT, params)
    policy = FLAT.policies(params, mdp.num_observations)["action"]
    P, values = mdp.transition_matrix, np.zeros(mdp.num_states)
    for layer in reversed(range(2000)):
        states = np.arange(layer * 5, layer * 5 + 5)
        for action in range(2):
            values[states] += policy[states, action] * (mdp.expected_reward[states, action] + P[states * 2 + action] @ values)
    assert made.expected_return == pytest.approx(mdp.d0 @ values, rel=1e-12)
    assert made.system.method == "back-substitution" and made.system.residual < 1e-12


def test_a_large_chain_that_mixes_fast_is_iterated():
    """4,000 states with 8 successors at random: a factorisation would fill in. The value against plain value iteration."""
    rng, S = np.random.default_rng(0), 4000
    rows = np.repeat(np.arange(2 * S), 4)
    P = sp.csr_array((np.full(rows.size, 0.25), (rows, rng.integers(0, S, rows.size))), shape=(2 * S, S))
    mdp = MDP(P, rng.normal(size=(S, 2)), np.full(S, 1 / S), 0.9)
    made = chain.chain(mdp, FLAT, FLAT.init_params(S, scale=0.0))
    values, kernel = np.zeros(S), (P[::2] + P[1::2]) / 2
    for _ in range(300):
        values = mdp.expected_reward.mean(axis=1) + 0.9 * kernel @ values
    assert made.expected_return == pytest.approx(values.mean(), abs=1e-10)
    assert made.system.method == "iterative" and made.system.residual < 1e-12


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e170, 1e300])
def test_a_large_chain_is_solved_whatever_its_rewards_are(scale):
    """The iterations' sums of squares vanish or overflow where the rewards themselves do not: J is linear in them."""
    rng = np.random.default_rng(0)
    S = solve.ITERATE_ABOVE + 500
    rows, columns = np.repeat(np.arange(2 * S), 4), rng.integers(S, size=8 * S)
    P = sp.csr_array((np.full(8 * S, 0.25), (rows, columns)), shape=(2 * S, S))
    R, params = rng.normal(size=(S, 2)), FLAT.init_params(S)
    usual, scaled = (expected_return(MDP(P, c * R, np.full(S, 1 / S), 0.95), FLAT, params) for c in (1, scale))
    assert scaled / scale == pytest.approx(usual, rel=1e-9)


def test_what_is_given_at_the_first_step_does_not_number_its_nodes():
    """64 bits that start at 0 are one joint value, of which the number would be beyond 64 bits."""
    bits = [Coagent(f"b{i}", 2, initial=0, executes=lambda x: ~x.start) for i in range(64)]
    readers = [Coagent(f"r{i}", 1, upstream=(f"b{i}",)) for i in range(64)]
    order = [c for pair in zip(bits, readers, strict=True) for c in pair]
    network = CoagentNetwork([*order, Coagent("action", 2)])
    mdp = MDP(np.full((4, 2, 4), 0.25), np.ones((4, 2)), np.full(4, 0.25), 0.9)
    made = chain.chain(mdp, network, network.init_params(4)).structure
    previous = {name: np.zeros(4, dtype=int) for name in made.layout.carried}
    assert len(previous) == 64 and made.numbers(np.ones(4, dtype=bool), np.arange(4), previous).tolist() == [0, 1, 2, 3]


def test_structure_is_cached_by_identity_and_parameters_are_not():
    mdp, network = trap(0.9), CoagentNetwork([Coagent("action", 2)])
    params = network.init_params(3)
    first = policy_gradient(mdp, network, params)["action"]
    params["action"] *= 2.0  # in place
    fresh = policy_gradient(trap(0.9), CoagentNetwork([Coagent("action", 2)]), params)["action"]
    np.testing.assert_array_equal(policy_gradient(mdp, network, params)["action"], fresh)
    assert not np.allclose(first, fresh)
    a, b = (chain.chain(mdp, network, params).structure for _ in range(2))
    assert a is b


def test_what_is_cached_dies_with_the_mdp_and_the_network():
    mdp, network = trap(0.9), CoagentNetwork([Coagent("action", 2)])
    expected_return(mdp, network, network.init_params(3))
    alive = [weakref.ref(network), weakref.ref(mdp)]
    del network
    gc.collect()
    assert alive[0]() is None
    del mdp
    gc.collect()
    assert alive[1]() is None


def test_a_wide_feed_forward_network_does_not_need_its_joint_law():
    """Twenty hidden bits, each read by the next alone: an output is summed out when its last reader has run."""
    bits = [Coagent("h0", 2)] + [Coagent(f"h{i}", 2, observes=False, upstream=(f"h{i - 1}",)) for i in range(1, 20)]
    network = CoagentNetwork([*bits, Coagent("action", 2, upstream=("h19",))])
    mdp, params = trap(0.9), network.init_params(3)
    for name in ("action", *(bit.name for bit in bits[1:])):  # mostly passed on, so that much of an early bit arrives
        params[name] += 4 * np.eye(2)
    difference = (expected_return(mdp, network, nudged(params, 1e-5)) - expected_return(mdp, network, nudged(params, -1e-5))) / 2e-5
    assert abs(difference) > 1e-3
    assert policy_gradient(mdp, network, params)["h7"][1, 0] == pytest.approx(difference, rel=1e-5)


def test_gates_in_a_wide_network():
    """A gate's table has two axes for every coagent: more than 32 in all must not matter."""
    hidden = [Coagent(f"h{i}", 2) for i in range(20)]
    network = CoagentNetwork([*hidden, Coagent("action", 2, upstream=("h0",), executes=lambda x: ~x.start, initial=0)])
    narrow = CoagentNetwork([hidden[0], network["action"]])
    params, mdp = network.init_params(3), trap(0.9)
    gradient = policy_gradient(mdp, network, params)
    assert_same({n: gradient[n] for n in narrow.names}, policy_gradient(mdp, narrow, {n: params[n] for n in narrow.names}), 1e-12)


def nudged(params, by):
    h7 = params["h7"].copy()
    h7[1, 0] += by
    return {**params, "h7": h7}


def test_the_table_of_statements_names_tests_that_exist():
    """Every "file: test" of the package's docstring, and every numbered statement of ACN's appendices B, C and E."""
    doc = optioncoagent.exact.__doc__
    listed = re.findall(r"  (\w+): (test_\S*)$", doc, flags=re.MULTILINE)
    assert len(listed) > 15
    for file, name in listed:
        source = (Path(__file__).parent / f"test_{file}.py").read_text(encoding="utf-8")
        assert f"\ndef {name.removesuffix('…')}{'' if name.endswith('…') else '('}" in source, name
    assert {int(n) for n in re.findall(r"Property (\d+):", doc)} == set(range(1, 12))
    for statement in ("Lemma 1", "Lemma 2", "Lemma 3", "Theorem 1", "Corollary 1", "C.1", "C.2.1", "C.2.2", "C.2.3", "E.2"):
        assert statement in doc


@given(cases())
@settings(max_examples=50)
def test_a_step_is_found_among_the_nodes_by_what_it_begins_with(case):
    s = chain.chain(*case).structure
    first, later = s.layout.first_nodes(case.network)[2], s.layout.later_nodes(s.keys)
    previous = {name: np.concatenate([first.previous[name], later.previous[name]]) for name in first.previous}
    number = np.arange(s.states.size)
    np.testing.assert_array_equal(s.numbers(number < s.num_first, s.states, previous), number)
