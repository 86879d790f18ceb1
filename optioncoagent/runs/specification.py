"""What a sweep runs, as data in TOML: tasks, settings and seeds.

    tasks = ["MiniGrid-Empty-5x5-v0", "MiniGrid-DoorKey-5x5-v0"]
    seeds = 5                          # 0 … 4, or a list of them
    threshold = 0.9                    # optional: frames and seconds until the mean return is there, and how probable it is that a
                                       # setting is sooner there than the first one; or {task: number}
    total_timesteps = 200_000          # any flag of `optioncoagent train`, with underscores: for all settings …

    [settings.flat]                    # … and for one of them
    num_options = 1

    [settings.options]
    num_options = 4
    gradient_form = "advantage"
    env_kwargs = { view = "full" }
    ent_coefs = { termination = 0.0 }

Without settings there is one, "default". What the command line calls None is "None" here, as in target_kl = "None".
"""

from __future__ import annotations

import difflib
import io
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from optioncoagent.imports import import_named

KEYS = ("tasks", "seeds", "threshold", "settings")
SET_BY_THE_SWEEP = {"env_id": "tasks", "seed": "seeds", "seeds": "seeds", "run_dir": "", "resume": "", "profile": ""}
FLAG_PREFIXES = ("settings",)  # records whose fields are flags of their own

Flags = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    task: str
    setting: str
    seed: int
    flags: Flags
    total_timesteps: int

    @property
    def name(self) -> str:
        """Of its folder in the sweep's."""
        return f"{file_name(self.task)}/{self.setting}/{self.seed}"

    @property
    def arguments(self) -> list[str]:
        """Of `optioncoagent train`, without the folder."""
        return [self.task, "--seed", str(self.seed), *to_arguments(self.flags)]


@dataclass(frozen=True)
class Specification:
    """A checked specification: settings is {name: flags of train}, total_timesteps {name: what they come to}, thresholds {task: return},
    defaults what train takes for flags that are not given."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: dict[str, Flags]
    total_timesteps: dict[str, int]
    thresholds: dict[str, float]
    defaults: Flags

    @property
    def trials(self) -> list[Trial]:
        """Seed by seed, so that a sweep that is stopped early has something of everything."""
        return [
            Trial(task, name, seed, flags, self.total_timesteps[name])
            for seed in self.seeds
            for task in self.tasks
            for name, flags in self.settings.items()
        ]


def read_specification(path: Path, train: type) -> Specification:
    """Read and check a specification; train: the record that the command line makes of the flags of `optioncoagent train`.

    Raises ValueError that names the file, the key and, where there is one, the nearest right one; nothing is started for it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: a sweep takes one in TOML, see the docstring of optioncoagent.runs.specification")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return check(content, train)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def check(content: Mapping[str, Any], train: type) -> Specification:
    """The specification that TOML's content is; see `read_specification`."""
    defaults = flag_defaults(train)
    flags = [*defaults]
    for key in content:
        _known(key, [*KEYS, *flags], "the specification has")
    tasks, seeds = _tasks(content), _seeds(content)
    shared = {key: value for key, value in content.items() if key not in KEYS}
    settings = content.get("settings", {"default": {}})
    if not (isinstance(settings, dict) and settings and all(isinstance(own, dict) for own in settings.values())):
        raise ValueError("settings: give tables [settings.NAME], or none for train's defaults")
    for name, own in settings.items():
        if not re.fullmatch(r"[\w.+-]*\w[\w.+-]*", name):
            raise ValueError(f"settings.{name!r}: it names a folder, so use letters, digits and . _ + - only")
        for key, value in own.items():
            dots = " (a name with a dot in it takes quotes)" if isinstance(value, dict) and key not in flags else ""
            _known(key, flags, f"settings.{name} has", dots)
    thresholds = _thresholds(content.get("threshold"), tasks)
    merged = {name: {**shared, **own} for name, own in settings.items()}
    total_timesteps, commands = {}, {}
    for name, chosen in merged.items():
        for key, value in chosen.items():
            where = f"settings.{name}.{key}" if key in settings[name] else key
            if key == "env_kwargs" and not isinstance(value, dict):
                raise ValueError(f'{where} = {value!r}: give a table, as {{ view = "full" }}')
            refusal = f"{where} = {value!r}: train's --{_dashed(key)} takes no such value"
            is_another_flag = any(str(word).startswith("--") for word in _words(key, value))
            if is_another_flag or (isinstance(value, bool) and not isinstance(defaults[key], bool)):
                raise ValueError(refusal)
            _parse(train, [tasks[0], *to_arguments({key: value})], refusal)
        command = _parse(train, [tasks[0], *to_arguments(chosen)], f"settings.{name}: train does not take these together")
        try:
            command.check()
            import_named(command.module)
        except (ValueError, ImportError) as error:
            raise ValueError(f"settings.{name}: {error}") from error
        total_timesteps[name], commands[name] = command.total_timesteps, command
    for task in tasks:
        for name, command in commands.items():
            _check_task(task, f"settings.{name}", merged[name].get("env_kwargs", {}), command)
    return Specification(tasks, seeds, merged, total_timesteps, thresholds, defaults)


