"""Average reward and finite horizon, each against plain enumeration and central differences."""

import numpy as np
import pytest
import scipy.sparse as sp
from brute_force import initial_outputs, places_of, score, steps_from, truncated_gradient, truncated_return
from hypothesis import assume, given
from scipy.sparse.csgraph import connected_components
from strategies import continuing_cases, horizon_cases
from witness import assert_same

import optioncoagent as oc
from optioncoagent.exact.average import average_chain

AVERAGE = dict(objective="average")


def enumerated(mdp, network, params):
    """(T, r) over every (s, u) that is reached after a first step, by brute force."""
    return enumerated_with_slopes(mdp, network, params, slopes=False)[:2]


def enumerated_with_slopes(mdp, network, params, slopes=True):
    """The same, and their derivatives (n, n, parameters) and (n, parameters)."""
    policies = network.policies(params, mdp.num_observations)
    _, of, size = places_of(network, params, policies)
    ways, waiting, first = {}, [], set()
    for s in np.flatnonzero(mdp.d0):
        for _, u in initial_outputs(network):
            first |= {(successor, tick.outputs) for _, tick, _, successor, _ in steps_from(mdp, network, policies, True, int(s), u)}
    waiting = list(first)
    while waiting:
        node = waiting.pop()
        if node not in ways:
            ways[node] = list(steps_from(mdp, network, policies, False, *node))
            waiting += [(successor, tick.outputs) for _, tick, _, successor, _ in ways[node]]
    index = {node: i for i, node in enumerate(ways)}
    T, r = np.zeros((len(index), len(index))), np.zeros(len(index))
    T_slope, r_slope = np.zeros((*T.shape, size * slopes)), np.zeros((len(r), size * slopes))
    for node, steps in ways.items():
        for p, tick, _, successor, reward in steps:
            at = index[node], index[successor, tick.outputs]
            T[at] += p
            r[index[node]] += p * reward
            if slopes:
                change = p * score(tick, policies, of, size)
                T_slope[at] += change
                r_slope[index[node]] += change * reward
    return T, r, T_slope, r_slope


def recurrent_classes(T):
    count, label = connected_components(sp.csr_array(T > 0), directed=True, connection="strong")
    return [c for c in range(count) if (T[label == c][:, label != c] == 0).all()], label


def enumerated_gain(T, r):
    """d T = d, Σ d = 1 by least squares; g = d r."""
    equations = np.vstack([T.T - np.eye(len(T)), np.ones(len(T))])
    law = np.linalg.lstsq(equations, np.append(np.zeros(len(T)), 1.0), rcond=None)[0]
    return law @ r


def unichain(case):
    """Is the gain one number? Outputs that nobody reads never split the chain that the solver sees, but may split the enumerated one."""
    classes, _ = recurrent_classes(enumerated(*case)[0])
    return len(classes) == 1


@given(continuing_cases())
def test_the_gain_is_that_of_the_enumerated_chain(case):
    T, r = enumerated(*case)
    classes, label = recurrent_classes(T)
    if len(classes) == 1:
        assert oc.expected_return(*case, **AVERAGE) == pytest.approx(enumerated_gain(T, r), rel=1e-9, abs=1e-9)
        return
    # in whichever class it ends; where outputs that nobody reads split the chain, all of them have the same gain
    gains = [enumerated_gain(T[np.ix_(label == c, label == c)], r[label == c]) for c in classes]
    if np.ptp(gains) > 1e-9:
        with pytest.raises(ValueError, match="recurrent classes"):
            oc.expected_return(*case, **AVERAGE)
    else:
        try:
            found = oc.expected_return(*case, **AVERAGE)
        except ValueError as error:  # several classes that pay alike
            assert "recurrent classes" in str(error)
        else:
            assert found == pytest.approx(gains[0], rel=1e-9, abs=1e-9)


