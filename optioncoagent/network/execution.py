"""Execution functions: what they touch, found by running them once on stand-ins; their tables over just that; their values.

A function may look up anything of a local state. What it looks up is recorded (`trace`), and only that becomes an axis of its table
(`tabulate`), so that a network may have a hundred coagents.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from optioncoagent.network.coagent import Coagent, FloatArray, LocalState

MAX_TABLE = 1 << 26  # entries of an execution table
ROUNDING = 1e-6  # a product of matrices may round otherwise where there are more rows
CHECKED = 64, 4096  # local states that a function is asked about one by one; the latter if it says the same of all
AGAIN = 32  # times that a function is asked again about a cell, all cells of its table together
AT_ONCE = 1 << 16  # local states that a function is asked about at once


@dataclass(frozen=True)
class Touched:
    """What an execution function looks at: the part of X_t that its table has axes for. Outputs are in network order."""

    start: bool = False
    state: bool = False
    upstream: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()


def tabulate(coagent: Coagent, touched: Touched, sizes: Mapping[str, int], num_observations: int) -> FloatArray:
    """Probability that a coagent executes, tabulated over what its execution function touches and nothing else.

    Shape ((2,) if it touches start) + ((num_observations,) if it touches the state) + sizes of `touched.upstream` + sizes of
    `touched.previous`, in that order; () for a constant. On the first axis, start: 0 is a later step, 1 the first.
    Raises ValueError naming the coagent if the function fails, leaves [0, 1], looks up other fields than it did at first, says something
    else of a local state by itself than of it among all, or touches so much that the table would have more than MAX_TABLE entries.
    """
    name, order = coagent.name, tuple(sizes)
    if not callable(coagent.executes):
        return np.array(float(coagent.executes))
    outputs = (*touched.upstream, *touched.previous)
    shape = (2,) * touched.start + (num_observations,) * touched.state + tuple(sizes[n] for n in outputs)
    if prod(shape) > MAX_TABLE:
        raise ValueError(
            f"coagent {name!r}: its execution function touches {_in_words(touched)}, and a table over them all has {prod(shape):,} "
            f"entries, more than {MAX_TABLE:,}: let it touch less"
        )
    table = _of_all(coagent, touched, order, shape)
    check_probability(name, table)
    _check_repeatable(coagent, touched, order, table)
    _check_elementwise(coagent, touched, order, table)
    return table


def _of_all(coagent: Coagent, touched: Touched, order: tuple[str, ...], shape: tuple[int, ...]) -> FloatArray:
    """What a function says of all cells of its table."""
    return np.concatenate([_of_cells(coagent, touched, order, shape, first) for first in range(0, prod(shape), AT_ONCE)]).reshape(shape)


def _of_cells(coagent: Coagent, touched: Touched, order: tuple[str, ...], shape: tuple[int, ...], first: int) -> FloatArray:
    """What a function says of AT_ONCE cells of its table, from this one on: a flat array, as all fields are that it is shown."""
    number = min(AT_ONCE, prod(shape) - first)
    axes = np.unravel_index(np.arange(first, first + number), shape) if shape else ()
    recording = _RecordingState(_local_states(coagent.name, touched, order, axes))
    result = _values(coagent, recording)
    if recording.touched(order) != touched:
        raise ValueError(
            f"coagent {coagent.name!r}: its execution function touches {_in_words(touched)} on some values and "
            f"{_in_words(recording.touched(order))} on others: look all of them up first, and choose elementwise"
        )
    if result.size != 1 and result.shape != (number,):
        raise ValueError(
            f"coagent {coagent.name!r}: its execution function gave an array of shape {result.shape} for fields of shape ({number},); "
            "work elementwise on the fields of the local state"
        )
    return np.broadcast_to(result.reshape(-1), number)


def _values(coagent: Coagent, x: _RecordingState) -> FloatArray:
    """What an execution function says of local states, as an array of numbers."""
    result = _asked(coagent, x)
    try:
        return np.asarray(result.detach().cpu() if hasattr(result, "detach") else result, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"coagent {coagent.name!r}: its execution function gave {type(result).__name__}, which is not an array") from error


def _asked(coagent: Coagent, x: _RecordingState) -> Any:
    """What an execution function says of local states of NumPy arrays; of tensors, if it is written in torch's words."""
    try:
        return _evaluate(coagent, x)
    except ValueError as error:
        torch, reason = sys.modules.get("torch"), error.__cause__
        if torch is None or not isinstance(reason, AttributeError | TypeError) or "truth value" in str(reason):
            raise

        def tensor(field: Any) -> Any:
            return torch.from_numpy(np.asarray(field)) if isinstance(field, np.ndarray) else field

        try:
            return _evaluate(coagent, x.converted(tensor))
        except ValueError:
            raise error from reason


