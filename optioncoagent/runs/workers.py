"""Where trials run: on this machine's cores, or on a Ray cluster. Either way a job in, a `concurrent.futures.Future` out."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Literal

from optioncoagent.runs.trial import PATIENCE, Job, run_job

Backend = Literal["auto", "ray", "pool"]
Submit = Callable[[Job], "Future[str]"]  # the future gives what `run_job` gives, or raises if the worker was lost
PAUSE = 5.0  # seconds before a trial's second try, twice that before its third: what was lost may still be letting go of its folder
LOOK = 1.0  # seconds between two looks at how far the trials are


def start_workers(num_workers: int, backend: Backend = "auto", address: str | None = None) -> AbstractContextManager[Submit]:
    """A context in which jobs can be submitted; when it is left, running ones are told to end, and do.

    backend: "ray", at an address or else in a cluster of its own on this machine with `num_workers` cores; "pool", as many processes on
    this machine; "auto", Ray if it is installed. Raises ImportError if Ray is asked for and is not, ValueError for a pool with an address.
    """
    installed = importlib.util.find_spec("ray") is not None
    if backend == "pool":
        if address is not None:
            raise ValueError(f"address={address!r}: a pool has none, only a Ray cluster has")
        return _in_pool(num_workers)
    if not installed and (backend == "ray" or address is not None):
        raise ImportError('Ray is not installed: pip install "optioncoagent[ray]", or use backend="pool"')
    return _on_ray(num_workers, address) if installed else _in_pool(num_workers)


def run_all(jobs: Mapping[str, Job], submit: Submit, retries: int, look: Callable[[int], None]) -> dict[str, str]:
    """Run jobs to their ends, each tried again up to `retries` times; {name of one that failed: what it said last}.

    look: called with the number of failed ones, about once a second.
    """
    running: dict[Future[str], tuple[str, int]] = {submit(job): (name, 0) for name, job in jobs.items()}
    failed: dict[str, str] = {}
    while running:
        done, _ = wait(running, LOOK, FIRST_COMPLETED)
        for future in done:
            name, tries = running.pop(future)
            reason = _outcome(future)
            if reason and tries < retries:
                running[submit(replace(jobs[name], pause=PAUSE * (tries + 1)))] = name, tries + 1
            elif reason:
                failed[name] = reason
        look(len(failed))
    return failed


def _outcome(future: Future[str]) -> str:
    """Empty if the trial has finished, else why not: its own words, or those of the worker that was lost."""
    error = future.exception()
    return future.result() if error is None else f"{type(error).__name__}: {error}"


@contextmanager
def _in_pool(num_workers: int) -> Iterator[Submit]:
    """Each trial is a process of its own already, so that the pool holds the threads that wait for them."""
    left = threading.Event()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            yield lambda job: pool.submit(run_job, job, left.is_set)
        finally:
            left.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _on_ray(num_workers: int, address: str | None) -> Iterator[Submit]:
    import ray

    handler = signal.getsignal(signal.SIGTERM)  # Ray sets one of its own
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else jobs that ask for no GPU do not see those there are
    if address is None:  # a cluster that nobody outside this machine sees, and that reports to nobody
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local: dict[str, Any] = {"num_cpus": num_workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        ray.init(address="local", logging_level=logging.WARNING, **local)
    else:
        ray.init(address=address, logging_level=logging.WARNING)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
    # a lost worker counts as a failed try, like a trial that fails by itself
    task = ray.remote(num_cpus=1, max_retries=0)(run_job)
    submitted: list[Any] = []

    def submit(job: Job) -> Future[str]:
        submitted.append(task.remote(job))
        return submitted[-1].future()

    try:
        yield submit
    finally:
        for reference in submitted:
            ray.cancel(reference)  # raises KeyboardInterrupt there
        if submitted:
            ray.wait(submitted, num_returns=len(submitted), timeout=PATIENCE)
        ray.shutdown()
