"""Sweeps: what is refused before anything starts, what is run, tried again, left for later and gathered."""

import csv
import functools
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import gymnasium as gym
import pytest
import stand_in
import tyro

from optioncoagent.cli import Train, main
from optioncoagent.runs import specification, sweep, table, trial, workers
from optioncoagent.runs.folder import locked

TASK = "CartPole-v1"
CONTENT = {"tasks": [TASK], "seeds": 3, "threshold": 0.3, "total_timesteps": 384, "settings": {"a": {"num_options": 2}, "b": {}}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(workers, "PAUSE", 0.0)
    monkeypatch.setattr(workers, "LOOK", 0.05)


def spec(**changes):
    return specification.check({**CONTENT, **changes}, Train)


def run(chosen, folder, **settings):
    settings = {"workers": 2, "backend": "pool", "progress_bar": False, "command": stand_in.command(), **settings}
    return sweep.run_sweep(chosen, folder, **settings)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def untimed(path):
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows(path)]


def command_line(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["optioncoagent", *map(str, arguments)])
    main()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total_timestep": 100}, "unknown key 'total_timestep': did you mean 'total_timesteps'"),
        ({"settings": {"a": {"num-option": 3}}}, "settings.a has the unknown key 'num-option': did you mean 'num_options'"),
        ({"settings": {"a": {"seed": 3}}}, "settings.a has the key 'seed', which the sweep sets itself: use 'seeds'"),
        ({"run_dir": "x"}, "'run_dir', which the sweep sets itself"),
        ({"settings": {"a": {"gradient_form": "advantages"}}}, "settings.a.gradient_form = 'advantages'"),
        ({"learning_rate": "fast"}, "learning_rate = 'fast': train's --learning-rate"),
        ({"settings": {"a": {"num_envs": 0}}}, "settings.a: num_envs=0: it must be an integer of at least 1"),
        ({"settings": {"a": {"num_options": 0}}}, r"settings.a: num_options=\(0,\): give a number of at least 1"),
        ({"observation_kinds": {"image": "pixels"}}, r"'CartPole-v1' cannot be trained on \(observation_kinds names \['image'\]"),
        ({"module": ["no_such_module"]}, "settings.a: No module named 'no_such_module'"),
        ({"total_timesteps": 0}, "total_timesteps=0: it must be at least 1"),
        ({"settings": {"a/b": {}}}, "it names a folder"),
        ({"settings": {"..": {}}}, "it names a folder"),
        ({"settings": {"a": 3}}, "give tables"),
        ({"tasks": []}, "tasks = \\[\\]"),
        ({"tasks": "CartPole-v1"}, "give a list"),
        ({"tasks": [TASK, TASK]}, "'CartPole-v1' is there twice"),
        ({"tasks": [TASK, "MiniGrid-DoorKey-5x5-v7"]}, "'MiniGrid-DoorKey-5x5-v7' cannot be trained on"),
        ({"tasks": ["CartPol-v1"]}, "did you mean 'CartPole-v1'"),
        ({"seeds": 0}, "seeds = 0"),
        ({"seeds": [0, -1]}, "at least 0"),
        ({"seeds": [1, 1]}, "seeds: 1 is there twice"),
        ({"seeds": True}, "seeds = True"),
        ({"int_counts": "place", "int_coef": 0.1}, "settings.a: 'CartPole-v1' cannot be trained on .*does not tell places"),
        ({"ent_coefs": {"action_9": 0.1}}, r"'CartPole-v1' cannot be trained on \(ent_coefs names \['action_9'\]"),
        ({"settings": {"lr0": {"1": {"gamma": 0.9}}}}, "settings.lr0 has the unknown key '1': .* takes quotes"),
        ({"env_kwargs": ["render_mode=rgb_array"]}, "env_kwargs = .*: give a table"),
        ({"threshold": float("nan")}, "threshold = nan: give a return"),
        ({"threshold": {"CartPole-v0": 1.0}}, "threshold has the unknown key 'CartPole-v0': did you mean 'CartPole-v1'"),
        ({"threshold": "high"}, "threshold = 'high'"),
        ({"ent_coefs": {"termination": -1}}, r"ent_coefs\['termination'\]=-1.0"),
        ({"ent_coefs": {"end": 0}}, r"ent_coefs names \['end'\], but the coagents are \['termination', 'option', 'action'\]"),
        ({"ent_coefs": {"termination": "none"}}, "train's --ent-coefs takes no such value"),
        ({"ent_coefs": True}, "ent_coefs = True: train's --ent-coefs takes no such value"),
        ({"hidden_sizes": True}, "hidden_sizes = True: train's --hidden-sizes takes no such value"),
        ({"hidden_sizes": [64, "--anneal-lr"]}, "hidden_sizes = .*: train's --hidden-sizes takes no such value"),
        ({"module": ["--track"]}, "module = .*: train's --module takes no such value"),
    ],
)
def test_a_wrong_specification_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        spec(**change)


