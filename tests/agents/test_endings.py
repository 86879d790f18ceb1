"""Terminations, time limits, and what is bootstrapped from."""

from dataclasses import replace

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from scripted import ScriptedVectorEnv
from small import random_mdp
from tabular import TabularVectorEnv

import optioncoagent as oc
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch


def values(agent):
    """Q(0, K) for every K."""
    features, _ = agent.module.features(torch.zeros(1, dtype=torch.long))
    return agent.module.q(agent.module.readout(features)).detach().numpy()


def test_values_where_the_time_limit_is_the_only_ending():
    """Reward 1 for ever, cut every five steps: the value is 1 / (1 − γ), not that of five steps."""
    mdp = oc.MDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], 0.8, terminal=np.array([False]))
    for autoreset in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        env = TabularVectorEnv(mdp, 16, max_steps=5, autoreset=autoreset)
        plain = dict(hidden_sizes=(), learning_rate=0.05, max_grad_norm=10.0, num_steps=8, num_minibatches=2, normalize_rewards=False)
        agent = oc.OptionCritic(env, num_options=2, gamma=0.8, ent_coef=1.0, **plain)
        agent.learn(8_000)
        np.testing.assert_allclose(values(agent), 5.0, rtol=0.02)


def test_termination_does_not_bootstrap():
    """Reward 1 on one step, which ends the episode: the value is 1."""
    P = np.zeros((2, 2, 2))
    P[:, :, 1] = 1.0
    mdp = oc.MDP(P, np.array([[1.0, 1.0], [0.0, 0.0]]), [1.0, 0.0], 0.9, terminal=np.array([False, True]))
    plain = dict(hidden_sizes=(), learning_rate=0.05, num_steps=32, num_minibatches=2)
    agent = oc.OptionCritic(TabularVectorEnv(mdp, 4), num_options=2, gamma=0.9, ent_coef=1.0, **plain)
    agent.learn(8_000)
    np.testing.assert_allclose(values(agent), 1.0, rtol=0.02)


def test_sampled_returns_are_sampled_returns():
    """λ = 1 with the correction: the critic's target is Σ γ^k (R − costs) up to the ending or the cut."""
    mdp = random_mdp()
    env = TabularVectorEnv(mdp, 3, max_steps=4)
    settings = dict(gamma=0.9, gae_lambda=1.0, sampled_returns=True, hidden_sizes=(), dtype="float64", num_steps=12)
    agent = oc.OptionCritic(env, 2, deliberation_cost=0.5, **settings)
    torch.nn.init.zeros_(agent.module.critic.weight)  # so that nothing is bootstrapped but the costs expected upon arrival
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 12)
    target = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms).target.reshape(12, 3)
    cost = 0.5 * (rollout.executed["option"] & ~rollout.start).double()
    checked = 0
    for i in range(3):
        for t in range(12):
            ending = next((k for k in range(t, 12) if rollout.terminated[k, i] or rollout.truncated[k, i]), None)
            if ending is not None and rollout.terminated[ending, i]:
                rewards = rollout.reward[t : ending + 1, i] - torch.cat([torch.zeros(1), cost[t + 1 : ending + 1, i]])
                expected = (0.9 ** torch.arange(len(rewards), dtype=torch.float64) * rewards).sum()
                torch.testing.assert_close(target[t, i], expected)
                checked += 1
    assert checked > 3


def test_advantages_that_do_not_differ_are_not_divided_by_how_they_differ():
    """As those of a rollout of one step."""
    env = TabularVectorEnv(random_mdp(), 1)
    agent = oc.OptionCritic(env, 2, num_steps=1, num_minibatches=1, update_epochs=1, hidden_sizes=())
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 1)
    given = (make_batch(agent.module, agent.spec, rollout, settings, agent.forms).learned for settings in
             (agent.settings, replace(agent.settings, normalize_advantages=False)))  # fmt: skip
    torch.testing.assert_close(*given)


def test_a_rollout_that_was_left_has_no_part_in_the_returns_of_later_episodes():
    env = ScriptedVectorEnv([[[0, 1, 2, 3, 4, 0]] * 99], 5)  # episodes of five steps that pay 10
    agent = oc.OptionCritic(env, 2, num_steps=8, num_minibatches=1, int_coef=0.0)
    agent.update()  # one episode, and three steps of the next
    env.reset()
    agent.update()
    assert [value for value, _ in agent.recent] == [50.0, 50.0] and [length for _, length in agent.recent] == [5, 5]


def test_a_rollout_that_was_left_where_an_episode_had_ended_begins_with_a_step():
    """NEXT_STEP: the next step was to be the one that resets, of which nothing is learned; begun anew, it is an action like any other."""
    agent = oc.OptionCritic(ScriptedVectorEnv([[[0, 0, 0]] * 9], 1, AutoresetMode.NEXT_STEP), num_options=2, num_steps=2, num_minibatches=1)
    agent.update()
    assert not agent.running.valid.any()
    agent.running.broken = True
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 2)
    assert rollout.valid.all() and rollout.start.tolist() == [[True], [False]]


def test_advantages_of_small_rewards_are_divided_like_others():
    """Rewards a ten-thousandth as large, a critic of zero: the same advantages."""
    agent = oc.OptionCritic(TabularVectorEnv(random_mdp(), 4), 2, num_steps=16, hidden_sizes=(), dtype="float64")
    with torch.no_grad():
        for parameter in agent.module.critic.parameters():
            parameter.zero_()
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    small = replace(rollout, reward=1e-4 * rollout.reward)
    first, second = (make_batch(agent.module, agent.spec, x, agent.settings, agent.forms).learned[:, 1] for x in (rollout, small))
    assert first.abs().max() > 0.5
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
