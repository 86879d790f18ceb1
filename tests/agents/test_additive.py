"""Additive policies: the learner and the exact solver say the same of sums of terms as of the tables that they add up to."""

import numpy as np
import pytest
import torch
from additive_networks import layers, with_a_reader_that_rests, with_bits, with_shared_terms
from gymnasium import spaces
from small import random_mdp
from tabular import TabularVectorEnv, critic

import optioncoagent as oc
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import stochastic_layers
from optioncoagent.network.additive import collected, expanded, indicators, sizes

FIXED = dict(update_epochs=1, num_minibatches=1, ent_coef=0.0, normalize_advantages=False, hidden_sizes=(), dtype="float64")


def mixed(num_actions):
    """An option that depends on a bit by which the action is chosen too: (s, option) alone does not tell what the bit was."""
    option = oc.Coagent("option", 2, upstream=("bit",), executes=lambda x: x.start | (x.upstream["bit"] == 0))
    return oc.CoagentNetwork([oc.Coagent("bit", 2), option, oc.Coagent("action", num_actions, True, ("bit", "option"), additive=True)])


NETWORKS = {"layers": layers, "options": with_bits, "shared": with_shared_terms, "mixed": mixed}


def terms(network, num_observations, seed=1):
    rng, shapes = np.random.default_rng(seed), {}
    for c in network.coagents:
        if c.shares is None:
            rows = (sum(sizes(network, c.name, num_observations)),)
            shapes[c.name] = (*rows, c.num_outputs) if c.additive else network.tabulated().parameter_shape(c.name, num_observations)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def make_agent(network, mdp, params, env, **settings):
    """An agent with these terms and tables, and the exact Q(s, K)."""
    agent = oc.CoagentActorCritic(env, network, gamma=mdp.gamma, gae_lambda=1.0, **{"discount_weighting": True, **FIXED, **settings})
    n, module = mdp.num_observations, agent.module
    with torch.no_grad():
        for name, given in params.items():
            c, head = network[name], module.policies[f"policy_{name}"]
            given = torch.as_tensor(given)
            if c.additive:
                first = sizes(network, name, n)[0]
                module.terms.of(name).copy_(given[first:].T)
                given = given[:first]
            if c.observes:
                head.weight.copy_(given.reshape(n, -1).T)
            else:
                head.logits.copy_(given.flatten())
        exact = critic(mdp, with_critic_of(network), expanded(network, params, n))
        module.critic.weight.copy_(torch.as_tensor(exact).reshape(mdp.num_states, -1).T)
    return agent


def with_critic_of(network):
    """The tabulated network, whose critic knows what that of the additive one knows."""
    tables = network.tabulated()
    tables.critic_inputs = network.critic_inputs
    return tables


def gradient(agent, batch):
    agent.optimizer.zero_grad()
    agent.losses(batch)[:-1].sum().backward()
    given = {}
    for c in agent.network.coagents:
        if c.shares is None:
            head = agent.module.policies[f"policy_{c.name}"]
            own = head.weight.grad.T if c.observes else head.logits.grad[None]
            if c.additive:
                own = torch.cat([own, agent.module.terms.of(c.name).grad.T])
            given[c.name] = -len(batch) * own.numpy()
    return given


def test_the_exact_gradient_of_terms_is_central_differences():
    mdp, network = random_mdp(), with_bits(2)
    n, params = mdp.num_observations, terms(network, mdp.num_observations)

    def value(p):
        return oc.expected_return(mdp, network.tabulated(), expanded(network, p, n))

    exact = collected(network, oc.policy_gradient(mdp, network.tabulated(), expanded(network, params, n)), n)
    for name in params:
        for index in np.ndindex(params[name].shape):
            sides = [value({**params, name: params[name] + h * (np.arange(params[name].size).reshape(params[name].shape) ==
                     np.ravel_multi_index(index, params[name].shape))}) for h in (1e-5, -1e-5)]  # fmt: skip
            assert exact[name][index] == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-8), (name, index)


def test_what_the_critic_knows_and_what_it_does_not_see():
    for network, known, unseen in (
        (oc.option_critic(3, 2), ("option",), ("action",)),
        (layers(2), (), layers(2).names),
        (layers(2).tabulated(), ("unit_2_0", "unit_2_1", "unit_2_2"), ("action",)),
        (with_bits(2), ("option", "last"), ("bit_0", "bit_1", "action")),
        (mixed(2), ("bit", "option"), ("action",)),
    ):
        assert (network.critic_inputs, network.unseen) == (known, unseen)


POSTERIOR = {
    "layers": [f"unit_{k}_{i}" for k in (1, 2) for i in range(k + 1)],
    "options": ["bit_0", "bit_1"],
    "shared": ["second_0", "second_1"],
}


