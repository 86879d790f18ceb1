"""Models of options against values by other equations, and plans against all policies over options there are."""

from itertools import product

import numpy as np
import pytest

import optioncoagent as oc
from optioncoagent.exact import option_models, option_values, plan
from optioncoagent.exact.option_models import _settled

NUM_OPTIONS, A = 2, 2
SURE = 40.0


def task(rng, gamma, num_states=5, num_observations=4):
    """The last state is the end; two states look alike."""
    P = rng.dirichlet(np.full(num_states, 0.5), (num_states, A))
    P[:-1] = 0.8 * P[:-1] + 0.2 * np.eye(num_states)[-1]
    P[-1] = np.eye(num_states)[-1]
    R = rng.normal(size=P.shape)
    R[-1] = 0.0
    observation = np.minimum(np.arange(num_states), num_observations - 1)
    return oc.MDP(P, R, rng.dirichlet(np.ones(num_states)), gamma, np.arange(num_states) == num_states - 1, observation)


def options(rng, mdp):
    return oc.option_critic(NUM_OPTIONS, A).init_params(mdp.num_observations, seed=int(rng.integers(1000)))


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("cost", [0.0, 0.3])
def test_values_of_options_are_their_models_and_what_follows(gamma, cost):
    """Q_Ω(s, ω) = R_ω(s) + Σ_s' M_ω(s'|s) (V_Ω(s') − c), no cost being charged at the end."""
    rng = np.random.default_rng(3)
    for horizon in (None, 3):
        mdp = task(rng, gamma)
        mdp = oc.MDP(mdp.P, mdp.R, mdp.d0, gamma, mdp.terminal, mdp.observation, horizon)
        params = options(rng, mdp)
        values, models = option_values(mdp, params, deliberation_cost=cost), option_models(mdp, params)
        assert models.reward.shape == (mdp.unrolled.num_states, NUM_OPTIONS)
        after = np.where(mdp.unrolled.terminal, 0.0, values.v_omega - cost)
        known = np.isfinite(values.q_omega)
        np.testing.assert_allclose((models.reward + models.transition @ after)[known], values.q_omega[known], atol=1e-12)
        assert known.all()


