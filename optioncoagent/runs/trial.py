"""One trial of a sweep or an experiment: a command of this library in a process of its own, begun or gone on with as its files say."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from optioncoagent.runs.folder import EVALUATION

COMMAND = ("-m", "optioncoagent.leash")  # of Python's, in whose place tests put a program of their own
TAIL = 20  # lines of a failed trial's output that are reported
POLL, PATIENCE = 0.2, 60.0  # seconds: between two looks at a running trial; for it to end by itself, once told to


@dataclass(frozen=True)
class Job:
    """What a worker, on whatever machine, needs to run a trial.

    result: the file that a trial writes last. log: the output of all its tries, one after the other. begin: the words after
    `optioncoagent`; resume: those that take their place once `folder` exists. All paths are on a disk that the machines share.
    working_folder: where Python is started; command: its arguments before those words. pause: seconds to wait first.
    """

    result: Path
    log: Path
    begin: tuple[str, ...]
    resume: tuple[str, ...]
    folder: Path
    working_folder: Path
    command: Sequence[str] = COMMAND
    pause: float = 0.0

    @property
    def finished(self) -> bool:
        return self.result.exists()


def train_job(folder: Path, arguments: Sequence[str], working_folder: Path, command: Sequence[str] = COMMAND) -> Job:
    """A training run into `folder`, arguments: of `train`, without it; its log is beside the folder, which is train's to make."""
    begin, resume = ("train", *arguments, "--run-dir", str(folder)), ("train", "--resume", str(folder), *_modules(arguments))
    return Job(folder / EVALUATION, folder.with_name(f"{folder.name}.log"), begin, resume, folder, working_folder, tuple(command))


def _modules(arguments: Sequence[str]) -> Sequence[str]:
    """--module and its words, if it is among the flags of `train`: what a run does not keep."""
    if "--module" not in arguments:
        return ()
    begin = arguments.index("--module")
    others = (i for i in range(begin + 1, len(arguments)) if arguments[i].startswith("--"))
    return arguments[begin : next(others, len(arguments))]


def run_job(job: Job, stopped: Callable[[], bool] = lambda: False) -> str:
    """Run a trial to its end; empty if it has finished, else what went wrong, with the last lines of its output.

    It ends early, and keeps its checkpoint, when `stopped` says so or an exception (KeyboardInterrupt) comes.
    """
    begin_at = time.monotonic() + job.pause
    while time.monotonic() < begin_at and not stopped():
        time.sleep(POLL)
    if job.finished:
        return ""
    arguments = job.resume if job.folder.exists() else job.begin
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        log.write(f"# {' '.join(arguments)}\n".encode())
        log.flush()
        begin = log.tell()
        with _running([sys.executable, *job.command, *arguments], job.working_folder, log) as process:
            while process.poll() is None and not stopped():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL)
    if job.finished:
        return ""
    return f"exit status {process.returncode}; the end of {job.log}:\n{_tail(job.log, begin)}"


@contextlib.contextmanager
def _running(command: list[str], folder: Path, log: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    """The process, with its standard input as leash; it is over when the block is.

    In a session of its own, so that the Ctrl-C of a terminal reaches it through the leash only.
    """
    environment = {**os.environ, "TQDM_MININTERVAL": "30"}  # its bar is read in a file
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def _tail(path: Path, begin: int) -> str:
    """The last lines written since `begin`, as a terminal would show them."""
    with path.open("rb") as file:
        file.seek(begin)
        text = file.read().decode(errors="replace")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n") if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-TAIL:])
