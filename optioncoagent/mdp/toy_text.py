"""The tables of a Gymnasium toy_text environment, as the arrays of an MDP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import gymnasium as gym
import numpy as np
import scipy.sparse as sp

from optioncoagent.imports import full_id, is_minigrid_id
from optioncoagent.mdp.environment import MDPEnv

_SAY_NOTHING = (  # Gymnasium's wrappers that leave transitions, rewards and observations as they are
    "TimeLimit OrderEnforcing PassiveEnvChecker Autoreset RecordEpisodeStatistics RecordVideo HumanRendering RenderCollection".split()
)
_INSTEAD = "use MDP.from_minigrid for a MiniGrid level, or build an MDP from arrays"


def arrays_of(env: Any) -> dict[str, Any]:
    """P, R, d0, terminal of an environment or id (and observation, horizon of an `MDPEnv`); see `MDP.from_env`."""
    if isinstance(env, str):
        with _make(env) as made:
            return _of(made, env)
    return _of(env, getattr(getattr(env, "spec", None), "id", None) or repr(getattr(env, "unwrapped", env)))


def _of(env: Any, name: str) -> dict[str, Any]:
    base = getattr(env, "unwrapped", env)
    refuse_wrappers(env, name, "its tables", "give env.unwrapped, if they are what is meant")
    if isinstance(base, MDPEnv):
        mdp = base.mdp
        return {name: getattr(mdp, name) for name in ("P", "R", "d0", "terminal", "observation", "horizon")}
    table, d0 = getattr(base, "P", None), getattr(base, "initial_state_distrib", None)
    if table is None or d0 is None:
        raise ValueError(f"{name} has no toy_text tables P and initial_state_distrib: give an environment or id that has, {_INSTEAD}")
    if getattr(base, "fickle_passenger", False):
        raise ValueError(f"{name} has a fickle passenger, of whom its tables say nothing: leave that out, or build an MDP from arrays")
    _check_tables(table, len(d0), base, name)
    return _from_tables(table, d0)


def refuse_wrappers(env: Any, name: str, what: str, instead: str) -> None:
    """ValueError naming a wrapper that changes what is made an MDP of; a time limit is left out, pictures and statistics change nothing."""
    while env is not getattr(env, "unwrapped", env):
        if type(env).__name__ not in _SAY_NOTHING:
            raise ValueError(
                f"{name} is wrapped in {type(env).__name__}, of which {what} say nothing: {instead}, or build an MDP from arrays"
            )
        env = env.env


def _check_tables(table: Any, num_states: int, base: Any, name: str) -> None:
    """ValueError naming a state or an action that is missing, or an entry that is none."""
    if len(table) > num_states:
        raise ValueError(f"{name}: P has {len(table)} states, and initial_state_distrib {num_states}: give each state its probability")
    num_actions = int(getattr(getattr(base, "action_space", None), "n", 0))
    for s in range(num_states):
        try:
            actions = table[s]
        except (KeyError, IndexError):
            raise ValueError(f"{name}: initial_state_distrib has {num_states} states, and P has no state {s}") from None
        num_actions = num_actions or len(actions)
        if len(actions) != num_actions:
            raise ValueError(f"{name}: P[{s}] has {len(actions)} actions, and the environment {num_actions}: give each state all of them")
        for a in range(num_actions):
            try:
                entries = actions[a]
            except (KeyError, IndexError):
                raise ValueError(f"{name}: P[{s}] has no action {a}") from None
            for entry in entries:
                if fault := _fault(entry, num_states):
                    needed = f"give (probability, next state, reward, terminated), of {num_states} states"
                    raise ValueError(f"{name}: P[{s}][{a}] has {entry}, {fault}: {needed}")


def _fault(entry: Any, num_states: int) -> str | None:
    """What is wrong with an entry of the tables, or None; where it ends the episode its next state says nothing."""
    if not isinstance(entry, Sequence | np.ndarray) or len(entry) != 4:
        return "which are not four things"
    probability, successor, reward, terminated = entry
    if not _is_number(probability) or not probability >= 0:
        return f"whose probability is {probability!r}"
    if probability == 0:  # it never happens
        return None
    if not _is_number(reward):
        return f"whose reward is {reward!r}"
    if isinstance(terminated, str) or terminated not in (0, 1):
        return f"whose fourth part is {terminated!r}"
    if not terminated and not (_is_number(successor) and 0 <= successor < num_states and successor == int(successor)):
        return f"whose next state is {successor!r}"
    return None


def _is_number(x: Any) -> bool:
    return isinstance(x, Real) and math.isfinite(x)


def _make(env_id: str) -> gym.Env[Any, Any]:
    if is_minigrid_id(env_id):
        raise ValueError(f"{env_id} has no toy_text tables: {_INSTEAD}")
    return gym.make(full_id(env_id))


def _from_tables(table: Any, d0: Any) -> dict[str, Any]:
    from optioncoagent.mdp.arrays import normalized

    num_states, num_actions = len(d0), len(table[0])
    rows, columns, probabilities, rewards = [], [], [], []
    for s in range(num_states):
        for a in range(num_actions):
            for probability, successor, reward, terminated in table[s][a]:
                if probability == 0:
                    continue
                rows.append(s * num_actions + a)
                columns.append(num_states if terminated else successor)
                probabilities.append(probability)
                rewards.append(reward)
    end = num_states * num_actions + np.arange(num_actions)
    index = (np.append(rows, end), np.append(columns, np.full(num_actions, num_states)))
    shape = ((num_states + 1) * num_actions, num_states + 1)
    P = sp.csr_array((np.append(probabilities, np.ones(num_actions)), index), shape=shape)  # duplicates add up
    # E[R | s, a, s'] = Σ p r / Σ p over the table's entries for (s, a, s')
    weighted = sp.coo_array((np.append(np.multiply(probabilities, rewards), np.zeros(num_actions)), index), shape=shape).tocsr()
    weighted.data /= P.data
    d0 = np.asarray(d0)
    return {
        "P": normalized(P) if any(isinstance(p, np.float32) for p in probabilities) else P,
        "R": weighted,
        "d0": np.append(d0, np.zeros(1, d0.dtype)),
        "terminal": np.arange(num_states + 1) == num_states,
    }
