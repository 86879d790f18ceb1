"""The reward for diversity: what each step is paid, by enumeration, and what is then followed, by the exact solver."""

import numpy as np
import pytest
import torch
from brute_force import ticks
from galleries import NETWORKS
from gymnasium.vector import AutoresetMode
from scripted import ScriptedVectorEnv
from small import GRIDWORLD, SMALL, appendix_d, random_mdp
from tabular import TabularVectorEnv

import optioncoagent as oc
from optioncoagent.agents import degeneracy
from optioncoagent.agents.diversity import Diversity, readers, told
from optioncoagent.agents.rollout import collect
from optioncoagent.exact import degeneracy as exactly
from optioncoagent.gallery import always_terminating

KINDS = {
    **{kind: NETWORKS[kind] for kind in ("option-critic", "two levels", "clock", "double actor-critic", "memory", "gate on the action")},
    "appendix D": appendix_d,
}


def played(network, num_steps, **settings):
    """An agent with tables on an MDP whose states show themselves, and a rollout of it."""
    mdp = random_mdp()
    agent = oc.CoagentActorCritic(mdp.to_env(), network, hidden_sizes=(), dtype="float64", seed=2, **SMALL | settings)
    agent.set_params(mdp, agent.network.init_params(5, seed=3, scale=2.0))
    agent.running = agent._start()
    return mdp, agent, collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_paid_what_enumeration_says_and_on_average_the_information(kind):
    """Every way in which each step of a rollout could go: the reward of the way it went, and its mean over all of them."""
    mdp, agent, rollout = played(KINDS[kind], 12)
    rollout.valid[3] = False  # a reset step: nothing happened
    network, paid = agent.network, Diversity(agent.module, agent.spec, 1.0).paid(rollout)
    policies = network.policies(agent.params(mdp), mdp.num_observations)
    place, upstream = network.names.index("action"), [network.names.index(name) for name in network["action"].upstream]
    mean, executions = 0.0, 0.0
    for t, i in np.ndindex(*rollout.start.shape):
        if not rollout.valid[t, i]:
            assert paid[t, i] == 0
            continue
        previous = tuple(int(rollout.previous[name][t, i]) for name in network.names)
        joint, of_x, of_a = ({} for _ in range(3))
        for way in ticks(network, bool(rollout.start[t, i]), int(rollout.observation[""][t, i]), previous):
            if way.executed[place]:
                p, x, a = way.probability(policies), tuple(way.outputs[j] for j in upstream), way.outputs[place]
                for law, key in ((joint, (x, a)), (of_x, x), (of_a, a)):
                    law[key] = law.get(key, 0.0) + p
        mass = sum(joint.values())
        worth = {(x, a): np.log(p * mass / (of_x[x] * of_a[a])) for (x, a), p in joint.items()}
        outputs = [int(rollout.outputs[name][t, i]) for name in network.names]
        went = worth[tuple(outputs[j] for j in upstream), outputs[place]] if rollout.executed["action"][t, i] else 0.0
        assert float(paid[t, i]) == pytest.approx(went, abs=1e-9)
        mean, executions = mean + sum(p * worth[key] for key, p in joint.items()), executions + mass
    information = degeneracy.informations(agent.module, agent.spec, rollout)["action/information"]
    assert mean / executions == pytest.approx(float(information), abs=1e-9) and float(information) > 0.005
    assert 0 < float(paid.abs().max())


def test_its_discounted_mean_is_the_exact_solvers_information():
    mdp, agent, rollout = played(KINDS["option-critic"], 8_000)
    paid, weight = Diversity(agent.module, agent.spec, 0.5).paid(rollout), mdp.gamma ** rollout.age.double()
    found = exactly(mdp, agent.network, agent.params(mdp))["action/information"]
    # Σ γ^t (what is paid − its mean) is 0 on average, in each of many stretches
    apart = (weight * (paid - 0.5 * found)).reshape(80, -1).sum(dim=1)
    assert abs(float(apart.mean())) < 4 * float(apart.std()) / 80**0.5
    assert found > 0.05 and float(apart.std()) / 80**0.5 < 0.02 * float(weight.sum()) / 80 * found