def _check_repeatable(coagent: Coagent, touched: Touched, order: tuple[str, ...], table: FloatArray) -> None:
    """Ask again: a function that throws a coin of its own says something else, and a small table would hold one throw for ever."""
    for _ in range(AGAIN // table.size):
        if not (np.abs(_of_all(coagent, touched, order, table.shape) - table) <= ROUNDING).all():
            raise ValueError(
                f"coagent {coagent.name!r}: its execution function does not say the same of a local state when it is asked again: give the "
                "probability of executing, and let the coin be thrown for it"
            )


def _check_elementwise(coagent: Coagent, touched: Touched, order: tuple[str, ...], table: FloatArray) -> None:
    """Ask about some local states one by one: a function that reduces, as by any(), says something else of all at once."""
    number = CHECKED[bool((table == table.flat[0]).all())]
    cells = np.arange(table.size) if table.size <= number else np.random.default_rng(0).choice(table.size, number, replace=False)
    for index in zip(*np.unravel_index(cells, table.shape), strict=True) if table.shape else ():
        x = _RecordingState(_local_states(coagent.name, touched, order, [np.array([value]) for value in index]))
        alone = _values(coagent, x).reshape(-1)
        if alone.size != 1 or not abs(alone[0] - table[index]) <= ROUNDING:
            cell, says = ", ".join(map(str, index)), ", ".join(map(str, alone))
            raise ValueError(
                f"coagent {coagent.name!r}: its execution function does not work elementwise: of one local state ({_in_words(touched)} = "
                f"{cell}) it says {says}, and of the same one among others {table[index]:g}; leave out any(), all(), max() and the like, "
                "int() and indices"
            )


def _local_states(name: str, touched: Touched, order: tuple[str, ...], arrays: Iterable[np.ndarray]) -> LocalState:
    """Local states of which what is touched is in these arrays, in the order of the table's axes; the rest is 0."""
    nothing = np.zeros(1, dtype=np.int64).view(_NoTruth)
    axes = iter([axis.view(_NoTruth) for axis in arrays])
    start = next(axes).astype(bool) if touched.start else nothing
    state = next(axes) if touched.state else nothing
    upstream = {n: next(axes) if n in touched.upstream else nothing for n in order[: order.index(name)]}
    return LocalState(start, state, upstream, {n: next(axes) if n in touched.previous else nothing for n in order})


def trace(coagent: Coagent, order: tuple[str, ...]) -> Touched:
    """What an execution function looks up, found by running it on stand-ins, tried in turn since the form of an observation is unknown.

    Raises ValueError naming the coagent if it fails on all of them, or for a probability outside [0, 1].
    """
    if not callable(coagent.executes):
        check_probability(coagent.name, coagent.executes)
        if np.ndim(coagent.executes):
            many = f"coagent {coagent.name!r}: executes={coagent.executes!r} is several probabilities"
            raise ValueError(f"{many}: give one, or a function of a LocalState that looks them up")
        return Touched()
    earlier, integers = order[: order.index(coagent.name)], np.zeros(2, dtype=np.int64).view(_NoTruth)
    booleans = integers.astype(bool)
    errors: list[ValueError] = []
    for start, state, output in ((booleans, integers, integers), (booleans, _ANYTHING, integers), (_ANYTHING, _ANYTHING, _ANYTHING)):
        recording = _RecordingState(LocalState(start, state, dict.fromkeys(earlier, output), dict.fromkeys(order, output)))
        try:
            _asked(coagent, recording)
        except ValueError as error:
            errors.append(error)
            continue
        return recording.touched(order)
    # what is not there is not there whatever the observation; other errors may come from the stand-in
    raise errors[-1 if isinstance(errors[-1].__cause__, KeyError | AttributeError) else 0]


def check_probability(name: str, probability: Any) -> Any:
    """Return execution probabilities (a number, array or tensor) unchanged; ValueError naming the coagent if any is outside [0, 1]."""
    try:
        outside = ~((probability >= 0) & (probability <= 1)) if hasattr(probability, "shape") else not 0 <= probability <= 1
    except TypeError as error:
        raise ValueError(f"coagent {name!r}: executes={probability!r} is neither a probability nor a function of a LocalState") from error
    if outside.any() if hasattr(outside, "any") else outside:
        worst = probability[outside].reshape(-1)[0] if hasattr(probability, "shape") else probability
        raise ValueError(f"coagent {name!r}: an execution probability is {float(worst)!r}, outside [0, 1]")
    return probability


def execution_probability(coagent: Coagent, x: LocalState) -> Any:
    """β(x): evaluate an execution function on arrays or tensors. Raises ValueError naming the coagent if it fails."""
    return _evaluate(coagent, x) if callable(coagent.executes) else coagent.executes


def _evaluate(coagent: Coagent, x: Any) -> Any:
    assert callable(coagent.executes)
    try:
        result = coagent.executes(x)
    except Exception as error:  # whatever a user's function raises, the message names the coagent
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        raise ValueError(
            f"coagent {coagent.name!r}: its execution function failed ({type(error).__name__}: {text}){_advice(error, x)}"
        ) from error
    if result is None:
        raise ValueError(f"coagent {coagent.name!r}: its execution function returned None, not a probability or a bool")
    return result


# what Python, NumPy and torch say where an array was used as if it were one value, or in a shape of its own
_NOT_ELEMENTWISE = ("truth value", "Boolean value", "broadcast", "shape", "size", "dimension", "scalar", "unhashable")


def _advice(error: Exception, x: Any) -> str:
    """What to do about an error of an execution function, where its kind tells."""
    if isinstance(error, KeyError):
        seen = f"; the observation has {list(x.state)}" if isinstance(x.state, Mapping) else ""
        return f". upstream has {list(x.upstream)}, the coagents before it, and previous has {list(x.previous)}{seen}"
    if isinstance(error, AttributeError):
        return ". The fields are start, state, upstream[an earlier coagent] and previous[any coagent], all arrays"
    if isinstance(error, IndexError) and isinstance(x.state, np.ndarray) and "only integers, slices" in str(error):
        return ". x.state is the number of an observation for the exact solver and the simulator, in the learner the observation itself"
    if isinstance(error, TypeError | ValueError | RuntimeError) and any(words in str(error) for words in _NOT_ELEMENTWISE):
        return ". All fields are arrays: work elementwise, and write ==, &, |, ~ for and, or, not, if"
    return ""


def _in_words(touched: Touched) -> str:
    outputs = [f"{field}[{n!r}]" for field in ("upstream", "previous") for n in getattr(touched, field)]
    return ", ".join(["start"] * touched.start + ["state"] * touched.state + outputs) or "nothing"


# Recording what an execution function touches


class _NoTruth(np.ndarray):
    """An array without a truth value, of any size: and, or, not, if on it are refused."""

    def __bool__(self) -> bool:
        raise TypeError("an array has no truth value")


class _Anything:
    """Stands in for an observation of unknown form: every operation on it gives itself, and it has no truth value."""

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __bool__(self) -> bool:
        raise TypeError("an array has no truth value")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("an observation cannot be iterated over while lookups are recorded")

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> _Anything:
        return _ANYTHING


def _itself(*_: Any, **__: Any) -> _Anything:
    return _ANYTHING


for _operator in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul and rand or ror xor rxor "
    "lt le gt ge eq ne neg pos abs invert getitem setitem call array_ufunc array_function"
).split():
    setattr(_Anything, f"__{_operator}__", _itself)