def test_a_corridor_by_hand():
    """Right until cell 3, and there it ends: from 0 three steps, of which the last one pays 1."""
    P = np.zeros((4, A, 4))
    for s in range(4):
        P[s, 0, max(s - 1, 0)] = P[s, 1, min(s + 1, 3)] = 1.0
    R = np.zeros((4, A, 4))
    R[2, 1, 3] = 1.0
    mdp = oc.MDP(P, R, np.eye(4)[0], 0.9)
    params = oc.option_critic(1, A).init_params(4, scale=0.0)
    params["termination"][:3, 0, oc.TERMINATE], params["action"][..., 1] = -SURE, SURE
    params["termination"][3, 0, oc.TERMINATE] = SURE
    models = option_models(mdp, params)
    np.testing.assert_allclose(models.reward[:, 0], [0.81, 0.9, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(models.transition[:, 0], np.eye(4)[[3] * 4] * np.array([0.729, 0.81, 0.9, 0.9])[:, None], atol=1e-12)


def test_a_plan_is_the_best_of_all_policies_over_the_options():
    """Of every policy that chooses one option at each observation, by `option_values`; here observations are states."""
    rng = np.random.default_rng(5)
    for _ in range(5):
        mdp = task(rng, 0.9, num_states=4)
        params = options(rng, mdp)
        values = []
        for chosen in product(range(NUM_OPTIONS), repeat=mdp.num_states):
            sure = np.where(np.eye(NUM_OPTIONS)[list(chosen)] > 0, 0.0, -np.inf)
            values.append(option_values(mdp, params | {"option": sure}).v_omega)
        models = option_models(mdp, params)
        found = plan(mdp, models)
        np.testing.assert_allclose(found.value, np.max(values, axis=0), atol=1e-8)
        for worst in (-found.q, np.zeros_like(found.q)):  # whatever is chosen at first
            value, q = _settled(models, worst)
            np.testing.assert_allclose(value, found.value, atol=1e-8)
            np.testing.assert_allclose(q, found.q, atol=1e-8)
        assert found.returns[-1] == pytest.approx(max(mdp.d0 @ value for value in values)) and found.returns[0] == 0.0


@pytest.mark.parametrize("scale", [1.0, 1e-11])
@pytest.mark.parametrize("gamma", [0.99, 0.9999])
def test_a_plan_does_not_depend_on_the_units_of_rewards(scale, gamma):
    """To stay for 1 at each step, or to end for 5: the former is worth 1 / (1 - γ), which sweeps come to slowly."""
    P = np.zeros((2, 2, 2))
    P[0, [0, 1], [0, 1]] = P[1, :, 1] = 1.0
    mdp = oc.MDP(P, scale * np.array([[1.0, 5.0], [0.0, 0.0]]), [1.0, 0.0], gamma)
    params = {
        "termination": np.tile([SURE, 0.0], (2, 2, 1)),
        "option": np.zeros((2, 2)),
        "action": np.broadcast_to(SURE * np.eye(2), (2, 2, 2)),
    }
    found = plan(mdp, option_models(mdp, params))
    np.testing.assert_allclose(found.value / scale, [1 / (1 - gamma), 0.0], rtol=1e-9)
    np.testing.assert_allclose(found.q[0] / scale, [1 / (1 - gamma), 5.0], rtol=1e-9)


@pytest.mark.parametrize("gamma", [1.0, 1 - 1e-9])
def test_a_plan_is_settled_in_each_state_by_itself(gamma):
    """A value of 10, come to slowly, beside one of 10^8 in a state that never leads to it: from state 1 the end comes with chance 10^-4."""
    P = np.zeros((3, 1, 3))
    P[0, 0, 2] = P[2, 0, 2] = 1.0
    P[1, 0, 1:] = 1 - 1e-3, 1e-3
    mdp = oc.MDP(P, np.array([[1e8], [1e-2], [0.0]]), [0.0, 1.0, 0.0], gamma)
    network = oc.option_critic(2, 1)
    params = network.init_params(3, scale=0.0)
    found = plan(mdp, option_models(mdp, params))
    np.testing.assert_allclose(found.value, [1e8, oc.expected_return(mdp, network, params), 0.0], rtol=1e-7)
    assert found.returns[-1] == pytest.approx(10.0, rel=1e-6)


def test_options_side_by_side_and_single_actions():
    """Two options and the two actions as options: the best is the best of any policy, and the models of each part are its own."""
    rng = np.random.default_rng(7)
    mdp = task(rng, 0.9, num_states=4)
    params, actions = options(rng, mdp), oc.option_critic(A, A).init_params(mdp.num_observations, scale=0.0)
    actions["termination"][..., oc.TERMINATE] = SURE
    actions["action"] = np.broadcast_to(SURE * np.eye(A), actions["action"].shape)
    models = option_models(mdp, params, actions)
    np.testing.assert_allclose(models.reward[:, :NUM_OPTIONS], option_models(mdp, params).reward)
    np.testing.assert_allclose(models.transition[:-1, NUM_OPTIONS:], 0.9 * mdp.P[:-1], atol=1e-12)
    best = -np.inf
    for chosen in product(range(A), repeat=mdp.num_states):
        logits = {"action": np.where(np.eye(A)[list(chosen)] > 0, 0.0, -np.inf)}
        best = max(best, oc.expected_return(mdp, oc.CoagentNetwork([oc.Coagent("action", A)]), logits))
    assert plan(mdp, models).returns[-1] == pytest.approx(best, abs=1e-8)


def test_what_has_no_model_is_named():
    rng = np.random.default_rng(9)
    mdp = task(rng, 1.0)
    for_ever = oc.MDP(np.full((2, A, 2), 0.5), np.ones((2, A, 2)), [1.0, 0.0], 1.0)
    params = options(rng, for_ever)
    params["termination"][:, 1, oc.TERMINATE] = -np.inf
    with pytest.raises(ValueError, match="option 1 begun at state 0 may never end"):
        option_models(for_ever, params)
    with pytest.raises(ValueError, match="not flat option-critic's"):
        option_models(mdp, oc.option_critic((2, 2), A).init_params(mdp.num_observations))
    params["termination"][...] = 0.0
    with pytest.raises(ValueError, match="at least one set of options"):
        option_models(for_ever)
    with pytest.raises(ValueError, match="models are of 2 states, and the MDP has"):
        plan(mdp, option_models(for_ever, params | {"termination": np.full((2, NUM_OPTIONS, 2), 1.0)}))
    for other, what in (
        (oc.MDP(mdp.P, mdp.R, mdp.d0, 0.5, mdp.terminal), "discounts"),
        (oc.MDP(mdp.P, 2 * mdp.R, mdp.d0, 1.0, mdp.terminal), "rewards"),
        (oc.MDP(mdp.P[:, ::-1], mdp.R, mdp.d0, 1.0, mdp.terminal), "transitions, rewards"),
    ):
        with pytest.raises(ValueError, match=f"models are of another MDP, with other {what}: make models"):
            plan(mdp, option_models(other, options(rng, other)))
    elsewhere = oc.MDP(mdp.P, mdp.R, mdp.d0[::-1] if not mdp.terminal[0] else mdp.d0, 1.0, mdp.terminal)
    assert np.array_equal(*(plan(one, option_models(mdp, options(np.random.default_rng(1), mdp))).value for one in (mdp, elsewhere)))
    with pytest.raises(ValueError, match="not settled"):
        plan(for_ever, option_models(for_ever, params))
