"""BabyAI's instructions in the compiled batch: any instruction, on any of MiniGrid's levels, there and back again."""

from __future__ import annotations

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
from babyai_scripts import Witness, give, put_before_clause
from minigrid.core.world_object import Ball, Box, Door, Key
from minigrid.envs.babyai.core import verifier
from minigrid.envs.babyai.core.verifier import (
    AfterInstr,
    AndInstr,
    BeforeInstr,
    GoToInstr,
    ObjDesc,
    OpenInstr,
    PickupInstr,
    PutNextInstr,
)
from minigrid.minigrid_env import MiniGridEnv
from minigrid_replay import assert_same_observations, assert_same_state, assert_same_step, replay_compiled, stock_batch

from optioncoagent_envs import make_minigrid
from optioncoagent_envs.babyai.verifier import CLAUSE_COLUMNS, CLAUSES, FIRST, NUM_CLAUSES, SEVERAL, mark_level

MINI, BOSS = "BabyAI-MiniBossLevel-v0", "BabyAI-BossLevel-v0"


def random_description(core, rng, types) -> ObjDesc:
    """A description that fits at least one object."""
    while True:
        kind, color = types[rng.integers(len(types))], [None, "red", "green", "blue", "purple", "yellow", "grey"][rng.integers(7)]
        desc = ObjDesc(kind, color, verifier.LOC_NAMES[rng.integers(4)] if rng.random() < 0.2 else None)
        if desc.find_matching_objs(core)[0]:
            return desc


def random_clause(core, rng):
    movable, any_kind = [None, "key", "ball", "box"], [None, "key", "ball", "box", "door"]
    strict = bool(rng.random() < 0.4)
    has_doors = any(obj is not None and obj.type == "door" for obj in core.grid.grid)
    make = [GoToInstr, PickupInstr, PutNextInstr, OpenInstr][rng.integers(3 + has_doors)]
    if make is GoToInstr:
        return GoToInstr(random_description(core, rng, any_kind))
    if make is OpenInstr:
        return OpenInstr(random_description(core, rng, ["door"]), strict=strict)
    if make is PickupInstr:
        return PickupInstr(random_description(core, rng, movable), strict=strict)
    return PutNextInstr(random_description(core, rng, movable), random_description(core, rng, any_kind), strict=strict)


def random_group(core, rng):
    clause = random_clause(core, rng)
    return clause if rng.random() < 0.6 else AndInstr(clause, random_clause(core, rng))


def give_random_instruction(core, rng) -> None:
    """Replaces the instruction of a level that was just reset: any of the language's, strict ones included.

    Some boxes get a key of their own colour, which fits the same descriptions but is not what the instruction means.
    """
    for obj in core.grid.grid:
        if obj is not None and obj.type == "box" and rng.random() < 0.5:
            obj.contains = Key(obj.color)
    instrs = random_group(core, rng)
    if rng.random() < 0.65:
        make = BeforeInstr if rng.random() < 0.5 else AfterInstr
        instrs = make(instrs, random_group(core, rng), strict=bool(rng.random() < 0.5))
    core.instrs = instrs
    core.mission = instrs.surface(core)
    instrs.reset_verifier(core)


ALWAYS = ["time-out", "pickup", "drop", "failed drop", "full hands", "wrong pickup", "box"]
ALWAYS += ["open a door", "close", "unlock", "stay locked"]
ALWAYS += ["go to", "open", "pick up", "put next", "first of a sequence", "one of two", "wrong order", "failed: sequence"]
ALWAYS += [f"{outcome}: {kind}" for outcome in ("failed", "forgiven") for kind in ("open", "pick up", "put next")]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("env_id", [MINI, BOSS, pytest.param("BabyAI-UnlockToUnlock-v0", marks=pytest.mark.slow)])
def test_any_instruction_is_verified_as_stock_does(env_id, seed):
    long = seed > 0
    counts = replay_compiled(env_id, 16, 1200 if long else 250, seed, change=give_random_instruction)
    missing = [name for name in ALWAYS if counts[name] == 0] if env_id == MINI else []
    assert not missing, f"{missing} never happened: {counts}"


@pytest.mark.parametrize("env_id", [MINI, BOSS, "BabyAI-PickupLoc-v0", "BabyAI-GoToImpUnlock-v0"])
def test_objects_are_found_as_stock_finds_them(env_id):
    """`mark_level` marks what MiniGrid's descriptions match, and knows where there are several."""
    env, core = make_minigrid(env_id, 1, seed=0, backend="compiled"), gym.make(env_id).unwrapped
    env.reset()
    rng = np.random.default_rng(0)
    for seed in range(40):
        core.reset(seed=seed)
        for _ in range(5):
            give_random_instruction(core, rng)
            env.set_env(0, core)
            expected = env.get_state()
            agent, marks = expected["agent"][0].copy(), np.full_like(expected["marks"][0], 255)
            for k in range(NUM_CLAUSES):
                first = CLAUSES + k * CLAUSE_COLUMNS + FIRST
                agent[first : first + 2] %= SEVERAL
            mark_level(env.get_state()["grid"][0], agent, marks, env._shape, core.room_size)
            np.testing.assert_array_equal(agent, expected["agent"][0])
            np.testing.assert_array_equal(marks, expected["marks"][0])