def test_the_mean_of_what_is_told_is_the_information():
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.dirichlet(np.ones(4), 6).T.copy())
    policy = torch.from_numpy(rng.dirichlet(np.full(3, 0.3), (4, 6))).permute(0, 2, 1)
    mean = (weight[:, None] * policy * told(2 * weight, policy)).sum() / 6
    assert float(mean) == pytest.approx(float(degeneracy.information(weight, policy)), rel=1e-9)
    sure = torch.tensor([[[1.0], [0.0]], [[0.0], [1.0]]], dtype=torch.float64)
    weight = torch.tensor([[0.25], [0.75]], dtype=torch.float64)
    assert told(weight, sure)[[0, 1], [0, 1], 0].tolist() == pytest.approx([np.log(4), np.log(4 / 3)])
    assert bool(told(weight, sure[:, :, [0, 0]] * torch.tensor([1.0, 0.0])).isfinite().all())


def test_as_it_is_its_gradient_is_that_of_the_information():
    """E Σ γ^t (R_t + c I(ω; A | S_t)) by the exact solver, on an MDP whose actions are pairs (ω, a) and whose reward has what is paid for
    them: the gradient with this reward held fixed, against central differences of the whole."""
    mdp, coef, (options, actions) = random_mdp(num_actions=3), 2.0, (3, 3)
    flat = always_terminating(options, actions)
    network = oc.CoagentNetwork(flat.coagents, action=("option", "action"))
    params = network.init_params(mdp.num_observations, seed=1, scale=1.5)

    def paying(given):
        of_option, of_action = (network.policies(given, mdp.num_observations)[name] for name in ("option", "action"))
        weight, policy = torch.from_numpy(of_option.T.copy()), torch.from_numpy(of_action.transpose(1, 2, 0).copy())
        paid = coef * told(weight, policy).permute(2, 0, 1).reshape(mdp.num_states, -1).numpy()
        P, R = (np.tile(x, (1, options, 1)) for x in (mdp.P, mdp.R))
        R = R + paid[:, :, None] * ~mdp.terminal[:, None, None]
        return oc.MDP(P, R, mdp.d0, mdp.gamma, mdp.terminal)

    exact, fixed, found, eps = oc.policy_gradient(paying(params), network, params), 0.0, 0.0, 1e-5
    without = oc.policy_gradient(mdp, flat, params)
    for name, logits in params.items():
        slopes = np.zeros_like(logits)
        for entry in np.ndindex(*logits.shape):
            ends = []
            for sign in (1, -1):
                moved = {key: x.copy() for key, x in params.items()}
                moved[name][entry] += sign * eps
                ends.append(oc.expected_return(paying(moved), network, moved))
            slopes[entry] = (ends[0] - ends[1]) / (2 * eps)
        np.testing.assert_allclose(exact[name], slopes, atol=1e-8)
        fixed, found = fixed + np.abs(exact[name]).sum(), found + np.abs(exact[name] - without[name]).sum()
    assert found > 0.1 * fixed  # the information is a good part of it


def test_a_recurrent_agent_is_paid_by_its_memory():
    """By the policies that drew the outputs: those of the hidden states before each step."""
    agent = oc.OptionCritic(GRIDWORLD, num_options=3, recurrent_size=5, dtype="float64", seed=1, **SMALL)
    agent.running = agent._start()
    with torch.no_grad():
        for head in (agent.module.policies["policy_action"], agent.module.policies["policy_option"]):
            head.weight.normal_(0, 20.0, generator=torch.Generator().manual_seed(0))
        collect(agent.module, agent.sampler, agent.spec, agent.running, 8)
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 8)  # goes on in the same episodes
        paid = Diversity(agent.module, agent.spec, 1.0).paid(rollout)
        hidden = rollout.hidden[0]
        for t in range(8):
            features, hidden = agent.module.features(rollout.observation[""][t], rollout.start[t], hidden)
            readout = agent.module.readout(features)
            pi = agent.module.logits("action", readout).softmax(dim=1)  # (options, actions, n)
            of_option, b = (
                agent.module.logits("option", readout)[0].softmax(dim=0),
                agent.module.logits("termination", readout).softmax(dim=1),
            )
            before, n = rollout.previous["option"][t], torch.arange(4)
            ends = torch.where(rollout.start[t], 1.0, b[before, oc.TERMINATE, n])
            law = ends * of_option + (1 - ends) * torch.nn.functional.one_hot(before, 3).T
            a, option = rollout.outputs["action"][t], rollout.outputs["option"][t]
            expected = (pi[option, a, n] / (law * pi[:, a, n]).sum(dim=0)).log()
            torch.testing.assert_close(paid[t], expected)
    assert float(paid.abs().max()) > 0.1


