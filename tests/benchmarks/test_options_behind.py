"""What the search for the cost of options rests on: each agent has the one change that its name says."""

from pathlib import Path

import pytest
import torch
from run_folders import benchmark

import optioncoagent as oc
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch

TASK = "Empty-5x5"


@pytest.fixture
def behind(monkeypatch):
    """Benchmarks import what lies beside them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("options_behind")


def learned(behind, name):
    """An agent after two updates, so that heads have residuals."""
    agent = behind.make(behind.Run(TASK, name, 0))
    for _ in range(2):
        agent.update()
    return agent


def reached(agent, coagent):
    """Which parameters a coagent's loss, or the critic's, has a gradient in."""
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 8)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    agent.module.zero_grad(set_to_none=True)
    agent.losses(batch)[agent.loss_names.index(f"{coagent}/loss")].backward()
    return {name for name, p in agent.module.named_parameters() if p.grad is not None and bool(p.grad.any())}


def test_the_default_agent_is_among_them(behind):
    usual, agent = oc.OptionCritic(f"MiniGrid-{TASK}-v0", seed=0), learned(behind, "sampled returns, encoder left alone")
    for _ in range(2):
        usual.update()
    for name, parameter in usual.module.state_dict().items():
        assert torch.equal(parameter, agent.module.state_dict()[name]), name


@pytest.mark.parametrize("coagent", ["termination", "option"])
def test_an_encoder_left_alone_learns_from_critic_and_actions(behind, coagent):
    alone, usual = learned(behind, "encoder left alone"), learned(behind, "options")
    assert any(name.startswith("encoder.") for name in reached(usual, coagent))
    assert {name for name in reached(usual, coagent) if not name.startswith("encoder.")} == reached(alone, coagent)
    for shaping in ("action", "critic"):
        assert reached(alone, shaping) == reached(usual, shaping)


@pytest.mark.parametrize(
    ("name", "policies", "critic"),
    [("options", True, True), ("alike", False, False), ("policies alike", False, True), ("critic alike", True, False)],
)
def test_options_are_told_apart_by_what_the_name_says(behind, name, policies, critic):
    agent = learned(behind, name)
    readout = agent.module.readout(torch.randn(50, 64, generator=torch.Generator().manual_seed(0)))
    told = [bool((x - x[:1]).abs().max() > 1e-6) for x in (agent.module.logits("action", readout), agent.module.q(readout))]
    assert told == [policies, critic]


def test_every_row_that_there_is_is_one_the_script_knows(behind):
    rows = benchmark("rows").read(behind.ROWS, behind.Run)
    assert rows and {run.task for run in rows} <= {*behind.TASKS} and {run.agent for run in rows} <= {*behind.AGENTS}
