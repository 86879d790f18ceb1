"""The command line as a user meets it: a run folder, its evaluation, errors in one line, an interrupt that loses nothing."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import optioncoagent as oc
from optioncoagent.agents import evaluation
from optioncoagent.agents.environments import make_vector_env
from optioncoagent.cli import main

SMALL = ["--num-envs", "4", "--num-steps", "16", "--num-minibatches", "2", "--eval-episodes", "3", "--hidden-sizes", "16"]


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["optioncoagent", *map(str, arguments)])
    main()


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in csv.DictReader(file)]


def test_train_then_evaluate(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = [
        "train",
        "MiniGrid-Empty-5x5-v0",
        "--total-timesteps",
        256,
        "--num-options",
        2,
        2,
        "--run-dir",
        folder,
        "--profile",
        *SMALL,
    ]
    run(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    assert "3 episodes: return" in printed and "time: environment" in printed and "compiled" in printed
    config = json.loads((folder / "config.json").read_text())
    assert config["command"]["num_options"] == [2, 2] and config["versions"]["torch"]
    assert len(json.loads((folder / "evaluation.json").read_text())["returns"]) == 3
    assert any(path.name.startswith("events.out.tfevents") for path in folder.iterdir())
    metrics = rows(folder)
    assert [int(float(row["timesteps"])) for row in metrics] == [64, 128, 192, 256]
    for column in ("option_1_length", "termination_2_probability", "option_2/usage_1", "action/entropy_option_2_0"):
        assert column in metrics[0]

    run(monkeypatch, "evaluate", folder, "--num-episodes", 5)
    assert capsys.readouterr().out == f"{oc.OptionCritic.load(folder).evaluate(5)}\n"
    assert oc.OptionCritic.load(folder).num_timesteps == 256

    with pytest.raises(SystemExit) as stopped:  # the folder exists: nothing is overwritten
        run(monkeypatch, *arguments)
    assert stopped.value.code == 2 and "never overwritten" in capsys.readouterr().err
    assert rows(folder) == metrics


def test_the_same_seed_writes_the_same_metrics(monkeypatch, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(monkeypatch, "train", "CartPole-v1", "--total-timesteps", 256, "--seed", seed, "--run-dir", tmp_path / name, *SMALL)
    assert rows(tmp_path / "a") == rows(tmp_path / "b") != rows(tmp_path / "c")


def test_several_environments_and_seeds(monkeypatch, tmp_path, capsys):
    ids, folder = ["CartPole-v1", "OptionCoagent/Gridworld-v0"], tmp_path / "all"
    run(monkeypatch, "train", *ids, "--seeds", 3, 4, "--total-timesteps", 64, "--run-dir", folder, *SMALL)
    names = ["CartPole-v1-seed3", "CartPole-v1-seed4", "OptionCoagent-Gridworld-v0-seed3", "OptionCoagent-Gridworld-v0-seed4"]
    assert sorted(path.name for path in folder.iterdir()) == names
    run(monkeypatch, "train", "CartPole-v1", "--seed", 4, "--total-timesteps", 64, "--run-dir", tmp_path / "alone", *SMALL)
    assert rows(folder / names[1]) == rows(tmp_path / "alone") != rows(folder / names[0])
    capsys.readouterr()
    run(monkeypatch, "evaluate", folder / names[0], folder / names[2], "--num-episodes", 3)
    assert capsys.readouterr().out == "".join(
        f"{folder / name}\n{oc.OptionCritic.load(folder / name).evaluate(3)}\n" for name in names[::2]
    )


def test_no_run_is_begun_where_one_of_them_could_not_be(monkeypatch, tmp_path, capsys):
    (tmp_path / "CartPole-v1-seed1").mkdir()
    with pytest.raises(SystemExit):
        run(monkeypatch, "train", "CartPole-v1", "--seeds", 0, 1, "--total-timesteps", 64, "--run-dir", tmp_path, *SMALL)
    assert "CartPole-v1-seed1 exists" in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 1
    for wrong, message in ((["CartPole-v1", "CartPole-v9"], "CartPole"), (["CartPole-v1", "--seeds", 3, 3], "named twice")):
        with pytest.raises(SystemExit):
            run(monkeypatch, "train", *wrong, "--total-timesteps", 64, "--run-dir", tmp_path, *SMALL)
        assert message in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 1


def test_runs_are_numbered_by_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run(monkeypatch, "train", "optioncoagent_envs:OptionCoagent/FourRooms-v0", "--total-timesteps", 64, *SMALL)
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["optioncoagent_envs-OptionCoagent-FourRooms-v0-seed0", "optioncoagent_envs-OptionCoagent-FourRooms-v0-seed0-2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "CartPole-v1", "--gamma", "1.5"], "gamma=1.5: it must be in [0, 1]"),
        (["train", "CartPole-v1", "--clip-coef", "-1"], "clip_coef=-1.0: it must be greater than 0"),
        (["train", "CartPole-v1", "--total-timesteps", "0"], "total_timesteps=0"),
        (["train", "CartPole-v1", "--checkpoint-seconds", "-1"], "checkpoint_seconds=-1.0"),
        (["train", "CartPole-v1", "--seeds", "1", "-1"], "seed=-1"),
        (["train", "CartPole-v1", "--seeds"], "--seeds: give at least one"),
        (["train", "CartPole-v1", "--seeds", "--gamma", "0.9"], "--seeds: give at least one"),
        (["train", "CartPole-v1", "--num-steps", "100000000000"], "num_steps=100000000000: it must be at most 1,000,000"),
        (["train", "CartPole-v1", "--run-dir", ""], "the working directory exists, and a run is never overwritten"),
        (["train", "CartPole-v1", "--run-dir", f"{__file__}/run"], "is a file, and no folder can be made in it"),
        (["train", "MiniGrid-Empty-5x5-v0", "--env-kwargs", "size=-1"], "cannot be made with {'size': -1}: assert width >= 3"),
        (["train"], "ENV_ID"),
        (["train", "--resume", "no-such-folder"], "no-such-folder is not a run folder"),
        (["train", "CartPole-v1", "--resume", "no-such-folder"], "leave out CartPole-v1"),
        (["train", "--resume", "no-such-folder", "--total-timesteps", "200000"], "leave out --total-timesteps"),
        (["train", "CartPole-v1", "--seed", "5", "--seeds", "0", "1"], "--seed and --seeds: give one"),
        (["evaluate"], "RUN_DIR"),
        (["watch", "no-such-folder", "--seed", "-1"], "seed=-1: it must be at least 0"),
        (["plot", "no-such-folder", "--out", "runs"], "out=runs: choose a file name that ends with one of ('.png', '.pdf', '.svg')"),
        (["maps", "no-such-folder", "--out", "m"], "out=m: choose a file name that ends with"),
        (["audit", "no-such-folder", "--out", "m"], "out=m: choose a file name that ends with"),
        (["audit", "no-such-folder", "--csv", "."], "csv=. is a folder"),
        (["report", "no-such-folder", "--level", "-1"], "level=-1"),
        (["train", "CartPole-v1", "--num-options", "0"], "num_options"),
        (["train", "NoSuchTask-v0"], "NoSuchTask"),
        (["train", "MiniGrid-Nowhere-v0"], "MiniGrid-Nowhere"),
        (["train", "nowhere:There-v0"], "nowhere"),
        (["evaluate", "no-such-folder"], "holds no agent"),
        (["gradients", "--num-options", "1"], "num_options=1: it must be at least 2"),
        (["gradients", "--out", "missing/forms.txt"], "there is no folder missing"),
        (["gradients", "Nowhere-v0"], "env_id=Nowhere-v0"),
        (["reproduce", "four-rooms", "--only", "three rooms"], "'text: 4 options, learned π_Ω'"),
        (["reproduce", "figure5", "--plot-only", "--folder", "no-such-folder"], "holds no rows"),
    ],
)
def test_bad_input_ends_in_one_line(monkeypatch, tmp_path, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.startswith("optioncoagent: error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_wrong_value_in_a_sweeps_file_ends_in_one_line(monkeypatch, tmp_path, capsys):
    (tmp_path / "many.toml").write_text('tasks = ["CartPole-v1"]\ntotal_timesteps = "many"\n')
    for file, message in (
        ("many.toml", "total_timesteps = 'many': train's --total-timesteps takes no such value"),
        ("none.toml", "is not a file"),
    ):
        with pytest.raises(SystemExit):
            run(monkeypatch, "sweep", tmp_path / file, "--folder", tmp_path / "sweep")
        given = capsys.readouterr()
        assert message in given.err and given.err.count("\n") == 1 and not given.out


def test_what_an_environment_raises_is_told_with_where_it_was(monkeypatch, tmp_path):
    """It is a mistake in somebody's code, which a line cannot tell: `main` lets it through, and Python prints the traceback."""
    (tmp_path / "of_mine.py").write_text(
        "import gymnasium as gym\nfrom gymnasium.envs.classic_control import CartPoleEnv\n\nclass Mine(CartPoleEnv):\n"
        "    def step(self, action):\n        return super().step(action + None)\n\ngym.register('OfMine-v0', Mine)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError) as raised:
        run(monkeypatch, "train", "of_mine:OfMine-v0", "--run-dir", "run", *SMALL)
    assert any(frame.path.name == "of_mine.py" for frame in raised.traceback)
    where, kept = raised.value.__notes__
    assert where.startswith("raised by step of environment 0") and kept.startswith("there is no checkpoint yet; the same settings again: ")


def test_a_terminal_without_our_signs_takes_nothing_away(tmp_path):
    command = "from optioncoagent.cli import main; main()"
    arguments = ["train", "CartPole-v1", "--total-timesteps", "64", "--run-dir", str(tmp_path / "run"), *SMALL]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True, env=environment)
    assert process.returncode == 0 and r"\xb1" in process.stdout and (tmp_path / "run" / "evaluation.json").exists()


