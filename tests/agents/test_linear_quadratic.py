"""The learner with real numbers for actions against the truth: on a linear-quadratic task the gradient is known in closed form.

Policies are linear in the state and frozen; γ^t is on, λ = 1, no entropy bonus, whole episodes. The mean torch gradient over many episodes
is the gradient of the closed form (`linear_quadratic`), by autograd through its moments; the same estimate with one thing broken is not.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from linear_quadratic import LinearQuadraticEnv, Task, clipped_return, expected_return

import optioncoagent as oc
from optioncoagent.agents import distributions, losses
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch

ENVS, ROLLOUTS = 512, 60
PLAIN = dict(update_epochs=1, num_minibatches=1, ent_coef=0.0, normalize_advantages=False, hidden_sizes=(), dtype="float64")
RATE = 0.4
PARAMS = {
    1: {"k": [-0.5], "c": [0.2], "log_scale": [-0.3], "z": [0.0]},
    2: {"k": [-0.5, 0.3], "c": [0.2, -0.4], "log_scale": [-0.3, 0.2], "z": [0.4, -0.2]},
}


def describe(num_options):
    """Options that end by a coin, chosen without a look at the state: a jump linear system."""

    def network(actions):
        option = oc.Coagent("option", num_options, observes=False, executes=lambda x: RATE + (1 - RATE) * x.start)
        return oc.CoagentNetwork([option, oc.Coagent("action", actions, upstream=("option",))])

    return network


def make(task, num_options, low=-np.inf, high=np.inf, **settings):
    env = LinearQuadraticEnv(task, ENVS, low, high)
    settings = {"discount_weighting": True, **PLAIN, **settings}
    agent = oc.CoagentActorCritic(
        env, describe(num_options), gamma=task.gamma, gae_lambda=1.0, num_steps=task.horizon, forms={"option": "score"}, **settings
    )
    params = {name: torch.tensor(x, dtype=torch.float64) for name, x in PARAMS[num_options].items()}
    action = agent.module.policies["policy_action"]
    with torch.no_grad():
        action.mean.weight.copy_(params["k"][:, None])
        action.mean.bias.copy_(params["c"])
        action.log_scale.logits.copy_(params["log_scale"])
        agent.module.policies["policy_option"].logits.copy_(params["z"])
    return agent, {name: x.requires_grad_() for name, x in params.items()}


def z_scores(agent, truth, breaking=None):
    """(mean − truth) / standard error of the gradient per episode, in all parameters."""
    agent.running = agent._start()
    action, samples = agent.module.policies["policy_action"], []
    for _ in range(ROLLOUTS):
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, agent.settings.num_steps)
        if breaking == "what was clipped":
            rollout.outputs["action"] = rollout.outputs["action"].clamp(-1, 1)
        batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
        if breaking == "sign":
            batch = replace(batch, learned=batch.learned * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)[:, None])
        agent.optimizer.zero_grad()
        agent.losses(batch)[:-1].sum().backward()  # the last is the critic's
        parts = action.mean.weight, action.mean.bias, action.log_scale.logits, agent.module.policies["policy_option"].logits
        samples.append(-len(batch) / ENVS * torch.cat([part.grad.flatten() for part in parts]).numpy())
    samples, exact = np.array(samples), torch.cat([x.flatten() for x in truth]).numpy()
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - exact)[error > 0] / error[error > 0]


def exact_gradient(value, params):
    """In k, c, ln σ and the option's logits, in this order."""
    found = torch.autograd.grad(value, list(params.values()), allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, params.values(), strict=True)]


def agrees(z):
    return bool(np.abs(z).max() < 4.5 and np.mean(z**2) < 4)


def estimate(num_options, breaking=None, **settings):
    agent, params = make(Task(), num_options, **settings)
    return z_scores(agent, exact_gradient(expected_return(Task(), **params, rate=RATE), params), breaking)


@pytest.mark.parametrize("num_options", PARAMS)
@pytest.mark.parametrize("sampled_returns", [False, True])
def test_the_gradient_is_that_of_the_closed_form(num_options, sampled_returns):
    assert agrees(z := estimate(num_options, sampled_returns=sampled_returns)), z


