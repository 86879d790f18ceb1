"""Compiled code where its cache cannot be written, is damaged or is out of date, and where two processes write it at once.

No folder is made unwritable by its permissions, which mean nothing to root: a file stands where the folder should be.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import optioncoagent.compiling
import optioncoagent_envs.compiling

COMPILING = Path(optioncoagent_envs.compiling.__file__)
NOTHING_KEPT = "no folder can be written"
FUNCTIONS = """
from mine.compiling import njit
@njit(cache=True)
def changed(x):
    return x + 1
"""
CALLER = (
    "from mine.compiling import njit\nfrom mine.functions import changed\n@njit(cache=True)\ndef twice(x):\n    return 2 * changed(x)\n"
)
TEMPLATE = """
from types import FunctionType
from mine.compiling import njit
def _twice(x):
    return 2 * part(x)
def of(part):
    return njit(cache=True)(FunctionType(_twice.__code__, {**globals(), "part": part}, "twice"))
"""
STEP = "import optioncoagent_envs as e; env = e.make_minigrid({!r}, 2, seed=0); env.reset(); env.step([2, 2]); print(env.backend)"
SAMPLE = """
import numpy as np, optioncoagent as oc
mdp = oc.MDP(np.full((2, 2, 2), 0.5), np.ones((2, 2)), np.array([1.0, 0.0]), 0.5)
network = oc.option_critic(2, 2)
print(oc.estimate_return(mdp, network, network.init_params(2), 10).steps > 0)
"""


@pytest.fixture
def mine(tmp_path) -> Path:
    """A package with two compiled functions, of which one calls the other."""
    package = tmp_path / "mine"
    package.mkdir()
    shutil.copy(COMPILING, package / "compiling.py")
    for name, text in (("__init__", ""), ("functions", FUNCTIONS), ("caller", CALLER)):
        (package / f"{name}.py").write_text(text)
    return package


def started(folder: Path, code: str, **environment: str) -> subprocess.Popen:
    """A process that finds `folder` first; Numba's cache is where `environment` says, or in the folders of the packages."""
    rest = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    path = os.pathsep.join([str(folder), *(place for place in sys.path if place)])
    environment = rest | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment, text=True, **pipes)


def run(folder: Path, code: str, **environment: str) -> tuple[str, str]:
    """What such a process writes to standard output and to standard error."""
    process = started(folder, code, **environment)
    output, error = process.communicate()
    assert process.returncode == 0, error
    return output.strip(), error


def close(folder: Path) -> None:
    """Leaves no place for compiled code in a package."""
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (place / "__pycache__").touch()


def kept(folder: Path) -> bool:
    return any(folder.rglob("*.nbc"))


@pytest.mark.parametrize(
    ("given", "package", "home"),
    [(True, True, True), (False, True, True), (None, True, False), (None, False, True), (False, False, False), (None, False, False)],
)
def test_compiled_code_is_kept_where_there_is_a_place(mine, tmp_path, given, package, home):
    """In the folder given by the user, else in the package's, else in the home's; without any it still runs, and says so once."""
    places = {"given": tmp_path / "given", "mine": mine, "home": tmp_path / "home"}
    (tmp_path / "file").touch()
    environment = {"HOME": str(places["home"] if home else tmp_path / "file")}
    if given is not None:
        environment["NUMBA_CACHE_DIR"] = str(places["given"] if given else tmp_path / "file" / "folder")
    if not package:
        close(mine)
    output, error = run(tmp_path, "from mine.caller import twice; print(twice(3), twice(3.0))", **environment)
    assert output == "8 8.0"
    first = next((name for name, good in (("given", given), ("mine", package), ("home", home)) if good), None)
    assert [name for name, place in places.items() if kept(place)] == ([first] if first else [])
    assert error.count(NOTHING_KEPT) == (first is None)


@pytest.mark.parametrize(
    ("package", "code", "output"),
    [(COMPILING.parent, STEP.format("MiniGrid-Empty-5x5-v0"), "compiled"), (Path(optioncoagent.__file__).parent, SAMPLE, "True")],
)
def test_the_packages_run_where_nothing_can_be_written(tmp_path, package, code, output):
    copy = shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    close(copy)
    written, error = run(tmp_path, code, HOME="/dev/null")
    assert written == output and error.count(NOTHING_KEPT) == 1


