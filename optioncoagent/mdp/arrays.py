"""A finite Markov decision process as arrays.

`R_t` belongs to `(S_t, A_t, S_{t+1})`; episodes end in terminal states, which only terminal states follow, with zero reward.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from optioncoagent.mdp.horizon import unroll

if TYPE_CHECKING:
    from optioncoagent.mdp.environment import MDPEnv

_TOLERANCE = 1e-8  # how far a law may be from summing to one
_OF_SINGLES = 1e-5  # and one of float32, which is then divided by its sum
_DIVIDE = "if that is rounding, divide it by its sum"


class MDP:
    """A finite MDP (S, A, P, R, d0, gamma).

    P: transition probabilities, (S, A, S) dense or scipy.sparse (S*A, S), row s*A + a. R: expected reward of (s, a, s'), in the layout
    of P, or of (s, a), shape (S, A). d0: (S,), law of S_0. gamma: in [0, 1]. terminal: (S,) bool, or None: those states
    that no action leaves and where every reward is 0. observation: (S,) int, what state s looks like to policies and execution functions;
    by default s itself.
    horizon: T, if only the first T steps count, J = E[Σ_{t<T} γ^t R_t]; policies do not see the time. None: all steps do.

    Arrays are checked, copied to float64 and kept as `P`, `R`, `d0`, `gamma`, `terminal`, `observation`, `horizon`, not to be changed:
    solvers remember what they made of them. Laws of float32, which sum to 1 but for rounding, are divided by their sums. `observations`
    is None, or, where `from_minigrid` made the MDP, a list: what is seen at each observation index.
    Raises ValueError that names the first offending entry.
    """

    def __init__(self, P: Any, R: Any, d0: Any, gamma: float, terminal: Any = None, observation: Any = None, horizon: int | None = None):
        self.P = _as_array("P", P)
        self.R = _as_array("R", R)
        self.d0 = np.asarray(d0).astype(np.float64)
        self.gamma = float(gamma)
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma={gamma}: a discount is in [0, 1]")
        if horizon is not None and (isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1):
            raise ValueError(f"horizon={horizon!r}: it needs a number of steps, an integer of at least 1, or None")
        self.horizon = None if horizon is None else int(horizon)
        if self.d0.ndim != 1 or self.d0.size == 0:
            raise ValueError(f"d0 has shape {self.d0.shape}: it needs one probability for each state, (S,)")
        self.num_states = self.d0.size
        self.num_actions = self._check_shapes()
        if _is_single(P):
            self.P = normalized(self.P)
        if _is_single(d0):
            self.d0 = normalized(self.d0)
        self._check_laws()
        self.terminal = self._inferred_terminal() if terminal is None else np.array(terminal)
        self.observation = np.arange(self.num_states) if observation is None else np.array(observation)
        self.observations: list[Any] | None = None
        self._check_terminal()
        self._check_observation()

    def __repr__(self) -> str:
        sizes = f"{self.num_states} states, {self.num_actions} actions, {self.num_observations} observations"
        return f"MDP({sizes}, gamma={self.gamma:g}" + (")" if self.horizon is None else f", horizon={self.horizon})")

    @property
    def num_observations(self) -> int:
        """Largest observation index plus one."""
        return int(self.observation.max()) + 1

    @cached_property
    def transition_matrix(self) -> sp.csr_array:
        """P as scipy.sparse, (S*A, S), row s*A + a."""
        flat = self.P if sp.issparse(self.P) else self.P.reshape(self.num_states * self.num_actions, self.num_states)
        return sp.csr_array(flat)

    @cached_property
    def expected_reward(self) -> NDArray[np.float64]:
        """r(s, a) = Σ_s' P(s'|s,a) R(s,a,s'), shape (S, A)."""
        if not sp.issparse(self.R) and self.R.ndim == 2:
            return self.R
        if sp.issparse(self.R):
            return np.asarray(self.transition_matrix.multiply(self.R).sum(axis=1)).reshape(self.num_states, self.num_actions)
        P = self.P.toarray().reshape(self.R.shape) if sp.issparse(self.P) else self.P
        return np.einsum("sat,sat->sa", P, self.R)

    @cached_property
    def transition_reward(self) -> NDArray[np.float64]:
        """R(s, a, s') at the entries of `transition_matrix`, in their order; r(s, a) where R is (S, A)."""
        P = self.transition_matrix.tocoo()
        if sp.issparse(self.R):
            return np.asarray(self.R[P.row, P.col]).reshape(-1)
        source, action = P.row // self.num_actions, P.row % self.num_actions
        return self.R[source, action] if self.R.ndim == 2 else self.R[source, action, P.col]

    @property
    def unrolled(self) -> MDP:
        """The same MDP without a horizon: its time is unrolled into states t S + s, t = 0 … T (see `horizon.unroll`)."""
        return self if self.horizon is None else self._unrolled

    @cached_property
    def _unrolled(self) -> MDP:
        made = MDP(**unroll(self), gamma=self.gamma)
        made.observations = self.observations
        return made

    def to_env(self) -> MDPEnv:
        """A Gymnasium environment of this MDP: Discrete observations and actions, seeded; see `MDPEnv`."""
        from optioncoagent.mdp.environment import MDPEnv

        return MDPEnv(self)

    @classmethod
    def from_env(cls, env: Any, gamma: float) -> MDP:
        """The MDP of a Gymnasium toy_text environment or its id (FrozenLake, Taxi, CliffWalking, …), from its tables `P` and
        `initial_state_distrib`; or of one that `to_env` made.

        `P[s][a]` lists (probability, next state, reward, terminated). A transition that terminates leads to one added absorbing state,
        the last one, whatever next state the table names. A time limit is no part of the tables, and is left out.
        Raises ValueError for an environment without these tables, or in a wrapper of which they say nothing; gymnasium's own error for an
        unknown id.
        """
        from optioncoagent.mdp.toy_text import arrays_of

        mdp = cls(**arrays_of(env), gamma=gamma)
        mdp.observations = getattr(getattr(getattr(env, "unwrapped", env), "mdp", None), "observations", None)
        return mdp

    @classmethod
    def from_minigrid(
        cls,
        env_id: str,
        gamma: float,
        seed: int = 0,
        horizon: bool = False,
        view: str = "state",
        max_states: int = 300_000,
        progress_bar: bool = False,
    ) -> MDP:
        """One level of a deterministic MiniGrid task, the one that `reset(seed=seed)` makes: every state reachable by minigrid's dynamics.

        State 0 is the start, the last state the absorbing end. Without `horizon` there is no time: success pays 1 and only a termination
        ends. With it the time is unrolled up to max_steps, state t n + s with n the number of time-free states, success pays minigrid's own
        reward, which falls with the time, and the truncation ends as well: returns are those of the real environment.
        view: "state", observations tell states apart, or "egocentric", states with the same 7x7 image, direction and mission share one. In
        neither does an observation show the time. `observations[o]` is what is seen (image, direction, mission); the last one belongs to
        the end, where nothing is.
        Raises ValueError, naming the environment, if it is not a MiniGrid one, is wrapped in what changes rewards or observations, draws
        random numbers in a step, pays what is no success, or has more than `max_states` states, and for a seed that is none, another view
        or horizon; gymnasium's own error for an unknown id.
        """
        from optioncoagent.mdp.minigrid import VIEWS, enumerate_level

        if view not in VIEWS:
            raise ValueError(f"view={view!r}: choose one of {VIEWS}")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"seed={seed!r}: an integer of at least 0 tells which level to take")
        if not isinstance(horizon, bool | np.bool_):
            raise ValueError(f"horizon={horizon!r}: True unrolls the time up to the task's max_steps, False leaves it out")
        level = enumerate_level(env_id, int(seed), max_states, horizon, progress_bar)
        looks, observations = level.views(view, horizon)
        mdp = cls(**level.arrays(horizon), gamma=gamma, observation=looks)
        mdp.observations = observations
        return mdp

    def _check_shapes(self) -> int:
        S = self.num_states
        if sp.issparse(self.P):
            if self.P.shape[1] != S or self.P.shape[0] % S or self.P.shape[0] == 0:
                raise ValueError(f"sparse P has shape {self.P.shape}; with d0 of {S} states it needs (S*A, S) = ({S}*A, {S})")
            A = self.P.shape[0] // S
        else:
            if self.P.ndim != 3 or self.P.shape[0] != S or self.P.shape[2] != S or self.P.shape[1] == 0:
                raise ValueError(f"P has shape {self.P.shape}; with d0 of {S} states it needs (S, A, S) = ({S}, A, {S})")
            A = self.P.shape[1]
        allowed = [(S * A, S)] if sp.issparse(self.R) else [(S, A, S), (S, A)]
        if self.R.shape not in allowed:
            raise ValueError(f"R has shape {self.R.shape}; for {S} states and {A} actions it needs one of {allowed}")
        return A

    def _check_laws(self) -> None:
        if not (self.d0 >= 0).all() or abs(self.d0.sum() - 1) > _TOLERANCE:
            raise ValueError(
                f"d0 is not a distribution: it sums to {self.d0.sum():.12g}, its smallest entry is {self.d0.min():.6g}; {_DIVIDE}"
            )
        P, A = self.transition_matrix, self.num_actions
        if P.nnz and not P.data.min() >= 0:
            bad = int(np.argmax(~(P.data >= 0)))
            row = int(np.searchsorted(P.indptr, bad, side="right")) - 1
            raise ValueError(f"P(s'={P.indices[bad]} | s={row // A}, a={row % A}) is {P.data[bad]}: a probability is at least 0")
        sums = np.asarray(P.sum(axis=1)).ravel()
        if (np.abs(sums - 1) > _TOLERANCE).any():
            row = int(np.argmax(np.abs(sums - 1) > _TOLERANCE))
            raise ValueError(f"P(· | s={row // A}, a={row % A}) sums to {sums[row]:.12g}, not to 1; {_DIVIDE}")

    def _inferred_terminal(self) -> NDArray[np.bool_]:
        """States that no action leaves, however improbably, with zero reward."""
        P = self.transition_matrix.tocoo()
        state = P.row // self.num_actions
        leaves = np.bincount(state[(P.data > 0) & (P.col != state)], minlength=self.num_states) > 0
        return ~leaves & (self.expected_reward == 0).all(axis=1)

    def _check_terminal(self) -> None:
        S, A = self.num_states, self.num_actions
        if np.isin(self.terminal, (0, 1)).all():  # of whatever type
            self.terminal = self.terminal.astype(bool)
        if self.terminal.shape != (S,) or self.terminal.dtype != bool:
            raise ValueError(f"terminal has shape {self.terminal.shape} and dtype {self.terminal.dtype}; it needs ({S},) of bool")
        leak = np.asarray(self.transition_matrix @ (~self.terminal).astype(np.float64)).reshape(S, A)
        leaking = (leak > _TOLERANCE) & self.terminal[:, None]
        if leaking.any():
            s, a = np.argwhere(leaking)[0]
            raise ValueError(f"terminal state {s} leaks: action {a} leaves for a non-terminal state with probability {leak[s, a]:.6g}")
        paying = (self.expected_reward != 0) & self.terminal[:, None]
        if paying.any():
            s, a = np.argwhere(paying)[0]
            raise ValueError(f"terminal state {s} pays {self.expected_reward[s, a]:.6g} for action {a}; reward after the end is 0")

    def _check_observation(self) -> None:
        if self.observation.shape != (self.num_states,) or not np.issubdtype(self.observation.dtype, np.integer):
            raise ValueError(
                f"observation has shape {self.observation.shape} and dtype {self.observation.dtype}; it needs ({self.num_states},) of int"
            )
        if self.observation.min() < 0:
            raise ValueError(f"observation[{int(self.observation.argmin())}] is {self.observation.min()}: indices start at 0")