def test_the_closed_form_by_hand():
    """One step, one option: −J = q E[S²] + r (k² E[S²] + 2 k (c − w) E[S] + (c − w)² + σ²), and its three derivatives."""
    task, params = Task(horizon=1), {name: torch.tensor(x, dtype=torch.float64, requires_grad=True) for name, x in PARAMS[1].items()}
    k, d, second, r = -0.5, 0.2 - task.wish, task.mean**2 + task.spread**2, task.effort
    value, variance = expected_return(task, **params, rate=RATE), np.exp(-0.6)
    assert value.item() == pytest.approx(-(task.state * second + r * (k**2 * second + 2 * k * d * task.mean + d**2 + variance)))
    by_hand = [-2 * r * (k * second + d * task.mean), -2 * r * (k * task.mean + d), -2 * r * variance, 0.0]
    assert torch.cat(exact_gradient(value, params)).tolist() == pytest.approx(by_hand)


def test_the_closed_form_is_the_mean_return():
    agent, params = make(Task(), 2)
    agent.running, rewards = agent._start(), []
    for _ in range(ROLLOUTS):
        reward = collect(agent.module, agent.sampler, agent.spec, agent.running, Task().horizon).reward
        rewards.append(float((Task().gamma ** torch.arange(Task().horizon).double() @ reward).mean()))
    error = np.std(rewards, ddof=1) / np.sqrt(ROLLOUTS)
    assert abs(np.mean(rewards) - expected_return(Task(), **params, rate=RATE).item()) < 4 * error


BOUNDS = dict(low=-2.0, high=1.0)
ONE_STEP = Task(horizon=1, spread=0.0)


def clipped(breaking=None):
    """z-scores where a quarter of all actions is beyond the bounds and [-1, 1] stands for [-2, 1]."""
    agent, params = make(ONE_STEP, 1, seed=1, **BOUNDS)
    beyond = collect(agent.module, agent.sampler, agent.spec, agent._start(), 1).outputs["action"].abs() > 1
    assert 0.15 < float(beyond.double().mean()) < 0.5
    return z_scores(
        agent, exact_gradient(clipped_return(ONE_STEP, params["k"], params["c"], params["log_scale"], **BOUNDS), params), breaking
    )


def test_what_the_environment_clips_is_learned_from_as_it_was_drawn():
    assert agrees(z := clipped()), z
    assert not agrees(clipped("what was clipped"))


def without_scale_term(given, drawn):
    mean, log_scale = given.chunk(2)
    return (-0.5 * ((drawn - mean) / log_scale.exp()).square()).sum(dim=0)


def of_twice_the_scale(given, drawn):
    mean, log_scale = given.chunk(2)
    return distributions.log_density(torch.cat([mean, log_scale + np.log(2)]), drawn)


@pytest.mark.parametrize("density", [without_scale_term, of_twice_the_scale])
def test_a_wrong_density_fails(density, monkeypatch):
    monkeypatch.setattr(losses, "log_density", density)
    agent, params = make(Task(), 1)
    truth = exact_gradient(expected_return(Task(), **params, rate=RATE), params)
    right = make_batch

    def made(module, spec, rollout, *others):
        batch = right(module, spec, rollout, *others)
        given = module.logits("action", module.readout(module.encode(batch.inputs)[0]))[0]
        batch.learned[:, 0, -1] = density(given.detach(), batch.drawn.T)  # of old, too: the ratio is 1
        return batch

    monkeypatch.setitem(globals(), "make_batch", made)
    assert not agrees(z_scores(agent, truth))


@pytest.mark.parametrize("breaking", ["sign", "γ^t dropped"])
def test_a_broken_estimate_fails(breaking):
    settings = {"discount_weighting": False} if breaking == "γ^t dropped" else {}
    assert not agrees(estimate(2, breaking, **settings))


def test_ascent_finds_the_best_linear_policy():
    """One step: the best action is the wish whatever the state, and the scale shrinks."""
    env = LinearQuadraticEnv(replace(Task(), horizon=1, wish=1.5), 64)
    # without a limit of KL: the narrower a Gaussian is, the less its mean may then move, and at such a step size it narrows first
    settings = dict(hidden_sizes=(), num_steps=32, learning_rate=0.02, ent_coef=0.0, target_kl=None)
    agent = oc.OptionCritic(env, num_options=2, **settings).learn(64 * 32 * 10)
    mean, scale = np.moveaxis(agent.probabilities(np.array([[0.5], [1.0], [1.5]]))["action"], 2, 0)
    np.testing.assert_allclose(mean, 1.5, atol=0.2)
    assert scale.max() < 0.6
