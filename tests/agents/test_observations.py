"""What the agent sees: spaces, codes and pixels, missions, encoders."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small import SMALL
from toys import Toy

import optioncoagent as oc
from optioncoagent.agents.observations import ObservationSpec, mission_features
from optioncoagent.agents.rollout import collect


def test_unsupported_spaces_are_refused_by_name():
    class Nested(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (2,))
        action_space = gym.spaces.Dict(a=gym.spaces.Box(-1, 1, (1,)))

    class Sequences(gym.Env):
        observation_space = gym.spaces.Dict(a=gym.spaces.Discrete(2), b=gym.spaces.Sequence(gym.spaces.Discrete(2)))
        action_space = gym.spaces.Discrete(2)

    with pytest.raises(ValueError, match="action space is Dict"):
        oc.OptionCritic(Nested())
    with pytest.raises(ValueError, match=r"observation\['b'\] is Sequence"):
        oc.OptionCritic(Sequences())
    with pytest.raises(TypeError, match="neither an environment id"):
        oc.OptionCritic(7)
    with pytest.raises(ValueError, match="takes 2 actions, the network's action coagents give 3"):
        oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork([oc.Coagent("action", 3)]))
    disabled = SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="SAME_STEP"):
        oc.OptionCritic(disabled)


class Mixed(gym.Env):
    """A Dict of everything: nested, a Box, a Discrete that starts at 2, bits; actions start at 1."""

    observation_space = gym.spaces.Dict(
        inner=gym.spaces.Dict(box=gym.spaces.Box(-1, 1, (2, 3)), bits=gym.spaces.MultiBinary(3)), cell=gym.spaces.Discrete(4, start=2)
    )
    action_space = gym.spaces.Discrete(2, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t >= 3, self.t >= 5, {}


def test_nested_observations_and_offsets():
    agent = oc.OptionCritic(Mixed(), num_options=2, num_steps=16, num_minibatches=2).learn(64)
    observation = Mixed().reset(seed=0)[0]
    action, state = agent.predict(observation)
    assert action in (1, 2) and state.shape == (1,)
    assert agent.probabilities(observation)["action"].shape == (2, 2)
    with pytest.raises(ValueError, match=r"observation\['inner/box'\] has shape \(5,\)"):
        agent.predict({**observation, "inner": {**observation["inner"], "box": np.zeros(5)}})
    with pytest.raises(ValueError, match=r"observation\['cell'\] is missing"):
        agent.predict({"inner": observation["inner"]})


@pytest.mark.parametrize("env_id", ["MiniGrid-GoToDoor-5x5-v0", "BabyAI-GoToObj-v0"])
def test_missions_that_vary_are_seen(env_id):
    agent = oc.OptionCritic(env_id, **SMALL).learn(64)
    assert [leaf.kind for leaf in agent.spec.leaves] == ["discrete", "cells", "mission"]
    env = gym.make(env_id)
    observation, _ = env.reset(seed=0)
    features = [agent.module.features(agent.spec.state(agent.spec.tensors(agent.spec.stack([{**observation, "mission": m}]))))[0] for m in
                ("go to the red door", "go to the green door")]  # fmt: skip
    assert not torch.equal(*features)
    batch = {"image": observation["image"][None], "direction": np.array([0]), "mission": ("go to the red door",)}
    assert agent.predict(batch)[0].shape == (1,)


def test_a_mission_that_never_varies_is_seen_if_asked_for_and_the_agent_goes_on_where_missions_vary(tmp_path):
    kinds = {"mission": "mission"}
    agent = oc.OptionCritic("MiniGrid-Unlock-v0", observation_kinds=kinds, **SMALL).learn(64)
    assert [leaf.kind for leaf in agent.spec.leaves] == ["discrete", "cells", "mission"]
    assert [leaf.kind for leaf in oc.OptionCritic("MiniGrid-Unlock-v0", **SMALL).spec.leaves] == ["discrete", "cells"]
    assert torch.equal(agent.running.observation["mission"][0], torch.from_numpy(mission_features("open the door")))
    agent.save(tmp_path)
    other = oc.OptionCritic.load(tmp_path, env="MiniGrid-UnlockPickup-v0")
    assert other.num_timesteps == agent.num_timesteps and other.learn(64).num_timesteps > agent.num_timesteps
    assert len(agent.evaluate(2, env="MiniGrid-UnlockPickup-v0").returns) == 2

    with pytest.raises(ValueError, match="observation_kinds names .'mission'.; the parts of an observation are .''."):
        oc.OptionCritic("CartPole-v1", observation_kinds=kinds)
    with pytest.raises(ValueError, match=r"observation\['direction'\] is taken for discrete; numbers \(a Box\) may be any"):
        oc.OptionCritic("MiniGrid-Unlock-v0", observation_kinds={"direction": "mission"})


def test_codes_and_pixels_are_told_apart():
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

    kinds = {}
    for wrapper in (ImgObsWrapper, RGBImgPartialObsWrapper, lambda env: ImgObsWrapper(RGBImgPartialObsWrapper(env))):
        agent = oc.OptionCritic(wrapper(gym.make("MiniGrid-Empty-5x5-v0")), **{**SMALL, "num_envs": 1}).learn(16)
        kinds |= {leaf.path or leaf.shape[0]: leaf.kind for leaf in agent.spec.leaves}
    assert kinds == {7: "cells", "direction": "discrete", "image": "pixels", 56: "pixels"}


def test_execution_functions_see_the_observations():
    """A coagent that executes only when facing right, on MiniGrid's dict of tensors."""
    turn = oc.Coagent("turn", 2, executes=lambda x: (x.state["direction"] == 0) & (x.previous["turn"] == x.previous["turn"]))
    network = oc.CoagentNetwork([turn, oc.Coagent("action", 7, upstream=("turn",))])
    agent = oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", network, **SMALL)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    assert torch.equal(rollout.executed["turn"], rollout.observation["direction"] == 0)
    agent.learn(200)