def flag_defaults(train: type) -> Flags:
    """The flags of train that a specification may set, with underscores, and their defaults."""
    defaults: Flags = {}
    for field in fields(train):
        if field.name in FLAG_PREFIXES and is_dataclass(field.default):
            defaults |= {inner.name: getattr(field.default, inner.name) for inner in fields(field.default)}
        else:
            defaults[field.name] = field.default_factory() if field.default_factory is not MISSING else field.default
    return {name: value for name, value in defaults.items() if name not in SET_BY_THE_SWEEP}


def to_arguments(flags: Mapping[str, Any]) -> list[str]:
    """As on the command line: booleans as --flag or --no-flag, lists as several values, tables as KEY VALUE …, but env_kwargs KEY=VALUE."""
    arguments = []
    for name, value in flags.items():
        flag = _dashed(name)
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            arguments += [f"--{flag}", *map(str, _words(name, value))]
    return arguments


def file_name(task: str) -> str:
    """An environment id as the name of a folder."""
    return re.sub(r"[/:\\]", "-", task)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _words(name: str, value: Any) -> list[Any]:
    """The words of a flag's value."""
    if not isinstance(value, dict):
        return value if isinstance(value, list) else [value]
    if name == "env_kwargs":
        return [f"{key}={json.dumps(one)}" for key, one in value.items()]
    return [word for pair in value.items() for word in pair]


def _known(key: str, names: Iterable[str], who: str, hint: str = "") -> None:
    names = list(names)
    if key in names:
        return
    if key in SET_BY_THE_SWEEP:
        instead = SET_BY_THE_SWEEP[key]
        raise ValueError(f"{who} the key {key!r}, which the sweep sets itself" + (f": use {instead!r}" if instead else ""))
    near = difflib.get_close_matches(key.replace("-", "_"), names, 1, cutoff=0.5)
    raise ValueError(
        f"{who} the unknown key {key!r}: " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}") + hint
    )


def _tasks(content: Mapping[str, Any]) -> tuple[str, ...]:
    tasks = content.get("tasks")
    if not (isinstance(tasks, list) and tasks and all(isinstance(task, str) for task in tasks)):
        raise ValueError(f"tasks = {tasks!r}: give a list of environment ids")
    _distinct("tasks", [file_name(task) for task in tasks])
    return tuple(tasks)


def _seeds(content: Mapping[str, Any]) -> tuple[int, ...]:
    seeds = content.get("seeds", 1)
    chosen = list(range(seeds)) if _is_integer(seeds) else seeds
    if not (isinstance(chosen, list) and chosen and all(_is_integer(seed) and seed >= 0 for seed in chosen)):
        raise ValueError(f"seeds = {seeds!r}: give how many, or a list of numbers of at least 0")
    _distinct("seeds", chosen)
    return tuple(chosen)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _distinct(what: str, values: list[Any]) -> None:
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ValueError(f"{what}: {twice[0]!r} is there twice")


def _thresholds(threshold: Any, tasks: tuple[str, ...]) -> dict[str, float]:
    chosen = threshold if isinstance(threshold, dict) else {} if threshold is None else dict.fromkeys(tasks, threshold)
    for task, value in chosen.items():
        _known(task, tasks, "threshold has")
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(f"threshold = {value!r}: give a return, or a table with one for each task")
    return {task: float(value) for task, value in chosen.items()}


def _parse(train: type, arguments: list[str], refusal: str) -> Any:
    import tyro

    try:
        with redirect_stderr(io.StringIO()):  # tyro would print of a command that nobody typed
            return tyro.cli(train, args=arguments, console_outputs=False)
    except SystemExit as error:
        raise ValueError(f"{refusal} (see optioncoagent train --help)") from error


def _check_task(task: str, where: str, env_kwargs: Mapping[str, Any], command: Any) -> None:
    """Make the environment and the agent once. ValueError, with the nearest id that there is, if that fails."""
    import gymnasium as gym

    from optioncoagent.agents import OptionCritic

    options = {name: getattr(command, name) for name in ("num_options", "gradient_form", "deliberation_cost")}
    settings = asdict(command.settings) | {"device": "cpu"}  # which the workers have is not known here
    try:
        agent = OptionCritic(task, env_kwargs=env_kwargs, **options, **settings)
        agent.env.close()
        if command.load is not None:
            agent.begin_with(command.load)
    except (ValueError, TypeError, ImportError, OSError, gym.error.Error) as error:
        if task in gym.registry or ":" in task:
            raise ValueError(f"{where}: {task!r} cannot be trained on ({error})") from error
        near = difflib.get_close_matches(task, gym.registry, 1)
        raise ValueError(f"tasks: {task!r} cannot be trained on ({error})" + (f"; did you mean {near[0]!r}?" if near else "")) from error