def scripted_steps(ours, theirs, rng, num_steps: int, scripts: list[list[int]]) -> None:
    """Steps both batches, in which environments are now and then put before something."""
    for _ in range(num_steps):
        actions = rng.integers(0, 7, ours.num_envs)
        for i, env in enumerate(theirs.envs):
            if not scripts[i] and rng.random() < 0.5:
                assert_same_state(ours, i, env.unwrapped)
                scripts[i] = put_before_clause(env.unwrapped, rng)
                ours.set_env(i, env)
            if scripts[i]:
                actions[i] = scripts[i].pop(0)
        assert_same_step(ours.step(actions), theirs.step(actions))


@pytest.mark.parametrize("env_id", [MINI, "BabyAI-MoveTwoAcrossS5N2-v0", "BabyAI-KeyInBox-v0", "BabyAI-PickupDistDebug-v0"])
def test_an_environment_read_in_mid_episode_goes_on_alike(env_id):
    """Its next steps, with new situations on the way, are those of the row it was read from."""
    ours, theirs = make_minigrid(env_id, 4, seed=2, backend="compiled"), stock_batch(env_id, 4)
    assert_same_observations(ours.reset()[0], theirs.reset(seed=2)[0])
    rng = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for _ in range(30):
        scripts: list[list[int]] = [[] for _ in range(4)]
        scripted_steps(ours, theirs, rng, 4, scripts)
        for i in range(4):
            core, stock = ours.minigrid_env(i), theirs.envs[i].unwrapped
            assert core.mission == stock.mission and core.max_steps == stock.max_steps
            batch = make_minigrid(env_id, 1, backend="compiled")
            batch.set_state({name: array[i : i + 1] for name, array in ours.get_state().items()})
            batch.set_env(0, core)
            np.testing.assert_array_equal(batch.get_state()["marks"][0], ours.get_state()["marks"][i])
            assert batch.observations()["mission"] == (stock.mission,)
            for step in range(12):
                if step % 4 == 0 and step > 0:
                    actions = put_before_clause(core, rng)
                    batch.set_env(0, core)
                action = actions.pop(0) if step > 3 and actions else scripts[i].pop(0) if scripts[i] else int(rng.integers(0, 7))
                witness = Witness(core, action)
                obs, *outcome, _ = core.step(action)
                _, *expected, infos = batch.step(np.array([action]))
                assert outcome == [values[0] for values in expected]
                seen = infos["final_obs"][0] if infos else {name: values[0] for name, values in batch.observations().items()}
                np.testing.assert_array_equal(obs["image"], seen["image"])
                assert (obs["direction"], obs["mission"]) == (seen["direction"], seen["mission"])
                counts.update(witness.after(*outcome))
                if outcome[1] or outcome[2]:
                    break
    assert {"drop", "failed drop", "pickup"} <= set(counts) and counts.total() > 200


@pytest.mark.parametrize(("env_id", "num"), [(BOSS, 300), ("BabyAI-SynthLoc-v0", 100), ("BabyAI-PickupDist-v0", 100)])
def test_missions_are_stocks(env_id, num):
    missions = make_minigrid(env_id, num, backend="compiled").reset(seed=1000)[0]["mission"]
    core = gym.make(env_id).unwrapped
    assert list(missions) == [core.reset(seed=1000 + i)[0]["mission"] for i in range(num)]


def test_states_come_back_in_mid_instruction():
    """States of the batch and stock replays agree, whatever of the instruction was done when the state was taken."""
    ours, theirs = make_minigrid(MINI, 8, seed=5, backend="compiled"), stock_batch(MINI, 8)
    ours.reset(), theirs.reset(seed=5)
    rng = np.random.default_rng(1)
    for _ in range(15):
        scripts: list[list[int]] = [[] for _ in range(8)]
        scripted_steps(ours, theirs, rng, 5, scripts)
        state, seen = ours.get_state(), ours.observations()
        actions = [rng.integers(0, 7, 8) for _ in range(10)]
        for step, script in enumerate(zip(*(script[:3] + [6] * (3 - len(script)) for script in scripts), strict=True)):
            actions[step] = np.array(script)
        once = [ours.step(action) for action in actions]
        other = make_minigrid(MINI, 8, backend="compiled")
        for env in (ours, other):
            env.set_state(state)
            assert_same_observations(env.observations(), seen)
            for action, expected in zip(actions, once, strict=True):
                assert_same_step(env.step(action), expected)
        for action, mine in zip(actions, once, strict=True):
            assert_same_step(mine, theirs.step(action))


