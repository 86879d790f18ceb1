"""Claim: describing a coagent network as data costs no speed. Environment steps a second and a CPU second, best of several runs, for:

the generic kernel on the gridworld network of ACN, appendix D (returns, and gradients with standard errors, on one thread and on all); a
kernel written by hand for that network and that gridworld alone; the loop one would write first, in Python with NumPy.

    python benchmarks/simulate_speed.py
"""

from __future__ import annotations

import os
import time

import numpy as np
from numba import njit

from optioncoagent.experiments.problems import bits_network, gridworld
from optioncoagent.simulate import estimate_gradient, estimate_return
from optioncoagent.simulate.episodes import run_blocks
from optioncoagent.simulate.rng import key_of, seeded, uniform

RUNS = 7


@njit(cache=True, nogil=True)
def by_hand(bit_1, bit_2, action, key, first, count):
    """Returns summed and steps. bit_1, bit_2: (9,) probability of 0; action: (4, 4) cumulative, row 2 * bit_1 + bit_2."""
    total, steps = 0.0, 0
    for episode in range(first, first + count):
        a, b, c, d = seeded(key, episode)
        u, a, b, c, d = uniform(a, b, c, d)
        v = int(u * 16)
        h1, h2, move = v >> 3, (v >> 2) & 1, v & 3
        row, column = 0, 0
        while row < 2 or column < 2:
            s = 3 * row + column
            u, a, b, c, d = uniform(a, b, c, d)
            if u < 0.5:  # the same number decides whether to execute and, stretched, what to output
                h1 = int(2 * u >= bit_1[s])
            u, a, b, c, d = uniform(a, b, c, d)
            if u < 0.5:
                h2 = int(2 * u >= bit_2[s])
            u, a, b, c, d = uniform(a, b, c, d)
            if u < 0.5:
                k = 2 * h1 + h2
                move = int(2 * u >= action[k, 0]) + int(2 * u >= action[k, 1]) + int(2 * u >= action[k, 2])
            if move == 0:
                row = max(row - 1, 0)
            elif move == 1:
                row = min(row + 1, 2)
            elif move == 2:
                column = max(column - 1, 0)
            else:
                column = min(column + 1, 2)
            total -= 1.0
            steps += 1
    return total, steps


def hand_written(policies, episodes, threads):
    cumulative = np.cumsum(policies["action"].reshape(4, 4), axis=1)
    bits = policies["bit_1"][:, 0].copy(), policies["bit_2"][:, 0].copy()
    blocks, results = 64, np.zeros((64, 2))

    def block(i):
        results[i] = by_hand(*bits, cumulative, key_of(0), i * (episodes // blocks), episodes // blocks)

    run_blocks(block, blocks, threads)
    return results[:, 1].sum(), results[:, 0].sum() / (episodes // blocks * blocks)


def plain_python(mdp, network, policies, episodes):
    """The loop one would write first."""
    rng, steps, total = np.random.default_rng(0), 0, 0.0
    for _ in range(episodes):
        s = 0
        output = {name: rng.integers(network[name].num_outputs) for name in network.names}
        while not mdp.terminal[s]:
            for name in ("bit_1", "bit_2"):
                if rng.random() < 0.5:
                    output[name] = rng.choice(2, p=policies[name][s])
            if rng.random() < 0.5:
                output["action"] = rng.choice(4, p=policies["action"][output["bit_1"], output["bit_2"]])
            row = mdp.P[s, output["action"]]
            total += mdp.expected_reward[s, output["action"]]
            s = rng.choice(mdp.num_states, p=row)
            steps += 1
    return steps, total / episodes


def best_speed(run):
    """Largest steps a second and a CPU second (of all threads together) of RUNS runs, and the value that the last one gave."""
    speeds = []
    for _ in range(RUNS):
        began, worked = time.perf_counter(), time.process_time()
        steps, value = run()
        speeds.append((steps / (time.perf_counter() - began), steps / (time.process_time() - worked)))
    return *np.max(speeds, axis=0), value


def main():
    mdp, network, cores = gridworld(), bits_network(), os.cpu_count() or 1
    params = network.init_params(9, seed=0)
    policies = network.policies(params, 9)
    estimate_gradient(mdp, network, params, 100)  # compile
    hand_written(policies, 64, 1)

    def returns(threads):
        estimate = estimate_return(mdp, network, params, 2_000_000 * threads, threads=threads)
        return estimate.steps, estimate.mean

    def gradients(threads):
        return estimate_gradient(mdp, network, params, 1_000_000 * threads, threads=threads).steps, float("nan")

    runs = {}
    for threads in sorted({1, cores}):
        runs[f"generic kernel, returns, {threads} thread(s)"] = lambda threads=threads: returns(threads)
        runs[f"generic kernel, gradients with standard errors, {threads} thread(s)"] = lambda threads=threads: gradients(threads)
        runs[f"written by hand for this network, returns, {threads} thread(s)"] = lambda t=threads: hand_written(policies, 2_000_000 * t, t)
    runs["Python and NumPy loop, returns"] = lambda: plain_python(mdp, network, policies, 30)
    found = {name: best_speed(run) for name, run in runs.items()}
    base = found["generic kernel, returns, 1 thread(s)"][1]
    print("| what | million steps/s | a CPU second | times slower, a CPU second | mean return |\n|---|---|---|---|---|")
    for name, (speed, worked, value) in found.items():
        print(f"| {name} | {speed / 1e6:.3g} | {worked / 1e6:.3g} | {base / worked:,.3g} | {value:.2f} |")


if __name__ == "__main__":
    main()
