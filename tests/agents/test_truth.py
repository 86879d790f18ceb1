"""The learner against the truth: with tables for heads, the mean torch gradient over many episodes is the exact gradient.

Parameters are frozen; γ^t is on, λ = 1; one epoch, one minibatch, no entropy bonus. The critic holds the exact Q(s, K), so that a rollout
or a time limit may cut an episode anywhere; under a time limit T the truth is the sum over the first T steps. The same estimate with one
thing broken must fail.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from brute_force import initial_outputs, score, steps_from
from galleries import NETWORKS as GALLERY
from gymnasium.vector import AutoresetMode
from small import appendix_d, random_mdp
from tabular import TabularVectorEnv, critic, values

import optioncoagent as oc
from optioncoagent.agents import rollout as rollout_module
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent_envs.tabular.gridworld import gridworld


def xor_network(num_actions):
    """h feeds both the option and the action, and nobody remembers it; the action is h XOR option."""
    assert num_actions == 2
    h = oc.Coagent("h", 2)
    option = oc.Coagent("option", 2, upstream=("h",), executes=lambda x: x.start | (x.upstream["h"] == 0))
    return oc.CoagentNetwork([h, option, oc.Coagent("action", 2, observes=False, upstream=("h", "option"))])


def marked(num_actions):
    """A coagent remembers which action was taken: of its outputs alone, Q(s, K) would mix what the action does."""
    mark = oc.Coagent("mark", 2, observes=False, upstream=("action",))
    return oc.CoagentNetwork([oc.Coagent("option", 2, previous=("mark",)), oc.Coagent("action", num_actions, upstream=("option",)), mark])


NETWORKS = {
    "option-critic": lambda n: oc.option_critic(3, n),
    "option-critic, terminate first, cost": lambda n: oc.option_critic(
        3, n, first="terminate", deliberation_cost=0.3, initial=(0.2, 0.3, 0.5)
    ),
    "appendix D": appendix_d,
    "two levels": lambda n: oc.option_critic((2, 2), n, deliberation_cost=0.2),
    "xor": xor_network,
    "marked": marked,
}
QUICK = ("always terminating", "clock", "double actor-critic", "initiation", "layers", "gate on the action")


def make_params(network, mdp):
    params = network.init_params(mdp.num_observations, seed=1)
    if network.names[0] == "h":  # deterministic: action = h XOR option
        params["action"] = np.where(np.eye(2)[[[0, 1], [1, 0]]] > 0, 40.0, -40.0)
    return params


def make_agent(network, mdp, params, env, **settings):
    plain = dict(update_epochs=1, num_minibatches=1, ent_coef=0.0, normalize_advantages=False, hidden_sizes=(), dtype="float64")
    settings = {"discount_weighting": True, **plain, **settings}
    agent = oc.CoagentActorCritic(env, network, gamma=mdp.gamma, gae_lambda=1.0, **settings)
    with torch.no_grad():
        for name in params:
            head = agent.module.policies[f"policy_{name}"]
            table = torch.as_tensor(params[name])
            if network[name].observes:
                head.weight.copy_(table.reshape(mdp.num_observations, -1).T)
            else:
                head.logits.copy_(table.flatten())
        exact = critic(mdp, network, params)
        agent.module.critic.weight.copy_(torch.as_tensor(exact).reshape(mdp.num_states, -1).T)
    return agent


def policy_gradient(agent, batch):
    """The torch gradient of the coagents' objectives, summed over the batch: {name: array like params[name]}."""
    agent.optimizer.zero_grad()
    parts = agent.losses(batch)
    parts[:-1].sum().backward()  # the last is the critic's
    gradient = {}
    for name in (c.name for c in agent.network.coagents if c.owner == c.name):
        head = agent.module.policies[f"policy_{name}"]
        shape = agent.network.parameter_shape(name, agent.spec.leaves[0].size)
        grad = head.weight.grad.T if agent.network[name].observes else head.logits.grad
        gradient[name] = -len(batch) * grad.reshape(shape).numpy()
    return gradient


