"""Replays against stock MiniGrid: same seeds and actions, every returned value compared bit for bit.

Actions are random, and now and then scripted: an environment is put before something (a goal, lava, a door, an object,
with or without the right key in hand, sometimes with its time nearly up; in BabyAI, what the instruction asks for), in
both batches alike, and acts on it. Until then, all that the batch remembers must be what stock knows. What happens is
counted, and whatever an id's levels make possible must have happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import babyai_scripts
import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from minigrid.core.constants import DIR_TO_VEC
from minigrid.core.world_object import Ball, Key
from minigrid.envs import DynamicObstaclesEnv
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid_task_scripts import TASK_EVENTS, task_event, task_script

from optioncoagent_envs import make_minigrid
from optioncoagent_envs.babyai.verifier import CLAUSE_COLUMNS, CLAUSES, IS_DONE, KNOWS

LEFT, _, FORWARD, PICKUP, DROP, TOGGLE = range(6)
FAIR_CHANCE = 20  # episodes in which something could have happened


def stock_batch(env_id: str, num_envs: int, **kwargs) -> SyncVectorEnv:
    return gym.make_vec(env_id, num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}, **kwargs)


def rollout(env, num_steps: int, seed: int = 0) -> list:
    """The steps of random actions."""
    rng = np.random.default_rng(seed)
    return [env.step(rng.integers(0, 7, env.num_envs)) for _ in range(num_steps)]


def assert_same_observations(ours, theirs) -> None:
    assert ours.keys() == theirs.keys()
    for name in ("image", "direction"):
        assert ours[name].dtype == theirs[name].dtype
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert ours["mission"] == theirs["mission"]


def assert_same_step(ours, theirs) -> None:
    assert_same_observations(ours[0], theirs[0])
    for mine, other in zip(ours[1:4], theirs[1:4], strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)
    assert_same_infos(ours[4], theirs[4])


def assert_same_infos(ours: dict, theirs: dict) -> None:
    """The same keys and values, with the observations in `final_obs` compared field by field."""
    assert list(ours) == list(theirs)
    for name, other in theirs.items():
        if isinstance(other, dict):
            assert_same_infos(ours[name], other)
        elif name == "final_obs":
            for mine, theirs_i in zip(ours[name], other, strict=True):
                assert (mine is None) == (theirs_i is None)
                if mine is not None:
                    assert_same_infos(mine, theirs_i)
        else:
            np.testing.assert_array_equal(ours[name], other, strict=isinstance(other, np.ndarray))


def assert_same_state(ours, index: int, core) -> None:
    """All that the batch remembers of an environment is what the stock environment knows."""
    mine = {name: array[index] for name, array in ours.get_state().items()}
    ours.set_env(index, core)
    theirs = {name: array[index] for name, array in ours.get_state().items()}
    for name in ("grid", "marks", "rng"):
        np.testing.assert_array_equal(mine[name], theirs[name])
    np.testing.assert_array_equal(*(what_matters(state["agent"], core) for state in (mine, theirs)))


def what_matters(agent: np.ndarray, core) -> np.ndarray:
    """Without the memory of clauses that are done, or that remember empty hands."""
    agent = agent.copy()
    for clause in range(CLAUSES, len(agent), CLAUSE_COLUMNS) if isinstance(core, RoomGridLevel) else ():
        if agent[clause + IS_DONE] or core.carrying is None:
            agent[clause + KNOWS] = 0
    return agent


def put_before_something(core, rng) -> list[int]:
    """Puts the agent of a stock environment before a random object; returns the actions to take there."""
    if type(core) in TASK_EVENTS:
        return task_script(core, rng)
    cells = [(k % core.width, k // core.width, obj) for k, obj in enumerate(core.grid.grid)]
    things = [(x, y, obj) for x, y, obj in cells if obj is not None and obj.type != "wall"]
    target = getattr(core, "obj", None)
    if rng.random() < 0.25 and core.carrying is not target:
        things = [thing for thing in things if thing[2] is target] or things
    kinds = sorted({obj.type for *_, obj in things})
    kind = kinds[rng.integers(len(kinds))]
    spots = [
        (x - dx, y - dy, direction, obj)
        for x, y, obj in things
        if obj.type == kind
        for direction, (dx, dy) in enumerate(DIR_TO_VEC)
        if 0 <= x - dx < core.width and 0 <= y - dy < core.height
        if (spot := core.grid.get(x - dx, y - dy)) is None or spot.type == "door"
    ]
    if not spots:
        return []
    x, y, direction, obj = spots[rng.integers(len(spots))]
    core.agent_pos, core.agent_dir = (int(x), int(y)), direction
    if (door := core.grid.get(x, y)) is not None:
        door.is_open, door.is_locked = True, False  # the agent stands in it
    if rng.random() < 0.3:
        core.step_count = core.max_steps - int(rng.integers(1, 4))
    if kind == "door":
        other = "red" if obj.color != "red" else "blue"
        core.carrying = [Key(obj.color), Key(obj.color), Key(other), Ball(obj.color), None][rng.integers(5)]
        return [TOGGLE, FORWARD, *rng.integers(0, 7, 3)] if rng.random() < 0.5 else [TOGGLE, TOGGLE, TOGGLE]
    if kind in ("goal", "lava") or isinstance(core, DynamicObstaclesEnv):
        return [FORWARD]
    core.carrying = None if rng.random() < 0.8 else Ball("purple")
    return [[PICKUP, LEFT, LEFT, DROP], [PICKUP, DROP, PICKUP], [TOGGLE, PICKUP]][rng.integers(3)]


def event(core, action) -> str | None:
    """What the action is about to do in a stock environment, by name."""
    if type(core) in TASK_EVENTS:
        return task_event(core, action)
    front = core.grid.get(*core.front_pos)
    if isinstance(core, DynamicObstaclesEnv):
        known = action == FORWARD and front is not None and front.type in ("goal", "ball", "wall")
        return front.type if known else None
    if front is None:
        return "drop" if action == DROP and core.carrying is not None else None
    if action == FORWARD and front.type in ("goal", "lava"):
        return front.type
    if action == PICKUP and front.can_pickup() and core.carrying is None:
        return "pickup" if front is getattr(core, "obj", None) else "other pickup"
    if action == TOGGLE and front.type == "box":
        return "box"
    if action == TOGGLE and front.type == "door":
        fits = core.carrying is not None and core.carrying.type == "key" and core.carrying.color == front.color
        return ("unlock" if fits else "stay locked") if front.is_locked else "close" if front.is_open else "open"
    return None


def possible_events(core) -> set[str]:
    """The events that a level of this class always allows for."""
    if type(core) in TASK_EVENTS:
        return {"time-out"} | TASK_EVENTS[type(core)]
    kinds = {obj.type for obj in core.grid.grid if obj is not None}
    if isinstance(core, DynamicObstaclesEnv):
        return {"time-out", "goal", "ball", "wall"}
    events = {"time-out"} | (kinds & {"goal", "lava", "box"})
    if {"key", "ball", "box"} & kinds:
        events |= {"other pickup", "drop"}
    if getattr(core, "obj", None) is not None:
        events |= {"pickup"}
    doors = [obj for obj in core.grid.grid if obj is not None and obj.type == "door"]
    if any(door.is_locked for door in doors):
        events |= {"unlock", "stay locked"}
    if any(not door.is_locked for door in doors):
        events |= {"open", "close"}
    if "box" in kinds and kinds & {"ball", "key"} == set():
        events -= {"other pickup"}
    return events


def replay_compiled(env_id: str, num_envs: int, num_steps: int, seed: int, change: Callable | None = None, **kwargs) -> Counter[str]:
    """Steps both batches side by side and counts what happens; three quarters of the environments follow scripts.

    change: what to do to a stock environment that begins an episode. Returns the counts, which have all that was possible
    in at least FAIR_CHANCE episodes.
    """
    ours, theirs = make_minigrid(env_id, num_envs, backend="compiled", **kwargs), stock_batch(env_id, num_envs, **kwargs)
    num_actions = int(ours.single_action_space.n)
    assert_same_observations(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
    cores = [env.unwrapped for env in theirs.envs]
    is_told = isinstance(cores[0], RoomGridLevel)
    possible: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    rng = np.random.default_rng(seed)
    scripts: list[list[int]] = [[] for _ in cores]
    begun = range(num_envs)
    for _ in range(num_steps):
        for i in begun:
            if change is not None:
                change(cores[i], rng)
                ours.set_env(i, cores[i])
            if is_told:
                possible.update(babyai_scripts.possible_events(cores[i]))
            elif not possible:  # all levels of an id allow for the same
                possible.update({name: FAIR_CHANCE for name in possible_events(cores[i])})
        actions = rng.integers(0, num_actions, num_envs)
        witnesses = []
        for i, core in enumerate(cores):
            if i % 4 > 0 and not scripts[i] and rng.random() < 0.8:
                assert_same_state(ours, i, core)
                scripts[i] = (babyai_scripts.put_before_clause if is_told else put_before_something)(core, rng)
                ours.set_env(i, core)
            if scripts[i]:
                actions[i] = scripts[i].pop(0)
            witnesses.append(babyai_scripts.Witness(core, actions[i]) if is_told else None)
            if not is_told:
                counts[event(core, actions[i]) or "nothing"] += 1
        expected = theirs.step(actions)
        assert_same_step(ours.step(actions), expected)
        begun = np.flatnonzero(expected[2] | expected[3]).tolist()
        for i in begun:
            scripts[i] = []
        for witness, *outcome in zip(witnesses, *expected[1:4], strict=True):
            counts.update(witness.after(*outcome) if witness else ["time-out"] if outcome[2] else [])
    missing = {name for name, chances in possible.items() if chances >= FAIR_CHANCE and counts[name] == 0}
    assert not missing, f"{missing} never happened, so that nothing is known about it: {counts}"
    return counts
