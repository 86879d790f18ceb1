"""Recurrent agents: the gradient against the truth, and the hidden state wherever it goes.

The truth: on a partially observable MDP every history of a few steps is enumerated, its probability a function of the parameters, and the
gradient of the expected return is autograd's. The learner is given all histories as one rollout, each weighted with its probability, which
is the expectation of what it would compute from sampled ones, exactly. The critic is arbitrary: scores with sampled returns need no other.
"""

import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from histories import FollowingVectorEnv, Histories, pomdp
from small import GRIDWORLD, SMALL, random_mdp, same, without_times
from tabular import TabularVectorEnv

import optioncoagent as oc
from optioncoagent.agents import rollout as rollout_module
from optioncoagent.agents.minibatches import by_environment
from optioncoagent.agents.recurrent import Recurrence, stretches
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.scan import Units
from optioncoagent.agents.targets import make_batch
from optioncoagent.cli import main

NETWORKS = {
    "flat": (4, lambda n: oc.CoagentNetwork([oc.Coagent("action", n)])),
    "option-critic": (3, lambda n: oc.option_critic(2, n, deliberation_cost=0.3)),
    "option-critic, terminate first": (2, lambda n: oc.option_critic(2, n, first="terminate", initial=0)),
    "a coagent that remembers": (3, lambda n: remembering(n)),
}


def remembering(num_actions):
    bit = oc.Coagent("bit", 2, previous=("bit",), initial=0)
    return oc.CoagentNetwork([bit, oc.Coagent("action", num_actions, upstream=("bit",), executes=0.6, initial=0)])


PLAIN = dict(
    gae_lambda=1.0, sampled_returns=True, discount_weighting=True, normalize_advantages=False, normalize_rewards=False, ent_coef=0.0,
    hidden_sizes=(), dtype="float64", recurrent_size=3,
)  # fmt: skip
BEFORE = [1, 0, 1]  # an episode of two steps


def recurrent_agent(network, env, mdp):
    agent = oc.CoagentActorCritic(env, network, forms=dict.fromkeys(network.names, "score"), gamma=mdp.gamma, **PLAIN)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in agent.module.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=generator))
    return agent


def both_gradients(monkeypatch, kind, ends, parts=1, breaking=None):
    """{parameter: (the learner's expected gradient, the exact one)} of a history's steps after an episode that is not looked at."""
    steps, describe = NETWORKS[kind]
    mdp, network = pomdp(), describe(2)
    scout = recurrent_agent(network, TabularVectorEnv(mdp, 1), mdp)
    histories = Histories(scout, mdp, steps, valued=ends != "terminated")
    agent = recurrent_agent(network, FollowingVectorEnv(histories.all, BEFORE[:-1], ends), mdp)

    # the rollout, with the outputs of the histories
    follow = iter([None] * (len(BEFORE) - 1 + (ends == "truncated, next step")) + list(range(steps)) + [None])
    tick = rollout_module.tick

    def scripted(module, features, heads, uniforms, *others):
        t = next(follow)
        if t is None:
            return tick(module, features, heads, uniforms, *others)
        columns = [np.array([getattr(h, what)[t] for h in histories.all]).T for what in ("outputs", "executed")]
        return tuple(dict(zip(network.names, map(torch.from_numpy, column), strict=True)) for column in columns)

    monkeypatch.setattr(rollout_module, "tick", scripted)
    agent.running = agent._start()
    agent.running.hidden += 1.0  # what an episode before would leave
    num_steps = len(BEFORE) - 1 + steps + 2 * (ends == "truncated, next step")
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)
    first = len(BEFORE) - 1 + (ends == "truncated, next step")
    if breaking == "hidden state of the step before":
        rollout = replace(rollout, hidden=torch.cat([rollout.hidden[:1], rollout.hidden[:-1]]))
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)

    # each history with its probability, the episode before with none
    weight = torch.zeros(rollout.start.shape, dtype=torch.float64)
    weight[first : first + steps] = torch.stack([h.probability for h in histories.all]).detach()
    batch.learned[:, 1] *= weight.flatten()[:, None]
    agent.module.zero_grad()
    for rows in by_environment(rollout.valid, parts, torch.Generator().manual_seed(0)):
        part = batch.at(rows)
        (-len(part) * agent.losses(part)[:-1].sum()).backward()
    learned = {name: p.grad for name, p in agent.module.named_parameters() if not name.startswith("critic")}
    histories.expectation().backward()
    exact = {name: p.grad for name, p in scout.module.named_parameters() if not name.startswith("critic")}
    return {name: (learned[name], exact[name]) for name in exact}


