"""Tabular option-critic as in four rooms (OC): intra-option Q-learning, and a termination update in the Q_β form.

OC, Algorithm 1, with what ACPGT settles: V_Ω is taken under the policy over options in use; the termination update stands at the pair
(S_{t+1}, ω_t), the state arrived at and the option that arrived; the policy over options may learn from its own local gradient, at the
steps at which it executes. One option is the flat agent of the same learner: a softmax actor with a Q critic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optioncoagent.compiling import njit
from optioncoagent.mdp import MDP
from optioncoagent.network import FloatArray
from optioncoagent.simulate.episodes import check_counts, check_flag, run_blocks
from optioncoagent.simulate.rng import key_of, seeded, uniform
from optioncoagent.simulate.waiting import compile_once
from optioncoagent.simulate.wiring import Dynamics, dynamics

POLICIES_OVER_OPTIONS = ("boltzmann", "learned")
V_OMEGAS = ("policy", "max")
PAIRS = ("arrival", "departure", "post_switch")
NAMES = ("termination", "option", "action")
_TRIALS_A_BLOCK = 5


@dataclass(frozen=True)
class Learner:
    """Settings of the learner; the last five name what public code computes instead (all at their first value: ACPGT).

    temperature: of π_ω, and of π_Ω: softmax(θ / temperature). Step sizes absorb the 1 / temperature of the score, as in OC's script.
    policy_over_options: "boltzmann" over Q_Ω, or "learned" by its local gradient with option_step_size, by default policy_step_size.
    discounted: weigh each update of a policy or termination by γ^t, as the gradient of J does.
    v_omega: "policy", Σ_ω π_Ω(ω|s) Q_Ω(s, ω), or "max". pair: where the termination update stands, "arrival" (S_{t+1}, ω_t), "departure"
    (S_t, ω_t) or "post_switch" (S_{t+1}, ω_{t+1}). margin: added to A_Ω in the termination update while the critic ignores it. gated: the
    learned π_Ω is updated only where it executes.
    """

    num_options: int = 4
    policy_over_options: str = "boltzmann"
    temperature: float = 0.001
    critic_step_size: float = 0.5
    policy_step_size: float = 0.25
    termination_step_size: float = 0.25
    option_step_size: float | None = None
    discounted: bool = True
    v_omega: str = "policy"
    pair: str = "arrival"
    margin: float = 0.0
    gated: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (("policy_over_options", POLICIES_OVER_OPTIONS), ("v_omega", V_OMEGAS), ("pair", PAIRS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {allowed}")
        for name in ("discounted", "gated"):
            check_flag(name, getattr(self, name))
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}: it needs a positive number")


@dataclass(frozen=True)
class OptionCriticTrials:
    """By (trial, episode): steps; option_length, steps a chosen option ran on average; termination, mean b_{ω_t}(S_{t+1}), over the
    arrivals that end no episode.

    At the end: q_omega (trials, S, O), and preferences: "termination" (trials, S, O), the logit of b; "option" (trials, S, O) and "action"
    (trials, S, O, A), whose softmax is taken after division by the temperature.
    """

    steps: NDArray[np.int64]
    option_length: FloatArray
    termination: FloatArray
    q_omega: FloatArray
    preferences: dict[str, FloatArray]


def train_option_critic(
    mdps: Sequence[MDP],
    schedule: Any,
    learner: Learner | None = None,
    seed: int = 0,
    max_steps: int = 1000,
    threads: int = 1,
    preferences: Mapping[str, Any] | None = None,
) -> OptionCriticTrials:
    """Train one agent a row of `schedule`, (trials, episodes) of int: the index in `mdps` of the MDP that each episode is played on.

    The MDPs share states, actions and γ, and the agent sees the states; what an agent has learnt goes on from one to the next. An episode
    ends in a terminal state or, without an update that takes it for an end, after max_steps. preferences: to start from, named as in
    `OptionCriticTrials` and shaped as there, or as one trial's for all of them, or one number; zero by default, and so is the critic.
    Raises ValueError for a schedule, MDPs or preferences that do not fit.
    """
    learner = learner or Learner()
    given = np.asarray(schedule)
    check_counts(max_steps=max_steps, threads=threads, num_options=learner.num_options)
    whole = given.dtype.kind in "iu" or (given.dtype.kind == "f" and (given % 1 == 0).all())
    if given.ndim != 2 or given.size == 0 or not whole or given.min() < 0 or given.max() >= len(mdps):
        raise ValueError(
            f"schedule has shape {given.shape} and dtype {given.dtype}: it needs (trials, episodes) of integers, indices below {len(mdps)}"
        )
    which = np.ascontiguousarray(given, dtype=np.int64)
    if any(mdp.horizon is not None for mdp in mdps):
        raise ValueError("an MDP has a horizon: give max_steps, the one that is learned under")
    if any(len(np.unique(mdp.observation[~mdp.terminal])) < (~mdp.terminal).sum() for mdp in mdps):
        raise ValueError("an MDP shows some states as one observation, and this agent sees states: actor_critic learns from observations")
    sizes = {(mdp.num_states, mdp.num_actions, mdp.gamma) for mdp in mdps}
    if len(sizes) != 1:
        raise ValueError(f"the MDPs differ in (states, actions, gamma): {sorted(sizes)}")
    num_states, num_actions, _ = sizes.pop()
    moves, rules = _together([dynamics(mdp) for mdp in mdps]), _rules(learner)
    results, shape = np.zeros((which.shape[0], 3, which.shape[1])), (which.shape[0], num_states, learner.num_options)
    learnt = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros((*shape, num_actions))
    begin = {} if preferences is None else _fitting(preferences, [x.shape for x in learnt[1:]])
    for name, start in zip(NAMES, learnt[1:], strict=True):
        start[:] = begin.get(name, 0.0)
    problem = (moves, rules, max_steps, key_of(seed))
    compile_once(train, *problem, np.int64(0), which[:0], results[:0], *(x[:0] for x in learnt))

    kernel: Any = train

    def block(i: int) -> None:
        part = slice(i * _TRIALS_A_BLOCK, (i + 1) * _TRIALS_A_BLOCK)
        kernel(*problem, np.int64(part.start), which[part], results[part], *(x[part] for x in learnt))

    run_blocks(block, -(-which.shape[0] // _TRIALS_A_BLOCK), threads)
    named = dict(zip(NAMES, learnt[1:], strict=True))
    steps, option_length, termination = results.swapaxes(0, 1)
    return OptionCriticTrials(steps.astype(np.int64), option_length, termination, learnt[0], named)


def _fitting(preferences: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> dict[str, FloatArray]:
    """Preferences as arrays; ValueError for other names, or what is neither of all trials, nor of one, nor one number."""
    if set(preferences) != set(NAMES):
        raise ValueError(f"preferences names {sorted(preferences)}: it needs {', '.join(NAMES)}")
    found = {name: np.asarray(preferences[name], dtype=np.float64) for name in NAMES}
    for name, shape in zip(NAMES, shapes, strict=True):
        if found[name].shape not in (shape, shape[1:], ()):
            raise ValueError(
                f"preferences[{name!r}] has shape {found[name].shape}: it needs {shape}, or {shape[1:]} for all trials, or a number"
            )
    return found


def _together(rows: Sequence[Dynamics]) -> Dynamics:
    """The entries of all MDPs end to end; first, start, observation and terminal have an axis for the MDP."""
    offset = np.cumsum([0] + [row.successor.size for row in rows[:-1]])
    return Dynamics(
        first=np.array([row.first + first for row, first in zip(rows, offset, strict=True)]),
        successor=np.concatenate([row.successor for row in rows]),
        probability=np.concatenate([row.probability for row in rows]),
        cumulative=np.concatenate([row.cumulative for row in rows]),
        reward=np.concatenate([row.reward for row in rows]),
        start=np.array([row.start for row in rows]),
        observation=np.array([row.observation for row in rows]),
        terminal=np.array([row.terminal for row in rows]),
        num_actions=rows[0].num_actions,
        gamma=rows[0].gamma,
    )


class _Rules(NamedTuple):
    """A `Learner` as the compiled loop reads it, words as bools."""

    learned: bool
    temperature: float
    critic_step_size: float
    policy_step_size: float
    termination_step_size: float
    option_step_size: float
    discounted: bool
    use_max: bool
    departure: bool
    post_switch: bool
    margin: float
    gated: bool


def _rules(learner: Learner) -> _Rules:
    return _Rules(
        learned=learner.policy_over_options == "learned",
        temperature=float(learner.temperature),
        critic_step_size=float(learner.critic_step_size),
        policy_step_size=float(learner.policy_step_size),
        termination_step_size=float(learner.termination_step_size),
        option_step_size=float(learner.policy_step_size if learner.option_step_size is None else learner.option_step_size),
        discounted=learner.discounted,
        use_max=learner.v_omega == "max",
        departure=learner.pair == "departure",
        post_switch=learner.pair == "post_switch",
        margin=float(learner.margin),
        gated=learner.gated,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def train(moves, rules, max_steps, key, first_trial, schedule, results, q_omegas, varthetas, phis, thetas):
    """Train trials first_trial, first_trial + 1, …, one for each row of `schedule`; results (trials, 3, episodes)."""
    _, S, num_options, A = thetas.shape
    # looked up once: a named tuple's field counts references each time
    move_first, successor, cumulative, reward, terminal = moves.first, moves.successor, moves.cumulative, moves.reward, moves.terminal
    gamma = moves.gamma
    here, there = np.empty(num_options), np.empty(num_options)  # π_Ω(· | S_t), π_Ω(· | S_{t+1})
    for trial in range(schedule.shape[0]):
        a, b, c, d = seeded(key, first_trial + trial)
        q_u, pi = np.zeros((S, num_options, A)), np.empty((S, num_options, A))
        q_omega, vartheta, phi, theta = q_omegas[trial], varthetas[trial], phis[trial], thetas[trial]
        preferences = phi if rules.learned else q_omega  # of π_Ω
        for s in range(S):
            for o in range(num_options):
                _softmax(theta[s, o], rules.temperature, pi[s, o])
        for episode in range(schedule.shape[1]):
            k = schedule[trial, episode]
            u, a, b, c, d = uniform(a, b, c, d)
            s = np.searchsorted(moves.start[k], u, side="right")
            _policy_over_options(preferences[s], q_omega[s], rules, here)
            u, a, b, c, d = uniform(a, b, c, d)
            omega = _draw(here, u)
            if rules.learned:
                _improve_policy_over_options(phi[s], here, q_omega[s], _mean(here, q_omega[s]), rules.option_step_size)
            weight, steps, choices, arrivals, termination = 1.0, 0, 1, 0, 0.0
            while not terminal[k, s] and steps < max_steps:
                u, a, b, c, d = uniform(a, b, c, d)
                action = _draw(pi[s, omega], u)
                u, a, b, c, d = uniform(a, b, c, d)
                move = move_first[k, s * A + action]
                while u >= cumulative[move]:
                    move += 1
                t, ended = successor[move], terminal[k, successor[move]]

                v_t, b_t, arrival = 0.0, 0.0, 0.0
                if not ended:
                    # U(ω_t, S_{t+1}) = (1 - b) Q_Ω + b V_Ω
                    v_t = _policy_over_options(preferences[t], q_omega[t], rules, there)
                    b_t = 1.0 / (1.0 + np.exp(-vartheta[t, omega]))
                    arrival = (1.0 - b_t) * q_omega[t, omega] + b_t * v_t
                # intra-option Q-learning: Q_U(S_t, ω_t, A_t) towards R_t + γ U(ω_t, S_{t+1})
                q_u[s, omega, action] += rules.critic_step_size * (reward[move] + gamma * arrival - q_u[s, omega, action])
                # θ ← θ + α γ^t (Q_U - Q_Ω) ∂ ln π_ω(A_t|S_t);  then Q_Ω(S_t, ω_t) = Σ_a π_ω(a|S_t) Q_U(S_t, ω_t, a)
                advantage = q_u[s, omega, action] - _mean(pi[s, omega], q_u[s, omega])
                for v in range(A):
                    theta[s, omega, v] += rules.policy_step_size * weight * advantage * ((v == action) - pi[s, omega, v])
                _softmax(theta[s, omega], rules.temperature, pi[s, omega])
                q_omega[s, omega] = _mean(pi[s, omega], q_u[s, omega])
                if rules.discounted:
                    weight *= gamma
                steps += 1
                next_omega = omega
                if not ended:
                    if t == s:  # what was learnt at S_t changes π_Ω at S_{t+1}
                        v_t = _policy_over_options(preferences[t], q_omega[t], rules, there)
                    termination += b_t
                    arrivals += 1
                    u, a, b, c, d = uniform(a, b, c, d)
                    executed = u < b_t
                    if executed:
                        u, a, b, c, d = uniform(a, b, c, d)
                        next_omega = _draw(there, u)
                        choices += steps < max_steps  # else it never acts
                    if rules.departure:
                        v_s = _policy_over_options(preferences[s], q_omega[s], rules, here)
                        vartheta[s, omega] += _termination_update(vartheta[s, omega], q_omega[s, omega], v_s, weight, rules)
                    else:
                        o = next_omega if rules.post_switch else omega
                        vartheta[t, o] += _termination_update(vartheta[t, o], q_omega[t, o], v_t, weight, rules)
                    # φ ← φ + α γ^t E_t Σ_ω ∂π_Ω(ω) Q_Ω(S_{t+1}, ω)
                    if rules.learned and (executed or not rules.gated):
                        v = _mean(there, q_omega[t])
                        _improve_policy_over_options(phi[t], there, q_omega[t], v, rules.option_step_size * weight)
                s, omega = t, next_omega
            results[trial, 0, episode] = steps
            results[trial, 1, episode] = steps / choices
            results[trial, 2, episode] = termination / max(arrivals, 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _termination_update(vartheta, q_omega, v_omega, weight, rules):
    """α γ^t Σ_u ∂β(u) Q_β(u) = α γ^t b (1 - b) (V_Ω - Q_Ω) at one (s, ω); ACPGT's is (S_{t+1}, ω_t), the arrival."""
    b = 1.0 / (1.0 + np.exp(-vartheta))
    return rules.termination_step_size * weight * b * (1.0 - b) * (v_omega - q_omega - rules.margin)


