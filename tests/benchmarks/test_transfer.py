"""What each agent of the transfer benchmark takes to the second task, and what of it learns there."""

from pathlib import Path

import pytest
import torch
from run_folders import benchmark

CHANGE = "Empty-5x5 Empty-6x6"


@pytest.fixture
def transfer(monkeypatch):
    """The benchmark, with a change of tasks that is soon made; it imports what lies beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    module = benchmark("transfer")
    monkeypatch.setitem(module.CHANGES, CHANGE, (4_096, 4_096, 2.0))
    return module


def weights(agent):
    return {name: parameter.detach().clone() for name, parameter in agent.module.named_parameters()}


def parts(names):
    """The modules that hold these parameters."""
    return {name.split(".")[1] if name.startswith(("policies.", "common.")) else name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("options", "heads"), [("flat", {"policy_action"}), ("options", {"policy_option", "policy_action", "policy_termination"})]
)
def test_an_encoder_that_is_kept_is_the_first_tasks_and_stays_under_heads_that_begin_anew(transfer, options, heads):
    goes_on, kept, anew = (transfer.second_agent(transfer.Run(CHANGE, f"{options}{what}", 0)) for what in ("", ", encoder kept", " anew"))
    assert goes_on[1] == kept[1] and anew[1] != anew[1]  # the same first task, or none
    source, before, fresh = (weights(agent) for agent, _ in (goes_on, kept, anew))
    encoder = {name for name in before if name.startswith("encoder.")}
    for name in before:
        assert torch.equal(before[name], (source if name in encoder else fresh)[name]), name
    assert encoder and all(not torch.equal(source[name], fresh[name]) for name in encoder)
    assert {*parts(name for name in before if not torch.equal(before[name], source[name]))} >= {*heads, "critic"}
    kept[0].update()
    changed = {name for name, x in weights(kept[0]).items() if not torch.equal(x, before[name])}
    assert not changed & encoder and parts(changed) >= {"policy_action", "critic"}


def test_what_learns_in_the_second_task(transfer):
    for agent_name, learns in (
        ("options", {"encoder", "policy_option", "policy_action", "policy_termination", "critic"}),
        ("options kept", {"policy_option", "critic"}),
        # its one option ends and begins again, which the entropy bonus alone teaches
        ("flat, new heads", {"encoder", "policy_action", "policy_termination", "critic"}),
    ):
        agent, _ = transfer.second_agent(transfer.Run(CHANGE, agent_name, 0))
        before = weights(agent)
        agent.update()
        assert parts(name for name, x in weights(agent).items() if not torch.equal(x, before[name])) == learns


def test_frames_are_counted_from_the_change(transfer, monkeypatch):
    monkeypatch.setitem(transfer.CHANGES, CHANGE, (4_096, 40_000, -1.0))
    run, row = transfer.train(transfer.Run(CHANGE, "flat", 0))
    assert 0 < row["frames"] <= 8_192 and row["return_mean"] >= 0


def test_the_goal_moves_to_another_room(transfer, monkeypatch):
    made, change = [], "FourRooms-first FourRooms-last"
    monkeypatch.setitem(transfer.CHANGES, change, (256, 256, 2.0))
    genuine = transfer.oc.OptionCritic.__init__

    def noted(self, *args, **kwargs):
        made.append(kwargs)
        genuine(self, *args, **kwargs)

    monkeypatch.setattr(transfer.oc.OptionCritic, "__init__", noted)
    for agent_name in ("flat", "flat anew", "flat, encoder kept"):
        made.clear()
        agent, _ = transfer.second_agent(transfer.Run(change, agent_name, 0))
        goals = [kwargs["env_kwargs"]["goal_pos"] for kwargs in made]
        assert goals == ([(15, 15)] if agent_name == "flat anew" else [(3, 3), (15, 15)])
        agent.update()
        assert agent.interface.env_kwargs == {"goal_pos": (15, 15)} and agent.interface.env_id == "MiniGrid-FourRooms-v0"
    assert transfer.environment("DoorKey-5x5") == {"env": "MiniGrid-DoorKey-5x5-v0"}


def test_defaults(transfer):
    now, before = (transfer.second_agent(transfer.Run(CHANGE, "flat anew", 0, default))[0].settings for default in ("now", "before"))
    assert (now.num_envs, now.target_kl, now.encoder_gradient) == (32, 0.05, "sampled")
    assert (before.num_envs, before.target_kl, before.encoder_gradient) == (16, None, "all")


def test_agents_are_compared_over_the_changes_that_both_have(transfer, capsys):
    """Options sooner than flat in three of four pairs of the one change, and not in the other: 0.375 in the mean."""
    first, second, third, *_ = transfer.CHANGES
    frames = {
        (first, "options"): (10, 30),
        (first, "flat"): (20, 40),
        (second, "options"): (5, 5),
        (second, "flat"): (1, 2),
        (third, "options"): (1, 1),
    }
    rows = {
        transfer.Run(change, agent, seed): {"frames": 1000.0 * x} for (change, agent), both in frames.items() for seed, x in enumerate(both)
    }
    transfer.table(rows)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| options | flat | 2 | 0.38 |") for line in lines)
    assert not any(line.startswith("| flat | flat anew") for line in lines)


@pytest.mark.parametrize("agent_name", ["options", "options kept", "flat, encoder kept", "flat, new heads", "flat anew"])
def test_the_one_mission_of_unlock_is_observed_so_that_the_agent_goes_on_where_missions_vary(transfer, monkeypatch, agent_name):
    change = "Unlock UnlockPickup"
    monkeypatch.setitem(transfer.CHANGES, change, (10_240, 256, 2.0))  # some episodes, which end after 288 steps
    agent, _ = transfer.second_agent(transfer.Run(change, agent_name, 0))
    assert [leaf.kind for leaf in agent.spec.leaves] == ["discrete", "cells", "mission"]
    assert agent.interface.env_id == "MiniGrid-UnlockPickup-v0" and agent.update()["timesteps"] > 0
