"""Packages whose modules load when something of them is asked for (PEP 562): torch, minigrid and matplotlib only where they are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any


def load(package: str, modules: Mapping[str, Iterable[str]], name: str) -> Any:
    """What `name` is in a package, of its modules {module: names}: one of them, or of their names. AttributeError for any other."""
    if name in modules:
        return import_module(f"{package}.{name}")
    for module, names in modules.items():
        if name in names:
            return getattr(import_module(f"{package}.{module}"), name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
