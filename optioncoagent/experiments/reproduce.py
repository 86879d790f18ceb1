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

    Ctrl-C keeps what is finished; the same command again goes on from there. Trials spread over cores or machines like those of a sweep.
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
    threads: int | None = None
    """Threads of a trial, by default this machine's cores over workers, and one on an existing cluster; the results do not depend on it."""
    workers: int = 1
    """Trials at a time, if more than one each a process of its own. On an existing cluster its cores decide."""
    backend: Literal["auto", "ray", "pool"] = "auto"
    """Where workers run: Ray, or a pool of processes; by default Ray if it is installed."""
    address: str | None = None
    """An existing Ray cluster, whose machines share the folder."""
    seeds: tuple[int, ...] = ()
    """Run these trials only, here and now, without a figure: what a worker does."""

    def run(self) -> None:
        main(self)


def main(command: Reproduce) -> None:
    """Run it and print where the figure is. SystemExit 130 after Ctrl-C.

    Raises ValueError for a setting that does not exist, FileExistsError for a folder of another experiment or other settings,
    FileNotFoundError for one without rows to plot.
    """
    for name, number in (("threads", command.threads), ("workers", command.workers)):
        if number is not None and number < 1:
            raise ValueError(f"{name}={number}: it must be at least 1")
    if command.plot_only and (command.seeds or command.only):
        raise ValueError("plot_only draws all rows that are there: leave out " + ("seeds" if command.seeds else "only"))
    experiment = load(command.experiment)
    from optioncoagent.experiments import runner

    folder = command.folder or Path("runs") / (command.experiment + ("-full" if command.full else ""))
    began = time.perf_counter()
    try:
        if command.seeds:
            _run_seeds(experiment, command, folder)
            return
        if not command.plot_only:
            _run(experiment, command, folder)
        path, assumptions = runner.draw(experiment, folder)
    except KeyboardInterrupt:
        print(f"stopped; what is finished is in {folder}, and the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
    for line in experiment.summary(runner.read_rows(folder)):
        print(line)
    print(f"{assumptions}\n{path} ({time.perf_counter() - began:.0f} s)")


def _threads(command: Reproduce) -> int:
    return command.threads or (1 if command.address else max(1, (os.cpu_count() or 1) // command.workers))


def _run(experiment: ModuleType, command: Reproduce, folder: Path) -> None:
    from optioncoagent.experiments import runner
    from optioncoagent.runs.workers import start_workers

    settings = _chosen(experiment, command)
    if command.workers == 1 and command.address is None:
        runner.run_experiment(experiment, settings, folder, _threads(command))
        return
    start = start_workers(command.workers, command.backend, command.address)
    words = ["reproduce", command.experiment, "--threads", str(_threads(command)), *(["--full"] if command.full else [])]
    failed = runner.spread_experiment(experiment, settings, folder, words, start)
    for trial, reason in failed.items():
        print(f"{trial} failed; {reason}", file=sys.stderr)
    if failed:
        raise SystemExit(1)


def _run_seeds(experiment: ModuleType, command: Reproduce, folder: Path) -> None:
    from optioncoagent.experiments import runner

    for name, setting in _chosen(experiment, command).items():
        runner.describe(experiment, {name: setting}, folder, trial=True)
        for seed in command.seeds:
            if not 0 <= seed < setting.seeds:
                raise ValueError(f"seeds={seed}: {name!r} has the trials 0 to {setting.seeds - 1}")
            runner.run_trial(experiment, {name: setting}, folder, name, seed, _threads(command))


def load(name: str) -> ModuleType:
    """The experiment's module."""
    return importlib.import_module(f"optioncoagent.experiments.{EXPERIMENTS[name]}")


def _chosen(experiment: ModuleType, command: Reproduce) -> dict[str, Any]:
    settings = experiment.FULL if command.full else experiment.SETTINGS
    unknown = [name for name in command.only if name not in settings]
    if unknown:
        raise ValueError(f"{command.experiment} has no setting {unknown[0]!r}; its settings are {', '.join(map(repr, settings))}")
    return {name: setting for name, setting in settings.items() if not command.only or name in command.only}
