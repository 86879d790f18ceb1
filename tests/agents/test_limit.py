"""How far one update may take the policies of the actions: KL against torch.distributions, and what happens beyond the limit."""

import pytest
import torch
from small import GRIDWORLD, SMALL, appendix_d
from torch.distributions import Categorical, Normal, kl_divergence

import optioncoagent as oc
from optioncoagent.agents.learner import losses
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import stochastic_layers

AGENTS = {
    "options": lambda: oc.OptionCritic("CartPole-v1", num_options=3, **SMALL, dtype="float64"),
    "two actions of one step": lambda: oc.CoagentActorCritic(GRIDWORLD, appendix_d, **SMALL, dtype="float64"),
    "recurrent": lambda: oc.OptionCritic("CartPole-v1", num_options=2, recurrent_size=5, **SMALL, dtype="float64"),
    "additive": lambda: oc.CoagentActorCritic("CartPole-v1", lambda n: stochastic_layers((4,), n), **SMALL, dtype="float64"),
    "Gaussian": lambda: oc.OptionCritic("Pendulum-v1", num_options=3, **SMALL, dtype="float64"),
}


def moved(agent):
    """A batch, what the module says of it after a move of its weights, and the rows of the readout before and after."""
    torch.manual_seed(0)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 64)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    with torch.no_grad():
        old = agent._read(batch)
        for parameter in agent.module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        return batch, old, agent._read(batch)


@pytest.mark.parametrize("name", [*AGENTS])
def test_the_divergence_is_that_of_the_actions_policies(name):
    agent = AGENTS[name]()
    batch, old, new = moved(agent)
    counted, gaussians = agent.network.counted, agent.network.gaussians
    expected = torch.zeros(len(batch), dtype=torch.float64)
    first = 0
    for coagent in counted:
        rows = slice(first, first := first + coagent.num_outputs)
        if coagent.name in agent.network.action:
            expected += kl_divergence(Categorical(logits=old[rows].T), Categorical(logits=new[rows].T))
    if gaussians:
        (mean, scale), (new_mean, new_scale) = (x[-2:] for x in (old, new))
        before, after = Normal(mean, scale.exp()), Normal(new_mean, new_scale.exp())
        log_ratio = after.log_prob(batch.drawn[:, 0]) - before.log_prob(batch.drawn[:, 0])
        estimates, exact = log_ratio.exp() - 1 - log_ratio, kl_divergence(before, after)
        error = (estimates - exact).std() / len(estimates) ** 0.5
        assert abs((estimates - exact).mean()) < 4 * error < 4 * exact.mean()  # an estimate without bias
        expected += estimates
    found = losses.divergence(agent.network, new, batch)
    valid = batch.valid.bool()
    torch.testing.assert_close(found, expected[valid].mean())
    assert found > 1e-3
    torch.testing.assert_close(losses.divergence(agent.network, old, batch), torch.zeros((), dtype=torch.float64))


def weights(agent):
    return torch.cat([p.detach().flatten() for p in agent.module.parameters()])


def test_an_update_stops_at_the_limit_and_takes_the_step_beyond_it_back():
    """The same minibatches in the same order, so that what is kept is where an update without limit was some steps before."""
    given = {**SMALL, "update_epochs": 8, "num_minibatches": 4} | dict(learning_rate=0.02, num_options=2)
    free, path = oc.OptionCritic("CartPole-v1", **given, target_kl=None), []
    step = free._step
    free._step = lambda parts: (step(parts), path.append(weights(free)))[0]
    row = free.update()
    assert row["minibatches"] == 32 == len(path)

    agent = oc.OptionCritic("CartPole-v1", **given, target_kl=0.01)
    row = agent.update()
    steps = int(row["minibatches"])
    assert 2 < steps < 32 and row["kl"] > 0.01
    assert torch.equal(weights(agent), path[steps - 2]) and not torch.equal(path[steps - 2], path[steps - 1])


def test_one_step_is_always_kept():
    agent = oc.OptionCritic("CartPole-v1", **SMALL, target_kl=1e-12)
    before = weights(agent)
    row = agent.update()
    assert row["minibatches"] == 1 and 0 < row["kl"] and not torch.equal(weights(agent), before)
    again = oc.OptionCritic("CartPole-v1", **{**SMALL, "num_minibatches": 1, "update_epochs": 1}, target_kl=1e-12)
    assert again.update()["minibatches"] == 1  # the plain local gradient, of which nothing is asked
