"""Flags of the command line beyond their parser: settings of the environment, other names, modules of one's own, where help is."""

import subprocess
import sys
from pathlib import Path

import pytest

import optioncoagent as oc
from optioncoagent.cli import main
from optioncoagent.flags import env_kwargs
from optioncoagent.imports import import_named, import_own

FEW = ["--total-timesteps", "64", "--num-envs", "2", "--num-steps", "8", "--eval-episodes", "2", "--run-dir", "run"]
MODULE = """import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv
gym.register('My-v0', CartPoleEnv, max_episode_steps=20)
"""


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["optioncoagent", *arguments])
    main()


def command(folder, *arguments):
    """As the console script runs it: without the working directory on the path."""
    roots = [str(Path(oc.__file__).parents[1]), str(Path(oc.__file__).parents[1] / "envs")]
    code = f"import sys; sys.path[:0] = {roots}; from optioncoagent.cli import main; main()"
    return subprocess.run([sys.executable, "-P", "-c", code, *arguments], cwd=folder, capture_output=True, text=True)


def test_settings_of_the_environment():
    assert env_kwargs([]) == {}
    assert env_kwargs(["view=full", "size=7", "slip=0.5", "wide=true", "goal=[1, 2]", 'name="7"', "text=a=b", "none=null"]) == {
        "view": "full", "size": 7, "slip": 0.5, "wide": True, "goal": [1, 2], "name": "7", "text": "a=b", "none": None,
    }  # fmt: skip
    assert env_kwargs(["a=True", "b=False", "c=None", 'd="False"', "e=falsch"]) == dict(a=True, b=False, c=None, d="False", e="falsch")
    assert env_kwargs(['{"view": "full", "size": 7}', "slip=8"]) == {"view": "full", "size": 7, "slip": 8}
    for words in (["size=6", "size=7"], ['{"size": 7}', "size=7"]):
        with pytest.raises(ValueError, match="size=7: size is given twice"):
            env_kwargs(words)
    for word in ("view", "=3", "a-b=3", "{view}"):
        with pytest.raises(ValueError, match=f"--env-kwargs {word}"):
            env_kwargs([word])


def test_a_run_of_an_environment_with_settings(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "train", "MiniGrid-Empty-5x5-v0", "--env-kwargs", "view=full", "size=7", *FEW)
    printed = capsys.readouterr().out
    assert (
        "observation['image']: cells (7, 7, 3), MiniGrid's codes, an indicator for each value" in printed
        and "observation['direction']: discrete" in printed
    )
    assert oc.OptionCritic.load("run").interface.env_kwargs == {"view": "full", "size": 7}
    run(monkeypatch, "evaluate", "run", "--num-episodes", "2")
    assert "2 episodes: return" in capsys.readouterr().out


def test_what_a_part_is_can_be_said(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "train", "CartPole-v1", "--observation-kinds", "", "slope", *FEW)
    assert "observation: slope (4,), slopes, as angles" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flag, ours",
    [
        ("--lr", "--learning-rate"),
        ("--n-epochs=3", "--update-epochs"),
        ("--clip_range", "--clip-coef"),
        ("--batch-size", "--num-minibatches"),
    ],
)
def test_flags_by_other_names_are_told_ours(monkeypatch, capsys, flag, ours):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "train", "CartPole-v1", flag, "3")
    error = capsys.readouterr().err
    assert f"there is no {flag.partition('=')[0]}: here it is {ours}" in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["train", "evaluate", "gradients", "reproduce"])
def test_a_bad_flag_points_at_the_help_of_its_command(monkeypatch, capsys, name):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, name, "--nonsense", "3")
    captured = capsys.readouterr()
    assert f"optioncoagent {name} --help" in captured.err + captured.out


def test_version(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, "--version")
    assert capsys.readouterr().out == f"optioncoagent {oc.__version__}\n"


def test_an_id_of_ones_own(tmp_path):
    """Trained on from the folder of its module, evaluated there with no further word; a file there stands in for no installed module."""
    (tmp_path / "my_module.py").write_text(MODULE)
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong module')\n")
    trained = command(tmp_path, "train", "my_module:My-v0", *FEW)
    assert trained.returncode == 0, trained.stderr
    evaluated = command(tmp_path, "evaluate", "run", "--num-episodes", "2")
    assert evaluated.returncode == 0, evaluated.stderr
    assert f"importing my_module ({tmp_path.resolve() / 'my_module.py'}), which run was trained with" in evaluated.stdout


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Two working directories, each with a module of its own, and a run in the first that has one too; nothing imported stays."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for folder in ("first", "second", "first/run", "first/package"):
        (tmp_path / folder).mkdir()
    for name in (
        "first/in_first",
        "second/in_second",
        "first/run/in_run",
        "first/run/__init__",
        "first/package/__init__",
        "first/package/part",
    ):
        (tmp_path / f"{name}.py").write_text("")
    return tmp_path / "first", tmp_path / "second"


@pytest.mark.parametrize(
    "where, named, imported",
    [
        (0, "in_first", True),
        (0, "package", True),
        (0, "package.part", True),
        (1, "in_first", False),  # elsewhere
        (0, "in_second", False),
        (0, "in_run", False),
        (0, "run", False),  # the run's folder says that it is a package
        (0, "run.in_run", False),
        ("run", "in_run", False),  # the working directory is the run's folder
        (0, "nowhere", False),
        (0, "../second/in_second", False),
        (0, ".in_first", False),
        (0, "wave", False),  # installed, or of the standard library
    ],
)
def test_what_a_folder_names_is_imported_from_the_working_directory_only(monkeypatch, folders, capsys, where, named, imported):
    run_dir = folders[0] / "run"
    monkeypatch.chdir(run_dir if where == "run" else folders[where])
    monkeypatch.delitem(sys.modules, named, raising=False)
    import_own(f"{named}:My-v0", run_dir)
    assert (named in sys.modules) == imported
    assert capsys.readouterr().out.startswith(f"importing {named} (") == imported


def test_an_installed_module_is_imported_where_the_caller_names_it(monkeypatch, folders):
    monkeypatch.chdir(folders[0])
    import_named(["in_first", "package.part"])
    assert {"in_first", "package.part"} <= set(sys.modules) and sys.path[-1] == str(folders[0])
    with pytest.raises(ImportError):
        import_named(["in_second"])
