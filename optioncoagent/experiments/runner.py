"""Run an experiment's settings and seeds, keep the rows in files, draw the figure from the files.

A folder holds experiment.json (settings, seeds, assumptions, the versions of everything that made rows), rows/SETTING-SEED.csv for each
finished setting and seed, and figure.png. A run that was stopped goes on where it left off; a folder made with other settings, or under
other assumptions, is refused. Several processes may work in one folder at a time.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import textwrap
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from optioncoagent.outputs import whole
from optioncoagent.runs.folder import in_turn, read_json, versions, write_json
from optioncoagent.runs.table import write_csv
from optioncoagent.runs.trial import Job
from optioncoagent.runs.workers import Submit, run_all

DESCRIPTION = "experiment.json"
RETRIES = 2  # of a trial that fails


def run_experiment(
    experiment: ModuleType, settings: Mapping[str, Any], folder: Path, threads: int = 1, progress_bar: bool = True
) -> list[dict[str, Any]]:
    """Run what is missing in the folder, one trial after the other; all rows. Ctrl-C (KeyboardInterrupt) leaves the finished ones.

    Raises FileExistsError if the folder holds rows of other settings.
    """
    describe(experiment, settings, folder)
    with tqdm(_missing(settings, folder), unit="run", disable=not progress_bar) as bar:
        for name, seed in bar:
            bar.set_description(f"{name}, seed {seed}")
            began = time.perf_counter()
            run_trial(experiment, settings, folder, name, seed, threads)
            _add_seconds(folder, name, time.perf_counter() - began)
    return read_rows(folder)


def spread_experiment(
    experiment: ModuleType,
    settings: Mapping[str, Any],
    folder: Path,
    words: Sequence[str],
    start: AbstractContextManager[Submit],
) -> dict[str, str]:
    """The same with many trials at a time, each a process of its own; {a trial that failed: what it said last}.

    words: of the command line that runs trials of this experiment, to which `--only NAME --seeds SEED` is added. start: workers (see
    `start_workers`). experiment.json then tells the seconds of the whole, by its name "all, spread".
    """
    folder = folder.resolve()
    describe(experiment, settings, folder)
    jobs, began = {}, time.perf_counter()
    for name, seed in _missing(settings, folder):
        result, log = file_of(folder, name, seed), (folder / "logs" / file_of(folder, name, seed).stem).with_suffix(".log")
        command = (*words, "--folder", str(folder), "--only", name, "--seeds", str(seed))
        jobs[f"{name}, seed {seed}"] = Job(result, log, command, command, folder, Path.cwd())
    if not jobs:
        return {}
    with start as submit, tqdm(total=len(jobs), unit="run") as bar:
        failed = run_all(jobs, submit, RETRIES, lambda _: bar.update(sum(job.finished for job in jobs.values()) - bar.n))
    _add_seconds(folder, "all, spread", time.perf_counter() - began)
    return failed


def run_trial(experiment: ModuleType, settings: Mapping[str, Any], folder: Path, name: str, seed: int, threads: int = 1) -> None:
    """One trial into the folder's file for it."""
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    rows = experiment.run(settings[name], seed, threads=threads)
    write_csv(file_of(folder, name, seed), [{"setting": name, "seed": seed, **row} for row in rows])


def _name(experiment: ModuleType) -> str:
    return experiment.__name__.rpartition(".")[2]


