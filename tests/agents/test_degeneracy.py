"""What the rows say of options: against enumeration of the steps of a rollout, and by hand."""

import numpy as np
import pytest
import torch
from galleries import NETWORKS
from options_figures import figures
from small import SMALL, appendix_d, random_mdp

import optioncoagent as oc
from optioncoagent.agents import degeneracy, metrics
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import evaluate, make_batch
from optioncoagent.network import roles


def played(network, params=None, num_steps=24, **settings):
    """An agent with tables on an MDP whose states show themselves, and a rollout of it."""
    mdp = random_mdp()
    agent = oc.CoagentActorCritic(mdp.to_env(), network, hidden_sizes=(), dtype="float64", seed=2, **SMALL | settings)
    agent.set_params(mdp, agent.network.init_params(5, seed=3, scale=2.0) if params is None else params(agent.network.init_params(5)))
    agent.running = agent._start()
    return mdp, agent, collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)


KINDS = {
    **{kind: NETWORKS[kind] for kind in ("option-critic", "two levels", "clock", "double actor-critic", "memory", "gate on the action")},
    "appendix D": appendix_d,
}


@pytest.mark.parametrize("kind", KINDS)
def test_informations_against_enumeration(kind):
    mdp, agent, rollout = played(KINDS[kind])
    rollout.valid[3] = False  # a reset step: nothing happened
    network, found = agent.network, degeneracy.informations(agent.module, agent.spec, rollout)
    policies = network.policies(agent.params(mdp), mdp.num_observations)
    visits = []
    for t, i in np.ndindex(*rollout.start.shape):
        previous = tuple(int(rollout.previous[name][t, i]) for name in network.names)
        visits.append((float(rollout.valid[t, i]), bool(rollout.start[t, i]), int(rollout.observation[""][t, i]), previous))
    expected = figures(network, policies, visits)
    readers = [c.name for c in network.coagents if c.upstream]
    assert list(found) == [f"{name}/{which}" for name in readers for which in ("information", "divergence")]
    for name, value in found.items():
        assert float(value) == pytest.approx(expected[name], abs=1e-9)
    assert max(map(float, found.values())) > 0.05


def test_of_a_long_rollout_some_steps_are_looked_at(monkeypatch):
    _, agent, rollout = played(KINDS["option-critic"], num_steps=256)
    monkeypatch.setattr(degeneracy, "STEPS", 64)
    some = degeneracy.informations(agent.module, agent.spec, rollout)
    monkeypatch.setattr(degeneracy, "STEPS", 256)
    whole = degeneracy.informations(agent.module, agent.spec, rollout)
    assert some["action/information"] != whole["action/information"]
    assert float(some["action/information"]) == pytest.approx(float(whole["action/information"]), rel=0.5)


def test_a_recurrent_agent_reads_its_memory():
    """The same as from one pass over the whole sequences."""
    agent = oc.OptionCritic("OptionCoagent/Gridworld-v0", num_options=3, recurrent_size=5, dtype="float64", seed=1, **SMALL)
    agent.running = agent._start()
    with torch.no_grad():
        for head in (agent.module.policies["policy_action"], agent.module.policies["policy_option"]):
            head.weight.normal_(0, 20.0, generator=torch.Generator().manual_seed(0))
        collect(agent.module, agent.sampler, agent.spec, agent.running, 8)
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 8)  # goes on in the same episodes
        found = degeneracy.informations(agent.module, agent.spec, rollout)
        inputs = agent.module.inputs(rollout.observation[""].flatten())
        features, _ = agent.module.encode(inputs, rollout.start.flatten(), rollout.hidden[0])
        state, start = rollout.observation[""].flatten(), rollout.start.flatten()
        previous = {name: u.flatten() for name, u in rollout.previous.items()}
        at = evaluate(agent.module, agent.module.heads(), features, state, start, previous, 1.0)
        (turn,) = degeneracy.turns(agent.network, at.policies, start, state, previous)
    assert float(found["action/information"]) == pytest.approx(float(degeneracy.information(turn.weight, turn.policy)), rel=1e-9)
    assert float(found["action/information"]) > 0.01


def test_information_by_hand():
    """Two cases at even odds that are sure of different outputs tell ln 2; at a step with twice the weight they are alike; one never is."""
    weight = torch.tensor([[0.5, 1.0, 0.0], [0.5, 1.0, 0.0]], dtype=torch.float64)
    policy = torch.tensor([[[1.0, 0.3, 1.0], [0.0, 0.7, 0.0]], [[0.0, 0.3, 0.0], [1.0, 0.7, 1.0]]], dtype=torch.float64)
    assert float(degeneracy.information(weight, policy)) == pytest.approx(np.log(2) / 3)
    assert torch.isnan(degeneracy.information(0 * weight, policy))


