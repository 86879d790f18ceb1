"""The gradient by another road, autograd through the linear solve; and when two gradients are the same."""

import numpy as np
import torch
from brute_force import action_of, initial_outputs, reward_of, ticks, transitions_of


def assert_same(gradient, expected, tolerance):
    """Equal relative to the largest entry of all coagents."""
    scale = max(1e-3, *(np.abs(g).max() for g in expected.values()))
    for name in expected:
        np.testing.assert_allclose(gradient[name], expected[name], rtol=0, atol=tolerance * scale, err_msg=name)


def torch_witness(mdp, network, params):
    """J and ∇J: torch differentiates through the linear solve of the chain over every (start, s, u), reachable or not if it ends."""
    logits = {n: torch.tensor(params[n], requires_grad=True) for n in params}
    policies = {c.name: torch.softmax(logits[c.shares or c.name], dim=-1).reshape(-1) for c in network.coagents}
    shapes = {c.name: tuple(params[c.shares or c.name].shape) for c in network.coagents}
    P = transitions_of(mdp)
    live = [s for s in range(mdp.num_states) if not mdp.terminal[s]]
    numbers = {(start, s, u): 0 for start in (True, False) for s in live for u in np.ndindex(*network.num_outputs)}
    numbers = {node: i for i, node in enumerate(numbers)}
    law = torch.zeros(len(numbers), dtype=torch.float64)
    for p, u in initial_outputs(network):
        for s in live:
            law[numbers[True, s, u]] = float(mdp.d0[s]) * p
    rows, columns, weights, rewards, chances = [], [], [], [], []
    for (start, s, u), number in numbers.items():
        for tick in ticks(network, start, int(mdp.observation[s]), u):
            action = action_of(network, tick.outputs)
            chance = torch.tensor(tick.gates, dtype=torch.float64)
            for name, index in tick.draws:
                chance = chance * policies[name][np.ravel_multi_index(index, shapes[name])]
            chances.append(chance)
            for successor in np.flatnonzero(P[s, action]):
                rows.append(number)
                columns.append(numbers.get((False, successor, tick.outputs), -1))
                weights.append((len(chances) - 1, P[s, action, successor]))
                rewards.append(reward_of(mdp, network, start, s, action, successor, tick.executed))
    which = torch.tensor([w for w, _ in weights])
    weight = torch.tensor([w for _, w in weights], dtype=torch.float64)
    entries = torch.stack(chances)[which] * weight
    rows, columns = torch.tensor(rows), torch.tensor(columns)
    inside = columns >= 0
    kernel = torch.zeros(len(numbers), len(numbers), dtype=torch.float64)
    kernel = kernel.index_put((rows[inside], columns[inside]), entries[inside], accumulate=True)
    reward = torch.zeros(len(numbers), dtype=torch.float64).index_put(
        (rows,), entries * torch.tensor(rewards, dtype=torch.float64), accumulate=True
    )
    J = law @ torch.linalg.solve(torch.eye(len(numbers), dtype=torch.float64) - mdp.gamma * kernel, reward)
    if not J.requires_grad:  # nobody ever executes
        return J.item(), {n: np.zeros(shapes[n]) for n in params}
    gradients = torch.autograd.grad(J, list(logits.values()), allow_unused=True)
    return J.item(), {n: np.zeros(shapes[n]) if g is None else g.numpy() for n, g in zip(params, gradients, strict=True)}