def test_of_several_runs_none_is_evaluated_where_one_cannot_be_read(monkeypatch, tmp_path, capsys):
    oc.OptionCritic("CartPole-v1", num_options=2, num_envs=2, hidden_sizes=(8,)).save(tmp_path / "whole")
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "evaluate", tmp_path / "whole", tmp_path / "missing")
    assert capsys.readouterr().out == ""


def test_an_interrupted_evaluation_reports_what_has_finished(monkeypatch, tmp_path, capsys):
    oc.OptionCritic("CartPole-v1", num_options=2, num_envs=2, hidden_sizes=(8,)).save(tmp_path)

    def interrupted_after(num_steps):
        def make(*arguments):
            env = make_vector_env(*arguments)
            steps, whole = iter(range(num_steps)), env.step
            env.step = lambda action: whole(action) if next(steps, None) is not None else signal.raise_signal(signal.SIGINT)
            return env

        monkeypatch.setattr(evaluation, "make_vector_env", make)

    interrupted_after(200)
    run(monkeypatch, "evaluate", tmp_path, "--num-episodes", 1000)
    stopped, result = capsys.readouterr().out.strip().splitlines()
    finished = int(result.split(" episodes: return")[0])
    assert 0 < finished < 100 and stopped.startswith(f"stopped after {finished} of 1000 episodes")
    interrupted_after(200)
    oc.OptionCritic.load(tmp_path).save(tmp_path / "other")
    run(monkeypatch, "evaluate", tmp_path, tmp_path / "other", "--num-episodes", 1000)  # of which the second is not begun
    assert len(re.findall(r"episodes: return", capsys.readouterr().out)) == 1
    interrupted_after(3)
    with pytest.raises(SystemExit, match="130"):
        run(monkeypatch, "evaluate", tmp_path)
    assert capsys.readouterr() == ("", "stopped\n")


