"""Exact-gradient ascent."""

import numpy as np
import pytest
from small import random_mdp

import optioncoagent as oc
from optioncoagent.network import softmax


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_j_never_falls_and_reaches_the_optimum(scale):
    """One softmax policy on four states: the optimum is that of value iteration, whatever the size of the rewards."""
    mdp = random_mdp()
    mdp = oc.MDP(mdp.P, mdp.R * scale, mdp.d0, mdp.gamma, mdp.terminal)
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    params, J = network.init_params(5), []
    for _ in range(12):
        J.append(oc.expected_return(mdp, network, params) / scale)
        params = oc.ascend(mdp, network, params, 25)
    v = np.zeros(5)
    for _ in range(500):
        v = (mdp.expected_reward + mdp.gamma * mdp.P @ v).max(axis=1)
    assert (np.diff(J) >= 0).all() and J[-1] > J[0] + 0.1
    assert J[-1] == pytest.approx(mdp.d0 @ v / scale, abs=2e-3)


def test_steps_follow_one_another():
    mdp, network = random_mdp(), oc.option_critic(2, 2, deliberation_cost=0.1)
    params = network.init_params(5)
    J = [oc.expected_return(mdp, network, oc.ascend(mdp, network, params, n)) for n in range(5)]
    assert J[0] == oc.expected_return(mdp, network, params) and (np.diff(J) > 0).all()


def test_it_stops_where_no_step_rises_and_keeps_what_is_forbidden():
    """All rewards alike: the gradient is rounding. And a logit of -inf stays."""
    P = np.full((2, 2, 2), 0.5)
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    params = {"action": np.array([[0.3, -np.inf], [0.1, 0.2]])}
    moved = oc.ascend(oc.MDP(P, np.ones((2, 2)), [1, 0], 0.9), network, params, 10)
    np.testing.assert_array_equal(moved["action"], params["action"])
    moved = oc.ascend(oc.MDP(P, np.array([[0.0, 1], [0, 1]]), [1, 0], 0.9), network, params, 10)["action"]
    assert moved[0, 1] == -np.inf and moved[1, 1] > 2


@pytest.mark.parametrize("scale", [1e-310, 1e160, 1e300])
def test_rewards_may_have_any_size(scale):
    """Of which |∇J|² overflows, or 1 / ∇J does."""
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    moved = oc.ascend(oc.MDP(np.ones((1, 2, 1)), [[0, scale]], [1], 0.9), network, {"action": np.zeros((1, 2))}, 50)["action"][0]
    assert moved[1] - moved[0] > 20


def test_a_gradient_that_has_all_but_vanished_is_followed():
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    mdp = oc.MDP(np.ones((1, 2, 1)), [[0, 1]], [1], 0.9)
    assert oc.ascend(mdp, network, {"action": np.array([[0.0, -745]])}, 3)["action"] == pytest.approx(np.array([[-3, -742]]))


def test_along_the_gain_and_under_a_horizon():
    rng = np.random.default_rng(0)
    P, R = rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2))
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    params = network.init_params(3)
    endless = oc.MDP(P, R, [1, 0, 0], 0.9)
    gains = [
        oc.expected_return(endless, network, p, objective="average") for p in (params, oc.ascend(endless, network, params, 200, "average"))
    ]
    best = max(
        oc.expected_return(endless, network, {"action": np.where(np.eye(2)[list(choice)] > 0, 40.0, -40.0)}, objective="average")
        for choice in np.ndindex(2, 2, 2)
    )
    assert gains[0] < best - 0.01 and gains[1] == pytest.approx(best, abs=2e-3)
    short = oc.MDP(P, R, [1, 0, 0], 1.0, horizon=1)
    assert oc.expected_return(short, network, oc.ascend(short, network, params, 200)) == pytest.approx(R[0].max(), abs=5e-3)


def test_where_the_solver_refuses_the_step_is_too_long():
    """Every step pays, and how long the episode goes on is learned: J = 1 / π(end) grows until float64 can no longer tell."""
    P = np.zeros((2, 2, 2))
    P[0, 0, 0] = P[0, 1, 1] = P[1, :, 1] = 1
    mdp, network = oc.MDP(P, np.array([[1.0, 1], [0, 0]]), [1, 0], 1.0), oc.CoagentNetwork([oc.Coagent("action", 2)])
    moved = oc.ascend(mdp, network, {"action": np.zeros((2, 2))}, 100)
    end = softmax(moved["action"])[0, 1]
    assert end < 1e-4 and oc.expected_return(mdp, network, moved) == pytest.approx(1 / end, rel=1e-6)


@pytest.mark.parametrize("steps", [-1, 1.5, True])
def test_steps_are_counted(steps):
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    with pytest.raises(ValueError, match="steps="):
        oc.ascend(random_mdp(), network, network.init_params(5), steps)
