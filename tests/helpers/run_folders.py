"""Small runs that many tests of run folders share."""

import importlib.util
import signal
import sys
from dataclasses import replace
from pathlib import Path

from small import without_times
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from optioncoagent.agents.settings import Settings
from optioncoagent.runs import training
from optioncoagent.runs.rows import read_rows

RUN = training.Run(
    "MiniGrid-Empty-Random-5x5-v0",
    total_timesteps=512,
    eval_episodes=3,
    checkpoint_seconds=0.0,
    settings=Settings(num_envs=4, num_steps=16, num_minibatches=2, update_epochs=2, hidden_sizes=(16,), device="cpu"),
)


def stopped_after(monkeypatch, num_updates, how=signal.SIGTERM):
    """Send this process a signal when `num_updates` rows have been written."""
    from optioncoagent.runs.rows import Rows

    write, left = Rows.__call__, iter(range(num_updates - 1))

    def counted(self, row):
        write(self, row)
        if next(left, None) is None:
            monkeypatch.setattr(Rows, "__call__", write)
            signal.raise_signal(how)

    monkeypatch.setattr(Rows, "__call__", counted)


def rows_of(folder):
    return without_times(read_rows(Path(folder)))


def events_of(folder):
    accumulator = EventAccumulator(str(folder)).Reload()
    tags = [tag for tag in accumulator.Tags()["scalars"] if not tag.startswith("seconds")]
    return {tag: [(x.step, str(x.value)) for x in accumulator.Scalars(tag)] for tag in tags}


def started(folder, **changes):
    training.start(replace(RUN, **changes), folder)
    return folder


def benchmark(name):
    """A script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
