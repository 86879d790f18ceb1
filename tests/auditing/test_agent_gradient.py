"""The exact gradient of a torch agent against central differences in single weights."""

import numpy as np
import pytest
import torch
from additive_networks import layers, sharing, with_bits, with_shared_terms
from small import GRIDWORLD, appendix_d, random_mdp
from torch import nn

import optioncoagent as oc
from optioncoagent.auditing import gradient
from optioncoagent.gallery import stochastic_layers


class Own(nn.Module):
    """An encoder of one's own: an embedding and a tanh."""

    def __init__(self):
        super().__init__()
        self.embedding, self.layer = nn.Embedding(5, 3), nn.Linear(3, 4)

    def forward(self, state):
        return torch.tanh(self.layer(self.embedding(state)))


def looking_alike():
    mdp = random_mdp()
    return oc.MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, [0, 1, 1, 2, 3])


def on(mdp, network, **settings):
    return oc.CoagentActorCritic(mdp.to_env(), network, seed=2, **{"dtype": "float64", "hidden_sizes": (6, 5), **settings}), mdp


def on_minigrid(view):
    mdp = oc.MDP.from_minigrid("MiniGrid-Empty-5x5-v0", 0.9, view=view)
    return oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_options=2, num_envs=1, dtype="float64", hidden_sizes=(8,), seed=1), mdp


def on_gridworld():
    agent = oc.OptionCritic(GRIDWORLD, num_options=(2, 2), deliberation_cost=0.2, num_envs=1, dtype="float64", hidden_sizes=(4,))
    return agent, oc.MDP.from_env(GRIDWORLD, 0.9)


def endless():
    rng = np.random.default_rng(1)
    return oc.MDP(rng.dirichlet(np.ones(4), (4, 2)), rng.normal(size=(4, 2)), np.eye(4)[0], 0.9)


CASES = {
    "flat": (lambda: on(random_mdp(), lambda n: oc.option_critic(3, n, deliberation_cost=0.1)), "discounted"),
    "two levels, shared observations": (lambda: on(looking_alike(), lambda n: oc.option_critic((2, 2), n)), "discounted"),
    "a coagent that does not observe": (lambda: on(random_mdp(), appendix_d), "discounted"),
    "an encoder of one's own": (lambda: on(random_mdp(), appendix_d, encoder=Own()), "discounted"),
    "tables": (lambda: on(random_mdp(), appendix_d, hidden_sizes=()), "discounted"),
    "minigrid": (lambda: on_minigrid("egocentric"), "discounted"),
    "an end that is never shown": (on_gridworld, "discounted"),
    "layers of bits": (lambda: on(random_mdp(), layers), "discounted"),
    "additive, with options": (lambda: on(looking_alike(), with_bits), "discounted"),
    "additive, shared terms": (lambda: on(random_mdp(), with_shared_terms, hidden_sizes=()), "discounted"),
    "shared parameters": (lambda: on(random_mdp(), sharing), "discounted"),
    "average reward, additive": (lambda: on(endless(), with_bits), "average"),
    "average reward": (lambda: on(endless(), lambda n: oc.option_critic(2, n)), "average"),
}


def differences(agent, mdp, objective, parameter, index, eps=1e-5):
    sides = []
    with torch.no_grad():
        centre = parameter[index].item()
        for step in (eps, -eps):
            parameter[index] = centre + step
            sides.append(oc.expected_return(mdp, agent.network.tabulated(), agent.params(mdp), objective))
        parameter[index] = centre
    return (sides[0] - sides[1]) / (2 * eps)


@pytest.mark.parametrize("case", CASES)
def test_every_layer_agrees_with_central_differences(case):
    make, objective = CASES[case]
    agent, mdp = make()
    with torch.no_grad():  # away from the nearly uniform policies of a fresh agent
        for name, parameter in agent.module.named_parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)), dtype=parameter.dtype)
    gradient = oc.agent_gradient(agent, mdp, objective)
    parameters = dict(agent.module.named_parameters())
    assert gradient.keys() == parameters.keys()
    rng = np.random.default_rng(0)
    for name, parameter in parameters.items():
        assert gradient[name].shape == tuple(parameter.shape)
        largest = tuple(np.argwhere(np.abs(gradient[name]) == np.abs(gradient[name]).max())[0])
        scale = np.abs(gradient[name]).max()
        for index in [largest, *(tuple(rng.integers(parameter.shape)) for _ in range(2))]:
            measured = differences(agent, mdp, objective, parameter, index)
            assert gradient[name][index] == pytest.approx(measured, rel=1e-6, abs=1e-6 * scale + 1e-10), (name, index)
        assert ("critic" in name) == (scale == 0), name


def test_single_precision_is_that_of_the_agent():
    (agent, mdp), (double, _) = on(random_mdp(), appendix_d, dtype="float32"), on(random_mdp(), appendix_d)
    double.module.load_state_dict({name: x.double() for name, x in agent.module.state_dict().items()})
    single, exact = oc.agent_gradient(agent, mdp), oc.agent_gradient(double, mdp)
    for name in exact:
        assert single[name].dtype == np.float32
        np.testing.assert_allclose(single[name], exact[name], atol=1e-5 * max(np.abs(exact[name]).max(), 1e-6))


def test_many_observations_go_through_in_parts(monkeypatch):
    from optioncoagent.auditing import gradient

    agent, mdp = on(looking_alike(), appendix_d)
    whole = oc.agent_gradient(agent, mdp)
    monkeypatch.setattr(gradient, "CHUNK", 2)
    for name, part in oc.agent_gradient(agent, mdp).items():
        np.testing.assert_allclose(part, whole[name], atol=1e-14)


def test_what_a_caller_has_frozen_in_torch_has_the_gradient_zero():
    agent, mdp = on(looking_alike(), appendix_d)
    full = oc.agent_gradient(agent, mdp)
    name = next(name for name, x in full.items() if np.abs(x).max() > 0)
    dict(agent.module.named_parameters())[name].requires_grad_(False)
    found = oc.agent_gradient(agent, mdp)
    assert (found.pop(name) == 0).all()
    for other, x in found.items():
        np.testing.assert_array_equal(x, full[other])


def test_an_mdp_of_something_else_is_refused():
    agent = oc.OptionCritic("CartPole-v1", num_envs=1)
    with pytest.raises(ValueError, match="Discrete space, or an MDP from MDP.from_minigrid"):
        oc.agent_gradient(agent, random_mdp())


def test_a_table_that_is_too_large_is_refused_before_anything_is_computed(monkeypatch):
    agent, mdp = on(random_mdp(), lambda n: stochastic_layers((30,), n, additive=True), gamma=0.9)
    monkeypatch.setattr(agent, "params", None)
    for refusing in (oc.agent_gradient, oc.audit):
        with pytest.raises(ValueError, match="'action'.*30 outputs.*1,073,741,824 rows of 2.*narrower layers"):
            refusing(agent, mdp)


def test_terms_of_additive_coagents_are_added_once_however_many_observations_at_a_time(monkeypatch):
    mdp = random_mdp()
    agent = oc.CoagentActorCritic(mdp.to_env(), with_bits, seed=2, dtype="float64", hidden_sizes=(6, 5))
    whole = oc.agent_gradient(agent, mdp)
    monkeypatch.setattr(gradient, "CHUNK", 2)
    for name, part in oc.agent_gradient(agent, mdp).items():
        np.testing.assert_allclose(part, whole[name], atol=1e-14, err_msg=name)