@given(continuing_cases(max_outputs=2, max_states=2))
def test_the_gradient_of_the_gain_is_that_of_the_enumerated_chain(case):
    """E d = e with E = (T' - 1; Σ) differentiated: E ∂d = -∂T' d, and ∂g = ∂d r + d ∂r."""
    T, r, T_slope, r_slope = enumerated_with_slopes(*case)
    assume(len(recurrent_classes(T)[0]) == 1)
    equations = np.vstack([T.T - np.eye(len(T)), np.ones(len(T))])
    law = np.linalg.lstsq(equations, np.append(np.zeros(len(T)), 1.0), rcond=None)[0]
    right = np.vstack([-np.einsum("nmp,n->mp", T_slope, law), np.zeros(T_slope.shape[2])])
    slope = np.linalg.lstsq(equations, right, rcond=None)[0].T @ r + law @ r_slope
    places = places_of(case.network, case.params, case.params)[0]
    assert_same(oc.policy_gradient(*case, **AVERAGE), {name: slope[place] for name, place in places.items()}, 1e-8)


@given(continuing_cases(max_outputs=2))
def test_the_gradient_of_the_gain_is_central_differences(case):
    assume(unichain(case))
    gradient = oc.policy_gradient(*case, **AVERAGE)
    assert_same(gradient, oc.finite_difference(*case, **AVERAGE), 1e-6)
    for name in case.network.names:
        np.testing.assert_array_equal(oc.local_gradient(*case, name, **AVERAGE), gradient[name])
        assert gradient[name].shape == case.params[name].shape


@given(continuing_cases())
def test_the_discounted_return_tends_to_the_gain(case):
    """(1 - γ) J_γ → g and (1 - γ) ∇J_γ → ∇g as γ → 1, at the rate 1 - γ, which two discounts extrapolate away."""
    assume(unichain(case))
    mdp, network, params = case

    def scaled(epsilon):
        near = oc.MDP(mdp.P, mdp.R, mdp.d0, 1 - epsilon, mdp.terminal, mdp.observation), network, params
        return epsilon * oc.expected_return(*near), {n: epsilon * g for n, g in oc.policy_gradient(*near).items()}

    (J, gradient), (half_J, half_gradient) = scaled(2e-5), scaled(1e-5)
    assert oc.expected_return(*case, **AVERAGE) == pytest.approx(2 * half_J - J, rel=1e-5, abs=1e-5)
    assert_same(oc.policy_gradient(*case, **AVERAGE), {n: 2 * half_gradient[n] - gradient[n] for n in gradient}, 1e-3)


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_a_chain_that_hardly_ever_comes_back_has_another_remedy_than_a_lower_discount(gamma):
    mdp = oc.MDP(np.array([[[1 - 1e-12, 1e-12]], [[1e-12, 1 - 1e-12]]]), np.array([[1.0], [0.0]]), [0.5, 0.5], gamma, [False, False])
    network = oc.CoagentNetwork([oc.Coagent("action", 1)])
    with pytest.raises(ValueError, match="comes back to some node too seldom for float64; scale the logits down$"):
        oc.expected_return(mdp, network, network.init_params(2), **AVERAGE)


@given(continuing_cases(max_states=2))
def test_bias_and_stationary_law_solve_their_equations(case):
    """h + g = r + T h and d = d T on the solver's own chain, whose parts other tests hold against enumeration."""
    assume(unichain(case))
    chain = average_chain(*case)
    s = chain.structure
    T = sp.csr_array((chain.entries[s.split :], (s.pattern.rows, s.pattern.columns)), shape=(s.keys.size, s.keys.size))
    reward, law = chain.reward[s.num_first :], chain.occupancy[s.num_first :]
    np.testing.assert_allclose(chain.value + chain.expected_return, reward + T @ chain.value, atol=1e-9)
    np.testing.assert_allclose(T.T @ law, law, atol=1e-12)
    assert law.sum() == pytest.approx(1) and law @ reward == pytest.approx(chain.expected_return)


