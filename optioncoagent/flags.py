"""Flags that several commands share, and what the words after `optioncoagent train` mean beyond their parser: settings of the environment,
settings by other names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import tyro

from optioncoagent.agents.settings import ALIASES

RunDir = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN_DIR")]
RunDirs = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN_DIR …", help_behavior_hint="(required)")]
Modules = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="Modules to import first, which register the environment. One that only a saved run names is imported from the working "
        "directory."
    ),
]
Network = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="MODULE:NAME",
        help="What describes the network, a function of yours, if the run is no OptionCritic's but a CoagentActorCritic's. MODULE is "
        'imported: what it trains it does under `if __name__ == "__main__"`.',
    ),
]


def env_kwargs(words: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE words (view=full size=7 goals=[1,2]), or one JSON object, as keyword arguments.

    A value is read as JSON where it is JSON (7, 0.5, true, null, "text", [1, 2]), True, False and None as Python has them, and is text
    otherwise. Raises ValueError for a word that is neither, and for a key that is given twice.
    """
    given: dict[str, Any] = {}
    for word in words:
        new = _object(word) if word.startswith("{") else _pair(word)
        if twice := [key for key in new if key in given]:
            raise ValueError(f"--env-kwargs {word}: {twice[0]} is given twice")
        given |= new
    return given


def _pair(word: str) -> dict[str, Any]:
    key, equals, value = word.partition("=")
    if not equals or not key.isidentifier():
        raise ValueError(f"--env-kwargs {word}: give KEY=VALUE, as in view=full size=7, or a JSON object")
    try:
        return {key: json.loads(value)}
    except ValueError:
        return {key: {"True": True, "False": False, "None": None}.get(value, value)}


def _object(word: str) -> dict[str, Any]:
    try:
        return dict(json.loads(word))
    except ValueError as error:
        raise ValueError(f"--env-kwargs {word}: this is not a JSON object ({error})") from error


BESIDE_RESUME = ("resume", "module", "profile", "no_profile", "help")


def check_words(words: Iterable[str]) -> None:
    """Raise ValueError for a flag that is another library's or a short name of a setting, naming ours, and for one that would not be
    read beside another, at its default value too."""
    words = list(words)
    _refuse_other_names(words)
    typed = {word.partition("=")[0]: _name(word) for word in words if word.startswith("--")}
    unread = [flag for flag, name in typed.items() if name not in BESIDE_RESUME]
    if "resume" in typed.values() and unread:
        raise ValueError(f"--resume goes on with the run's own settings: leave out {', '.join(unread)}")
    if {"seed", "seeds"} <= {*typed.values()}:
        raise ValueError("--seed and --seeds: give one of them")
    if any(word == "--seeds" and after.startswith("--") for word, after in pairwise([*words, "--"])):
        raise ValueError("--seeds: give at least one")


def _name(flag: str) -> str:
    return flag.partition("=")[0].removeprefix("--").replace("-", "_")


def _refuse_other_names(words: Iterable[str]) -> None:
    for word in words:
        name = _name(word)
        if word.startswith("--") and name in ALIASES:
            ours, *more = ALIASES[name].split(maxsplit=1)
            flag = "the first argument, ENV_ID" if ours == "env_id" else f"--{ours.strip(',').replace('_', '-')}"
            raise ValueError(f"there is no {word.partition('=')[0]}: here it is {' '.join([flag, *more])}")
