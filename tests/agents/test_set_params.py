"""Tables from theory to learner and back."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from small import GRIDWORLD, SMALL, appendix_d, random_mdp

import optioncoagent as oc
from optioncoagent import gallery


def tables(network, mdp, params):
    return network.policies(params, mdp.num_observations)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", [lambda n: oc.option_critic((2, 3), n), appendix_d], ids=["two levels", "appendix D"])
def test_set_params_is_the_inverse_of_params(network, dtype):
    mdp = random_mdp()
    agent = oc.CoagentActorCritic(mdp.to_env(), network, hidden_sizes=(), dtype=dtype)
    with_bias = agent.module.policies["policy_action"]
    if hasattr(with_bias, "bias"):
        with_bias.bias.data.fill_(0.7)
    params = agent.network.init_params(5, seed=3)
    agent.set_params(mdp, params)
    back, want = (tables(agent.network, mdp, p) for p in (agent.params(mdp), params))
    for name in params:
        np.testing.assert_allclose(back[name], want[name], atol=1e-6 if dtype == "float32" else 1e-13)


def test_the_loop_between_theory_and_learner_closes():
    mdp = oc.MDP.from_env("optioncoagent_envs:" + GRIDWORLD, 0.9)  # with an end that the environment never shows
    agent = oc.OptionCritic(GRIDWORLD, num_options=2, hidden_sizes=(), gamma=0.9, num_envs=1, seed=0)
    before = agent.params(mdp)
    better = oc.ascend(mdp, agent.network, before, 100)
    agent.set_params(mdp, better)
    J = [oc.expected_return(mdp, agent.network, p) for p in (before, better, agent.params(mdp))]
    assert J[1] > J[0] + 0.1 and J[2] == pytest.approx(J[1], abs=1e-5)
    agent.learn(128)


@pytest.mark.parametrize("settings", [{}, {"hidden_sizes": (8,)}])
def test_what_is_no_table_is_refused(settings):
    mdp = random_mdp()
    agent = oc.OptionCritic(mdp.to_env(), num_options=2, **settings)
    with pytest.raises(ValueError, match="hidden_sizes=()"):
        agent.set_params(mdp, agent.params(mdp))


def test_additive_policies_are_no_tables():
    network = gallery.stochastic_layers((2,), 4, additive=True)
    agent = oc.CoagentActorCritic(GRIDWORLD, network, hidden_sizes=(), **SMALL)
    mdp = oc.MDP.from_env(GRIDWORLD, 0.9)
    with pytest.raises(ValueError, match="coagent 'action': its policy is additive, and set_params takes tables"):
        agent.set_params(mdp, agent.params(mdp))


def test_several_numbers_are_no_discrete_observation():
    class Pair(gym.Env):
        observation_space, action_space = gym.spaces.MultiDiscrete([6, 6]), gym.spaces.Discrete(4)

    mdp = oc.MDP.from_env(gym.make(GRIDWORLD), gamma=0.9)
    agent = oc.OptionCritic(Pair(), hidden_sizes=(), **SMALL)
    before = {name: x.clone() for name, x in agent.module.state_dict().items()}
    with pytest.raises(ValueError, match="set_params needs an agent whose policies are tables"):
        agent.set_params(mdp, agent.network.init_params(mdp.num_observations))
    with pytest.raises(ValueError, match="params needs an agent on a Discrete space"):
        agent.params(mdp)
    assert all(torch.equal(x, before[name]) for name, x in agent.module.state_dict().items())


def test_logits_that_do_not_fit_are_refused():
    mdp = random_mdp()
    agent = oc.OptionCritic(mdp.to_env(), num_options=2, hidden_sizes=())
    params = agent.params(mdp)
    with pytest.raises(ValueError, match="option.*shape"):
        agent.set_params(mdp, {**params, "option": np.zeros((5, 3))})
    params["option"][0, 0] = -np.inf
    with pytest.raises(ValueError, match="option.*-inf"):
        agent.set_params(mdp, params)


def test_a_refusal_leaves_the_agent_as_it_was():
    mdp = random_mdp()
    agent = oc.OptionCritic(mdp.to_env(), num_options=2, hidden_sizes=())
    before, params = agent.params(mdp), agent.network.init_params(5, seed=3)
    params["action"][3, 0, 0] = -np.inf  # of the last coagent
    with pytest.raises(ValueError, match="action.*-inf"):
        agent.set_params(mdp, params)
    for name, table in agent.params(mdp).items():
        np.testing.assert_array_equal(table, before[name])


def test_what_the_environment_never_shows_may_be_anything():
    mdp = oc.MDP.from_env("optioncoagent_envs:" + GRIDWORLD, 0.9)
    agent = oc.OptionCritic(GRIDWORLD, num_options=2, hidden_sizes=())
    params = agent.params(mdp)
    params["option"][-1, 0] = -np.inf
    agent.set_params(mdp, params)


def test_policies_for_other_observations_stay():
    """An MDP of five of the environment's observations; heads whose bias is not zero."""
    whole = oc.MDP(np.full((8, 4, 8), 1 / 8), np.ones((8, 4)), np.full(8, 1 / 8), 0.9)
    agent = oc.OptionCritic(whole.to_env(), num_options=2, hidden_sizes=())
    part = oc.MDP(np.full((5, 4, 5), 1 / 5), np.ones((5, 4)), np.full(5, 1 / 5), 0.9)
    for head in agent.module.policies.values():
        head.bias.data.copy_(torch.linspace(-1, 1, len(head.bias)))
    before = agent.probabilities(np.arange(8))
    agent.set_params(part, agent.params(part))
    for name, table in agent.probabilities(np.arange(8)).items():
        np.testing.assert_allclose(table, before[name], atol=1e-6)


def test_tables_are_of_the_agents_environment():
    agent = oc.OptionCritic(random_mdp().to_env(), num_options=2, hidden_sizes=())
    with pytest.raises(ValueError, match="shows observation 39, and the agent's space has 5"):
        agent.params(oc.MDP(np.full((40, 2, 40), 1 / 40), np.ones((40, 2)), np.full(40, 1 / 40), 0.9))
    with pytest.raises(ValueError, match="actions"):
        agent.params(oc.MDP(np.full((5, 7, 5), 1 / 5), np.ones((5, 7)), np.full(5, 1 / 5), 0.9))
