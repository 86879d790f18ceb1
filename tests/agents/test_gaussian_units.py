"""Gaussians inside a network, read by additive coagents: the learner's gradient against values known by other roads.

On the linear-quadratic task a unit z ~ N(k s + c, σ²) and an action u ~ N(v z + d, τ²) act like u ~ N(v k s + v c + d, v² σ² + τ²), whose
return is known in closed form; autograd through that gives the gradient of all six. In a network of bits and Gaussians in any order it
comes from enumeration of the bits and quadrature over the numbers.
"""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from linear_quadratic import LinearQuadraticEnv, Task, expected_return
from small import SMALL, random_mdp, same

import optioncoagent as oc
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import stochastic_layers

ENVS, ROLLOUTS = 512, 60
PLAIN = dict(update_epochs=1, num_minibatches=1, ent_coef=0.0, normalize_advantages=False, hidden_sizes=(), dtype="float64")
UNIT, DOUBLE = oc.Gaussian(), torch.float64


def z_scores(agent, parameters, truth, breaking=None):
    """(mean − truth) / standard error of the gradient per episode, in these torch parameters."""
    agent.running = agent._start()
    samples = []
    for _ in range(ROLLOUTS):
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, agent.settings.num_steps)
        if breaking == "numbers":
            rollout.outputs["unit"] = -rollout.outputs["unit"]
        batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
        if breaking == "order":
            batch = replace(batch, learned=batch.learned.flip(-1))
        agent.optimizer.zero_grad()
        agent.losses(batch)[:-1].sum().backward()  # the last is the critic's
        samples.append(-len(batch) / ENVS * torch.cat([p.grad.flatten() for p in parameters]).numpy())
    samples, exact = np.array(samples), torch.cat([x.flatten() for x in truth]).numpy()
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    assert (np.abs(exact) > 1e-3).sum() > len(exact) / 2
    return (samples.mean(axis=0) - exact)[error > 0] / error[error > 0]


def agrees(z):
    return bool(np.abs(z).max() < 4.5 and np.mean(z**2) < 4)


def linear_quadratic(breaking=None):
    def network(actions):
        return oc.CoagentNetwork([oc.Coagent("unit", UNIT), oc.Coagent("action", actions, False, ("unit",), additive=True)])

    task = Task()
    settings = dict(gamma=task.gamma, gae_lambda=1.0, num_steps=task.horizon, discount_weighting=True, sampled_returns=True, **PLAIN)
    agent = oc.CoagentActorCritic(LinearQuadraticEnv(task, ENVS), network, **settings)
    unit, action = (agent.module.policies[f"policy_{name}"] for name in ("unit", "action"))
    assert agent.forms == {"unit": "score", "action": "score"}
    k, c, log_sigma, v, d, log_tau = params = [torch.tensor(x, dtype=DOUBLE, requires_grad=True) for x in (-0.5, 0.2, -0.7, 0.8, 0.1, -0.3)]
    terms = agent.module.terms.tables["terms_action"]
    own = unit.mean.weight, unit.mean.bias, unit.log_scale.logits, terms, action.mean.logits, action.log_scale.logits
    with torch.no_grad():
        for parameter, value in zip(own, (k, c, log_sigma, torch.stack([v, 5 * v]), d, log_tau), strict=True):
            parameter.copy_(value.reshape_as(parameter) if value.numel() == parameter.numel() else value)
    log_scale = 0.5 * (v**2 * (2 * log_sigma).exp() + (2 * log_tau).exp()).log()
    value = expected_return(task, *(x[None] for x in (v * k, v * c + d, log_scale)), torch.zeros(1, dtype=DOUBLE), 0.5)
    truth = list(torch.autograd.grad(value, params))
    truth[3] = torch.stack([truth[3], torch.zeros((), dtype=DOUBLE)])  # a scale does not depend on z unless the description says so
    return z_scores(agent, own, truth, breaking)


def test_the_gradient_of_a_gaussian_inside_is_that_of_the_closed_form():
    z = linear_quadratic()
    assert len(z) == 6 and agrees(z), z


@pytest.mark.parametrize("breaking", ["numbers", "order"])
def test_a_broken_gradient_fails(breaking):
    assert not agrees(linear_quadratic(breaking))