def assert_equal(gradients):
    for name, (learned, exact) in gradients.items():
        assert float(exact.abs().max()) > 1e-3, name
        torch.testing.assert_close(learned, exact, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_expected_gradient_is_the_exact_one(monkeypatch, kind):
    assert_equal(both_gradients(monkeypatch, kind, "terminated"))


@pytest.mark.parametrize("ends", ["truncated", "truncated, next step", None])
@pytest.mark.parametrize("kind", ["flat", "option-critic"])
def test_what_follows_a_cut_is_valued_with_the_right_hidden_state(monkeypatch, kind, ends):
    assert_equal(both_gradients(monkeypatch, kind, ends))


def test_minibatches_are_of_whole_sequences(monkeypatch):
    assert_equal(both_gradients(monkeypatch, "option-critic", "truncated", parts=3))


BROKEN = [
    ("hidden state kept over episodes", "flat", "terminated"),
    ("hidden state kept over episodes", "flat", "truncated"),
    ("hidden state of the step before", "flat", "truncated"),
    ("hidden state of the step before", "option-critic", None),
    ("gradient of single steps", "flat", "terminated"),
]


@pytest.mark.parametrize(("breaking", "kind", "ends"), BROKEN)
def test_a_broken_hidden_state_fails(monkeypatch, breaking, kind, ends):
    if breaking == "hidden state kept over episodes":
        monkeypatch.setattr(Recurrence, "forward", lambda self, x, start, hidden: through(self, x, torch.zeros_like(start), hidden))
    if breaking == "gradient of single steps":
        monkeypatch.setattr(Recurrence, "forward", by_single_steps)
    with pytest.raises(AssertionError):
        assert_equal(both_gradients(monkeypatch, kind, ends, breaking=breaking))


through = Recurrence.forward


def by_single_steps(self, x, start, hidden, detach=True):
    """Step by step, by torch's units."""
    features = []
    for x_t, start_t in zip(x.split(len(hidden)), start.split(len(hidden)), strict=True):
        hidden = self.packed(x_t, start_t, hidden.detach() if detach else hidden)[1]
        features.append(hidden)
    return torch.cat(features), hidden


def outputs_and_gradients(road, unit, x, start, hidden):
    """What a road through the units gives, and the gradients of a function of it in all that it depends on."""
    of = [x.clone().requires_grad_(), hidden.clone().requires_grad_(), *unit.parameters()]
    features, after = road(of[0], start, of[1])
    weight = torch.linspace(-1, 1, features.numel(), dtype=x.dtype).reshape(features.shape)
    return (features, after), torch.autograd.grad((weight * features).sum() + after.square().sum(), of)


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("starts", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sequences_at_once_are_single_steps_one_after_the_other(starts, steps, dtype):
    """The compiled loops, torch's units on what is packed, and torch's units step by step: three roads to the same numbers."""
    generator = torch.Generator().manual_seed(0)
    unit = Recurrence(4, 3).to(dtype)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x, hidden = (torch.randn(shape, generator=generator).to(dtype) for shape in ((steps * 5, 4), (5, 3)))
    start = torch.rand(steps * 5, generator=generator) < starts
    roads = unit, unit.packed, lambda *given: by_single_steps(unit, *given, detach=False)
    compiled, packed, single = (outputs_and_gradients(road, unit, x, start, hidden) for road in roads)
    tolerance = dict(rtol=1e-10, atol=1e-12) if dtype is torch.float64 else dict(rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compiled, packed, **tolerance)
    torch.testing.assert_close(packed, single, **tolerance)
    assert compiled[0][0].dtype == dtype and (starts == 1.0) == (not bool(compiled[1][1].any()))


def test_rows_may_lie_in_memory_in_any_way():
    generator = torch.Generator().manual_seed(0)
    given, start, hidden, weight, bias = (
        *(torch.randn(6, 9, generator=generator), torch.rand(6, generator=generator) < 0.3),
        *(torch.randn(shape, generator=generator) for shape in ((2, 3), (9, 3), 9)),
    )
    sides = []
    for lay in (torch.Tensor.contiguous, lambda x: x.T.contiguous().T):
        of = [lay(x).detach().requires_grad_() for x in (given, hidden, weight)]
        after = Units.apply(of[0], start, of[1], of[2], bias)
        sides.append((after, torch.autograd.grad(after, of, lay(torch.ones(6, 3)))))
    torch.testing.assert_close(*sides, rtol=0, atol=0)


def test_a_second_derivative_of_the_compiled_units_is_refused():
    unit = Recurrence(4, 3)
    x = torch.ones(2, 4, requires_grad=True)
    (first,) = torch.autograd.grad(unit(x, torch.zeros(2, dtype=torch.bool), torch.zeros(2, 3))[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_stretches():
    """Two sequences of three steps; the second starts anew at its second step: stretches of 3, 1 and 2."""
    order, batch_sizes, first = stretches(torch.tensor([[True, False], [False, True], [False, False]]))
    assert order.tolist() == [0, 3, 1, 2, 5, 4] and batch_sizes.tolist() == [3, 2, 1] and first.tolist() == [0, 3, 1]


# The hidden state in acting


def small(env="CartPole-v1", **settings):
    agent = oc.OptionCritic(env, num_options=2, recurrent_size=3, **{**SMALL, **settings})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in agent.module.policies.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return agent


def test_predict_goes_on_from_the_state_it_gave():
    agent = small()
    observations = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    state, hidden = None, torch.zeros(5, 3)
    start = torch.tensor([True, True, False, False, False])
    for t, observation in enumerate(observations):
        begins = start if t == 2 else torch.full((5,), t == 0)
        expected, hidden = agent.module.features(torch.from_numpy(observation), begins, hidden)
        action, state = agent.predict(observation, state, begins.numpy())
        assert action.shape == (5,) and state[0].shape == (5, 1)
        np.testing.assert_array_equal(state[1], hidden.detach().numpy())
    fresh = agent.predict(observations[2])[1][1]
    assert np.array_equal(state[1][:2], fresh[:2]) and not np.isclose(state[1][2:], fresh[2:]).any()
    one = agent.predict(observations[0, 0])[1]  # a single observation
    assert one[0].shape == (1,) and one[1].shape == (3,)
    batch = agent.predict(observations[0, :1])[1]
    again, of_one = (agent.predict(x, given)[1][1] for x, given in ((observations[1, :1], batch), (observations[1, 0], one)))
    np.testing.assert_array_equal(again[0], of_one)
    for wrong in (state[0], (state[0], state[1][:, :2]), (state[0][:1], state[1]), (state[0], np.nan * state[1])):
        with pytest.raises(ValueError, match="state"):
            agent.predict(observations[0], wrong)


def test_acting_is_as_in_training():
    """The hidden states of a rollout are those that predict goes through."""
    agent = small()
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 40)
    assert bool(rollout.start[1:].any())
    state = None
    for t in range(40):
        _, state = agent.predict(rollout.observation[""][t].numpy(), state, rollout.start[t].numpy())
        np.testing.assert_array_equal(state[1], rollout.hidden[t + 1].numpy())


def test_every_minibatch_goes_on_from_its_own_hidden_states():
    """Of a rollout that begins in mid-episode: with the parameters that acted it passes through the hidden states that were collected."""
    agent = small().learn(64)
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    assert not bool(rollout.start[0].all()) and bool(rollout.hidden[0].any())
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    assert sorted(torch.cat(by_environment(torch.tensor([[True, False, True]]), 3, torch.Generator())).tolist()) == [0, 2]
    parts = by_environment(rollout.valid, 3, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(parts).tolist()) == list(range(64)) and len(parts) == 3
    for rows in parts:
        part = batch.at(rows)
        features, _ = agent.module.encode(part.inputs, part.start, part.hidden)
        torch.testing.assert_close(features, rollout.hidden[1:].flatten(0, 1)[rows])


def test_evaluating_takes_the_state_along_and_disturbs_nothing():
    agent, twin = (small(GRIDWORLD).learn(64) for _ in range(2))
    result = agent.evaluate(6, seed=3)
    assert same(vars(agent.evaluate(6, seed=3)), vars(result))
    assert same(*(without_times(x.update()) for x in (agent, twin)))
    forgetful = small(GRIDWORLD).learn(64)
    predict = forgetful.predict
    forgetful.predict = lambda o, state, start, d: predict(o, state, np.ones_like(start), d)
    assert not same(vars(forgetful.evaluate(6, seed=3)), vars(result))


def test_stable_baselines3_evaluates_a_recurrent_agent():
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    returns, lengths = evaluate_policy(small(), make_vec_env("CartPole-v1", 3, seed=0), 5, deterministic=False, return_episode_rewards=True)
    assert len(returns) == 5 and returns == lengths


def test_probabilities_are_those_of_a_state():
    agent = small()
    observation = np.ones((2, 4), np.float32)
    _, state = agent.predict(observation)
    tables = agent.probabilities(observation, state)
    features, _ = agent.module.features(torch.from_numpy(observation), torch.zeros(2, dtype=torch.bool), torch.from_numpy(state[1]))
    logits = agent.module.logits("option", agent.module.readout(features))[0].T
    np.testing.assert_allclose(tables["option"], logits.softmax(dim=1).detach().numpy(), rtol=1e-6)
    assert not np.allclose(tables["option"], agent.probabilities(observation, agent.predict(observation, state)[1])["option"])


def test_what_needs_tables_is_refused_in_words():
    mdp = random_mdp()
    agent = oc.OptionCritic(mdp.to_env(), 2, gamma=mdp.gamma, recurrent_size=3, hidden_sizes=())
    for use in (agent.params, lambda mdp: oc.agent_gradient(agent, mdp), lambda mdp: oc.audit(agent, mdp)):
        with pytest.raises(ValueError, match="recurrent_size=3: the policies of a recurrent agent depend on the hidden state"):
            use(mdp)
    with pytest.raises(ValueError, match="recurrent_size=3"):
        agent.probabilities(0)
    with pytest.raises(ValueError, match="recurrent_size=0"):
        agent.set_params(mdp, agent.network.init_params(mdp.num_observations))


def test_a_level_is_not_enumerated_for_nothing(tmp_path, monkeypatch, capsys):
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", 2, recurrent_size=3, **SMALL)
    agent.save(tmp_path / "agent")
    monkeypatch.setattr(oc.MDP, "from_minigrid", None)
    for command in (["audit", str(tmp_path / "agent")], ["maps", str(tmp_path / "agent"), "--out", str(tmp_path / "maps.png")]):
        monkeypatch.setattr(sys, "argv", ["optioncoagent", *command])
        with pytest.raises(SystemExit):
            main()
        assert "recurrent_size=3" in capsys.readouterr().err


def test_a_recurrent_agent_is_kept(tmp_path):
    agent = small().learn(64)
    agent.save(tmp_path / "agent")
    loaded = oc.OptionCritic.load(tmp_path / "agent")
    observation = np.ones(4, np.float32)
    np.testing.assert_array_equal(agent.predict(observation)[1][1], loaded.predict(observation)[1][1])
    loaded.learn(64)
    with pytest.raises(ValueError, match="another network or encoder: .*recurrence.gru"):
        oc.OptionCritic.load(tmp_path / "agent", recurrent_size=0)


def test_an_encoder_of_one_s_own_is_remembered_too():
    agent = oc.OptionCritic("CartPole-v1", 2, encoder=torch.nn.Linear(4, 6), recurrent_size=3, **SMALL).learn(64)
    assert agent.module.recurrence.gru.input_size == 6 and agent.module.critic.in_features == 3


def test_a_step_that_failed_leaves_the_hidden_state_as_it_was():
    agent = oc.CoagentActorCritic(gym.make("CartPole-v1"), oc.CoagentNetwork([oc.Coagent("action", 2)]), recurrent_size=3, **SMALL).learn(
        64
    )
    before = agent.running.hidden.clone()
    agent.env.step = lambda action: 1 / 0
    with pytest.raises(ZeroDivisionError):
        agent.update()
    assert torch.equal(agent.running.hidden, before)
