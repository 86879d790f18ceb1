"""The MiniGrid batches as Gymnasium vector environments: seeds, options, states, rendering, choice of the backend."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Box, Floor, Goal, Key, WorldObj
from minigrid.envs import DoorKeyEnv, EmptyEnv
from minigrid.minigrid_env import MiniGridEnv
from minigrid.wrappers import FullyObsWrapper, ViewSizeWrapper
from test_minigrid_parity import assert_same_observations, assert_same_step, stock_batch

from optioncoagent_envs import make_minigrid
from optioncoagent_envs.backends.vector import backends, compiled_ids, minigrid_ids
from optioncoagent_envs.minigrid.engine.codes import EMPTY, NUM_CODES, WORDS, code_of, is_named, object_of, word_of
from optioncoagent_envs.minigrid.engine.random import below, generator_of, shuffle, stream_of

DOORKEY = "MiniGrid-DoorKey-6x6-v0"
BACKENDS = ("compiled", "stock")


def rollout(env, num_steps: int, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [env.step(rng.integers(0, 7, env.num_envs)) for _ in range(num_steps)]


def test_covered_ids():
    assert len(compiled_ids()) == 169 and set(compiled_ids()) < set(minigrid_ids())


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
    with pytest.raises(ValueError):
        first.reset(seed=[1, 2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_level_names_lead_back_to_the_level(backend):
    env = make_minigrid("MiniGrid-LavaGapS5-v0", 4, seed=3, backend=backend)
    env.reset()
    rollout(env, 200)
    assert max(count for _, count in env.level_names) > 1
    for index, (seed, count) in enumerate(env.level_names):
        stock = gym.make("MiniGrid-LavaGapS5-v0").unwrapped
        stock.reset(seed=seed)
        for _ in range(count):
            stock.reset()
        assert env.minigrid_env(index).grid == stock.grid


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
    with pytest.raises(ValueError):
        ours.reset(options={"reset_mask": np.zeros(3, bool)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_misuse(backend):
    env = make_minigrid(DOORKEY, 2, backend=backend)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(2, int))
    env.reset(seed=0)
    for actions in ([0, 7], [-1, 0], [0], [0, 0, 0], [0.5, 1]):
        with pytest.raises(ValueError):
            env.step(np.array(actions))


def test_arguments():
    for wrong in ({"backend": "fast"}, {"view": "whole"}, {"view_size": 4}, {"threads": 0}):
        with pytest.raises(ValueError):
            make_minigrid(DOORKEY, 2, **wrong)
    with pytest.raises(ValueError, match="stock"):
        make_minigrid("BabyAI-PutNextS5N2Carrying-v0", 2, backend="compiled")
    with pytest.raises(ValueError, match="no MiniGrid"):
        make_minigrid("CartPole-v1", 2)
    with pytest.raises(gym.error.NameNotFound):
        make_minigrid("MiniGrid-Nowhere-v0", 2)


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_gymnasiums_wrappers_understand_it(backend):
    def episodes(env):
        env = RecordEpisodeStatistics(env)
        env.reset(seed=0)
        steps = rollout(env, 60)
        return [(s[4]["episode"]["r"].tolist(), s[4]["episode"]["l"].tolist()) for s in steps if "episode" in s[4]]

    ours = episodes(make_minigrid("MiniGrid-LavaGapS5-v0", 3, backend=backend))
    assert ours == episodes(stock_batch("MiniGrid-LavaGapS5-v0", 3)) and ours


def test_settings_of_ones_own():
    settings = {"size": 9, "max_steps": 20, "agent_view_size": 5}
    ours, theirs = make_minigrid("MiniGrid-DoorKey-5x5-v0", 4, **settings), None
    assert ours.backend == "compiled"
    theirs = stock_batch("MiniGrid-DoorKey-5x5-v0", 4, **settings)
    assert_same_observations(ours.reset(seed=1)[0], theirs.reset(seed=1)[0])
    for mine, other in zip(rollout(ours, 50), rollout(theirs, 50), strict=True):
        assert_same_step(mine, other)


def test_threads_change_nothing():
    one, two = (make_minigrid("MiniGrid-LavaCrossingS9N1-v0", 800, threads=threads) for threads in (1, 3))
    assert_same_observations(one.reset(seed=1)[0], two.reset(seed=1)[0])
    for mine, other in zip(rollout(one, 60), rollout(two, 60), strict=True):
        assert_same_step(mine, other)
    two.close()


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


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("env_id", [DOORKEY, "MiniGrid-ObstructedMaze-1Dlhb-v0"])
def test_states_come_back(env_id, backend):
    env = make_minigrid(env_id, 3, seed=0, backend=backend, max_steps=25)
    env.reset()
    rollout(env, 10)
    state, seen, names = env.get_state(), env.observations(), env.level_names
    after = rollout(env, 60, seed=1)
    for _ in range(2):
        env.set_state(state)
        assert_same_observations(env.observations(), seen)
        assert env.level_names == names
        for mine, other in zip(rollout(env, 60, seed=1), after, strict=True):
            assert_same_step(mine, other)


def test_states_of_instructions_come_back():
    env = make_minigrid("BabyAI-PutNextLocalS5N3-v0", 2, seed=0, max_steps=20)
    env.reset()
    rollout(env, 5)
    state = env.get_state()
    after = rollout(env, 40, seed=1)
    env.set_state(state)
    for mine, other in zip(rollout(env, 40, seed=1), after, strict=True):
        assert_same_step(mine, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_environment_can_be_set(backend):
    env = make_minigrid("MiniGrid-BlockedUnlockPickup-v0", 3, backend=backend)
    env.reset(seed=0)
    stock = gym.make("MiniGrid-BlockedUnlockPickup-v0")
    stock.reset(seed=99)
    stock.unwrapped.carrying, stock.unwrapped.mission = Box("red", Key("blue")), "wait"
    env.set_env(1, stock)
    expected = stock.unwrapped.gen_obs()
    seen = env.observations()
    np.testing.assert_array_equal(seen["image"][1], expected["image"])
    assert seen["mission"][1] == "wait" and seen["direction"][1] == expected["direction"]
    copy = env.minigrid_env(1)
    assert copy.grid == stock.unwrapped.grid and copy.carrying.contains.color == "blue"
    with pytest.raises(ValueError):
        env.set_env(0, gym.make(DOORKEY))


def test_compiled_states_can_be_put_together():
    env = make_minigrid(DOORKEY, 7, seed=0)
    env.reset()
    one = {name: array[[0] * 7] for name, array in env.get_state().items()}
    env.set_state(one)
    env.step(np.arange(7))  # every action from the same state
    after = env.get_state()["agent"]
    assert len(np.unique(after[:3], axis=0)) == 3
    with pytest.raises(ValueError, match="shape"):
        env.set_state({name: array[:2] for name, array in one.items()})


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


class Chameleon(WorldObj):
    """An object of a user's own, that changes its looks every time somebody looks."""

    looks = 0

    def __init__(self):
        super().__init__("ball", "blue")

    def encode(self):
        self.looks += 1
        return (6, self.looks % 6, self.looks % 3)

    def see_behind(self):
        return False


