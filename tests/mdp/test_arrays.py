"""What an MDP makes of the arrays it is given."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import optioncoagent as oc


def arrays(seed=0, num_states=5, num_actions=3):
    rng = np.random.default_rng(seed)
    P, d0 = rng.random((num_states, num_actions, num_states)), rng.random(num_states)
    return P / P.sum(axis=-1, keepdims=True), rng.normal(size=(num_states, num_actions)), d0 / d0.sum()


def singles(P, form):
    single = P.astype(np.float32)
    return {"numpy": single, "torch": torch.from_numpy(single), "scipy": sp.csr_array(single.reshape(-1, P.shape[-1]))}[form]


@pytest.mark.parametrize("form", ["numpy", "torch", "scipy"])
def test_laws_of_float32_sum_to_one_but_for_their_rounding(form):
    P, R, d0 = arrays()
    with pytest.raises(ValueError, match=r"P\(· \| s=\d, a=\d\) sums to"):  # as numbers of eight bytes they are no laws
        oc.MDP(P.astype(np.float32).astype(np.float64), R, d0, 0.9)
    mdp = oc.MDP(singles(P, form), R, d0.astype(np.float32), 0.9)
    sums = mdp.transition_matrix.sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-15)
    np.testing.assert_allclose(mdp.transition_matrix.toarray(), P.reshape(-1, 5), atol=1e-7)
    assert abs(mdp.d0.sum() - 1) < 1e-15
    params = oc.option_critic(2, 3).init_params(5)
    exact = oc.expected_return(oc.MDP(P, R, d0, 0.9), oc.option_critic(2, 3), params)
    assert oc.expected_return(mdp, oc.option_critic(2, 3), params) == pytest.approx(exact, abs=1e-5)


def test_laws_of_float32_may_come_in_lists_and_in_tables():
    third = np.float32(1 / 3)
    P, d0 = [[[third] * 3]] * 3, [third] * 3
    mdp = oc.MDP(P, np.zeros((3, 1)), d0, 0.9)
    np.testing.assert_allclose(mdp.P, 1 / 3, atol=1e-15)
    table = {s: {0: [(third, t, np.float32(0.1), False) for t in range(3)]} for s in range(3)}
    mdp = oc.MDP.from_env(SimpleNamespace(P=table, initial_state_distrib=np.array(d0)), 0.9)
    np.testing.assert_allclose(mdp.transition_matrix.toarray()[:3, :3], 1 / 3, atol=1e-15)
    np.testing.assert_allclose(mdp.d0, [1 / 3, 1 / 3, 1 / 3, 0], atol=1e-15)
    table[2][0] = [(1.0, 0, 0.0, False)]  # a number of Python's among them
    sums = oc.MDP.from_env(SimpleNamespace(P=table, initial_state_distrib=np.array([1.0, 0, 0])), 0.9).transition_matrix.sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-15)
    with pytest.raises(ValueError, match="if that is rounding, divide it by its sum"):
        oc.MDP(np.array(P).astype(np.float64), np.zeros((3, 1)), [1, 0, 0], 0.9)


def test_rewards_that_are_given_twice_are_refused():
    """Probabilities of one successor add up, expected rewards do not."""
    twice = (np.array([0.5, 0.5, 1.0]), ([0, 0, 1], [1, 1, 1]))
    P = sp.coo_array(twice, shape=(2, 2))
    assert oc.MDP(P, np.array([[1.0], [0.0]]), [1, 0], 0.9).transition_matrix.toarray().tolist() == [[0, 1], [0, 1]]
    for R in (
        sp.coo_array((np.array([1.0, 1.0]), ([0, 0], [1, 1])), shape=(2, 2)),
        sp.csr_array(([1.0, 1.0], [1, 1], [0, 2, 2]), shape=(2, 2)),
    ):
        with pytest.raises(ValueError, match="R has several entries for one"):
            oc.MDP(P, R, [1, 0], 0.9)
    zeros = sp.coo_array((np.zeros(3), twice[1]), shape=(2, 2))  # as of two outcomes that pay nothing
    assert not oc.MDP(P, zeros, [1, 0], 0.9).expected_reward.any()
    R = sp.dia_array((np.array([[0.0, 1.0]]), [1]), shape=(2, 2))
    assert oc.MDP(P, R, [1, 0], 0.9).expected_reward.tolist() == [[1], [0]]


@pytest.mark.parametrize("form", ["numpy", "torch", "scipy"])
def test_what_is_no_law_is_refused_in_float32_too(form):
    P, R, d0 = arrays()
    P[1, 2] *= 1.001
    with pytest.raises(ValueError, match=r"P\(· \| s=1, a=2\) sums to 1\.00"):
        oc.MDP(singles(P, form), R, d0, 0.9)


def test_zeros_that_are_stored_are_no_transitions():
    """Terminal 2; 1 never ends, and 0, 3 reach it by zeros alone, which a sparse P may store."""
    P = np.zeros((4, 2, 4))
    P[0, 0, 2] = P[0, 1, 3] = 1
    P[1, :, 1] = P[2, :, 2] = 1
    P[3] = [[0.5, 0, 0.5, 0], [0, 0, 0.5, 0.5]]
    R = np.array([[1, 2], [1, 1], [0, 0], [-1, 0.5]])
    rows, columns = np.indices((8, 4))
    stored = sp.csr_array((P.ravel(), (rows.ravel(), columns.ravel())), shape=(8, 4))
    network = oc.option_critic(2, 2, first="terminate")
    params = network.init_params(4, 1)
    dense, sparse = (oc.MDP(form, R, [0.6, 0, 0, 0.4], 1.0) for form in (P, stored))
    assert sparse.transition_matrix.nnz == np.count_nonzero(P)
    ours, theirs = (oc.option_values(mdp, params, first="terminate") for mdp in (sparse, dense))
    np.testing.assert_array_equal(ours.q_omega, theirs.q_omega)
    assert np.isfinite(ours.v_omega[[0, 2, 3]]).all() and np.isnan(ours.v_omega[1])
    exact = oc.policy_gradient(dense, network, params)["termination"]
    np.testing.assert_allclose(oc.termination_gradient(sparse, params, first="terminate"), exact, atol=1e-12)


def test_terminal_states_may_be_zeros_and_ones():
    P = np.zeros((2, 1, 2))
    P[:, :, 1] = 1
    for terminal in ([0, 1], np.array([0.0, 1.0]), [False, True]):
        mdp = oc.MDP(P, np.array([[1.0], [0.0]]), [1.0, 0.0], 0.9, terminal=terminal)
        assert mdp.terminal.dtype == bool and mdp.terminal.tolist() == [False, True]
    with pytest.raises(ValueError, match="terminal has shape"):
        oc.MDP(P, np.array([[1.0], [0.0]]), [1.0, 0.0], 0.9, terminal=[0, 2])


def test_an_unrolled_mdp_shows_what_it_showed():
    mdp = oc.MDP(np.ones((1, 1, 1)), np.ones((1, 1)), [1.0], 0.9, horizon=3)
    mdp.observations = [{"direction": 0}]
    assert mdp.unrolled is not mdp and mdp.unrolled.observations is mdp.observations


def test_a_state_that_is_left_seldom_is_no_end():
    q = 4e-9
    P = np.array([[[1 - q, q, 0.0]], [[0.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]]])
    mdp = oc.MDP(P, np.array([[0.0], [1.0], [0.0]]), [1.0, 0.0, 0.0], 1.0)
    assert mdp.terminal.tolist() == [False, False, True]
    network = oc.CoagentNetwork([oc.Coagent("action", 1)])
    assert oc.expected_return(mdp, network, network.init_params(3)) == pytest.approx(1.0, abs=1e-6)
