"""Box actions: densities, what the environment gets, what an agent gives and keeps."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from small import SMALL, same
from toys import Toy, batch_of, train

import optioncoagent as oc
from optioncoagent.agents.actions import Actions
from optioncoagent.agents.distributions import gaussian_entropy, log_density, sample, scale_of
from optioncoagent.agents.losses import gaussian
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import random_length, stochastic_layers

BOXES = {
    "one": spaces.Box(-2, 2, (1,), np.float32),
    "matrix": spaces.Box(np.float32([[0, -1], [5, -9]]), np.float32([[1, 1], [9, -3]])),
    "float16": spaces.Box(-1, 1, (2,), np.float16),
    "without bounds": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    "half bounded": spaces.Box(np.float32([0, -np.inf]), np.float32([np.inf, 1])),
    "integers": spaces.Box(0, 255, (2,), np.uint8),
}


def given_and_drawn(n=7, size=3):
    rng = torch.Generator().manual_seed(0)
    given = torch.randn(2 * size, n, dtype=torch.float64, generator=rng)
    return given, given[:size] + given[size:].exp() * torch.randn(size, n, dtype=torch.float64, generator=rng)


def test_density_and_entropy_are_those_of_torch():
    given, drawn = given_and_drawn()
    normal = torch.distributions.Normal(given[:3], given[3:].exp())
    torch.testing.assert_close(log_density(given, drawn), normal.log_prob(drawn).sum(dim=0))
    torch.testing.assert_close(gaussian_entropy(given), normal.entropy().sum(dim=0))
    torch.testing.assert_close(scale_of(gaussian_entropy(given), 3), given[3:].mean(dim=0).exp())


def test_samples_have_the_mean_and_the_scale():
    coagent, given = oc.Coagent("action", oc.Gaussian(2)), torch.tensor([[1.0], [-2.0], [0.5], [-1.0]])
    sampler = oc.CoagentActorCritic(Toy(actions=BOXES["float16"]), oc.CoagentNetwork([coagent])).sampler
    uniforms = sampler.uniforms(1, 50_000)[0, 0]
    drawn = sample(coagent, given, uniforms, deterministic=False)
    assert drawn.shape == (50_000, 2)
    np.testing.assert_allclose(drawn.mean(dim=0), [1, -2], atol=0.04)
    np.testing.assert_allclose(drawn.std(dim=0), np.exp([0.5, -1]), rtol=0.02)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.02
    assert torch.equal(sample(coagent, given, uniforms, deterministic=True)[0], torch.tensor([1.0, -2.0]))


def test_the_loss_is_the_clipped_objective_with_an_entropy_bonus():
    """Against the objective step by step; inside the limits its gradient at the old policy is that of ln π times the advantage."""
    given, drawn = given_and_drawn(400)
    advantage = torch.linspace(-1, 2, 400, dtype=torch.float64)
    executed, old = torch.ones_like(advantage), log_density(given + 0.1 * torch.cos(given), drawn)
    ratio = (log_density(given, drawn) - old).exp()
    assert (ratio > 1.2).any() and (ratio < 0.8).any() and ((ratio - 1).abs() < 0.2).any()
    steps = [
        min(r * a, min(max(r, 0.8), 1.2) * a) + 0.3 * h
        for r, a, h in zip(ratio.tolist(), advantage.tolist(), gaussian_entropy(given).tolist(), strict=True)
    ]
    loss = gaussian(given, drawn, torch.stack([old, advantage, 0.3 * executed]), 0.2)
    assert loss.item() == pytest.approx(-np.mean(steps))

    leaf = given.clone().requires_grad_()
    learned = torch.stack([log_density(given, drawn), advantage, 0 * executed])
    (made,) = torch.autograd.grad(gaussian(leaf, drawn, learned, 0.2), leaf)
    mean, scale = given[:3], given[3:].exp()
    by_hand = torch.cat([(drawn - mean) / scale**2, ((drawn - mean) / scale) ** 2 - 1]) * advantage / 400
    torch.testing.assert_close(made, -by_hand)
    impossible = torch.stack([torch.full_like(old, -1e4), 0 * advantage, 0 * executed])  # a ratio that overflows, of no advantage
    assert gaussian(given, drawn, impossible, 0.2) == 0


@pytest.mark.parametrize("name", BOXES)
def test_actions_of_every_box(name, tmp_path):
    """Toy asserts that its space has every action that it gets."""
    space = BOXES[name]
    env = batch_of(lambda: Toy(actions=space))
    agent = train(env)
    batch = np.zeros((20, 3), np.float32)
    action, options = agent.predict(batch)
    assert action.shape == (20, *space.shape) and action.dtype == space.dtype and all(space.contains(a) for a in action)
    one, _ = agent.predict(batch[0], deterministic=True)
    assert np.shape(one) == space.shape and space.contains(np.asarray(one))
    assert options.shape == (20, 1) and agent.predict(batch, options)[0].shape == action.shape
    assert len(agent.evaluate(3, env=Toy(actions=space)).returns) == 3
    agent.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path, env=batch_of(lambda: Toy(actions=space)))
    assert loaded.interface.actions == agent.interface.actions and same(loaded.probabilities(batch), agent.probabilities(batch))
    assert loaded.learn(16).num_timesteps > agent.num_timesteps


def test_the_environment_gets_the_nearest_action_that_it_takes():
    space = spaces.Box(np.float32([0, -5]), np.float32([4, 5]))
    env = Toy(actions=space)
    agent = train(env, num_options=1)
    outputs = {"action": torch.tensor([[-1.0, -1.0], [0.5, 0.2], [3.0, -7.0]])}
    np.testing.assert_allclose(agent.interface.actions.taken(agent.network, outputs), [[0, -5], [3, 1], [4, -5]], atol=1e-6)
    assert any((taken == space.low).any() or (taken == space.high).any() for taken in env.taken)
    for space, expected in [(BOXES["integers"], [[0, 0], [191, 153], [255, 0]]), (spaces.Box(0, 1, (), np.float64), [0, 0.75, 1])]:
        actions = Actions.of(space)
        network = oc.CoagentNetwork([oc.Coagent("action", actions.num_actions)])
        taken = actions.taken(network, {"action": outputs["action"][:, : actions.num_actions.size]})
        assert taken.dtype == space.dtype and taken.tolist() == expected and all(space.contains(np.asarray(one)) for one in taken)


def test_probabilities_are_means_and_scales_in_the_units_of_the_action():
    agent = train(Toy(actions=spaces.Box(0, 10, (2,))), num_options=3, steps=16)
    policy = agent.probabilities(np.zeros((5, 3), np.float32))["action"]
    assert policy.shape == (5, 3, 2, 2)
    mean, scale = policy.transpose(2, 0, 1, 3)
    np.testing.assert_allclose(mean, 5, atol=0.5)  # the centre, and half of the range, before much is learned
    np.testing.assert_allclose(scale, 5, rtol=0.1)
    alone = agent.probabilities(np.zeros(3, np.float32))["action"]
    np.testing.assert_array_equal(alone, policy[0])
    agent.predict_sampler.generators["action"].manual_seed(0)
    actions, options = agent.predict(np.zeros((40_000, 3), np.float32))
    for option in range(3):
        np.testing.assert_allclose(np.median(actions[options[:, 0] == option], axis=0), mean[0, option], atol=0.2)


def test_a_scale_that_observes():
    network = oc.CoagentNetwork([oc.Coagent("action", oc.Gaussian(1, -2.0, 2.0, scale=0.5, scale_observes=True))])
    agent = oc.CoagentActorCritic("Pendulum-v1", network, num_envs=4, num_steps=32)
    before = agent.probabilities(np.eye(3, dtype=np.float32))["action"][:, 1, 0]
    np.testing.assert_allclose(before, 1.0, rtol=0.02)
    after = agent.learn(1_000).probabilities(np.eye(3, dtype=np.float32))["action"][:, 1, 0]
    assert np.ptp(after) > np.ptp(before) > 0
    alone = oc.CoagentActorCritic("Pendulum-v1", lambda a: oc.CoagentNetwork([oc.Coagent("action", a)]), num_envs=4, num_steps=32)
    assert np.ptp(alone.learn(1_000).probabilities(np.eye(3, dtype=np.float32))["action"][:, 1, 0]) == 0


def test_several_gaussians_make_one_action():
    env = Toy(actions=spaces.Box(-1, 1, (3,)))
    network = oc.CoagentNetwork(
        [oc.Coagent("option", 2), oc.Coagent("arm", oc.Gaussian(2, -1.0, 1.0), upstream=("option",)), oc.Coagent("leg", oc.Gaussian(1))],
        action=("arm", "leg"),
    )
    agent = oc.CoagentActorCritic(env, network, num_steps=16, num_minibatches=2).learn(64)
    assert agent.predict(np.zeros((4, 3), np.float32))[0].shape == (4, 3)
    outputs = {"arm": torch.tensor([[0.1, 0.2]]), "leg": torch.tensor([[0.3]])}
    np.testing.assert_allclose(agent.interface.actions.taken(network, outputs), [[0.1, 0.2, 0.3]])
    agent.running = agent._start()
    batch = make_batch(
        agent.module, agent.spec, collect(agent.module, agent.sampler, agent.spec, agent.running, 8), agent.settings, agent.forms
    )
    assert batch.drawn.shape == (8, 3) and agent.loss_names == ("option/loss", "arm/loss", "leg/loss", "critic/loss")
    for part, name in enumerate(("option", "arm", "leg")):
        agent.optimizer.zero_grad(set_to_none=True)
        agent.losses(batch)[part].backward()
        reached = {own for own, p in agent.module.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        assert {own.split(".")[1] for own in reached if not own.startswith("encoder")} == {f"policy_{name}"}


def test_gaussians_that_share_have_one_head():
    half = oc.Gaussian(1, -1.0, 1.0)
    twins = [oc.Coagent("left", half, upstream=("option",)), oc.Coagent("right", half, upstream=("option",), shares="left")]
    network = oc.CoagentNetwork([oc.Coagent("option", 2), *twins], action=("left", "right"))
    agent = oc.CoagentActorCritic(Toy(actions=spaces.Box(-1, 1, (2,))), network, num_steps=16, num_minibatches=2).learn(64)
    assert set(agent.module.policies) == {"policy_option", "policy_left"}
    policies = agent.probabilities(np.ones(3, np.float32))
    np.testing.assert_array_equal(policies["left"], policies["right"])
    agent.predict(np.ones((8, 3), np.float32))
    assert bool((agent.acted[0]["left"] != agent.acted[0]["right"]).all())  # each draws for itself


@pytest.mark.parametrize(
    "describe", [lambda a: random_length(3, a, 4), lambda a: stochastic_layers((2, 2), a), lambda a: oc.option_critic((2, 2), a)]
)
def test_networks_of_the_gallery_train_on_a_box(describe):
    rows = []
    agent = oc.CoagentActorCritic("Pendulum-v1", describe, **SMALL).learn(256, log=rows.append)
    assert all(np.isfinite(rows[-1][f"action/{metric}"]) for metric in ("loss", "entropy", "scale", "executed"))
    assert rows[0]["action/scale"] == pytest.approx(1.0, rel=0.2)
    assert agent.predict(agent.env.reset(seed=0)[0])[0].shape == (agent.settings.num_envs, 1)


@pytest.mark.parametrize("settings", [dict(recurrent_size=8), dict(sampled_returns=True), dict(dtype="float64"), dict(num_options=(2, 2))])
def test_other_settings_go_with_a_box(settings):
    agent = oc.OptionCritic("Pendulum-v1", **{**SMALL, "hidden_sizes": (16,), **settings}).learn(256)
    action, state = agent.predict(agent.env.reset(seed=0)[0])
    assert np.isfinite(action).all() and np.isfinite(agent.predict(agent.env.reset(seed=0)[0], state)[0]).all()


def test_the_same_seed_trains_the_same_and_a_loaded_agent_goes_on(tmp_path):
    settings = dict(num_envs=2, num_steps=32, num_minibatches=2, seed=3)
    first, second = (oc.OptionCritic("Pendulum-v1", **settings).learn(256) for _ in range(2))
    assert same(first.module.state_dict(), second.module.state_dict())
    first.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path)
    assert same(loaded.module.state_dict(), first.module.state_dict()) and loaded.num_timesteps == 256
    assert np.array_equal(loaded.evaluate(2).returns, first.evaluate(2).returns)
    assert loaded.learn(64).num_timesteps == 320


def test_what_a_box_does_not_go_with_is_refused():
    discrete, box = oc.CoagentNetwork([oc.Coagent("action", 2)]), lambda size: oc.CoagentNetwork([oc.Coagent("action", oc.Gaussian(size))])
    for env, network, message in [
        ("Pendulum-v1", discrete, r"the environment takes 1 real numbers; .* give one of \(2,\) outputs: give them Gaussians"),
        ("Pendulum-v1", box(2), "takes 1 real numbers; .* give 2"),
        ("CartPole-v1", box(1), "takes one of 2 actions, and coagent 'action' gives real numbers: give it num_outputs"),
        (Toy(actions=spaces.Dict(a=BOXES["one"])), box(1), "the action space is Dict.*only Discrete and Box"),
        (Toy(actions=spaces.Tuple([BOXES["one"]])), box(1), "the action space is Tuple"),
    ]:
        with pytest.raises(ValueError, match=message):
            oc.CoagentActorCritic(env, network, num_envs=2)
    with pytest.raises(ValueError, match="coagent 'action': the critic does not know its output, so its gradient form is score"):
        oc.CoagentActorCritic("Pendulum-v1", box(1), forms={"action": "expected"})
    agent = oc.OptionCritic("Pendulum-v1", **SMALL)
    with pytest.raises(ValueError, match="num_actions is not what the agent was made for"):
        agent.evaluate(1, env=Toy(agent.env.single_observation_space, actions=spaces.Box(-1, 1, (1,))))


def test_options_learn_actions_of_their_own_in_a_box():
    """Paid for numbers near (0.5, -0.5): found from the centre."""

    class Paid(Toy):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, -float(np.square(action - [0.5, -0.5]).sum()), *rest

    env = batch_of(lambda: Paid(actions=spaces.Box(-1, 1, (2,))), 8)
    agent = oc.OptionCritic(env, num_options=2, num_steps=32, num_minibatches=4, gamma=0.5, learning_rate=5e-3).learn(8_000)
    found = agent.predict(np.zeros((10, 3), np.float32), deterministic=True)[0]
    np.testing.assert_allclose(found, np.tile([0.5, -0.5], (10, 1)), atol=0.15)


def test_rows_tell_of_options_and_not_what_they_say_of_real_numbers():
    row = oc.OptionCritic("Pendulum-v1", 2, num_envs=2, num_steps=8, num_minibatches=1).update()
    assert row["option/length"] > 0 and 0 <= row["termination/sure_0"] <= 1 and np.isfinite(row["action/scale"])
    assert not {"action/information", "action/divergence", "action/usage_0"} & set(row)


def test_whatever_torch_s_default_precision_is():
    """What is drawn is what it would be."""
    agents = []
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        try:
            agents.append(oc.OptionCritic("Pendulum-v1", num_options=2, **SMALL).learn(64))
        finally:
            torch.set_default_dtype(torch.float32)
    drawn = [agent.sampler.uniforms(2, 3) for agent in agents]
    assert torch.equal(*drawn) and drawn[0].dtype == torch.float32


def test_a_box_of_integers_gets_the_nearest():
    actions = Actions.of(spaces.Box(0, 10, (2,), np.int64))
    network = oc.CoagentNetwork([oc.Coagent("action", actions.num_actions)])
    numbers = torch.tensor([[0.14, -0.14], [-0.91, 0.99], [7.0, -7.0]])  # 5 + 5 u: 5.7 and 4.3, 0.45 and 9.95, beyond the bounds
    taken = actions.taken(network, {"action": numbers})
    assert taken.dtype == np.int64 and taken.tolist() == [[6, 4], [0, 10], [10, 0]]
