"""Actor-critic with eligibility traces against Sutton & Barto's pseudocode, written out in Python."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from enumerated import bits, gridworld, random_mdp, truth

from optioncoagent import MDP, Coagent, CoagentNetwork, LocalState, option_critic
from optioncoagent.network import softmax
from optioncoagent.simulate import actor_critic

STEP_SIZES = {"termination": 0.5, "option": 0.4, "action": 0.3}
CRITIC, DECAY = 0.2, 0.7


def by_the_book(mdp, network, episodes, rng, max_steps):
    """Sutton & Barto 2018, section 13.5, actor-critic with eligibility traces (episodic), one actor a coagent."""
    theta = {c.name: np.zeros(network.parameter_shape(c.name, mdp.num_observations)) for c in network.coagents if c.shares is None}
    w, returns = np.zeros(mdp.num_states), []
    P = mdp.transition_matrix.toarray().reshape(mdp.num_states, mdp.num_actions, mdp.num_states)
    for _ in range(episodes):
        z, z_w = {n: np.zeros_like(theta[n]) for n in theta}, np.zeros_like(w)
        s = rng.choice(mdp.num_states, p=mdp.d0)
        previous = {n: rng.choice(network[n].num_outputs, p=network.initial(n)) for n in network.names}
        importance, total, t = 1.0, 0.0, 0
        while not mdp.terminal[s] and t < max_steps:
            outputs, cost, scores = {}, 0.0, {}
            for c in network.coagents:
                arrays = [{n: np.array(v) for n, v in values.items()} for values in (outputs, previous)]
                x = LocalState(np.array(t == 0), np.array(s), *arrays)
                beta = c.executes(x) if callable(c.executes) else c.executes
                outputs[c.name] = previous[c.name]
                if rng.random() < beta:
                    row = (s,) * c.observes + tuple(outputs[n] for n in c.upstream) + tuple(previous[n] for n in c.previous)
                    p = softmax(theta[c.shares or c.name][row])
                    u = outputs[c.name] = rng.choice(c.num_outputs, p=p)
                    scores[c.name] = c.shares or c.name, row, np.eye(c.num_outputs)[u] - p
                    cost += c.cost * (t > 0)
            a = int(network.joint_action(outputs))
            successor = rng.choice(mdp.num_states, p=P[s, a])
            reward = mdp.R[s, a, successor] - cost
            delta = reward + mdp.gamma * w[successor] * (not mdp.terminal[successor]) - w[s]
            z_w *= mdp.gamma * DECAY
            z_w[s] += 1
            w += CRITIC * delta * z_w
            for n in theta:
                z[n] *= mdp.gamma * DECAY
                for owner, row, score in scores.values():
                    if owner == n:
                        z[n][row] += importance * score
                theta[n] += STEP_SIZES[n] * delta * z[n]
            total += importance * reward
            importance *= mdp.gamma
            s, previous, t = successor, outputs, t + 1
        returns.append(total)
    return returns, theta, w


def sharing():
    """A second option, drawn with the parameters of the first at every second step."""
    again = Coagent("again", 2, executes=0.5, shares="option")
    termination, option, action = option_critic(2, 2, deliberation_cost=0.2, initial=0).coagents
    return CoagentNetwork([termination, option, again, replace(action, upstream=("option", "again"))])


@pytest.mark.parametrize("make", [lambda: option_critic(2, 2, deliberation_cost=0.2, initial=0), sharing])
def test_learning_is_that_of_the_book(make):
    mdp, network, trials = random_mdp(0, num_states=2, gamma=0.9), make(), 1200
    rng = np.random.default_rng(0)
    slow = [by_the_book(mdp, network, 3, rng, 6) for _ in range(trials)]
    fast = actor_critic(mdp, network, 3, STEP_SIZES, CRITIC, DECAY, trials=60_000, max_steps=6, threads=2)

    def z(mine, book):
        return (mine.mean(axis=0) - book.mean(axis=0)) / np.sqrt(book.var(axis=0) / trials + mine.var(axis=0) / 60_000 + 1e-30)

    assert np.abs(z(fast.returns, np.array([returns for returns, _, _ in slow]))).max() < 4
    assert np.abs(z(fast.values, np.array([w for _, _, w in slow]))).max() < 4
    for name in fast.params:
        values = z(fast.params[name], np.array([theta[name] for _, theta, _ in slow]))
        assert np.abs(values).max() < 4.5
        assert np.abs(fast.params[name]).max() > 0


def test_without_steps_nothing_is_learnt_and_returns_have_mean_j():
    mdp, network = gridworld(), bits()
    params = network.init_params(9, seed=2)
    runs = actor_critic(mdp, network, 1, 0.0, 0.0, 0.5, trials=20_000, params=params)
    assert all((runs.params[name] == params[name]).all() for name in params)
    assert abs(runs.returns.mean() - truth(mdp, network, params).value) < 4 * runs.returns.std() / np.sqrt(20_000)
    assert (runs.returns == -runs.steps).all()


def test_the_seed_decides_and_threads_do_not():
    one, two = (actor_critic(gridworld(), bits(), 20, 0.1, 0.02, 0.8, trials=60, seed=5, threads=t) for t in (1, 2))
    assert np.array_equal(one.returns, two.returns)
    assert np.array_equal(one.params["action"], two.params["action"])
    other = actor_critic(gridworld(), bits(), 20, 0.1, 0.02, 0.8, trials=60, seed=6)
    assert not np.array_equal(one.returns, other.returns)
    assert not np.array_equal(one.returns[0], one.returns[1])


def test_trials_go_on_from_others_each_from_its_own():
    mdp, network = gridworld(), bits()
    first = actor_critic(mdp, network, 30, 0.3, 0.1, 0.8, trials=4, seed=5)
    still = actor_critic(mdp, network, 2000, 0.0, 0.0, 0.8, trials=4, seed=6, after=first)
    assert np.array_equal(still.values, first.values)
    for trial, returns in enumerate(still.returns):
        own = {name: x[trial] for name, x in first.params.items()}
        assert all(np.array_equal(still.params[name][trial], own[name]) for name in own)
        assert abs(returns.mean() - truth(mdp, network, own).value) < 4 * returns.std() / np.sqrt(2000)
    then = actor_critic(mdp, network, 1, 0.3, 0.1, 0.8, trials=4, seed=6, after=first)
    assert not np.array_equal(then.values, first.values) and not np.shares_memory(then.values, first.values)
    assert (first.learned_from, still.learned_from, then.learned_from) == (30, 2030, 31)
    with pytest.raises(ValueError, match="after= is 4 trials on 9 observations: it takes 3 on 9"):
        actor_critic(mdp, network, 1, 0.1, 0.1, 0.5, trials=3, after=first)


def test_trials_that_go_on_draw_other_numbers_under_the_same_seed():
    """A step that pays ±1 by a fair coin is worth nothing, also if every episode is a call."""
    toss = np.zeros((3, 1, 3))
    toss[0, 0, 1:], toss[1:, 0, 1:] = 0.5, np.eye(2)
    mdp = MDP(toss, np.array([[[0.0, 1.0, -1.0]], np.zeros((1, 3)), np.zeros((1, 3))]), [1, 0, 0], 1.0, [False, True, True])
    network, found, returns = CoagentNetwork([Coagent("action", 1)]), None, []
    for _ in range(400):
        found = actor_critic(mdp, network, 1, 0.0, 0.01, 0.0, trials=3, after=found)
        returns.append(found.returns[:, 0])
    assert np.abs(np.mean(returns, axis=0)).max() < 4 / np.sqrt(400)
    assert np.abs(found.values[:, 0]).max() < 0.5


def test_after_the_horizon_of_an_mdp_nothing_is_worth_anything():
    """As in the MDP that counts its steps: one action pays now, the other leads where only the steps after it would pay."""
    step = np.zeros((2, 2, 2))
    step[0, 0, 0] = step[0, 1, 1] = 1.0
    step[1, :, 1] = 1.0
    mdp = MDP(step, np.array([[0.3, 0.0], [1.0, 1.0]]), [1.0, 0.0], 1.0, horizon=1)
    runs = actor_critic(mdp, CoagentNetwork([Coagent("action", 2)]), 2000, 0.5, 0.1, 0.0, trials=3)
    assert (runs.steps == 1).all() and runs.capped == 0
    assert (softmax(runs.params["action"])[:, 0, 0] > 0.95).all()
    alone = actor_critic(
        MDP(np.ones((1, 1, 1)), np.ones((1, 1)), [1.0], 1.0, horizon=1), CoagentNetwork([Coagent("action", 1)]), 300, 0, 0.1, 0
    )
    np.testing.assert_allclose(alone.values, 1.0, atol=1e-9)
    cut = actor_critic(MDP(mdp.P, mdp.R, mdp.d0, 1.0, horizon=5), CoagentNetwork([Coagent("action", 2)]), 2, 0, 0, 0, max_steps=3)
    assert (cut.steps == 3).all() and cut.capped == 2


def test_an_episode_is_as_long_as_it_is_where_max_steps_allow_it():
    """γ = 1/2 makes forty steps negligible in J; to the critic of the last cell they are everything."""
    n, last = 41, np.arange(41) == 40
    step = (np.eye(n, k=1) + np.diag(last))[:, None]
    mdp = MDP(step, np.eye(n, k=1)[:, None] * last, np.eye(n)[0], 0.5, last)
    network = CoagentNetwork([Coagent("action", 1)])
    whole = actor_critic(mdp, network, 100, 0.0, 0.5, 0.0, max_steps=1000)
    assert (whole.steps == 40).all() and whole.capped == 0
    np.testing.assert_allclose(whole.values[0, 36:40], [0.125, 0.25, 0.5, 1.0], rtol=1e-6)
    short = actor_critic(mdp, network, 3, 0.0, 0.5, 0.0)
    assert (short.steps < 40).all() and short.capped == 3


def test_what_never_ends_is_refused_or_capped():
    network = CoagentNetwork([Coagent("action", 4)])
    up = {"action": np.full((9, 4), -np.inf)}
    up["action"][:, 0] = 0
    with pytest.raises(ValueError, match="γ = 1"):
        actor_critic(gridworld(), network, 1, 0.1, 0.1, 0.5, params=up)
    runs = actor_critic(gridworld(), network, 3, 0.1, 0.1, 0.5, trials=2, params=up, max_steps=7)
    assert (runs.steps == 7).all() and runs.capped == 6


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="step_size"):
        actor_critic(gridworld(), bits(), 1, {"left": 0.1}, 0.1, 0.5)
    with pytest.raises(ValueError, match="trials"):
        actor_critic(gridworld(), bits(), 1, 0.1, 0.1, 0.5, trials=0)
    for rates in ((np.nan, 0.1), (0.1, np.inf)):
        with pytest.raises(ValueError, match="step_size=.*finite"):
            actor_critic(gridworld(), bits(), 1, *rates, 0.5)
    for decay in (5, -0.1, np.nan):
        with pytest.raises(ValueError, match=f"trace_decay={decay}: it needs a number in"):
            actor_critic(gridworld(), bits(), 1, 0.1, 0.1, decay)


def test_no_two_trials_share_their_random_numbers():
    """Without learning an episode is a function of its random numbers alone: no two trials share them."""
    runs = actor_critic(gridworld(), bits(), 4, 0.0, 0.0, 0.5, trials=50, seed=5)
    assert not np.array_equal(runs.returns[1:, 0], runs.returns[:-1, 1])
    assert not any(np.array_equal(runs.returns[k:, 0], runs.returns[:-k, j]) for k in (1, 2, 3) for j in (1, 2, 3))