def z_scores(agent, truth, rollouts, breaking=None):
    """(mean − truth) / standard error of the gradient per episode, {name: array}, and the number of episodes."""
    agent.running = agent._start()
    differences, episodes = {name: [] for name in truth}, 0
    for _ in range(rollouts):
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, agent.settings.num_steps)
        if breaking == "truncation is termination":
            rollout.terminated = rollout.terminated | rollout.truncated
        if breaking == "termination is bootstrapped through":
            rollout.truncated, rollout.terminated = rollout.terminated, torch.zeros_like(rollout.terminated)
        if breaking == "start unknown to the sweep":
            rollout.start = torch.zeros_like(rollout.start)
        if breaking == "gate dropped":
            rollout.executed = {name: torch.ones_like(executed) for name, executed in rollout.executed.items()}
        batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
        starts = int((rollout.age == 0)[rollout.valid].sum())
        episodes += starts
        for name, gradient in policy_gradient(agent, batch).items():
            differences[name].append(gradient - starts * truth[name])
    z = {}
    for name, samples in differences.items():
        samples = np.array(samples)
        error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
        z[name] = np.where(
            error > 1e-9, samples.mean(axis=0) / np.maximum(error, 1e-9), np.where(np.abs(samples.mean(axis=0)) < 1e-9, 0, np.inf)
        )
    return z, episodes


def first_steps(mdp, network, params, horizon):
    """Σ_{t<T} of the exact local gradients' terms: Σ_t γ^t E[ ∂ ln Pr(U_t, …) (R_t + γ V(S_{t+1}, U_t)) ], by enumeration."""
    policies, v = network.policies(params, mdp.num_observations), values(mdp, network, params)
    places, size = {}, 0
    for name in network.names:
        places[name] = np.arange(size, size + policies[name].size).reshape(policies[name].shape)
        size += policies[name].size
    law = {(int(s), u): mdp.d0[s] * p for s in np.flatnonzero(mdp.d0) for p, u in initial_outputs(network)}
    gradient = np.zeros(size)
    for t in range(horizon):
        after = {}
        for (s, u), weight in law.items():
            if mdp.terminal[s]:
                continue
            for p, tick, _, successor, reward in steps_from(mdp, network, policies, t == 0, s, u):
                outcome = reward + mdp.gamma * v.get((successor, tick.outputs), 0.0)
                gradient += mdp.gamma**t * weight * p * outcome * score(tick, policies, places, size)
                after[successor, tick.outputs] = after.get((successor, tick.outputs), 0.0) + weight * p
        law = after
    return {name: gradient[place] for name, place in places.items()}


def agrees(z):
    """No parameter beyond 4.5 standard errors, and the mean square of all below 4: rare by chance even with few independent ones."""
    flat = np.concatenate([part.ravel() for part in z.values()])
    flat = flat[flat != 0]
    return np.abs(flat).max() < 4.5 and np.mean(flat**2) < 4


def estimate(kind, mdp, rollouts, truth=None, breaking=None, env=None, **settings):
    """z-scores of a network's gradient on an MDP."""
    network = (NETWORKS | GALLERY)[kind](mdp.num_actions)
    params = make_params(network, mdp)
    agent = make_agent(network, mdp, params, env or TabularVectorEnv(mdp, 256), **settings)
    truth = oc.policy_gradient(mdp, network, params) if truth is None else truth(mdp, network, params)
    return z_scores(agent, truth, rollouts, breaking)


def worst(z):
    return {name: float(np.abs(part).max()) for name, part in z.items()}


@pytest.mark.parametrize("kind", NETWORKS)
def test_random_mdp(kind):
    z, episodes = estimate(kind, random_mdp(), rollouts=50, num_steps=25)
    assert episodes >= 20_000 and agrees(z), worst(z)


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in GALLERY if kind not in NETWORKS]
)
def test_the_gallery(kind):
    """Every network of the gallery that is not above; most of them are slow."""
    z, episodes = estimate(kind, random_mdp(), rollouts=50, num_steps=25)
    assert episodes >= 20_000 and agrees(z), worst(z)


@pytest.mark.parametrize("kind", ["option-critic", "appendix D", pytest.param("two levels", marks=pytest.mark.slow)])
def test_gridworld(kind):
    mdp = oc.MDP.from_env(gridworld(), 0.9)
    z, episodes = estimate(kind, mdp, rollouts=50, env=TabularVectorEnv(mdp, 1024), num_steps=25)
    assert episodes >= 20_000 and agrees(z), worst(z)


@pytest.mark.parametrize("kind", NETWORKS)
def test_time_limit(kind):
    """Cut after three steps: the truth is the first three terms of the sum, with values that look beyond the limit."""
    mdp = random_mdp()
    z, episodes = estimate(
        kind, mdp, 50, lambda *case: first_steps(*case, horizon=3), env=TabularVectorEnv(mdp, 256, max_steps=3), num_steps=10
    )
    assert episodes >= 20_000 and agrees(z), worst(z)