class Bandit(VectorEnv):
    """One step: one of two numbers is seen, and the action is paid by a table."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    seen, paid = np.array([-0.7, 1.0]), torch.tensor([[1.0, -0.5], [0.2, 2.0]], dtype=DOUBLE)

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = gym.spaces.Box(-1, 1, (1,), np.float64), gym.spaces.Discrete(2)
        self.observation_space, self.action_space = (
            batch_space(space, num_envs) for space in (self.single_observation_space, self.single_action_space)
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.integers(2, size=self.num_envs)
        return self.seen[self.state][:, None], {}

    def step(self, action):
        reward, end = self.paid.numpy()[self.state, action], np.ones(self.num_envs, bool)
        return self.reset()[0], reward, end, ~end, {}


def mixed(num_actions):
    """Counted and Gaussian coagents in turn; the scale of the second Gaussian depends on all that its mean does."""
    return oc.CoagentNetwork(
        [
            oc.Coagent("z", oc.Gaussian(2)),
            oc.Coagent("bit", 2, False, ("z",), additive=True),
            oc.Coagent("y", oc.Gaussian(1, scale_observes=True), True, ("z", "bit"), additive=True),
            oc.Coagent("action", num_actions, False, ("y", "bit"), additive=True),
        ]
    )


def by_quadrature(p, s, paid, points=20):
    """E[paid at the action] where s is seen; p: {name: parameter}. z = μ + σ √2 x at the nodes x of Gauss–Hermite, and y alike."""
    nodes, weights = (torch.as_tensor(x) for x in np.polynomial.hermite.hermgauss(points))
    nodes, weights = nodes * 2**0.5, weights / np.pi**0.5
    mean = p["policies.policy_z.mean.weight"][:, 0] * s + p["policies.policy_z.mean.bias"]
    z = mean[:, None] + p["policies.policy_z.log_scale.logits"].exp()[:, None] * nodes
    z = torch.cartesian_prod(z[0], z[1])
    of_z = torch.outer(weights, weights).flatten()
    bit = (p["policies.policy_bit.logits"] + z @ p["terms.tables.terms_bit"].T).softmax(dim=1)
    total = torch.zeros((), dtype=DOUBLE)
    for u in range(2):
        terms = z @ p["terms.tables.terms_y"][:, :2].T + p["terms.tables.terms_y"][:, 2 + u]
        own = [p[f"policies.policy_y.{part}.weight"][0, 0] * s + p[f"policies.policy_y.{part}.bias"][0] for part in ("mean", "log_scale")]
        y = (own[0] + terms[:, 0])[:, None] + (own[1] + terms[:, 1]).exp()[:, None] * nodes
        table = p["terms.tables.terms_action"]
        action = (p["policies.policy_action.logits"] + y[..., None] * table[:, 0] + table[:, 1 + u]).softmax(dim=-1)
        total = total + (of_z * bit[:, u]) @ ((action @ paid) @ weights)
    return total


@pytest.mark.parametrize("form", ["score", "posterior"])
def test_counted_and_gaussian_coagents_in_any_order(form):
    env = Bandit(ENVS)
    agent = oc.CoagentActorCritic(env, mixed, num_steps=4, gae_lambda=1.0, forms={"bit": form}, **PLAIN)
    assert [c.name for c in agent.network.by_kind] == ["bit", "action", "z", "y"] and agent.network.unseen == agent.network.names
    generator, params = torch.Generator().manual_seed(1), dict[str, torch.Tensor]()
    for name, parameter in agent.module.named_parameters():
        if not name.startswith("critic"):
            with torch.no_grad():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=DOUBLE))
            params[name] = parameter.detach().clone().requires_grad_()
    value = sum(by_quadrature(params, s, paid) for s, paid in zip(env.seen, env.paid, strict=True)) / 2
    finer = sum(by_quadrature(params, s, paid, 28) for s, paid in zip(env.seen, env.paid, strict=True)) / 2
    assert abs(value.item() - finer.item()) < 1e-4
    truth = [4 * g for g in torch.autograd.grad(value, list(params.values()))]  # four episodes in a rollout
    z = z_scores(agent, [agent.module.get_parameter(name) for name in params], truth)
    assert len(z) == sum(p.numel() for p in params.values()) and agrees(z), z


def test_a_gaussian_before_them_changes_nothing_that_others_draw():
    option = oc.Coagent("option", 3, executes=lambda x: ~x.start)
    action = oc.Coagent("action", 2, upstream=("option",))
    bit = oc.Coagent("bit", 2, False, ("unit",), additive=True)
    alone, after = oc.CoagentNetwork([option, action]), oc.CoagentNetwork([oc.Coagent("unit", UNIT), bit, option, action])
    agents = [oc.CoagentActorCritic("CartPole-v1", network, **SMALL) for network in (alone, after)]
    first, second = (agent.sampler.initial(agent.sampler.uniforms(1, 50)[0])["option"] for agent in agents)
    assert torch.equal(first, second) and len(first.unique()) == 3


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_layers_of_gaussians_train_are_saved_and_loaded(env_id, tmp_path):
    def layers(actions):
        return stochastic_layers((6, 3), actions, additive=True, units=oc.Gaussian(2, scale=0.5))

    agent = oc.CoagentActorCritic(env_id, layers, **SMALL)
    before = {name: p.detach().clone() for name, p in agent.module.named_parameters()}
    row = agent.update()
    assert row["unit_1_0/scale"] == pytest.approx(0.5, rel=0.3) and np.isfinite(row["action/loss"])
    changed = {name for name, p in agent.module.named_parameters() if (p != before[name]).any()}
    assert {f"terms.tables.terms_{name}" for name in ("unit_2_0", "unit_2_2", "action")} <= changed
    assert agent.module.terms.tables["terms_unit_2_0"].shape == (4, 12) and not agent.module.terms.of("unit_2_0")[2:].any()
    shown = agent.env.reset(seed=0)[0]
    agent.save(tmp_path)
    again = oc.CoagentActorCritic.load(tmp_path, layers(agent.interface.actions.num_actions))
    assert same(again.module.state_dict(), agent.module.state_dict())
    actions = [np.asarray(one.predict(shown, deterministic=True)[0]) for one in (agent, again)]
    np.testing.assert_array_equal(*actions)
    assert len(agent.evaluate(2).returns) == 2 and again.learn(64).num_timesteps > agent.num_timesteps


def test_what_a_gaussian_inside_does_not_go_with_is_refused():
    unit, reader = oc.Coagent("unit", UNIT), oc.Coagent("action", 2, upstream=("unit",), additive=True)
    network = oc.CoagentNetwork([unit, reader])
    mdp = random_mdp()
    for solve in (oc.expected_return, oc.policy_gradient, oc.estimate_gradient):
        with pytest.raises(ValueError, match="coagent 'unit': its output is Gaussian"):
            solve(mdp, network, {}, *((10,) if solve is oc.estimate_gradient else ()))
    with pytest.raises(ValueError, match="coagent 'action': it reads 'unit', whose output is Gaussian.*no table"):
        network.tabulated()
    agent = oc.CoagentActorCritic("CartPole-v1", network, **SMALL)
    with pytest.raises(ValueError, match="coagent 'action': it reads 'unit'.*no table"):
        agent.probabilities(np.zeros(4, np.float32))
    for form, message in (("posterior", "for finitely many outputs"), ("expected", "gradient form is score")):
        with pytest.raises(ValueError, match=f"coagent 'unit'.*{message}"):
            oc.CoagentActorCritic("CartPole-v1", network, forms={"unit": form}, **SMALL)
    with pytest.raises(ValueError, match="takes one of 2 actions, and coagent 'action' gives real numbers"):
        oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork([unit, replace(reader, num_outputs=UNIT)]), **SMALL)
    with pytest.raises(ValueError, match="'action'.*upstream reads 'unit_1_0'.*make it additive"):
        stochastic_layers((2,), 2, units=UNIT)
    remembered = oc.Coagent("option", 2, upstream=("unit",), executes=0.5, additive=True)
    with pytest.raises(ValueError, match="'option'.*additive.*always execute"):
        oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork([unit, remembered, replace(reader, upstream=("unit", "option"))]), **SMALL)


def test_scales_start_where_the_description_says_whatever_is_read():
    action = oc.Coagent("action", oc.Gaussian(1, scale=0.25), upstream=("bit",), additive=True)
    agent = oc.CoagentActorCritic("Pendulum-v1", oc.CoagentNetwork([oc.Coagent("bit", 2), action]), num_envs=1)
    (first, other) = agent.probabilities(np.zeros(3, np.float32))["action"]  # (mean, standard deviation) for each output of bit
    np.testing.assert_allclose([first[1], other[1]], 0.25, rtol=1e-6)
    assert abs(float(first[0, 0] - other[0, 0])) > 1e-3  # what is read moves the mean