def test_flags_are_those_of_the_command_line():
    chosen = spec(normalize_advantages=False, hidden_sizes=[8, 8], seeds=[4], settings={"a": {"num_options": [2, 3], "hidden_sizes": [16]}})
    assert [trial.name for trial in chosen.trials] == ["CartPole-v1/a/4"]
    assert chosen.trials[0].arguments == (
        "CartPole-v1 --seed 4 --total-timesteps 384 --no-normalize-advantages --hidden-sizes 16 --num-options 2 3".split()
    )
    assert chosen.thresholds == {TASK: 0.3} and spec(threshold={TASK: 2}).thresholds == {TASK: 2.0}
    names = specification.flag_defaults(Train)
    assert {"num_options", "learning_rate", "eval_episodes"} <= {*names} and not {"env_id", "seed", "run_dir", "settings"} & {*names}


def test_tables_of_settings_are_those_of_the_command_line():
    tables = dict(ent_coefs={"termination": 0.0, "option": 0.02}, observation_kinds={"": "box"})
    trial = spec(settings={"a": tables}).trials[0]
    assert trial.arguments[-8:] == "--ent-coefs termination 0.0 option 0.02 --observation-kinds".split() + ["", "box"]
    settings = tyro.cli(Train, args=trial.arguments).settings
    assert {name: getattr(settings, name) for name in tables} == tables


def test_environments_are_made_with_what_a_setting_says():
    chosen = spec(tasks=["OptionCoagent/FourRooms-v0"], settings={"code": {"env_kwargs": {"dynamics": "code"}}, "text": {}})
    assert chosen.trials[0].arguments[-2:] == ["--env-kwargs", 'dynamics="code"'] and "--env-kwargs" not in chosen.trials[1].arguments
    with pytest.raises(ValueError, match="cannot be trained on .*dynamics='none'"):
        spec(tasks=["OptionCoagent/FourRooms-v0"], settings={"none": {"env_kwargs": {"dynamics": "none"}}})


def test_every_trial_is_a_run_and_the_table_says_what_they_came_to(tmp_path):
    chosen = spec()
    assert run(chosen, tmp_path) == {}
    text = sweep.gather(chosen, tmp_path)
    trials, table = rows(tmp_path / "trials.csv"), rows(tmp_path / "results.csv")
    assert [(row["setting"], row["seed"]) for row in trials] == [(name, str(seed)) for seed in range(3) for name in "ab"]
    assert {row["timesteps"] for row in trials} == {"384.0"}
    # return (update + seed) / 10 and 50 (update + 1) episodes: 0.3 after updates 3, 2 and, once 100 episodes are over, 1
    assert [row["frames_to_threshold"] for row in trials[::2]] == ["256.0", "192.0", "128.0"]
    # final returns (seed / 10 + 1) / 2
    assert [float(row["final_return_iqm"]) for row in table] == pytest.approx([0.55, 0.55])
    assert [table[0][f"final_return_{end}"] for end in ("low", "high")] == ["nan", "nan"]  # of three seeds
    assert (table[0]["reached"], table[0]["frames_to_threshold"], table[0]["unfinished"]) == ("3/3", "192.0", "0")
    assert " 0.550 " in text and text.count("\n") == 2


