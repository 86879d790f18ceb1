"""Say what a first call is waiting for."""

from __future__ import annotations

import sys
import threading
from typing import Any


def compile_once(kernel: Any, *arguments: Any) -> None:
    """Compile a kernel for these arguments, which must ask it to do nothing; a line on stderr if that takes longer than a second."""
    note = "optioncoagent: compiling the simulator, once; it is cached for later runs"
    timer = threading.Timer(1.0, print, args=(note,), kwargs={"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        kernel(*arguments)
    finally:
        timer.cancel()