def test_an_encoder_of_ones_own():
    class Direction(torch.nn.Module):
        def forward(self, state):
            return torch.nn.functional.one_hot(state["direction"], 4).float()

    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", encoder=Direction(), **SMALL).learn(64)
    assert agent.module.critic.in_features == 4


def own(inputs, *layers):
    return torch.nn.Sequential(torch.nn.Linear(inputs, 8), *layers, torch.nn.Tanh())


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("of", [np.float32, np.float64, np.int64, np.uint8])
def test_an_encoder_of_ones_own_takes_numbers_in_its_precision(of, precision):
    space = gym.spaces.Box(0, 1, (3,), of)
    agent = oc.OptionCritic(Toy(space), encoder=own(3), dtype=precision, **SMALL).learn(64)
    assert agent.predict(np.zeros(3))[0] in (0, 1) and agent.predict([0, 0, 0])[0] in (0, 1)


def test_an_encoder_of_ones_own_is_in_training_only_while_it_is_trained():
    agent = oc.OptionCritic("CartPole-v1", encoder=own(4, torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5)), **SMALL)
    seen, losses = [], agent.losses
    agent.losses = lambda *given: seen.append(agent.module.training) or losses(*given)
    agent.learn(64)
    assert all(seen) and len(seen) > 1 and not agent.module.training
    observation = np.full(4, 0.1, np.float32)
    first, again = (agent.probabilities(observation)["action"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    mean = agent.module.encoder[1].running_mean.clone()
    agent.predict(observation)
    agent.evaluate(2)
    assert torch.equal(agent.module.encoder[1].running_mean, mean) and mean.abs().sum() > 0


@pytest.mark.parametrize("key", ["b/a", ""])
def test_keys_that_cannot_name_a_part_are_refused(key):
    box = gym.spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match="observation has a part '.*give it another one"):
        oc.OptionCritic(Toy(gym.spaces.Dict({"b": box, key: box})))


def test_a_key_may_hold_a_slash_as_dm_controls_do():
    box, many = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Box(0, 255, (3,), np.uint8)
    space = gym.spaces.Dict({"walker/joints": box, "walker": box, "arm": gym.spaces.Tuple([gym.spaces.Dict({"hand/left": many})])})
    with pytest.raises(ValueError, match="a part 'walker' and a part 'walker/joints'"):
        ObservationSpec.from_space(space)
    space = gym.spaces.Dict({"walker/joints": box, "arm": gym.spaces.Tuple([gym.spaces.Dict({"hand/left": many})])})
    agent = oc.OptionCritic(Toy(space, lambda t: space.sample()), num_steps=16, observation_kinds={"arm/0/hand/left": "pixels"})
    agent.learn(16)
    observation = space.sample()
    tensors = agent.spec.tensors({"walker/joints": observation["walker/joints"][None], "arm": ({"hand/left": np.array([[1, 2, 3]])},)})
    np.testing.assert_array_equal(tensors["walker/joints"][0], observation["walker/joints"])
    np.testing.assert_array_equal(tensors["arm/0/hand/left"][0], [1, 2, 3])
    assert np.isfinite(agent.probabilities(observation)["action"]).all()
    with pytest.raises(ValueError, match=r"observation\['walker/joints'\] is missing"):
        agent.predict({"arm": observation["arm"]})


def test_words_are_seen_before_a_comma_and_in_their_order():
    """A word is the same before a comma, and the order of words is seen."""

    def said(x):
        return mission_features(x)

    assert (said("go to the ball, then open the door") == said("go to the ball then open the door")).all()
    assert (said("put the red ball next to the blue box") != said("put the blue ball next to the red box")).any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.array([np.inf], np.float16), "not finite"),
        (np.array([-np.inf], np.float16), "not finite"),
        (np.array([np.iinfo(np.int64).min]), "of the order of 1e18"),
        (np.array([2**64 - 1], np.uint64), "of the order of 1e19"),
    ],
)
def test_numbers_of_any_type_are_looked_at(given, message):
    """1e9 is infinite in half precision, |x| of the least int64 is itself, and torch has no uint64."""
    low, high = (-np.inf, np.inf) if given.dtype.kind == "f" else (np.iinfo(given.dtype).min, np.iinfo(given.dtype).max)
    shown = gym.spaces.Box(low, high, (1,), given.dtype)
    spec = ObservationSpec.from_space(shown)
    found = spec.fault(spec.tensors(np.stack([np.zeros_like(given), given])))
    assert found is not None and found[0] == (1,) and message in found[1]


