"""Coagents whose output is a vector of real numbers, and what a network with such coagents may look like."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BOUNDLESS = 1e6  # bounds further apart than this are no bounds: nobody means to explore between them


@dataclass(frozen=True)
class Gaussian:
    """`size` real numbers, independent and normal, in place of one of finitely many outputs: `Coagent("action", Gaussian(2))`.

    Additive coagents that run later may read the numbers: their logits or means are then linear in them.
    low, high: of the action, a number or one for each. A policy draws u, of which -1 stands for low and 1 for high. Where a bound is
    missing, or the two are more than a million apart, u is a distance, in the action's own units, from the allowed number that is nearest
    to 0. A u beyond the bounds is kept, and learned from, as drawn; the environment gets the nearest action that it takes. For each
    configuration of the outputs that it reads, a policy has a mean and the logarithm of a standard deviation for each number.
    scale: the standard deviation before anything is learned, in units of u. scale_observes: does it depend on the observation, and on
    numbers that are read, too, as the mean does? By default it depends on the configuration alone.
    Raises ValueError for a size, bounds or a scale that cannot be.
    """

    size: int = 1
    low: float | tuple[float, ...] = -math.inf
    high: float | tuple[float, ...] = math.inf
    scale: float = 1.0
    scale_observes: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int | np.integer) or self.size < 1:
            raise ValueError(f"size={self.size!r}: a Gaussian is over an integer of at least 1 numbers")
        for name in ("low", "high"):
            bound = np.asarray(getattr(self, name), dtype=np.float64)
            if bound.shape not in ((), (self.size,)) or np.isnan(bound).any():
                raise ValueError(f"{name}={getattr(self, name)!r}: give a number, or one for each of {self.size}")
            object.__setattr__(self, name, tuple(np.broadcast_to(bound, self.size).tolist()))
        if not (np.asarray(self.low) < np.asarray(self.high)).all():
            raise ValueError(f"low={self.low!r} must be below high={self.high!r}")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale={self.scale!r}: a standard deviation is greater than 0 and finite")

    @property
    def unit(self) -> NDArray[np.float64]:
        """What 1 is in the units of the action, (size,)."""
        return np.where(self._bounded, (np.asarray(self.high) - self.low) / 2, 1.0)

    @property
    def centre(self) -> NDArray[np.float64]:
        """The action that 0 stands for, (size,)."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.where(self._bounded, low + self.unit, np.clip(0.0, low, high))

    @property
    def _bounded(self) -> NDArray[np.bool_]:
        return np.asarray(self.high) - self.low <= BOUNDLESS

    def action(self, numbers: Any) -> NDArray[np.float64]:
        """The actions that numbers (…, size) stand for, within the bounds."""
        return np.clip(self.centre + self.unit * np.asarray(numbers, dtype=np.float64), self.low, self.high)


def check_gaussians(coagents: tuple[Any, ...], action: Iterable[str]) -> None:
    """Raise ValueError naming the coagent where one with a Gaussian does something that only finitely many outputs allow."""
    gaussian = {c.name for c in coagents if c.gaussian is not None}
    if not gaussian:
        return
    for c in coagents:
        for name in (n for n in c.previous if n in gaussian):
            raise ValueError(
                f"coagent {c.name!r}: previous reads {name!r}, whose output is Gaussian, and nobody remembers real numbers: let it read a "
                "coagent whose outputs are counted"
            )
        for name in (n for n in c.tabled[0] if n in gaussian):
            raise ValueError(
                f"coagent {c.name!r}: upstream reads {name!r}, whose output is Gaussian, and a table has parameters for each of finitely "
                "many outputs: make it additive, or let it read a coagent whose outputs are counted"
            )
    read = {name for c in coagents for name in c.upstream}
    for c in coagents:
        if c.name not in gaussian:
            continue
        inner = c.name not in action
        for wrong, what, remedy in (
            (c.num_outputs != 1, f"num_outputs={c.num_outputs!r} beside its Gaussian", "give one of the two"),
            (
                inner and c.name not in read,
                "its output is Gaussian and nobody reads it",
                "name it in action=, or let an additive one read it",
            ),
            (
                inner and not np.isinf((c.gaussian.low, c.gaussian.high)).all(),
                "its Gaussian has bounds",
                "only those of an action mean something",
            ),
            (c.previous, f"previous={c.previous!r}", "let an earlier coagent read these, and this one that coagent through upstream"),
            (callable(c.executes) or c.executes != 1, f"executes={c.executes!r}", "a Gaussian is drawn at every step: leave executes out"),
            (c.initial is not None, f"initial={c.initial!r}", "nobody sees a Gaussian's output before the first step: leave initial out"),
        ):
            if wrong:
                raise ValueError(f"coagent {c.name!r}: {what}: {remedy}")
    others = [name for name in action if name not in gaussian]
    if others and gaussian.intersection(action):
        raise ValueError(f"coagent {others[0]!r}: action has outputs that are counted and Gaussian ones: let all of them be of one kind")


def check_untouched(coagents: Iterable[Any], touched: Mapping[str, Any]) -> None:
    """Raise ValueError naming the coagent whose execution function looks at a Gaussian output."""
    gaussian = {c.name for c in coagents if c.gaussian is not None}
    for reader, fields in touched.items():
        for name in gaussian.intersection((*fields.upstream, *fields.previous)):
            raise ValueError(
                f"coagent {reader!r}: its execution function looks at {name!r}, whose output is Gaussian: let it look at those that are "
                "counted"
            )
