"""What a head's configurations have in common, and what each adds."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from small import SMALL

import optioncoagent as oc
from optioncoagent.agents.heads import RESIDUAL

EMPTY = "MiniGrid-Empty-5x5-v0"
OLD = Path(__file__).parents[1] / "data" / "agent-0.1.0"


def observation():
    return oc.OptionCritic(EMPTY, num_envs=1).env.reset(seed=0)[0]


@pytest.mark.parametrize("num_options", [4, (2, 3)])
def test_all_options_start_as_the_flat_agent(num_options):
    flat, agent = (oc.OptionCritic(EMPTY, n, **SMALL) for n in (1, num_options))
    expected, got = flat.probabilities(observation())["action"], agent.probabilities(observation())["action"]
    assert np.ptp(expected) > 1e-4
    assert got == pytest.approx(np.broadcast_to(expected.reshape(7), got.shape), abs=1e-7)
    q = [agent.module.q(agent.module.readout(torch.ones(1, 64))) for agent in (flat, agent)]
    assert torch.allclose(q[1], q[0].expand(len(q[1]), 1)) and q[0].abs() > 1e-4


def test_a_configuration_adds_its_residual_to_what_all_have_in_common():
    """z_{c u} = x · (C_u + RESIDUAL R_{c u}) + the biases likewise, c the index of the outputs that are read; two are read here."""
    coagents = [oc.Coagent("a", 2), oc.Coagent("b", 3, upstream=("a",)), oc.Coagent("action", 2, upstream=("a",), previous=("b",))]
    agent = oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork(coagents), **SMALL)
    module = agent.module
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    x = torch.randn(3, 64)
    readout = module.readout(x)
    several = {name: shape for name, shape in module.shapes.items() if np.prod(shape[:-1]) > 1}
    tables = {f"policy_{name}": (module.policies[f"policy_{name}"], module.logits(name, readout)) for name in several}
    tables["critic"] = module.critic, module.q(readout)[:, None]
    assert set(module.common) == set(tables) == {"policy_b", "policy_action", "critic"}
    for name, (head, got) in tables.items():
        common = module.common[name]
        for c, logits in enumerate(got):
            rows = slice(c * logits.shape[0], (c + 1) * logits.shape[0])
            weight, bias = common.weight + RESIDUAL * head.weight[rows], common.bias + RESIDUAL * head.bias[rows]
            assert torch.allclose(logits, weight @ x.T + bias[:, None], atol=1e-4), (name, c)


def test_without_layers_configurations_have_nothing_in_common():
    agent = oc.OptionCritic(EMPTY, **{**SMALL, "hidden_sizes": ()})
    first, second, *_ = agent.probabilities(observation())["action"].reshape(4, 7)
    assert not agent.module.common and abs(first - second).max() > 1e-5


def test_a_folder_without_common_parts_keeps_its_function_and_its_steps():
    """Adam's moments belong to the parameters they were saved for, and are those of RESIDUAL times the gradient."""
    agent = oc.OptionCritic.load(OLD)
    weights, adam = (safetensors.numpy.load_file(OLD / f"{name}.safetensors") for name in ("weights", "optimizer"))
    weight, bias = agent.module.heads()
    names = [*(f"policies.policy_{name}" for name in agent.network.names), "critic"]
    assert json.loads((OLD / "agent.json").read_text())["num_timesteps"] == 64 and len(agent.module.common) == 3
    assert np.array_equal(weight.detach(), np.concatenate([weights[f"{name}.weight"] for name in names]))
    assert np.array_equal(bias.detach(), np.concatenate([weights[f"{name}.bias"] for name in names]))
    parameters, state = dict(agent.module.named_parameters()), agent.optimizer.state
    scales = {"policies.policy_termination": RESIDUAL, "policies.policy_option": 1, "policies.policy_action": RESIDUAL, "critic": RESIDUAL}
    for i, (name, parameter) in enumerate(parameters.items()):
        if name.startswith("common."):
            assert parameter not in state and not parameter.any()
        else:
            scale = scales.get(name.rpartition(".")[0], 1)
            assert np.array_equal(state[parameter]["exp_avg"], scale * adam[f"{i}.exp_avg"]), name
            assert np.array_equal(state[parameter]["exp_avg_sq"], scale**2 * adam[f"{i}.exp_avg_sq"]), name
    assert agent.update()["timesteps"] > 64


def test_a_head_starts_differently_from_others_and_the_same_whatever_others_there_are():
    left, right, other = (oc.Coagent(name, 2) for name in ("left", "right", "other"))

    def heads(*coagents):
        network = oc.CoagentNetwork([*coagents, oc.Coagent("action", 2, upstream=("left", "right"))])
        module = oc.CoagentActorCritic("CartPole-v1", network, **SMALL).module
        return {name: module.policies[f"policy_{name}"].weight for name in ("left", "right")}

    two, three = heads(left, right), heads(left, other, right)
    assert not torch.equal(two["left"], two["right"])
    assert all(torch.equal(two[name], three[name]) for name in two)