@pytest.mark.parametrize(
    ("kind", "form"),
    [("mixed", "score")]
    + [(kind, "posterior") for kind in NETWORKS if kind != "mixed"]
    + [pytest.param(kind, "score", marks=pytest.mark.slow) for kind in NETWORKS if kind != "mixed"],
)
def test_the_learners_gradient_is_the_exact_one(kind, form):
    """As in test_truth: the mean torch gradient over many episodes, with the exact Q(s, K), and the exact gradient of the tables."""
    mdp = random_mdp()
    network = NETWORKS[kind](mdp.num_actions)
    n, params = mdp.num_observations, terms(network, mdp.num_observations)
    truth = collected(network, oc.policy_gradient(mdp, network.tabulated(), expanded(network, params, n)), n)
    agent = make_agent(network, mdp, params, TabularVectorEnv(mdp, 256), num_steps=25, forms=dict.fromkeys(POSTERIOR.get(kind, []), form))
    agent.running = agent._start()
    samples = {name: [] for name in truth}
    for _ in range(50):
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, agent.settings.num_steps)
        batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
        starts = int((rollout.age == 0)[rollout.valid].sum())
        for name, part in gradient(agent, batch).items():
            samples[name].append(part - starts * truth[name].reshape(part.shape))
    z = {}
    for name, parts in samples.items():
        mean, error = np.mean(parts, axis=0), np.std(parts, axis=0, ddof=1) / np.sqrt(len(parts))
        z[name] = mean / np.maximum(error, 1e-9)
    flat = np.concatenate([part.ravel() for part in z.values()])
    flat = flat[flat != 0]
    assert np.abs(flat).max() < 4.5 and np.mean(flat**2) < 4, {name: np.abs(part).max() for name, part in z.items()}
    scale = max(np.abs(part).max() for part in truth.values())
    assert all(np.abs(truth[name]).max() > 1e-3 * scale for name in truth)


def test_a_reader_that_retained_its_output_says_nothing_of_what_it_reads():
    """One step, which pays for action 0."""
    P, R = np.zeros((2, 2, 2)), np.zeros((2, 2))
    P[:, :, 1], R[0, 0] = 1, 1
    mdp, network = oc.MDP(P, R, [1, 0], 0.9), with_a_reader_that_rests(2)
    params = {"bit": [[0.8, 0], [0, 0]], "unit": [[0, 0], [2, -2], [0, 0]], "action": [[0, 0], [0, 0], [1, -1], [0, 0]]}
    params = {name: np.array(rows, dtype=float) for name, rows in params.items()}
    truth = oc.policy_gradient(mdp, network.tabulated(), expanded(network, params, 2))["bit"]
    agent = make_agent(network, mdp, params, TabularVectorEnv(mdp, 256), num_steps=10, forms={"bit": "posterior"})
    agent.running, samples = agent._start(), []
    for _ in range(20):
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, agent.settings.num_steps)
        batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
        samples.append(gradient(agent, batch)["bit"] / int((rollout.age == 0)[rollout.valid].sum()))
    mean, error = np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    assert (np.abs(mean - truth) <= 4 * error).all() and truth[0, 0] > 50 * error[0, 0] > 0


def test_a_network_of_sums_alone_is_trained():
    network = oc.CoagentNetwork([oc.Coagent("unit", 3, additive=True), oc.Coagent("action", 2, upstream=("unit",), additive=True)])
    assert oc.CoagentActorCritic("CartPole-v1", network, num_envs=4, num_steps=16).learn(64).num_timesteps == 64


@pytest.mark.parametrize("kind", NETWORKS)
def test_acting_and_learning_have_the_policies_of_the_tables(kind):
    mdp = random_mdp()
    network = NETWORKS[kind](mdp.num_actions)
    n, params = mdp.num_observations, terms(network, mdp.num_observations)
    agent = make_agent(network, mdp, params, TabularVectorEnv(mdp, 64), num_steps=25)
    tables = network.tabulated().policies(expanded(network, params, n), n)
    for name, table in agent.probabilities(np.arange(n)).items():
        np.testing.assert_allclose(table, tables[name], atol=1e-12)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 25)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    log_old = batch.learned[:, 0].T.split(network.num_outputs)
    for c, given in zip(network.coagents, log_old, strict=True):
        where = [rollout.observation[""].flatten()] if c.observes else []
        where += [rollout.outputs[name].flatten() for name in c.upstream] + [rollout.previous[name].flatten() for name in c.previous]
        expected = tables[c.name][tuple(x.numpy() for x in where)] if where else tables[c.name]
        np.testing.assert_allclose(given.exp().T, np.broadcast_to(expected, given.T.shape), atol=1e-12)
    # how often it acts so
    name = network.names[-1]
    taken = np.eye(mdp.num_actions)[rollout.outputs[name].flatten()].mean(axis=0)
    assert np.abs(taken - log_old[-1].exp().mean(dim=1).numpy()).max() < 5 * 0.5 / len(batch) ** 0.5


def test_which_terms_a_row_of_the_table_is_the_sum_of():
    np.testing.assert_array_equal(indicators("x", (1, 3)), np.column_stack([np.ones(3), np.eye(3)]))
    np.testing.assert_array_equal(indicators("x", (2, 2)), [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]])
    with pytest.raises(ValueError, match="'x'.*1,099,511,627,776 rows"):
        indicators("x", (1, *(2,) * 40))


