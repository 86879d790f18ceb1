"""The house as its package docstrings and the README draw it."""

import ast
import re
from pathlib import Path

import pytest

import optioncoagent

ROOT = Path(optioncoagent.__file__).parent
COMMON = {"compiling", "imports", "outputs"}  # what rooms share that is about nothing of theirs
MAY_IMPORT = {
    "network": set(),
    "gallery": {"network"},
    "mdp": {"network", "optioncoagent_envs"},
    "exact": {"network", "gallery", "mdp"},
    "simulate": {"network", "mdp"},
    "agents": {"network", "gallery", "optioncoagent_envs"},
    "auditing": {"network", "gallery", "mdp", "exact", "agents"},
    "maps": {"network", "gallery", "mdp", "exact", "agents", "optioncoagent_envs"},
    "runs": {"network", "gallery", "agents"},
    "report": {"agents", "maps", "runs"},
}
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def imported(room):
    """{what is imported of the two packages, in functions too: the first file that does}."""
    found = {}
    for path in [ROOT / f"{room}.py"] if (ROOT / f"{room}.py").exists() else sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            for package, other, *_ in ([*name.split("."), ""] for name in names):
                if package in ("optioncoagent", "optioncoagent_envs"):
                    found.setdefault(other if package == "optioncoagent" else package, path.name)
    return {other: file for other, file in found.items() if other not in ("", room, *COMMON)}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_point_one_way(room):
    assert {other: file for other, file in imported(room).items() if other not in MAY_IMPORT[room]} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_s_docstring_names_all_its_modules(room):
    drawn = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
    modules = [path.stem for path in sorted((ROOT / room).glob("*.py")) if path.stem != "__init__"]
    assert modules and [name for name in modules if not re.search(rf"\b{name}\b", drawn)] == []


def test_the_environments_know_nothing_of_agents():
    import optioncoagent_envs

    for path in Path(optioncoagent_envs.__file__).parent.rglob("*.py"):
        assert not re.search(r"^\s*(from|import) optioncoagent\b", path.read_text(), re.MULTILINE), path


def test_every_room_stands_in_the_package_s_docstring():
    assert [room for room in ROOMS if not re.search(rf"\b{room}\b", optioncoagent.__doc__)] == []


def test_names_of_the_package_are_names():
    names = {*dir(optioncoagent)}
    assert all(name.isidentifier() for name in names) and {*optioncoagent.__all__, "runs", "maps"} <= names
