"""Networks as data: what is derived from a description, and the errors that a wrong one gets."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import optioncoagent as oc
from optioncoagent import gallery
from optioncoagent.exact import critic_values
from optioncoagent.network import LocalState, Touched, execution, execution_probability
from optioncoagent.network.aspects import aspects, differences


def net(*coagents, action="action"):
    return oc.CoagentNetwork([*coagents, oc.Coagent("action", 2)], action=action)


def appendix_d():
    bits = [oc.Coagent(name, 2, executes=0.5) for name in ("left", "right")]
    return oc.CoagentNetwork([*bits, oc.Coagent("action", 4, observes=False, upstream=("left", "right"), executes=0.5)])


def test_option_critic_is_described_as_in_the_papers():
    network = oc.option_critic(4, 7)
    assert network.names == ("termination", "option", "action") and network.num_actions == 7
    assert network.memory == network.critic_inputs == ("option",)
    params = network.init_params(11)
    assert {name: p.shape for name, p in params.items()} == {"termination": (11, 4, 2), "option": (11, 4), "action": (11, 4, 7)}
    assert network.execution_table("termination", 11).ravel().tolist() == [1, 0]  # every step but the first
    assert network.execution_table("option", 11).ravel().tolist() == [1, 0]  # iff TERMINATE
    assert network.initial("termination")[oc.TERMINATE] == 1 and (oc.TERMINATE, oc.CONTINUE) == (0, 1)


def test_hierarchy_order_reads_and_gates():
    network = oc.option_critic((2, 3), 5)
    assert network.names == ("termination_2", "termination_1", "option_1", "option_2", "action")
    assert network.memory == ("option_1", "option_2")
    shapes = {name: p.shape for name, p in network.init_params(6).items()}
    assert shapes == {
        "termination_1": (6, 2, 2),
        "termination_2": (6, 2, 3, 2),
        "option_1": (6, 2),
        "option_2": (6, 2, 3),
        "action": (6, 2, 3, 5),
    }
    # option 1 executes iff both say TERMINATE, option 2 iff termination 2 does
    assert np.squeeze(network.execution_table("option_1", 6)).tolist() == [[1, 0], [0, 0]]
    assert np.squeeze(network.execution_table("option_2", 6)).tolist() == [1, 0]


def test_one_level_hierarchy_is_option_critic():
    flat, one = oc.option_critic(3, 4), oc.option_critic((3,), 4)
    assert flat.names == one.names and flat.memory == one.memory
    for law in ([0.2, 0.3, 0.5], ([0.2, 0.3, 0.5],), np.array([0.2, 0.3, 0.5])):  # the law of n, or a law a level
        assert oc.option_critic((3,), 4, first="terminate", initial=law).initial("option").tolist() == [0.2, 0.3, 0.5]
    assert oc.option_critic((3,), 4, first="terminate", initial=(2,)).initial("option").tolist() == [0, 0, 1]


def test_terminate_first_draws_the_option_before():
    network = oc.option_critic(3, 2, first="terminate", initial=(0.2, 0.3, 0.5), deliberation_cost=0.1)
    assert network.execution_table("termination", 1).ravel().tolist() == [1]
    assert network.initial("option").tolist() == [0.2, 0.3, 0.5] and network["option"].cost == 0.1


@pytest.mark.parametrize("output", [1, np.int64(1), np.array(1)])
def test_an_initial_output_is_any_integer(output):
    np.testing.assert_array_equal(net(oc.Coagent("a", 3, initial=output)).initial("a"), [0, 1, 0])


def test_memory_and_critic_inputs():
    assert appendix_d().memory == appendix_d().critic_inputs == ("left", "right", "action")
    feed_forward = oc.CoagentNetwork([oc.Coagent("h", 2), oc.Coagent("option", 2), oc.Coagent("action", 2, upstream=("h", "option"))])
    assert feed_forward.memory == () and feed_forward.critic_inputs == ("h", "option")
    # an action that reads its own last output is memory; one that reads another's is needed by the critic too
    assert net(action="action").critic_inputs == ()
    reads = oc.CoagentNetwork([oc.Coagent("h", 2), oc.Coagent("action", 2, previous=("h",))])
    assert reads.memory == ("h",) and reads.critic_inputs == ("h", "action")
    # retained only at the first step: no memory, but the critic must know what the action was
    first = oc.CoagentNetwork([oc.Coagent("action", 2, executes=lambda x: ~x.start)])
    assert first.memory == () and first.critic_inputs == ("action",)
    # a retained output that nobody reads is not memory
    assert net(oc.Coagent("idle", 2, executes=0.5)).memory == ()


def test_only_what_is_touched_is_tabulated():
    table = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    network = net(
        oc.Coagent("a", 2),
        oc.Coagent("b", 3),
        oc.Coagent("c", 2, executes=lambda x: table[x.upstream["a"], x.previous["b"]] * (x.state != 1)),
    )
    assert network.touched["c"] == Touched(state=True, upstream=("a",), previous=("b",))
    assert network.execution_table("c", 4).shape == (4, 2, 3)  # state, upstream, previous
    np.testing.assert_array_equal(network.execution_table("c", 4)[0], table)
    assert network.execution_table("c", 4)[1].max() == 0


def test_a_table_that_is_filled_elementwise_is_taken_whatever_shape_comes_out():
    """Also where what is looked up does not matter, in part or at all, and where a table is looked up."""
    a, chances = oc.Coagent("a", 3), np.array([0.0, 0.25, 1.0])
    for executes, expected in (
        (lambda x: chances[x.upstream["a"]], chances),
        (lambda x: x.upstream["a"] >= 0, np.ones(3)),
        (lambda x: 0.5 if x.upstream["a"] is not None else 1.0, np.full(3, 0.5)),
        (lambda x: (x.upstream["a"] == 1) | (0 * x.previous["a"] == 1), np.array([[0] * 3, [1] * 3, [0] * 3])),
    ):
        network = oc.CoagentNetwork([a, oc.Coagent("action", 2, executes=executes)])
        np.testing.assert_array_equal(network.execution_table("action", 1), expected)


def _both_in_place(x):
    both = x.upstream["a"] == 1
    both &= x.previous["a"] == 2
    return both


def _changes_what_it_is_given(x):
    own = x.previous["a"]
    own -= 1
    return ((x.upstream["a"] == 1) & (own == 1)).float()


def _begins_with_torchs(x):
    chances = (x.upstream["a"] == 1).float()
    chances[x.previous["a"] != 2] = 0.0
    return chances


def _both_by_mask(x):
    chances = np.where(x.upstream["a"] == 1, 1.0, 0.0)
    chances[x.previous["a"] != 2] = 0.0
    return chances


@pytest.mark.parametrize("at_once", [2, 1 << 16])
@pytest.mark.parametrize(
    "executes",
    [
        lambda x: (x.upstream["a"] == 1) & (x.previous["a"] == 2),
        lambda x: np.all([x.upstream["a"] == 1, x.previous["a"] == 2], axis=0),
        lambda x: np.logical_and.reduce([x.upstream["a"] == 1, x.previous["a"] == 2]),
        lambda x: np.stack([x.upstream["a"] - 1, x.previous["a"] - 2], axis=-1).any(axis=-1) == 0,
        _both_in_place,
        _both_by_mask,
        _changes_what_it_is_given,
        _begins_with_torchs,
        lambda x: torch.as_tensor(np.eye(3)[1])[x.upstream["a"]] * (torch.as_tensor(x.previous["a"]) == 2),
        lambda x: torch.where(x.upstream["a"] == 1, 1.0, 0.0) * (x.previous["a"] == 2).float(),
        lambda x: torch.eye(3, requires_grad=True)[1][x.upstream["a"]] * torch.as_tensor(x.previous["a"] == 2),
    ],
)
def test_fields_have_one_shape_and_may_be_stacked_masked_or_torchs(executes, at_once, monkeypatch):
    monkeypatch.setattr(execution, "AT_ONCE", at_once)  # whatever the number of local states at once
    network = oc.CoagentNetwork([oc.Coagent("a", 3), oc.Coagent("action", 2, executes=executes)])
    np.testing.assert_array_equal(network.execution_table("action", 1), np.outer([0, 1, 0], [0, 0, 1]))


def test_a_table_may_be_rounded_otherwise_for_many_states_than_for_one():
    rng = np.random.default_rng(1)
    features, weights = rng.normal(size=(40, 5)), rng.normal(size=5)
    chances = 1 / (1 + np.exp(-features @ weights))
    network = oc.CoagentNetwork([oc.Coagent("action", 2, executes=lambda x: 1 / (1 + np.exp(-(features[x.state] @ weights))))])
    np.testing.assert_allclose(network.execution_table("action", 40), chances)


def test_observations_of_any_form_can_be_touched():
    network = net(oc.Coagent("a", 2, executes=lambda x: (x.state["image"][..., 0] == 4) & ~x.start & (x.previous["action"] == 1)))
    assert network.touched["a"] == Touched(start=True, state=True, previous=("action",))


def test_joint_actions_in_c_order():
    network = net(oc.Coagent("a", 3), action=("a", "action"))
    assert network.num_actions == 6 and network.joint_action({"a": 2, "action": 1}) == 5


def test_what_state_is_depends_on_who_asks():
    """The observation itself in the learner; in the exact solver its number, of which an error reminds."""
    network = net(oc.Coagent("b", 2, executes=lambda x: x.state["direction"] == 0))
    with pytest.raises(ValueError, match="coagent 'b': .*x.state is the number of an observation for the exact solver"):
        network.execution_table("b", 5)


def test_numpy_s_truth_values_are_some():
    assert net(oc.Coagent("b", 2, observes=np.bool_(True), additive=np.bool_(False)))


def test_networks_differ_in_the_order_of_their_actions():
    first, second = (
        aspects(oc.CoagentNetwork([oc.Coagent("a", 2), oc.Coagent("b", 2)], action=order)) for order in (tuple("ab"), tuple("ba"))
    )
    assert differences(first, second) == {"action": ["action was ['a', 'b'] and is ['b', 'a']"]}


WRONG = {
    "'a' is named twice": lambda: net(oc.Coagent("a", 2), oc.Coagent("a", 2)),
    "coagent 'b': upstream reads 'zz'.*no coagent has that name": lambda: net(oc.Coagent("b", 2, upstream=("zz",))),
    "coagent 'b': upstream reads 'action', which is not earlier: move it": lambda: net(oc.Coagent("b", 2, upstream=("action",))),
    "coagent 'b': previous reads 'zz'": lambda: net(oc.Coagent("b", 2, previous=("zz",))),
    "coagent 'b': upstream=None; write \\(\\) for nothing": lambda: net(oc.Coagent("a", 2), oc.Coagent("b", 2, upstream=None)),
    "coagent 'a': observes=\\('image',\\) is neither True nor False; outputs": lambda: net(oc.Coagent("a", 2, observes=("image",))),
    "coagent 'a': additive='no' is neither True nor False": lambda: net(oc.Coagent("a", 2, additive="no")),
    "coagent 'b': upstream='a' is a string": lambda: net(oc.Coagent("a", 2), oc.Coagent("b", 2, upstream="a")),
    "action names 'move'": lambda: net(action="move"),
    "no action coagent": lambda: net(action=()),
    "coagent 'b': num_outputs=0": lambda: net(oc.Coagent("b", 0)),
    "coagent 'b': initial=.* is not a distribution": lambda: net(oc.Coagent("b", 2, initial=(0.4, 0.4))),
    "coagent 'b': initial='uniform' is not a distribution": lambda: net(oc.Coagent("b", 2, initial="uniform")),
    "coagent 'b': cost='1' is not a finite number": lambda: net(oc.Coagent("b", 2, cost="1")),
    "coagent 'b': executes=array.* is several probabilities: give one": lambda: net(oc.Coagent("b", 2, executes=np.array([0.5, 0.5]))),
    "coagent 'b': initial=True is not one of its outputs": lambda: net(oc.Coagent("b", 2, initial=True)),
    "coagent 'b': an execution probability is 1.0000000000000002, outside": lambda: net(oc.Coagent("b", 2, executes=1 + 2**-52)),
    "coagent 'b': initial=2 is not one of its outputs": lambda: net(oc.Coagent("b", 2, initial=2)),
    "coagent 'b': an execution probability is 1.5, outside": lambda: net(oc.Coagent("b", 2, executes=1.5)),
    "coagent 'b': an execution probability is 2.0, outside": lambda: net(oc.Coagent("b", 2, executes=lambda x: 2.0 * x.start)),
    "coagent 'b': an execution probability is nan": lambda: net(oc.Coagent("b", 2, executes=float("nan"))),
    "coagent 'b': executes='often' is neither": lambda: net(oc.Coagent("b", 2, executes="often")),
    "coagent 'b': cost=1j is not a finite number": lambda: net(oc.Coagent("b", 2, cost=1j)),
    "coagent 'b': upstream=5 is no tuple of names": lambda: net(oc.Coagent("b", 2, upstream=5)),
    "coagent 'b': upstream=\\(\\['a'\\],\\) is no tuple of names": lambda: net(oc.Coagent("a", 2), oc.Coagent("b", 2, upstream=(["a"],))),
    "coagent 'b': cost=nan": lambda: net(oc.Coagent("b", 2, cost=float("nan"))),
    "coagent 'b.c': a name is": lambda: net(oc.Coagent("b.c", 2)),
    "coagent 'b': its execution function failed .*write ==": lambda: net(oc.Coagent("b", 2, executes=lambda x: not x.start)),
    "coagent 'b': its execution function .*and": lambda: net(oc.Coagent("b", 2, executes=lambda x: x.start and x.previous["b"] == 0)),
    "coagent 'b': its execution function .*if": lambda: net(oc.Coagent("b", 1, executes=lambda x: 1.0 if x.previous["b"] else 0.0)),
    "coagent 'b': its execution function .*upstream\\['action'\\]": lambda: net(
        oc.Coagent("b", 2, executes=lambda x: x.upstream["action"] == 0)
    ),
    "coagent 'b': .*KeyError: upstream\\['zz'\\] is not there.*upstream has \\['a'\\].*previous has \\['a', 'b', 'action'\\]$": lambda: net(
        oc.Coagent("a", 2), oc.Coagent("b", 2, executes=lambda x: (x.state["image"] == 1) & (x.upstream["zz"] == 0))
    ),
    "coagent 'b': .*AttributeError: a local state has no strat.*fields are start, state, upstream.*previous.*arrays$": lambda: net(
        oc.Coagent("b", 2, executes=lambda x: x.strat)
    ),
    "coagent 'b': its execution function failed .*scalar.*work elementwise": lambda: net(
        oc.Coagent("b", 2, executes=lambda x: [0.2, 0.8][x.previous["b"]])
    ),
    "coagent 'b': its execution function failed .NameError: name 'strat' is not defined.$": lambda: net(
        oc.Coagent("b", 2, executes=lambda x: strat)  # noqa: F821
    ),
    "coagent 'b': its execution function failed .ZeroDivisionError.*zero.$": lambda: net(oc.Coagent("b", 2, executes=lambda x: 1 / 0)),
    "coagent 'b': .*not work elementwise: of one local state .previous..a.. = 0. it says 0.0, and of the same one among others 1": lambda: (
        net(oc.Coagent("a", 3), oc.Coagent("b", 2, executes=lambda x: (x.previous["a"] == 2).any()))
    ),
    "coagent 'b': .*not work elementwise: .* = 1, 0. it says 0.5": lambda: net(
        oc.Coagent("a", 3), oc.Coagent("b", 2, executes=lambda x: [0.0, 0.5, 1.0][int(x.upstream["a"].flat[0])] + 0 * x.previous["b"])
    ),
    "coagent 'b': .*not work elementwise: .* it says 0.0": lambda: net(
        oc.Coagent("a", 90), oc.Coagent("b", 90, executes=lambda x: 0.01 * (x.upstream["a"] - x.upstream["a"].min() + 0 * x.previous["b"]))
    ),
    "coagent 'b': .*not work elementwise: .* it says nan": lambda: net(
        oc.Coagent("a", 3), oc.Coagent("b", 2, executes=lambda x: 0 * x.upstream["a"] + (0.5 if len(x.upstream["a"]) > 1 else np.nan))
    ),
    "coagent 'b': its execution function returned None": lambda: net(oc.Coagent("b", 2, executes=lambda x: None)),
    "coagent 'b': .*touches previous\\['a'\\] on some values and previous\\['a'\\], previous\\['b'\\] on others": lambda: net(
        oc.Coagent("a", 2), oc.Coagent("b", 2, executes=lambda x: x.previous["b" if np.asarray(x.previous["a"] == 1).any() else "a"] == 0)
    ),
    "coagent 'b': its execution function touches .* 1,073,741,824 entries": lambda: oc.CoagentNetwork(
        [
            *(oc.Coagent(f"c{i}", 2) for i in range(30)),
            oc.Coagent("b", 2, executes=lambda x: sum(x.upstream[f"c{i}"] for i in range(30)) == 0),
        ],
        action="b",
    ),
    "coagent 'b': its execution function gave str, which is not an array": lambda: net(oc.Coagent("b", 2, executes=lambda x: "often")),
    r"coagent 'b': its execution function gave an array of shape \(2,\) for fields of shape \(3,\)": lambda: net(
        oc.Coagent("a", 3), oc.Coagent("b", 2, executes=lambda x: [0.0, 0.0 * x.upstream["a"].sum()])
    ),
    "coagent 'b': its execution function failed .*truth value": lambda: net(
        oc.Coagent("b", 1, executes=lambda x: torch.ones(1) if x.previous["b"] == 0 else torch.zeros(1))
    ),
    "coagent 'b': its execution function gave an array": lambda: net(oc.Coagent("b", 2, executes=lambda x: np.ones((5, 7, 3)))),
    "num_options=0": lambda: oc.option_critic(0, 2),
    "num_options=None": lambda: oc.option_critic(None, 2),
    "num_options=2.5": lambda: oc.option_critic(2.5, 2),
    'first="later"|first=.later.': lambda: oc.option_critic(2, 2, first="later"),
    "one law for each": lambda: oc.option_critic((2, 2), 2, first="terminate", initial=(0,)),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_description_names_the_coagent_and_the_remedy(message):
    with pytest.raises(ValueError, match=message):
        WRONG[message]()


def test_forgotten_brackets_are_named():
    with pytest.raises(TypeError, match="coagents is one Coagent, 'action': write CoagentNetwork"):
        oc.CoagentNetwork(oc.Coagent("action", 2))


def test_parameters_are_checked():
    network = oc.option_critic(2, 3)
    params = network.init_params(4)
    for wrong, message in [
        ({k: v for k, v in params.items() if k != "option"}, "no logits for coagent 'option'"),
        ({**params, "extra": params["option"]}, "extra"),
        ({**params, "option": params["option"][:3]}, r"params\['option'\] has shape \(3, 2\), the network needs \(4, 2\)"),
        ({**params, "option": np.full((4, 2), -np.inf)}, "row of -inf"),
    ]:
        with pytest.raises(ValueError, match=message):
            network.policies(wrong, 4)
    legal = {**params, "option": np.array([[0.0, -np.inf]] * 4)}
    assert network.policies(legal, 4)["option"][0].tolist() == [1, 0]


def test_importing_loads_nothing_heavy():
    """The functions of the public contract are there, whatever has been imported before."""
    code = """
