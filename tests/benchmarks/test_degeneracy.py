"""Remedies for options that end at once, on MiniGrid."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_folders import benchmark
from small import SMALL

from optioncoagent.agents import losses
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import option_critic


@pytest.fixture
def degeneracy(monkeypatch):
    """The benchmark; it imports what lies beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("degeneracy")


def gradients(agent, batch):
    agent.module.zero_grad(set_to_none=True)
    agent.losses(batch, agent._read(batch)).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in agent.module.named_parameters() if parameter.grad is not None}


def test_a_margin_is_what_going_on_is_worth_more_to_the_terminations_alone(degeneracy):
    """Against values of the two outputs, 0 and the margin, in the expected form that the terminations have."""
    made = option_critic(4, 7)
    agent = degeneracy.WithMargin("MiniGrid-DoorKey-5x5-v0", made, dtype="float64", **{**SMALL, "num_steps": 64})
    agent.running = agent._start()  # the first steps, of episodes that begin, are among these
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 64)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    without = gradients(agent, batch)
    agent.margin = 0.3
    with_margin = gradients(agent, batch)

    agent.margin, rows = 0.0, agent.module.part == agent.loss_names.index("termination/loss")
    learned = batch.learned.clone()
    old = learned[:, 0, rows[:-1]].T.exp()
    values = torch.zeros_like(old)
    values[1 - degeneracy.TERMINATE] = 0.3
    executed = (batch.valid.bool() & ~batch.start).to(old.dtype)
    assert 0 < executed.mean() < 1
    learned[:, 1, rows[:-1]] += (executed * losses.expected(old, values)).T
    expected = gradients(agent, replace(batch, learned=learned))
    for name in expected:
        torch.testing.assert_close(with_margin[name], expected[name])
    changed = {name for name in expected if not torch.allclose(expected[name], without[name], atol=1e-12)}
    assert changed and all("termination" in name for name in changed)  # by default the encoder does not learn from it


def test_a_remedy_with_a_margin_makes_options_last(degeneracy, monkeypatch):
    monkeypatch.setitem(degeneracy.ON_MINIGRID, "strong", degeneracy.Remedy(margin=20.0))
    lengths = {}
    for remedy in ("none", "strong"):
        agent = degeneracy.make(degeneracy.Run("Empty-5x5", remedy, 0))
        for _ in range(4):
            row = agent.update()
        lengths[remedy] = row["option/length"]
    assert lengths["strong"] > 3 * lengths["none"]
