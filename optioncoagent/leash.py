"""The command line on a leash: `python -m optioncoagent.leash train …` is `optioncoagent train …`, but ends, like at SIGTERM, when its
standard input is closed.

Whoever holds the other end of that pipe ends the run by closing it. If the holder dies, for whatever reason, the pipe closes too, so that
no run is left behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def main() -> None:
    threading.Thread(target=_watch, daemon=True).start()
    from optioncoagent.cli import main as command_line

    command_line()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
