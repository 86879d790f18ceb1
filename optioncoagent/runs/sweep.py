"""A sweep: the trials of a specification, each an ordinary run folder, spread over cores or machines and gathered into one table.

A sweep knows its runs by their command and their files only, and keeps no state but those: the same sweep again runs what is missing.

    FOLDER/sweep.json                    what every setting means, and what the defaults were that it leaves as they are
    FOLDER/TASK/SETTING/SEED             run folders, and beside each SEED.log, what the trial printed
    FOLDER/trials.csv, results.csv       a row for each trial; the table
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from optioncoagent.agents.settings import OLD_DEFAULTS
from optioncoagent.runs import table
from optioncoagent.runs.folder import EVALUATION, locked, read_evaluation, read_json, write_json
from optioncoagent.runs.rows import METRICS
from optioncoagent.runs.specification import Specification
from optioncoagent.runs.trial import COMMAND, train_job
from optioncoagent.runs.workers import Backend, run_all, start_workers


def run_sweep(
    specification: Specification,
    folder: Path,
    workers: int | None = None,
    backend: Backend = "auto",
    address: str | None = None,
    retries: int = 2,
    progress_bar: bool = True,
    command: Sequence[str] = COMMAND,
) -> dict[str, str]:
    """Run what is missing in the folder; {name of a trial that failed: what it said last}.

    workers, backend, address: see `start_workers`; by default as many workers as cores. A trial that fails is tried again, from its
    checkpoint, up to `retries` times. Ctrl-C (KeyboardInterrupt) ends all trials, which keep what they have.
    Raises FileExistsError if the folder holds trials of other settings, or of other defaults, OSError if another sweep runs in it,
    ValueError naming a file in it that is damaged.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "runs a sweep there"):
        missing = []
        for trial in specification.trials:
            if (folder / trial.name / EVALUATION).exists():
                read_evaluation(folder / trial.name)  # what is damaged is said before hours of work
            else:
                missing.append(trial)
        _describe(specification, folder, {trial.setting for trial in missing})
        jobs = {trial.name: train_job(folder / trial.name, trial.arguments, Path.cwd(), command) for trial in missing}
        if not jobs:
            return {}
        start, bar = start_workers(workers or os.cpu_count() or 1, backend, address), _Bar(specification, folder, progress_bar)
        with start as submit, bar as shown:
            return run_all(jobs, submit, retries, shown)


def gather(specification: Specification, folder: Path) -> str:
    """Write trials.csv and results.csv of what has finished; the table as text."""
    trials = table.trial_rows(specification, folder)
    rows = table.summarise(specification, trials)
    table.write_csv(folder / "trials.csv", trials)
    table.write_csv(folder / "results.csv", rows)
    return table.to_text(rows)


def _describe(specification: Specification, folder: Path, to_run: Collection[str]) -> None:
    """Write sweep.json, or check that it describes the same settings, and of those to run the same defaults; new ones are added."""
    path = folder / "sweep.json"
    content = read_json(path) if path.exists() else {"settings": {}}
    for part in (content.get("settings"), content.get("defaults", {})):
        if not isinstance(part, dict) or not all(isinstance(of_one, dict) for of_one in part.values()):
            raise ValueError(f"{path} is damaged: it has no settings and defaults of each, as sweeps write them")
    now, defaults = json.loads(json.dumps([specification.settings, specification.defaults], default=str))
    defaults_then = content.setdefault("defaults", {})  # {setting: defaults}; folders of earlier versions have none
    for name in [name for name in content["settings"] if not any(path.is_dir() for path in folder.glob(f"*/{name}/*"))]:
        del content["settings"][name]  # no trial of it was ever begun
    for name, flags in now.items():
        if other := _differing(content["settings"].get(name, flags), flags):
            raise FileExistsError(f"{folder} holds trials of setting {name!r} with other {', '.join(other)}: choose another name or folder")
        if name not in content["settings"]:
            defaults_then[name] = defaults
        # of a setting that there was not yet, what was done then: as `folder.settings_of` has it
        then = {key: OLD_DEFAULTS.get(key, value) for key, value in defaults.items()} | defaults_then.get(name, defaults)
        changed = [key for key in _differing(then, defaults) if key not in flags]
        if changed and name in to_run:
            raise FileExistsError(
                f"{folder} holds trials of setting {name!r} from when the defaults of {', '.join(changed)} were others: choose another "
                "name or folder, or finish them with the version that began them"
            )
    content["settings"] |= now
    write_json(path, content)


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys whose values are not the same, or that one of them lacks."""
    nothing = object()
    return sorted(key for key in {*was, *now} if was.get(key, nothing) != now.get(key, nothing))


class _Bar:
    """A progress bar of environment steps over all trials; called, with the number of failed trials, after every look."""

    def __init__(self, specification: Specification, folder: Path, shown: bool):
        self.left = {folder / trial.name: trial.total_timesteps for trial in specification.trials}
        self.num_trials, self.finished = len(self.left), 0
        self.bar = tqdm(total=sum(self.left.values()), unit="step", unit_scale=True, disable=not shown)

    def __call__(self, num_failed: int) -> None:
        over = [path for path in self.left if (path / EVALUATION).exists()]
        self.finished += sum(self.left.pop(path) for path in over)
        steps = self.finished + sum(min(last_timestep(path), total) for path, total in self.left.items())
        counts: dict[str, Any] = {"trials": f"{self.num_trials - len(self.left)}/{self.num_trials}"}
        self.bar.set_postfix(counts | ({"failed": num_failed} if num_failed else {}), refresh=False)
        self.bar.n = steps
        self.bar.refresh()

    def __enter__(self) -> _Bar:
        self(0)
        self.bar.initial = self.bar.n  # what was there before says nothing of the speed
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def last_timestep(run_folder: Path) -> int:
    """How far a run is, from the last whole line of its metrics.csv; 0 if it has none."""
    try:
        with (run_folder / METRICS).open("rb") as file:
            column = file.readline().rstrip().split(b",").index(b"timesteps")
            file.seek(max(file.tell(), file.seek(0, os.SEEK_END) - 100_000))
            lines = file.read().rpartition(b"\n")[0].splitlines()
            return int(float(lines[-1].split(b",")[column]))
    except (OSError, ValueError, IndexError):
        return 0