def _missing(settings: Mapping[str, Any], folder: Path) -> list[tuple[str, int]]:
    trials = [(name, seed) for name, setting in settings.items() for seed in range(setting.seeds)]
    return [trial for trial in trials if not file_of(folder, *trial).exists()]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder, numbers as numbers. FileNotFoundError if there are none, ValueError naming a file that is damaged."""
    files = sorted((folder / "rows").glob("*.csv"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no rows: run the experiment first")
    return [row for file in files for row in _read_file(file)]


def _read_file(file: Path) -> list[dict[str, Any]]:
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    except (ValueError, TypeError, csv.Error):  # a line with fewer or more words than there are columns among them
        rows = []
    if not rows:
        raise ValueError(f"{file} is damaged: delete it, and the same command makes it again")
    return rows


def draw(experiment: ModuleType, folder: Path) -> tuple[Path, str]:
    """Draw figure.png from the folder's rows, with their assumptions below it, and return both. FileExistsError if they are of another
    experiment, or nothing tells of which they are."""
    rows, (_, content) = read_rows(folder), check(experiment, {}, folder)
    if not (folder / DESCRIPTION).exists():
        raise FileExistsError(f"{folder} holds rows, and no {DESCRIPTION} that tells of which experiment: choose another folder")
    figure = experiment.plot(rows)
    width = int(figure.get_size_inches()[0] * 17)
    assumptions = content.get("assumptions", experiment.ASSUMPTIONS)
    figure.supxlabel("\n".join(textwrap.wrap(assumptions, width)), fontsize=7, x=0.01, ha="left")
    path = folder / "figure.png"
    with whole(path) as file:
        figure.savefig(file, dpi=110)
    return path, assumptions


def check(experiment: ModuleType, settings: Mapping[str, Any], folder: Path, trial: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """These settings and experiment.json, both as JSON has them. Raises FileExistsError if it describes another experiment or other
    settings of these names, or where rows are there whose settings nothing tells; for one trial it does not matter how many there are.
    ValueError if it is damaged."""
    now = json.loads(json.dumps({name: dataclasses.asdict(setting) for name, setting in settings.items()}))
    content = _description(folder)
    if content.get("experiment", _name(experiment)) != _name(experiment):
        raise FileExistsError(f"{folder} holds rows of {content['experiment']}, another experiment: choose another folder")
    for name, setting in now.items():
        if name not in content["settings"] and any(file_of(folder, name, seed).exists() for seed in range(setting["seeds"])):
            raise FileExistsError(f"{folder} holds rows of {name!r}, and nothing there tells with what settings: choose another folder")
        there = content["settings"].get(name, setting)
        if {**there, "seeds": None} != {**setting, "seeds": None} or (there != setting and not trial):
            raise FileExistsError(f"{folder} holds rows of other settings ({name!r}): choose another folder")
    return now, content


def describe(experiment: ModuleType, settings: Mapping[str, Any], folder: Path, trial: bool = False) -> None:
    """Write experiment.json, or check that it describes the same settings; settings that were not there before are added, and so are
    versions, if rows are to be made with them. Raises FileExistsError if it describes other settings (see `check`) or assumptions,
    ValueError if it, or a file of rows, is damaged."""
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    with in_turn(folder):
        _describe(experiment, settings, folder, trial)


def _describe(experiment: ModuleType, settings: Mapping[str, Any], folder: Path, trial: bool) -> None:
    now, content = check(experiment, settings, folder, trial)
    there = any((folder / "rows").glob("*.csv")) and bool(read_rows(folder))
    if there and content.get("assumptions", experiment.ASSUMPTIONS) != experiment.ASSUMPTIONS:
        raise FileExistsError(f"{folder} holds rows made under other assumptions (experiment.json has them): choose another folder")
    before = content.get("versions", []) if there else []
    before = [before] if isinstance(before, dict) else before
    new = [versions()] if (trial or _missing(settings, folder) or not before) and versions() not in before else []
    content["experiment"] = _name(experiment)
    content["settings"] = now | content["settings"]
    content["seeds"] = {name: list(range(setting["seeds"])) for name, setting in content["settings"].items()}
    content |= {"assumptions": experiment.ASSUMPTIONS, "versions": [*before, *new]}
    write_json(folder / DESCRIPTION, content)


def _description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    content = read_json(path) if path.exists() else {"settings": {}, "seconds": {}}
    if not all(isinstance(content.get(name), dict) for name in ("settings", "seconds")):
        raise ValueError(f"{path} is damaged: it needs settings and seconds")
    return content


def _add_seconds(folder: Path, name: str, seconds: float) -> None:
    with in_turn(folder):
        content = _description(folder)
        content["seconds"][name] = round(content["seconds"].get(name, 0.0) + seconds, 2)
        write_json(folder / DESCRIPTION, content)


def file_of(folder: Path, name: str, seed: int) -> Path:
    """Where the rows of a trial are, once it has finished."""
    return folder / "rows" / f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}-{seed}.csv"


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