def test_a_logit_of_minus_infinity_is_one_in_its_own_row_of_the_table_alone():
    network = oc.CoagentNetwork([oc.Coagent("a", 2), oc.Coagent("action", 3, upstream=("a",), additive=True)])
    terms = np.arange(12.0).reshape(4, 3)
    terms[0, 0] = -np.inf
    table = expanded(network, {"a": np.zeros((2, 2)), "action": terms}, 2)["action"]
    for observation, a in np.ndindex(2, 2):
        np.testing.assert_array_equal(table[observation, a], terms[observation] + terms[2 + a])


def test_gaussians_have_terms():
    """Mean and scale of a Gaussian action are sums as well; a hundred bits choose them."""

    class Box(TabularVectorEnv):
        def step(self, action):
            return super().step((np.asarray(action)[:, 0] > 0).astype(int))

    env = Box(random_mdp(), 4)
    env.single_action_space = spaces.Box(-1.0, 1.0, (2,))
    env.action_space = spaces.Box(-1.0, 1.0, (4, 2))
    agent = oc.CoagentActorCritic(env, lambda a: stochastic_layers((100,), a, additive=True), num_steps=8, **FIXED)
    before = agent.module.terms.of("action").detach().clone()
    assert before.shape == (4, 200)
    row = agent.update()
    assert np.isfinite(row["action/loss"]) and (agent.module.terms.of("action") != before).any(dim=1).all()


def test_a_layer_of_two_hundred_bits_is_learned_saved_and_loaded(tmp_path):
    mdp = random_mdp()
    network = stochastic_layers((200, 20), mdp.num_actions, additive=True)
    agent = oc.CoagentActorCritic(TabularVectorEnv(mdp, 4), network, num_steps=8, **FIXED)
    assert network.critic_inputs == () and agent.forms == {name: "score" if name == "action" else "posterior" for name in network.names}
    before = {name: p.detach().clone() for name, p in agent.module.named_parameters()}
    agent.update()
    assert all((p != before[name]).any() for name, p in agent.module.named_parameters())
    agent.save(tmp_path / "agent")
    again = oc.CoagentActorCritic.load(tmp_path / "agent", network, env=TabularVectorEnv(mdp, 4))
    for one, two in zip(agent.module.state_dict().values(), again.module.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(ValueError, match="'unit_2_0'.*200 things.* rows"):
        agent.probabilities(np.arange(2))


def test_what_cannot_be_is_refused():
    mdp = random_mdp()
    network = layers(mdp.num_actions)
    for solve in (oc.expected_return, oc.policy_gradient, oc.estimate_return):
        with pytest.raises(ValueError, match="'unit_2_0'.*additive.*tabulated"):
            solve(mdp, network, {}, *((10,) if solve is oc.estimate_return else ()))
    env = TabularVectorEnv(mdp, 2)
    for form in ("expected", "difference"):
        with pytest.raises(ValueError, match="'unit_1_0'.*does not know its output"):
            oc.CoagentActorCritic(env, network, forms={"unit_1_0": form})
    gated = oc.Coagent("action", 2, False, executes=lambda x: x.start | (x.upstream["bit"] == 0))
    for reader in (oc.Coagent("action", 2, upstream=("bit",)), gated):
        with pytest.raises(ValueError, match="'bit'.*posterior.*'action'.*read it"):
            oc.CoagentActorCritic(env, oc.CoagentNetwork([oc.Coagent("bit", 2), reader]), forms={"bit": "posterior"})
    with pytest.raises(ValueError, match="'action'.*posterior.*neither action nor memory"):
        oc.CoagentActorCritic(env, network, forms={"action": "posterior"})
    read_by_table = oc.CoagentNetwork([oc.Coagent("bit", 2, additive=True), oc.Coagent("action", mdp.num_actions, upstream=("bit",))])
    retained = oc.CoagentNetwork(
        [oc.Coagent("bit", 2, executes=0.5, additive=True), oc.Coagent("action", 2, False, ("bit",), additive=True)]
    )
    before = oc.CoagentNetwork(
        [oc.Coagent("bit", 2, True, (), ("bit",), additive=True), oc.Coagent("action", 2, False, ("bit",), additive=True)]
    )
    for wrong in (read_by_table, retained, before):
        with pytest.raises(ValueError, match="'bit'.*additive.*let only additive coagents read it"):
            oc.CoagentActorCritic(env, wrong)
    with pytest.raises(ValueError, match="'b'.*another shape"):
        oc.CoagentNetwork([oc.Coagent("a", 2, additive=True), oc.Coagent("b", 2, shares="a"), oc.Coagent("action", 2)])


def test_terms_add_up_to_logits_of_order_one_however_many_there_are():
    for width in (4, 100):
        network = stochastic_layers((width, 8), 2, additive=True)
        module = oc.CoagentActorCritic("CartPole-v1", network, num_envs=1).module
        bits = np.random.default_rng(0).integers(2, size=(500, width))
        read = np.eye(2)[bits].reshape(500, 2 * width)  # indicators of the outputs that a unit of the second layer reads
        logits = np.concatenate([read @ module.terms.of(f"unit_2_{i}").detach().numpy().T for i in range(8)])
        assert 0.6 < np.sqrt(np.square(logits).mean()) < 1.6
