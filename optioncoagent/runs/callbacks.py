"""Ready callbacks for `agent.learn(callback=)`: functions of the agent and the row of an update, of which False stops the training."""

from __future__ import annotations

import csv
import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optioncoagent.agents import files

EVALUATED = "evaluated.json"

Row = Mapping[str, float]
Callback = Callable[[Any, Row], bool | None]


def chain(*callbacks: Callback) -> Callback:
    """Call all of them, in order; stop if any says so."""

    def call(agent: Any, row: Row) -> bool:
        says = [callback(agent, row) for callback in callbacks]
        return all(not isinstance(goes_on, bool | np.bool_) or bool(goes_on) for goes_on in says)

    return call


def stop_at_return(value: float, episodes: int = 100) -> Callback:
    """Stop once the mean return of the last 100 episodes is at least `value`, and at least `episodes` have ended."""

    def call(agent: Any, row: Row) -> bool:
        return not (_have_ended(agent, row, episodes) and row["return_mean"] >= value)

    return call


class KeepBest:
    """Save the agent to `path` whenever the mean return of the last 100 episodes is higher than it was (once `episodes` have ended); for an
    agent that goes on, higher than that of the one which lies there from before."""

    def __init__(self, path: str | Path, episodes: int = 100):
        self.path, self.episodes = Path(path), episodes
        self.best = -np.inf
        self.begun = False

    def __call__(self, agent: Any, row: Row) -> None:
        if not self.begun:
            self.begun, self.best = True, -np.inf if _is_first(agent, row) else _best_before(self.path)
        if _have_ended(agent, row, self.episodes) and row["return_mean"] > self.best:
            self.best = row["return_mean"]
            agent.save(self.path, overwrite=True)


class EvaluateEvery:
    """Evaluate every `num_steps` steps, on episodes apart from training.

    file: CSV, of this one alone, to which each evaluation is appended; an agent that goes on takes out those that it comes to again.
    best: folder for the agent of the highest evaluated return, and the row of its evaluation, evaluated.json; what lies there from before
    is kept by an agent that goes on until it comes to more. kwargs: for `agent.evaluate`. rows: {"timesteps", "return_mean",
    "return_error" (standard error), "length_mean"} of every evaluation.
    """

    def __init__(
        self, num_steps: int, num_episodes: int = 20, file: str | Path | None = None, best: str | Path | None = None, **kwargs: Any
    ):
        if num_steps < 1 or num_episodes < 1:
            raise ValueError(f"num_steps={num_steps}, num_episodes={num_episodes}: they must be at least 1")
        self.num_steps, self.num_episodes, self.kwargs = num_steps, num_episodes, kwargs
        self.file, self.best = file and Path(file), best and Path(best)
        self.rows: list[dict[str, float]] = []
        self.highest: float | None = None  # return that an agent in `best` came to
        self.before: int | None = None  # the steps at the last call
        self.fresh = True  # no agent that goes on

    def __call__(self, agent: Any, row: Row) -> None:
        step = int(row["timesteps"])
        if self.before is None:
            self.fresh = _is_first(agent, row)
            if self.file and self.file.exists() and not self.fresh:
                _cut(self.file, step)
        before = max(step - agent.num_envs * int(row["num_steps"]), 0) if self.before is None else self.before
        self.before = step
        if step // self.num_steps == before // self.num_steps:
            return
        result = agent.evaluate(self.num_episodes, **self.kwargs)
        mean, length = float(result.returns.mean()), float(result.lengths.mean())
        self.rows.append({"timesteps": step, "return_mean": mean, "return_error": result.standard_error, "length_mean": length})
        if self.file:
            _append(self.file, self.rows[-1])
        if self.best:
            self.highest = self.highest if self.highest is not None else -np.inf if self.fresh else _evaluated_before(self.best)
            if mean > self.highest:
                self.highest = mean
                agent.save(self.best, overwrite=True)
                files.write_file(self.best / EVALUATED, json.dumps(self.rows[-1]).encode())


class Track:
    """Log every row to Weights & Biases. kwargs: for `wandb.init`. Raises ImportError that says how to get it, ValueError where it cannot
    begin.

    with Track(project="options") as track: agent.learn(200_000, callback=track)

    Where it fails later, training goes on without. Steps that a run which goes on repeats, after its last checkpoint, are logged again.
    """

    def __init__(self, **kwargs: Any):
        wandb = import_wandb()
        try:
            self.run = wandb.init(**kwargs)
        except getattr(wandb, "Error", ()) as error:
            raise ValueError(f"Weights & Biases: {error} (WANDB_MODE=offline does without a login)") from error
        self.run.define_metric("*", step_metric="timesteps")
        self.failed = False

    def __call__(self, agent: Any, row: Row) -> None:
        if self.failed:
            return
        try:
            self.run.log({name: value for name, value in row.items() if value == value})
        except Exception as error:  # whatever it is, it is not worth a training
            self.failed = True
            warnings.warn(f"Weights & Biases takes no more rows, and training goes on without: {error}", stacklevel=2)

    def close(self) -> None:
        try:
            self.run.finish()
        except Exception as error:
            warnings.warn(f"Weights & Biases may lack the last rows: {error}", stacklevel=2)

    def __enter__(self) -> Track:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _have_ended(agent: Any, row: Row, episodes: int) -> bool:
    """So many episodes, and as many as that of them in the mean return (an agent that goes on elsewhere has none in it at first; one that
    does not tell is taken at its row)."""
    recent = getattr(agent, "recent", None)
    return row["episodes"] >= episodes and (recent is None or len(recent) >= min(episodes, 100))


def _is_first(agent: Any, row: Row) -> bool:
    """Is this the row of a training's first update?"""
    return row["timesteps"] <= agent.num_envs * row["num_steps"]


def _best_before(path: Path) -> float:
    """The mean return of the agent that a training has kept there; -inf if there is none, or no episode had ended."""
    from optioncoagent.agents import checkpoint

    try:
        saved = checkpoint.read(path)
    except FileNotFoundError:
        return -np.inf
    return float(np.mean([episode_return for episode_return, _ in saved.recent])) if saved.recent else -np.inf


def _evaluated_before(path: Path) -> float:
    """The return that the agent which lies there was evaluated to; -inf if there is none. ValueError naming the file if it is damaged."""
    try:
        return float(json.loads((path / EVALUATED).read_text(encoding="utf-8"))["return_mean"])
    except FileNotFoundError:
        return -np.inf
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path / EVALUATED} is damaged ({error!r}): move it and the agent beside it away") from error


def import_wandb() -> Any:
    """Weights & Biases. Raises ImportError that says how to get it where it is not installed."""
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise ImportError('tracking needs Weights & Biases: pip install "optioncoagent[track]"') from error


def _cut(path: Path, step: int) -> None:
    """Leave out the evaluations from this step on, which an agent that goes on comes to again, and a line that a kill has cut off."""
    with path.open(newline="", encoding="utf-8") as file:
        head, *lines = file.readlines() or [""]
    kept = [line for line in lines if line.endswith("\n") and not _is_from(line, step)]
    files.write_file(path, "".join([head, *kept]).encode())


def _is_from(line: str, step: int) -> bool:
    """Is this line of step `step` or later? False for one that is no row of ours."""
    try:
        return float(line.partition(",")[0]) >= step
    except ValueError:
        return False


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists() or not path.stat().st_size
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
