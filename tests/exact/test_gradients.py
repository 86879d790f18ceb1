"""The asynchronous coagent policy gradient theorem (ACPGT): one gradient by roads that share no code."""

import numpy as np
import pytest
import scipy.sparse as sp
from brute_force import trajectories, truncated_gradient, truncated_return
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases
from witness import assert_same, torch_witness

from optioncoagent.exact import expected_return, finite_difference, local_gradient, policy_gradient
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork


@given(cases())
def test_acpgt_stacked_local_gradients_are_autograd_through_the_linear_solve(case):
    J, expected = torch_witness(*case)
    assert expected_return(*case) == pytest.approx(J, rel=1e-9, abs=1e-12)
    assert_same(policy_gradient(*case), expected, 1e-9)


@given(cases(gammas=(0.0, 0.3), max_states=2))
def test_acpgt_is_the_gradient_of_an_enumerated_return(case):
    """γ^24 is below 1e-12: the truncated return is the return."""
    assert expected_return(*case) == pytest.approx(truncated_return(*case, horizon=24), rel=1e-9, abs=1e-9)
    assert_same(policy_gradient(*case), truncated_gradient(*case, horizon=24), 1e-9)


@given(cases())
def test_acpgt_is_central_differences(case):
    assert_same(policy_gradient(*case), finite_difference(*case), 1e-6)


@given(cases())
def test_local_gradients_are_the_parts_of_the_gradient(case):
    gradient = policy_gradient(*case)
    for name in case.network.names:
        np.testing.assert_array_equal(local_gradient(*case, name), gradient[name])
        assert gradient[name].shape == case.params[name].shape
        assert (gradient[name][~np.isfinite(case.params[name])] == 0).all()


@given(cases(max_states=2, max_outputs=2, forbidden=False), st.integers(0, 3))
def test_the_enumeration_agrees_with_itself(case, horizon):
    """`truncated_return` is a sum over trajectories, `truncated_gradient` its central differences."""
    mdp, network, params = case
    earned = [w.probability * sum(mdp.gamma**t * r for t, r in enumerate(w.rewards)) for w in trajectories(*case, steps=min(horizon, 2))]
    assert truncated_return(*case, horizon=min(horizon, 2)) == pytest.approx(sum(earned), abs=1e-12)
    gradient = truncated_gradient(*case, horizon=horizon)
    name = network.names[-1]
    index = tuple(np.unravel_index(params[name].size // 2, params[name].shape))
    sides = []
    for step in (1e-5, -1e-5):
        moved = {n: logits.copy() for n, logits in params.items()}
        moved[name][index] += step
        sides.append(truncated_return(mdp, network, moved, horizon))
    assert gradient[name][index] == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("size", [40, 150])
def test_a_long_way_from_many_starts(size):
    """10^8 steps from any of `size` states: less than what float64 can tell, of values as of visits, dense as sparse."""
    S, hub = 2 * size + 2, 2 * size
    P = sp.lil_array((S, S))
    P[np.arange(S), np.r_[np.arange(size, 2 * size), np.full(size, hub), hub, hub + 1]] = 1
    P[hub, hub], P[hub, hub + 1] = 1 - 1e-8, 1e-8
    R, d0 = np.zeros((S, 1)), np.zeros(S)
    R[hub], d0[:size] = 1, 1 / size
    mdp, network = MDP(sp.csr_array(P), R, d0, 1.0), CoagentNetwork([Coagent("action", 1)])
    params = network.init_params(S)
    assert expected_return(mdp, network, params) == pytest.approx(1e8, rel=1e-6)
    assert np.abs(policy_gradient(mdp, network, params)["action"]).max() == 0  # one action, so that nothing is chosen