import sys, optioncoagent as oc
loaded = {"torch", "minigrid", "matplotlib", "numba", "gymnasium"} & set(sys.modules)
assert not loaded, loaded
assert oc.exact.degeneracy and oc.runs.checkpoints.newest and oc.runs.film.film and oc.runs.film.film and oc.runs.Recorder
assert oc.gallery.with_gate and oc.simulate.actor_critic and oc.maps.option_maps
import optioncoagent.gallery, optioncoagent.agents
assert oc.option_critic(2, 2).names and oc.OptionCritic and all(hasattr(oc, name) for name in oc.__all__)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("executes", "message"),
    [
        (lambda x: x.start and x.previous["a"] == 0, "RuntimeError: Boolean value.*write ==, &, |, ~"),
        (lambda x: x.start == x.upstream["b"], "RuntimeError: The size of tensor.*work elementwise"),
        (lambda x: x.state["image"] == 0, r"KeyError: image.*the observation has \['pixels'\]"),
    ],
)
def test_an_execution_function_that_fails_on_tensors_is_named(executes, message):
    x = LocalState(torch.zeros(2, dtype=torch.bool), {"pixels": torch.zeros(2)}, {"b": torch.zeros(3)}, {"a": torch.zeros(2)})
    with pytest.raises(ValueError, match="coagent 'c': its execution function failed .*" + message):
        execution_probability(oc.Coagent("c", 2, executes=executes), x)


