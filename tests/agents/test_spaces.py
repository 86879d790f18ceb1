"""Observation and action spaces of every form: scalars, MultiDiscrete, Tuple, nested; actions of several components."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from small import SMALL, same
from toys import Toy, batch_of, train

import optioncoagent as oc
from optioncoagent.agents.encoder import Encoder
from optioncoagent.agents.observations import ObservationSpec

SCALAR = spaces.Box(-1, 1, (), np.float32)
SPACES = {
    "scalar": SCALAR,
    "scalar in a Dict": spaces.Dict(a=SCALAR, b=spaces.Box(0, 1, (2, 2))),
    "MultiDiscrete": spaces.MultiDiscrete([3, 4], start=[1, -2]),
    "MultiDiscrete of two axes in a Dict": spaces.Dict(a=spaces.MultiDiscrete([[2, 3], [4, 5]])),
    "Tuple": spaces.Tuple((spaces.Discrete(3), spaces.Discrete(2, start=1))),
    "Tuple of Dicts and Tuples": spaces.Tuple((spaces.Dict(x=spaces.Tuple((SCALAR, spaces.MultiDiscrete([2, 2])))), spaces.MultiBinary(3))),
    "wide integers": spaces.Box(0, 60_000, (2,), np.uint16),
    "bool": spaces.Box(0, 1, (2,), bool),
}


def test_a_part_without_numbers_is_no_part():
    empty = spaces.Box(-1, 1, (0,))
    assert [leaf.path for leaf in ObservationSpec.from_space(spaces.Dict(a=empty, b=SCALAR)).leaves] == ["b"]
    with pytest.raises(ValueError, match="nothing that varies"):
        ObservationSpec.from_space(empty)


@pytest.mark.parametrize("name", SPACES)
def test_observation_spaces(name, tmp_path):
    space = SPACES[name]
    space.seed(0)
    env = batch_of(lambda: Toy(space, lambda t: space.sample()))
    agent = train(env)
    one = space.sample()
    action, state = agent.predict(one)
    assert np.shape(action) == () and state.shape == (1,)
    batch, _ = env.reset(seed=0)
    assert agent.predict(batch)[0].shape == (2,)
    agent.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path)
    assert loaded.spec == agent.spec and same(loaded.probabilities(one), agent.probabilities(one))


def test_every_component_has_indicators_of_its_own():
    encoder = Encoder(spec := ObservationSpec.from_space(spaces.Tuple((SPACES["MultiDiscrete"], SCALAR))), ())
    numbers = encoder(encoder.inputs(spec.tensors((np.array([[1, 1], [3, -2]]), np.array([0.5, -0.5])))))
    np.testing.assert_array_equal(numbers, [[1, 0, 0, 0, 0, 0, 1, 0.5], [0, 0, 1, 1, 0, 0, 0, -0.5]])


@pytest.mark.parametrize(
    "space, shown",
    [
        (spaces.MultiDiscrete([3, 4]), np.array([1, 4])),
        (spaces.Discrete(3, start=1), 0),
        *((spaces.Discrete(3), shown) for shown in (1.5, -0.5, np.nan)),
    ],
)
def test_a_value_outside_its_space_is_named(space, shown):
    with pytest.raises(ValueError, match="of environment 0 is .*which its space does not have"):
        train(Toy(space, lambda t: shown if t == 2 else space.start))


@pytest.mark.parametrize(
    "space", [spaces.Discrete(3, start=5), spaces.MultiDiscrete([3, 4], start=[5, -2])], ids=["Discrete", "MultiDiscrete"]
)
def test_gates_and_encoders_see_the_values_of_a_space(space):
    """As the environment shows them, from wherever they start."""
    seen, encoded = [], []

    def executes(x):
        seen.append(x.state)
        return x.start | (x.state.reshape(len(x.state), -1)[:, 0] == 7 if hasattr(x.state, "reshape") else x.state == 7)

    class Own(torch.nn.Module):
        def forward(self, given):
            encoded.append(given)
            return given.reshape(len(given), -1).float()

    network = oc.CoagentNetwork([oc.Coagent("option", 2, executes=executes), oc.Coagent("action", 2, upstream=("option",))])
    env = Toy(space, lambda t: space.start + t % 3)
    agent = oc.CoagentActorCritic(env, network, encoder=Own(), num_steps=16, num_minibatches=1).learn(32)
    for tensors in (seen, encoded):
        values = torch.cat([x.reshape(len(x), -1)[:, 0].float() for x in tensors if isinstance(x, torch.Tensor)])
        assert set(values.tolist()) == {5.0, 6.0, 7.0}
    assert agent.predict(np.asarray(space.start))[0] in (0, 1)


def test_spaces_that_differ_in_their_values_alone_are_told_apart(tmp_path):
    agent = train(Toy(spaces.Discrete(3), lambda t: 0))
    agent.save(tmp_path)
    other = Toy(spaces.Discrete(3, start=1), lambda t: 1)
    for use in (lambda: oc.OptionCritic.load(tmp_path, env=other), lambda: agent.evaluate(1, env=other)):
        with pytest.raises(ValueError, match=r"offset=[01].*offset=[01]") as refused:
            use()
        assert "None with" not in str(refused.value)


def test_blackjack_and_slopes():
    agent = oc.OptionCritic("Blackjack-v1", **SMALL).learn(64)
    assert [leaf.size for leaf in agent.spec.leaves] == [32, 11, 2]
    assert len(agent.evaluate(5).returns) == 5
    from minigrid.wrappers import DirectionObsWrapper

    agent = train(DirectionObsWrapper(gym.make("minigrid:MiniGrid-Empty-5x5-v0")))
    assert {leaf.path: leaf.kind for leaf in agent.spec.leaves}["goal_direction"] == "slope"
    features, _ = agent.module.features(agent.spec.tensors(agent.env.reset(seed=0)[0]))
    assert bool(features.isfinite().all())


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([3, 4]), spaces.MultiDiscrete([2, 3, 2], start=[1, 5, -1]), spaces.MultiBinary(2)])
def test_each_component_of_an_action_is_a_coagent(space, tmp_path):
    env = Toy(actions=space)
    agent = train(env, 128)
    sizes = [2] * space.n if isinstance(space, spaces.MultiBinary) else list(space.nvec)
    assert agent.network.action == tuple(f"action_{i}" for i in range(len(sizes)))
    assert [agent.network[name].num_outputs for name in agent.network.action] == sizes
    assert all(agent.network[name].upstream == ("option",) for name in agent.network.action)
    assert len({tuple(taken) for taken in env.taken}) == np.prod(sizes)  # every joint action, and the space had all of them
    action, _ = agent.predict(np.zeros((50, 3), np.float32))
    assert action.shape == (50, len(sizes)) and all(space.contains(a.astype(space.dtype)) for a in action)
    assert space.contains(agent.predict(np.zeros(3, np.float32))[0].astype(space.dtype))
    assert len(agent.evaluate(3, env=Toy(actions=space)).returns) == 3
    agent.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path, env=Toy(actions=space))
    assert loaded.learn(16).interface == agent.interface


def test_components_of_an_action_learn_apart():
    """Each component is paid for one of its values: all of them are found."""

    class Paid(Toy):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, float((action == [2, 0, 3]).sum()), *rest

    env = batch_of(lambda: Paid(actions=spaces.MultiDiscrete([3, 2, 4])), 4)
    agent = oc.OptionCritic(env, num_options=2, num_steps=32, num_minibatches=2, gamma=0.5, learning_rate=0.02).learn(4_000)
    np.testing.assert_array_equal(agent.predict(np.zeros(3, np.float32), deterministic=True)[0], [2, 0, 3])


def test_networks_of_ones_own_take_several_components():
    env = Toy(actions=spaces.MultiDiscrete([2, 3]))
    network = oc.CoagentNetwork([oc.Coagent("a", 2), oc.Coagent("b", 3, upstream=("a",))], action=("a", "b"))
    agent = oc.CoagentActorCritic(env, network, num_steps=16).learn(32)
    assert agent.predict(np.zeros(3, np.float32))[0].shape == (2,)
    for other in (
        oc.CoagentNetwork([oc.Coagent("action", 6)]),
        oc.CoagentNetwork([oc.Coagent("a", 3), oc.Coagent("b", 2)], action=("a", "b")),
    ):
        with pytest.raises(ValueError, match=r"of sizes \(2, 3\); the network's action coagents .* have sizes"):
            oc.CoagentActorCritic(env, other)
    assert oc.OptionCritic(Toy(), num_options=2).network.action == ("action",)


def test_encoders_give_features():
    images = spaces.Box(0, 1, (3, 8, 8), np.float32)
    for encoder, message in [
        (torch.nn.Conv2d(3, 4, 3), r"gives \(2, 4, 6, 6\) for two observations: it must give \(n, features\)"),
        (torch.nn.Flatten(0), r"gives \(384,\)"),
        (torch.nn.Flatten, "instance"),
        (lambda x: x, "instance"),
    ]:
        with pytest.raises(ValueError, match=message):
            train(Toy(images), encoder=encoder)
    assert train(Toy(images), encoder=torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())).module.critic.in_features == 144


def test_how_options_begin_and_what_they_cost_goes_with_actions_of_several_components():
    law, env = (0.2, 0.3, 0.5), Toy(actions=spaces.MultiDiscrete([2, 3]))
    network = oc.OptionCritic(env, 3, deliberation_cost=0.25, first="terminate", initial=law, **SMALL).network
    assert network.action == ("action_0", "action_1") and network["option"].cost == 0.25
    assert not network.may_retain("termination", start=True)  # first="terminate"
    np.testing.assert_allclose(network.initial("option"), law)
