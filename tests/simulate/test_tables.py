"""The tick's tabulated law."""

from __future__ import annotations

import numpy as np
from enumerated import random_mdp, random_network, ticks
from hypothesis import given
from hypothesis import strategies as st

from optioncoagent.simulate.alias import build_alias
from optioncoagent.simulate.tables import walk_table
from optioncoagent.simulate.wiring import dynamics, wire


@given(st.lists(st.floats(0, 1) | st.just(0.0), min_size=1, max_size=12).filter(lambda w: sum(w) > 1e-6))
def test_an_alias_table_holds_its_law(weights):
    law = np.array(weights) / np.sum(weights)
    threshold, alias = build_alias(law, law.size)
    implied = threshold / law.size
    np.add.at(implied, alias, (1 - threshold) / law.size)
    assert np.allclose(implied, law, atol=1e-12)
    drawn = set(np.flatnonzero(threshold > 0)) | set(alias[threshold < 1])
    assert all(law[k] > 0 for k in drawn)  # what has probability 0 is never drawn


def test_a_node_has_the_joint_law_of_its_tick():
    """Pr(successor node, reward) out of each node, against every tick written out."""
    for seed in range(4):
        mdp, network = random_mdp(seed, gamma=1.0), random_network(seed)
        policies = network.policies(network.init_params(mdp.num_observations, seed), mdp.num_observations)
        table = walk_table(
            mdp, network, network.parameters(mdp.num_observations).flat(policies), wire(network, mdp.num_observations), dynamics(mdp)
        )
        assert table is not None
        weight = np.zeros(table.threshold.size)
        weight += table.threshold / table.width
        np.add.at(weight, table.alias, (1 - table.threshold) / table.width)
        weight = weight.reshape(-1, table.width)
        assert np.allclose(weight.sum(axis=1), 1)
        mean = (weight * table.reward.reshape(weight.shape)).sum(axis=1)
        leads, alive = table.successor.reshape(weight.shape), np.flatnonzero(~mdp.terminal)
        remembered = [i for i, name in enumerate(network.names) if name in network.memory]
        sizes = [network.num_outputs[i] for i in remembered]
        for node in range(int(np.prod(sizes, dtype=int)) * int((~mdp.terminal).sum())):
            s, memory = divmod(node, int(np.prod(sizes, dtype=int)))
            previous = [0] * len(network.names)
            for i, value in zip(remembered, np.unravel_index(memory, sizes or (1,)), strict=False):
                previous[i] = int(value)
            expected, law = 0.0, np.zeros((alive.size, int(np.prod(sizes, dtype=int))))
            for probability, outputs, _, _, cost in ticks(mdp, network, policies, 0, s, tuple(previous)):
                action = int(network.joint_action(dict(zip(network.names, outputs, strict=True))))
                expected += probability * (mdp.expected_reward[s, action] - cost)
                after = np.ravel_multi_index([outputs[i] for i in remembered], sizes) if remembered else 0
                law[:, after] += probability * np.asarray(mdp.P[s, action])[alive]
            assert np.isclose(mean[node], expected)
            found = np.bincount(leads[node], weight[node], law.size)[: law.size]  # the rest of them end
            np.testing.assert_allclose(found, law.ravel(), atol=1e-12)


def test_flat_and_back():
    network = random_network(3)
    params = network.init_params(5)
    layout = network.parameters(5)
    back = layout.unflat(layout.flat(params))
    assert all(np.array_equal(params[name], back[name]) for name in params)
