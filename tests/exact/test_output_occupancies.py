"""How often each output of a coagent is in force, and where: against enumeration, and against option-critic's own occupancies."""

import numpy as np
import pytest
from brute_force import laws, ticks
from galleries import NETWORKS
from small import appendix_d, random_mdp

import optioncoagent as oc
from optioncoagent.exact import output_occupancies

FIELDS = ("running", "chosen", "arrivals", "ends")
SETTINGS = ("deliberation cost", "two levels", "random length", "always terminating", "memory", "gate on the action", "appendix D")


def enumerated(mdp, network, params, name, steps=7):
    """Every way in which a tick can go, from every node at every step."""
    i, policies = network.names.index(name), network.policies(params, mdp.num_observations)
    n, actions = network[name].num_outputs, mdp.num_actions
    found = {field: np.zeros((mdp.num_states, n, *(actions,) * (field == "running"))) for field in FIELDS}
    for t, law in enumerate(laws(mdp, network, params, steps)):
        for (s, previous), p in law.items():
            if mdp.terminal[s]:
                continue
            for way in ticks(network, t == 0, int(mdp.observation[s]), previous):
                weight = mdp.gamma**t * p * way.probability(policies)
                u, before, executed = way.outputs[i], previous[i], way.executed[i]
                action = int(network.joint_action(dict(zip(network.names, way.outputs, strict=True))))
                found["running"][s, u, action] += weight
                found["chosen"][s, u] += weight * executed
                if t:
                    found["arrivals"][s, before] += weight
                    found["ends"][s, before] += weight * executed
    return found


@pytest.mark.parametrize("kind", SETTINGS)
def test_against_enumeration(kind):
    mdp = random_mdp(num_states=4, gamma=0.1)
    mdp = oc.MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, [0, 1, 0, 2])
    network = (NETWORKS | {"appendix D": appendix_d})[kind](mdp.num_actions)
    params = network.init_params(3, seed=2, scale=3.0)
    for name in network.names:
        found, expected = output_occupancies(mdp, network, params, name), enumerated(mdp, network, params, name)
        for field in FIELDS:
            assert getattr(found, field) == pytest.approx(expected[field], rel=1e-6, abs=1e-8), (name, field)


@pytest.mark.parametrize(("first", "initial"), [("select", None), ("terminate", 1)])
def test_an_option_s_are_those_of_option_critic(first, initial):
    """d_z, d_β, d_β b and d_Ω π_Ω of `option_values`, which has the first decision to terminate in d_β, and none of ours is an arrival."""
    mdp = random_mdp(num_states=5, gamma=0.9)
    network = oc.option_critic(3, mdp.num_actions, first, initial=initial)
    params = network.init_params(mdp.num_observations, seed=1)
    values = oc.option_values(mdp, params, first=first, initial=initial)
    policies = network.policies(params, mdp.num_observations)
    found = output_occupancies(mdp, network, params, "option")
    begun = np.zeros_like(values.d_beta)
    if first == "terminate":
        begun[:, initial] = np.where(mdp.terminal, 0, mdp.d0)
    assert found.arrivals == pytest.approx(values.d_beta - begun)
    assert found.ends == pytest.approx((values.d_beta - begun) * policies["termination"][:, :, oc.TERMINATE])
    assert found.running == pytest.approx(values.d_z[:, :, None] * policies["action"])
    assert found.chosen == pytest.approx(values.d_omega[:, None] * policies["option"])


def test_where_all_starts_are_over_nothing_is_visited():
    P = np.tile(np.eye(2)[:, None], (1, 3, 1))
    mdp = oc.MDP(P, np.zeros((2, 3, 2)), [0.5, 0.5], 0.9, [True, True])
    network = oc.option_critic(2, 3)
    found = output_occupancies(mdp, network, network.init_params(2), "option")
    assert found.running.shape == (2, 2, 3) and not any(getattr(found, field).any() for field in FIELDS)


def test_a_name_that_is_no_coagent_s_is_refused():
    mdp = random_mdp()
    network = oc.option_critic(2, mdp.num_actions)
    with pytest.raises(ValueError, match=r"no coagent 'options': the network has \['termination', 'option', 'action'\]"):
        output_occupancies(mdp, network, network.init_params(mdp.num_observations), "options")