def test_a_worked_example_that_is_periodic():
    """Two states in turn; in the first, action 1 (probability p) pays 1 and action 0 nothing; the second pays 3. g = (p + 3) / 2.

    ∂g/∂θ_1 = p (1 - p) / 2, -p (1 - p) / 2 for θ_0; the choice in the second state changes nothing.
    """
    mdp = oc.MDP([[[0, 1]] * 2, [[1, 0]] * 2], [[0.0, 1.0], [3.0, 3.0]], [1, 0], 0.9)
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    params = {"action": np.array([[0.0, np.log(3)], [0.2, 0.7]])}
    assert oc.expected_return(mdp, network, params, **AVERAGE) == pytest.approx(15 / 8)
    expected = [[-3 / 32, 3 / 32], [0, 0]]
    np.testing.assert_allclose(oc.policy_gradient(mdp, network, params, **AVERAGE)["action"], expected, atol=1e-12)


def test_average_reward_on_a_larger_chain():
    """More nodes than are solved densely, slow to mix."""
    S = 400
    P, rng = np.zeros((S, 2, S)), np.random.default_rng(0)
    for s in range(S):
        P[s, 0, (s + 1) % S], P[s, 1, max(s - 1, 0)] = 1.0, 1.0
    mdp = oc.MDP(P, rng.normal(size=(S, 2)), np.eye(S)[0], 0.9)
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    params = network.init_params(S, seed=1, scale=0.1)
    gradient, eps = oc.policy_gradient(mdp, network, params, **AVERAGE)["action"], 1e-5
    for at in ((3, 0), (200, 1)):
        sides = []
        for step in (eps, -eps):
            moved = params["action"].copy()
            moved[at] += step
            sides.append(oc.expected_return(mdp, network, {"action": moved}, **AVERAGE))
        assert gradient[at] == pytest.approx((sides[0] - sides[1]) / (2 * eps), abs=1e-9)


def test_what_has_no_gain_is_refused():
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    params = {"action": np.zeros((2, 2))}
    ends = oc.MDP([[[0.5, 0.5]] * 2, [[0, 1]] * 2], np.zeros((2, 2)), [1, 0], 0.9)
    with pytest.raises(ValueError, match="some actions lead to terminal state 1"):
        oc.expected_return(ends, network, params, **AVERAGE)
    unreachable = oc.MDP([[[1.0, 0]] * 2, [[0, 1]] * 2], [[2.0, 2.0], [0, 0]], [1, 0], 0.9)
    assert oc.expected_return(unreachable, network, params, **AVERAGE) == pytest.approx(2)
    with pytest.raises(ValueError, match="horizon=3"):
        oc.expected_return(oc.MDP(unreachable.P, unreachable.R, [1, 0], 0.9, horizon=3), network, params, **AVERAGE)
    two = oc.MDP([[[1.0, 0]] * 2, [[0, 1]] * 2], np.ones((2, 2)), [0.5, 0.5], 0.9)
    with pytest.raises(ValueError, match="2 recurrent classes, one with state 0 and state 1"):
        oc.policy_gradient(two, network, params, **AVERAGE)
    for function in (oc.expected_return, oc.policy_gradient, oc.finite_difference):
        with pytest.raises(ValueError, match="objective='discount': choose one of"):
            function(two, network, params, objective="discount")


# Finite horizon


@given(horizon_cases())
def test_under_a_horizon_the_return_and_its_gradient_are_enumerated_ones(case):
    T = case.mdp.horizon
    assert oc.expected_return(*case) == pytest.approx(truncated_return(*case, T), rel=1e-9, abs=1e-9)
    assert_same(oc.policy_gradient(*case), truncated_gradient(*case, T), 1e-9)


@given(horizon_cases(max_outputs=2))
def test_under_a_horizon_the_gradient_is_central_differences(case):
    assert_same(oc.policy_gradient(*case), oc.finite_difference(*case), 1e-6)