def test_limits_differ_between_episodes():
    """The number of steps follows the instruction, so that environments of a batch run out of time one by one."""
    ours, theirs = make_minigrid(MINI, 24, seed=0, backend="compiled"), stock_batch(MINI, 24)
    ours.reset(), theirs.reset(seed=0)
    limits = [env.unwrapped.max_steps for env in theirs.envs]
    assert [ours.minigrid_env(i).max_steps for i in range(24)] == limits and len(set(limits)) > 2
    lasted = np.zeros(24, int)
    for step in range(1, max(limits) + 1):
        done = np.full(24, 6)
        expected = theirs.step(done)
        assert_same_step(ours.step(done), expected)
        lasted[(lasted == 0) & expected[3]] = step
        lasted[(lasted == 0) & expected[2]] = -1  # some are done at once: they face what they are to go to
    assert all(limit == last for limit, last in zip(limits, lasted, strict=True) if last > 0) and len(set(lasted[lasted > 0])) > 2
    fixed = make_minigrid(MINI, 2, backend="compiled", max_steps=7)
    fixed.reset(seed=0)
    assert {fixed.minigrid_env(i).max_steps for i in range(2)} == {7}


# levels put together by hand


def one_room(instrs, things) -> MiniGridEnv:
    """A room with an agent at (1, 1) that looks right, and things by their cells."""
    core = gym.make("BabyAI-OneRoomS8-v0").unwrapped
    core.reset(seed=0)
    core.grid.grid = [obj if obj is not None and obj.type == "wall" else None for obj in core.grid.grid]
    for (x, y), obj in things.items():
        core.put_obj(obj, x, y)
    core.agent_pos, core.agent_dir = (1, 1), 0
    core.instrs, core.mission = instrs, instrs.surface(core)
    instrs.reset_verifier(core)
    return core


def steps_of(core, actions) -> list[tuple[float, bool]]:
    """(reward, terminated) of each action, the same in stock, in a batch, and in the environments that the batch gives."""
    batch = make_minigrid("BabyAI-OneRoomS8-v0", 1, seed=0, backend="compiled")
    batch.reset()
    batch.set_env(0, core)
    results = []
    for action in actions:
        copy = batch.minigrid_env(0)
        assert copy.mission == core.mission
        expected = core.step(action)[1:3]
        assert copy.step(action)[1:3] == expected
        _, rewards, terminated, _, _ = batch.step(np.array([action]))
        assert (rewards[0], terminated[0]) == expected
        results.append(expected)
    return results


PICKUP, DROP, TOGGLE = 3, 4, 5


def test_the_second_of_two_puts_does_not_see_the_drop_of_the_first():
    """MiniGrid's verifier only knows what was carried after it was asked once, and nobody asks the second clause before."""
    ball, blue, green = ObjDesc("ball", "red"), ObjDesc("key", "blue"), ObjDesc("key", "green")
    two_puts = BeforeInstr(PutNextInstr(ball, blue), PutNextInstr(ObjDesc("ball", "red"), green))
    core = one_room(two_puts, {(2, 1): Ball("red"), (3, 2): Key("blue"), (3, 4): Key("green")})
    results = steps_of(core, [PICKUP, 1, 2, 2, 0, 2, DROP, PICKUP, DROP])  # dropped between both keys, twice
    assert [terminated for _, terminated in results] == [False] * 8 + [True] and results[-1][0] > 0
    assert core.instrs.a_done == "success"


def test_a_box_that_is_gone_is_still_one_of_several():
    core = one_room(PickupInstr(ObjDesc("box")), {(2, 1): Box("red"), (1, 3): Box("blue")})
    results = steps_of(core, [TOGGLE, PICKUP, 1, 2, PICKUP])
    assert core.mission == "pick up a box" and results[-1][1] and not results[-2][1]


def test_a_box_of_which_the_key_is_not_meant():
    core = one_room(PickupInstr(ObjDesc(None, "red")), {(2, 1): Box("red", Key("red")), (5, 5): Ball("red")})
    assert steps_of(core, [TOGGLE, PICKUP])[-1] == (0, False) and core.carrying.type == "key"


