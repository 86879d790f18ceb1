"""The claim: MiniGrid steps as fast as a learner can take them, with levels, rules and observations unchanged.

Prints four tables, each ratio from this one run:

1. random actions, resets included, compiled ids, by batch and threads;
2. episodes of ten steps, as a policy makes them that solves its level in ten: every tenth step of an environment
   draws a new level (`max_steps=10`, the environments out of step with each other). Levels come from the compiled
   generators, each environment's from its own seeded stream, as in stock MiniGrid; there is no pool;
3. MiniGrid's own levels and rules (`backend="stock"`; the three Carrying ids have no other): stepping alone (calls in
   which no episode ended, agents turning and walking), then random actions with resets, and the share of that time that
   MiniGrid's own code takes: it bounds the ratio;
4. the slowest of all compiled ids, random actions, resets included, batch 1,024, one thread.

"stock" is gymnasium.make_vec's SyncVectorEnv of 16 environments; "copy" is a plain copy of one batch of observations.
What runs on one thread (x1, stock, copy) is timed by the processor time it takes, so that other programs on the machine
do not count; two threads (x2) by the clock on the wall, at the median call.

    python benchmarks/minigrid_speed.py [--seconds 0.3] [--table 1 2 3 4]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
import warnings
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from tqdm import tqdm

from optioncoagent_envs import compiled_ids, make_minigrid

COMPILED = [
    "MiniGrid-Empty-8x8-v0",
    "MiniGrid-FourRooms-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "MiniGrid-SimpleCrossingS9N2-v0",
    "MiniGrid-DistShift1-v0",
    "MiniGrid-LavaGapS7-v0",
    "MiniGrid-MultiRoom-N2-S4-v0",
    "MiniGrid-MultiRoom-N6-v0",
    "MiniGrid-LockedRoom-v0",
    "MiniGrid-Unlock-v0",
    "MiniGrid-UnlockPickup-v0",
    "MiniGrid-BlockedUnlockPickup-v0",
    "MiniGrid-KeyCorridorS3R3-v0",
    "MiniGrid-KeyCorridorS6R3-v0",
    "MiniGrid-ObstructedMaze-1Dlhb-v0",
    "MiniGrid-ObstructedMaze-Full-v1",
    "MiniGrid-Dynamic-Obstacles-8x8-v0",
    "MiniGrid-Playground-v0",
    "MiniGrid-Fetch-8x8-N3-v0",
    "MiniGrid-GoToDoor-8x8-v0",
    "MiniGrid-GoToObject-8x8-N2-v0",
    "MiniGrid-PutNear-8x8-N3-v0",
    "MiniGrid-RedBlueDoors-8x8-v0",
    "MiniGrid-MemoryS13-v0",
    "BabyAI-GoToLocal-v0",
    "BabyAI-GoTo-v0",
    "BabyAI-OpenDoorsOrderN4-v0",
    "BabyAI-UnblockPickup-v0",
    "BabyAI-PutNextLocal-v0",
    "BabyAI-Unlock-v0",
    "BabyAI-OneRoomS20-v0",
    "BabyAI-SynthSeq-v0",
    "BabyAI-BossLevel-v0",
]
STOCK = [
    "BabyAI-PutNextS5N2Carrying-v0",
    "BabyAI-PutNextS6N3Carrying-v0",
    "BabyAI-PutNextS7N4Carrying-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-MultiRoom-N6-v0",
    "MiniGrid-Fetch-8x8-N3-v0",
    "MiniGrid-MemoryS13-v0",
    "BabyAI-GoToLocal-v0",
    "BabyAI-GoTo-v0",
    "BabyAI-BossLevel-v0",
]
BATCHES = (16, 256, 1024, 4096)  # two threads are used from 512 environments on


def quietly(function):
    """BabyAI prints the levels that it rejects; whatever the function prints is dropped."""

    def wrapper(*args, **kwargs):
        with contextlib.redirect_stdout(io.StringIO()):
            return function(*args, **kwargs)

    return wrapper


@quietly
def stock_batch(env_id: str, num_envs: int = 16, **kwargs) -> VectorEnv:
    options = {"autoreset_mode": AutoresetMode.SAME_STEP}
    env = gym.make_vec(env_id, num_envs, vectorization_mode="sync", vector_kwargs=options, **kwargs)
    env.reset(seed=0)
    return env


def calls(env: VectorEnv, seconds: float, num_actions: int) -> Iterator[tuple[float, bool]]:
    """Steps for a while with random actions; yields what each call took and whether an episode ended in it.

    The time is the processor's, or the clock's if the environment has threads.
    """
    clock = time.perf_counter if is_threaded(env) else time.process_time
    rng = np.random.default_rng(0)
    actions = rng.integers(0, num_actions, (64, env.num_envs))
    for k in range(3):
        env.step(actions[k])
    until = clock() + seconds
    k = 0
    while (start := clock()) < until:
        infos = env.step(actions[k % 64])[4]
        yield clock() - start, "final_obs" in infos
        k += 1


def is_threaded(env: VectorEnv) -> bool:
    return getattr(env, "threads", 1) > 1


@quietly
def steps_per_second(env: VectorEnv, seconds: float, num_actions: int | None = None) -> float:
    taken = [took for took, _ in calls(env, seconds, num_actions or env.single_action_space.n)]
    return env.num_envs / float(np.median(taken) if is_threaded(env) else np.mean(taken))


@quietly
def stepping_alone(env: VectorEnv, seconds: float) -> float:
    """Steps per second over the calls in which no episode ended; nan if there was none."""
    taken = [took for took, ended in calls(env, seconds, 3) if not ended]
    return env.num_envs * len(taken) / sum(taken) if taken else float("nan")


def copies_per_second(num_envs: int, seconds: float) -> float:
    """Observations per second when a batch of images is just copied."""
    source = np.zeros((num_envs, 7, 7, 3), np.uint8)
    copies, start = 0, time.process_time()
    while time.process_time() < start + seconds:
        for _ in range(20):
            source.copy()
        copies += 20
    return copies * num_envs / (time.process_time() - start)


def out_of_step(env: VectorEnv, period: int) -> None:
    """Lets the environments of a compiled batch reach their time limits one after another."""
    state = env.get_state()  # type: ignore[attr-defined]
    state["agent"][:, 3] = np.arange(env.num_envs) % period
    env.set_state(state)  # type: ignore[attr-defined]


def table_random(seconds: float) -> None:
    print("\n1. random actions, resets included; million steps a second\n")
    heads = [f"{n} x1" for n in BATCHES] + [f"{n} x2" for n in BATCHES[2:]]
    print("id |", " | ".join(heads), "| stock | x1 1024 : stock | copy : x1 1024")
    print("--- |" * (len(heads) + 4))
    for env_id in COMPILED:
        speeds = {}
        for threads, batches in ((1, BATCHES), (2, BATCHES[2:])):
            for n in batches:
                env = make_minigrid(env_id, n, seed=0, threads=threads)
                env.reset()
                speeds[threads, n] = steps_per_second(env, seconds)
                env.close()
        stock = stock_batch(env_id)
        base = steps_per_second(stock, 2 * seconds)
        copy = copies_per_second(1024, seconds)
        cells = [f"{speed / 1e6:.2f}" for speed in speeds.values()]
        ratios = [f"{base:.0f}", f"{speeds[1, 1024] / base:.0f}", f"{copy / speeds[1, 1024]:.1f}"]
        print(env_id, "|", " | ".join(cells + ratios), flush=True)


def table_short_episodes(seconds: float) -> None:
    print("\n2. episodes of ten steps, batch 1024\n")
    print("id | M steps/s x1 | M levels/s x1 | M steps/s x2 | stock steps/s | x1 : stock | copy : x1")
    print("--- |" * 7)
    for env_id in COMPILED:
        speeds = {}
        for threads in (1, 2):
            env = make_minigrid(env_id, 1024, seed=0, threads=threads, max_steps=10)
            env.reset()
            out_of_step(env, 10)
            speeds[threads] = steps_per_second(env, seconds, num_actions=2)
            env.close()
        stock = stock_batch(env_id, max_steps=10)
        base = steps_per_second(stock, 2 * seconds, num_actions=2)
        copy = copies_per_second(1024, seconds)
        one, two = speeds[1], speeds[2]
        cells = [f"{one / 1e6:.2f}", f"{one / 1e7:.3f}", f"{two / 1e6:.2f}", f"{base:.0f}"]
        print(env_id, "|", " | ".join([*cells, f"{one / base:.0f}", f"{copy / one:.1f}"]), flush=True)


def table_stock(seconds: float) -> None:
    print("\n3. MiniGrid's own levels and rules, compiled observations, batch 16\n")
    print("id | stepping steps/s | : stock | with resets steps/s | : stock | time in its rules | in its resets")
    print("--- |" * 7)
    for env_id in STOCK:
        ours, theirs = make_minigrid(env_id, 16, backend="stock"), stock_batch(env_id)
        quietly(ours.reset)(seed=0)
        speeds = [stepping_alone(env, 3 * seconds) for env in (ours, theirs)]
        for env in (ours, theirs):
            quietly(env.reset)(seed=0)
        speeds += [steps_per_second(env, 3 * seconds) for env in (ours, theirs)]
        own = shares(env_id, seconds)
        alone, alone_stock, whole, whole_stock = speeds
        cells = [f"{alone:.0f}", f"{alone / alone_stock:.1f}", f"{whole:.0f}", f"{whole / whole_stock:.1f}"]
        print(env_id, "|", " | ".join(cells + own), flush=True)


def table_slowest(seconds: float) -> None:
    print("\n4. the slowest of all compiled ids, batch 1024, one thread; million steps a second\n")
    speeds = {}
    for env_id in tqdm(compiled_ids(), leave=False, disable=None):
        env = make_minigrid(env_id, 1024, seed=0)
        env.reset()
        speeds[env_id] = steps_per_second(env, seconds)
        env.close()
    print(f"id | million steps a second (median of {len(speeds)} ids: {np.median(list(speeds.values())) / 1e6:.2f})")
    print("--- |" * 2)
    for env_id, speed in sorted(speeds.items(), key=lambda pair: pair[1])[:8]:
        print(env_id, "|", f"{speed / 1e6:.2f}")


@quietly
def shares(env_id: str, seconds: float) -> list[str]:
    """Which parts of the time of a batch with random actions MiniGrid's own code takes: its rules, its resets."""
    env = make_minigrid(env_id, 16, seed=0, backend="stock")
    env.reset()
    spent, calling = {"step": 0.0, "reset": 0.0, "gen_obs": 0.0}, list[str]()

    def timed(core, name):
        method = getattr(core, name)

        def wrapper(*args, **kwargs):
            calling.append(name)
            start = time.process_time()
            result = method(*args, **kwargs)
            took = time.process_time() - start
            calling.pop()
            spent[name] += took
            if name == "gen_obs" and calling:  # whose time it is not
                spent[calling[-1]] -= took
            return result

        setattr(core, name, wrapper)

    for core in env.cores:  # type: ignore[attr-defined]
        for name in spent:
            timed(core, name)
    total = sum(took for took, _ in calls(env, 2 * seconds, int(env.single_action_space.n)))  # type: ignore[attr-defined]
    return [f"{spent['step'] / total:.0%}", f"{spent['reset'] / total:.0%}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each measurement")
    parser.add_argument("--table", type=int, nargs="*", default=[1, 2, 3, 4])
    settings = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # older versions of ids are measured too
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    for number, table in enumerate((table_random, table_short_episodes, table_stock, table_slowest), 1):
        if number in settings.table:
            table(settings.seconds)


if __name__ == "__main__":
    main()
