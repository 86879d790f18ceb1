"""The claim: how close a gradient form is to the exact gradient says little about what it learns, and the ranking changes along training.

Runs `experiments.gradient_forms` (exact ascent along each form on four rooms) and, with --learner, `experiments.learner_forms` (the learner
on DoorKey-5x5), writes rows (.csv) and figure (.png) to the folder, and prints means over seeds: cosine at the first and last step of the
exact ascent, J at the end of each form's own ascent and its ratio to the exact one's.

    python benchmarks/gradient_forms.py [--seeds 10] [--learner] [--folder benchmarks/figures]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from optioncoagent.experiments import gradient_forms, learner_forms


def write(path: Path, rows: Iterable[Any]) -> None:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0]._fields)
        writer.writerows(rows)


def mean(rows: list[gradient_forms.Row], form: str, step: int, value: str) -> float:
    return float(np.mean([getattr(row, value) for row in rows if row.form == form and row.step == step]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--learner", action="store_true", help="run the learner instead of the exact ascent")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "figures")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    experiment: Any = learner_forms if arguments.learner else gradient_forms
    name = experiment.__name__.split(".")[-1]

    rows = []
    for setting in experiment.SETTINGS:
        for seed in range(arguments.seeds):
            rows += experiment.run(setting, seed)
        mine = [row for row in rows if row.setting == setting.name]
        print(f"\n{setting.name}, {arguments.seeds} seeds")
        for form in dict.fromkeys(row.form for row in mine):
            if arguments.learner:
                last = max(row.timesteps for row in mine)
                returns = [row.return_mean for row in mine if row.form == form and row.timesteps == last]
                print(f"{form:<20} return after {last} steps {np.mean(returns):.3f} (range {min(returns):.3f} to {max(returns):.3f})")
            else:
                last = max(row.step for row in mine)
                cosines = [mean(mine, form, step, "cosine") for step in (0, last)]
                height, exact = (mean(mine, which, last, "expected_return") for which in (form, gradient_forms.EXACT))
                print(
                    f"{form:<20} cosine {cosines[0]:7.3f} -> {cosines[1]:7.3f}   J {height:.3f}, {height / exact:.3f} of the exact ascent's"
                )
    write(arguments.folder / f"{name}.csv", rows)
    experiment.plot(rows).savefig(arguments.folder / f"{name}.png", dpi=90)


if __name__ == "__main__":
    main()
