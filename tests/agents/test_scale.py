"""The running scale of returns, and what is left of the learning rate."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from scripted import ScriptedVectorEnv
from small import SMALL, random_mdp, same, without_times
from tabular import TabularVectorEnv

import optioncoagent as oc
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.scale import ReturnScale
from optioncoagent.agents.schedule import Schedule
from optioncoagent.agents.targets import make_batch


def rollout_of(agent):
    agent.running = agent.running or agent._start()
    return collect(agent.module, agent.sampler, agent.spec, agent.running, agent.settings.num_steps)


def test_the_scale_is_the_root_mean_square_of_discounted_returns():
    agent = oc.OptionCritic(TabularVectorEnv(random_mdp(), 3, max_steps=4), 2, num_steps=9)
    scale, together, squares = ReturnScale(3, 0.9), np.zeros(3), []
    for _ in range(2):  # it goes on over the end of a rollout
        rollout = rollout_of(agent)
        rollout.reward = 5 * rollout.reward
        for t in range(9):
            for i in range(3):
                together[i] = 0.9 * together[i] + float(rollout.reward[t, i])
                squares.append(together[i] ** 2)
                if rollout.terminated[t, i] or rollout.truncated[t, i]:
                    together[i] = 0.0
        divided, row = scale(rollout)
        assert row["reward_scale"] == divided.scale == scale.value == pytest.approx(np.sqrt(np.mean(squares))) and scale.value > 1
        torch.testing.assert_close(divided.reward * scale.value, rollout.reward)  # divided, not shifted
    other = ReturnScale(3, 0.9)
    other.from_arrays({name: x.copy() for name, x in scale.to_arrays().items()})
    assert other(rollout)[1] == scale(rollout)[1]
    fewer = ReturnScale(2, 0.9)
    fewer.from_arrays(scale.to_arrays())  # the scale goes on, returns of other environments do not
    assert fewer.value == scale.value and fewer.returns.shape == (2,)


def test_small_returns_stay_as_they_are():
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", **SMALL)
    rollout = rollout_of(agent)
    assert torch.equal(ReturnScale(4, 0.99)(rollout)[0].reward, rollout.reward)


class Paid(ScriptedVectorEnv):
    """Pays what it is told to from the next step on."""

    pays = None

    def step(self, action):
        observation, reward, *ends = super().step(action)
        return observation, reward if self.pays is None else np.full(self.num_envs, self.pays), *ends


def test_returns_begin_anew_with_episodes():
    """Where somebody resets the environments, and where a rollout was refused: nothing of the episodes before goes on."""
    env = Paid([[[0, 1] * 50] * 9], 2)
    agent = oc.OptionCritic(env, 2, num_steps=5, num_minibatches=1, gamma=0.9, int_coef=1.0)
    five, ten = (sum(10 * 0.9**k for k in range(steps)) for steps in (5, 10))
    agent.update()
    assert np.allclose(agent.scale.returns, five, atol=3)  # 10 a step, and at most 1 of the bonus
    agent.update()
    assert np.allclose(agent.scale.returns, ten, atol=3) and ten - five > 20
    env.reset()
    first = agent.update()
    assert np.allclose(agent.scale.returns, five, atol=3) and first["bonus_mean"] > 0
    env.pays = np.nan
    with pytest.raises(ValueError, match="reward"):
        agent.update()
    env.pays = None
    again = agent.update()
    assert agent.running.age.tolist() == [5] and np.allclose(agent.scale.returns, five, atol=3)
    assert again["bonus_mean"] > 0  # both observations are new to the episode


def test_what_a_reset_step_pays_is_of_no_episode():
    env = Paid([[[0, 0, 0]] * 99], 1, AutoresetMode.NEXT_STEP)  # episodes of two steps, and one that resets
    agent = oc.OptionCritic(env, 2, num_steps=30, num_minibatches=1, int_coef=0.0)
    step = env.step

    def paid(action):
        observation, reward, *ends = step(action)
        return observation, np.where(reward == 0, 1000.0, reward), *ends

    env.step = paid
    row = agent.update()
    assert row["return_mean"] == 20 and row["length_mean"] == 2 and row["reward_scale"] < 20


@pytest.mark.parametrize("sampled_returns", [False, True])
def test_costs_are_divided_with_the_rewards(sampled_returns):
    """Costs ten times as high, all divided by ten: the same batch."""
    made = []
    for cost, scale in ((0.2, 1.0), (2.0, 10.0)):
        env = TabularVectorEnv(random_mdp(), 3, max_steps=4)
        settings = dict(sampled_returns=sampled_returns, num_steps=20, dtype="float64")
        agent = oc.OptionCritic(env, 2, "score", deliberation_cost=cost, **settings)
        rollout = replace(rollout_of(agent), scale=scale)
        made.append(make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms))
    torch.testing.assert_close(made[0].learned, made[1].learned)
    torch.testing.assert_close(made[0].target, made[1].target)


def test_what_is_left_of_a_span():
    schedule = Schedule()
    assert [schedule.left(now, 100) for now in (0, 25, 90, 110)] == [1.0, 0.75, 0.1, 0.0]
    resumed = Schedule()
    resumed.from_arrays(schedule.to_arrays())
    assert resumed.left(50, 100) == 0.5 and resumed.left(100, 300) == 1.0 and resumed.left(200, 300) == 0.5


def test_an_interrupted_run_goes_on_with_its_scale_and_learning_rate(tmp_path):
    settings = dict(anneal_lr=True, seed=5, **SMALL)
    whole, stopped = (oc.OptionCritic("MiniGrid-Empty-Random-5x5-v0", 2, **settings) for _ in range(2))
    for agent in (whole, stopped):
        agent.scale.square, agent.scale.count = 4000.0, 10  # as if returns were larger

    def interrupt(row):
        if row["timesteps"] == 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.learn(256, log=interrupt)
    stopped.save(tmp_path / "stopped")
    resumed = oc.OptionCritic.load(tmp_path / "stopped")
    elsewhere = oc.OptionCritic.load(tmp_path / "stopped", num_envs=2)
    assert resumed.reward_scale == elsewhere.reward_scale == stopped.reward_scale > 1  # the critic is in its units
    rows, rates = [], []
    for agent, steps in ((whole, 256), (resumed, 128)):
        agent.learn(steps, log=rows.append)
        rates.append(agent.optimizer.param_groups[0]["lr"])
    assert rates == [pytest.approx(1e-3 / 4)] * 2
    assert rows[-1]["timesteps"] == 256 and rows[-1]["reward_scale"] > 1 and same(*map(without_times, (rows[3], rows[-1])))


def test_steps_that_only_reset_do_not_count_in_the_scale():
    env = ScriptedVectorEnv([[[0, 0, 0]] * 99], 1, AutoresetMode.NEXT_STEP)  # episodes of two steps, and one that resets
    agent = oc.OptionCritic(env, 2, num_steps=30, num_minibatches=1, int_coef=0.0, gamma=0.5)
    assert agent.update()["reward_scale"] == pytest.approx(np.sqrt((10**2 + 15**2) / 2))
