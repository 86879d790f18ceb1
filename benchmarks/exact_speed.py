"""Claim: exact gradients are cheap: a millisecond on the 3x3 gridworld, 20 on four rooms, under a minute at 100,000 nodes.

    python benchmarks/exact_speed.py [--quick] [--plot FILE]

Prints the time of one call, once the structure of (mdp, network) is known, and a table of cost against nodes: enlarged four rooms, whose
chains have cycles; the same rooms unrolled in time, whose chains have none; random successors, where a factorisation would fill in;
levels of MiniGrid unrolled up to their step limit.
Times are medians.
"""

from __future__ import annotations

import argparse
import resource
import time

import gymnasium as gym
import numpy as np
import scipy.sparse as sp

import optioncoagent_envs  # noqa: F401
from optioncoagent.exact import expected_return, option_values, policy_gradient
from optioncoagent.exact.chain import chain
from optioncoagent.gallery import option_critic
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork

NUM_OPTIONS = 8
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def gridworld_network() -> CoagentNetwork:
    """The network of ACN, appendix D."""
    bits = [Coagent(name, 2, executes=0.5) for name in ("bit_1", "bit_2")]
    return CoagentNetwork([*bits, Coagent("action", 4, observes=False, upstream=("bit_1", "bit_2"), executes=0.5)])


def enlarged_four_rooms(side: int, gamma: float = 0.99) -> MDP:
    """Four rooms in a square of side x side cells, doorways in the middle of the walls; a move slips to a random neighbour with 1/3."""
    free, middle, low = np.ones((side, side), dtype=bool), side // 2, side // 4
    free[middle], free[:, middle] = False, False
    high = side - 1 - low
    doors = ((middle, low), (middle, high), (low, middle), (high, middle))
    for door in doors:
        free[door] = True
    cells = np.argwhere(free) + 1
    S = len(cells)
    number = np.full((side + 2, side + 2), -1)
    number[tuple(cells.T)] = np.arange(S)
    neighbours = np.stack([number[tuple((cells + move).T)] for move in MOVES], axis=1)
    degree, goal = (neighbours >= 0).sum(axis=1), number[high + 1, middle + 1]
    slips = sp.coo_array(
        ((1 / 3 / np.repeat(degree, degree)), (np.repeat(np.arange(S), degree), neighbours[neighbours >= 0])), shape=(S, S)
    )
    rows, columns, weights = [], [], []
    for action in range(4):
        arrived = np.where(neighbours[:, action] >= 0, neighbours[:, action], np.arange(S))
        rows += [np.arange(S) * 4 + action, slips.row * 4 + action]
        columns += [arrived, slips.col]
        weights += [np.full(S, 2 / 3), slips.data]
    row, column, weight = np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)
    kept = row // 4 != goal
    row, column = np.append(row[kept], goal * 4 + np.arange(4)), np.append(column[kept], np.full(4, goal))
    P = sp.csr_array((np.append(weight[kept], np.ones(4)), (row, column)), shape=(S * 4, S))
    R = P[:, [goal]].toarray().reshape(S, 4)
    R[goal] = 0.0
    d0 = np.where(np.arange(S) == goal, 0.0, 1 / (S - 1))
    return MDP(P, R, d0, gamma)


def unrolled(mdp: MDP, horizon: int) -> MDP:
    """The same task with the time in its state, ended after `horizon` steps, at γ = 1; observations do not show the time."""
    S, A = mdp.num_states, mdp.num_actions
    P, end = mdp.transition_matrix.tocoo(), horizon * S
    time_ = np.repeat(np.arange(horizon), P.nnz)
    column = np.where(time_ + 1 < horizon, (time_ + 1) * S + np.tile(P.col, horizon), end)
    column = np.where(np.tile(mdp.terminal[P.col], horizon), end, column)
    row = np.append(time_ * S * A + np.tile(P.row, horizon), end * A + np.arange(A))
    data = np.append(np.tile(P.data, horizon), np.ones(A))
    matrix = sp.csr_array((data, (row, np.append(column, np.full(A, end)))), shape=((end + 1) * A, end + 1)).tolil()
    gone = np.flatnonzero(np.append(np.tile(mdp.terminal, horizon), False))
    for state in gone:
        matrix[state * A : (state + 1) * A] = 0
        matrix[state * A : (state + 1) * A, end] = 1
    R = np.append(np.tile(mdp.expected_reward, (horizon, 1)), np.zeros((1, A)), axis=0)
    terminal = np.append(np.tile(mdp.terminal, horizon), True)
    observation = np.append(np.tile(np.arange(S), horizon), 0)
    return MDP(matrix.tocsr(), R, np.append(mdp.d0, np.zeros(end + 1 - S)), 1.0, terminal, observation)


