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
    k, c, log_sigma, v, d, log_tau = params = [
        torch.tensor(x, dtype=DOUBLE, requires_grad=True) for x in (-0.5, 0.2, -0.7, 0.8, 0.1, -0.3)
    ]
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
