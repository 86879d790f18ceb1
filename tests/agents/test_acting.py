"""Acting and evaluating: predict, evaluate, probabilities, parameters for the exact solver."""

from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
import torch
from small import GRIDWORLD, SMALL, appendix_d, same, without_times

import optioncoagent as oc


def test_predict_carries_options_and_restarts_them():
    agent = oc.OptionCritic("CartPole-v1", num_options=3, seed=0, **SMALL)
    with torch.no_grad():  # an option, once chosen, is kept
        agent.module.policies["policy_termination"].bias.copy_(torch.tensor([-50.0, 50.0]).repeat(3))
    observation = np.zeros((64, 4), np.float32)
    action, state = agent.predict(observation)
    assert action.shape == (64,) and state.shape == (64, 1) and set(np.unique(state)) == {0, 1, 2}
    again = agent.predict(observation, state)[1]
    assert np.array_equal(again, state)
    restart = np.arange(64) < 32
    changed = agent.predict(observation, state, restart)[1]
    assert np.array_equal(changed[32:], state[32:]) and not np.array_equal(changed[:32], state[:32])
    best = agent.probabilities(observation)["option"].argmax(axis=-1)
    assert np.array_equal(agent.predict(observation, deterministic=True)[1][:, 0], best)


def test_whether_a_coagent_executes_is_drawn_where_outputs_are_the_likeliest():
    """Of ten thousand options that execute half of the time half change, all of them to the likeliest."""
    option = oc.Coagent("option", 2, executes=lambda x: 0.5 + 0.5 * x.start)
    agent = oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork([option, oc.Coagent("action", 2, upstream=("option",))]), **SMALL)
    with torch.no_grad():
        agent.module.policies["policy_option"].bias.copy_(torch.tensor([0.0, 1.0]))
    observation, n = np.zeros((10_000, 4), np.float32), 10_000
    _, state = agent.predict(observation, np.zeros((n, 1), int), np.zeros(n, bool), deterministic=True)
    assert abs(state.mean() - 0.5) < 4 * np.sqrt(0.25 / n)
    again = agent.predict(observation, np.ones((n, 1), int), np.zeros(n, bool), deterministic=True)[1]
    assert (again == 1).all()


def test_a_wrong_state_or_observation_is_named():
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    observation = np.zeros((3, 4), np.float32)
    for state in (np.zeros((1, 1), int), np.full((3, 1), 7), np.full((3, 1), 0.5), np.full((3, 1), np.nan)):
        with pytest.raises(ValueError, match=r"(?s)state=.*shape \(3, 1\), outputs of \('option',\) in \[2\]"):
            agent.predict(observation, state)
    with pytest.raises(ValueError, match="the agent was made for"):
        agent.predict(np.zeros(7, np.float32))
    for ask in (agent.predict, agent.probabilities):
        with pytest.raises(ValueError, match=r"shape \(0, 4\), a batch of no observations: give at least one"):
            ask(np.zeros((0, 4), np.float32))
    state = agent.predict(observation)[1]
    for start in (True, [True], np.ones(4, bool)):
        with pytest.raises(ValueError, match=r"episode_start has [14] entries for 3 observations"):
            agent.predict(observation, state, start)


def test_states_of_other_agents_are_told_and_tensors_are_numbers():
    plain, recurrent = (oc.OptionCritic("CartPole-v1", num_options=2, recurrent_size=size, **SMALL) for size in (0, 6))
    seen = np.zeros((3, 4), np.float32)
    options, hidden = recurrent.predict(seen)[1]
    for state in ((options, hidden), ["a", "b", "c"], [[1], [2, 3], []]):
        with pytest.raises(ValueError, match=r"(?s)state=.*for 3 observations it has shape \(3, 1\)"):
            plain.predict(seen, state)
    for state in (options, (options, options), (options, "abc")):
        with pytest.raises(ValueError, match="a recurrent agent's is the pair that predict returned, here for 3"):
            recurrent.predict(seen, state)
    again = deepcopy(recurrent)
    given = recurrent.predict(seen, (options, hidden))[1], again.predict(seen, (torch.tensor(options), torch.tensor(hidden)))[1]
    np.testing.assert_array_equal(given[0][1], given[1][1])


def test_stable_baselines3_evaluates_the_agent():
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    returns, lengths = evaluate_policy(agent, make_vec_env("CartPole-v1", 3, seed=0), 7, deterministic=False, return_episode_rewards=True)
    assert len(returns) == 7 and returns == lengths and min(returns) > 5