@njit(cache=True, nogil=True, error_model="numpy")
def _softmax(preferences, temperature, law):
    largest, total = preferences[0], 0.0
    for i in range(1, law.size):
        largest = max(largest, preferences[i])
    for i in range(law.size):
        law[i] = np.exp((preferences[i] - largest) / temperature)
        total += law[i]
    for i in range(law.size):
        law[i] /= total


@njit(cache=True, nogil=True, error_model="numpy")
def _policy_over_options(preferences, q_omega, rules, law):
    """Write π_Ω(·|s) into `law`; V_Ω(s)."""
    _softmax(preferences, rules.temperature, law)
    return np.max(q_omega) if rules.use_max else _mean(law, q_omega)


@njit(cache=True, nogil=True, error_model="numpy")
def _improve_policy_over_options(phi, law, q_omega, v_omega, step_size):
    """φ ← φ + α π_Ω (Q_Ω - V_Ω): every option at once."""
    for o in range(law.size):
        phi[o] += step_size * law[o] * (q_omega[o] - v_omega)


@njit(cache=True, nogil=True, error_model="numpy")
def _mean(law, values):
    total = 0.0
    for i in range(law.size):
        total += law[i] * values[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(law, u):
    running = 0.0
    for i in range(law.size - 1):
        running += law[i]
        if u < running:
            return i
    return law.size - 1