@pytest.mark.parametrize("given", ["x", {"a": 1}, object(), None])
def test_what_is_no_number_is_named(given):
    discrete, box = (oc.OptionCritic(name, num_options=2) for name in ("FrozenLake-v1", "CartPole-v1"))
    no_number = "(?s)observation is .*, where the agent was made for numbers"
    with pytest.raises(ValueError, match="is None, which its space does not have" if given is None else no_number):
        discrete.predict(given)
    with pytest.raises(ValueError, match="not finite" if given is None else no_number):
        box.predict([given] * 4)


class InPlace(torch.nn.Module):
    """Features of ten times what is seen, made where it is or elsewhere."""

    def __init__(self, in_place):
        super().__init__()
        self.layer, self.in_place = torch.nn.Linear(4, 8), in_place
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, 32).reshape(8, 4))
            self.layer.bias.zero_()

    def forward(self, x):
        return torch.tanh(self.layer(x.mul_(10) if self.in_place else 10 * x))


def test_an_encoder_that_works_in_place_changes_nothing_that_is_kept():
    agents = [oc.OptionCritic("CartPole-v1", encoder=InPlace(x), **SMALL).learn(128) for x in (True, False)]
    for one, other in zip(*(agent.module.parameters() for agent in agents), strict=True):
        assert torch.equal(one, other)
