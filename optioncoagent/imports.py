"""What an environment's id says: its plain name, and which modules it may bring in, on the command line.

An id that the caller types, as in `optioncoagent train my_module:My-v0`, is the caller's word: the module is imported, and may lie in the
working directory (`allow_working_directory`), last on the path, so that no file there stands in for an installed module.

An id that a saved agent names is data out of a folder, and a folder shall not choose which code runs. In Python, loading imports nothing:
the agent acts, and to make its environment the module has to be imported by the caller before. The command line has no place to write an
import, so it imports such a module if it lies in the working directory itself (a file, or a package with an __init__.py) and not in the
run's folder, and says so (`import_own`). That is the user's own code, as with `python -m`. Any other module has to be named by the caller
with `--module`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

RAISED_BY = "raised by"  # so begins the note on what the caller's environment raised in the middle of something


def plain_id(env_id: str) -> str:
    """An id without its module and this project's namespace: of "optioncoagent_envs:OptionCoagent/MiniGrid-Empty-5x5-v0" MiniGrid's own."""
    return env_id.rpartition(":")[2].removeprefix("OptionCoagent/")


def full_id(env_id: str) -> str:
    """An id with the module that registers it, where that is this project's, whose namespace Gymnasium does not know by itself."""
    return f"optioncoagent_envs:{env_id}" if env_id.startswith("OptionCoagent/") else env_id


def is_minigrid_id(env_id: str) -> bool:
    """Is this the id of one of MiniGrid's own environments, by its name?"""
    return plain_id(env_id).startswith(("MiniGrid-", "BabyAI-"))


def allow_working_directory() -> None:
    """Let modules of the working directory be imported, after all others; a console script has it not on its path."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def import_named(modules: Iterable[str]) -> None:
    """Import what the caller names."""
    allow_working_directory()
    for module in modules:
        import_module(module)


def named(name: str) -> Any:
    """What the caller names as MODULE:NAME. Raises ValueError for another form of a name, ImportError where there is no such thing."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError(f"{name!r} names nothing: write MODULE:NAME, such as my_module:describe")
    allow_working_directory()
    found = import_module(module)
    if not hasattr(found, attribute):
        raise ImportError(f"{name}: {module} ({getattr(found, '__file__', 'built in')}) has no {attribute}")
    return getattr(found, attribute)


def import_own(env_id: str | None, run_dir: Path) -> None:
    """Import the module that a saved agent's id names if it is the user's own by the rule above; otherwise do nothing, and making the
    environment says what to do."""
    module = (env_id or "").rpartition(":")[0]
    if not module or module in sys.modules:
        return
    here, folder = Path.cwd().resolve(), run_dir.resolve()
    found = PathFinder.find_spec(module.partition(".")[0], [str(here)])
    origin = Path(found.origin).resolve() if found is not None and found.origin is not None else None
    if origin is None or origin not in (here / f"{found.name}.py", here / found.name / "__init__.py") or folder in origin.parents:  # type: ignore[union-attr]
        return
    print(f"importing {module} ({origin}), which {run_dir} was trained with")
    allow_working_directory()
    import_module(module)