class Recoloured(MiniGridEnv):
    """Changes floors in place, looks at its own observation, and acts on the grid after the step was taken."""

    def __init__(self, thing=None, **kwargs):
        self.thing = thing
        super().__init__(MissionSpace(lambda: "go"), grid_size=7, max_steps=15, **kwargs)

    def _gen_grid(self, width, height):
        width, height = self._rand_int(5, width + 1), self._rand_int(5, height + 1)  # not always as large
        self.see_through_walls = width < 6
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        self.put_obj(Goal(), width - 2, height - 2)
        self.floor = Floor("blue")
        self.place_obj(self.floor)
        if self.thing is not None:
            self.place_obj(self.thing())
        self.place_agent()
        self.mission = "go"

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        self.floor.color = "red" if self.step_count % 2 else "green"
        if self.step_count % 3 == 0:
            self.grid.set(2, 2, Key("yellow"))
        if self.step_count % 5 == 0:
            obs["image"][0, 0] = 9
        if self.step_count % 7 == 0:
            obs = {**obs, "mission": "go" if obs["image"].sum() % 2 else "stay"}
        return obs, reward + 0.5, terminated, truncated, {"steps": self.step_count}


class Painted(EmptyEnv):
    def gen_obs(self):
        obs = super().gen_obs()
        obs["image"][:, 0] = 7
        return obs


class Inverted(Grid):
    def encode(self, vis_mask=None):
        return 255 - super().encode(vis_mask)