def test_numbers_of_few_bits():
    """As spaces of int8 have them: a count is an int, and products do not overflow; a law of float32 sums to 1 but for rounding."""
    network = oc.CoagentNetwork([oc.Coagent("a", np.uint8(20)), oc.Coagent("b", np.uint8(20))], action=("a", "b"))
    assert network.num_actions == 400 and all(type(n) is int for n in network.num_outputs)
    assert oc.option_critic(2, np.int8(100)).num_actions == 100
    assert oc.option_critic(np.array([2, 3]), 2).names == oc.option_critic((2, 3), 2).names
    for seed in range(20):
        law = np.random.default_rng(seed).dirichlet(np.ones(6)).astype(np.float32)
        initial = oc.option_critic(6, 2, first="terminate", initial=law).initial("option")
        assert initial.sum() == pytest.approx(1, abs=1e-15) and np.allclose(initial, law, atol=1e-7)
    with pytest.raises(ValueError, match="not a distribution"):
        oc.option_critic(2, 2, first="terminate", initial=np.array([0.5, 0.49], np.float32))


@pytest.mark.parametrize("shape", [lambda x: (), lambda x: x.start.shape, lambda x: x.previous["o"].shape])
def test_a_function_that_throws_a_coin_of_its_own_is_refused(shape):
    """A probability is thrown for; a throw would be kept for ever, another one in each place that asks."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        with pytest.raises(ValueError, match="'o': its execution function (does not say the same|does not work elementwise)"):
            coin = oc.Coagent("o", 2, executes=lambda x: rng.random(shape(x)) < 0.5)
            oc.CoagentNetwork([coin, oc.Coagent("action", 3, upstream=("o",))])


def test_a_table_over_states_is_of_the_number_that_was_asked_for():
    """One network for MDPs of any size; what was tabulated is kept, and cannot be changed by who is given it."""
    network = oc.CoagentNetwork([oc.Coagent("action", 2, executes=lambda x: x.start | (x.state % 2 == 0))])
    for n in (3, 5, 3):
        table = network.execution_table("action", n)
        np.testing.assert_array_equal(table, [[s % 2 == 0 for s in range(n)], [1.0] * n])
        with pytest.raises(ValueError, match="read-only"):
            table[0, 0] = 0.5


def test_a_table_that_no_machine_holds_is_refused():
    """Before memory is asked for: 2^40 configurations, whatever the machine has; and of values of what is remembered, likewise."""
    bits = [oc.Coagent(f"b{i}", 2) for i in range(40)]
    wide = oc.CoagentNetwork([*bits, oc.Coagent("action", 2, upstream=[b.name for b in bits])])
    with pytest.raises(ValueError, match="coagent 'action': its logits would be 4,398,046,511,104 numbers"):
        wide.init_params(2)
    kept = [oc.Coagent(f"b{i}", 2, executes=0.5) for i in range(40)]
    remembers = oc.CoagentNetwork([*kept, *(oc.Coagent(f"r{i}", 2, upstream=(f"b{i}",)) for i in range(40)), oc.Coagent("action", 2)])
    mdp = oc.MDP(np.full((2, 2, 2), 0.5), np.ones((2, 2)), [1, 0], 0.9)
    with pytest.raises(ValueError, match="more than the 268,435,456 of the exact solver"):
        critic_values(mdp, remembers, remembers.init_params(2))


def test_names_of_actions_are_names():
    with pytest.raises(TypeError, match="action=3: give the name of the action coagent"):
        oc.CoagentNetwork([oc.Coagent("action", 2)], action=3)
    with pytest.raises(ValueError, match=r"params has \['x', 3\], which the network does not"):
        oc.CoagentNetwork([oc.Coagent("action", 2)]).policies({"action": np.zeros((1, 2)), "x": 1, 3: 2}, 1)
    with pytest.raises(ValueError, match="params has no option, termination, which flat option-critic's have"):
        gallery.double_params({"action": np.zeros((1, 2, 2))})