def test_damaged_files_of_a_sweep_are_named(tmp_path):
    chosen = spec(seeds=1)
    run(chosen, tmp_path)
    evaluation = tmp_path / chosen.trials[0].name / "evaluation.json"
    for content in ("{", "{}"):
        evaluation.write_text(content)
        for command in (sweep.gather, run):
            with pytest.raises(ValueError, match=r"evaluation\.json is damaged.*; delete it, and what trained there, run again"):
                command(chosen, tmp_path)
    evaluation.unlink()
    assert run(chosen, tmp_path) == {} and evaluation.exists()
    for content in ("", "{}", '{"settings": []}', '{"settings": {"a": 1}}', '{"settings": {}, "defaults": {"a": 1}}'):
        (tmp_path / "sweep.json").write_text(content)
        with pytest.raises(ValueError, match=r"sweep\.json is damaged"):
            run(chosen, tmp_path)


@pytest.mark.parametrize("content", ["", "timesteps,episodes,return_mean\n", "steps,episodes,return_mean\n1,2,3\n"])
def test_a_trial_whose_rows_are_damaged_counts_as_not_finished(content, tmp_path):
    """And the table has the others."""
    chosen = spec(seeds=2)
    run(chosen, tmp_path)
    (tmp_path / chosen.trials[0].name / "metrics.csv").write_text(content)
    with pytest.warns(UserWarning, match=r"(has no rows yet|no column timesteps); .* counts as not finished") as said:
        sweep.gather(chosen, tmp_path)
    assert len(said) == 1 and [row["unfinished"] for row in rows(tmp_path / "results.csv")] == ["1", "0"]


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "sweep.toml").write_bytes(b"\xef\xbb\xbf" + f'tasks = ["{TASK}"]\nseeds = 2\n'.encode())
    assert specification.read_specification(tmp_path / "sweep.toml", Train).tasks == (TASK,)


def test_a_threshold_that_some_do_not_reach_is_shown_so(tmp_path):
    chosen = spec(threshold=0.55, seeds=2)
    run(chosen, tmp_path)
    assert "1/2" in (text := sweep.gather(chosen, tmp_path)) and "not reached" not in text.splitlines()[0]
    assert [row["frames_to_threshold"] for row in rows(tmp_path / "results.csv")] == ["inf", "inf"]
    assert text.count("not reached") == 4


def test_several_tasks_are_also_taken_together(tmp_path):
    chosen = spec(tasks=[TASK, "Acrobot-v1"], seeds=2)
    run(chosen, tmp_path)
    sweep.gather(chosen, tmp_path)
    together = rows(tmp_path / "results.csv")[-1]
    assert (together["task"], together["setting"], together["seeds"], together["frames_to_threshold"]) == ("all tasks", "b", "4", "")


def test_settings_are_held_against_the_first_one():
    """By hand: on the first task 3 1/2 of 16 pairs are sooner by b (one tie), on the second all; the third has no threshold, and c no
    run that says. Of three seeds there is no interval."""
    frames = {("x", "a"): [1, 2, 3, 4], ("x", "b"): [2, 3.5, 4.5, math.inf], ("y", "a"): [9, 9, 9, 9], ("y", "b"): [1, 2, 3, 4]}
    trials = [
        {"task": task, "setting": name, "seed": seed, "finished": True, "final_return": 1.0}
        | ({"frames_to_threshold": float(x), "seconds_to_threshold": 1.0} if task != "z" else {})
        for (task, name), values in (frames | {("z", "a"): [0, 0], ("z", "b"): [0, 0]}).items()
        for seed, x in enumerate(values)
    ]
    chosen = SimpleNamespace(tasks=("x", "y", "z"), settings={"a": {}, "b": {}, "c": {}})
    by = {(row["task"], row["setting"]): row for row in table.summarise(chosen, trials)}
    assert by["x", "b"]["sooner"] == 3.5 / 16 and by["y", "b"]["sooner"] == 1 and by["all tasks", "b"]["sooner"] == (3.5 / 16 + 1) / 2
    assert by["x", "b"]["sooner_low"] < 3.5 / 16 < by["x", "b"]["sooner_high"] and by["y", "b"]["sooner_low"] == 1
    assert not any("sooner" in by[key] for key in [("x", "a"), ("z", "b"), ("x", "c"), ("all tasks", "c")])
    text = table.to_text(list(by.values())).splitlines()
    assert text[0].endswith("sooner than a (95 % from 4 seeds on)") and text[5].endswith("1.00 [1.00, 1.00]") and text[1].endswith("1")
    fewer = table.summarise(chosen, [trial for trial in trials if trial["seed"] < 3])
    assert table.to_text(fewer).splitlines()[5].endswith(" 1.00")


