"""What the parts of an observation are taken for: codes are not pixels; pixels go through convolutions; it is said and can be set."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from small import same
from toys import Toy, batch_of, train

import optioncoagent as oc
from optioncoagent.agents.encoder import Encoder, Inputs
from optioncoagent.agents.images import Convolutions
from optioncoagent.agents.observations import ObservationSpec


def minigrid(*names, env_id="minigrid:MiniGrid-Empty-5x5-v0"):
    from minigrid import wrappers

    env = gym.make(env_id)
    for name in names:
        env = gym.wrappers.FrameStackObservation(env, 3) if name == "stacked" else getattr(wrappers, name)(env)
    return env


def kinds(env):
    return {leaf.path: leaf.kind for leaf in oc.OptionCritic(env, num_options=2).spec.leaves}


@pytest.mark.parametrize(
    "names, kind",
    [
        (["ImgObsWrapper"], "cells"),
        (["FullyObsWrapper", "ImgObsWrapper"], "cells"),
        (["ImgObsWrapper", "stacked"], "cells"),
        (["FlatObsWrapper"], "box"),
        (["FlatObsWrapper", "stacked"], "box"),
        (["OneHotPartialObsWrapper", "ImgObsWrapper"], "box"),
        (["RGBImgObsWrapper", "ImgObsWrapper"], "pixels"),
        (["RGBImgPartialObsWrapper", "ImgObsWrapper", "stacked"], "pixels"),
    ],
)
def test_minigrid_in_wrappers(names, kind):
    assert kinds(minigrid(*names)) == {"": kind}


def test_small_pictures_of_a_grid_are_pixels():
    from minigrid.wrappers import ImgObsWrapper, RGBImgObsWrapper

    assert kinds(ImgObsWrapper(RGBImgObsWrapper(minigrid(), tile_size=4))) == {"": "pixels"}  # 20 x 20


def test_slopes_are_angles():
    spec = ObservationSpec.from_space(spaces.Box(-np.inf, np.inf, (2,)), kinds={"": "slope"})
    np.testing.assert_allclose(Inputs(spec)(torch.tensor([[np.inf, -1.0]]))["numbers"], [[np.pi / 2, -np.pi / 4]])


def test_minigrid_in_other_processes():
    env = AsyncVectorEnv([lambda: minigrid("FlatObsWrapper")], autoreset_mode=AutoresetMode.SAME_STEP)
    try:
        assert kinds(env) == {"": "box"}
    finally:
        env.close()


def test_what_the_first_layer_sees_of_codes_is_of_the_order_of_one():
    for names in (["FlatObsWrapper"], ["ImgObsWrapper", "stacked"]):
        agent = oc.OptionCritic(minigrid(*names), num_options=2, hidden_sizes=())
        seen, _ = agent.module.features(agent.spec.tensors(agent.env.reset(seed=0)[0])[""])
        assert 0.09 < float(seen[seen > 0].min()) and float(seen.max()) <= 11


def box(*shape, high=255, dtype=np.uint8):
    return spaces.Box(0, high, shape, dtype)


@pytest.mark.parametrize(
    "space, kind",
    [
        (box(84, 84, 3), "pixels"),
        (box(3, 84, 84), "pixels"),
        (box(4, 84, 84), "pixels"),
        (box(84, 84), "pixels"),
        (box(4, 210, 160, 3), "pixels"),
        (box(16, 16, 3, dtype=np.float32), "pixels"),
        (box(10, 10, 3), "box"),  # a small grid of codes
        (box(84, 84, 3, high=10), "box"),
        (box(128), "box"),
        (box(84, 84, 3, high=1, dtype=np.float32), "box"),
    ],
)
def test_boxes(space, kind):
    assert ObservationSpec.from_space(space).leaves[0].kind == kind


def test_kinds_can_be_set_are_said_and_kept(tmp_path):
    space = spaces.Dict(a=box(8, 8, 3), b=spaces.Discrete(2))
    env = Toy(space, lambda t: space.sample())
    agent = train(env, observation_kinds={"a": "pixels"})
    assert str(agent.spec).splitlines() == [
        "observation['a']: pixels (8, 8, 3), pixels, divided by 255, through convolutions",
        "observation['b']: discrete (), an indicator for each value",
    ]
    agent.save(tmp_path)
    one = space.sample()
    for loaded in (oc.OptionCritic.load(tmp_path), oc.OptionCritic.load(tmp_path, env=env)):
        assert loaded.spec == agent.spec and same(loaded.probabilities(one), agent.probabilities(one))
    for where in (env, None):
        with pytest.raises(ValueError, match="trained on|another network or encoder"):
            oc.OptionCritic.load(tmp_path, env=where, observation_kinds={"a": "box"})
    for kind, message in [
        ({"c": "box"}, r"names \['c'\]"),
        ({"b": "pixels"}, "taken for discrete"),
        ({"a": "image"}, "^observation_kinds="),
    ]:
        with pytest.raises(ValueError, match=message):
            train(env, observation_kinds=kind)


def encoder_of(space):
    torch.manual_seed(0)
    return Encoder(ObservationSpec.from_space(space), (8,))


@pytest.mark.parametrize(
    "shape, axes, channels",
    [((40, 50, 3), (2, 0, 1), 3), ((40, 50), (0, 1), 1), ((4, 40, 50, 3), (0, 3, 1, 2), 12), ((4, 3, 40, 50), (0, 1, 2, 3), 12)],
)
def test_channels_are_found_wherever_they_are(shape, axes, channels):
    """The same image gives the same features in every layout."""
    images = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.uint8)
    first = images.transpose(0, *(1 + axis for axis in axes)).reshape(2, channels, 40, 50)
    encoders = [encoder_of(box(*x.shape[1:])) for x in (images, first)]
    layouts = [e(e.inputs(torch.from_numpy(x.copy()))) for e, x in zip(encoders, (images, first), strict=True)]
    torch.testing.assert_close(*layouts)
    assert layouts[0].std() > 0


def test_pixels_beside_other_parts():
    space = spaces.Dict(a=box(20, 20, 3), b=spaces.Discrete(3), c=box(2, 20, 20))
    encoder = Encoder(ObservationSpec.from_space(space), ())
    features = encoder(encoder.inputs({"a": torch.zeros(5, 20, 20, 3), "b": torch.tensor([0, 1, 2, 0, 1]), "c": torch.zeros(5, 2, 20, 20)}))
    assert features.shape == (5, 2 * Convolutions((20, 20, 3)).num_features + 3)
    np.testing.assert_array_equal(features[:, :3].detach(), np.eye(3)[[0, 1, 2, 0, 1]])


def test_atari_sized_frames_are_small_to_learn_from():
    encoder = encoder_of(box(4, 84, 84))
    assert [tuple(layer.weight.shape) for layer in encoder.images["0"].layers] == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]
    assert encoder.layers[0].in_features == 3136


class Side(gym.Env):
    """A white square on the left or on the right of a dark image; 1 for saying where."""

    observation_space = box(16, 16, 1)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._show(), {}

    def step(self, action):
        reward = float(action == self.side)
        self.t += 1
        return self._show(), reward, self.t == 8, False, {}

    def _show(self):
        image = np.zeros((16, 16, 1), np.uint8)
        self.side = int(self.np_random.integers(2))
        row, column = self.np_random.integers(0, 12), self.np_random.integers(0, 5) + 8 * self.side
        image[row : row + 4, column : column + 3] = 255
        return image


def test_pixels_are_learned_from():
    """4 of 8 by chance."""
    agent = oc.OptionCritic(batch_of(Side, 8), num_options=2, num_steps=32, num_minibatches=4, gamma=0.5).learn(3_000)
    assert np.mean([value for value, _ in list(agent.recent)[-30:]]) > 7
