"""The agent in table form computes what the agent computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from additive_networks import sharing, with_bits, with_shared_terms
from small import appendix_d, random_mdp

import optioncoagent as oc
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.auditing.examination import _Variant
from optioncoagent.auditing.states import StatesVectorEnv
from optioncoagent.auditing.twin import Twin

SETTINGS = dict(num_envs=4, num_steps=40, dtype="float64", hidden_sizes=(6, 5), seed=3)


def scored(num_actions):
    """Two coagents with one head, of which the second learns from sampled returns: the encoder learns from the head, whoever owns it."""
    first, second = oc.Coagent("first", 2), oc.Coagent("scored", 2, shares="first")
    return oc.CoagentNetwork([first, second, oc.Coagent("action", num_actions, upstream=("first", "scored"))])


NETWORKS = {
    "a shared head, scored": scored,
    "two levels": lambda n: oc.option_critic((2, 2), n, deliberation_cost=0.1),
    "D": appendix_d,
    "additive": with_bits,
    "shared terms": with_shared_terms,
    "shared": sharing,
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("encoder_gradient", ["all", "sampled"])
@pytest.mark.parametrize("other", [{}, {"discount_weighting": True, "sampled_returns": False, "normalize_advantages": False}])
def test_pulled_back_it_is_the_agents_own_gradient_of_the_same_rollout(network, other, encoder_gradient):
    """States are what the agent sees, and both draw the same numbers: the rollouts are the same."""
    mdp = random_mdp()
    env = StatesVectorEnv(mdp, 4, max_steps=7)
    forms = {"scored": "score"} if network is scored else {}
    agent = oc.CoagentActorCritic(env, network, forms=forms, **SETTINGS, **other, encoder_gradient=encoder_gradient)
    with torch.no_grad():
        for parameter in agent.module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0), dtype=parameter.dtype)
    agent.scale.square, agent.scale.count = 4.0, 1  # rewards are twice what the learner sees
    twin = Twin(agent, mdp, seed=3, max_steps=7)
    agent.running = agent._start()
    theirs = collect(agent.module, agent.sampler, agent.spec, agent.running, 40)
    rollout = twin.rollouts()[0]
    assert all(torch.equal(rollout.outputs[name], theirs.outputs[name]) for name in agent.network.names)
    assert rollout.truncated.any() and rollout.terminated.any()

    theirs = replace(theirs, reward=theirs.reward / 2, scale=2.0)
    batch = make_batch(agent.module, agent.spec, theirs, agent.settings, agent.forms)
    loss = agent.losses(batch).sum()
    own = torch.autograd.grad(loss, list(agent.module.parameters()))
    settings = replace(twin.settings, **other)
    audited = _Variant("own", "", True, agent.forms, (), settings, left_alone=encoder_gradient == "sampled")
    found = audited.pulled(agent, mdp, twin.gradient(twin.batch(rollout, settings, agent.forms), settings))
    for (name, gradient), expected in zip(found.items(), own, strict=True):
        np.testing.assert_allclose(gradient, -len(batch) * expected.numpy(), atol=1e-10, err_msg=name)


@pytest.mark.parametrize("max_steps", [None, 3])
def test_states_follow_the_mdp(max_steps):
    mdp = random_mdp()
    env = StatesVectorEnv(mdp, 5000, max_steps)
    state, _ = env.reset(seed=0)
    np.testing.assert_allclose(np.bincount(state, minlength=5) / 5000, mdp.d0, atol=0.03)
    counts, age = np.zeros((5, 2, 5)), np.zeros(5000, int)
    for t in range(12):
        action = (np.arange(5000) + t) % 2
        after, reward, terminated, truncated, info = env.step(action)
        age += 1
        ended = terminated | truncated
        arrived = np.where(ended, info["final_obs"], after).astype(int)
        np.testing.assert_array_equal(reward, mdp.R[state, action, arrived])
        np.testing.assert_array_equal(terminated, mdp.terminal[arrived])
        np.testing.assert_array_equal(truncated, (age == max_steps) & ~terminated)
        np.add.at(counts, (state, action, arrived), 1)
        state, age = after, np.where(ended, 0, age)
    law = counts[:4] / counts[:4].sum(axis=2, keepdims=True)
    np.testing.assert_allclose(law, mdp.P[:4], atol=0.04)
    assert (counts[:4][mdp.P[:4] == 0] == 0).all() and counts[4].sum() < 200


@pytest.mark.parametrize("S", [10, 14, 19])
def test_the_largest_draw_is_a_start_too(S):
    """Whatever the law adds up to when it is rounded."""

    class Largest:
        def random(self, n):
            return np.full(n, np.nextafter(1.0, 0.0))

    P = np.tile(np.eye(S)[:, None], (1, 2, 1))
    env = StatesVectorEnv(oc.MDP(P, np.ones((S, 2)), np.full(S, 1 / S), 0.9), 3)
    env.reset(seed=0)
    env.np_random = Largest()
    assert env._starts(3).tolist() == [S - 1] * 3


def test_a_horizon_terminates():
    rng = np.random.default_rng(0)
    env = StatesVectorEnv(oc.MDP(rng.dirichlet(np.ones(3), (3, 2)), np.ones((3, 2)), [1, 0, 0], 0.9, horizon=2), 3)
    env.reset(seed=0)
    assert [env.step(np.zeros(3, int))[2].tolist() for _ in range(4)] == [[False] * 3, [True] * 3] * 2


def test_a_gate_that_reads_a_shared_observation_is_refused():
    mdp = random_mdp()
    shared = oc.MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, [0, 1, 1, 2, 3])
    network = oc.CoagentNetwork([oc.Coagent("action", 2, executes=lambda x: x.start | (x.state > 1))])
    agent = oc.CoagentActorCritic(shared.to_env(), network)
    with pytest.raises(ValueError, match="'action' executes by the observation"):
        Twin(agent, shared, seed=0)
