"""Claim: terminations that learn to end where it can be foretold, in place of where it pays, make long options, and what these are worth.

    python benchmarks/termination_critic.py [--seeds 10] [--table]

The termination critic (Harutyunyan et al., "The Termination Critic", AISTATS 2019) in four rooms (dynamics "code"), without
sampling: the policies of four options and the policy over them ascend the exact gradient of the return, the terminations ascend the exact
gradient of −H(p_ω), the entropy of where option ω ends, where options begin being held as it is; of H the return knows nothing. The end of
the episode is such a place, and an option that lasts until then has H = 0, the least there is. Beside it, by the same steps: all coagents
ascend the return (option-critic), or the return less costs of deliberation, or the terminations stay at one half. Agents begin at the same
random parameters (but for those halves) and make 1,000 steps of `of_length`, terminations of a length of their own.

Judged exactly: J without a cost, halfway and in the end; length, usage, I(ω; A | s) and sure terminations (`exact.degeneracy`); H, and the
probability to end with the episode, means over the options as often as they begin. And, when the goal moves to one of the 20 cells of the
lower-right room and the options stay as they are, means over these goals: the return of the best policy over them, which for given policies
is the higher the sooner they end, and so beside it the same where they always end; and in how many sweeps of value iteration over the
options and the four actions, with models of whole options, the return from the start is within 1 % of its limit. Rows go to
termination_critic.csv beside this file; runs whose row is there are not run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rows
import tyro
from scipy.special import entr

import optioncoagent as oc
from optioncoagent.exact import degeneracy, option_models, plan
from optioncoagent.experiments.ascent import of_length
from optioncoagent.experiments.problems import four_rooms
from optioncoagent.gallery import TERMINATE, option_critic

ROWS = Path(__file__).with_suffix(".csv")
STEPS, STEP_SIZE, SCALE = 1000, 0.1, 0.5  # of the ascent, `of_length`'s, and of the random logits that it begins at
SURE = 30.0  # a logit that is as good as certain
Params = dict[str, np.ndarray]


@dataclass(frozen=True)
class Run:
    terminations: str
    seed: int


def endings(mdp: oc.MDP, params: Params) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where options end, in every option: b (O, S), z (O, S), F (O, S, S) and μ (O, S).

    b: the probability to end on arrival; at terminal states 1. F[ω, s, f]: that ω, begun at s, ends at f, with one step at least. μ: where
    ω begins, as often as it does under the policy over options (discounted), with sum 1. z: how often ω, begun by μ, arrives at a state.
    """
    policies = option_critic(4, mdp.num_actions).policies(params, mdp.num_observations)
    b = np.where(mdp.terminal, 1.0, policies["termination"][mdp.observation, :, TERMINATE].T)
    pi = policies["action"][mdp.observation].transpose(1, 0, 2)
    P = mdp.transition_matrix.toarray().reshape(mdp.num_states, mdp.num_actions, mdp.num_states)
    A = np.einsum("osa,sat->ost", pi, P)
    begins = (oc.option_values(mdp, params).d_omega[:, None] * policies["option"][mdp.observation]).T
    mu = begins / begins.sum(axis=1, keepdims=True)
    goes_on = np.eye(mdp.num_states) - A * (1 - b)[:, None, :]
    # F = A diag(b) + A diag(1 − b) F
    F = np.linalg.solve(goes_on, A * b[:, None, :])
    # z = Aᵀ y, y = μ + (1 − b) z
    y = np.linalg.solve(goes_on.transpose(0, 2, 1), mu[..., None])
    return b, (A.transpose(0, 2, 1) @ y)[..., 0], F, mu


def places(mdp: oc.MDP, params: Params) -> np.ndarray:
    """p_ω(f) = Σ_s μ_ω(s) F_ω(f|s), (O, S): where option ω ends."""
    b, z, _, _ = endings(mdp, params)
    return z * b


def gradient(mdp: oc.MDP, params: Params) -> np.ndarray:
    """∂(−H(p_ω)) for the logits of the terminations, (num_observations, O, 2), where options begin (μ) held as it is (Theorem 2 there)."""
    b, z, F, _ = endings(mdp, params)
    log_p = np.log(np.maximum(z * b, 1e-300))
    # ∂(−H) / ∂b(x) = z(x) [ ln p(x) − Σ_f F(f|x) ln p(f) ]
    slope = z * (log_p - np.einsum("oxf,of->ox", F, log_p)) * b * (1 - b)
    found = np.zeros_like(params["termination"])
    np.add.at(found[..., TERMINATE], mdp.observation, slope.T)
    found[..., 1 - TERMINATE] = -found[..., TERMINATE]
    return found


def worth(mdp: oc.MDP, *of: Params) -> tuple[float, int]:
    """The return of the best policy over all these options, which stay as they are, and in how many sweeps of value iteration, with models
    of whole options, it is within 1 % of that."""
    returns = plan(mdp, option_models(mdp, *of)).returns
    return float(returns[-1]), int(np.argmax(returns >= 0.99 * returns[-1]))


def always_ending(params: Params) -> Params:
    """The same options, which end at every step."""
    return params | {"termination": SURE * (np.arange(2) == TERMINATE) + np.zeros_like(params["termination"])}


def actions(mdp: oc.MDP) -> Params:
    """Options that are one action each."""
    zeros = option_critic(4, mdp.num_actions).init_params(mdp.num_observations, scale=0.0)
    return always_ending(zeros | {"action": zeros["action"] + SURE * np.eye(4)})


