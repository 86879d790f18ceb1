"""Every network of the gallery through the exact solver, the simulator and a short training. Against the truth: agents/test_truth.py."""

import inspect
import re

import numpy as np
import pytest
from galleries import NETWORKS
from small import GRIDWORLD, SMALL, random_mdp

import optioncoagent as oc
from optioncoagent import gallery
from optioncoagent.network import softmax
from optioncoagent_envs.tabular.gridworld import gridworld


def case(kind):
    mdp = random_mdp()
    network = NETWORKS[kind](mdp.num_actions)
    return mdp, network, network.init_params(mdp.num_observations, seed=1)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_exact_gradient_is_central_differences(kind):
    gradient, slopes = oc.policy_gradient(*case(kind)), oc.finite_difference(*case(kind))
    assert gradient.keys() == slopes.keys()
    for name, slope in slopes.items():
        np.testing.assert_allclose(gradient[name], slope, atol=1e-8)
        assert np.abs(slope).max() > 1e-4  # no coagent that makes no difference


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_simulator_agrees(kind):
    J, gradient = oc.expected_return(*case(kind)), oc.policy_gradient(*case(kind))
    returns, sampled = oc.estimate_return(*case(kind), 40_000), oc.estimate_gradient(*case(kind), 40_000)
    assert abs(returns.mean - J) < 5 * returns.standard_error
    for name, exact in gradient.items():
        assert (np.abs(sampled.mean[name] - exact) <= 5 * sampled.standard_error[name] + 1e-12).all(), name


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_short_training(kind):
    rows = []
    agent = oc.CoagentActorCritic(GRIDWORLD, NETWORKS[kind], seed=0, **SMALL).learn(3 * 64, callback=lambda _, row: rows.append(row))
    for row in rows:
        assert all(np.isfinite(row[f"{name}/loss"]) for name in (*agent.network.names, "critic"))
    assert len(rows) == 3 and all(rows[-1][f"{name}/executed"] > 0 for name in agent.network.names)


@pytest.mark.parametrize("kind", ["clock", "feed-forward, shared", "initiation", "three additions"])
def test_a_short_training_on_minigrid(kind):
    agent = oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", NETWORKS[kind], seed=0, **SMALL)
    row = agent.update()
    assert all(np.isfinite(row[f"{name}/loss"]) for name in (*agent.network.names, "critic"))


def test_a_cycle_stays_one_in_training():
    mdp = oc.MDP.from_env(gridworld(), 0.9)
    network = gallery.clocked_options(2, mdp.num_actions, 3)
    agent = oc.CoagentActorCritic(GRIDWORLD, network, seed=0, hidden_sizes=(), learning_rate=0.01, **SMALL)
    before = {**network.init_params(mdp.num_observations), "clock": gallery.cycle(3)}
    agent.set_params(mdp, before)
    agent.learn(20 * 64)
    after = agent.params(mdp)
    np.testing.assert_allclose(np.exp(after["clock"]), np.exp(before["clock"]), atol=1e-12)
    assert all(np.abs(np.exp(after[name]) - softmax(before[name])).max() > 0.01 for name in ("option", "action"))


MADE_BY = sorted({name for name in gallery.__all__ if inspect.isfunction(getattr(gallery, name))} - {"cycle", "double_params"})


@pytest.mark.parametrize("name", MADE_BY)
def test_a_docstring_has_a_picture_a_source_and_what_the_network_is_equal_to(name):
    text = " ".join(inspect.getdoc(getattr(gallery, name)).split())
    assert "─► " in text or "┄► " in text or "├► " in text, "no picture"
    assert re.search(r'"[A-Z][^"]+" \(\w+ [\d.]+', text), "no paper with its year or number"
    assert "Equal to " in text


def test_nothing_of_the_gallery_is_missing_here():
    here = inspect.getsource(inspect.getmodule(next(iter(NETWORKS.values()))))
    assert len(MADE_BY) == 10 and all(f"{name}(" in here for name in MADE_BY)


def test_the_example_of_the_room_runs_as_it_stands_there():
    """With a shorter training."""
    lines = [line for line in gallery.__doc__.splitlines() if line.startswith("    ") or not line]
    code = "\n".join(line[4:] for line in lines)
    code = code[code.index("import gymnasium") :].split("\n\n\n")[0].replace("20_000", "2_000")
    told = {}
    exec(compile(code, "gallery", "exec"), told)  # noqa: S102
    assert told["policies"]["option"][0].shape == (4,) and told["policies"]["action"][0].shape == (4, 7)


WRONG = {
    "mean_length=0.5": lambda: gallery.random_length(2, 2, 0.5),
    "one size": lambda: gallery.feed_forward_options((2, 3), 2, shared=True),
    "no coagent 'optoin' to gate": lambda: gallery.with_gate(oc.option_critic(2, 2), "optoin"),
    r"readers=\['optoin'\]": lambda: gallery.with_memory(oc.option_critic(2, 2), 2, readers=("optoin",)),
    "'memory' is named twice": lambda: gallery.with_memory(gallery.with_memory(oc.option_critic(2, 2), 2), 2),
    r"sizes=\(2, 0\): a layer has a whole number of units, at least one": lambda: gallery.stochastic_layers((2, 0), 3),
    "sizes=4: give the number of units in each layer": lambda: gallery.stochastic_layers(4, 3),
    r"num_options=3: give the number of nodes in each layer": lambda: gallery.feed_forward_options(3, 2),
    "mean_length='4': it must be a number": lambda: gallery.random_length(2, 2, "4"),
    r"sizes=\(2.5,\): a layer has a whole number of units": lambda: gallery.stochastic_layers((2.5,), 3),
    r"readers=\['actoin'\]": lambda: gallery.with_memory(oc.option_critic(2, 2), 2, readers="actoin"),
    r"num_options=\(2, 2\): initiation sets are of options of one level": lambda: gallery.initiation_sets((2, 2), 3),
    "num_outputs=0": lambda: gallery.clocked_options(2, 2, 0),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_network_is_refused(message):
    with pytest.raises(ValueError, match=message):
        WRONG[message]()
