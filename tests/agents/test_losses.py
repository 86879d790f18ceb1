"""The written-out gradient of the losses against autograd, and how steps are cut into minibatches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from scripted import ScriptedVectorEnv
from small import SMALL

import optioncoagent as oc
from optioncoagent.agents.losses import Losses, difference, expected, score
from optioncoagent.agents.minibatches import by_environment, by_step
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch

NUM_OUTPUTS, N = (2, 1, 3), 40


def recorded(read, learned, target, valid, clip_coef, vf_coef):
    """The same losses, operation by operation."""
    log_old, advantage, weight = learned
    parts, first = [], 0
    for outputs in NUM_OUTPUTS:
        here = slice(first, first := first + outputs)
        log_new = read[here].log_softmax(dim=0)
        ratio = (log_new - log_old[here]).exp()
        clipped = ratio.clamp(1 - clip_coef, 1 + clip_coef)
        objective = torch.minimum(ratio * advantage[here], clipped * advantage[here])
        entropy = -(weight[here] * log_new.exp() * log_new)
        parts.append(-(objective + entropy).sum(dim=0).mean())
    return torch.stack([*parts, vf_coef * (valid * (read[-1] - target).square()).mean()])


@pytest.mark.parametrize("ent", [(0.0, 0.0, 0.0), (0.3, 0.5, 0.0)])
def test_the_gradient_of_the_losses_is_the_recorded_one(ent):
    rng = torch.Generator().manual_seed(0)
    total, coefs = sum(NUM_OUTPUTS), (0.2, 0.7)
    read = torch.randn(total + 1, N, dtype=torch.float64, generator=rng).requires_grad_()
    near = read.detach()[:-1] + 0.3 * torch.randn(total, N, dtype=torch.float64, generator=rng)  # ratios on both sides of both limits
    log_old = torch.cat([part.log_softmax(dim=0) for part in near.split(NUM_OUTPUTS)])
    executed = (torch.rand(len(NUM_OUTPUTS), N, generator=rng) < 0.6).double()
    executed, weight = (x.repeat_interleave(torch.tensor(NUM_OUTPUTS), dim=0) for x in (executed, torch.tensor(ent)[:, None] * executed))
    learned = torch.stack([log_old, executed * torch.randn(total, N, dtype=torch.float64, generator=rng), weight])
    target, valid = torch.randn(2, N, dtype=torch.float64, generator=rng)
    valid = (valid > -1).double()
    part = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    ratio = (torch.cat([z.log_softmax(dim=0) for z in read.detach()[:-1].split(NUM_OUTPUTS)]) - log_old).exp()
    assert ((ratio > 1.2) & (learned[1] > 0)).any() and ((ratio < 0.8) & (learned[1] < 0)).any() and ((ratio - 1).abs() < 0.2).any()

    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)  # a gradient of its own for each part
    gradients, values = [], []
    for parts in (recorded(read, learned, target, valid, *coefs), Losses.apply(read, part, learned, target, valid, NUM_OUTPUTS, *coefs)):
        read.grad = None
        (weights * parts).sum().backward()
        gradients.append(read.grad)
        values.append(parts.detach())
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("advantage", [1.0, 0.0])
def test_a_ratio_that_overflows_is_clipped(advantage):
    read = torch.tensor([[200.0], [0.0], [0.0]], requires_grad=True)  # almost sure now, almost impossible before
    learned = torch.tensor([[[-200.0], [0.0]], [[advantage], [0.0]], [[1.0], [1.0]]])
    parts = Losses.apply(read, torch.tensor([0, 0, 1]), learned, torch.zeros(1), torch.ones(1), (2,), 0.2, 0.5)
    parts.sum().backward()
    assert parts.tolist() == pytest.approx([-1.2 * advantage, 0.0]) and torch.equal(read.grad, torch.zeros(3, 1))


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_every_coagent_has_the_entropy_bonus_that_it_is_given(env):
    """The gradient with weights, less that without any, against autograd of Σ_c weight_c E[ e_c H(π_c) ] by torch.distributions."""
    torch.manual_seed(0)
    weights = {"termination": 0.0, "option": 0.5, "action": 0.2}
    given = dict(num_options=3, num_envs=4, num_steps=16, dtype="float64", encoder_gradient="all")
    agent = oc.OptionCritic(env, ent_coef=0.2, ent_coefs={"termination": 0.0, "option": 0.5}, **given)
    without = oc.OptionCritic(env, ent_coef=0.0, **given)
    with torch.no_grad():
        for parameter in agent.module.parameters():  # policies that are not nearly uniform, as at first
            parameter += 0.3 * torch.randn_like(parameter)
    without.module.load_state_dict(agent.module.state_dict())
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    assert set(torch.cat([rollout.executed[name].flatten() for name in weights]).tolist()) == {True, False}

    made = [gradient(x, x.losses(make_batch(x.module, x.spec, rollout, x.settings, x.forms)).sum()) for x in (agent, without)]
    read = agent.module.readout(agent.module.features(agent.spec.state({"": rollout.observation[""].flatten(0, 1)}))[0])
    bonus, nothing = torch.zeros((), dtype=torch.float64), torch.zeros(64, dtype=torch.long)
    for name, index in (("termination", rollout.previous["option"]), ("option", nothing), ("action", rollout.outputs["option"])):
        table = agent.module.logits(name, read)  # (configurations, parameters, steps)
        parameters = table[index.flatten(), :, torch.arange(64)]
        if name in agent.network.gaussians:
            mean, log_scale = parameters.chunk(2, dim=-1)
            entropy = torch.distributions.Normal(mean, log_scale.exp()).entropy().sum(dim=-1)
        else:
            entropy = torch.distributions.Categorical(logits=parameters).entropy()
        bonus = bonus + weights[name] * (entropy * rollout.executed[name].flatten()).mean()
    truth = gradient(agent, bonus)
    assert truth.norm() > 0.01
    torch.testing.assert_close(made[1] - made[0], truth)


def gradient(agent, number):
    """With respect to all parameters, in a row."""
    agent.module.zero_grad()
    number.backward()
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in agent.module.parameters()])


def test_forms_have_their_gradients():
    """Σ_u a_u ∂ρ_u against the gradient that each form is named for, through a softmax."""
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 5, dtype=torch.float64, generator=rng).requires_grad_()
    values, advantage = torch.randn(2, 5, dtype=torch.float64, generator=rng), torch.randn(5, dtype=torch.float64, generator=rng)
    output, policy = torch.tensor([0, 1, 1, 0, 1]), logits.softmax(dim=0)
    old = policy.detach()
    for form, objective in [
        (expected(old, values), (policy * values).sum()),
        (difference(old, values), -(policy[0] * (values[1] - values[0])).sum()),
        (score(output, advantage, 2), (policy.log()[output, torch.arange(5)] * advantage).sum()),
    ]:
        (made,) = torch.autograd.grad((form * policy / old).sum(), logits, retain_graph=True)
        (truth,) = torch.autograd.grad(objective, logits, retain_graph=True)
        torch.testing.assert_close(made, truth)


def test_minibatches_by_step_and_by_environment():
    valid = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.8
    generator = torch.Generator().manual_seed(1)
    parts = by_step(valid, 4, generator)
    assert len(parts) == 4 and torch.equal(torch.cat(parts).sort().values, valid.flatten().nonzero()[:, 0])
    assert not torch.equal(torch.cat(parts), torch.cat(by_step(valid, 4, generator)))

    parts = by_environment(valid, 2, generator)
    assert [len(part) for part in parts] == [21, 14] and torch.equal(torch.cat(parts).sort().values, torch.arange(35))
    for part in parts:  # time goes on along the first axis, in the same environments
        steps, envs = part.reshape(7, -1) // 5, part.reshape(7, -1) % 5
        assert (steps == torch.arange(7)[:, None]).all() and (envs == envs[0]).all()


@pytest.mark.parametrize(("rows", "number"), [(20, 16), (16, 9), (5, 8), (16, 8), (7, 1)])
def test_there_are_as_many_minibatches_as_asked_for_and_none_without_a_step(rows, number):
    generator = torch.Generator().manual_seed(0)
    for cut, valid in ((by_step, torch.ones(rows, 1)), (by_environment, torch.ones(1, rows))):
        parts = cut(valid.bool(), number, generator)
        sizes = [len(part) for part in parts]
        assert len(parts) == min(number, rows) and sum(sizes) == rows and max(sizes) - min(sizes) <= 1
    valid = (torch.arange(rows) < 3).expand(2, rows)  # in the others nothing but resets has happened
    parts = by_environment(valid, number, generator)
    assert torch.equal(torch.cat(parts).sort().values, valid.flatten().nonzero()[:, 0]) and len(parts) == min(number, 3)


def test_a_head_starts_and_draws_the_same_whatever_others_there_are():
    alone = oc.CoagentNetwork([oc.Coagent("action", 2)])
    beside = oc.CoagentNetwork([oc.Coagent("table", 3, observes=False), oc.Coagent("action", 2)])
    agents = [oc.CoagentActorCritic("CartPole-v1", network, num_envs=2) for network in (alone, beside)]
    observation = torch.randn(6, 4)
    read = [agent.module.readout(agent.module.features(observation)[0]) for agent in agents]
    for agent, rows in zip(agents, read, strict=True):
        head = agent.module.policies["policy_action"]
        features, _ = agent.module.features(observation)
        torch.testing.assert_close(agent.module.logits("action", rows)[0], head(features).T)
        torch.testing.assert_close(agent.module.q(rows), agent.module.critic(features).T)
    assert torch.equal(*(agent.module.logits("action", rows) for agent, rows in zip(agents, read, strict=True)))
    draws = [dict(zip(agent.network.names, agent.sampler.uniforms(5, 2).unbind(1), strict=True))["action"] for agent in agents]
    assert torch.equal(*draws)
    table = agents[1].module.policies["policy_table"].logits
    with torch.no_grad():
        table.copy_(torch.tensor([1.0, 2.0, 3.0]))
    read = agents[1].module.readout(agents[1].module.features(observation)[0])
    assert torch.equal(agents[1].module.logits("table", read), torch.tensor([[[1.0], [2.0], [3.0]]]).expand(1, 3, 6))


def test_coagents_that_share_have_one_head():
    twins = [oc.Coagent("first", 2), oc.Coagent("second", 2, shares="first")]
    agent = oc.CoagentActorCritic(
        "CartPole-v1", oc.CoagentNetwork([*twins, oc.Coagent("action", 2, upstream=("first", "second"))]), num_envs=2
    )
    assert set(agent.module.policies) == {"policy_first", "policy_action"}
    agent.learn(256)
    read = agent.module.readout(agent.module.features(torch.randn(6, 4))[0])
    assert torch.equal(agent.module.logits("first", read), agent.module.logits("second", read))
    assert len(read) == 2 + 8 + 4


def batch_and(agent, num_steps=16, **settings):
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)
    return rollout, [make_batch(agent.module, agent.spec, rollout, replace(agent.settings, **s), agent.forms) for s in settings.values()]


def test_each_coagent_has_its_own_entropy_weight_behind_a_gaussian():
    """Each coagent has its own weight of the entropy bonus, also where a Gaussian runs before those that are counted."""
    network = oc.CoagentNetwork([oc.Coagent("unit", oc.Gaussian(2)), oc.Coagent("action", 2, upstream=("unit",), additive=True)])
    agent = oc.CoagentActorCritic("CartPole-v1", network, ent_coefs={"unit": 0.5, "action": 0.25}, **SMALL)
    _, (batch,) = batch_and(agent, same={})
    # in the order of `by_kind`: the action's two outputs, then the Gaussian
    np.testing.assert_array_equal(batch.learned[0, 2], [0.25, 0.25, 0.5])


def test_advantages_are_scaled_by_their_spread_over_valid_steps():
    """Advantages are scaled by their spread over the steps that were taken; those that only reset are not among them."""
    episodes = [[[0, 1, 2, 3], [0, 1]] * 20] * 2
    env = ScriptedVectorEnv(episodes, 4, AutoresetMode.NEXT_STEP)
    agent = oc.CoagentActorCritic(
        env,
        lambda n: oc.CoagentNetwork([oc.Coagent("action", n)]),
        forms={"action": "score"},
        num_steps=16,
        num_minibatches=1,
        dtype="float64",
        discount_weighting=False,
    )
    with torch.no_grad():  # the critic says 0, so that an advantage is a return
        for name, parameter in agent.module.named_parameters():
            if "critic" in name:
                parameter.zero_()
    rollout, (plain, scaled) = batch_and(agent, plain={"normalize_advantages": False}, scaled={"normalize_advantages": True})
    valid = rollout.valid.flatten()
    advantage = plain.learned[:, 1].sum(dim=1)
    assert not valid.all() and (advantage[~valid] == 0).all()
    torch.testing.assert_close(scaled.learned[:, 1].sum(dim=1)[valid], advantage[valid] / (advantage[valid].std(correction=0) + 1e-8))


def test_environments_come_in_a_random_order_that_is_another_each_time():
    rng, valid = torch.Generator().manual_seed(0), torch.ones(3, 64, dtype=torch.bool)
    orders = [torch.cat([part[: len(part) // 3] for part in by_environment(valid, 4, rng)]).tolist() for _ in range(2)]
    assert [sorted(order) for order in orders] == [list(range(64))] * 2
    assert orders[0] != orders[1] and list(range(64)) not in orders
