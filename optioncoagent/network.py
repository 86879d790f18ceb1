"""A coagent network, written down once as data.

A network is a fixed order of coagents. Within one time step (a *tick*) each coagent, in that order, executes or not; one that executes
draws an output from its own softmax policy, one that does not retains its output of the step before. The exact solver, the simulator and
the learner all read the same `CoagentNetwork`; none of them needs to know what the coagents are for.

Notation is that of Kostas, Nota, Thomas, "Asynchronous Coagent Networks" (ICML 2020), called ACN: `U^pre` are the outputs of the coagents
before this one at this step, `U^all_{t-1}` all outputs of the step before, `X_t = (S_t, U^pre_t, U^all_{t-1})` the local state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_TABLE = 1 << 26  # entries of an execution table


@dataclass(frozen=True)
class LocalState:
    """What an execution function may read, X_t = (S_t, U^pre_t, U^all_{t-1}); every field is an array (or a mapping to arrays).

    start: bool, is this the first step of the episode. state: the observation (its index in the exact solver and the simulator, the
    batch of observations itself in the learner). upstream[name]: output of an earlier coagent at this step. previous[name]: output of
    any coagent at the step before. Fields broadcast against each other.
    """

    start: Any
    state: Any
    upstream: Mapping[str, Any]
    previous: Mapping[str, Any]


@dataclass(frozen=True)
class Coagent:
    """One small stochastic policy, and when it executes.

    name: unique in the network. num_outputs: its output is one of 0 … num_outputs-1.
    observes, upstream, previous: what the *policy* reads: the state's observation, outputs of earlier coagents at this step, outputs of any
    coagents at the last step. They alone shape its parameters (see `CoagentNetwork.parameter_shape`).
    executes: the execution function β: a probability, or a function of `LocalState` to a probability or a bool. It may touch anything; all
    fields are arrays, so write ==, &, |, ~ and not and, or, not, if.
    initial: law h_0 of the output before the first step: an int (point mass), an array of probabilities, or None (uniform).
    cost: subtracted from the reward at every step but the first at which the coagent executes.
    """

    name: str
    num_outputs: int
    observes: bool = True
    upstream: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    executes: float | Callable[[LocalState], Any] = 1.0
    initial: int | Iterable[float] | None = None
    cost: float = 0.0


@dataclass(frozen=True)
class Touched:
    """What an execution function looks at: the part of X_t that its table has axes for. Outputs are in network order."""

    start: bool = False
    state: bool = False
    upstream: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()


class CoagentNetwork:
    """Coagents in their order of execution, and which outputs are the action.

    coagents: in order; a coagent's `upstream` must be earlier ones. action: the name of the action coagent, or several names whose
    joint output, in C order, is the action.

    Attributes, all derived from the description:
        names, num_outputs: tuples in order.
        touched: {name: Touched}, what each execution function looks at.
        memory: outputs that the next step can see: named in a `previous`, touched through `x.previous`, or read by somebody and perhaps
            retained. Only these need to be carried from step to step.
        critic_inputs: K; (S_t, K_t) screens off everything earlier, so that a critic Q(s, K) is a value. Memory, and, unless the
            action is memory, what the action coagent reads.

    Raises ValueError, naming the coagent and what to change, for a description that is not a network.
    """

    def __init__(self, coagents: Iterable[Coagent], action: str | Iterable[str] = "action"):
        self.coagents = tuple(coagents)
        self.action = (action,) if isinstance(action, str) else tuple(action)
        self.names = tuple(c.name for c in self.coagents)
        self.num_outputs = tuple(c.num_outputs for c in self.coagents)
        _check_wiring(self.coagents, self.action)
        self._by_name = dict(zip(self.names, self.coagents, strict=True))
        self._initial = {c.name: _initial_law(c) for c in self.coagents}
        self.touched = {c.name: self._trace(c) for c in self.coagents}
        self._may_retain = {c.name: self._find_retention(c) for c in self.coagents}
        self.memory = self._find_memory()
        self.critic_inputs = self._find_critic_inputs()

    def __getitem__(self, name: str) -> Coagent:
        return self._by_name[name]

    def __repr__(self) -> str:
        return f"CoagentNetwork({', '.join(f'{c.name}:{c.num_outputs}' for c in self.coagents)}; action={self.action})"

    @property
    def num_actions(self) -> int:
        """Number of joint actions."""
        return prod(self[name].num_outputs for name in self.action)

    def joint_action(self, outputs: Mapping[str, Any]) -> Any:
        """Index of the joint action, in C order over `action`; `outputs[name]` are integer arrays or tensors of one shape."""
        index: Any = 0
        for name in self.action:
            index = index * self[name].num_outputs + outputs[name]
        return index

    def initial(self, name: str) -> FloatArray:
        """Law h_0 of the output before the first step, shape (num_outputs,)."""
        return self._initial[name]

    def may_retain(self, name: str, start: bool) -> bool:
        """Can this coagent fail to execute, at a first step (`start`) or at a later one? True where only the state can tell."""
        return self._may_retain[name][int(start)]

    def readers(self, name: str) -> tuple[str, ...]:
        """Coagents whose policy or execution function reads this output at this same step."""
        return tuple(c.name for c in self.coagents if name in c.upstream or name in self.touched[c.name].upstream)

    def live(self, kept: Iterable[str]) -> list[tuple[str, ...]]:
        """Outputs that still matter before each coagent runs and, last, after all have: those in `kept`, and those that a coagent still
        to come reads. Tables over a tick need axes for these only. In network order.
        """
        needed, live = set(kept), [tuple(n for n in self.names if n in set(kept))]
        for c in reversed(self.coagents):
            needed = (needed - {c.name}).union(c.upstream, self.touched[c.name].upstream)
            live.append(tuple(n for n in self.names if n in needed))
        return live[::-1]

    # Parameters

    def configuration_shape(self, name: str) -> tuple[int, ...]:
        """Sizes of the discrete outputs that the policy reads: upstream, then previous."""
        coagent = self[name]
        return tuple(self[other].num_outputs for other in (*coagent.upstream, *coagent.previous))

    def parameter_shape(self, name: str, num_observations: int) -> tuple[int, ...]:
        """((num_observations,) if it observes) + upstream sizes + previous sizes + (num_outputs,)."""
        observation = (num_observations,) if self[name].observes else ()
        return (*observation, *self.configuration_shape(name), self[name].num_outputs)

    def init_params(self, num_observations: int, seed: int = 0, scale: float = 1.0) -> dict[str, FloatArray]:
        """Random logits, {name: array of `parameter_shape`}, drawn normal(0, scale)."""
        rng = np.random.default_rng(seed)
        return {name: scale * rng.standard_normal(self.parameter_shape(name, num_observations)) for name in self.names}

    def policies(self, params: Mapping[str, Any], num_observations: int) -> dict[str, FloatArray]:
        """Softmax policies, {name: array like params[name]}.

        Raises ValueError where a coagent's logits are missing, have the wrong shape, are NaN or +inf, or are -inf for a whole row.
        """
        unknown = set(params) - set(self.names)
        if unknown:
            raise ValueError(f"params has {sorted(unknown)}, which the network does not: its coagents are {list(self.names)}")
        policies = {}
        for name in self.names:
            if name not in params:
                raise ValueError(f"params has no logits for coagent {name!r}")
            logits = np.asarray(params[name], dtype=np.float64)
            shape = self.parameter_shape(name, num_observations)
            if logits.shape != shape:
                raise ValueError(f"params[{name!r}] has shape {logits.shape}, the network needs {shape}")
            if np.isnan(logits).any() or (logits == np.inf).any() or not np.isfinite(logits).any(axis=-1).all():
                raise ValueError(f"params[{name!r}] has NaN, +inf or a row of -inf: a softmax needs one finite logit in each row")
            policies[name] = softmax(logits)
        return policies

    # Execution functions

    def execution_table(self, name: str, num_observations: int) -> FloatArray:
        """Probability that a coagent executes, tabulated over what its execution function touches and nothing else.

        Shape ((2,) if it touches start) + ((num_observations,) if it touches the state) + sizes of `touched[name].upstream` + sizes of
        `touched[name].previous`, in that order; () for a constant. On the first axis, start: 0 is a later step, 1 the first.
        Raises ValueError naming the coagent if the function fails, leaves [0, 1], looks up other fields than it did at first, or touches so
        much that the table would have more than MAX_TABLE entries.
        """
        coagent, touched = self[name], self.touched[name]
        if not callable(coagent.executes):
            return np.array(float(coagent.executes))
        outputs = (*touched.upstream, *touched.previous)
        shape = (2,) * touched.start + (num_observations,) * touched.state + tuple(self[n].num_outputs for n in outputs)
        if prod(shape) > MAX_TABLE:
            raise ValueError(
                f"coagent {name!r}: its execution function touches {_in_words(touched)}, and a table over them all has {prod(shape):,} "
                f"entries, more than {MAX_TABLE:,}: let it touch less"
            )
        recording = _RecordingState(self._mesh(name, shape))
        result = _evaluate(coagent, recording)
        if recording.touched(self.names) != touched:
            raise ValueError(
                f"coagent {name!r}: its execution function touches {_in_words(touched)} on some values and "
                f"{_in_words(recording.touched(self.names))} on others: look all of them up first, and choose elementwise"
            )
        try:
            table = np.broadcast_to(np.asarray(result, dtype=np.float64), shape)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"coagent {name!r}: its execution function gave {type(result).__name__} of shape {np.shape(result)} for fields that "
                f"broadcast to {shape}; work elementwise on the fields of the local state"
            ) from error
        return check_probability(name, np.array(table))

    def _mesh(self, name: str, shape: tuple[int, ...]) -> LocalState:
        """All local states of a coagent as an open mesh: what is touched has an axis each in an array of this shape, the rest is 0."""
        touched, nothing = self.touched[name], np.zeros(1, dtype=np.int64).view(_NoTruth)
        axes = iter([axis.view(_NoTruth) for axis in np.indices(shape, sparse=True)])
        start = next(axes).astype(bool) if touched.start else nothing
        state = next(axes) if touched.state else nothing
        upstream = {n: next(axes) if n in touched.upstream else nothing for n in self.names[: self.names.index(name)]}
        return LocalState(start, state, upstream, {n: next(axes) if n in touched.previous else nothing for n in self.names})

    def _trace(self, coagent: Coagent) -> Touched:
        """Run an execution function once and record its lookups. The form of an observation is unknown: stand-ins are tried in turn."""
        if not callable(coagent.executes):
            check_probability(coagent.name, coagent.executes)
            return Touched()
        earlier, integers = self.names[: self.names.index(coagent.name)], np.zeros(2, dtype=np.int64).view(_NoTruth)
        booleans = integers.astype(bool)
        errors: list[ValueError] = []
        for start, state, output in ((booleans, integers, integers), (booleans, _ANYTHING, integers), (_ANYTHING, _ANYTHING, _ANYTHING)):
            recording = _RecordingState(LocalState(start, state, dict.fromkeys(earlier, output), dict.fromkeys(self.names, output)))
            try:
                _evaluate(coagent, recording)
            except ValueError as error:
                errors.append(error)
                continue
            return recording.touched(self.names)
        # what is not there is not there whatever the observation; other errors may come from the stand-in
        raise errors[-1 if isinstance(errors[-1].__cause__, KeyError | AttributeError) else 0]

    def _find_retention(self, coagent: Coagent) -> tuple[bool, bool]:
        """(may fail to execute at a later step, may fail at a first step)."""
        touched = self.touched[coagent.name]
        if touched.state:
            return True, True
        table = self.execution_table(coagent.name, 1)
        later, first = table if touched.start else (table, table)
        return bool((later < 1).any()), bool((first < 1).any())

    def _find_memory(self) -> tuple[str, ...]:
        remembered = {name for c in self.coagents for name in (*c.previous, *self.touched[c.name].previous)}
        for name in self.names:
            if self.may_retain(name, start=False) and (name in self.action or self.readers(name)):
                remembered.add(name)
        return tuple(name for name in self.names if name in remembered)

    def _find_critic_inputs(self) -> tuple[str, ...]:
        inputs = set(self.memory)
        for name in self.action:
            if name not in self.memory:
                inputs.update(self[name].upstream)
                if self[name].previous or self.may_retain(name, start=True):
                    inputs.add(name)
        return tuple(name for name in self.names if name in inputs)


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis; -inf logits have probability 0."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def check_probability(name: str, probability: Any) -> Any:
    """Return execution probabilities (a number, array or tensor) unchanged; ValueError naming the coagent if any is outside [0, 1]."""
    try:
        outside = ~((probability >= 0) & (probability <= 1)) if hasattr(probability, "shape") else not 0 <= probability <= 1
    except TypeError as error:
        raise ValueError(f"coagent {name!r}: executes={probability!r} is neither a probability nor a function of a LocalState") from error
    if outside.any() if hasattr(outside, "any") else outside:
        worst = probability[outside].reshape(-1)[0] if hasattr(probability, "shape") else probability
        raise ValueError(f"coagent {name!r}: an execution probability is {float(worst):.6g}, outside [0, 1]")
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
    if isinstance(error, TypeError | ValueError | RuntimeError) and any(words in str(error) for words in _NOT_ELEMENTWISE):
        return ". All fields are arrays: work elementwise, and write ==, &, |, ~ for and, or, not, if"
    return ""


def _in_words(touched: Touched) -> str:
    outputs = [f"{field}[{n!r}]" for field in ("upstream", "previous") for n in getattr(touched, field)]
    return ", ".join(["start"] * touched.start + ["state"] * touched.state + outputs) or "nothing"


def _check_wiring(coagents: tuple[Coagent, ...], action: tuple[str, ...]) -> None:
    names = [c.name for c in coagents]
    for position, coagent in enumerate(coagents):
        name = coagent.name
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"coagent {name!r}: a name is a string, not empty and without a dot (it names parameters)")
        if name in names[:position]:
            raise ValueError(f"coagent {name!r} is named twice: give each coagent a name of its own")
        if isinstance(coagent.num_outputs, bool) or not isinstance(coagent.num_outputs, int | np.integer) or coagent.num_outputs < 1:
            raise ValueError(f"coagent {name!r}: num_outputs={coagent.num_outputs!r}, it needs an integer of at least 1")
        if not np.isscalar(coagent.cost) or not np.isfinite(coagent.cost):
            raise ValueError(f"coagent {name!r}: cost={coagent.cost!r} is not a finite number")
        for field, allowed, what in (("upstream", names[:position], "earlier"), ("previous", names, "known")):
            read = getattr(coagent, field)
            if isinstance(read, str):
                raise ValueError(f"coagent {name!r}: {field}={read!r} is a string; write ({read!r},)")
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
    if not action:
        raise ValueError("the network has no action coagent: name at least one in action=")
    for name in action:
        if name not in names:
            raise ValueError(f"action names {name!r}, but the coagents are {names}: name the action coagent in action=")
    if len(set(action)) < len(action):
        raise ValueError(f"action={action!r} names a coagent twice")


def _initial_law(coagent: Coagent) -> FloatArray:
    n, initial = coagent.num_outputs, coagent.initial
    if initial is None:
        return np.full(n, 1.0 / n)
    if isinstance(initial, int | np.integer):
        if not 0 <= initial < n:
            raise ValueError(f"coagent {coagent.name!r}: initial={initial} is not one of its outputs 0 … {n - 1}")
        return np.eye(n)[initial]
    law = np.array(initial, dtype=np.float64)
    if law.shape != (n,) or not (law >= 0).all() or abs(law.sum() - 1) > 1e-8:
        raise ValueError(f"coagent {coagent.name!r}: initial={initial!r} is no distribution over its {n} outputs")
    return law


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
    "lt le gt ge eq ne neg pos abs invert getitem call array_ufunc array_function"
).split():
    setattr(_Anything, f"__{_operator}__", _itself)
_ANYTHING = _Anything()


class _RecordingMapping(Mapping[str, Any]):
    def __init__(self, field: str, values: Mapping[str, Any]):
        self.field, self.values_, self.seen = field, values, set[str]()

    def __getitem__(self, name: str) -> Any:
        if name not in self.values_:
            raise KeyError(f"{self.field}[{name!r}] is not there")
        self.seen.add(name)
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


class _RecordingState:
    """A LocalState that remembers which of its fields were looked at."""

    def __init__(self, x: LocalState):
        self._x, self._seen = x, set[str]()
        self.upstream, self.previous = _RecordingMapping("upstream", x.upstream), _RecordingMapping("previous", x.previous)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a local state has no {name}")

    @property
    def start(self) -> Any:
        self._seen.add("start")
        return self._x.start

    @property
    def state(self) -> Any:
        self._seen.add("state")
        return self._x.state

    def touched(self, order: tuple[str, ...]) -> Touched:
        upstream, previous = (tuple(n for n in order if n in seen) for seen in (self.upstream.seen, self.previous.seen))
        return Touched("start" in self._seen, "state" in self._seen, upstream, previous)
