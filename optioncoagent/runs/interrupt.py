"""Ctrl-C, and the SIGTERM that clusters send, at a moment where nothing is left half done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Within the block, a first Ctrl-C or SIGTERM is only noted: the yielded function says whether there was one. A second raises
    KeyboardInterrupt at once.
    """
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        os.write(2, b"\nstopping as soon as nothing is left half done; press again to stop at once\n")  # print may be what was interrupted
        for number in SIGNALS:
            signal.signal(number, signal.default_int_handler)

    with _handled_by(ask):
        yield lambda: asked


@contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """Within the block, SIGTERM raises KeyboardInterrupt."""
    with _handled_by(signal.default_int_handler, signal.SIGTERM):
        yield


@contextmanager
def _handled_by(handler: Callable[..., object], *signals: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where Python handles no signals
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals or SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
