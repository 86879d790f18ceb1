"""Stands in for `optioncoagent train`, so that a sweep's tests need no training: the same arguments, files and ends, in no time.

A run is six updates of 64 steps; its numbers follow from its seed. Files beside the run folder say what goes wrong in it after the third
update: SEED.breaks, it fails, once; SEED.broken, it fails at every try; SEED.waits, it stays there until its standard input is closed.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

UPDATES, STEPS = 6, 64
COLUMNS = "timesteps,episodes,return_mean,seconds_acting"


def command():
    """For `run_sweep`."""
    return (__file__,)


def main(arguments):
    resumed = "--resume" in arguments
    folder = Path(arguments[arguments.index("--resume" if resumed else "--run-dir") + 1])
    if not resumed:
        begun = folder.with_name(f".{folder.name}")  # the folder is there whole or not at all, as `train`'s is
        begun.mkdir(parents=True, exist_ok=True)
        (begun / "config.json").write_text(json.dumps({"seed": int(arguments[arguments.index("--seed") + 1])}))
        (begun / "metrics.csv").write_text(f"{COLUMNS}\n")
        begun.rename(folder)
    seed = json.loads((folder / "config.json").read_text())["seed"]
    begin = (folder / "metrics.csv").read_text().count("\n") - 1
    print(f"from update {begin}, process {os.getpid()}", flush=True)
    for update in range(begin, UPDATES):
        with (folder / "metrics.csv").open("a") as file:
            file.write(f"{STEPS * (update + 1)},{50 * (update + 1)},{(update + seed) / 10},{time.perf_counter()}\n")
        if update >= 2:
            go_wrong(folder)
    (folder / "evaluation.json").write_text(json.dumps({"returns": [seed / 10, 1.0], "lengths": [1, 1]}))


def go_wrong(folder):
    waits, breaks, broken = (folder.with_name(f"{folder.name}.{what}") for what in ("waits", "breaks", "broken"))
    if breaks.exists() or broken.exists():
        breaks.unlink(missing_ok=True)
        print("a first line\n 50%|#####\r100%|##########\nit broke")
        sys.exit(3)
    while waits.exists():
        time.sleep(0.05)


def on_leash():
    threading.Thread(target=_end_with_it, daemon=True).start()


def _end_with_it():
    sys.stdin.read()
    print("told to end", flush=True)
    os._exit(0)


if __name__ == "__main__":
    on_leash()
    main(sys.argv[1:])
