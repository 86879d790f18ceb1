"""The asynchronous coagent policy gradient theorem (ACPGT): one gradient by roads that share no code."""

import numpy as np
import pytest
import torch
from brute_force import action_of, initial_outputs, reward_of, ticks, trajectories, transitions_of, truncated_gradient, truncated_return
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases

from optioncoagent.exact import expected_return, finite_difference, local_gradient, policy_gradient


def assert_same(gradient, expected, tolerance):
    """Equal relative to the largest entry of all coagents."""
    scale = max(1e-3, *(np.abs(g).max() for g in expected.values()))
    for name in expected:
        np.testing.assert_allclose(gradient[name], expected[name], rtol=0, atol=tolerance * scale, err_msg=name)


def torch_witness(mdp, network, params):
    """J and ∇J: torch differentiates through the linear solve of the chain over every (start, s, u), reachable or not if it ends."""
    logits = {n: torch.tensor(params[n], requires_grad=True) for n in network.names}
    policies = {n: torch.softmax(logits[n], dim=-1).reshape(-1) for n in network.names}
    shapes = {n: tuple(params[n].shape) for n in network.names}
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
        return J.item(), {n: np.zeros(shapes[n]) for n in network.names}
    gradients = torch.autograd.grad(J, list(logits.values()), allow_unused=True)
    return J.item(), {n: np.zeros(shapes[n]) if g is None else g.numpy() for n, g in zip(network.names, gradients, strict=True)}


@given(cases())
def test_acpgt_stacked_local_gradients_are_autograd_through_the_linear_solve(case):
    J, expected = torch_witness(*case)
    assert expected_return(*case) == pytest.approx(J, rel=1e-9, abs=1e-12)
    assert_same(policy_gradient(*case), expected, 1e-9)


@given(cases(gammas=(0.0, 0.3), max_states=2))
def test_acpgt_is_the_gradient_of_an_enumerated_return(case):
    """γ^24 is below 1e-12: the truncated return is the return."""
    assert expected_return(*case) == pytest.approx(truncated_return(*case, horizon=24), rel=1e-9, abs=1e-9)
    assert_same(policy_gradient(*case), truncated_gradient(*case, horizon=24), 1e-9)


@given(cases())
def test_acpgt_is_central_differences(case):
    assert_same(policy_gradient(*case), finite_difference(*case), 1e-6)


@given(cases())
def test_local_gradients_are_the_parts_of_the_gradient(case):
    gradient = policy_gradient(*case)
    for name in case.network.names:
        np.testing.assert_array_equal(local_gradient(*case, name), gradient[name])
        assert gradient[name].shape == case.params[name].shape
        assert (gradient[name][~np.isfinite(case.params[name])] == 0).all()


@given(cases(max_states=2, max_outputs=2, forbidden=False), st.integers(0, 3))
def test_the_enumeration_agrees_with_itself(case, horizon):
    """`truncated_return` is a sum over trajectories, `truncated_gradient` its central differences."""
    mdp, network, params = case
    earned = [w.probability * sum(mdp.gamma**t * r for t, r in enumerate(w.rewards)) for w in trajectories(*case, steps=min(horizon, 2))]
    assert truncated_return(*case, horizon=min(horizon, 2)) == pytest.approx(sum(earned), abs=1e-12)
    gradient = truncated_gradient(*case, horizon=horizon)
    name = network.names[-1]
    index = tuple(np.unravel_index(params[name].size // 2, params[name].shape))
    sides = []
    for step in (1e-5, -1e-5):
        moved = {n: logits.copy() for n, logits in params.items()}
        moved[name][index] += step
        sides.append(truncated_return(mdp, network, moved, horizon))
    assert gradient[name][index] == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-8)
