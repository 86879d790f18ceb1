"""Monte-Carlo estimates of the return and of the local gradients, with standard errors.

Episodes are numbered; each has its own random numbers, and sums are taken over blocks of episodes that do not depend on the number of
threads. The result is a function of the arguments and the seed, bit for bit, whatever `threads` is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork, FloatArray
from optioncoagent.simulate.episodes import PATIENCE, check_counts, check_flag, check_patience, longest_episode, run_blocks
from optioncoagent.simulate.forms import FORMS, form_table
from optioncoagent.simulate.kernels import Contributions, Sample, add_contributions, draw_episodes, walk_episodes
from optioncoagent.simulate.rng import key_of
from optioncoagent.simulate.tables import walk_table
from optioncoagent.simulate.waiting import compile_once
from optioncoagent.simulate.wiring import dynamics, policy_table, wire


@dataclass(frozen=True)
class ReturnEstimate:
    """mean, standard_error: of the return G_0. steps: environment steps taken. capped: episodes cut off by max_steps."""

    mean: float
    standard_error: float
    steps: int
    capped: int


@dataclass(frozen=True)
class GradientEstimate:
    """mean, standard_error: {name: array like params[name]}. steps: environment steps taken. capped: episodes cut off by max_steps."""

    mean: dict[str, FloatArray]
    standard_error: dict[str, FloatArray]
    steps: int
    capped: int


@dataclass(frozen=True)
class _Samples:
    """Sums by block: returns (B, 5) as `kernels._add_return` has them, scores (2, num_parameters) over all blocks."""

    returns: FloatArray
    scores: FloatArray

    @property
    def steps(self) -> int:
        return int(self.returns[:, 3].sum())

    @property
    def capped(self) -> int:
        return int(self.returns[:, 4].sum())


def estimate_return(
    mdp: MDP,
    network: CoagentNetwork,
    params: Mapping[str, Any],
    episodes: int,
    seed: int = 0,
    max_steps: int | None = None,
    threads: int = 1,
) -> ReturnEstimate:
    """J(θ) = E[Σ_t γ^t R_t] from sampled episodes; costs are part of the reward at every step but the first.

    An episode ends in a terminal state, after max_steps or the MDP's horizon, or, γ < 1, when γ^t / (1 - γ) < 1e-9: what it can
    still earn is then less than that times the largest |R|.
    Raises ValueError if γ = 1, no max_steps is given and some node that can be reached has no way to an end; of a network too large for a
    table of its nodes, if no actions lead to an end from a state that episodes start in, or once an episode takes 10^9 steps.
    """
    samples = _sample(mdp, network, params, episodes, seed, max_steps, threads)
    mean, squares, count = samples.returns[:, :3].T
    # Chan, Golub & LeVeque (1983): Σ (G - mean)² = Σ_blocks M2_b + n_b (mean_b - mean)²
    total = float((mean * count).sum() / count.sum())
    deviations = float((squares + count * (mean - total) ** 2).sum())
    return ReturnEstimate(total, _standard_error(deviations, episodes), samples.steps, samples.capped)


def estimate_gradient(
    mdp: MDP,
    network: CoagentNetwork,
    params: Mapping[str, Any],
    episodes: int,
    seed: int = 0,
    max_steps: int | None = None,
    threads: int = 1,
    baseline: Any = None,
    gated: bool = True,
    form: str = "score",
    critic: Any = None,
) -> GradientEstimate:
    """∇J by ACPGT (ACN, Theorem 1): the mean over episodes of Σ_t γ^t E_t^i (G_t - b(S_t)) ∂ ln π_i(X_t^i, U_t^i) / ∂θ_i.

    baseline: (S,), b(s); any values leave the mean as it is. gated: False drops E_t^i, a mistake whose size can so be measured;
    the score of an output that was retained has no mean of zero, so that the baseline then counts, and so do costs of earlier coagents of
    the step, which G_t has and the form "every_step" of `exact.NETWORK_FORMS` has not.
    form: "score" is that; the others of `forms.FORMS` weigh steps with values in place of returns, for which they need critic: Q(s, K),
    (S, *sizes of `network.critic_inputs`), as `exact.critic_values` gives it. Their mean is the gradient where the critic is exact, but for
    "multi_update_running", and for "multi_update" where a policy gives some output probability 0; and their variance is smaller.
    Episodes end, and errors are raised, as in `estimate_return`; ValueError also for a form with a baseline or without the gate, and where
    `forms.form_table` does.
    """
    check_flag("gated", gated)
    if form not in FORMS:
        raise ValueError(f"form={form!r}: choose one of {tuple(FORMS)}")
    if form != "score" and (baseline is not None or not gated):
        raise ValueError(
            f"form={form!r} has its own baselines, and steps weighed by who executed: baseline and gated are for the form score"
        )
    if form == "score" and critic is not None:
        raise ValueError("form='score' weighs steps with returns, and needs no critic")
    given = None if form == "score" else (form, critic)
    samples = _sample(mdp, network, params, episodes, seed, max_steps, threads, True, gated, baseline, given)
    mean = samples.scores[0] / episodes
    error = _standard_error(samples.scores[1] - episodes * mean**2, episodes)
    layout = network.parameters(mdp.num_observations)
    return GradientEstimate(layout.unflat(mean), layout.unflat(error), samples.steps, samples.capped)


def estimate_finite_difference(
    mdp: MDP,
    network: CoagentNetwork,
    params: Mapping[str, Any],
    episodes: int,
    eps: float = 0.1,
    seed: int = 0,
    max_steps: int | None = None,
    threads: int = 1,
) -> GradientEstimate:
    """Central differences (J(θ + ε e_p) - J(θ - ε e_p)) / 2ε of sampled returns, for every finite logit p.

    episodes: in all, shared equally by the two evaluations of every parameter. Both evaluations use the same random numbers; standard
    errors are those of the differences between their blocks of episodes. Logits of -inf have gradient 0.
    """
    if not eps > 0:
        raise ValueError(f"eps={eps}: it needs a positive number")
    layout = network.parameters(mdp.num_observations)
    vector = layout.flat(layout.check(params))
    free = np.flatnonzero(np.isfinite(vector))
    each = episodes // max(2 * free.size, 1)
    if each < 2:
        raise ValueError(f"{episodes} episodes for {2 * free.size} evaluations: each needs at least 2")
    mean, error, steps, capped = np.zeros(vector.size), np.zeros(vector.size), 0, 0
    for number, p in enumerate(free):
        sides = []
        for sign in (1, -1):
            moved = vector.copy()
            moved[p] += sign * eps
            samples = _sample(mdp, network, layout.unflat(moved), each, (seed, number), max_steps, threads)
            sides.append(samples.returns)
            steps, capped = steps + samples.steps, capped + samples.capped
        weight = sides[0][:, 2] / each
        difference = (sides[0][:, 0] - sides[1][:, 0]) / (2 * eps)
        mean[p] = weight @ difference
        error[p] = math.sqrt((weight**2) @ (difference - mean[p]) ** 2 * weight.size / max(weight.size - 1, 1))
    return GradientEstimate(layout.unflat(mean), layout.unflat(error), steps, capped)


def _sample(
    mdp: MDP,
    network: CoagentNetwork,
    params: Mapping[str, Any],
    episodes: int,
    seed: int | tuple[int, ...],
    max_steps: int | None,
    threads: int,
    gradients: bool = False,
    gated: bool = True,
    baseline: Any = None,
    form: tuple[str, Any] | None = None,
) -> _Samples:
    """Run all episodes, block by block."""
    check_counts(episodes=episodes, threads=threads, max_steps=1 if max_steps is None else max_steps)
    network.check_actions(mdp.num_actions)
    b = np.zeros(mdp.num_states) if baseline is None else np.array(baseline, dtype=np.float64)
    if b.shape != (mdp.num_states,) or not np.isfinite(b).all():
        raise ValueError(f"baseline has shape {b.shape}: it needs one finite number for each of the {mdp.num_states} states")
    longest = longest_episode(mdp, network)
    limit = min(longest, max_steps or longest)
    size = network.parameters(mdp.num_observations).size + 1 if gradients else 1
    num_blocks = int(min(episodes, np.clip((1 << 22) // size, 16, 64)))  # a function of the problem, not of the threads
    bounds = np.linspace(0, episodes, num_blocks + 1).astype(np.int64)
    returns, sums = np.zeros((num_blocks, 5)), np.zeros((num_blocks, 2, size))
    must_end = max_steps is None and limit == PATIENCE
    if form is None:
        run = _runner(mdp, network, params, b, limit, gradients, gated, must_end)
    else:
        run = _form_runner(mdp, network, params, form, limit, must_end)
    key = key_of(seed)

    def block(i: int) -> None:
        run(key, bounds[i], bounds[i + 1] - bounds[i], returns[i], sums[i])

    run_blocks(block, num_blocks, threads)
    check_patience(limit, returns[:, 4])
    if max_steps is None or longest <= max_steps:
        returns[:, 4] = 0
    return _Samples(returns, sums.sum(axis=0)[:, :-1])


def _runner(
    mdp: MDP,
    network: CoagentNetwork,
    params: Mapping[str, Any],
    baseline: FloatArray,
    limit: int,
    gradients: bool,
    gated: bool,
    must_end: bool,
) -> Callable[..., None]:
    """A function (key, first, count, returns, sums) that runs episodes: by the joint table, or coagent by coagent where it is too large."""
    wiring, moves = wire(network, mdp.num_observations), dynamics(mdp)
    policies = policy_table(network, params, mdp.num_observations)
    with_nobody, cumulative = np.append(policies, 1.0), wiring.cumulative(policies)
    table = walk_table(mdp, network, policies, wiring, moves, gradients, gated, must_end)
    kernel: Any = draw_episodes if table is None else walk_episodes

    def problem(returns: FloatArray, sums: FloatArray) -> tuple[Any, ...]:
        if table is not None:
            return table, baseline[table.state], wiring.row_first, wiring.row_of, with_nobody, mdp.gamma, returns, sums, limit
        return wiring, moves, Sample(with_nobody, cumulative, baseline, gradients * (1 if gated else 2), returns, sums), None, limit

    return _compiled(kernel, problem, policies.size)


def _form_runner(
    mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any], form: tuple[str, Any], limit: int, must_end: bool
) -> Callable[..., None]:
    """The same, with what a form adds at each step."""
    wiring, policies = wire(network, mdp.num_observations), policy_table(network, params, mdp.num_observations)
    table, added = form_table(mdp, network, policies, wiring, *form, must_end)
    first, parameter = added.indptr.astype(np.int64), added.indices.astype(np.int64)

    def problem(returns: FloatArray, sums: FloatArray) -> tuple[Any, ...]:
        return table, Contributions(first, parameter, added.data, sums), mdp.gamma, returns, limit

    return _compiled(add_contributions, problem, policies.size)


def _compiled(kernel: Any, problem: Callable[[FloatArray, FloatArray], tuple[Any, ...]], num_parameters: int) -> Callable[..., None]:
    """A function (key, first, count, returns, sums) that runs a kernel on the problem that is made with these returns and sums."""
    compile_once(kernel, *problem(np.zeros(5), np.zeros((2, num_parameters + 1))), np.uint64(0), np.int64(0), np.int64(0))

    def run(key: Any, first: Any, count: Any, returns: FloatArray, sums: FloatArray) -> None:
        kernel(*problem(returns, sums), key, first, count)

    return run


def _standard_error(squares: Any, episodes: int) -> Any:
    """√(Σ (x - mean)² / (n - 1) / n); NaN for a single episode."""
    if episodes < 2:
        return squares * np.nan
    error = np.sqrt(np.maximum(squares, 0.0) / (episodes - 1) / episodes)
    return float(error) if np.ndim(error) == 0 else error