_ANYTHING = _Anything()


class _RecordingMapping(Mapping[str, Any]):
    def __init__(self, field: str, values: Mapping[str, Any], seen: set[tuple[str, str]], shown: Callable[[Any], Any]):
        self.field, self.values_, self.seen, self.shown = field, values, seen, shown

    def __getitem__(self, name: str) -> Any:
        if name not in self.values_:
            raise KeyError(f"{self.field}[{name!r}] is not there")
        self.seen.add((self.field, name))
        return self.shown(self.values_[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


class _RecordingState:
    """A LocalState that remembers which of its fields were looked at. It shows copies: a function may change what it is given."""

    def __init__(self, x: LocalState, seen: set[tuple[str, str]] | None = None, shown: Callable[[Any], Any] = lambda field: field.copy()):
        self._x, self._seen, self._shown = x, set[tuple[str, str]]() if seen is None else seen, shown
        self.upstream = _RecordingMapping("upstream", x.upstream, self._seen, shown)
        self.previous = _RecordingMapping("previous", x.previous, self._seen, shown)

    def converted(self, convert: Callable[[Any], Any]) -> _RecordingState:
        """The same record, of fields that are converted when they are looked up."""
        return _RecordingState(self._x, self._seen, lambda field: convert(self._shown(field)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a local state has no {name}")

    @property
    def start(self) -> Any:
        self._seen.add(("start", ""))
        return self._shown(self._x.start)

    @property
    def state(self) -> Any:
        self._seen.add(("state", ""))
        return self._shown(self._x.state)

    def touched(self, order: tuple[str, ...]) -> Touched:
        upstream, previous = (tuple(n for n in order if (field, n) in self._seen) for field in ("upstream", "previous"))
        return Touched(("start", "") in self._seen, ("state", "") in self._seen, upstream, previous)
