"""Tables from theory to learner and back."""

import numpy as np
import pytest
from small import GRIDWORLD, appendix_d, random_mdp

import optioncoagent as oc


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


def test_logits_that_do_not_fit_are_refused():
    mdp = random_mdp()
    agent = oc.OptionCritic(mdp.to_env(), num_options=2, hidden_sizes=())
    params = agent.params(mdp)
    with pytest.raises(ValueError, match="option.*shape"):
        agent.set_params(mdp, {**params, "option": np.zeros((5, 3))})
    params["option"][0, 0] = -np.inf
    with pytest.raises(ValueError, match="option.*-inf"):
        agent.set_params(mdp, params)
