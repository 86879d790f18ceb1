"""One critic to every baseline: the sweep against option-critic written out by hand, and against plain enumeration on random networks."""

import numpy as np
import torch
from brute_force import ticks
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import networks

import optioncoagent as oc
from optioncoagent.agents.returns import lambda_advantages
from optioncoagent.agents.sweep import at_outputs, critic_on_axes, gate, policy_on_axes, sweep
from optioncoagent.network import LocalState


def test_option_critic_by_hand():
    """W_0 = U(ω', s), W_1 = Q_β = (V, Q), W_2 = Q_Ω; at a first step W_0 = V."""
    options, n = 3, 5
    network = oc.option_critic(options, 2, deliberation_cost=0.25)
    rng = torch.Generator().manual_seed(0)
    tables = {
        "termination": torch.rand(n, options, 2, generator=rng),
        "option": torch.rand(n, 1, options, generator=rng),
        "action": torch.rand(n, options, 2, generator=rng),
    }
    tables = {name: t / t.sum(dim=-1, keepdim=True) for name, t in tables.items()}
    q = torch.randn(n, options, generator=rng)
    previous = {"termination": torch.zeros(n, dtype=int), "option": torch.arange(n) % options, "action": torch.zeros(n, dtype=int)}
    start = torch.tensor([False, False, False, True, True])
    policies = {name: policy_on_axes(network, name, table.permute(1, 2, 0), previous) for name, table in tables.items()}
    w = sweep(network, policies, critic_on_axes(network, q.T), start, torch.arange(n), previous)

    before = previous["option"]
    continued = q[torch.arange(n), before]
    v = (tables["option"][:, 0] * q).sum(dim=-1) - 0.25 * ~start  # V − c
    b = tables["termination"][torch.arange(n), before, oc.TERMINATE]
    torch.testing.assert_close(w[0].values, torch.where(start, v, b * v + (1 - b) * continued))
    torch.testing.assert_close(at_outputs(w[1], {}), torch.stack([v, continued]))
    torch.testing.assert_close(at_outputs(w[2], {}), q.T)


@given(networks(), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=150)
def test_random_networks_against_enumeration(network, seed, start):
    """W_k at the outputs of the first k coagents is the conditional expectation of Q(s, K) less the costs that follow."""
    rng, num_observations = np.random.default_rng(seed), 3
    policies = network.policies(network.init_params(num_observations, seed), num_observations)
    observation, previous = int(rng.integers(num_observations)), tuple(int(rng.integers(n)) for n in network.num_outputs)
    q = rng.normal(size=[network[name].num_outputs for name in network.critic_inputs])
    tables = {}
    for name in network.names:
        table = policies[name][observation] if network[name].observes else policies[name]
        tables[name] = torch.as_tensor(table).reshape(1, -1, network[name].num_outputs)
    before = {name: torch.tensor([u]) for name, u in zip(network.names, previous, strict=True)}
    on_axes = {name: policy_on_axes(network, name, table.permute(1, 2, 0), before) for name, table in tables.items()}
    critic = critic_on_axes(network, torch.as_tensor(q).reshape(-1, 1))
    values = sweep(network, on_axes, critic, torch.tensor([start]), torch.tensor([observation]), before)

    positions = [network.names.index(name) for name in network.critic_inputs]
    ways = [(way, way.probability(policies)) for way in ticks(network, start, observation, previous)]
    for k in range(len(network.coagents) + 1):
        mass, mean = {}, {}
        for way, p in ways:
            costs = 0.0 if start else sum(c.cost * e for c, e in zip(network.coagents[k:], way.executed[k:], strict=True))
            key = way.outputs[:k]
            mass[key] = mass.get(key, 0.0) + p
            mean[key] = mean.get(key, 0.0) + p * (q[tuple(way.outputs[i] for i in positions)] - costs)
        for key, p in mass.items():
            if p > 1e-12:
                at = at_outputs(values[k], {n: torch.tensor([u]) for n, u in zip(network.names, key, strict=False)})
                np.testing.assert_allclose(at.numpy().ravel()[:1], mean[key] / p, atol=1e-10)


def test_lambda_advantages_against_the_double_sum():
    delta, trace = torch.randn(6, 2, dtype=torch.float64), torch.rand(6, 2, dtype=torch.float64)
    trace[3, 0] = 0.0  # an ending
    expected = torch.zeros_like(delta)
    for t in range(6):
        for k in range(t, 6):
            expected[t] += trace[t:k].prod(dim=0) * delta[k]
    torch.testing.assert_close(lambda_advantages(delta, trace), expected)


def test_a_gate_has_the_precision_of_the_rest():
    """0.3 * x.start in double precision, with torch's own default left alone."""
    network = oc.CoagentNetwork(
        [oc.Coagent("kept", 2, executes=lambda x: 0.3 + 0.7 * x.start), oc.Coagent("action", 2, upstream=("kept",))]
    )
    default = torch.get_default_dtype()
    for dtype in (torch.float32, torch.float64):
        x = LocalState(torch.tensor([False, True]), None, {}, {})
        beta = gate(network, 0, x, dtype)
        assert beta.dtype == dtype and torch.equal(beta, torch.tensor([0.3, 1.0], dtype=dtype))
    assert torch.get_default_dtype() == default == torch.float32
