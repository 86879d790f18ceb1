"""Plans found by breadth-first search over compiled states succeed in stock MiniGrid, step for step."""

from __future__ import annotations

import numpy as np
import pytest
from minigrid_replay import assert_same_observations, assert_same_step, stock_batch

from optioncoagent_envs import make_minigrid
from optioncoagent_envs.minigrid.engine.levels import STEPS

NUM_ACTIONS = 7
WIDTH = 512  # states expanded together


def shortest_plan(env_id: str, seed: int) -> list[int]:
    """The fewest actions from the level of `seed` to its reward: all actions from all states reached so far."""
    env = make_minigrid(env_id, WIDTH * NUM_ACTIONS, backend="compiled")
    env.reset(seed=seed)
    start = {name: array[:1] for name, array in env.get_state().items()}
    seen = {state_key(start, 0)}
    frontier: list[tuple[dict, list[int]]] = [(start, [])]
    while frontier:
        found: list[tuple[dict, list[int]]] = []
        for first in range(0, len(frontier), WIDTH):
            chunk = frontier[first : first + WIDTH]
            rows = np.minimum(np.repeat(np.arange(WIDTH), NUM_ACTIONS), len(chunk) - 1)
            merged = {name: np.concatenate([state[name] for state, _ in chunk])[rows] for name in start}
            env.set_state(merged)
            actions = np.tile(np.arange(NUM_ACTIONS), WIDTH)
            _, rewards, terminated, truncated, _ = env.step(actions)
            after = env.get_state()
            for k in range(len(chunk) * NUM_ACTIONS):
                plan = chunk[k // NUM_ACTIONS][1]
                if rewards[k] > 0:
                    return [*plan, int(actions[k])]
                if not (terminated[k] or truncated[k]) and (key := state_key(after, k)) not in seen:
                    seen.add(key)
                    found.append(({name: array[k : k + 1] for name, array in after.items()}, [*plan, int(actions[k])]))
        frontier = found
    raise AssertionError(f"{env_id} has no plan")


def state_key(state: dict, row: int) -> bytes:
    return state["grid"][row].tobytes() + state["agent"][row, :STEPS].tobytes()


@pytest.mark.parametrize(
    "env_id",
    [
        "MiniGrid-Empty-5x5-v0",
        "MiniGrid-DistShift1-v0",
        "MiniGrid-LavaGapS7-v0",
        "MiniGrid-LavaCrossingS9N2-v0",
        "MiniGrid-SimpleCrossingS11N5-v0",
        "MiniGrid-FourRooms-v0",
        "MiniGrid-DoorKey-8x8-v0",
        "MiniGrid-MultiRoom-N6-v0",
        "MiniGrid-Unlock-v0",
        "MiniGrid-UnlockPickup-v0",
        "MiniGrid-BlockedUnlockPickup-v0",
        "MiniGrid-KeyCorridorS3R3-v0",
        "MiniGrid-ObstructedMaze-1Dlhb-v0",
        "MiniGrid-ObstructedMaze-2Dl-v0",
        "MiniGrid-Fetch-8x8-N3-v0",
        "MiniGrid-GoToObject-8x8-N2-v0",
        "MiniGrid-GoToDoor-8x8-v0",
        "MiniGrid-PutNear-8x8-N3-v0",
        "MiniGrid-RedBlueDoors-8x8-v0",
        "MiniGrid-MemoryS13Random-v0",
        pytest.param("MiniGrid-LockedRoom-v0", marks=pytest.mark.slow),
        pytest.param("MiniGrid-KeyCorridorS6R3-v0", marks=pytest.mark.slow),
        pytest.param("MiniGrid-ObstructedMaze-2Dlhb-v1", marks=pytest.mark.slow),
    ],
)
def test_plans_succeed_in_stock_minigrid(env_id, seed=1):
    plan = shortest_plan(env_id, seed)
    ours, theirs = make_minigrid(env_id, 1), stock_batch(env_id, 1)
    assert_same_observations(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
    for action in plan:
        expected = theirs.step(np.array([action]))
        assert_same_step(ours.step(np.array([action])), expected)
    assert expected[2][0] and expected[1][0] == 1 - 0.9 * (len(plan) / theirs.envs[0].unwrapped.max_steps)
