"""Gradient forms and losses: what reaches what, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small import SMALL

import optioncoagent as oc
from optioncoagent.agents import learner as learner_module
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import stochastic_layers


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("num_options", [4, (2, 2)])
def test_q_beta_and_advantage_are_the_same_gradient(dtype, tolerance, num_options):
    """Parameter by parameter on a real rollout, relative to the largest entry."""
    gradients = []
    for form in ("q_beta", "advantage"):
        agent = oc.OptionCritic("MiniGrid-DoorKey-5x5-v0", num_options, form, deliberation_cost=0.1, dtype=dtype, num_envs=8, num_steps=32)
        agent.running = agent._start()
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 32)
        batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
        agent.losses(batch).sum().backward()
        gradients.append({name: p.grad.clone() for name, p in agent.module.named_parameters()})
    largest = max(g.abs().max() for g in gradients[0].values())
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).abs().max() <= tolerance * largest, name


@pytest.mark.parametrize(
    ("settings", "shaping"),
    [
        ({"encoder_gradient": "all"}, ["termination", "option", "action", "critic"]),
        ({}, ["action", "critic"]),
        ({"gradient_form": "score"}, ["termination", "action", "critic"]),
    ],
)
def test_each_loss_reaches_exactly_its_parameters(settings, shaping):
    """A coagent's loss reaches its own head, the critic's loss the critic, and those that shape the encoder the encoder; nothing else."""
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", **SMALL, **settings)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    assert agent.loss_names == (*(f"{name}/loss" for name in agent.network.names), "critic/loss")
    for part, name in enumerate([*(f"policy_{name}." for name in agent.network.names), "critic."]):
        agent.optimizer.zero_grad(set_to_none=True)
        agent.losses(batch)[part].backward()
        reached = {own for own, p in agent.module.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        ours = (f"policies.{name}", name, f"common.{name}", *(["encoder."] if name.removeprefix("policy_").rstrip(".") in shaping else []))
        expected = {own for own, _ in agent.module.named_parameters() if own.startswith(ours)}
        assert reached == expected, part


def test_the_learner_knows_nothing_of_options():
    text = Path(learner_module.__file__).read_text()
    assert not re.search(r"\boptions?\b|terminat", text, re.IGNORECASE)


def test_one_option_is_the_flat_agent():
    """With one option the terminations and the option have nothing to learn: the same run, number by number."""
    settings = dict(ent_coef=0.0, seed=3, **SMALL)
    flat = oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork([oc.Coagent("action", 2)]), **settings)
    one = oc.OptionCritic("CartPole-v1", num_options=1, **settings)
    for _ in range(5):
        rows = flat.update(), one.update()
        for key in ("return_mean", "length_mean", "action/loss", "critic/loss", "action/entropy"):
            np.testing.assert_allclose(rows[0][key], rows[1][key], rtol=1e-5, atol=1e-7)


def test_a_head_too_large_is_refused_with_its_name():
    many = [oc.Coagent(f"c{i}", 50) for i in range(3)]
    network = oc.CoagentNetwork([*many, oc.Coagent("action", 2, upstream=("c0", "c1", "c2"))])
    with pytest.raises(ValueError, match="coagent 'action' would need 250,000 logits"):
        oc.CoagentActorCritic("CartPole-v1", network)


def test_wrong_forms_are_refused():
    network = oc.option_critic(3, 2)
    for forms, message in [
        ({"action": "expected"}, "'action': the critic does not know its output"),
        ({"option": "difference"}, "'option': the form difference is for two outputs"),
        ({"option": "best"}, "'option': gradient form 'best'"),
        ({"opt": "score"}, "opt"),
    ]:
        with pytest.raises(ValueError, match=message):
            oc.CoagentActorCritic("CartPole-v1", network, forms=forms)
    with pytest.raises(ValueError, match="gradient_form='best'"):
        oc.OptionCritic("CartPole-v1", gradient_form="best")


def test_every_epoch_learns_from_every_step_once(monkeypatch):
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_envs=3, num_steps=11, num_minibatches=4, update_epochs=2, target_kl=None)
    seen = []
    losses = agent.losses

    def spied(batch, read):
        seen.append(batch.inputs["numbers"].sum(dim=1) * 1000 + batch.target)
        return losses(batch, read)

    monkeypatch.setattr(agent, "losses", spied)
    agent.update()
    assert [len(part) for part in seen] == [9, 8, 8, 8] * 2
    first, second = (torch.cat(seen[k : k + 4]).sort().values for k in (0, 4))
    assert len(first) == 33 and torch.equal(first, second) and not torch.equal(torch.cat(seen[:4]), torch.cat(seen[4:]))


@pytest.mark.parametrize("num_options", [3, (2, 2)])
def test_a_gradient_that_ends_at_the_features_is_the_same_everywhere_else(num_options):
    """And the encoder's is the sum of those of the losses that shape it."""
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_options, dtype="float64", **SMALL)
    for _ in range(2):
        agent.update()  # heads then have weights
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    encoder = [p for name, p in agent.module.named_parameters() if name.startswith("encoder.")]
    heads = [p for name, p in agent.module.named_parameters() if not name.startswith("encoder.")]

    def gradients(losses, parameters):
        return torch.autograd.grad(losses.sum(), parameters, retain_graph=True)

    sampled, agent.shaping = agent.losses(batch), None
    every = agent.losses(batch)
    torch.testing.assert_close(sampled, every)
    torch.testing.assert_close(gradients(sampled, heads), gradients(every, heads))
    torch.testing.assert_close(gradients(sampled, encoder), gradients(every[-2:], encoder))  # of the action and the critic
    assert any(bool(x.any()) for x in gradients(every[:-2], encoder))


def test_coagents_that_share_a_head_with_one_that_shapes_the_encoder_shape_it():
    """The rows are the owner's; those of others, and only those, end at the features."""
    first = oc.Coagent("first", 2, upstream=())
    second = oc.Coagent("second", 2, shares="first")
    action = oc.Coagent("action", 2, upstream=("first", "second"))
    agent = oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork([first, second, action]), forms={"second": "score"}, **SMALL)
    assert agent.forms["first"] == "expected" and agent.shaping is None


def test_where_no_action_observes_all_coagents_shape_the_encoder():
    """An action that reads outputs alone has nothing to say to the encoder."""
    agent = oc.CoagentActorCritic("CartPole-v1", lambda n: stochastic_layers((2,), n), **SMALL)
    assert not agent.network["action"].observes and "expected" in agent.forms.values() and agent.shaping is None