def test_a_mean_over_tasks_waits_until_each_has_as_many_seeds():
    """Two settings that come to the same on an easy and a hard task: with hard trials missing, a mean says more of the easy one."""
    returns = {("easy", "a"): [1.0] * 4, ("hard", "a"): [0.2] * 4, ("easy", "b"): [1.0] * 4, ("hard", "b"): [0.2]}
    trials = [
        {"task": task, "setting": name, "seed": seed, "finished": seed < len(values), "final_return": [*values, *[None] * 3][seed]}
        for (task, name), values in returns.items()
        for seed in range(4)
    ]
    chosen = SimpleNamespace(tasks=("easy", "hard"), settings={"a": {}, "b": {}})
    rows = {(row["task"], row["setting"]): row for row in table.summarise(chosen, trials)}
    assert [rows["all tasks", "a"][f"final_return_{name}"] for name in ("iqm", "low", "high")] == pytest.approx([0.6] * 3)
    assert math.isnan(rows["all tasks", "b"]["final_return_iqm"]) and rows["hard", "b"]["final_return_iqm"] == 0.2
    (line,) = [line for line in table.to_text(list(rows.values())).splitlines() if line.startswith("all tasks  b")]
    assert line.split() == ["all", "tasks", "b", "5", "(3", "missing)", "-"]


def test_three_seeds_of_the_first_setting_give_no_interval_either():
    trials = [
        {"task": "x", "setting": name, "seed": seed, "finished": True, "final_return": 1.0, "frames_to_threshold": 1.0 + seed}
        | {"seconds_to_threshold": 1.0}
        for name, seeds in (("a", 3), ("b", 4))
        for seed in range(seeds)
    ]
    rows = {row["setting"]: row for row in table.summarise(SimpleNamespace(tasks=("x",), settings={"a": {}, "b": {}}), trials)}
    assert rows["b"]["sooner"] > 0 and math.isnan(rows["b"]["sooner_low"])


def test_the_same_sweep_again_runs_only_what_is_missing(tmp_path):
    run(spec(seeds=2), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.csv")}
    assert len(before) == 4
    assert run(spec(settings={**CONTENT["settings"], "c": {}}), tmp_path) == {}
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.csv")}
    assert len(after) == 9 and before.items() <= after.items()
    with pytest.raises(FileExistsError, match="setting 'a' with other num_options"):
        run(spec(settings={"a": {"num_options": 3}}), tmp_path)


def test_two_sweeps_do_not_run_in_one_folder(tmp_path):
    with locked(tmp_path, "runs a sweep there"), pytest.raises(OSError, match="is in use: another process runs a sweep there"):
        run(spec(), tmp_path)
    assert not (tmp_path / "sweep.json").exists()


def test_a_sweep_does_not_go_on_under_other_defaults(tmp_path):
    """Of what its settings leave as it is; where nothing is to be run, or where there is no record of the defaults, it does not matter."""
    run(spec(seeds=1), tmp_path)
    path = tmp_path / "sweep.json"
    content = json.loads(path.read_text())
    assert content["defaults"]["b"]["num_options"] == [4] and content["defaults"]["a"]["target_kl"] == 0.05
    del content["defaults"]["a"]["target_kl"]  # there was no such flag, and no limit
    for name in "ab":
        del content["defaults"][name]["frozen"]  # nor this one, and its default is what was done
    content["defaults"]["b"]["num_options"] = content["defaults"]["a"]["num_options"] = [8]
    path.write_text(json.dumps(content))
    assert run(spec(seeds=1), tmp_path) == {}
    only = {name: {"settings": {name: CONTENT["settings"][name]}, "seeds": 2} for name in "ab"}
    with pytest.raises(FileExistsError, match="setting 'a' from when the defaults of target_kl were others"):
        run(spec(**only["a"]), tmp_path)  # its num_options are its own
    with pytest.raises(FileExistsError, match="setting 'b' from when the defaults of num_options were others"):
        run(spec(**only["b"]), tmp_path)
    assert not (tmp_path / TASK / "a" / "1").exists()
    assert run(spec(settings={"c": {}}, seeds=1), tmp_path) == {}  # a new setting has the defaults now
    del content["defaults"]
    path.write_text(json.dumps(content))
    assert run(spec(seeds=2), tmp_path) == {}


def test_a_sweep_goes_on_where_its_file_says_the_same_in_other_words(tmp_path):
    one = {"a": {"gamma": 1, "ent_coefs": {"option": 0.1, "action": 0.2}}}
    other = {"a": {"gamma": 1.0, "ent_coefs": {"action": 0.2, "option": 0.1}}}
    run(spec(settings=one, seeds=1), tmp_path)
    assert run(spec(settings=other, seeds=2), tmp_path) == {}


def test_a_setting_of_which_no_trial_was_begun_may_change(tmp_path):
    """As after a trial that could not even make its folder."""
    sweep._describe(spec(), tmp_path, {"a", "b"})
    changed = spec(settings={"a": {"num_options": 3}, "b": {}})
    sweep._describe(changed, tmp_path, {"a", "b"})
    assert json.loads((tmp_path / "sweep.json").read_text())["settings"]["a"]["num_options"] == 3
    (tmp_path / TASK / "a" / "0").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="setting 'a' with other num_options"):
        sweep._describe(spec(), tmp_path, {"a", "b"})