def _is_single(values: Any) -> bool:
    """Are these numbers of float32, NumPy's, torch's or scipy's?"""
    return str(values.dtype if hasattr(values, "dtype") else np.asarray(values).dtype).endswith("float32")


def normalized(laws: Any) -> Any:
    """Laws over the last axis divided by their sums, where these are 1 to rounding; others stay, to be refused."""
    sums = np.asarray(laws.sum(axis=-1))
    factor = np.where(np.abs(sums - 1) < _OF_SINGLES, 1 / np.where(sums == 0, 1, sums), 1.0)
    return sp.csr_array(sp.diags_array(factor) @ laws) if sp.issparse(laws) else laws * factor[..., None]


def _differ_at_one_place(values: Any) -> bool:
    """Are there several entries for one place that are not all 0?"""
    place = values.row.astype(np.int64) * values.shape[1] + values.col
    _, which, times = np.unique(place, return_inverse=True, return_counts=True)
    return bool(((times[which] > 1) & (values.data != 0)).any())


def _as_array(name: str, values: Any) -> Any:
    """A float64 copy, dense or csr; entries must be finite."""
    if sp.issparse(values):
        array = sp.csr_array(values, dtype=np.float64, copy=True)
        array.sum_duplicates()
        if name == "R" and _differ_at_one_place(values.tocoo()):
            raise ValueError("R has several entries for one (s, a, s'): give their mean, weighted by their probabilities")
        array.eliminate_zeros()  # what cannot happen leads nowhere, also where an episode never ends
        data = array.data
    else:
        array = data = np.asarray(values).astype(np.float64)
    if not np.isfinite(data).all():
        raise ValueError(f"{name} has an entry that is not finite: {data[~np.isfinite(data)][0]}")
    return array
