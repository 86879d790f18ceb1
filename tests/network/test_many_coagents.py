"""Networks of a hundred coagents: what a solver's tables grow with is how many outputs matter at a time, not how many there are."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, networks
from tabular import TabularVectorEnv

import optioncoagent as oc
from optioncoagent.agents.sweep import at_outputs, critic_on_axes, policy_on_axes, sweep
from optioncoagent.network import Coagent

MANY = 70


def random_mdp(seed=0, num_states=4, num_actions=3):
    """The last state is terminal, and reached with probability 0.2 at least."""
    rng = np.random.default_rng(seed)
    P = 0.8 * rng.dirichlet(np.ones(num_states), (num_states, num_actions))
    P[:, :, -1] += 0.2
    P[-1] = np.eye(num_states)[-1]
    R = rng.normal(size=P.shape)
    R[-1] = 0.0
    return oc.MDP(P, R, np.eye(num_states)[0], 0.9, np.arange(num_states) == num_states - 1)


def chain(length=MANY):
    """Each reads the one before; the first reads the state, the last acts."""
    middle = [Coagent(f"c{i}", 2 + i % 2, observes=False, upstream=(f"c{i - 1}",)) for i in range(1, length)]
    return oc.CoagentNetwork([Coagent("c0", 2), *middle, Coagent("action", 3, observes=False, upstream=(f"c{length - 1}",))])


def random_wiring(seed=0, length=MANY):
    """Each reads one or two of the four before it. Some need not execute: three of them are memory, others must at every later step."""
    rng = np.random.default_rng(seed)
    names, coagents = [f"c{i}" for i in range(length)], []
    for i, name in enumerate(names):
        near = names[max(0, i - 4) : i]
        upstream = tuple(str(n) for n in rng.permutation(near)[: rng.integers(1, 3)])
        executes = 1.0
        if i in (10, 30, 50):
            executes = [0.5, lambda x: (x.upstream["c29"] == 1) | x.start, lambda x: x.previous["c50"] == x.upstream["c30"]][i // 20]
        elif i in (20, 40):
            executes = lambda x: ~x.start  # noqa: E731
        if i in (49, 60):
            upstream = (*upstream[:1], "c30" if i == 49 else "c50")
        previous = ("c10",) if i in (25, 65) else ()
        cost = 0.1 * (i in (30, 33))
        coagents.append(Coagent(name, 2, bool(rng.integers(2)), upstream, previous, executes, 0 if i == 20 else None, cost))
    return oc.CoagentNetwork([*coagents, Coagent("action", 3, upstream=(names[-1], names[-3]))])


def with_relays(network, params, length=MANY):
    """The same network, but what its policies read of the first coagent at this step has been passed on by `length` others, each a copy."""
    first = network.coagents[0]
    passed_on = [first.name, *(f"relay{i}" for i in range(length))]
    relays = [Coagent(b, first.num_outputs, False, (a,)) for a, b in pairwise(passed_on)]
    later = [replace(c, upstream=tuple(passed_on[-1] if name == first.name else name for name in c.upstream)) for c in network.coagents[1:]]
    with np.errstate(divide="ignore"):
        copies = dict.fromkeys(passed_on[1:], np.log(np.eye(first.num_outputs)))
    return oc.CoagentNetwork([first, *relays, *later], action=network.action), {**params, **copies}


def test_a_chain_is_the_product_of_its_policies():
    """J, and the gradient of both ends, are those of two coagents with π(u | u_0) = Π_i π_i in between; the gradient of one in between
    is by central differences."""
    mdp, network = random_mdp(), chain()
    params = network.init_params(4, seed=1, scale=2.0)
    product = np.eye(2)
    for name, policy in network.policies(params, 4).items():
        if name != "c0":
            product = product @ policy
    short = oc.CoagentNetwork([Coagent("c0", 2), Coagent("action", 3, observes=False, upstream=("c0",))])
    small = {"c0": params["c0"], "action": np.log(product)}
    assert oc.expected_return(mdp, network, params) == pytest.approx(oc.expected_return(mdp, short, small), rel=1e-12)
    gradient = oc.policy_gradient(mdp, network, params)
    np.testing.assert_allclose(gradient["c0"], oc.policy_gradient(mdp, short, small)["c0"], atol=1e-12)
    for name in ("c1", "c68", "action"):
        _check_difference(mdp, network, params, gradient, name)


def _check_difference(mdp, network, params, gradient, name):
    for index in np.ndindex(params[name].shape):
        sides = []
        for step in (1e-5, -1e-5):
            moved = {**params, name: params[name].copy()}
            moved[name][index] += step
            sides.append(oc.expected_return(mdp, network, moved))
        assert gradient[name][index] == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-8), (name, index)


def test_random_wiring_is_traced():
    network = random_wiring()
    assert network.memory == ("c10", "c30", "c50") and len(network.names) == MANY + 1
    assert network.touched["c50"].upstream == ("c30",) and network.execution_table("c50", 4).shape == (2, 2)
    assert max(len(turn.live) for turn in network.plan(network.memory)) < 10


def test_the_gradient_of_random_wiring_is_central_differences():
    mdp, network = random_mdp(), random_wiring()
    params = network.init_params(4, seed=1, scale=2.0)
    gradient = oc.policy_gradient(mdp, network, params)
    for name in ("c10", "c20", "c29", "c30", "c49", "c50", "c65", "c68", "action"):
        _check_difference(mdp, network, params, gradient, name)


@given(cases())
@settings(max_examples=20)
def test_relays_leave_the_return_and_the_gradient_as_they_are(case):
    mdp, network, params = case
    long, more = with_relays(network, params)
    assert oc.expected_return(mdp, long, more) == pytest.approx(oc.expected_return(mdp, network, params), rel=1e-9, abs=1e-12)
    gradient, expected = oc.policy_gradient(mdp, long, more), oc.policy_gradient(mdp, network, params)
    for name in network.names:
        np.testing.assert_allclose(gradient[name], expected[name], atol=1e-9)


@pytest.mark.parametrize("make", [chain, random_wiring])
def test_the_simulator_agrees(make):
    mdp, network = random_mdp(), make()
    params = network.init_params(4, seed=1, scale=0.5)
    estimate = oc.estimate_return(mdp, network, params, 20_000, seed=0)
    assert abs(estimate.mean - oc.expected_return(mdp, network, params)) < 4 * estimate.standard_error
    sampled, exact = oc.estimate_gradient(mdp, network, params, 20_000, seed=0), oc.policy_gradient(mdp, network, params)
    for name in network.names:
        assert (np.abs(sampled.mean[name] - exact[name]) <= 4 * sampled.standard_error[name] + 1e-12).all(), name


@given(networks(), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_relays_leave_the_values_of_the_sweep_as_they_are(network, seed):
    """W_k after every coagent, at random outputs that the relays have copied, from the same critic."""
    rng, n = np.random.default_rng(seed), 3
    params, first = network.init_params(n, seed), network.names[0]
    long, more = with_relays(network, params)
    outputs, previous = ({m: torch.as_tensor(rng.integers(0, long[m].num_outputs, n)) for m in long.names} for _ in range(2))
    outputs |= {m: outputs[first] for m in long.names if m.startswith("relay")}
    start = torch.tensor([False, False, True])
    q = critic_on_axes(network, torch.as_tensor(rng.normal(size=(*(network[m].num_outputs for m in network.critic_inputs), n))))
    renamed = tuple(f"relay{MANY - 1}" if m == first and m not in long.critic_inputs else m for m in q.names)
    values = []
    for made, logits, critic in ((network, params, q), (long, more, q._replace(names=renamed))):
        policies = {}
        for name, policy in made.policies(logits, n).items():
            table = policy if made[name].observes else np.stack([policy] * n)
            table = torch.as_tensor(table).reshape(n, -1, made[name].num_outputs).permute(1, 2, 0)
            policies[name] = policy_on_axes(made, name, table, previous)
        values.append(sweep(made, policies, critic, start, torch.arange(n), previous))
    torch.testing.assert_close(values[0][0].values, values[1][0].values)
    for k, name in enumerate(network.names):
        small, large = values[0][k + 1], values[1][long.names.index(name) + 1]
        torch.testing.assert_close(at_outputs(small, outputs), at_outputs(large, outputs))


@pytest.mark.parametrize("make", [chain, random_wiring])
def test_the_learner_updates_a_hundred_coagents(make):
    """One update, of all heads at once, and an action."""
    network = make(length=100)
    agent = oc.CoagentActorCritic(TabularVectorEnv(random_mdp(), 4), network, num_steps=32, num_minibatches=1, update_epochs=1)
    before = {name: p.detach().clone() for name, p in agent.module.named_parameters()}
    row = agent.update()
    assert np.isfinite([value for key, value in row.items() if key.endswith("/loss")]).all()
    assert all(p.isfinite().all() for p in agent.module.parameters())
    assert any((p != before[name]).any() for name, p in agent.module.named_parameters() if "policy_action" in name)
    assert all(row[f"{name}/executed"] > 0 for name in network.names)
    action, state = agent.predict(0)
    assert action in range(3) and state.shape == (len(network.memory),)


def test_too_many_outputs_at_a_time_are_refused_with_their_number():
    mdp = random_mdp()
    bits = [Coagent(f"c{i}", 2) for i in range(40)]
    parity = lambda x: sum(x.upstream[c.name] for c in bits) % 2 == 0  # noqa: E731
    with pytest.raises(ValueError, match="'gate'.*touches.* 1,099,511,627,776 entries.*touch less"):
        oc.CoagentNetwork([*bits, Coagent("gate", 2, executes=parity), Coagent("action", 3, upstream=("gate",))])
    # outputs that wait for their readers
    readers = [Coagent(f"d{i}", 2, upstream=(f"c{i}",)) for i in range(40)]
    waiting = oc.CoagentNetwork([*bits, *readers, Coagent("action", 3, upstream=("d39",))])
    with pytest.raises(ValueError, match="coagent 'c.*still to be read.*numbers.*nearer to those that read them"):
        oc.expected_return(mdp, waiting, waiting.init_params(4))
    with pytest.raises(ValueError, match="coagent 'c.*still matter.*values.*nearer to those that read them"):
        oc.CoagentActorCritic(TabularVectorEnv(mdp, 2), waiting)
    oc.estimate_return(mdp, waiting, waiting.init_params(4), 10)
    # memory
    remembered = [replace(c, executes=0.5) for c in bits]
    memory = oc.CoagentNetwork([*remembered, *readers, Coagent("action", 3, upstream=("d39",))])
    with pytest.raises(ValueError, match="outputs are still to be seen.*6,597,069,766,656 joint values.*let fewer be retained"):
        oc.expected_return(mdp, memory, memory.init_params(4))
    # outputs before the first step
    late = oc.CoagentNetwork([*(replace(c, executes=lambda x: ~x.start) for c in bits), *readers, Coagent("action", 3, upstream=("d39",))])
    with pytest.raises(ValueError, match="can see 40 outputs.*1,099,511,627,776 joint values.*give initial= an int"):
        oc.expected_return(mdp, late, late.init_params(4))
    for refused in (oc.synchronous, lambda *case: oc.comdp(*case, "c1"), lambda *case: oc.comdp(*case, "action")):
        with pytest.raises(ValueError, match="too many|more than"):
            refused(mdp, waiting, waiting.init_params(4))
