"""What is frozen stays as it is, everything else learns, and that is kept."""

import pytest
import torch
from small import SMALL

import optioncoagent as oc
from optioncoagent.gallery import stochastic_layers

KEPT = ("encoder", "termination", "action")


def changed(agent, updates=2):
    """The modules, or tables, of which a parameter is another one after some updates."""
    before = {name: x.detach().clone() for name, x in agent.module.named_parameters()}
    for _ in range(updates):
        agent.update()
    names = {name for name, x in agent.module.named_parameters() if not torch.equal(x, before[name])}
    return {name.removeprefix("policies.").removeprefix("common.").removeprefix("terms.tables.").split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("frozen", "learn"),
    [
        ((), {"encoder", "recurrence", "policy_termination", "policy_option", "policy_action", "critic"}),
        (KEPT, {"policy_option", "critic"}),
        (("critic", "option"), {"encoder", "recurrence", "policy_termination", "policy_action"}),
        ((*KEPT, "option", "critic"), set()),
    ],
)
def test_what_is_frozen_stays(frozen, learn):
    assert changed(oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_options=2, recurrent_size=4, frozen=frozen, **SMALL)) == learn


def test_terms_of_additive_policies_are_frozen_with_them():
    def layers(n):
        return stochastic_layers((2,), n, additive=True)

    first = "unit_1_0"
    free = {"terms_action", "policy_action", f"policy_{first}", "encoder", "critic"}
    for frozen, gone in (((), set()), (("action",), {"terms_action", "policy_action"}), ((first,), {f"policy_{first}"})):
        found = changed(oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", layers, frozen=frozen, **SMALL))
        assert found & free == free - gone


def test_who_shares_is_frozen_with_the_owner():
    network = oc.CoagentNetwork(
        [oc.Coagent("one", 2), oc.Coagent("other", 2, shares="one"), oc.Coagent("action", 2, upstream=("one", "other"))]
    )
    for frozen in ((), ("other",)):
        found = changed(oc.CoagentActorCritic("CartPole-v1", network, frozen=frozen, **SMALL))
        assert ("policy_one" in found) == (not frozen)


def test_a_coagent_that_is_called_as_another_part_is_not_frozen():
    network = oc.CoagentNetwork([oc.Coagent("encoder", 2), oc.Coagent("action", 2, upstream=("encoder",))])
    with pytest.raises(ValueError, match="a coagent and another part"):
        oc.CoagentActorCritic("CartPole-v1", network, frozen=("encoder",), **SMALL)


def test_the_policies_of_options_that_are_kept_stay(tmp_path):
    """And of a frozen encoder with batch norm what it has seen stays, too."""
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8))
    agent = oc.OptionCritic("CartPole-v1", num_options=2, encoder=encoder, **SMALL).learn(64)
    agent.save(tmp_path / "first")
    agent = oc.OptionCritic.load(tmp_path / "first", encoder=encoder, frozen=KEPT)
    seen = agent.env.reset(seed=1)[0]
    before = agent.probabilities(seen)
    after = agent.learn(64).probabilities(seen)
    for name in before:
        assert (before[name] == after[name]).all() == (name in KEPT), name

    agent.save(tmp_path / "second")
    again = oc.OptionCritic.load(tmp_path / "second", encoder=encoder)
    assert again.settings.frozen == KEPT and changed(again) == {"policy_option", "critic"}
    assert "policy_action" in changed(oc.OptionCritic.load(tmp_path / "second", encoder=encoder, frozen=()))


@pytest.mark.parametrize("frozen", [("options",), ("policy",), "action"])
def test_what_there_is_not_is_named(frozen):
    with pytest.raises(ValueError, match="frozen"):
        oc.OptionCritic("CartPole-v1", num_options=2, frozen=frozen, **SMALL)
