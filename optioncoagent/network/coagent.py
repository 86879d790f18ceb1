"""The records of which a network is made: what a coagent is, and the local state that it may read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optioncoagent.network.gaussian import Gaussian, check_gaussians

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class LocalState:
    """What an execution function may read, X_t = (S_t, U^pre_t, U^all_{t-1}); every field is an array (or a mapping to arrays).

    start: bool, is this the first step of the episode. state: the observation (its index in the exact solver and the simulator, the
    batch of observations itself in the learner). upstream[name]: output of an earlier coagent at this step. previous[name]: output of
    any coagent at the step before. All have the shape (n,), n local states, but for observations in the learner, whose first axis n is.
    """

    start: Any
    state: Any
    upstream: Mapping[str, Any]
    previous: Mapping[str, Any]


@dataclass(frozen=True)
class Coagent:
    """One small stochastic policy, and when it executes.

    name: unique in the network. num_outputs: its output is one of 0 … num_outputs-1; or a `Gaussian`, for real numbers, which is then
    found under `gaussian`, and num_outputs is 1, since no table in the network may depend on which numbers they are.
    observes, upstream, previous: what the *policy* reads: the state's observation, outputs of earlier coagents at this step, outputs of any
    coagents at the last step. They alone shape its parameters (see `CoagentNetwork.parameter_shape`).
    executes: the execution function β: a probability, or a function of `LocalState` to a probability or a bool. It may touch anything; all
    fields are arrays, so write ==, &, |, ~ and not and, or, not, if. It is shown copies, which it may change.
    initial: law h_0 of the output before the first step: an int (point mass), an array of probabilities, or None (uniform).
    cost: subtracted from the reward at every step but the first at which the coagent executes.
    shares: the coagent whose parameters this one's policy has too, None: its own. What the two read may differ, the shape may not.
    additive: its logits are a sum, of a term for the observation and one for each output read, in place of a table over joint outputs: it
    may read hundreds, and Gaussians. The learner trains it; exact solver and simulator take `CoagentNetwork.tabulated` (see `additive`).
    """

    name: str
    num_outputs: int | Any  # given as an int or a Gaussian, found as an int
    observes: bool = True
    upstream: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    executes: float | Callable[[LocalState], Any] = 1.0
    initial: int | Iterable[float] | None = None
    cost: float = 0.0
    shares: str | None = None
    additive: bool = False
    gaussian: Gaussian | None = None

    def __post_init__(self) -> None:
        if isinstance(self.num_outputs, Gaussian):
            object.__setattr__(self, "gaussian", self.num_outputs)
            object.__setattr__(self, "num_outputs", 1)
        if isinstance(self.num_outputs, np.integer):  # of eight bits, as some spaces have them, products would overflow
            object.__setattr__(self, "num_outputs", int(self.num_outputs))

    @property
    def owner(self) -> str:
        """The coagent whose parameters it has."""
        return self.name if self.shares is None else self.shares

    @property
    def tabled(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The outputs, upstream and previous, over whose joint values its policy is a table: none if it is additive."""
        return ((), ()) if self.additive else (self.upstream, self.previous)

    @property
    def width(self) -> int:
        """As how many numbers an additive policy reads its output: an indicator of each of finitely many, or a Gaussian's own."""
        return self.num_outputs if self.gaussian is None else self.gaussian.size

    @property
    def num_parameters(self) -> int:
        """How many numbers determine its policy in each configuration: logits, or means and logarithms of scales."""
        return self.num_outputs if self.gaussian is None else 2 * self.gaussian.size