def test_a_reader_who_has_enough_is_no_error():
    """As `optioncoagent … | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = "from optioncoagent.cli import main; main()"
    process = subprocess.run([sys.executable, "-c", command, "train", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert process.returncode == 1 and process.stderr == ""


def test_an_interrupt_keeps_the_agent(tmp_path):
    """And says which runs were not begun; whoever called sees that it is not over."""
    folder = tmp_path / "CartPole-v1-seed0"
    command = "from optioncoagent.cli import main; main()"
    arguments = ["train", "CartPole-v1", "--seeds", "0", "1", "--total-timesteps", "100000000", "--run-dir", str(tmp_path), *SMALL]
    process = subprocess.Popen([sys.executable, "-c", command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "metrics.csv").exists() or not (folder / "metrics.csv").read_text().count("\n") > 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (
        process.returncode == 130
        and "the agent is kept in" in output
        and "not begun: CartPole-v1-seed1\n" in output
        and "Traceback" not in errors
    )
    assert oc.OptionCritic.load(folder).num_timesteps >= 64


def test_the_help_in_a_terminal_of_one_column():
    command = [sys.executable, "-c", "from optioncoagent.cli import main; main()", "plot", "--help"]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": "1"}, capture_output=True, text=True, timeout=60, check=True)
    assert "usage: optioncoagent plot" in done.stdout


@pytest.mark.filterwarnings("ignore:.*had not ended:UserWarning")
@pytest.mark.parametrize(
    "flags, given", [(["--seed", 7], {"seed": 7}), (["--deterministic"], {"deterministic": True}), (["--max-steps", 12], {"max_steps": 12})]
)
def test_flags_of_evaluate_reach_the_episodes(monkeypatch, tmp_path, capsys, flags, given):
    """--seed, --deterministic and --max-steps reach the episodes."""
    agent = oc.OptionCritic("CartPole-v1", num_options=2, num_envs=2, hidden_sizes=(4,))
    agent.save(tmp_path / "a")
    assert str(agent.evaluate(4, **given)) != str(agent.evaluate(4))
    run(monkeypatch, "evaluate", tmp_path / "a", "--num-episodes", 4, *flags)
    assert capsys.readouterr().out == f"{agent.evaluate(4, **given)}\n"