def test_evaluate():
    agent, twin = (oc.OptionCritic(GRIDWORLD, num_options=2, **SMALL).learn(64) for _ in range(2))
    result = agent.evaluate(7, seed=3)
    assert result.returns.shape == result.lengths.shape == (7,)
    np.testing.assert_array_equal(result.returns, -result.lengths)  # every step of the gridworld costs 1
    assert same(vars(agent.evaluate(7, seed=3)), vars(result)) and not same(vars(agent.evaluate(7, seed=4)), vars(result))
    observation = np.arange(9)
    assert all(map(np.array_equal, agent.predict(observation), twin.predict(observation)))  # nothing the agent draws from has moved
    assert same(*(without_times(x.update()) for x in (agent, twin)))
    with pytest.raises(ValueError, match="num_episodes=0"):
        agent.evaluate(0)


def test_probabilities_are_parameters_for_the_exact_solver():
    agent = oc.OptionCritic(GRIDWORLD, num_options=2, hidden_sizes=(), **SMALL).learn(64)
    tables = agent.probabilities(np.arange(9))
    network = agent.network
    assert {name: t.shape for name, t in tables.items()} == {name: network.parameter_shape(name, 9) for name in network.names}
    for table in tables.values():
        np.testing.assert_allclose(table.sum(axis=-1), 1, rtol=1e-6)
    mdp = oc.MDP.from_env(gym.make("optioncoagent_envs:OptionCoagent/Gridworld-v0"), 0.9)
    params = agent.params(mdp)  # with a row for the end, which the environment never shows
    np.testing.assert_allclose(network.policies(params, mdp.num_observations)["action"][:9], tables["action"], rtol=1e-5)
    assert oc.expected_return(mdp, network, params) < 0
    one = agent.probabilities(4)
    np.testing.assert_allclose(one["action"], tables["action"][4], rtol=1e-6)
    flat = oc.CoagentActorCritic(GRIDWORLD, appendix_d(4), **SMALL)
    assert flat.probabilities(np.arange(9))["action"].shape == (2, 2, 4)  # does not observe
    assert np.isfinite(oc.expected_return(mdp, flat.network, flat.params(mdp)))


@pytest.mark.slow
def test_an_agent_on_a_minigrid_level_in_the_exact_solver():
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_options=2, **SMALL).learn(64)
    mdp = oc.MDP.from_minigrid("MiniGrid-Empty-5x5-v0", 0.99, view="egocentric")
    assert 0 < oc.expected_return(mdp, agent.network, agent.params(mdp)) < 1


def test_a_probability_that_is_rounded_to_zero_has_a_logit_like_others():
    """So that params can be given back."""
    agent = oc.OptionCritic(GRIDWORLD, num_options=2, hidden_sizes=(), **SMALL)
    with torch.no_grad():
        agent.module.policies["policy_action"].bias[0] = -200.0
    mdp = oc.MDP.from_env(gym.make("optioncoagent_envs:OptionCoagent/Gridworld-v0"), 0.9)
    params = agent.params(mdp)  # warnings are errors here
    assert (agent.probabilities(np.arange(9))["action"][:, 0, 0] == 0).all() and (np.abs(params["action"][:9, 0, 0] + 200) < 10).all()
    assert np.isfinite(oc.expected_return(mdp, agent.network, params))
    agent.set_params(mdp, params)
    for name, again in agent.params(mdp).items():
        np.testing.assert_allclose(again[:9], params[name][:9], atol=1e-4)


def test_tables_of_coagents_that_share():
    """Params have the owner's key only; taken over and given back they are the same policies; the gradient is that of differences."""
    bits = [oc.Coagent("left", 2), oc.Coagent("right", 2, shares="left")]
    network = oc.CoagentNetwork([*bits, oc.Coagent("action", 4, observes=False, upstream=("left", "right"))])
    agent = oc.CoagentActorCritic(GRIDWORLD, network, hidden_sizes=(), dtype="float64", num_envs=2)
    mdp = oc.MDP.from_env("optioncoagent_envs:OptionCoagent/Gridworld-v0", 0.9)
    agent.set_params(mdp, network.init_params(mdp.num_observations, seed=1))
    params = agent.params(mdp)
    assert list(params) == ["left", "action"]
    slopes = oc.finite_difference(mdp, network, params)
    weight = oc.agent_gradient(agent, mdp)["policies.policy_left.weight"]
    np.testing.assert_allclose(weight.T[:8], slopes["left"][:8], rtol=0, atol=1e-7)
