"""The command `optioncoagent reproduce`: an experiment by name, into a folder."""

from __future__ import annotations

import importlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import tyro

EXPERIMENTS = {"figure5": "figure5", "figure6": "figure6", "four-rooms": "four_rooms"}


@dataclass(frozen=True)
class Reproduce:
    """Reproduce an experiment of the papers: rows, a description and a figure in a folder.

    Ctrl-C keeps what is finished; the same command again goes on from there.
    """

    experiment: tyro.conf.Positional[Literal["figure5", "figure6", "four-rooms"]]
    """figure5, figure6: the gridworld of "Asynchronous Coagent Networks"; four-rooms: the transfer experiment of option-critic."""
    folder: Path | None = None
    """Where to write; by default runs/EXPERIMENT."""
    full: bool = False
    """The paper's numbers of episodes: 5e8 for each finite-difference estimate of figure 5."""
    only: tuple[str, ...] = ()
    """Names of settings to run, all by default; a wrong name gets the list of them."""
    plot_only: bool = False
    """Draw the figure again from the folder's files."""
    threads: int = os.cpu_count() or 1
    """Threads; the results do not depend on it."""

    def run(self) -> None:
        main(self)


def main(command: Reproduce) -> None:
    """Run it and print where the figure is. SystemExit 130 after Ctrl-C.

    Raises ValueError for a setting that does not exist, FileExistsError for a folder of other settings, FileNotFoundError for one without
    rows to plot.
    """
    if command.threads < 1:
        raise ValueError(f"threads={command.threads}: it must be at least 1")
    experiment = load(command.experiment)
    from optioncoagent.experiments import runner

    folder = command.folder or Path("runs") / (command.experiment + ("-full" if command.full else ""))
    began = time.perf_counter()
    try:
        if not command.plot_only:
            runner.run_experiment(experiment, _chosen(experiment, command), folder, command.threads)
        path = runner.draw(experiment, folder)
    except KeyboardInterrupt:
        print(f"stopped; what is finished is in {folder}, and the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
    for line in experiment.summary(runner.read_rows(folder)):
        print(line)
    print(f"{experiment.ASSUMPTIONS}\n{path} ({time.perf_counter() - began:.0f} s)")


def load(name: str) -> ModuleType:
    """The experiment's module."""
    return importlib.import_module(f"optioncoagent.experiments.{EXPERIMENTS[name]}")


def _chosen(experiment: ModuleType, command: Reproduce) -> dict[str, Any]:
    settings = experiment.FULL if command.full else experiment.SETTINGS
    unknown = [name for name in command.only if name not in settings]
    if unknown:
        raise ValueError(f"{command.experiment} has no setting {unknown[0]!r}; its settings are {', '.join(map(repr, settings))}")
    return {name: setting for name, setting in settings.items() if not command.only or name in command.only}