def random_mdp(num_states: int) -> MDP:
    """Eight successors at random for each state and action: chains that mix fast, and whose factorisation would fill in."""
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(2 * num_states), 8)
    P = sp.csr_array((np.full(rows.size, 1 / 8), (rows, rng.integers(0, num_states, rows.size))), shape=(2 * num_states, num_states))
    return MDP(P, rng.normal(size=(num_states, 2)), np.full(num_states, 1 / num_states), 0.99)


def median_ms(call, repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def calls() -> None:
    """One call of each kind, in milliseconds."""
    grid = MDP.from_env(gym.make("OptionCoagent/Gridworld-v0"), 1.0)
    network = gridworld_network()
    params = network.init_params(grid.num_observations)
    print("milliseconds a call")
    print(f"  gridworld, appendix D     expected_return {median_ms(lambda: expected_return(grid, network, params), 200):7.3f}")
    print(f"                            policy_gradient {median_ms(lambda: policy_gradient(grid, network, params), 200):7.3f}")
    rooms = MDP.from_env(gym.make("OptionCoagent/FourRooms-v0"), 0.99)
    options = option_critic(NUM_OPTIONS, 4)
    logits = options.init_params(rooms.num_observations)
    print(f"  four rooms, {NUM_OPTIONS} options     expected_return {median_ms(lambda: expected_return(rooms, options, logits), 50):7.3f}")
    print(f"                            policy_gradient {median_ms(lambda: policy_gradient(rooms, options, logits), 50):7.3f}")
    print(f"                            option_values   {median_ms(lambda: option_values(rooms, logits), 50):7.3f}")


def cost(family: str, mdp: MDP, num_options: int) -> dict[str, float | str]:
    """Seconds for the structure (once), and for J and its gradient (each call), of one chain."""
    network = option_critic(num_options, mdp.num_actions)
    params = network.init_params(mdp.num_observations)
    begin = time.perf_counter()
    chain(mdp, network, params)
    structure = time.perf_counter() - begin
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        made = chain(mdp, network, params)
        for name in network.names:
            made.local_gradient(name)
        times.append(time.perf_counter() - begin)
    return {
        "family": family,
        "nodes": made.structure.keys.size,
        "entries": made.structure.selected.size,
        "structure": structure,
        "gradient": float(np.median(times)),
        "method": made.system.method,
        "residual": made.system.residual,
    }


def table(quick: bool) -> list[dict[str, float | str]]:
    sides = (11, 21, 31, 41, 61) if quick else (11, 21, 31, 41, 61, 81, 113)
    horizons = (10, 30, 100) if quick else (10, 30, 100, 300, 1000)
    sizes = (1000, 3000, 10_000) if quick else (1000, 3000, 10_000, 30_000, 50_000)
    print("\nseconds for the structure (once) and the gradient (each call)")
    print(f"  {'family':22} {'nodes':>8} {'entries':>9} {'structure':>9} {'gradient':>9}  {'solved by':17} {'residual':>8}")
    rows = []
    jobs = [("four rooms, enlarged", lambda n=side: enlarged_four_rooms(n), NUM_OPTIONS) for side in sides]
    jobs += [("four rooms, unrolled", lambda n=horizon: unrolled(enlarged_four_rooms(11), n), 1) for horizon in horizons]
    jobs += [("random successors", lambda n=size: random_mdp(n), 2) for size in sizes]
    levels = ("Empty-5x5", "Empty-8x8") if quick else ("Empty-5x5", "Empty-8x8", "DoorKey-5x5", "FourRooms")
    jobs += [("MiniGrid, unrolled", lambda n=level: MDP.from_minigrid(f"MiniGrid-{n}-v0", 1.0, horizon=True), 2) for level in levels]
    for family, make, num_options in jobs:
        row = cost(family, make(), num_options)
        rows.append(row)
        print(
            f"  {row['family']:22} {row['nodes']:8} {row['entries']:9} {row['structure']:9.3f} {row['gradient']:9.3f}  {row['method']:17} "
            f"{row['residual']:8.1e}",
            flush=True,
        )
    print(f"  peak memory of the whole run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.1f} GB")
    return rows


def plot(rows: list[dict[str, float | str]], path: str) -> None:
    """Cost against nodes, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for family in dict.fromkeys(row["family"] for row in rows):
        chosen = [row for row in rows if row["family"] == family]
        nodes = [row["nodes"] for row in chosen]
        (line,) = axes.loglog(nodes, [row["gradient"] for row in chosen], "o-", label=f"{family}: gradient, each call")
        axes.loglog(nodes, [row["structure"] for row in chosen], "o:", color=line.get_color(), label=f"{family}: structure, once")
    axes.set(xlabel="nodes of the chain", ylabel="seconds", title="Exact gradient of option-critic")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the largest chains")
    parser.add_argument("--plot", metavar="FILE", help="draw cost against nodes")
    arguments = parser.parse_args()
    calls()
    measured = table(arguments.quick)
    if arguments.plot:
        plot(measured, arguments.plot)
