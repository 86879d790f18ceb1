"""The claim: a run survives being killed, and damage to its files is never taken for what was written.

1. kills: runs killed with SIGKILL, at random moments or in the middle of a checkpoint (between two of its calls to the file system, or
   half-way through a file); some are killed again when they go on. Each goes on until it has finished, and is compared with a run
   that was not disturbed: metrics.csv (but for its times), TensorBoard's scalars, the final evaluation, every array of the agent.
2. damages: one file of a finished run is changed (a bit, a cut, random bytes, zeros, bytes put in or taken out, the file of another run),
   and the run is read: an error that names the file, or the right contents.
3. cost: time in rows and checkpoints as a part of the time in training, with the default settings.

    python benchmarks/survival.py [--kills 30] [--kills-in-checkpoints 20] [--damages 10000] [--seconds 20] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import optioncoagent as oc
from optioncoagent.agents import checkpoint, files
from optioncoagent.agents.settings import Settings
from optioncoagent.runs import checkpoints, recorder, training
from optioncoagent.runs.folder import EVALUATION
from optioncoagent.runs.rows import METRICS, GrowingFile, read_rows

RUN = training.Run(
    "MiniGrid-Empty-Random-5x5-v0",
    total_timesteps=1536,
    eval_episodes=4,
    checkpoint_seconds=0.0,
    settings=Settings(num_envs=4, num_steps=16, num_minibatches=2, update_epochs=2, hidden_sizes=(16,), device="cpu"),
)


# Kills


def kills(num_random: int, num_in_checkpoints: int, home: Path, seed: int = 0) -> Counter[str]:
    """Kill runs, go on with them, compare: how often what happened. AssertionError for a run that ends otherwise."""
    rng = random.Random(seed)
    torch.set_num_threads(1)  # a process that forks may have no threads of torch's
    training.start(RUN, home / "whole")
    expected = outcome(home / "whole")
    num_calls = _counted(home / "counted")
    began = time.perf_counter()
    assert _in_child(lambda: training.start(RUN, home / "timed")) == 0
    duration = time.perf_counter() - began
    counts: Counter[str] = Counter()
    for i in range(num_random + num_in_checkpoints):
        folder = home / f"killed-{i}"
        in_checkpoint = i >= num_random
        task: Callable[[], Any] = lambda folder=folder: training.start(RUN, folder)  # noqa: E731
        for attempt in range(1 + rng.randrange(3)):
            if in_checkpoint:
                died = _in_child(_killing_itself(task, rng.randrange(num_calls), rng.random()))
            else:
                died = _in_child(task, kill_after=rng.uniform(0, duration))
            while died == 0 and not attempt and not in_checkpoint:  # too late, since the machine is faster now: once more
                shutil.rmtree(folder)
                duration *= 0.8
                died = _in_child(task, kill_after=rng.uniform(0, duration))
            where = "in a checkpoint" if in_checkpoint else "at a random moment"
            killed = f"killed {where}" + (", when going on" if attempt else "")
            counts[killed if died == -signal.SIGKILL else "finished before the kill"] += 1
            assert died in (0, -signal.SIGKILL), folder
            if folder.exists():  # else it was killed before there was a run
                task = lambda folder=folder: training.resume(folder)  # noqa: E731
            if died == 0:
                break
        assert _in_child(task) == 0, folder
        assert outcome(folder) == expected, folder
        counts["ended as the undisturbed run"] += 1
        shutil.rmtree(folder)
    return counts


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run results in, but for times."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    last = files.checkpoints(folder)[0]
    return {
        "rows": {k: v.tolist() for k, v in _without_nan(read_rows(folder)).items() if not k.startswith("seconds")},
        "events": {
            tag: [(x.step, str(x.value)) for x in events.Scalars(tag)] for tag in events.Tags()["scalars"] if not tag.startswith("seconds")
        },
        "evaluation": json.loads((folder / EVALUATION).read_text()),
        "files": {path.name: files.digest(path.read_bytes()) for path in last.iterdir() if path.name != checkpoints.RECORD},
        "kept": [path.name for path in files.checkpoints(folder)],
    }


def _without_nan(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.nan_to_num(column, nan=-1e9) for name, column in rows.items()}


def _in_child(task: Callable[[], Any], kill_after: float | None = None) -> int:
    """Run a function in a process of its own, killed after some seconds if asked; its exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            errors = os.dup(2)
            os.dup2(silence, 2)
            task()
            code = 0
        except BaseException:
            os.dup2(errors, 2)
            traceback.print_exc()
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killing_itself(task: Callable[[], Any], at_call: int, share: float) -> Callable[[], None]:
    """The task in a process that kills itself before one of the calls by which checkpoints are written, or, of a write, after a share
    of the bytes."""

    def run() -> None:
        def before(number: int, call: str, arguments: Any) -> None:
            if number == at_call:
                if call == "_write":
                    path, data = arguments
                    path.write_bytes(data[: int(share * len(data))])
                os.kill(os.getpid(), signal.SIGKILL)

        _watch(before)
        task()

    return run