def test_the_sum_over_first_steps_tends_to_the_gradient():
    mdp = random_mdp()
    network = NETWORKS["option-critic"](mdp.num_actions)
    params = make_params(network, mdp)
    terms, exact = first_steps(mdp, network, params, 150), oc.policy_gradient(mdp, network, params)
    for name in network.names:
        np.testing.assert_allclose(terms[name], exact[name], atol=1e-8)


def test_next_step_autoreset():
    """A vector environment that resets in a step of its own: that step is masked, and the last observation comes as the next one."""
    mdp = random_mdp()
    env = TabularVectorEnv(mdp, 256, max_steps=3, autoreset=AutoresetMode.NEXT_STEP)
    z, episodes = estimate("option-critic", mdp, 50, lambda *case: first_steps(*case, horizon=3), env=env, num_steps=12)
    assert episodes >= 20_000 and agrees(z), worst(z)


@pytest.mark.parametrize("kind", ["option-critic, terminate first, cost", "two levels"])
def test_sampled_returns(kind):
    """With the zero-mean correction λ = 1 is the sampled return, and its mean is the same gradient."""
    z, episodes = estimate(kind, random_mdp(), 50, num_steps=25, sampled_returns=True)
    assert episodes >= 20_000 and agrees(z), worst(z)


@pytest.mark.parametrize("form", ["score", "expected"])
def test_every_coagent_in_one_form(form):
    """Score for every coagent, and expected for the action where the critic knows it (appendix D's action is memory)."""
    kind = "two levels" if form == "score" else "appendix D"
    network = NETWORKS[kind](2)
    z, episodes = estimate(kind, random_mdp(), 50, num_steps=25, forms=dict.fromkeys(network.names, form))
    assert episodes >= 20_000 and agrees(z), worst(z)


BROKEN = [
    ("gate dropped", "appendix D"),
    ("truncation is termination", "option-critic"),
    ("γ^t dropped", "two levels"),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("gate dropped", "option-critic"),
            ("gate dropped", "gate on the action"),
            ("start unknown to the sweep", "option-critic, terminate first, cost"),
            ("start unknown to the coagents", "option-critic"),
            ("outputs kept over episodes", "appendix D"),
            ("termination is bootstrapped through", "option-critic"),
        )
    ),
]


@pytest.mark.parametrize(("breaking", "kind"), BROKEN)
def test_a_broken_estimate_fails(breaking, kind, monkeypatch):
    mdp = random_mdp()
    truth, env, settings = None, TabularVectorEnv(mdp, 256), {}
    if breaking == "truncation is termination":
        truth, env = (lambda *case: first_steps(*case, horizon=3)), TabularVectorEnv(mdp, 256, max_steps=3)
    if breaking == "start unknown to the coagents":
        gate = rollout_module.gate
        monkeypatch.setattr(rollout_module, "gate", lambda n, k, x, d: gate(n, k, replace(x, start=torch.zeros_like(x.start)), d))
    if breaking == "outputs kept over episodes":
        monkeypatch.setattr(
            rollout_module.Sampler, "initial", lambda self, u: dict.fromkeys(self.network.names, torch.zeros(u.shape[-1], dtype=int))
        )
    if breaking == "γ^t dropped":
        settings = {"discount_weighting": False}
    z, _ = estimate(kind, mdp, 50, truth, breaking, env, num_steps=25, **settings)
    assert not agrees(z), worst(z)


def test_outputs_before_the_first_step_are_independent_of_what_is_drawn_in_it():
    """Whatever a coagent draws, whether it executes, and what it is said to have given before the first step: three draws, not one."""
    network = oc.CoagentNetwork(
        [
            oc.Coagent("option", 2, previous=("option",), executes=lambda x: 0.5 * x.start + 0.5),
            oc.Coagent("action", 2, upstream=("option",), executes=0.5),
        ]
    )
    agent, n = oc.CoagentActorCritic("CartPole-v1", network, num_envs=1, seed=0), 10_000
    module, uniforms = agent.module, agent.sampler.uniforms(1, n)[0]
    before, state, start = agent.sampler.initial(uniforms), torch.zeros(n, 4), torch.ones(n, dtype=torch.bool)
    outputs, executed = rollout_module.tick(module, module.features(state)[0], module.heads(), uniforms, state, start, before)
    drawn = executed["action"]
    pairs = [
        (before["option"], outputs["option"]),
        (before["option"], before["action"]),
        (before["option"], drawn),
        (before["action"], drawn),
        (before["action"][drawn], outputs["action"][drawn]),
    ]
    for one, other in pairs:
        together = torch.corrcoef(torch.stack([one.double(), other.double()]))[0, 1]
        assert abs(float(together)) < 4 / len(one) ** 0.5
