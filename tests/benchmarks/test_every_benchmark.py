"""Every script of benchmarks/ can be imported: what it needs of the library is there, by the names that it uses."""

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_is_imported_and_says_what_it_claims(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    path = FOLDER / f"{name}.py"
    assert ast.get_docstring(ast.parse(path.read_text()))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
