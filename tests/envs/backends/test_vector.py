"""The MiniGrid batches as Gymnasium vector environments: spaces, seeds, options, misuse, rendering."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from minigrid.envs import DoorKeyEnv
from minigrid_replay import assert_same_observations, assert_same_step, rollout, stock_batch

from optioncoagent_envs import make_minigrid

DOORKEY, OBSTACLES = "MiniGrid-DoorKey-6x6-v0", "MiniGrid-Dynamic-Obstacles-6x6-v0"
BACKENDS = ("compiled", "stock")


@pytest.mark.parametrize("backend", BACKENDS)
def test_spaces_and_metadata_are_gymnasiums(backend):
    ours, theirs = make_minigrid(DOORKEY, 3, backend=backend), stock_batch(DOORKEY, 3)
    for name in ("observation_space", "single_observation_space", "action_space", "single_action_space", "metadata"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.observation_space.contains(ours.reset(seed=0)[0])
    assert ours.backend == backend


@pytest.mark.parametrize("backend", BACKENDS)
def test_seeds(backend):
    first = make_minigrid(DOORKEY, 4, seed=7, backend=backend)
    second = make_minigrid(DOORKEY, 4, backend=backend)
    assert_same_observations(first.reset()[0], second.reset(seed=[7, 8, 9, 10])[0])
    again = [first.reset()[0], second.reset()[0]]  # without a seed, both go on to the next level
    assert_same_observations(*again)
    assert first.level_names == [(7, 1), (8, 1), (9, 1), (10, 1)]
    unseeded = make_minigrid(DOORKEY, 4, backend=backend)
    unseeded.reset()
    assert len(set(unseeded.level_names)) == 4
    with pytest.raises(ValueError, match="seed"):
        first.reset(seed=[1, 2])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("refused", [-1, [3, -1]])
def test_a_reset_that_is_refused_is_none(backend, refused):
    """A generator that was never seeded draws zeros for ever, and a level is never found."""
    ours, theirs = (make_minigrid(DOORKEY, 2, seed=5, backend=backend) for _ in range(2))
    with pytest.raises(gym.error.Error):
        ours.reset(seed=refused)
    with pytest.raises(gym.error.ResetNeeded):
        ours.step([0, 0])
    assert_same_observations(ours.reset()[0], theirs.reset(seed=np.arange(5, 7))[0])  # NumPy's seeds, too
    assert ours.level_names == theirs.level_names


@pytest.mark.parametrize("backend", [*BACKENDS, "gymnasium"])
@pytest.mark.parametrize("refused", [-1, [9, -1], ["9", "3"], [9, 3.0], 3.0, "93", np.array(3.0), [1, 2, 3]])
def test_a_seed_that_is_refused_changes_nothing_and_is_named(backend, refused):
    ours, theirs = (make_minigrid(DOORKEY, 2, seed=5, backend=backend) for _ in range(2))
    for started in (False, True):
        names = getattr(ours, "level_names", None)
        with pytest.raises((gym.error.Error, ValueError), match="a seed is a whole number from 0 on.* not .*[-139]|3 seeds were given"):
            ours.reset(seed=refused)
        assert not started or names == getattr(ours, "level_names", None)
        assert_same_observations(ours.reset()[0], theirs.reset(seed=None if started else 5)[0])
        for mine, other in zip(rollout(ours, 5), rollout(theirs, 5), strict=True):
            assert_same_step(mine, other)


@pytest.mark.parametrize("backend", [*BACKENDS, "gymnasium"])
def test_numpys_numbers_are_seeds(backend):
    ours, theirs = make_minigrid(DOORKEY, 2, backend=backend), stock_batch(DOORKEY, 2)
    for seed, same in ((np.int64(3), 3), (np.array([4, 9]), [4, 9]), ([np.uint8(4), None], [4, None])):
        mine, other = ours.reset(seed=seed)[0], theirs.reset(seed=same)[0]
        np.testing.assert_array_equal(mine["image"][0], other["image"][0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_level_names_lead_back_to_the_level(backend):
    env = make_minigrid("MiniGrid-LavaGapS5-v0", 4, seed=3, backend=backend)
    env.reset()
    rollout(env, 200)
    assert max(count for _, count in env.level_names) > 1 and env.np_random_seed == (3, 4, 5, 6)
    for index, (seed, count) in enumerate(env.level_names):
        assert env.minigrid_env(index).grid == level("MiniGrid-LavaGapS5-v0", seed, count).grid


def level(env_id, seed, count):
    stock = gym.make(env_id).unwrapped
    stock.reset(seed=seed)
    for _ in range(count):
        stock.reset()
    return stock


@pytest.mark.parametrize("backend", BACKENDS)
def test_levels_before_which_a_step_has_drawn_have_no_name(backend):
    """Obstacles move by the stream that levels are drawn from; a reset without a step before it is one more."""
    env = make_minigrid(OBSTACLES, 3, seed=3, backend=backend)
    for _ in range(2):
        env.reset()
    assert env.level_names == [(3, 1), (4, 1), (5, 1)]
    assert all(env.minigrid_env(i).grid == level(OBSTACLES, *name).grid for i, name in enumerate(env.level_names))
    state, rng = env.get_state(), np.random.default_rng(0)
    while True:
        *_, terminated, truncated, _ = env.step(rng.integers(0, 3, 3))
        if any(ended := terminated | truncated):
            break
    assert [seed for seed, _ in env.level_names] == [-1 if end else seed for end, seed in zip(ended, (3, 4, 5), strict=True)]
    env.reset(options={"reset_mask": ~ended})
    assert [seed for seed, _ in env.level_names] == [-1] * 3 == [*env.np_random_seed]
    env.reset()
    assert [seed for seed, _ in env.level_names] == [-1] * 3
    if backend == "stock":  # as states of before were
        env.set_state([{name: part for name, part in one.items() if name != "stream"} for one in state])
    env.set_state(state)
    assert env.level_names == [(3, 1), (4, 1), (5, 1)]
    env.reset()
    assert env.level_names == [(3, 2), (4, 2), (5, 2)]
    assert all(env.minigrid_env(i).grid == level(OBSTACLES, *name).grid for i, name in enumerate(env.level_names))
    env.reset(seed=7)
    assert env.level_names == [(7, 0), (8, 0), (9, 0)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_reset_mask(backend):
    ours, theirs = make_minigrid(DOORKEY, 3, backend=backend), stock_batch(DOORKEY, 3)
    mask = np.array([False, True, False])
    with pytest.raises(gym.error.ResetNeeded):
        ours.reset(options={"reset_mask": mask})
    for env in (ours, theirs):
        env.reset(seed=0)
        rollout(env, 5)
    both = [env.reset(seed=50, options={"reset_mask": mask})[0] for env in (ours, theirs)]
    assert_same_observations(*both)
    with pytest.raises(ValueError, match="reset_mask must be a boolean array"):
        ours.reset(options={"reset_mask": np.zeros(3, bool)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_misuse(backend):
    env = make_minigrid(DOORKEY, 2, backend=backend)
    assert env.np_random_seed == (-1, -1) and env.level_names == [(-1, 0), (-1, 0)]
    for call in (lambda: env.step(np.zeros(2, int)), env.observations, env.get_state):
        with pytest.raises(gym.error.ResetNeeded):
            call()
    env.reset(seed=0)
    for actions in ([0, 7], [-1, 0], [0], [0, 0, 0], [0.5, 1]):
        with pytest.raises(ValueError, match="whole numbers are needed as actions|actions are from 0 to 6"):
            env.step(np.array(actions))
    assert [env.minigrid_env(i).step_count for i in range(2)] == [0, 0]  # what is refused moves nobody


@pytest.mark.parametrize("backend", BACKENDS)
def test_gymnasiums_wrappers_understand_it(backend):
    def episodes(env):
        env = RecordEpisodeStatistics(env)
        env.reset(seed=0)
        steps = rollout(env, 60)
        return [(s[4]["episode"]["r"].tolist(), s[4]["episode"]["l"].tolist()) for s in steps if "episode" in s[4]]

    ours = episodes(make_minigrid("MiniGrid-LavaGapS5-v0", 3, backend=backend))
    assert ours == episodes(stock_batch("MiniGrid-LavaGapS5-v0", 3)) and ours


def test_threads_change_nothing():
    one, two = (make_minigrid("MiniGrid-LavaCrossingS9N1-v0", 800, threads=threads) for threads in (1, 3))
    assert_same_observations(one.reset(seed=1)[0], two.reset(seed=1)[0])
    for mine, other in zip(rollout(one, 60), rollout(two, 60), strict=True):
        assert_same_step(mine, other)
    two.close()


def test_a_batch_that_was_closed_goes_on_as_gymnasiums_does():
    kinds = ({"threads": 1}, {"threads": 2}, {"backend": "stock"}, {"backend": "gymnasium"})
    batches = [make_minigrid("MiniGrid-Empty-5x5-v0", 512, **kind) for kind in kinds]
    for env in batches:
        env.reset(seed=0)
        rollout(env, 3)
        env.close()
    first, *others = [[rollout(env, 3), env.reset(seed=9)[0], rollout(env, 3)] for env in batches]
    for other in others:
        assert_same_observations(first[1], other[1])
        for mine, its in zip(first[0] + first[2], other[0] + other[2], strict=True):
            assert_same_step(mine, its)
    assert "_pool" not in vars(batches[1])  # no second close would end its threads


def test_gymnasium_makes_it():
    made = gym.make_vec(f"optioncoagent_envs:OptionCoagent/{DOORKEY}", 3)
    assert made.backend == "compiled" and made.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    ours, theirs = made.reset(seed=4)[0], stock_batch(DOORKEY, 3).reset(seed=4)[0]
    assert_same_observations(ours, theirs)
    full = gym.make_vec(f"OptionCoagent/{DOORKEY}", num_envs=2, view="full", backend="stock")
    assert full.backend == "stock" and full.single_observation_space["image"].shape == (6, 6, 3)
    single = gym.make(f"OptionCoagent/{DOORKEY}", render_mode="rgb_array")
    assert single.reset(seed=4)[0]["image"].tolist() == theirs["image"][0].tolist()
    assert single.unwrapped.__class__ is DoorKeyEnv and single.render().ndim == 3
    assert gym.spec(DOORKEY).vector_entry_point is None  # MiniGrid's own ids are left alone


def test_gymnasium_backend_has_the_first_seed():
    env = make_minigrid(DOORKEY, 2, seed=3, backend="gymnasium")
    assert isinstance(env, SyncVectorEnv) and env.backend == "gymnasium"
    assert_same_observations(env.reset()[0], stock_batch(DOORKEY, 2).reset(seed=3)[0])


def test_what_each_backend_has_beyond_gymnasiums_interface():
    """As `make_minigrid` says."""
    both = {"level_names", "observations", "render_one", "minigrid_env", "set_env", "get_state", "set_state"}
    has = {"compiled": both | {"backend", "places"}, "stock": both | {"backend"}, "gymnasium": {"backend"}}
    for backend, names in has.items():
        env = make_minigrid(DOORKEY, 1, seed=0, backend=backend)
        assert {name for name in has["compiled"] if hasattr(env, name)} == names
        assert all(name in make_minigrid.__doc__ for name in names)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rendering_is_minigrids(backend):
    ours, theirs = (make_minigrid(DOORKEY, 2, backend=b, render_mode="rgb_array") for b in (backend, "gymnasium"))
    with pytest.raises(gym.error.ResetNeeded):
        ours.render()
    for env in (ours, theirs):
        env.reset(seed=5)
        rollout(env, 9)
    for mine, other in zip(ours.render(), theirs.render(), strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(ours.render_one(1), ours.render()[1])


def test_levels_without_a_place_for_the_agent_are_drawn_anew():
    """MiniGrid searches for ever in some levels of this id, seven among these 2,560."""
    env = make_minigrid("BabyAI-SynthS5R2-v0", 64, seed=0)
    env.reset()
    for _ in range(40):
        env._renew(np.arange(64))
    assert (env.get_state()["count"] == 40).all()


def test_threads_are_as_many_as_asked_for_if_there_is_work_for_them():
    assert [make_minigrid("MiniGrid-Empty-5x5-v0", 800, threads=threads).threads for threads in (1, 2, 3, 9)] == [1, 2, 3, 3]


def test_gymnasium_backend_goes_on_to_the_next_levels():
    env, theirs = make_minigrid("MiniGrid-DoorKey-6x6-v0", 2, seed=3, backend="gymnasium"), stock_batch("MiniGrid-DoorKey-6x6-v0", 2)
    assert_same_observations(env.reset()[0], theirs.reset(seed=3)[0])
    for _ in range(3):
        assert_same_observations(env.reset()[0], theirs.reset()[0])