def test_a_thing_is_believed_where_it_was_until_a_drop():
    things = {(2, 1): Ball("red"), (1, 2): Key("red")}
    instrs = BeforeInstr(PickupInstr(ObjDesc("ball")), GoToInstr(ObjDesc("ball")))
    assert steps_of(one_room(instrs, things), [PICKUP])[-1][1]  # at the old place at once
    instrs = AfterInstr(GoToInstr(ObjDesc("ball")), AndInstr(PickupInstr(ObjDesc("ball")), GoToInstr(ObjDesc("key"))))
    assert [end for _, end in steps_of(one_room(instrs, things), [PICKUP, 1, 0])] == [False, False, True]
    instrs = AfterInstr(GoToInstr(ObjDesc("ball")), AndInstr(PickupInstr(ObjDesc("ball")), GoToInstr(ObjDesc("key"))))
    failing_drop = [PICKUP, 0, DROP, 1, 1, 0, 3]  # into the wall
    core = one_room(instrs, things)
    assert not any(end for _, end in steps_of(core, failing_drop)) and core.instrs.b_done == "success"


def test_things_dropped_into_a_full_cell_stay_in_hand():
    core = one_room(PutNextInstr(ObjDesc("ball"), ObjDesc("key")), {(2, 1): Ball("red"), (1, 2): Key("red")})
    results = steps_of(core, [PICKUP, 1, DROP, 0, DROP])
    assert [end for _, end in results] == [False] * 5
    assert steps_of(core, [PICKUP, 1, PICKUP, DROP])[-1] == (0, False)


def test_grey_objects_are_walls_too():
    core = one_room(GoToInstr(ObjDesc(None, "grey")), {(5, 5): Ball("grey")})
    assert core.mission == "go to a grey object" and steps_of(core, [0])[-1][1]


def test_a_fresh_batch_gives_environments_that_can_drop():
    env = make_minigrid(MINI, 1, seed=0, backend="compiled")
    env.reset()
    fresh = make_minigrid(MINI, 1, backend="compiled")
    fresh.set_state(env.get_state())
    core = fresh.minigrid_env(0)
    give(core, Ball("purple"), np.random.default_rng(0))
    for action in (DROP, PICKUP, TOGGLE, DROP):
        core.step(action)


@pytest.mark.parametrize("opened", [False, True])
def test_doors_fit_a_description_in_any_state(opened):
    core = one_room(GoToInstr(ObjDesc("door", "red")), {(2, 1): Door("red", is_open=opened), (5, 5): Door("red", is_locked=True)})
    assert core.mission == "go to a red door" and steps_of(core, [6])[-1][1]


# what is left to MiniGrid


@pytest.mark.parametrize("env_id", ["BabyAI-PutNextS5N2Carrying-v0", "BabyAI-PutNextS6N3Carrying-v0", "BabyAI-PutNextS7N4Carrying-v0"])
def test_levels_that_begin_with_something_in_hand_are_stocks(env_id):
    assert make_minigrid(env_id, 2).backend == "stock"
    assert make_minigrid("BabyAI-PutNextS5N2-v0", 2, start_carrying=True).backend == "stock"
    with pytest.raises(ValueError, match="stock"):
        make_minigrid(env_id, 2, backend="compiled")


def test_done_actions_are_stocks(monkeypatch):
    assert make_minigrid(MINI, 2).backend == "compiled"
    monkeypatch.setattr(verifier, "use_done_actions", "1")  # set by BABYAI_DONE_ACTIONS when minigrid is imported
    assert make_minigrid(MINI, 2).backend == "stock"


def test_a_drop_that_fulfils_the_first_of_a_sequence_is_not_the_second_too():
    """What is verified for the first time does not know what was carried before the action (preCarrying is None)."""
    core = gym.make("BabyAI-GoToLocal-v0").unwrapped
    core.reset(seed=0)
    for x, y in np.ndindex(6, 6):
        core.grid.set(x + 1, y + 1, None)
    for x, y, obj in ((4, 3, Ball("red")), (3, 1, Key("blue"))):
        core.grid.set(x, y, obj)
        obj.init_pos = obj.cur_pos = (x, y)
    core.agent_pos, core.agent_dir = (3, 3), 0
    core.instrs = BeforeInstr(*(PutNextInstr(ObjDesc("ball", "red"), ObjDesc("key", "blue")) for _ in range(2)))
    core.mission = core.instrs.surface(core)
    core.instrs.reset_verifier(core)
    env = make_minigrid("BabyAI-GoToLocal-v0", 1, seed=0, backend="compiled")
    env.reset()
    env.set_env(0, core)
    ends = []
    for action in (3, 0, 4, 3, 4):  # pick up, turn, drop: the first is done; pick up and drop once more
        _, reward, terminated, *_ = core.step(action)
        _, rewards, ours, *_ = env.step(np.array([action]))
        ends.append(bool(terminated))
        assert (rewards[0], ours[0]) == (reward, terminated)
    assert ends == [False] * 4 + [True]