@pytest.mark.parametrize("gamma", [0.7, 1.0])
def test_a_horizon_past_the_end_changes_nothing(gamma):
    P = np.zeros((4, 2, 4))
    P[[0, 1, 2], :, [1, 2, 3]] = P[3, :, 3] = 1.0
    R = np.array([[1.0, 0], [0, 2], [1, 3], [0, 0]])
    network = oc.option_critic(2, 2, deliberation_cost=0.1)
    params = network.init_params(4)
    with_it, without = (oc.MDP(P, R, np.eye(4)[0], gamma, horizon=T) for T in (3, None))
    assert oc.expected_return(with_it, network, params) == pytest.approx(oc.expected_return(without, network, params))
    shorter = oc.MDP(P, R, np.eye(4)[0], gamma, horizon=2)
    assert abs(oc.expected_return(shorter, network, params) - oc.expected_return(without, network, params)) > 0.1


def going_on(horizon, gamma=1.0):
    rng = np.random.default_rng(3)
    P = rng.dirichlet(np.ones(3), (3, 2))
    return oc.MDP(P, rng.normal(size=P.shape), [0.5, 0.5, 0.0], gamma, observation=[0, 1, 1], horizon=horizon)


def test_option_critics_own_vocabulary_has_the_time_in_its_states():
    """U and d_Z over t S + s: the last layer is the end; values and forms agree with the gradient."""
    mdp, params = going_on(3), oc.option_critic(2, 2).init_params(2)
    values = oc.option_values(mdp, params)
    assert values.d_z.shape == (12, 2)
    np.testing.assert_allclose(values.d_z.reshape(4, 3, 2).sum(axis=(1, 2)), [1, 1, 1, 0])
    assert mdp.d0 @ values.v_omega[:3] == pytest.approx(oc.expected_return(mdp, oc.option_critic(2, 2), params))
    assert all(row.cosine == pytest.approx(1) for row in oc.compare_gradients(mdp, params) if row.exact)


def test_the_reductions_keep_the_horizon():
    mdp, network = going_on(3, 0.8), oc.option_critic(2, 2, deliberation_cost=0.1)
    params = network.init_params(2)
    J = oc.expected_return(mdp, network, params)
    assert oc.expected_return(*oc.synchronous(mdp, network, params)) == pytest.approx(J)
    flat = oc.CoagentNetwork([oc.Coagent("action", 2)])
    made = oc.comdp(mdp, flat, {"action": params["option"]}, "action")
    policy = np.exp(params["option"])[mdp.observation[np.arange(made.num_states) % 3]]
    policy /= policy.sum(axis=1, keepdims=True)
    kernel, reward = np.einsum("sa,sat->st", policy, made.P), (policy * made.expected_reward).sum(axis=1)
    expected = made.d0 @ np.linalg.solve(np.eye(made.num_states) - mdp.gamma * kernel, reward)
    assert expected == pytest.approx(oc.expected_return(mdp, flat, {"action": params["option"]}))


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("gamma", [0.8, 1.0])
def test_the_simulator_stops_at_the_horizon(gamma, joint, monkeypatch):
    from optioncoagent.simulate import tables

    if not joint:
        monkeypatch.setattr(tables, "MAX_ENTRIES", 0)
    mdp, network = going_on(4, gamma), oc.option_critic(2, 2, deliberation_cost=0.3)
    params = network.init_params(2)
    estimate = oc.estimate_return(mdp, network, params, 40_000, seed=1)
    assert (estimate.steps, estimate.capped) == (160_000, 0)
    assert abs(estimate.mean - oc.expected_return(mdp, network, params)) < 4 * estimate.standard_error
    assert oc.estimate_return(mdp, network, params, 100, max_steps=2).capped == 100
    sampled, exact = oc.estimate_gradient(mdp, network, params, 40_000, seed=2), oc.policy_gradient(mdp, network, params)
    for name in network.names:
        assert (np.abs(sampled.mean[name] - exact[name]) < 4.5 * sampled.standard_error[name]).all()
