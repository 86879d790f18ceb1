"""Claim: gated recurrent units cost what their arithmetic costs, also over long sequences and few of them.

CPU time of the units forward and backward over minibatches as the learner has them, T steps of n environments whose episodes end with
probability 1/30, or never: compiled loops (`optioncoagent.agents.scan`) against torch's units on the stretches between starts, packed
(`Recurrence.packed`), and against one call of torch's units that knows no starts (`nn.GRU`), which can do nothing for episodes.
Least of several, on one thread.

    python benchmarks/recurrent_speed.py [--sizes 64 128 256] [--repetitions 5]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor

from optioncoagent.agents.recurrent import Recurrence

SHAPES = ((64, 4), (512, 2), (512, 32))  # the default's minibatches at first and in the end, and all environments together


@dataclass(frozen=True)
class Benchmark:
    sizes: tuple[int, ...] = (64, 128, 256)
    """Units, and features that they read."""
    repetitions: int = 5
    """Of which the least is taken."""


def seconds(run: Callable[[], Tensor], repetitions: int) -> float:
    def once() -> float:
        began = time.process_time()
        run().square().sum().backward()
        return time.process_time() - began

    once()  # compiles
    return min(once() for _ in range(repetitions))


def ways(size: int, steps: int, envs: int, rate: float) -> list[Callable[[], Tensor]]:
    """The same minibatch through the same units: compiled, packed, and without starts."""
    units = Recurrence(size, size)
    x, start, hidden = torch.randn(steps * envs, size), torch.rand(steps * envs) < rate, torch.zeros(envs, size)
    return [
        lambda: units(x, start, hidden)[0],
        lambda: units.packed(x, start, hidden)[0],
        lambda: units.gru(x.reshape(steps, envs, size), hidden[None])[0],
    ]


def main(command: Benchmark) -> None:
    torch.set_num_threads(1)
    print("| units | steps x environments | episodes end | compiled, ms | packed | ratio | knows no starts | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for size in command.sizes:
        for steps, envs in SHAPES:
            for rate in (1 / 30, 0.0):
                ours, *others = [1000 * seconds(run, command.repetitions) for run in ways(size, steps, envs, rate)]
                cells = [f"{ours:.1f}", *(cell for other in others for cell in (f"{other:.1f}", f"{other / ours:.1f}"))]
                print(f"| {size} | {steps} x {envs} | {'1/30' if rate else 'never'} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