class OwnGrid(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.grid.__class__ = Inverted


@pytest.fixture
def register():
    names = []

    def add(name, **kwargs):
        gym.register(name, **kwargs)
        names.append(name)
        return name

    yield add
    for name in names:
        gym.registry.pop(name)


@pytest.mark.parametrize(
    ("entry", "backend"),
    [
        (Recoloured, "stock"),
        (partial(Recoloured, thing=partial(Box, "red", Key("red"))), "stock"),
        (Painted, "gymnasium"),
        (OwnGrid, "stock"),
    ],
)
@pytest.mark.parametrize("limit", [None, 11])
def test_a_users_own_environment(register, entry, backend, limit):
    name = register("Mine-v0", entry_point=entry, max_episode_steps=limit)
    ours, theirs = make_minigrid(name, 3), stock_batch(name, 3)
    assert ours.backend == backend
    assert_same_observations(ours.reset(seed=0)[0], theirs.reset(seed=0)[0])
    for mine, other in zip(rollout(ours, 150), rollout(theirs, 150), strict=True):
        assert_same_step(mine, other)


def test_an_object_of_ones_own_is_asked_each_time(register):
    name = register("Mine-v0", entry_point=partial(Recoloured, thing=Chameleon))
    env = make_minigrid(name, 1, seed=0, view="full")
    env.reset()
    shown = {tuple(env.step(np.array([0]))[0]["image"].reshape(-1, 3)[:, 1].tolist()) for _ in range(6)}
    assert len(shown) > 2


def test_a_time_limit_is_kept(register):
    name = register("Mine-v0", entry_point=EmptyEnv, max_episode_steps=5)
    env = make_minigrid(name, 2, seed=0)
    env.reset()
    assert env.backend == "stock"
    assert [bool(step[3].all()) for step in rollout(env, 5)] == [False] * 4 + [True]


def test_another_generator_is_noticed(monkeypatch):
    """A minigrid whose levels differ from the compiled generator's is served by its own."""
    assert make_minigrid(DOORKEY, 2).backend == "compiled"
    drawn = DoorKeyEnv._gen_grid

    def moved(self, width, height):
        drawn(self, width, height)
        self.agent_dir = (self.agent_dir + 1) % 4

    monkeypatch.setattr(DoorKeyEnv, "_gen_grid", moved)
    assert make_minigrid(DOORKEY, 2).backend == "stock"


def test_human_rendering_is_left_to_minigrid():
    env = gym.make("MiniGrid-Empty-5x5-v0", render_mode="human", disable_env_checker=True)
    assert backends(env)[0] == "stock"


def test_gymnasium_backend_has_the_first_seed():
    env = make_minigrid(DOORKEY, 2, seed=3, backend="gymnasium")
    assert isinstance(env, SyncVectorEnv) and env.backend == "gymnasium"
    assert_same_observations(env.reset()[0], stock_batch(DOORKEY, 2).reset(seed=3)[0])


@pytest.mark.parametrize("code", range(EMPTY, NUM_CODES))
def test_codes_stand_for_objects(code):
    obj = object_of(code)
    assert code_of(obj, is_named(code)) == code
    assert word_of(obj) == WORDS[code]
    if obj is not None:
        assert list(obj.encode()) == [WORDS[code] >> shift & 255 for shift in (0, 8, 16)]


def test_what_has_no_code():
    for thing in (Box("red", Box("red")), Chameleon()):
        with pytest.raises(ValueError):
            code_of(thing)
    for code in (0, NUM_CODES, 255):
        with pytest.raises(ValueError):
            object_of(code)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**64), st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 2**31 + 5)), max_size=30))
def test_draws_are_numpys(seed, ranges):
    generator = np.random.Generator(np.random.PCG64(seed))
    stream = stream_of(generator)
    for low, count in ranges:
        assert below(stream, low, low + count) == generator.integers(low, low + count)
        numbers = list(range(count % 20))
        shuffled = np.array(numbers)
        generator.shuffle(numbers)
        shuffle(stream, shuffled)
        assert shuffled.tolist() == numbers
    assert generator_of(stream).bit_generator.state == generator.bit_generator.state


def test_other_generators_are_refused():
    with pytest.raises(ValueError, match="MT19937"):
        stream_of(np.random.Generator(np.random.MT19937(0)))


