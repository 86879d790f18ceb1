"""`train --load`: a run that begins with what another one has learned."""

import csv
import re

import pytest
import torch
from run_folders import RUN

import optioncoagent as oc
from optioncoagent.cli import Train, main
from optioncoagent.runs import Recorder, specification, training
from optioncoagent.runs.curves import group, read_curves

FLAGS = "--total-timesteps 256 --num-options 2 --num-envs 2 --num-steps 64 --hidden-sizes 8 --eval-episodes 1".split()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    train(folder, "MiniGrid-Empty-5x5-v0")
    return folder


def train(folder, env_id, *flags):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["optioncoagent", "train", env_id, *FLAGS, *map(str, flags), "--run-dir", str(folder)])
        main()


def weights(folder):
    return dict(oc.OptionCritic.load(folder).module.named_parameters())


def test_what_is_frozen_is_the_other_agents_and_the_rest_learns(first, tmp_path):
    train(tmp_path / "second", "MiniGrid-Empty-6x6-v0", "--load", first, "--frozen", "encoder", "termination", "action")
    before, after = weights(first), weights(tmp_path / "second")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("option" in name or "critic" in name for name in moved)
    agent = oc.OptionCritic.load(tmp_path / "second")
    assert agent.num_timesteps == 256 and agent.interface.env_id == "MiniGrid-Empty-6x6-v0"
    with (tmp_path / "second" / "metrics.csv").open() as file:
        assert [float(row["timesteps"]) for row in csv.DictReader(file)] == [128, 256]
    assert training.read_run(tmp_path / "second").load == str(first)


def test_it_begins_where_the_other_ended(first):
    agent = oc.OptionCritic("MiniGrid-Empty-6x6-v0", num_options=2, hidden_sizes=(8,), num_envs=2, seed=5).begin_with(first)
    assert all(torch.equal(x, weights(first)[name]) for name, x in agent.module.named_parameters())
    assert (agent.num_timesteps, agent.num_episodes, agent.recent) == (0, 0, type(agent.recent)())
    adam = agent.optimizer.state_dict()["state"]
    assert adam and all(int(moments["step"]) > 0 for moments in adam.values())


@pytest.mark.parametrize(
    ("env_id", "flags", "message"),
    [
        ("MiniGrid-Empty-6x6-v0", ["--frozen", "encoder"], r"frozen=\('encoder',\): it keeps what has been learned: give --load RUN_DIR"),
        (
            "MiniGrid-Empty-6x6-v0",
            ["--load", "FIRST", "--num-options", "3"],
            r"num_options=.*2.*, and this one has .*3.*: give the same",
        ),
        ("MiniGrid-Empty-6x6-v0", ["--load", "FIRST", "--hidden-sizes", "4"], "another network or encoder"),
        ("MiniGrid-Empty-6x6-v0", ["--load", "nowhere"], "nowhere holds no agent"),
        ("CartPole-v1", ["--load", "FIRST"], "this environment has observation: box"),
    ],
)
def test_what_cannot_be_loaded_is_said_before_there_is_a_folder(first, tmp_path, capsys, env_id, flags, message):
    with pytest.raises(SystemExit, match="2"):
        train(tmp_path / "second", env_id, *(first if flag == "FIRST" else flag for flag in flags))
    assert re.search(message, capsys.readouterr().err) and not (tmp_path / "second").exists()


def test_a_setting_that_cannot_be_loaded_stops_a_sweep_before_anything_is_started(first):
    content = {"tasks": ["MiniGrid-Empty-6x6-v0"], "num_options": [2], "total_timesteps": 64}
    for load, hidden, message in (("nowhere", 8, "nowhere holds no agent"), (str(first), 4, "another network or encoder")):
        with pytest.raises(ValueError, match=rf"settings\.moved: .*{message}"):
            specification.check(content | {"settings": {"moved": {"load": load, "hidden_sizes": [hidden]}}}, Train)
    checked = specification.check(
        content | {"settings": {"moved": {"load": str(first), "hidden_sizes": [8], "frozen": ["encoder"]}}}, Train
    )
    assert "--load" in checked.trials[0].arguments


def test_several_runs_are_refused_before_the_first(first, tmp_path, capsys):
    words = ["train", "MiniGrid-Empty-6x6-v0", "CartPole-v1", *FLAGS, "--load", str(first), "--run-dir", str(tmp_path / "two")]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit, match="2"):
        patch.setattr("sys.argv", ["optioncoagent", *words])
        main()
    assert "this environment has observation: box" in capsys.readouterr().err and not (tmp_path / "two").exists()


def test_what_was_loaded_is_a_setting_from_python_too(first, tmp_path, monkeypatch):
    """Beside runs that have loaded nothing, of today and of before there was such a thing."""
    monkeypatch.chdir(first.parent)
    train("moved", "MiniGrid-Empty-5x5-v0", "--load", "first", "--seed", "1")
    fresh, moved = (oc.OptionCritic("MiniGrid-Empty-5x5-v0", 2, num_envs=2, num_steps=64, hidden_sizes=(8,), seed=seed) for seed in (2, 3))
    for name, agent in (("fresh", fresh), ("python", moved.begin_with("first"))):
        with Recorder(tmp_path / name) as record:
            agent.learn(128, callback=record)
    found = group(read_curves(["first", "moved", tmp_path / "fresh", tmp_path / "python"]))["MiniGrid-Empty-5x5-v0"]
    assert sorted(map(len, found.values())) == [2, 2] and len(found) == 2


def test_an_agent_that_has_trained_begins_new_episodes(first):
    agent = oc.OptionCritic.load(first).begin_with(first)
    assert not agent.recent and agent.running is None and not agent._stopped_at


def test_what_was_counted_is_of_the_task_before(first):
    """However the agent came about: loaded, trained before, or new."""
    loaded, trained = oc.OptionCritic.load(first), oc.OptionCritic.load(first).learn(64)
    fresh = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_options=2, hidden_sizes=(8,), num_envs=2, num_steps=64, seed=5)
    for agent in (loaded, trained, fresh):
        agent.begin_with(first)
        assert agent.exploration.steps == 0 and not agent.exploration.counts.any()
        assert agent.rewards["exploration"] is agent.exploration


def test_a_run_from_before_has_loaded_nothing():
    content = {name: x for name, x in vars(RUN).items() if name not in ("load", "settings")} | {"settings": vars(RUN.settings)}
    assert training.Run.from_json(content).load is None
