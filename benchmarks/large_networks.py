"""Claim: exact gradients of networks of 16 asynchronous bits, 393,216 nodes, take seconds and a fifth of a gigabyte.

    python benchmarks/large_networks.py [--widths 2 3 4 5 6 7 8] [--matrix-up-to 4] [--folder benchmarks/figures]

Networks of two layers of n bits that execute with probability 1/2, the first of which see the state, and an action that reads the second,
on a random MDP of 6 states and 4 actions at γ = 0.9. For each n, J and its gradient, everything from nothing, in a process of its own: by
sweeps of the factored tick, and by the transition matrix, which is refused from 10 bits on. Writes large_networks.csv and
large_networks.png to the folder. Rows "before" there are of commit b231c8d, whose only road was a dense law over joint outputs (12 bits
asked for 18 GB): the same calls, from nothing, in a process of their own; they are kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from optioncoagent.exact.chain import chain
from optioncoagent.exact.large import LargeChain
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork

SOLVERS = {"matrix": chain, "sweeps": LargeChain}
FIELDS = ("solver", "bits", "nodes", "seconds", "gigabytes", "expected_return", "gradient_norm")


def layered(width: int) -> CoagentNetwork:
    """Two layers of `width` asynchronous bits, each of the second reads all of the first; the action reads the second."""
    first, second = ([f"{layer}{i}" for i in range(width)] for layer in "ab")
    bits = [Coagent(name, 2, executes=0.5) for name in first]
    bits += [Coagent(name, 2, observes=False, upstream=tuple(first), executes=0.5) for name in second]
    return CoagentNetwork([*bits, Coagent("action", 4, observes=False, upstream=tuple(second))])


def random_mdp() -> MDP:
    rng = np.random.default_rng(0)
    return MDP(rng.dirichlet(np.ones(6), (6, 4)), rng.normal(size=(6, 4)), np.full(6, 1 / 6), 0.9)


def measure(solver: str, width: int) -> dict[str, float | str]:
    """One row; gigabytes are the process's peak, Python and its libraries included."""
    mdp, network = random_mdp(), layered(width)
    params = network.init_params(mdp.num_observations)
    begin = time.perf_counter()
    made = SOLVERS[solver](mdp, network, params)
    J, gradient = made.expected_return, [made.local_gradient(name) for name in network.names]
    return {
        "solver": solver,
        "bits": 2 * width,
        "nodes": mdp.num_states * 4**width,
        "seconds": time.perf_counter() - begin,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "expected_return": J,
        "gradient_norm": float(np.sqrt(sum((part**2).sum() for part in gradient))),
    }


def read(path: Path) -> list[dict[str, float | str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: x if name == "solver" else float(x) for name, x in row.items()} for row in csv.DictReader(file)]


def plot(rows: list[dict[str, float | str]], path: Path) -> None:
    """Seconds and gigabytes against bits."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
    labels = {
        "before": "dense law of the joint tick, before",
        "matrix": "transition matrix (refused beyond)",
        "sweeps": "sweeps of the factored tick",
    }
    for solver, label in labels.items():
        chosen = [row for row in rows if row["solver"] == solver]
        for axes, value in ((left, "seconds"), (right, "gigabytes")):
            axes.semilogy([row["bits"] for row in chosen], [row[value] for row in chosen], "o-", label=label)
    left.set(xlabel="asynchronous bits", ylabel="seconds", title="J and its gradient, from nothing")
    right.set(xlabel="asynchronous bits", ylabel="GB", title="peak memory of the process")
    for axes in (left, right):
        axes.set_xticks(sorted({row["bits"] for row in rows}))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    right.set_ylim(0.05, 10)
    figure.legend(*left.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[2, 3, 4, 5, 6, 7, 8])
    parser.add_argument("--matrix-up-to", type=int, default=4, help="width up to which the matrix is built too; a larger one is refused")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "figures")
    parser.add_argument("--one", nargs=2, metavar=("SOLVER", "WIDTH"), help="print one row as JSON, and nothing else")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], int(arguments.one[1]))))
        return
    path = arguments.folder / "large_networks.csv"
    rows = [row for row in read(path) if row["solver"] == "before"]
    for solver in SOLVERS:
        for width in arguments.widths:
            if solver == "sweeps" or width <= arguments.matrix_up_to:
                command = [sys.executable, __file__, "--one", solver, str(width)]
                rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
                print("  ".join(f"{name} {rows[-1][name]:.6g}" if name != "solver" else solver for name in FIELDS), flush=True)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, arguments.folder / "large_networks.png")


if __name__ == "__main__":
    main()