def test_the_agent_learns_from_it_and_reports_the_environments_return():
    episodes = [[[0, 1, 2, 3]] * 20] * 2  # three steps of reward 10
    rows = [
        oc.OptionCritic(ScriptedVectorEnv(episodes, 4), 2, num_steps=8, hidden_sizes=(), normalize_rewards=False, diversity_coef=c).update()
        for c in (0.0, 1e4)
    ]
    assert rows[0]["return_mean"] == rows[1]["return_mean"] == 30.0 and "diversity_mean" not in rows[0]
    assert rows[1]["diversity_mean"] != 0 and rows[0]["critic/loss"] != rows[1]["critic/loss"]


def test_options_come_to_differ():
    """Of tables, by the exact solver; the options then end soon, so that what ran before does not tell which one runs."""
    mdp = random_mdp(num_actions=3)

    def ends(coef):
        tables = dict(hidden_sizes=(), sampled_returns=False)  # the critic is a table, too
        settings = dict(num_steps=32, learning_rate=5e-3, ent_coef=0.0, gamma=mdp.gamma, seed=1, diversity_coef=coef, **tables)
        agent = oc.OptionCritic(TabularVectorEnv(mdp, 8), 3, **settings)
        agent.learn(20 * 256)
        return exactly(mdp, agent.network, agent.params(mdp))

    without, paid = ends(0.0), ends(1.0)
    assert without["action/information"] < 0.02 and paid["action/information"] > 0.08
    assert paid["option/length"] < without["option/length"] - 0.3


def test_a_network_that_cannot_be_paid_is_refused_and_one_coagent_at_a_time_is():
    for make in (
        lambda: oc.CoagentActorCritic(GRIDWORLD, lambda n: oc.CoagentNetwork([oc.Coagent("action", n)]), diversity_coef=0.1, **SMALL),
        lambda: oc.OptionCritic("Pendulum-v1", diversity_coef=0.1, **SMALL),
    ):
        with pytest.raises(ValueError, match="diversity_coef=0.1: it pays actions .* that their coagent reads"):
            make()
    pair = oc.CoagentNetwork(
        [oc.Coagent("option", 2), *(oc.Coagent(name, 2, upstream=("option",)) for name in "ab"), oc.Coagent("c", 2)], action=("a", "b", "c")
    )
    assert readers(pair) == ("a", "b")


def test_nothing_is_kept_and_an_agent_goes_on_with_it(tmp_path):
    whole = oc.OptionCritic("MiniGrid-Empty-5x5-v0", diversity_coef=0.1, **SMALL).learn(128)
    oc.OptionCritic("MiniGrid-Empty-5x5-v0", diversity_coef=0.1, **SMALL).learn(64).save(tmp_path)
    again = oc.OptionCritic.load(tmp_path)
    assert again.settings.diversity_coef == 0.1
    again.learn(64)
    assert all(torch.equal(a, b) for a, b in zip(whole.module.parameters(), again.module.parameters(), strict=True))
    assert "diversity" not in oc.OptionCritic.load(tmp_path, diversity_coef=0.0).rewards


def test_the_mean_that_is_reported_is_of_steps_that_happened():
    env = ScriptedVectorEnv([[[0, 1, 2]] * 20] * 2, 3, AutoresetMode.NEXT_STEP)  # every third step resets
    agent = oc.OptionCritic(env, 3, hidden_sizes=(), num_steps=12)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 12)
    paid, row = Diversity(agent.module, agent.spec, 100.0)(rollout)
    told = (paid.reward - rollout.reward)[rollout.valid]
    assert len(told) == 16 and float(told.abs().max()) > 0
    assert row["diversity_mean"] == pytest.approx(float(told.mean()), rel=1e-3)
