"""Runs: a folder that training can be killed over and goes on from, and what is done with such folders.

    folder          the folder, its settings, the lock that keeps a second process out
    rows            metrics.csv and TensorBoard events, which can be cut back to where a checkpoint stood
    checkpoints     written on an interval and at the end, the last few and the best kept, the newest intact one found
    recorder        a callback that keeps both
    training        a run from its settings, and one that goes on; `interrupt` lets an update end before Ctrl-C does
    callbacks       for `agent.learn(callback=)`: evaluate, keep the best, stop, track
    curves, film    what is drawn of runs
    sweep           tasks, settings and seeds as data (`specification`), each a run (`trial`) on cores or machines (`workers`),
                    gathered (`table`, `statistics`)

A room of its own above `agents`, which it knows by what they offer to everyone. Names load when first touched.
"""

from __future__ import annotations

import importlib
from typing import Any

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
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
