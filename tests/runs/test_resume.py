"""`optioncoagent train --resume`: a run that was stopped ends as if it had not been."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import gymnasium as gym
import pytest
from run_folders import RUN, events_of, rows_of, started, stopped_after
from small import same

import optioncoagent as oc
from optioncoagent.agents import evaluation, files
from optioncoagent.cli import main
from optioncoagent.runs import folder as run_folder
from optioncoagent.runs import training


def final_files(folder):
    last = files.checkpoints(folder)[0]
    return {path.name: path.read_bytes() for path in last.iterdir() if path.name != "run.json"}


def resume(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["optioncoagent", "train", "--resume", *map(str, arguments)])
    main()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return started(tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_as_the_undisturbed_one(monkeypatch, tmp_path, capsys, whole, how):
    stopped_after(monkeypatch, 3, how)
    folder = started(tmp_path / "run", checkpoint_seconds=60.0)
    assert len(rows_of(folder)["timesteps"]) == 3 and f"train --resume {folder}" in capsys.readouterr().out
    stopped_after(monkeypatch, 2, how)
    with pytest.raises(SystemExit) as stopped:
        resume(monkeypatch, folder)
    assert stopped.value.code == 130
    assert "goes on from step 192" in capsys.readouterr().out and len(rows_of(folder)["timesteps"]) == 5
    resume(monkeypatch, folder)
    assert same(rows_of(folder), rows_of(whole)) and events_of(folder) == events_of(whole) and final_files(folder) == final_files(whole)
    assert (folder / "evaluation.json").read_text() == (whole / "evaluation.json").read_text()
    resume(monkeypatch, folder)
    assert capsys.readouterr().out.endswith("has finished, after 512 steps\n")


def test_a_run_that_is_stopped_in_its_last_update_is_not_evaluated(monkeypatch, tmp_path, capsys, whole):
    stopped_after(monkeypatch, 8)
    folder = tmp_path / "run"
    assert training.start(RUN, folder) is False
    assert "stopped after 512 steps" in capsys.readouterr().out and not (folder / "evaluation.json").exists()
    assert training.resume(folder) and same(rows_of(folder), rows_of(whole))
    assert (folder / "evaluation.json").read_text() == (whole / "evaluation.json").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        dict(settings=replace(RUN.settings, int_coef=0.1)),
        dict(settings=replace(RUN.settings, recurrent_size=5)),
        dict(env_kwargs={"view": "full"}),
        dict(num_options=(2, 3)),
    ],
    ids=["exploration", "recurrence", "env_kwargs", "levels"],
)
def test_whatever_is_trained_goes_on_bit_for_bit(monkeypatch, tmp_path, changes):
    whole = started(tmp_path / "whole", **changes)
    stopped_after(monkeypatch, 3)
    folder = started(tmp_path / "run", **changes)
    training.resume(folder)
    assert same(rows_of(folder), rows_of(whole)) and final_files(folder) == final_files(whole)


def test_rows_after_the_checkpoint_are_written_again_not_twice(tmp_path, whole):
    """Of a run that was killed, the files hold more than the checkpoint knows, and end in the middle of a line."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    shutil.rmtree(files.checkpoints(folder)[0])
    (folder / "evaluation.json").unlink()
    for name in ("metrics.csv", next(folder.glob("events*")).name):
        with (folder / name).open("ab") as file:
            file.write(b"576.0,1")
    assert training.resume(folder)
    assert same(rows_of(folder), rows_of(whole)) and events_of(folder) == events_of(whole) and final_files(folder) == final_files(whole)


def test_a_run_without_a_checkpoint_starts_anew(tmp_path, capsys, whole):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoints")
    assert training.resume(folder) and "starts over" in capsys.readouterr().out
    assert same(rows_of(folder), rows_of(whole)) and events_of(folder) == events_of(whole) and final_files(folder) == final_files(whole)


def test_missing_rows_do_not_stop_a_run(tmp_path, whole):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    shutil.rmtree(files.checkpoints(folder)[0])
    for path in (folder / "metrics.csv", folder / "evaluation.json"):
        path.unlink()
    assert training.resume(folder)
    assert rows_of(folder)["timesteps"].tolist() == [512] and final_files(folder) == final_files(whole)


def test_other_environments_start_their_episodes_anew(monkeypatch, tmp_path, capsys):
    stopped_after(monkeypatch, 2)
    folder = started(tmp_path / "run", env_id="CartPole-v1")
    assert training.resume(folder)
    assert "the state of CartPole-v1 cannot be kept: its episodes start anew" in capsys.readouterr().out
    assert rows_of(folder)["timesteps"].tolist() == list(range(64, 513, 64))


def test_the_run_s_own_settings_are_used_and_no_others_taken(monkeypatch, tmp_path, capsys):
    stopped_after(monkeypatch, 1)
    folder = started(tmp_path / "run", num_options=(2, 3), gradient_form="advantage", deliberation_cost=0.1)
    for more, name in ((["--gamma", "0.99"], "--gamma"), (["--total-timesteps=100"], "--total-timesteps"), (["--seeds"], "--seeds")):
        with pytest.raises(SystemExit):
            resume(monkeypatch, folder, *more)
        assert f"the run's own settings: leave out {name}\n" in capsys.readouterr().err
    resume(monkeypatch, folder)
    agent = oc.OptionCritic.load(folder)
    assert agent.settings == replace(RUN.settings, int_coef=0.005, int_counts="place") and agent.num_timesteps == RUN.total_timesteps
    assert agent.description["num_options"] == [2, 3] and agent.description["deliberation_cost"] == 0.1