def test_levels_without_a_place_for_the_agent_are_drawn_anew():
    """MiniGrid searches for ever in some levels of this id, seven among these 2,560."""
    env = make_minigrid("BabyAI-SynthS5R2-v0", 64, seed=0)
    env.reset()
    for _ in range(40):
        env._renew(np.arange(64))
    assert (env.get_state()["count"] == 40).all()


@pytest.mark.parametrize(
    "env_id, settings",
    [
        ("BabyAI-OpenDoor-v0", {"num_rows": 1, "num_cols": 1}),
        ("BabyAI-KeyCorridor-v0", {"num_cols": 2}),
        ("BabyAI-FindObjS5-v0", {"num_rows": 2, "num_cols": 3}),
        ("BabyAI-ActionObjDoor-v0", {"num_cols": 1, "num_rows": 2}),
    ],
)
def test_settings_of_which_minigrid_makes_no_levels_are_left_to_minigrid(env_id, settings):
    env = make_minigrid(env_id, 12, seed=0, **settings)
    assert env.backend == "stock"
    with pytest.raises(AssertionError):
        env.reset()


def test_a_setting_that_nobody_knows_is_left_to_minigrid():
    env = make_minigrid("BabyAI-OpenDoor-v0", 1, seed=0, select_by="size")
    assert env.backend == "stock"
    with pytest.raises(NotImplementedError):
        env.reset()


def test_views_too_large_for_the_kernels_are_gymnasiums():
    env, theirs = (
        make_minigrid("MiniGrid-DoorKey-5x5-v0", 1, agent_view_size=65),
        stock_batch("MiniGrid-DoorKey-5x5-v0", 1, agent_view_size=65),
    )
    assert env.backend == "gymnasium"
    assert_same_observations(env.reset(seed=1)[0], theirs.reset(seed=1)[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("env_id", ["MiniGrid-Empty-5x5-v0", "MiniGrid-DistShift1-v0", "MiniGrid-Dynamic-Obstacles-5x5-v0"])
def test_a_start_anywhere(env_id, backend):
    anywhere = {"agent_start_pos": None, "agent_start_dir": None}
    env, theirs = make_minigrid(env_id, 4, backend=backend, **anywhere), stock_batch(env_id, 4, **anywhere)
    assert_same_observations(env.reset(seed=3)[0], theirs.reset(seed=3)[0])


@pytest.mark.parametrize("env_id", ["MiniGrid-UnlockPickup-v0", "MiniGrid-BlockedUnlockPickup-v0"])
def test_an_environment_read_back_goes_on_without_the_box_it_was_to_pick_up(env_id):
    env = make_minigrid(env_id, 1, seed=0)
    env.reset()
    core = env.minigrid_env(0)
    x, y = core.obj.cur_pos
    core.agent_pos, core.agent_dir, core.carrying = (x - 1, y), 0, Key("red")
    core.grid.set(x - 1, y, None)
    env.set_env(0, core)
    for action in (5, 3, 2, 3):  # toggles the box away, picks up with something in hand
        mine = env.minigrid_env(0).step(action)
        ours = env.step(np.array([action]))
        np.testing.assert_array_equal(ours[0]["image"][0], mine[0]["image"])
        assert (ours[1][0], ours[2][0], ours[3][0]) == mine[1:4]


def test_what_is_refused_changes_nothing():
    env = make_minigrid("MiniGrid-Unlock-v0", 1, seed=0)
    env.reset()
    before, core = env.get_state(), env.minigrid_env(0)
    core.step_count, core.carrying = 5, Box("red", contains=Box("blue"))
    with pytest.raises(ValueError, match="no compiled code"):
        env.set_env(0, core)
    assert all(np.array_equal(before[name], after) for name, after in env.get_state().items())


def test_a_mission_of_another_batch_is_refused():
    env, other = make_minigrid("MiniGrid-Fetch-5x5-N2-v0", 1, seed=0), make_minigrid("MiniGrid-Fetch-5x5-N2-v0", 1, seed=0)
    env.reset(), other.reset()
    core = env.minigrid_env(0)
    core.mission = "be quick and fetch it"
    env.set_env(0, core)
    assert env.observations()["mission"] == ("be quick and fetch it",)
    before = other.get_state()
    with pytest.raises(ValueError, match="another batch"):
        other.set_state(env.get_state())
    assert all(np.array_equal(before[name], after) for name, after in other.get_state().items())
