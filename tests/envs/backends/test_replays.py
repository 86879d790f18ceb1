"""The batches against stock MiniGrid on every id (see `minigrid_replay`)."""

from __future__ import annotations

import numpy as np
import pytest
from minigrid_replay import assert_same_observations, assert_same_step, replay_compiled, stock_batch

from optioncoagent_envs import compiled_ids, make_minigrid
from optioncoagent_envs.backends.vector import minigrid_ids

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")
PLAYABLE = [name for name in minigrid_ids() if "WFC" not in name]  # those of WFC need packages that are not required
COMPILED = list(compiled_ids())


@pytest.mark.parametrize("env_id", COMPILED)
def test_compiled_batch_replays_stock(env_id):
    replay_compiled(env_id, 8, 80 if env_id.startswith("BabyAI") else 100, seed=11)


# MiniGrid's own generator of BabyAI-SynthS5R2 never ends on some levels: RoomGrid.place_agent finds no cell it likes.
ENDLESS = "BabyAI-SynthS5R2-v0"


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [name for name in COMPILED if name != ENDLESS])
def test_compiled_batch_replays_stock_at_length(env_id):
    replay_compiled(env_id, 24, 420 if env_id.startswith("BabyAI") else 600, seed=5)


def replay_stock(env_id: str, num_envs: int, num_steps: int, **kwargs) -> int:
    """Steps both batches with random actions; returns how many episodes ended."""
    ours, theirs = make_minigrid(env_id, num_envs, backend="stock", **kwargs), stock_batch(env_id, num_envs, **kwargs)
    assert_same_observations(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    ended = 0
    rng = np.random.default_rng(0)
    for _ in range(num_steps):
        actions = rng.integers(0, ours.single_action_space.n, num_envs)
        expected = theirs.step(actions)
        assert_same_step(ours.step(actions), expected)
        ended += int((expected[2] | expected[3]).sum())
    return ended


@pytest.mark.parametrize("env_id", PLAYABLE)
def test_stock_batch_replays_stock(env_id):
    replay_stock(env_id, 2, 12)


@pytest.mark.parametrize("env_id", ["MiniGrid-Fetch-5x5-N2-v0", "MiniGrid-MemoryS7-v0", "BabyAI-OpenRedDoor-v0"])
def test_stock_batch_replays_ends_of_episodes(env_id):
    assert replay_stock(env_id, 4, 300) > 4


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [name for name in PLAYABLE if name != ENDLESS])
def test_stock_batch_replays_stock_at_length(env_id):
    replay_stock(env_id, 4, 250)