@cache
def network_of(num_actions: int, cost: float = 0.0) -> oc.CoagentNetwork:
    """Four options; one network for all steps, since what the exact solver derives of it is kept with it."""
    return option_critic(4, num_actions, deliberation_cost=cost)


def by_return(cost: float = 0.0) -> Callable[[oc.MDP, Params], Params]:
    """The exact gradient of the return less the costs of deliberation, of all coagents."""
    return lambda mdp, params: oc.policy_gradient(mdp, network_of(mdp.num_actions, cost), params)


TERMINATIONS: dict[str, Callable[[oc.MDP, Params], Params]] = {
    "by the return": by_return(),
    "by the return, cost 0.02": by_return(0.02),
    "by the return, cost 0.1": by_return(0.1),
    "termination critic": lambda mdp, params: by_return()(mdp, params) | {"termination": gradient(mdp, params)},
    "one half": lambda mdp, params: {name: g for name, g in by_return()(mdp, params).items() if name != "termination"},
    "nothing is learned": lambda mdp, params: {},
}


def ascend(mdp: oc.MDP, run: Run) -> list[Params]:
    """The parameters halfway through STEPS steps and in the end; terminations have steps of their own, as H has units of its own."""
    params = network_of(mdp.num_actions).init_params(mdp.num_observations, seed=run.seed, scale=SCALE)
    if run.terminations == "one half":
        params["termination"] = np.zeros_like(params["termination"])
    rates, passed = {ends: of_length(STEP_SIZE) for ends in (True, False)}, []
    for step in range(1, STEPS + 1):
        found = TERMINATIONS[run.terminations](mdp, params)
        for ends in (True, False):
            part = {name: g for name, g in found.items() if (name == "termination") == ends}
            alpha = rates[ends](part) if part else 0.0
            params = params | {name: params[name] + alpha * g for name, g in part.items()}
        if step in (STEPS // 2, STEPS):
            passed.append(params)
    return passed


def judge(mdp: oc.MDP, moved: list[oc.MDP], params: Params) -> dict[str, float]:
    """What the exact solver says of these parameters, and what their options are worth in other tasks."""
    network, p = network_of(mdp.num_actions), places(mdp, params)
    found = degeneracy(mdp, network, params)
    begins = oc.option_values(mdp, params).d_omega @ network.policies(params, mdp.num_observations)["option"][mdp.observation]
    begins = begins / begins.sum()
    worths = [(worth(other, params)[0], worth(other, always_ending(params))[0], worth(other, params, actions(other))[1]) for other in moved]
    return {
        "J": oc.expected_return(mdp, network, params),
        "length": found["option/length"],
        "usage": found["option/usage_entropy"],
        "information": found["action/marginal_information"],
        "ends": found[f"termination/sure_{TERMINATE}"],
        "stays": found[f"termination/sure_{1 - TERMINATE}"],
        "H": float(begins @ entr(p).sum(axis=1)),
        "to the end": float(begins @ p[:, mdp.terminal].sum(axis=1)),
        **dict(zip(("worth", "worth, always ending", "sweeps"), map(float, np.mean(worths, axis=0)), strict=True)),
    }


def train(run: Run) -> tuple[Run, dict[str, float]]:
    began, (mdp, *moved) = time.perf_counter(), four_rooms("code")
    halfway, params = ascend(mdp, run)
    found = {"J halfway": oc.expected_return(mdp, network_of(mdp.num_actions), halfway), **judge(mdp, moved, params)}
    return run, {name: round(x, 5) for name, x in found.items()} | {"seconds": round(time.perf_counter() - began, 1)}


# columns of the rows, and how many digits the table shows
DIGITS = {"J halfway": 4, "J": 4, "length": 2, "usage": 2, "information": 2, "ends": 2, "stays": 2, "H": 2, "to the end": 2}
DIGITS |= {"worth": 3, "worth, always ending": 3, "sweeps": 1}


def table(results: dict[Run, dict[str, float]]) -> None:
    """Means over seeds, and half their 95 % interval by Student's t."""
    print(f"| terminations | {' | '.join(DIGITS)} |\n|{'---|' * (len(DIGITS) + 1)}")
    for name in TERMINATIONS:
        found = [row for run, row in results.items() if run.terminations == name]
        if found:
            x = {column: np.array([row[column] for row in found]) for column in DIGITS}
            cells = [f"{x[column].mean():.{d}f} ± {rows.half_interval(x[column]):.{d}f}" for column, d in DIGITS.items()]
            print(f"| {name} | {' | '.join(cells)} |")
    mdp, *moved = four_rooms("code")
    most, sweeps = np.mean([worth(other, actions(other)) for other in moved], axis=0)
    print(f"\nOptions that are the four actions: J {worth(mdp, actions(mdp))[0]:.4f}, worth {most:.3f}, sweeps {sweeps:.1f}")


@dataclass(frozen=True)
class Benchmark:
    seeds: int = 10
    """Run seeds below this."""
    workers: int = 1
    """Runs at a time."""
    table: bool = False
    """Only print the table of the rows that there are."""


def main(command: Benchmark) -> None:
    runs: list[Any] = [Run(name, seed) for seed in range(command.seeds) for name in TERMINATIONS]
    if not command.table:
        rows.fill(ROWS, runs, train, command.workers)
    table(rows.read(ROWS, Run))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
