"""Bonuses whose return goes on past the end of an episode, with one critic."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
import torch
from exploring import PLAIN
from gymnasium.vector import AutoresetMode
from scripted import ScriptedVectorEnv
from small import SMALL, random_mdp
from tabular import TabularVectorEnv

import optioncoagent as oc
from optioncoagent.agents.exploration import EPISODIC, CountBonus
from optioncoagent.agents.non_episodic import Continuation
from optioncoagent.agents.rollout import Rollout, collect

BONUS = np.array([0.3, 0.0, 1.0, 0.2, 0.0])  # of the state that a step leads to; the last is the end
MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)


def chain():
    """MDPs with the same transitions: the bonus for reward; 1 for an end; in place of the end, a beginning; ends that are paid."""
    mdp = random_mdp()
    P = mdp.transition_matrix.toarray().reshape(5, 2, 5)
    arrives = np.broadcast_to(BONUS, P.shape) * ~mdp.terminal[:, None, None]
    ends = np.broadcast_to(np.arange(5) == 4, P.shape) * ~mdp.terminal[:, None, None]
    again = P.copy()
    again[:, :, 4] = 0
    again += P[:, :, 4:] * mdp.d0
    again[4] = np.eye(5)[4]
    # of a step that ends, what begins anew pays nothing: the mean over what it leads to
    mean = (P * arrives).sum(axis=2)
    return {
        "episodic": oc.MDP(P, arrives, mdp.d0, 0.9, mdp.terminal),
        "ends": oc.MDP(P, ends.astype(float), mdp.d0, 0.9, mdp.terminal),
        "again": oc.MDP(again, mean, mdp.d0, 0.9),
        "paid": lambda worth: oc.MDP(P, arrives + 0.9 * worth * ends, mdp.d0, 0.9, mdp.terminal),
    }


def policy(seed):
    network = oc.option_critic(2, 2)
    return network, network.init_params(5, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_one_number_makes_an_episodic_return_the_non_episodic_one(seed):
    """The mathematics, by the exact solver alone: c = J / (1 − γ E[γ^{T-1}]) is the return of an MDP whose end is a new beginning, and
    with γ c paid at the end the episodic return is that too, from the first step of an episode and from every other. Flat: an option that
    goes on would make beginnings differ."""
    mdps, network = chain(), oc.option_critic(1, 2)
    params = network.init_params(5, seed=seed)
    gained, ends, again = (oc.expected_return(mdps[name], network, params) for name in ("episodic", "ends", "again"))
    worth = gained / (1 - 0.9 * ends)
    assert worth == pytest.approx(again) and worth > 1.5 * gained
    paid = mdps["paid"](worth)
    assert oc.expected_return(paid, network, params) == pytest.approx(again)
    values = [oc.option_values(mdp, params).v_omega[:4] for mdp in (paid, mdps["again"])]
    np.testing.assert_allclose(*values)
    assert np.ptp(values[0]) > 0.05  # not all the same
    # with c held, as the learner holds it: ∇J = ∇(paid, c held) + γ E[γ^{T-1}] ∇c, and c is J itself: the same direction, but shorter
    held, whole = (oc.policy_gradient(mdp, network, params) for mdp in (paid, mdps["again"]))
    for name in params:
        np.testing.assert_allclose(held[name][:4] / (1 - 0.9 * ends), whole[name][:4], atol=1e-12)
    assert np.abs(whole["action"]).max() > 0.05


@pytest.mark.parametrize("autoreset", MODES)
def test_the_worth_found_is_the_exact_one(autoreset):
    """Options too: 4,000 steps of twenty environments, whatever the length of rollouts, against the linear solve."""
    mdps, (network, params) = chain(), policy(1)
    agent = oc.OptionCritic(TabularVectorEnv(random_mdp(), 20, autoreset=autoreset), 2, hidden_sizes=(), int_coef=0.0, gamma=0.9)
    agent.set_params(random_mdp(), params)
    agent.running = agent._start()
    continuation = Continuation(20, 0.9)
    continuation.ended = deque()  # all episodes, not the last ones
    for num_steps in (1, 7, 2000, 1992):
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)
        arrived = torch.cat([rollout.observation[""][1:], rollout.last[""][None]]).numpy()
        bonus = BONUS[arrived] * (rollout.valid & ~rollout.terminated).numpy()
        paid = continuation(rollout, bonus)
        assert ((paid > 0) == (rollout.terminated & rollout.valid).numpy()).all() or num_steps == 1
    gained, discounts = np.array(continuation.ended).T
    for sample, name, factor in ((gained, "episodic", 1), (discounts, "ends", 0.9)):
        exact = factor * oc.expected_return(mdps[name], network, params)
        assert abs(sample.mean() - exact) < 4 * sample.std() / np.sqrt(len(sample)) and sample.std() > 0
    assert len(gained) > 5_000
    assert set(paid.flat) == {0.0, 0.9 * continuation.worth}
    assert continuation.worth == pytest.approx(gained.mean() / (1 - discounts.mean()))


@pytest.mark.parametrize("num_steps", [1, 3, 9])
def test_by_hand(num_steps):
    """Episodes 0 1 0 2 | 1, terminated, and 0 1 3 3 2 | 0, truncated: the first pays 1 0 1 0, the second 1 1 0 1 0."""
    env = ScriptedVectorEnv([[[0, 1, 0, 2, 1], [0, 1, 3, 3, 2, 0], [0, 1, 2, 3], [0, 0]]], 4)
    agent = oc.OptionCritic(env, num_steps=num_steps, gamma=0.5, **PLAIN)
    counts = CountBonus(agent.spec, 1, 1.0, EPISODIC, 2**16, 2**8, Continuation(1, 0.5))
    agent.running = agent._start()
    rewards = torch.cat(
        [counts(collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps))[0].reward for _ in range(9 // num_steps)]
    )
    first, second = 1 + 1 / 4, 1 + 1 / 2 + 1 / 8
    after_one, after_two = first / (1 - 1 / 16), (first + second) / 2 / (1 - (1 / 16 + 1 / 32) / 2)
    # a rollout pays what is known at its end
    known = after_two if num_steps == 9 else after_one
    np.testing.assert_allclose(rewards[:, 0] - 10, [1, 0, 1, 0.5 * known, 1, 1, 0, 1, 0])
    assert counts.continuation.worth == pytest.approx(after_two)


def test_an_agent_pays_at_terminations_and_reports_the_environments_return():
    """Episodes of three steps, every second one truncated; γ = 1/2. Of each two of the first four: first visits 1 + 1/2, then of places met
    in k episodes 1 / √k."""
    episodes = [[[0, 1, 2, 3]] * 40]
    made = {
        returns: oc.OptionCritic(ScriptedVectorEnv(episodes, 4), num_steps=12, gamma=0.5, int_returns=returns, **PLAIN)
        for returns in ("episodic", "non-episodic")
    }
    rows = {returns: agent.update() for returns, agent in made.items()}
    gained = np.mean([1.5 / np.sqrt(k) for k in (1, 2, 3, 4)])
    assert rows["non-episodic"]["bonus_to_come"] == pytest.approx(gained / (1 - 1 / 8))
    assert "bonus_to_come" not in rows["episodic"]
    assert rows["non-episodic"]["bonus_mean"] == rows["episodic"]["bonus_mean"]
    assert rows["non-episodic"]["return_mean"] == rows["episodic"]["return_mean"] == 30.0
    assert [*made["non-episodic"].rewards] == ["exploration", "scale"]  # in this order: both parts of the bonus are divided


def rollout_of(start, valid, terminated, truncated, before=0):
    """One of a single environment, with nothing but its beginnings and ends, from lists; before: steps of the episode before it."""
    flags = [torch.tensor(x, dtype=torch.bool)[:, None] for x in (start, valid, terminated, truncated)]
    age, ages = before - 1, []
    for begins in start:
        age = 0 if begins else age + 1
        ages.append([age])
    nothing = torch.zeros(len(start), 1)
    start, valid, terminated, truncated = flags
    return Rollout({}, start, valid, torch.tensor(ages), {}, {}, {}, nothing, terminated, truncated, {}, torch.zeros(0, 2), None)


def test_ends_of_every_kind():
    """A step that terminates and is cut at once, terminates; one that only resets, ends nothing; an episode whose beginning was not seen
    says nothing of what episodes are worth."""
    continuation = Continuation(1, 0.5)
    unseen = rollout_of([False, True], [True, True], [True, False], [False, False])
    assert continuation(unseen, np.ones((2, 1))).tolist() == [[0.0], [0.0]] and not continuation.ended
    both = rollout_of([False, True], [True, False], [True, True], [True, False], before=1)
    paid = continuation(both, np.array([[0.0], [0.0]]))
    assert list(continuation.ended) == [(1.0, 0.25)] and paid.tolist() == [[0.5 * 1 / 0.75], [0.0]]


@pytest.mark.parametrize(("num_envs", "number"), [(1, 100), (60, 120)])
def test_the_last_episodes_count(num_envs, number):
    continuation, one = Continuation(num_envs, 0.5), rollout_of([True], [True], [True], [False])
    names = ("start", "valid", "age", "terminated", "truncated")
    wide = replace(one, **{name: getattr(one, name).expand(1, num_envs) for name in names})
    for k in range(number // num_envs + 1):
        continuation(wide, np.full((1, num_envs), float(k > 0)))
    assert len(continuation.ended) == number and continuation.worth == pytest.approx(1 / (1 - 1 / 2))


def test_what_was_found_is_kept_in_the_same_units_alone():
    ended = rollout_of([True], [True], [True], [False])
    found = Continuation(1, 0.5, (0.005, True))
    found(ended, np.ones((1, 1)))
    same, other, wider = Continuation(1, 0.5, (0.005, True)), Continuation(1, 0.5, (0.05, True)), Continuation(2, 0.5, (0.005, True))
    for continuation in (same, other, wider):
        continuation.from_arrays(found.to_arrays())
    assert [x.worth for x in (found, same, other, wider)] == [2.0, 2.0, 0.0, 0.0]


def test_an_agent_saved_without_goes_on_with(tmp_path):
    env_id = "MiniGrid-Dynamic-Obstacles-5x5-v0"
    oc.OptionCritic(env_id, **SMALL).learn(512).save(tmp_path / "episodic")
    loaded = oc.OptionCritic.load(tmp_path / "episodic", int_returns="non-episodic").learn(512)
    worth = loaded.exploration.continuation.worth
    assert worth > 0
    loaded.save(tmp_path / "other")
    for changes, kept in (({}, worth), ({"gamma": 0.9}, 0.0), ({"int_coef": 0.5}, 0.0), ({"int_counts": "observation"}, 0.0)):
        again = oc.OptionCritic.load(tmp_path / "other", **changes)
        assert again.exploration.continuation.gamma == again.settings.gamma
        assert again.exploration.continuation.worth == kept


@pytest.mark.parametrize(
    ("env_id", "settings", "why"),
    [
        ("CartPole-v1", {}, "no bonus"),
        ("MiniGrid-Empty-5x5-v0", {"int_coef": 0}, "no bonus"),
        ("MiniGrid-Empty-5x5-v0", {"gamma": 1}, "infinite"),
    ],
)
def test_non_episodic_returns_that_cannot_be_are_refused(env_id, settings, why):
    with pytest.raises(ValueError, match=f'int_returns="non-episodic" with .*{why}.*choose "episodic"'):
        oc.OptionCritic(env_id, int_returns="non-episodic", **settings)
