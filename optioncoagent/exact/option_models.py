"""Models of whole options, and planning with them: options as the actions of a semi-Markov decision process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optioncoagent.exact.option_values import flat_network
from optioncoagent.gallery import TERMINATE
from optioncoagent.mdp import MDP
from optioncoagent.network import FloatArray

MAX_ENTRIES = 1 << 26  # of models (O, S, S), and of transitions (S, A, S): half a gigabyte each
MAY_BE_MISSING = 1e-6  # what may be missing of an option's probability to end at some time
SETTLED = 1e-12  # change of a value in a sweep, over the sum of the magnitudes of what it is a sum of
MAX_SWEEPS = 100_000


@dataclass(frozen=True)
class OptionModels:
    """What each option brings and where it leads, from each state, exactly; K ≥ 1 is the number of steps until it ends.

        reward (S, O)        R_ω(s) = E[ Σ_{k<K} γ^k R_k | S_0 = s, ω ]
        transition (S, O, S) M_ω(s'|s) = E[ γ^K 1{S_K = s'} | S_0 = s, ω ]

    At terminal states, where every option ends, the reward is 0. Sutton, Precup, Singh, "Between MDPs and semi-MDPs" (Artificial
    Intelligence, 1999), section 4.
    """

    reward: FloatArray
    transition: FloatArray
    mdp: MDP | None = field(default=None, repr=False, compare=False)  # of which they are, where that is known


@dataclass(frozen=True)
class Plan:
    """The best there is with given options, each followed until it ends: values (S,) and action values (S, O); returns (sweeps + 1,) from
    the start after so many sweeps of value iteration, from V = 0 on."""

    value: FloatArray
    q: FloatArray
    returns: FloatArray


def option_models(mdp: MDP, *params: Mapping[str, Any]) -> OptionModels:
    """Models of the options that flat option-critic's parameters describe; of several parameters, of all their options side by side.

    params: see `option_values`; the policy over options plays no part. Under a horizon T the states are those of `mdp.unrolled`.
    Raises ValueError for other params, for more than MAX_ENTRIES numbers, and where γ = 1 and an option may never end.
    """
    if not params:
        raise ValueError("give the params of at least one set of options")
    mdp = mdp.unrolled
    S, num_actions = mdp.num_states, mdp.num_actions
    tables = [flat_network(mdp, part).policies(part, mdp.num_observations) for part in params]
    b, pi = (np.concatenate([part[name][mdp.observation] for part in tables], axis=1) for name in ("termination", "action"))
    num_options = pi.shape[1]
    if max(num_options, num_actions) * S * S > MAX_ENTRIES:
        raise ValueError(
            f"models of {num_options} options on {S:,} states and {num_actions} actions need more than {MAX_ENTRIES:,} numbers"
        )
    ends = np.where(mdp.terminal[:, None], 1.0, b[:, :, TERMINATE])
    P = mdp.transition_matrix.toarray().reshape(S, num_actions, S)
    reward, transition = np.zeros((S, num_options)), np.zeros((S, num_options, S))
    for option in range(num_options):
        A = np.einsum("sa,sat->st", pi[:, option], P)
        r = (pi[:, option] * mdp.expected_reward).sum(axis=1)
        # R = r + γ A diag(1 − b) R        M = γ A diag(b) + γ A diag(1 − b) M
        goes_on = np.eye(S) - mdp.gamma * A * (1 - ends[:, option])
        try:
            found = np.linalg.solve(goes_on, np.column_stack([r, mdp.gamma * A * ends[:, option]]))
        except np.linalg.LinAlgError:
            found = np.full((S, S + 1), np.nan)
        reward[:, option], transition[:, option] = found[:, 0], found[:, 1:]
        sure = np.abs(found[:, 1:].sum(axis=1) - 1) < MAY_BE_MISSING
        if mdp.gamma == 1 and not sure.all():
            state = np.flatnonzero(~sure)[0]
            raise ValueError(f"γ = 1, and option {option} begun at state {state} may never end: give γ < 1, or terminations above 0")
    return OptionModels(np.where(mdp.terminal[:, None], 0.0, reward), transition, mdp)


def plan(mdp: MDP, models: OptionModels) -> Plan:
    """Value iteration over options as actions, until no value changes (by SETTLED), and then (γ < 1) the values of the best choices
    themselves, by linear solves: `Plan`.

    Raises ValueError if it does not settle, as values that grow without end do not (γ = 1), and for models of another MDP (it may start
    elsewhere).
    """
    mdp = mdp.unrolled
    if len(models.reward) != mdp.num_states:
        raise ValueError(f"the models are of {len(models.reward)} states, and the MDP has {mdp.num_states}")
    if models.mdp is not None and (differing := _differences(models.mdp, mdp)):
        raise ValueError(f"the models are of another MDP, with other {', '.join(differing)}: make models of this one with option_models")
    value, returns = np.zeros(mdp.num_states), [0.0]
    for _ in range(MAX_SWEEPS):
        # Q(s, ω) = R_ω(s) + Σ_s' M_ω(s'|s) V(s')        V(s) = max_ω Q(s, ω)
        q = np.where(mdp.terminal[:, None], 0.0, models.reward + models.transition @ value)
        before, value = value, q.max(axis=1)
        returns.append(float(mdp.d0 @ value))
        if np.all(np.abs(value - before) <= SETTLED * _units(models, value)):
            break
    else:
        if mdp.gamma == 1:
            raise ValueError(f"value iteration over options has not settled in {MAX_SWEEPS:,} sweeps")
    value, q = _settled(models, q) if mdp.gamma < 1 else (value, q)
    return Plan(value, q, np.array(returns))


def _differences(one: MDP, other: MDP) -> list[str]:
    """What of two MDPs with as many states differs, but for where they start."""
    if one is other:
        return []
    same_actions = one.num_actions == other.num_actions
    same = {
        "numbers of actions": same_actions,
        "discounts": one.gamma == other.gamma,
        "terminal states": np.array_equal(one.terminal, other.terminal),
        "transitions": not same_actions or (one.transition_matrix != other.transition_matrix).nnz == 0,
        "rewards": not same_actions or np.array_equal(one.expected_reward, other.expected_reward),
    }
    return [what for what, alike in same.items() if not alike]


def _settled(models: OptionModels, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    """V and Q of the best choices, from values near them, by policy iteration: sweeps that change little may be far from the end."""
    states, choice, seen = np.arange(len(q)), q.argmax(axis=1), set[bytes]()
    while True:
        # V = R_ω + M_ω V, where ω is the choice in each state
        value = np.linalg.solve(np.eye(len(q)) - models.transition[states, choice], models.reward[states, choice])
        q = models.reward + models.transition @ value
        better = q.max(axis=1) > value + SETTLED * _units(models, value)
        if not better.any() or choice.tobytes() in seen:  # rounding may make two choices each look better than the other
            return value, q
        seen.add(choice.tobytes())
        choice = np.where(better, q.argmax(axis=1), choice)


def _units(models: OptionModels, value: FloatArray) -> FloatArray:
    """In each state the largest sum of magnitudes that an action value is made of, (S,), to which its rounding is in proportion."""
    units: FloatArray = (np.abs(models.reward) + models.transition @ np.abs(value)).max(axis=1)
    return units
