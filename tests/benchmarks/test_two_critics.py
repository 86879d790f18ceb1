"""Two critics are one critic in two parts: what coagents learn from is the same number, and each learns its own return."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_folders import benchmark
from small import SMALL

from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch

ENV = "MiniGrid-Empty-5x5-v0"


@pytest.fixture
def two_critics(monkeypatch):
    """The benchmark; it imports what lies beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("two_critics")


def rolled(agent, steps=48):
    """A rollout with its bonus kept apart, and the batch of its rewards."""
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, steps)
    for stage in agent.rewards.values():
        rollout, _ = stage(rollout)
    return rollout, make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)


def drawn(agent):
    """The agent with heads that are not what they begin as."""
    torch.manual_seed(0)
    with torch.no_grad():
        for part in agent.module.parameters():
            part.add_(0.1 * torch.randn_like(part))
    return agent


def test_advantages_of_two_critics_add_up_to_those_of_one(two_critics):
    two = drawn(two_critics.TwoCritics(ENV, dtype="float64", seed=0, **SMALL))
    rollout, batch = rolled(two)
    bonus = two.rewards["exploration"].bonus
    found = two.both(rollout, batch)
    assert bonus.abs().sum() > 0

    module = two.module
    with torch.no_grad():  # the one critic is the sum of both
        for ours, theirs in ((module.critic, module.second["critic"]), (module.common["critic"], module.second["common"])):
            ours.weight.add_(theirs.weight)
            ours.bias.add_(theirs.bias)
    settings = replace(two.settings, normalize_advantages=True)
    one = make_batch(module, two.spec, replace(rollout, reward=rollout.reward + bonus), settings, two.forms)
    torch.testing.assert_close(found.learned[:, 1], one.learned[:, 1], atol=1e-7, rtol=0.0)
    torch.testing.assert_close(found.target + found.second, one.target, atol=1e-12, rtol=0.0)


def test_a_return_that_goes_on_beyond_an_end(two_critics):
    """λ = 1 and critics of 0: what is to come of the bonus to the end of the rollout, through the ends of episodes."""
    settings = dict(dtype="float64", seed=0, gae_lambda=1.0, bonus_gamma=0.9, env_kwargs={"max_steps": 9}, **SMALL)
    for non_episodic in (False, True):
        agent = two_critics.TwoCritics(ENV, non_episodic, **settings)
        with torch.no_grad():
            for head in (agent.module.critic, *agent.module.second.values(), agent.module.common["critic"]):
                head.weight.zero_()
                head.bias.zero_()
        rollout, batch = rolled(agent)
        found, bonus = agent.both(rollout, batch).second.reshape(rollout.reward.shape), agent.rewards["exploration"].bonus
        to_come, ended = torch.zeros(len(bonus[0]), dtype=bonus.dtype), rollout.terminated | rollout.truncated
        assert ended[:-1].any()
        for t in reversed(range(len(bonus))):
            goes_on = torch.ones_like(to_come) if non_episodic else (~ended[t]).to(to_come.dtype)
            to_come = bonus[t] + 0.9 * goes_on * to_come
            torch.testing.assert_close(found[t], to_come)


def test_each_critic_learns_its_own_return_and_the_default_learns_on(two_critics):
    agent = two_critics.TwoCritics(ENV, seed=0)
    before = [part.clone() for part in agent.module.second.parameters()]
    for _ in range(3):
        row = agent.update()
    assert row["bonus_mean"] > 0 and row["critic/loss"] > 0
    assert all(not torch.equal(a, b) for a, b in zip(before, agent.module.second.parameters(), strict=True))
    rollout, batch = rolled(agent)
    both, heads = agent.both(rollout, batch), (agent.module.critic.weight, agent.module.second["critic"].weight)
    with agent.of_bonus():
        second = agent.q(both)
    found = []  # where one of the two has nothing to learn
    for known in (dict(target=agent.q(both)), dict(second=second)):
        agent.module.zero_grad(set_to_none=True)
        agent.losses(replace(both, **known))[-1].backward()
        found.append([float(head.grad.abs().sum()) for head in heads])
    assert found[0][0] < 1e-6 * found[0][1] and found[1][1] < 1e-6 * found[1][0]


def test_rows_are_of_runs_the_script_knows(two_critics):
    found = two_critics.rows.read(two_critics.ROWS, two_critics.Run)
    assert found and all(run.task in two_critics.TASKS and run.agent in two_critics.AGENTS for run in found)
