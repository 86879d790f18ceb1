"""States of the MiniGrid batches: taken, put together, set from an environment and read back as one."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.world_object import Box, Door, Key
from minigrid_replay import assert_same_observations, assert_same_step, rollout

from optioncoagent_envs import make_minigrid
from optioncoagent_envs.minigrid.engine.rows import AGENT_COLUMNS, CARRIED, DIRECTION, OTHER, POSITION, TARGET

DOORKEY = "MiniGrid-DoorKey-6x6-v0"
BACKENDS = ("compiled", "stock")


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
    copied = env.minigrid_env(1)
    assert copied.grid == stock.unwrapped.grid and copied.carrying.contains.color == "blue"
    other = gym.make(DOORKEY)
    other.reset(seed=0)
    with pytest.raises(ValueError, match="DoorKey.* is not (of the class of|made like)"):
        env.set_env(0, other)
    empty = make_minigrid("MiniGrid-Empty-8x8-v0", 2, backend=backend, view="full")
    empty.reset(seed=0)
    smaller = gym.make("MiniGrid-Empty-5x5-v0")
    smaller.reset(seed=0)
    with pytest.raises(ValueError, match="is not (of the size of|made like)"):
        empty.set_env(0, smaller)
    assert empty.observations()["image"].shape == (2, 8, 8, 3)


MIDDLE = "where the agent is"


@pytest.mark.parametrize(
    ("task", "array", "column", "value", "message"),
    [
        ("DoorKey-8x8", "agent", POSITION, 10**7, "an agent outside of the grid in row 1"),
        ("DoorKey-8x8", "agent", POSITION, -1, "an agent outside of the grid in row 1"),
        ("DoorKey-8x8", "agent", POSITION, 5, "an agent outside of the grid in row 1"),  # in the rim
        ("DoorKey-8x8", "agent", DIRECTION, 4, "an agent that faces no direction in row 1"),
        ("DoorKey-8x8", "agent", CARRIED, 0, "an agent that carries no code in row 1"),
        ("DoorKey-8x8", "grid", MIDDLE, 300, "a cell that is no code in row 1"),
        ("DoorKey-8x8", "grid", 3, 1, "no wall around the grid in row 1"),
        ("Unlock", "agent", TARGET, 10**12, "a place outside of the grid in row 1"),
        ("RedBlueDoors-6x6", "agent", OTHER, 0, "a place outside of the grid in row 1"),
        ("MemoryS7", "agent", OTHER, -3, "a place outside of the grid in row 1"),
        ("Dynamic-Obstacles-6x6", "agent", AGENT_COLUMNS, 10**12, "a place outside of the grid in row 1"),
        ("Fetch-5x5-N2", "agent", OTHER, 0, "an object that is no code in row 1"),
        ("BabyAI-GoToObj", "agent", AGENT_COLUMNS, 10**6, "an instruction that says nothing"),
    ],
)
def test_a_compiled_state_that_no_batch_gave_is_refused(task, array, column, value, message):
    """Compiled code checks no index; and the whole batch stays as it was."""
    env = make_minigrid(f"{'' if task.startswith('BabyAI') else 'MiniGrid-'}{task}-v0", 2, seed=0)
    env.reset()
    before = env.get_state()
    column = int(before["agent"][1, POSITION]) if column is MIDDLE else column
    state = {name: part.astype(np.int64) if name == array else part.copy() for name, part in before.items()}
    state[array][1, column] = value
    with pytest.raises(ValueError, match=message):
        env.set_state(state)
    assert all(np.array_equal(part, before[name]) for name, part in env.get_state().items())


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


def test_names_and_shapes_of_a_state():
    """What a state is made of, for those who keep one."""
    env = make_minigrid("BabyAI-GoToObj-v0", 2, seed=0)
    env.reset()
    state = {name: array.dtype.name for name, array in env.get_state().items()}
    assert state == {"grid": "uint8", "agent": "int64", "marks": "uint8", "rng": "uint64", "seed": "object", "count": "int64"}


def test_an_environment_that_is_set_brings_its_generator():
    """Its next levels are those of the environment that it was set from."""
    for backend in ("compiled", "stock"):
        env, stock = make_minigrid("MiniGrid-DoorKey-6x6-v0", 2, backend=backend), gym.make("MiniGrid-DoorKey-6x6-v0")
        env.reset(seed=0)
        stock.reset(seed=99)
        env.set_env(1, stock)
        for _ in range(3):
            seen, expected = env.reset()[0], stock.reset()[0]
            np.testing.assert_array_equal(seen["image"][1], expected["image"])
            assert seen["direction"][1] == expected["direction"]
            assert env.minigrid_env(1).grid == stock.unwrapped.grid


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_level_that_was_set_has_no_name(backend):
    env = make_minigrid("MiniGrid-FourRooms-v0", 2, seed=3, backend=backend, max_steps=2)
    env.reset()
    stock = gym.make("MiniGrid-FourRooms-v0", max_steps=2)
    stock.reset(seed=99)
    env.set_env(0, stock)
    assert [seed for seed, _ in env.level_names] == [-1, 4]
    for _ in range(2):
        env.step(np.zeros(2, int))
    assert [seed for seed, _ in env.level_names] == [-1, 4] and env.level_names[1] == (4, 1)
    env.reset()
    assert [seed for seed, _ in env.level_names] == [-1, 4]
    env.reset(seed=7)
    assert env.level_names == [(7, 0), (8, 0)]


def test_an_environment_with_other_walls_is_not_made_alike():
    """Stock ones look through their own walls or not; the compiled batch looks through all or none."""
    clear = gym.make("MiniGrid-FourRooms-v0", see_through_walls=True)
    shown = clear.reset(seed=7)[0]
    for backend in BACKENDS:
        env = make_minigrid("MiniGrid-FourRooms-v0", 1, seed=0, backend=backend)
        env.reset()
        if backend == "compiled":
            with pytest.raises(ValueError, match="has see_through_walls=True, and this batch has False: make both alike"):
                env.set_env(0, clear)
            assert env.level_names == [(0, 0)]
        else:
            env.set_env(0, clear)
            np.testing.assert_array_equal(env.observations()["image"][0], shown["image"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_environment_without_a_level_and_a_state_of_another_batch_are_named(backend):
    env, larger = (make_minigrid(DOORKEY, n, seed=0, backend=backend) for n in (2, 3))
    for batch in (env, larger):
        batch.reset()
    before = env.observations()
    with pytest.raises(gym.error.ResetNeeded, match="has no level yet: reset it first"):
        env.set_env(0, gym.make(DOORKEY))
    with pytest.raises(ValueError, match="3 environments, and this batch has 2|has the shape"):
        env.set_state(larger.get_state())
    assert_same_observations(env.observations(), before)


@pytest.mark.parametrize("again", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
@pytest.mark.parametrize("env_id, backend", [(DOORKEY, "stock"), (DOORKEY, "compiled"), ("BabyAI-PutNextLocalS5N3-v0", "compiled")])
def test_a_copy_of_a_batch_goes_on_like_it(env_id, backend, again):
    env = make_minigrid(env_id, 2, seed=0, backend=backend, max_steps=20)
    for played in (0, 9):
        if played:
            env.reset()
            rollout(env, played)
        other = again(env)
        assert_same_observations(*[batch.observations() if played else batch.reset()[0] for batch in (env, other)])
        for mine, its in zip(rollout(env, 30), rollout(other, 30), strict=True):
            assert_same_step(mine, its)


def test_a_pickled_observation_is_minigrids():
    env = make_minigrid(DOORKEY, 1, seed=0, backend="stock")
    env.reset()
    seen = env.minigrid_env(0).gen_obs()
    kept = pickle.loads(pickle.dumps(seen))
    assert type(kept) is dict and kept.keys() == {"image", "direction", "mission"}
    np.testing.assert_array_equal(kept["image"], seen["image"])


def test_a_copy_of_a_batch_with_threads_has_its_own():
    env = make_minigrid("MiniGrid-Empty-5x5-v0", 512, seed=0, threads=2)
    env.reset()
    rollout(env, 2)
    other = copy.deepcopy(env)
    for mine, its in zip(rollout(env, 5), rollout(other, 5), strict=True):
        assert_same_step(mine, its)
    env.close(), other.close()


@pytest.mark.parametrize(
    "env_id, settings, others, told",
    [
        ("MiniGrid-LavaCrossingS9N1-v0", {}, {"num_crossings": 3}, "num_crossings=3, not 1"),
        ("MiniGrid-Dynamic-Obstacles-6x6-v0", {}, {"n_obstacles": 1}, "n_obstacles=1, not 3"),
        ("MiniGrid-Dynamic-Obstacles-6x6-v0", {"n_obstacles": 1}, {"n_obstacles": 2}, "n_obstacles=2, not 1"),
        ("MiniGrid-Empty-5x5-v0", {}, {"agent_start_pos": None}, r"agent_start_pos=None, not \(1, 1\)"),
        ("BabyAI-GoToLocal-v0", {}, {"num_dists": 3}, "num_dists=3, not 8"),
        ("BabyAI-GoToObj-v0", {"max_steps": 9}, {"max_steps": 8}, "max_steps=8, not 9"),
    ],
)
def test_an_environment_with_settings_of_its_own_is_not_made_alike(env_id, settings, others, told):
    """The compiled batch would draw its next levels otherwise; stock ones draw them as it does."""
    source = gym.make(env_id, **{**settings, **others})
    source.reset(seed=99)
    for backend in BACKENDS:
        env = make_minigrid(env_id, 1, seed=0, backend=backend, **settings)
        env.reset()
        before = env.observations()
        if backend == "compiled":
            with pytest.raises(ValueError, match=told):
                env.set_env(0, source)
            assert_same_observations(env.observations(), before)
        else:
            env.set_env(0, source)
            np.testing.assert_array_equal(env.reset()[0]["image"][0], source.reset()[0]["image"])


def test_an_environment_that_has_lost_an_obstacle_is_refused():
    env = make_minigrid("MiniGrid-Dynamic-Obstacles-6x6-v0", 1, seed=0)
    env.reset()
    core = env.minigrid_env(0)
    core.obstacles.pop()
    with pytest.raises(ValueError, match="has 2 obstacles, and an environment of this batch has 3"):
        env.set_env(0, core)


@pytest.mark.parametrize("env_id", ["MiniGrid-MultiRoom-N2-S4-v0", "BabyAI-GoToObj-v0", "MiniGrid-Dynamic-Obstacles-6x6-v0"])
def test_what_play_changes_is_no_setting(env_id):
    """Missions, steps and limits of steps come with an environment."""
    env, source = make_minigrid(env_id, 1, seed=0), gym.make(env_id).unwrapped
    env.reset(), source.reset(seed=99)
    source.step(0)
    source.max_steps = 77
    env.set_env(0, source)
    assert (env.minigrid_env(0).step_count, env.minigrid_env(0).max_steps) == (1, 77)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "mine, other", [("MiniGrid-Empty-6x6-v0", "MiniGrid-DoorKey-6x6-v0"), ("MiniGrid-Empty-6x6-v0", "MiniGrid-Empty-8x8-v0")]
)
def test_a_state_of_another_id_is_refused(backend, mine, other):
    env, stranger = (make_minigrid(env_id, 2, seed=0, backend=backend) for env_id in (mine, other))
    for batch in (env, stranger):
        batch.reset()
    before = env.observations()
    with pytest.raises(ValueError, match="the state is of .*, and this batch is of minigrid.envs.empty.EmptyEnv with width=6, height=6"):
        env.set_state(stranger.get_state())
    assert_same_observations(env.observations(), before)
    alike = make_minigrid(mine, 2, seed=5, backend=backend)
    alike.set_state(pickle.loads(pickle.dumps(env.get_state())))
    assert_same_observations(alike.observations(), before)


def test_a_compiled_state_of_other_settings_is_refused():
    env, other = (make_minigrid(f"MiniGrid-LavaCrossingS9N{n}-v0", 1, seed=0, backend="compiled") for n in (1, 3))
    env.reset(), other.reset()
    with pytest.raises(ValueError, match="the state is of minigrid.*CrossingEnv .* and this batch is of minigrid.*CrossingEnv"):
        env.set_state(other.get_state())
    env.set_state(dict(other.get_state()))  # as states of before were, which did not say


def test_a_stock_state_of_before_is_taken():
    env = make_minigrid(DOORKEY, 2, seed=0, backend="stock")
    env.reset()
    state, seen = env.get_state(), env.observations()
    rollout(env, 5)
    env.set_state([{name: part for name, part in one.items() if name != "of"} for one in state])
    assert_same_observations(env.observations(), seen)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"agent_dir": 5}, "an agent that faces no direction"),
        ({"agent_dir": -1}, "an agent that faces no direction"),
        ({"agent_pos": (40, 40)}, "an agent outside of the grid"),
        ({"agent_pos": (-1, -1)}, "an agent outside of the grid"),
        ({"agent_pos": (4_000_000, 4_000_000)}, "an agent outside of the grid"),
    ],
)
def test_an_environment_that_could_not_go_on_is_refused(change, told):
    env = make_minigrid(DOORKEY, 2, seed=0)
    env.reset()
    before, core = env.get_state(), env.minigrid_env(1)
    vars(core).update(change)
    with pytest.raises(ValueError, match=f"has {told}: MiniGrid could not go on with it either"):
        env.set_env(1, core)
    assert all(np.array_equal(before[name], after) for name, after in env.get_state().items())


def test_a_batch_without_all_its_levels_is_not_reset(monkeypatch):
    env = make_minigrid(DOORKEY, 2, seed=0)
    with pytest.raises(gym.error.ResetNeeded):
        env.places()
    for _ in range(2):
        with monkeypatch.context() as broken:
            broken.setattr(env, "_share", lambda *given: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                env.reset()
        with pytest.raises(gym.error.ResetNeeded):
            env.step(np.zeros(2, int))
        env.reset(seed=3)
        assert env.level_names == [(3, 0), (4, 0)] and len(env.places()) == 2


def test_missions_of_two_batches_are_told_apart_by_their_texts():
    env, other, same = (make_minigrid("MiniGrid-Fetch-5x5-N2-v0", 1, seed=0) for _ in range(3))
    for batch, mission in ((env, "be quick"), (other, "be slow"), (same, "be quick")):
        batch.reset()
        core = batch.minigrid_env(0)
        core.mission = mission
        batch.set_env(0, core)
    for state in (env.get_state(), dict(env.get_state())):
        with pytest.raises(ValueError, match="another batch"):
            other.set_state(state)
        same.set_state(state)
    assert (other.observations()["mission"], same.observations()["mission"]) == (("be slow",), ("be quick",))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_state_is_refused(backend):
    batches = [make_minigrid(DOORKEY, 6, seed=0, backend=name) for name in (backend, *BACKENDS)]
    for batch in batches:
        batch.reset()
    env, before = batches[0], batches[0].observations()
    mine, theirs = (batch.get_state() for batch in sorted(batches[1:], key=lambda batch: batch.backend != backend))
    if backend == "compiled":
        broken = [{**mine, "agent": mine["agent"] + 0.5}, {**mine, "grid": 3}, {**mine, "rng": np.full((6, 6), "x")}]
    else:
        broken = [[*mine[:5], {name: part for name, part in mine[5].items() if name != "level"}], [*mine[:5], 3]]
    for state in (theirs, None, *broken):
        with pytest.raises(ValueError, match="give what get_state returned|has the shape|not whole numbers"):
            env.set_state(state)
        assert_same_observations(env.observations(), before)


def test_where_an_object_without_a_code_lies_is_told():
    env = make_minigrid("MiniGrid-Unlock-v0", 1, seed=0)
    env.reset()
    before, door = env.get_state(), env.minigrid_env(0).door
    for change, place in (
        (lambda core: core.grid.set(*door.cur_pos, Door(door.color, is_open=True, is_locked=True)), rf"at \({door.cur_pos[0]}, "),
        (lambda core: setattr(core, "carrying", Box("red", Box("blue"))), "in hand"),
    ):
        core = env.minigrid_env(0)
        change(core)
        with pytest.raises(ValueError, match=f"has no compiled code, and there is one {place}"):
            env.set_env(0, core)
        assert all(np.array_equal(before[name], after) for name, after in env.get_state().items())


def test_a_door_that_an_environment_asks_for_and_lacks_is_named():
    env = make_minigrid("MiniGrid-Unlock-v0", 1, seed=0)
    env.reset()
    core = env.minigrid_env(0)
    core.grid.set(*core.door.cur_pos, None)
    for door in (core.door, None):
        core.door = door
        with pytest.raises(ValueError, match="has its door nowhere in the grid"):
            env.set_env(0, core)


def test_a_compiled_state_seen_through_walls_is_another_batch_s():
    clear, walls = (make_minigrid("MiniGrid-FourRooms-v0", 1, seed=0, backend="compiled", **k) for k in ({"see_through_walls": True}, {}))
    clear.reset(), walls.reset()
    with pytest.raises(ValueError, match="see_through_walls=True"):
        walls.set_state(clear.get_state())


def test_a_state_of_objects_is_not_cut_to_whole_numbers():
    env = make_minigrid(DOORKEY, 1, seed=0, backend="compiled")
    env.reset()
    state = env.get_state()
    state["agent"] = state["agent"].astype(object)
    state["agent"][0, 0] = 1.5
    with pytest.raises(ValueError, match="agent holds object, not whole numbers"):
        env.set_state(state)