def test_figures_of_options_by_hand():
    """Terminations sure to end in state 0, sure not to in 1, neither elsewhere; the option always the second of three."""

    def params(logits):
        logits["termination"][:] = 0.0
        logits["termination"][0, :, oc.TERMINATE] = logits["termination"][1, :, oc.CONTINUE] = np.log(99)
        logits["option"][:] = [0.0, 50.0, 0.0]
        return logits

    _, agent, rollout = played(lambda n: oc.option_critic(3, n), params, num_steps=64)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    row = metrics.coagents(agent.network, rollout, batch)
    seen = rollout.observation[""][~rollout.start]  # no decision to terminate at a first step
    assert row["termination/sure_0"] == pytest.approx(float((seen == 0).double().mean()))
    assert row["termination/sure_1"] == pytest.approx(float((seen == 1).double().mean()))
    assert 0 < row["termination/sure_0"] and 0 < row["termination/sure_1"] < 1
    chosen = (rollout.outputs["termination"] == oc.TERMINATE) | rollout.start
    assert row["option/length"] == pytest.approx(chosen.numel() / int(chosen.sum()))
    assert row["option/run_length"] == pytest.approx(chosen.numel() / int(rollout.start.sum()))  # it is the same option every time
    assert row["option/usage_entropy"] == 0.0 and row["option/usage_1"] == 1.0
    assert {name for name in row if "sure" in name} == {"termination/sure_0", "termination/sure_1"}


def test_usage_entropy_is_that_of_usage():
    agent = oc.OptionCritic("OptionCoagent/Gridworld-v0", num_options=(2, 3), seed=0, **SMALL)
    row = agent.update()
    for level, options in ((1, 2), (2, 3)):
        usage = np.array([row[f"option_{level}/usage_{u}"] for u in range(options)])
        assert row[f"option_{level}/usage_entropy"] == pytest.approx(-(usage * np.log(usage)).sum())
        assert row[f"option_{level}/length"] == pytest.approx(1 / row[f"option_{level}/executed"]) == row[f"option_{level}_length"]
    assert "option_1/information" not in row and row["option_2/information"] >= 0 and row["action/divergence"] >= 0


def test_options_that_are_drawn_at_every_step_last_while_they_are_drawn_again():
    _, agent, rollout = played(NETWORKS["double actor-critic"], num_steps=64)
    rollout.valid[3] = False  # a reset step: nothing happened
    row = metrics.coagents(agent.network, rollout, make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms))
    runs, seen = 0, 0
    for t, i in np.ndindex(*rollout.start.shape):
        if rollout.valid[t, i]:
            seen += 1
            runs += bool(rollout.start[t, i]) or int(rollout.outputs["option"][t, i]) != int(rollout.previous["option"][t, i])
    assert row["option/run_length"] == pytest.approx(seen / runs) and 1 < seen / runs < 10
    assert "option/length" not in row


def test_roles_are_read_from_the_description():
    expected = {  # held, read by policies, looked at by gates
        "option-critic": (["option"], ["option"], ["termination"]),
        "two levels": (["option_1", "option_2"], ["option_1", "option_2"], ["termination_2", "termination_1"]),
        "always terminating": ([], ["option"], []),
        "random length": (["option"], ["option"], []),
        "gate on the action": (["action"], ["option", "action"], ["action_gate"]),
    }
    for kind, wanted in expected.items():
        network = NETWORKS[kind](2)
        assert tuple(role(network) for role in (roles.held, roles.read, roles.gating)) == wanted, kind


def test_usage_is_of_all_steps_and_entropies_of_those_that_execute():
    """Usage is of all steps; entropies, also those apart for each output that is read, are of the steps at which the coagent executes."""
    bit, executes = oc.Coagent("bit", 2, executes=0.3), 0.4
    mdp, agent, rollout = played(
        lambda n: oc.CoagentNetwork([bit, oc.Coagent("action", n, upstream=("bit",), executes=executes)]), num_steps=64
    )
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    row = metrics.coagents(agent.network, rollout, batch)
    policy = agent.network.policies(agent.params(mdp), 5)["action"][rollout.observation[""].numpy(), rollout.outputs["bit"].numpy()]
    entropies, executed = -(policy * np.log(policy)).sum(-1), rollout.executed["action"].numpy()
    for u in range(2):
        assert row[f"bit/usage_{u}"] == pytest.approx((rollout.outputs["bit"] == u).double().mean().item())
        here = executed & (rollout.outputs["bit"].numpy() == u)
        assert row[f"action/entropy_bit_{u}"] == pytest.approx(entropies[here].mean())