def check_wiring(coagents: tuple[Coagent, ...], action: tuple[str, ...]) -> None:
    """Raise ValueError naming the coagent that is described wrongly by itself, or reads what it cannot."""
    names = [c.name for c in coagents]
    for position, coagent in enumerate(coagents):
        name = coagent.name
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"coagent {name!r}: a name is a string, not empty and without a dot (it names parameters)")
        if name in names[:position]:
            raise ValueError(f"coagent {name!r} is named twice: give each coagent a name of its own")
        if isinstance(coagent.num_outputs, bool) or not isinstance(coagent.num_outputs, int) or coagent.num_outputs < 1:
            raise ValueError(f"coagent {name!r}: num_outputs={coagent.num_outputs!r}, it needs an integer of at least 1")
        for field in ("observes", "additive"):
            if not isinstance(said := getattr(coagent, field), bool | np.bool_):
                hint = "; outputs of other coagents are named in upstream and previous" if field == "observes" else ""
                raise ValueError(f"coagent {name!r}: {field}={said!r} is neither True nor False{hint}")
        if not isinstance(coagent.cost, Real) or not np.isfinite(coagent.cost):
            raise ValueError(f"coagent {name!r}: cost={coagent.cost!r} is not a finite number")
        for field, allowed, what in (("upstream", names[:position], "earlier"), ("previous", names, "known")):
            read = getattr(coagent, field)
            if read is None:
                raise ValueError(f"coagent {name!r}: {field}=None; write () for nothing, or leave it out")
            if isinstance(read, str):
                raise ValueError(f"coagent {name!r}: {field}={read!r} is a string; write ({read!r},)")
            if not isinstance(read, Sequence) or not all(isinstance(other, str) for other in read):
                raise ValueError(f"coagent {name!r}: {field}={read!r} is no tuple of names")
            if len(set(read)) < len(read):
                raise ValueError(f"coagent {name!r}: {field}={read!r} names a coagent twice")
            for other in read:
                if other not in allowed:
                    hint = (
                        "move it before this one, or read its last output through previous"
                        if other in names
                        else "no coagent has that name"
                    )
                    raise ValueError(f"coagent {name!r}: {field} reads {other!r}, which is not {what}: {hint} (order: {names})")
    _check_sharing(coagents)
    if not action:
        raise ValueError("the network has no action coagent: name at least one in action=")
    for name in action:
        if name not in names:
            raise ValueError(f"action names {name!r}, but the coagents are {names}: name the action coagent in action=")
    if len(set(action)) < len(action):
        raise ValueError(f"action={action!r} names a coagent twice")
    check_gaussians(coagents, action)


def _check_sharing(coagents: tuple[Coagent, ...]) -> None:
    by_name = {c.name: c for c in coagents}

    def shape(c: Coagent) -> tuple[bool, bool, tuple[int | str, ...], int | Gaussian]:
        read = [by_name[n] for n in (*c.upstream, *c.previous)]
        sizes = tuple(r.num_outputs if r.gaussian is None else f"{r.width} numbers" for r in read)
        return c.additive, c.observes, sizes, c.gaussian or c.num_outputs

    for c in coagents:
        if c.shares is None:
            continue
        if c.shares not in by_name:
            raise ValueError(f"coagent {c.name!r}: shares={c.shares!r}, but no coagent has that name (order: {list(by_name)})")
        owner = by_name[c.shares]
        if owner is c:
            raise ValueError(f"coagent {c.name!r}: shares={c.shares!r} is itself: leave shares out")
        if owner.shares is not None:
            raise ValueError(f"coagent {c.name!r}: shares={c.shares!r}, which shares {owner.shares!r} itself: share {owner.shares!r}")
        if shape(c) != shape(owner):
            raise ValueError(
                f"coagent {c.name!r}: shares={c.shares!r}, whose parameters have another shape: (additive, observes, sizes of the outputs "
                f"read, outputs) is {shape(owner)} there and {shape(c)} here"
            )


def initial_law(coagent: Coagent) -> FloatArray:
    """Law h_0 of a coagent's output before the first step, (num_outputs,). ValueError where `initial` is neither an output nor a law."""
    n, initial = coagent.num_outputs, coagent.initial
    if initial is None:
        return np.full(n, 1.0 / n)
    initial = initial.item() if isinstance(initial, np.ndarray) and initial.ndim == 0 else initial
    if isinstance(initial, int | np.integer | np.bool_):
        if isinstance(initial, bool | np.bool_) or not 0 <= initial < n:
            raise ValueError(f"coagent {coagent.name!r}: initial={initial} is not one of its outputs 0 … {n - 1}")
        return np.eye(n)[initial]
    try:
        law = np.array(initial, dtype=np.float64)
    except (TypeError, ValueError):
        law = np.zeros(0)
    if (law == law.astype(np.float32)).all() and abs(law.sum() - 1) < 1e-5:  # numbers of float32, wherever they were kept since
        law /= law.sum()  # it sums to 1 but for rounding
    if law.shape != (n,) or not (law >= 0).all() or abs(law.sum() - 1) > 1e-8:
        raise ValueError(f"coagent {coagent.name!r}: initial={initial!r} is not a distribution over its {n} outputs")
    return law
