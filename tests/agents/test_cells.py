"""MiniGrid's codes as indicators: the first layer computed by looking up columns is the one computed with the indicators themselves."""

import gymnasium as gym
import minigrid  # noqa: F401
import numpy as np
import pytest
import torch

import optioncoagent as oc
from optioncoagent.agents.cells import FirstLayer, indicators, sums
from optioncoagent.agents.encoder import SCALE, Encoder
from optioncoagent.agents.observations import CODES, ObservationSpec

SPACE = gym.spaces.Dict(
    image=gym.spaces.Box(0, 255, (3, 3, 3), np.uint8),
    near=gym.spaces.Box(0, 255, (2, 1, 3), np.uint8),
    direction=gym.spaces.Discrete(4),
    speed=gym.spaces.Box(-1, 1, (2,), np.float64),
)
SPEC = ObservationSpec.from_space(SPACE, minigrid=True)


def batch(n=7, seed=0):
    rng = np.random.default_rng(seed)
    codes = {name: rng.integers(0, CODES, (n, *SPACE[name].shape)).astype(np.uint8) for name in ("image", "near")}
    return {**codes, "direction": rng.integers(0, 4, n), "speed": rng.normal(size=(n, 2))}


def by_hand(observation):
    """The numbers, and the scaled indicators cell by cell."""
    direction = np.eye(4)[observation["direction"]]
    rows = [direction, observation["speed"]]
    for name in ("image", "near"):
        cells = observation[name].reshape(len(direction), -1, 3)
        rows.append(
            np.concatenate([np.eye(n)[cells[..., i]] for i, n in enumerate(CODES)], axis=-1).reshape(len(direction), -1) * SCALE["cells"]
        )
    return torch.from_numpy(np.concatenate(rows, axis=1))


def test_bytes_with_three_codes_a_cell_are_cells():
    assert {leaf.path: (leaf.kind, leaf.size) for leaf in SPEC.leaves} == {
        "direction": ("discrete", 4),
        "image": ("cells", 9 * 21),
        "near": ("cells", 2 * 21),
        "speed": ("box", 2),
    }