def test_an_evaluation_that_was_stopped_is_not_the_end(monkeypatch, tmp_path, capsys):
    """Of several seeds the next one is not begun, and the run is gone on with."""
    real = evaluation.run_episodes

    def stopped(*arguments, **settings):
        for number, episode in enumerate(real(*arguments, **settings)):
            if number == 1:
                raise KeyboardInterrupt
            yield episode

    monkeypatch.setattr(evaluation, "run_episodes", stopped)
    folder = tmp_path / "run"
    assert training.start(replace(RUN, eval_episodes=3), folder) is False
    assert f"train --resume {folder}" in capsys.readouterr().out and not (folder / "evaluation.json").exists()
    monkeypatch.undo()
    assert training.resume(folder) and (folder / "evaluation.json").exists()
    evaluated = (folder / "evaluation.json").read_bytes()
    (folder / "evaluation.json").write_text('{"returns": [], "lengths": []}')
    with pytest.raises(ValueError, match="evaluation.json is damaged .*; delete it, and what trained there, run again, evaluates anew"):
        training.resume(folder)
    (folder / "evaluation.json").unlink()
    assert training.resume(folder) and (folder / "evaluation.json").read_bytes() == evaluated


def test_a_run_on_an_environment_of_a_module_goes_on_where_the_module_is_named(monkeypatch, tmp_path, capsys):
    """A folder alone does not choose what is imported (see `imports`)."""
    (tmp_path / "some_wheels.py").write_text(
        "import gymnasium\ngymnasium.register('Wheels-v0', 'gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=50)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    stopped_after(monkeypatch, 1)
    folder = started(tmp_path / "run", env_id="some_wheels:Wheels-v0")
    del sys.modules["some_wheels"]
    with pytest.raises(SystemExit):
        resume(monkeypatch, folder)
    assert "import some_wheels before" in capsys.readouterr().err and "some_wheels" not in sys.modules
    del gym.registry["Wheels-v0"]
    resume(monkeypatch, folder, "--module", "some_wheels")
    assert oc.OptionCritic.load(folder).num_timesteps == RUN.total_timesteps
    del gym.registry["Wheels-v0"]


def test_a_second_process_is_kept_out(tmp_path, whole):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    hold = "from pathlib import Path; from optioncoagent.runs.folder import locked"
    command = f"{hold}\nwith locked(Path({str(folder)!r})): print(1, flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"1\n"
    with pytest.raises(OSError, match="another process trains there"):
        training.resume(folder)
    other.kill()  # which releases the lock
    other.communicate()
    training.resume(folder)


def test_a_folder_that_is_no_run_s_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no config.json"):
        training.resume(tmp_path)
    run_folder.write_json(tmp_path / "config.json", {"something": "else"})
    with pytest.raises(ValueError, match="config.json is damaged, or of another version"):
        training.resume(tmp_path)


def test_a_process_that_is_terminated_keeps_its_agent(tmp_path):
    folder = tmp_path / "run"
    arguments = ["train", RUN.env_id, "--total-timesteps", "100000000", "--run-dir", str(folder), "--num-envs", "4", "--num-steps", "16"]
    command = [sys.executable, "-c", "from optioncoagent.cli import main; main()", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.monotonic() + 120
    while not (folder / "metrics.csv").exists() or (folder / "metrics.csv").read_text().count("\n") < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "the agent is kept in" in output and "Traceback" not in errors
    assert oc.OptionCritic.load(folder).num_timesteps == rows_of(folder)["timesteps"][-1]


def test_a_run_begun_before_there_was_a_choice_keeps_what_it_did():
    """Its config.json does not know the settings; nor do agents of 0.1.0."""
    content = json.loads(json.dumps(asdict(RUN)))
    now = {"encoder_gradient": "sampled", "target_kl": 0.05, "int_coef": None, "int_counts": "auto", "normalize_rewards": True}
    before = {"encoder_gradient": "all", "target_kl": None, "int_coef": 0.0, "int_counts": "observation", "normalize_rewards": False}
    assert {name: getattr(training.Run.from_json(content).settings, name) for name in now} == now
    for name in now:
        del content["settings"][name]
    assert {name: getattr(training.Run.from_json(content).settings, name) for name in now} == before
    agent = oc.OptionCritic.load(Path(__file__).parents[1] / "data" / "agent-0.1.0")
    assert {name: getattr(agent.settings, name) for name in now} == before and agent.shaping is None


def test_the_form_reaches_the_agent(monkeypatch, tmp_path):
    folder = started(tmp_path / "run", gradient_form="advantage", total_timesteps=64)
    agent = oc.OptionCritic.load(folder)
    assert agent.description["gradient_form"] == "advantage" and agent.forms["termination"] == "difference"


def test_the_last_evaluation_is_the_one_that_evaluate_repeats(tmp_path):
    """The evaluation at the end of a run is the one that `evaluate` repeats: of seeds apart from training's."""
    folder = started(tmp_path / "run", total_timesteps=64, eval_episodes=5)
    told, again = json.loads((folder / "evaluation.json").read_text()), oc.OptionCritic.load(folder).evaluate(5)
    assert told["returns"] == again.returns.tolist() and told["lengths"] == again.lengths.tolist()