def test_the_modules_of_a_setting_are_imported_to_check_it_and_by_its_trials(tmp_path, monkeypatch):
    (tmp_path / "my_wheels.py").write_text(
        "import gymnasium\ngymnasium.register('MyWheels-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    chosen = spec(tasks=["MyWheels-v0"], settings={"a": {"module": ["my_wheels"], "num_options": 2}})
    job = trial.train_job(tmp_path / "0", chosen.trials[0].arguments, tmp_path)
    for words in (job.begin, job.resume):
        at = words.index("--module")
        assert words[at + 1] == "my_wheels" and (words[at + 2 :] == () or words[at + 2].startswith("--"))
    assert trial.train_job(tmp_path / "0", ["CartPole-v1", "--seed", "1"], tmp_path).resume == ("train", "--resume", str(tmp_path / "0"))
    del gym.registry["MyWheels-v0"]


def test_a_trial_that_fails_goes_on_from_where_it_was(tmp_path):
    chosen, whole, broken = spec(), tmp_path / "whole", tmp_path / "broken"
    run(chosen, whole)
    for name in ("a/0", "a/2", "b/1"):
        (broken / TASK / name).with_suffix(".breaks").parent.mkdir(parents=True, exist_ok=True)
        (broken / TASK / name).with_suffix(".breaks").touch()
    assert run(chosen, broken) == {}
    assert not list(broken.rglob("*.breaks"))
    log = (broken / TASK / "a" / "0.log").read_text()
    assert "from update 0" in log and "from update 3" in log
    for folder in (whole, broken):
        sweep.gather(chosen, folder)
    for name in ("trials.csv", "results.csv"):
        assert untimed(whole / name) == untimed(broken / name)


def test_a_trial_that_always_fails_is_reported(tmp_path, monkeypatch, capsys):
    (tmp_path / "sweep" / TASK / "b").mkdir(parents=True)
    (tmp_path / "sweep" / TASK / "b" / "1.broken").touch()
    (tmp_path / "spec.toml").write_text(f'tasks = ["{TASK}"]\nseeds = 2\n[settings.a]\n[settings.b]\n')
    monkeypatch.setattr(sweep, "run_sweep", functools.partial(sweep.run_sweep, command=stand_in.command()))
    arguments = ["sweep", tmp_path / "spec.toml", "--folder", tmp_path / "sweep", "--backend", "pool", "--retries", "1"]
    with pytest.raises(SystemExit) as stopped:
        command_line(monkeypatch, *arguments)
    captured = capsys.readouterr()
    assert stopped.value.code == 1 and "1 (1 missing)" in captured.out
    error = captured.err[captured.err.index("CartPole-v1/b/1 failed 2 times; exit status 3") :]
    assert error.splitlines()[2:] == ["    a first line", "    100%|##########", "    it broke"] and "from update 3" in error
    (tmp_path / "sweep" / TASK / "b" / "1.broken").unlink()
    command_line(monkeypatch, *arguments)
    assert "missing" not in capsys.readouterr().out


def test_an_interrupt_ends_every_trial_and_the_same_command_goes_on(tmp_path):
    (tmp_path / TASK / "a").mkdir(parents=True)
    (tmp_path / TASK / "a" / "1.waits").touch()
    chosen = spec(seeds=4, settings={"a": {}})

    def interrupt():
        while not (tmp_path / TASK / "a" / "1" / "metrics.csv").exists() or sweep.last_timestep(tmp_path / TASK / "a" / "1") < 192:
            time.sleep(0.05)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(chosen, tmp_path)
    thread.join()
    assert "told to end" in (tmp_path / TASK / "a" / "1.log").read_text()
    (tmp_path / TASK / "a" / "1.waits").unlink()
    assert run(chosen, tmp_path) == {}
    assert "from update 3" in (tmp_path / TASK / "a" / "1.log").read_text()


def test_a_run_ends_with_whoever_holds_its_leash(tmp_path):
    command = [sys.executable, "-m", "optioncoagent.leash", "train", TASK, "--total-timesteps", "100000000", "--num-envs", "4"]
    process = subprocess.Popen([*command, "--run-dir", str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        while sweep.last_timestep(tmp_path / "run") == 0:
            assert process.poll() is None
            time.sleep(0.1)
        process.stdin.close()
        assert process.wait(60) in (130, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def test_real_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "spec.toml").write_text(
        f'tasks = ["{TASK}"]\nseeds = [3]\ntotal_timesteps = 64\nnum_envs = 4\nnum_steps = 16\nhidden_sizes = [8]\neval_episodes = 3\n'
    )
    monkeypatch.chdir(tmp_path)
    command_line(monkeypatch, "sweep", "spec.toml", "--backend", "pool")
    assert "runs/spec/results.csv" in capsys.readouterr().out
    assert rows(tmp_path / "runs" / "spec" / "trials.csv")[0]["timesteps"] == "64.0"
    assert (tmp_path / "runs" / "spec" / TASK / "default" / "3" / "config.json").exists()


def test_where_trials_run(monkeypatch):
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="Ray is not installed"):
        workers.start_workers(1, "ray")
    with pytest.raises(ImportError, match="Ray is not installed"):
        workers.start_workers(1, address="127.0.0.1:6379")
    with pytest.raises(ValueError, match="only a Ray cluster"):
        workers.start_workers(1, "pool", "127.0.0.1:6379")
    with workers.start_workers(1) as submit:
        assert callable(submit)


def test_how_far_a_run_is(tmp_path):
    assert sweep.last_timestep(tmp_path) == 0
    for text, steps in (("timesteps,x\n", 0), ("x,timesteps\n1,64\n2,128\n3,19", 128), ("timesteps,x\n64.0,1\n", 64), ("x\n1\n", 0)):
        (tmp_path / "metrics.csv").write_text(text)
        assert sweep.last_timestep(tmp_path) == steps
    (tmp_path / "metrics.csv").write_text("timesteps,x\n" + "".join(f"{64 * i},1.25\n" for i in range(1, 20_000)))
    assert sweep.last_timestep(tmp_path) == 64 * 19_999 and os.path.getsize(tmp_path / "metrics.csv") > 100_000


def test_a_bar_counts_what_was_asked_for_and_its_speed_what_is_new(tmp_path):
    """The last rollout of a run goes beyond its end; what another sweep has run before is there at the start."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.csv").write_text("timesteps,x\n128,1\n")
    trials = [SimpleNamespace(name=name, total_timesteps=100) for name in ("a", "b")]
    with sweep._Bar(SimpleNamespace(trials=trials), tmp_path, shown=False) as bar:
        assert bar.bar.n == bar.bar.initial == 100 and bar.bar.total == 200


def test_the_final_return_is_a_mean(tmp_path):
    """The final return of a trial is the mean over its episodes: most of which may earn nothing."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "evaluation.json").write_text(json.dumps({"returns": [0.0, 0.0, 0.9], "lengths": [1, 1, 1]}))
    (tmp_path / "t" / "metrics.csv").write_text("timesteps,episodes,return_mean,seconds_acting\n64,3,0.3,1\n")
    trial = SimpleNamespace(name="t", task="T", setting="s", seed=0)
    (row,) = table.trial_rows(SimpleNamespace(trials=[trial], thresholds={}), tmp_path)
    assert row["final_return"] == pytest.approx(0.3)
