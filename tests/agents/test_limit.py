"""How far one update may take the policies of the actions: KL against torch.distributions, and what happens beyond the limit."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from small import GRIDWORLD, SMALL
from torch.distributions import Categorical, Normal, kl_divergence

import optioncoagent as oc
from optioncoagent.agents import losses
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import stochastic_layers

DOUBLE = dict(SMALL, dtype="float64")


class Short(gym.Wrapper):
    """Two actions in one, (a, b); episodes of three steps, so that one step in four is a reset."""

    def __init__(self):
        super().__init__(gym.make("CartPole-v1", max_episode_steps=3))
        self.action_space = gym.spaces.MultiDiscrete([2, 3])

    def step(self, action):
        return self.env.step(int(action[0]))


def held(num_actions):
    """An action that is held three times in four."""
    return oc.CoagentNetwork([oc.Coagent("action", num_actions, executes=0.25)])


AGENTS = {
    "options": lambda: oc.OptionCritic("CartPole-v1", num_options=3, **DOUBLE),
    "two actions, resets": lambda: oc.OptionCritic(SyncVectorEnv([Short] * 4), num_options=2, **{**DOUBLE, "num_envs": None}),
    "held actions": lambda: oc.CoagentActorCritic(GRIDWORLD, held, **DOUBLE),
    "recurrent": lambda: oc.OptionCritic("CartPole-v1", num_options=2, recurrent_size=5, **DOUBLE),
    "additive": lambda: oc.CoagentActorCritic("CartPole-v1", lambda n: stochastic_layers((4,), n), **DOUBLE),
    "Gaussian": lambda: oc.OptionCritic("Pendulum-v1", num_options=3, **DOUBLE),
    "Gaussian units": lambda: oc.CoagentActorCritic(
        "Pendulum-v1", lambda n: stochastic_layers((3,), n, additive=True, units=oc.Gaussian()), **DOUBLE
    ),
}


def moved(agent):
    """A rollout, its batch, and the rows of the readout before and after a move of the weights."""
    torch.manual_seed(0)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 64)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    with torch.no_grad():
        old = agent._read(batch)
        for parameter in agent.module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        return rollout, batch, old, agent._read(batch)


@pytest.mark.parametrize("name", [*AGENTS])
def test_the_divergence_is_that_of_the_actions_policies(name):
    agent = AGENTS[name]()
    rollout, batch, old, new = moved(agent)
    network, valid = agent.network, rollout.valid.flatten()
    assert bool(valid.all()) == (name != "two actions, resets") and (name == "two actions, resets") == (len(network.action) == 2)
    expected, first = torch.zeros(len(batch), dtype=torch.float64), 0
    for coagent in network.counted:
        rows = slice(first, first := first + coagent.num_outputs)
        if coagent.name in network.action:
            far = kl_divergence(Categorical(logits=old[rows].T), Categorical(logits=new[rows].T))
            expected += far * rollout.executed[coagent.name].flatten()
    if network.gaussians:
        assert network.action == ("action",) == (*network.gaussians,)[-1:]
        (mean, scale), (new_mean, new_scale) = (x[-2:] for x in (old, new))
        before, after = Normal(mean, scale.exp()), Normal(new_mean, new_scale.exp())
        drawn = rollout.outputs["action"].flatten()
        log_ratio = after.log_prob(drawn) - before.log_prob(drawn)
        estimates, exact = log_ratio.exp() - 1 - log_ratio, kl_divergence(before, after)
        error = (estimates - exact).std() / len(estimates) ** 0.5
        assert abs((estimates - exact).mean()) < 4 * error < 4 * exact.mean()  # an estimate without bias
        expected += estimates
    found = losses.divergence(network, new, batch)
    torch.testing.assert_close(found, expected[valid].mean())
    assert found > 1e-4
    torch.testing.assert_close(losses.divergence(network, old, batch), torch.zeros((), dtype=torch.float64))


def weights(agent):
    return torch.cat([p.detach().flatten() for p in agent.module.parameters()])


def moments(agent):
    return torch.cat([agent.optimizer.state[p][name].flatten() for p in agent.module.parameters() for name in ("exp_avg", "exp_avg_sq")])


def test_each_of_several_gaussians_is_compared_with_its_own_past():
    """Two actions of one number each, one of which did not act in some steps, where its ratio overflows."""
    network = oc.CoagentNetwork([oc.Coagent("a", oc.Gaussian(1)), oc.Coagent("b", oc.Gaussian(1))], action=("a", "b"))
    torch.manual_seed(0)
    old, new, noise = torch.randn(3, 4, 6, dtype=torch.float64)  # mean and ln scale of a, then of b; (4, steps)
    policies = [[Normal(x[2 * k], x[2 * k + 1].exp()) for k in (0, 1)] for x in (old, new)]
    drawn = torch.stack([old[2 * k] + old[2 * k + 1].exp() * noise[k] for k in (0, 1)], dim=1)
    log_old, log_new = (torch.stack([policy[k].log_prob(drawn[:, k]) for k in (0, 1)]) for policy in policies)
    acted = torch.tensor([[1.0, 1.0]] * 4 + [[1.0, 0.0]] * 2, dtype=torch.float64)
    nothing = torch.zeros(6, dtype=torch.float64)

    def divergence(given, log_old):
        batch = SimpleNamespace(log_old=log_old, drawn=drawn, acted=acted, target=nothing, valid=torch.ones_like(nothing))
        return float(losses.divergence(network, torch.cat([nothing[None], given]), batch))

    ratio = log_new - log_old
    assert divergence(old, log_old) == pytest.approx(0.0, abs=1e-12)
    assert divergence(new, log_old) == pytest.approx(float(((ratio.exp() - 1 - ratio) * acted.T).sum() / 6))
    log_old[1, 4:] = -1000.0  # of b, held there
    assert divergence(new, log_old) == pytest.approx(float(((ratio.exp() - 1 - ratio) * acted.T).sum() / 6))


@pytest.mark.parametrize("recurrent_size", [0, 8])
def test_an_update_stops_at_the_limit_and_takes_the_step_beyond_it_back(recurrent_size):
    """The same minibatches in the same order, so that what is kept is where an update without limit was some steps before."""
    given = {**SMALL, "update_epochs": 8, "num_minibatches": 4} | dict(learning_rate=0.02, num_options=2, recurrent_size=recurrent_size)
    free, path = oc.OptionCritic("CartPole-v1", **given, target_kl=None), []
    step = free._step
    free._step = lambda parts: (step(parts), path.append((weights(free), moments(free))))[0]
    assert free.update()["minibatches"] == 32 == len(path)

    agent = oc.OptionCritic("CartPole-v1", **given, target_kl=0.01)
    row = agent.update()
    steps = int(row["minibatches"])
    assert 2 < steps < 32 and row["kl"] > 0.01
    assert torch.equal(weights(agent), path[steps - 2][0]) and not torch.equal(path[steps - 2][0], path[steps - 1][0])
    assert torch.equal(moments(agent), path[steps - 1][1])  # Adam has seen the step that was taken back


@pytest.mark.parametrize("layer", [torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.5)], ids=["batch norm", "dropout"])
def test_what_an_encoder_does_in_training_alone_is_no_change_of_the_policies(layer):
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 16), layer, torch.nn.Tanh())
    agent = oc.OptionCritic("CartPole-v1", num_options=2, encoder=encoder, **{**SMALL, "target_kl": 1e-4, "learning_rate": 1e-12})
    for parameter in agent.module.policies.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(0))
    if isinstance(layer, torch.nn.BatchNorm1d):
        layer.momentum = 0.0  # its running mean and variance, which the policies depend on, stay as well
    row = agent.update()
    size = agent.size
    assert row["minibatches"] == size.num_minibatches * size.update_epochs > 1 and 0 <= row["kl"] < 1e-9


def test_the_dropout_of_an_encoder_is_of_the_seed():
    """Whatever else has drawn from torch's global generator, which stays as it was."""
    ends = []
    for elsewhere in (1, 2):
        torch.manual_seed(0)
        encoder = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Dropout(0.5), torch.nn.Tanh())
        agent = oc.OptionCritic("CartPole-v1", num_options=2, encoder=encoder, seed=0, **SMALL)
        torch.manual_seed(elsewhere)
        before = torch.get_rng_state()
        agent.update()
        agent.update()
        assert torch.equal(torch.get_rng_state(), before)
        ends.append(weights(agent))
    assert torch.equal(*ends)


