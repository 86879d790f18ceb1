"""Views of other sizes, and of the whole grid, are those of MiniGrid's wrappers."""

from __future__ import annotations

from functools import partial

import pytest
from minigrid.wrappers import FullyObsWrapper, ViewSizeWrapper
from minigrid_replay import assert_same_observations, assert_same_step, rollout, stock_batch

from optioncoagent_envs import make_minigrid

BACKENDS = ("compiled", "stock")


@pytest.mark.parametrize("backend", (*BACKENDS, "gymnasium"))
@pytest.mark.parametrize("options", [{"view": "full"}, {"view_size": 3}, {"view_size": 11}])
@pytest.mark.parametrize("env_id", ["MiniGrid-KeyCorridorS3R2-v0", "MiniGrid-DistShift1-v0"])
def test_views_are_the_wrappers(env_id, options, backend):
    size = options.get("view_size")
    wrapper = FullyObsWrapper if size is None else partial(ViewSizeWrapper, agent_view_size=size)
    ours, theirs = make_minigrid(env_id, 4, backend=backend, **options), stock_batch(env_id, 4, wrappers=[wrapper])
    assert ours.observation_space == theirs.observation_space
    assert_same_observations(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])
    for mine, other in zip(rollout(ours, 60), rollout(theirs, 60), strict=True):
        assert_same_step(mine, other)


def test_views_too_large_for_the_kernels_are_gymnasiums():
    env, theirs = (
        make_minigrid("MiniGrid-DoorKey-5x5-v0", 1, agent_view_size=65),
        stock_batch("MiniGrid-DoorKey-5x5-v0", 1, agent_view_size=65),
    )
    assert env.backend == "gymnasium"
    assert_same_observations(env.reset(seed=1)[0], theirs.reset(seed=1)[0])
