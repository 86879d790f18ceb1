"""Runs: a folder that training can be killed over and goes on from, and what is done with such folders.

    folder          the folder, its settings, the lock that keeps a second process out
    rows            metrics.csv and TensorBoard events, which can be cut back to where a checkpoint stood
    checkpoints     written on an interval and at the end, the last few and the best kept, the newest intact one found
    recorder        a callback that keeps both, and describes what was trained
    training        a run from its settings, and one that goes on; `interrupt` lets an update end before Ctrl-C does
    callbacks       for `agent.learn(callback=)`: evaluate, keep the best, stop, track
    curves, film    what is drawn of runs
    sweep           tasks, settings and seeds as data (`specification`), each a run (`trial`) on cores or machines (`workers`),
                    gathered (`table`, `statistics`)

A room of its own above `agents`, which it knows by what they offer to everyone. Names load when first touched.
"""

from __future__ import annotations

from typing import Any

from optioncoagent import lazy

_MODULES = {
    "checkpoints": (),
    "callbacks": ("EvaluateEvery", "KeepBest", "Track", "chain", "stop_at_return"),
    "curves": ("plot", "read_curves"),
    "film": ("play",),
    "sweep": ("run_sweep",),
    "recorder": ("Recorder",),
    "rows": ("read_rows",),
    "training": ("Run", "resume", "start"),
}
__all__ = sorted(name for names in _MODULES.values() for name in names)


def __getattr__(name: str) -> Any:
    return lazy.load(__name__, _MODULES, name)