def test_a_step_that_is_taken_back_takes_the_running_mean_back_too():
    norm = torch.nn.BatchNorm1d(16)
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 16), norm, torch.nn.Tanh())
    seen = []
    agent = oc.OptionCritic(
        "CartPole-v1", num_options=2, encoder=encoder, **{**SMALL, "target_kl": 0.01, "update_epochs": 40, "learning_rate": 0.01}
    )
    step = agent._step
    agent._step = lambda parts: (step(parts), seen.append((norm.running_mean.clone(), int(norm.num_batches_tracked))))[0]
    row = agent.update()
    assert 2 < len(seen) == row["minibatches"] < 80 and row["kl"] > 0.01
    mean, batches = seen[-2]
    assert torch.equal(norm.running_mean, mean) and int(norm.num_batches_tracked) == batches == len(seen) - 1


def test_one_step_is_always_kept():
    agent = oc.OptionCritic("CartPole-v1", **SMALL, target_kl=1e-12)
    before = weights(agent)
    row = agent.update()
    assert row["minibatches"] == 1 and 0 < row["kl"] and not torch.equal(weights(agent), before)
    again = oc.OptionCritic("CartPole-v1", **{**SMALL, "num_minibatches": 1, "update_epochs": 1}, target_kl=1e-12)
    row = again.update()
    assert row["minibatches"] == 1 and np.isnan(row["kl"])  # the plain local gradient, of which nothing is asked
