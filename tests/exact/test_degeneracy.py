"""How far options are from being options: against enumeration, and where the answer is known."""

import numpy as np
import pytest
from brute_force import laws
from galleries import NETWORKS
from options_figures import figures
from small import appendix_d, random_mdp

import optioncoagent as oc
from optioncoagent import gallery
from optioncoagent.exact import degeneracy

KINDS = (
    "option-critic",
    "deliberation cost",
    "two levels",
    "random length",
    "double actor-critic",
    "memory",
    "gate on the action",
    "appendix D",
)


def visits(mdp, network, params, steps):
    for t, law in enumerate(laws(mdp, network, params, steps)):
        for (s, previous), p in law.items():
            if not mdp.terminal[s]:
                yield mdp.gamma**t * p, t == 0, int(mdp.observation[s]), previous


@pytest.mark.parametrize("kind", KINDS)
def test_against_enumeration(kind):
    mdp = random_mdp(num_states=4, gamma=0.1)
    mdp = oc.MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, [0, 1, 0, 2])
    network = (NETWORKS | {"appendix D": appendix_d})[kind](mdp.num_actions)
    params = network.init_params(3, seed=2, scale=3.0)
    found = degeneracy(mdp, network, params)
    expected = figures(network, network.policies(params, 3), list(visits(mdp, network, params, 7)))
    assert found and found == pytest.approx({name: expected[name] for name in found}, rel=1e-7, abs=1e-8)


def chosen(probabilities):
    return np.log(np.asarray(probabilities, dtype=float))


def two_options(end, act):
    """On two states that look at nothing: both options chosen alike, `end` = (P(terminate) of each), `act` = (P(action 0) of each)."""
    mdp = oc.MDP(np.full((2, 2, 2), 0.5), np.zeros((2, 2)), [0.5, 0.5], 0.5)
    both = lambda rows: np.broadcast_to(rows, (2, *np.shape(rows)))  # noqa: E731
    binary = lambda p: np.stack([np.asarray(p), 1 - np.asarray(p)], axis=-1)  # noqa: E731
    with np.errstate(divide="ignore"):
        params = {"termination": both(chosen(binary(end))), "option": np.zeros((2, 2)), "action": both(chosen(binary(act)))}
    return degeneracy(mdp, oc.option_critic(2, 2), params)


def test_options_that_end_at_once_and_say_which_action():
    found = two_options(end=(1.0, 1.0), act=(1.0, 0.0))
    assert found == pytest.approx(
        {
            "termination/sure_0": 1.0,
            "termination/sure_1": 0.0,
            "option/length": 1.0,
            "option/run_length": 4 / 3,  # half of all time is a first step; at the others one of two is drawn again
            "option/usage_entropy": np.log(2),
            "action/information": np.log(2),
            "action/divergence": np.log(2),
            "action/marginal_information": np.log(2),
        }
    )


def test_options_that_last_are_known_from_the_step_before():
    """γ = 1/2: half of all time is a first step, when an option is drawn."""
    found = two_options(end=(0.0, 0.0), act=(1.0, 0.0))
    assert found["option/length"] == pytest.approx(2.0) and found["termination/sure_1"] == 1.0
    assert found["action/information"] == pytest.approx(np.log(2) / 2)
    assert found["action/divergence"] == pytest.approx(np.log(2)) == found["action/marginal_information"]


def test_options_that_act_alike_say_nothing():
    found = two_options(end=(0.96, 0.04), act=(0.3, 0.3))
    assert [found[f"action/{which}"] for which in ("information", "divergence", "marginal_information")] == pytest.approx([0, 0, 0])
    assert 0 < found["termination/sure_0"] < found["termination/sure_1"] and found["termination/sure_0"] + found["termination/sure_1"] == 1


def test_what_never_executes_has_no_figures():
    mdp = random_mdp()
    network = oc.CoagentNetwork(
        [oc.Coagent("bit", 2), oc.Coagent("action", 2, upstream=("bit",), executes=lambda x: x.upstream["bit"] > 1)]
    )
    found = degeneracy(mdp, network, network.init_params(mdp.num_observations))
    assert found["action/length"] == np.inf and np.isnan(found["action/information"])
    assert found["bit/usage_entropy"] > 0 and 0 <= found["bit/sure_0"] <= 1


def test_where_no_step_is_taken_nothing_is_known():
    mdp = oc.MDP(np.eye(2)[:, None].repeat(2, axis=1), np.zeros((2, 2)), [1.0, 0.0], 0.9, terminal=[True, False])
    network = oc.option_critic(2, 2)
    assert np.isnan([*degeneracy(mdp, network, network.init_params(2)).values()]).all()


def test_a_horizon_ends_everything():
    """Of options that last, over three steps of which one in three draws one."""
    mdp = oc.MDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], 1.0, horizon=3)
    network = gallery.random_length(2, 2, 1e9)
    found = degeneracy(mdp, network, {"option": np.zeros((1, 2)), "action": np.array([[[30.0, -30.0], [-30.0, 30.0]]])})
    assert found["option/length"] == pytest.approx(3.0) and found["action/information"] == pytest.approx(np.log(2) / 3)