def test_first_layer_and_its_gradient_are_those_of_the_indicators():
    encoder = Encoder(SPEC, (5,)).double()
    x, tensors = by_hand(batch()), SPEC.tensors(batch())
    weight = encoder.layers[0].weight.detach().clone().requires_grad_()
    given, exact = encoder(encoder.inputs(tensors)), torch.relu(x @ weight.T)
    assert bool((exact > 0).any()) and bool((exact == 0).any())
    torch.testing.assert_close(given, exact, rtol=1e-12, atol=1e-12)
    direction = torch.linspace(-1, 2, 35, dtype=torch.float64).reshape(7, 5)
    (given * direction).sum().backward()
    (exact * direction).sum().backward()
    torch.testing.assert_close(encoder.layers[0].weight.grad, weight.grad, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(encoder.layers[0].bias.grad, ((exact > 0) * direction).sum(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("numbers", [0, 3])
def test_the_gradient_of_the_first_layer_reaches_what_is_beside_the_cells(numbers):
    """As images' convolutions need it, and in all it is given."""
    rng, columns = torch.Generator().manual_seed(0), torch.tensor([[0, 3], [1, 2], [0, 2]], dtype=torch.int32)
    usual = torch.tensor([0, 2], dtype=torch.int32)
    x, weight, bias = (
        torch.randn(*shape, dtype=torch.float64, generator=rng).requires_grad_() for shape in ((3, numbers), (4, numbers + 5), (4,))
    )
    torch.autograd.gradcheck(lambda x, weight, bias: FirstLayer.apply(x, columns, usual, weight, bias, 0.5), (x, weight, bias))


def test_what_is_looked_up_is_laid_out_once_while_no_weight_changes():
    encoder = Encoder(SPEC, (5,)).double()
    given = encoder.inputs(SPEC.tensors(batch()))
    before = encoder(given)
    with encoder.unchanged():
        encoder.layers[0].weight.data[:, 6:] = 0  # which nobody does: those of cells, after six numbers
        assert torch.equal(encoder(given), before)
    assert not torch.equal(encoder(given), before)
    with pytest.raises(KeyError), encoder.unchanged():
        raise KeyError
    assert encoder.lookup is None
    with Encoder(SPEC, ()).unchanged():  # which has nothing to look up
        pass


def test_without_layers_the_indicators_are_the_features():
    encoder = Encoder(SPEC, ()).double()
    torch.testing.assert_close(encoder(encoder.inputs(SPEC.tensors(batch()))), by_hand(batch()))


def test_cells_alone_are_enough():
    spec = ObservationSpec.from_space(SPACE["image"], minigrid=True)
    encoder = Encoder(spec, (4,))
    assert encoder(encoder.inputs(torch.from_numpy(batch()["image"]))).shape == (7, 4)
    assert encoder.inputs(torch.from_numpy(batch()["image"]))["cells"].dtype == torch.int32


def test_indicators_are_one_in_their_columns():
    rows = indicators(torch.tensor([[0, 3], [1, 2]], dtype=torch.int32), 5, torch.float32)
    np.testing.assert_array_equal(rows, [[1, 0, 0, 1, 0], [0, 1, 1, 0, 0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_added_where_the_indicators_are(dtype):
    """Columns as a minibatch has them, and with one twice in a row, which counts twice."""
    rng = torch.Generator().manual_seed(0)
    columns, rows = torch.randint(0, 6, (50, 4), dtype=torch.int32, generator=rng), torch.randn(50, 3, dtype=dtype, generator=rng)
    times = torch.stack([(columns == c).sum(dim=1) for c in range(6)])
    assert bool((times > 1).any())
    for usual in (torch.zeros(4, dtype=torch.int32), torch.arange(4, dtype=torch.int32)):
        added = sums(columns, usual, rows.T.contiguous().T, 6)  # however the rows lie
        torch.testing.assert_close(added, times.to(dtype) @ rows, rtol=0, atol=300 * torch.finfo(dtype).eps)


class OtherCodes(gym.ObservationWrapper):
    def observation(self, observation):
        image = observation["image"].copy()
        image[3, 3, 0] = 11
        return observation | {"image": image}


def test_codes_that_minigrid_does_not_have_are_named():
    agent = oc.OptionCritic(OtherCodes(gym.make("MiniGrid-Empty-5x5-v0")), num_steps=8, num_minibatches=2)
    remedy = r"code 11 for a cell's object, of which MiniGrid has \(11, 6, 4\); observation_kinds=\{'image': 'grid'\}"
    with pytest.raises(ValueError, match=remedy):
        agent.update()
    with pytest.raises(ValueError, match=remedy):
        agent.predict(agent.env.reset(seed=0)[0])
    agent = oc.OptionCritic(
        OtherCodes(gym.make("MiniGrid-Empty-5x5-v0")), num_steps=8, num_minibatches=2, observation_kinds={"image": "grid"}
    )
    agent.update()


@pytest.mark.parametrize("code", [-1.0, 0.5, 12.0, np.nan, np.inf])
def test_numbers_that_are_no_codes_are_named(code):
    space = gym.spaces.Box(-np.inf, np.inf, (2, 3), np.float64)
    spec = ObservationSpec.from_space(space, kinds={"": "cells"})
    codes = np.array([[[10.0, 5.0, 3.0], [0.0, 0.0, 0.0]]])
    assert spec.fault(spec.tensors(codes)) is None
    encoder = Encoder(spec, ()).double()
    assert encoder(encoder.inputs(torch.from_numpy(codes))).nonzero()[:, 1].tolist() == [10, 16, 20, 21, 32, 38]
    codes[0, 1, 1] = code
    assert "for a cell's colour" in spec.fault(spec.tensors(codes))[1]
    encoder(encoder.inputs(torch.from_numpy(codes)))  # which comes first, and gives something


def test_cells_have_three_codes():
    with pytest.raises(ValueError, match="must end with 3"):
        oc.OptionCritic("CartPole-v1", observation_kinds={"": "cells"})


def test_codes_as_numbers_by_choice():
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", observation_kinds={"image": "grid"})
    assert {leaf.kind: leaf.size for leaf in agent.spec.leaves} == {"discrete": 4, "grid": 147}
    assert agent.settings.int_coef == oc.OptionCritic("MiniGrid-Empty-5x5-v0").settings.int_coef > 0