def test_a_folder_that_goes_away(mine, tmp_path):
    code = (
        "import pathlib, shutil; from mine.caller import twice\nshutil.rmtree('{0}'); pathlib.Path('{0}').touch(); print(twice(3))".format(
            tmp_path / "given"
        )
    )
    output, error = run(tmp_path, code, NUMBA_CACHE_DIR=str(tmp_path / "given"))
    assert output == "8" and error.count(NOTHING_KEPT) == 1


def test_a_changed_function_is_compiled_anew_into_what_calls_it(mine, tmp_path):
    code = "from mine.caller import twice; print(twice(3), sum(twice.stats.cache_hits.values()))"
    assert [run(tmp_path, code)[0] for _ in range(2)] == ["8 0", "8 1"]
    (mine / "functions.py").write_text(FUNCTIONS.replace("x + 1", "x + 2"))
    assert run(tmp_path, code)[0] == "10 0"


def test_a_changed_function_is_compiled_anew_into_what_it_was_given_to(mine, tmp_path):
    """As a rule is to MiniGrid's step, whose file does not import the rule's."""
    (mine / "template.py").write_text(TEMPLATE)
    made = "from mine.functions import changed; from mine.template import of; twice = of(changed)"
    code = f"{made}; print(twice(3), sum(twice.stats.cache_hits.values()))"
    assert [run(tmp_path, code)[0] for _ in range(2)] == ["8 0", "8 1"]
    (mine / "functions.py").write_text(FUNCTIONS.replace("x + 1", "x + 2"))
    assert run(tmp_path, code)[0] == "10 0"


def test_a_file_that_two_signatures_were_given(mine, tmp_path):
    """As after two processes compiled at once, one for whole numbers and one for others."""
    for code in ("print(twice(3))", "print(twice(3.0))"):
        run(tmp_path, f"from mine.caller import twice; {code}")
    for name in ("functions.changed", "caller.twice"):
        one, two = sorted((mine / "__pycache__").glob(f"{name}*.nbc"))
        shutil.move(one, mine / "other"), shutil.move(two, one), shutil.move(mine / "other", two)
    for _ in range(2):
        assert run(tmp_path, "from mine.caller import twice; print(twice(3), twice(3.0))")[0] == "8 8.0"


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_a_file_cut_off(mine, tmp_path, ending):
    code = "from mine.caller import twice; print(twice(3), sum(twice.stats.cache_hits.values()))"
    run(tmp_path, code)
    for path in (mine / "__pycache__").glob(f"*.{ending}"):
        path.write_bytes(path.read_bytes()[:30])
    assert [run(tmp_path, code)[0] for _ in range(2)] == ["8 0", "8 1"]


def test_two_processes_compile_at_once(mine, tmp_path):
    code = "from mine.caller import twice; print(twice(3))"
    both = [started(tmp_path, code, NUMBA_CACHE_DIR=str(tmp_path / "given")) for _ in range(2)]
    assert [process.communicate() for process in both] == [("8\n", "")] * 2
    assert run(tmp_path, code, NUMBA_CACHE_DIR=str(tmp_path / "given")) == ("8", "")


@pytest.mark.slow
def test_two_processes_compile_the_same_rules_at_once(tmp_path):
    ids = ["MiniGrid-Empty-5x5-v0", "MiniGrid-LavaGapS5-v0"]
    both = [started(tmp_path, STEP.format(env_id), NUMBA_CACHE_DIR=str(tmp_path / "given")) for env_id in ids]
    for process in both:
        output, error = process.communicate()
        assert output.strip() == "compiled" and error == ""
    for env_id in ids:
        assert run(tmp_path, STEP.format(env_id), NUMBA_CACHE_DIR=str(tmp_path / "given")) == ("compiled", "")


def test_both_packages_have_the_same_file():
    assert Path(optioncoagent.compiling.__file__).read_text() == COMPILING.read_text()