def _counted(folder: Path) -> int:
    """How many calls there are in the checkpoints of a run."""
    read, write = os.pipe()

    def run() -> None:
        _watch(lambda number, call, arguments: os.write(write, b"."))
        training.start(RUN, folder)

    assert _in_child(run) == 0
    os.close(write)
    return len(os.read(read, 1 << 16))


def _watch(before: Callable[[int, str, Any], object]) -> None:
    """Call `before(number, name, arguments)` before each call to the file system in a checkpoint. For a process that ends soon."""
    number, inside = 0, False
    whole = checkpoints.write

    def write(*arguments: Any) -> None:
        nonlocal inside
        inside = True
        whole(*arguments)
        inside = False

    def watched(module: Any, name: str) -> None:
        function = getattr(module, name)

        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal number
            if inside:
                before(number, name, arguments)
                number += 1
            return function(*arguments, **more)

        setattr(module, name, call)

    checkpoints.write = write
    for module, name in ((files, "_write"), (os, "fsync"), (os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir")):
        watched(module, name)


# Damages


def damages(number: int, home: Path, seed: int = 0) -> Counter[str]:
    """Damage files of a run, one at a time, and read it: how often what happened. AssertionError for a silent wrong load, any other
    exception for a crash; a load that takes 20 seconds is ended by SIGALRM."""
    rng = random.Random(seed)
    runs = [home / name for name in ("run", "other")]
    for i, folder in enumerate(runs):
        training.start(replace(RUN, settings=replace(RUN.settings, seed=i)), folder)
    folder, other = runs
    intact, previous = files.checkpoints(folder)[:2]
    ends = checkpoints.read_record(intact).ends
    events = next(name for name in ends if name != METRICS)
    targets = [intact / name for name in (files.AGENT, checkpoint.WEIGHTS, checkpoint.OPTIMIZER, checkpoint.PROGRESS)]
    targets += [intact / checkpoints.RECORD, folder / "config.json", folder / METRICS, folder / events]
    contents = {path: path.read_bytes() for path in targets}
    foreign = {path: (next(other.glob("events*")) if path.name == events else other / path.relative_to(folder)) for path in targets}
    expected = {path: _read(folder, path, ends) for path in targets}
    earlier = _agent(previous)
    counts: Counter[str] = Counter()
    for i in range(number):
        path = targets[i % len(targets)]
        damage = rng.choice(DAMAGES)
        damaged = foreign[path].read_bytes() if damage == "foreign" else _damaged(contents[path], damage, rng)
        path.write_bytes(damaged)
        signal.alarm(20)
        try:
            got = _read(folder, path, ends)
        except ValueError as error:
            assert path.name in str(error), error
            counts["an error that names the file"] += 1
            if path in targets[:4]:  # the run's folder gives the checkpoint before
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    assert _agent(folder) == earlier
                assert path.name in str(told[0].message)
                counts["of these, agents read from the checkpoint before"] += 1
        else:
            assert got == expected[path], (path, damage)
            counts["the right contents" + (" (the damage changed nothing)" if damaged == contents[path] else "")] += 1
        finally:
            signal.alarm(0)
            path.write_bytes(contents[path])
        counts[f"damaged: {'events' if path.name == events else path.name}"] += 1
    return counts


DAMAGES = ("bit", "cut", "bytes", "zeros", "inserted", "deleted", "foreign")


def _damaged(data: bytes, damage: str, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.choice((1, 2, 8, 64, 512))
    if damage == "bit":
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if damage == "cut":
        return data[: rng.choice((0, at))]
    if damage == "deleted":
        return data[:at] + data[at + length :]
    new = bytes(length) if damage == "zeros" else rng.randbytes(length)
    return (data[:at] + new + data[at if damage == "inserted" else at + length :])[: len(data) + length]


def _read(folder: Path, path: Path, ends: dict[str, Any]) -> Any:
    """What the project reads from this file of a run."""
    if path.name == "config.json":
        checkpoints.check_config(checkpoints.read_record(files.checkpoints(folder)[0]), folder)
        return training.read_run(folder)
    if path.name == checkpoints.RECORD:
        return checkpoints.read_record(path.parent)
    if path.name == METRICS:
        return {k: v.tolist() for k, v in _without_nan(read_rows(folder, ends)).items()}
    if path.parent == folder:
        growing = GrowingFile(path, ends[path.name])
        growing.close()
        return path.read_bytes()
    return _agent(path.parent)


def _agent(folder: Path) -> Any:
    """Everything that is loaded of an agent."""
    agent = oc.OptionCritic.load(folder)
    arrays = {name: x.numpy() for name, x in agent.module.state_dict().items()}
    arrays |= {f"{i}/{k}": x.numpy() for i, state in agent.optimizer.state_dict()["state"].items() for k, x in state.items()}
    arrays |= agent._stopped_at
    rest = agent.settings, agent.forms, agent.interface, agent.description, agent.num_timesteps, agent.num_episodes, list(agent.recent)
    return safetensors.numpy.save({name: np.ascontiguousarray(x) for name, x in arrays.items()}), repr(rest)


# Cost


def cost(seconds: float, home: Path) -> str:
    """Train with a recorder, and time it apart from the training."""
    agent = oc.OptionCritic("MiniGrid-DoorKey-5x5-v0")
    agent.update()
    in_training = in_rows = 0.0
    with recorder.Recorder(home / "cost") as record:
        while in_training < seconds:
            began = time.perf_counter()
            row = agent.update()
            updated = time.perf_counter()
            record(agent, row)
            in_training, in_rows = in_training + updated - began, in_rows + time.perf_counter() - updated
        times = []
        for _ in range(20):
            record.unwritten = agent, row
            began = time.perf_counter()
            record.checkpoint()
            times.append(time.perf_counter() - began)
            row = agent.update()
            record.rows(row)
    a_checkpoint = float(np.median(times))
    ratio = 1 + in_rows / in_training + a_checkpoint / record.checkpoint_seconds
    return (
        f"rows {in_rows / in_training:.3%} of the time in training, a checkpoint {1000 * a_checkpoint:.1f} ms every "
        f"{record.checkpoint_seconds:.0f} s: with both, training takes {ratio:.4f} of the time without"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--kills-in-checkpoints", type=int, default=20)
    parser.add_argument("--damages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    home = chosen.folder or Path(tempfile.mkdtemp())
    for counts in (kills(chosen.kills, chosen.kills_in_checkpoints, home / "kills"), damages(chosen.damages, home / "damages")):
        print("\n" + "\n".join(f"{number:6,}  {what}" for what, number in sorted(counts.items())))
    print("\n" + cost(chosen.seconds, home))


if __name__ == "__main__":
    main()
