"""One MiniGrid level as a finite Markov decision process: every state that minigrid's own dynamics can reach from its start.

States are found breadth first: restore a state, take an action in the real environment, save what came of it (`state_memory`).

Two readings, see `Level.arrays`. MiniGrid's success reward falls with the step count, 1 - 0.9 (t+1)/max_steps, and its episodes are cut at
max_steps: with `horizon` the time is unrolled into the state and both are kept; without, success pays 1 and only a termination ends.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from tqdm import tqdm

from optioncoagent.imports import is_minigrid_id, plain_id
from optioncoagent.mdp.state_memory import StateMemory
from optioncoagent.mdp.toy_text import refuse_wrappers

VIEWS = ("state", "egocentric")


@dataclass(frozen=True)
class Level:
    """What a breadth-first search found: n states, number 0 the start, and n itself standing for the end of the episode.

    successor: (n, A) int. success: (n, A) bool, does this action earn the success reward. success_reward: (max_steps,), what success at
    step t pays. observations: n dicts (image, direction, mission), what the agent sees.
    """

    successor: NDArray[np.int64]
    success: NDArray[np.bool_]
    success_reward: NDArray[np.float64]
    observations: list[dict[str, Any]]

    def arrays(self, horizon: bool) -> dict[str, Any]:
        """P (S*A, S), R (S, A), d0 and terminal of an MDP; its last state is the absorbing end.

        Time-free: S = n + 1. With `horizon`: S = n max_steps + 1, state t n + s, and after the last step comes the end.
        """
        n, num_actions = self.successor.shape
        num_steps = len(self.success_reward) if horizon else 1
        end = n * num_steps
        if horizon:
            # (t, s) -> (t+1, s'), or the end if the episode terminates or t is the last step
            times = np.arange(num_steps)[:, None, None]
            goes_on = (self.successor < n) & (times < num_steps - 1)
            columns = np.where(goes_on, (times + 1) * n + self.successor, end)
            R = self.success * self.success_reward[:, None, None]
        else:
            columns = self.successor
            R = self.success.astype(np.float64)
        columns = np.append(columns.reshape(-1), np.full(num_actions, end))
        rows = np.arange((end + 1) * num_actions + 1)  # one successor in every row
        P = sp.csr_array((np.ones(columns.size), columns, rows), shape=((end + 1) * num_actions, end + 1))
        states = np.arange(end + 1)
        R = np.append(R.reshape(-1, num_actions), np.zeros((1, num_actions)), axis=0)
        return {"P": P, "R": R, "d0": np.where(states == 0, 1.0, 0.0), "terminal": states == end}

    def views(self, view: str, horizon: bool) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
        """What each state of `arrays` looks like, (S,), and what is seen then, a list.

        "state": states are told apart. "egocentric": those with the same image, direction and mission are not. The time is not seen. The
        last entry belongs to the end, where nothing is seen: an image of minigrid's code for unseen cells.
        """
        n = len(self.observations)
        if view == "state":
            seen, looks = self.observations, np.arange(n)
        else:
            numbers: dict[Hashable, int] = {}
            codes = [(o["image"].tobytes(), o["direction"], o["mission"]) for o in self.observations]
            looks = np.array([numbers.setdefault(code, len(numbers)) for code in codes])
            first = np.unique(looks, return_index=True)[1]
            seen = [self.observations[s] for s in first]
        nothing = {"image": np.zeros_like(seen[0]["image"]), "direction": 0, "mission": seen[0]["mission"]}
        repeated = np.tile(looks, len(self.success_reward) if horizon else 1)
        return np.append(repeated, len(seen)), [*seen, nothing]


def enumerate_level(env_id: str, seed: int, max_states: int, horizon: bool = False, progress_bar: bool = False) -> Level:
    """Find every state of the level that `reset(seed=seed)` makes.

    Raises ValueError, naming the environment, if it is not a MiniGrid one, if a step draws random numbers, if a reward is neither 0 nor the
    success reward, or if there are more than `max_states` states (times max_steps with `horizon`).
    """
    env = _make(env_id)
    env.reset(seed=seed)
    see: Callable[[], dict[str, Any]] = env.gen_obs
    env.gen_obs = dict  # a step need not build what nobody looks at: most of minigrid's time goes there
    memory = StateMemory(env)
    layers = env.max_steps if horizon else 1
    num_actions = int(env.action_space.n)

    def observe() -> dict[str, Any]:
        seen = see()
        return {"image": seen["image"], "direction": int(seen["direction"]), "mission": seen["mission"]}

    draws = env.np_random.bit_generator.state
    numbers: dict[Hashable, int] = {memory.start: 0}
    states, observations = list(numbers), [observe()]
    successor: list[list[int]] = []
    success: list[list[bool]] = []
    bar = tqdm(iter(states), desc=f"searching {env_id}", unit=" states", disable=not progress_bar, delay=2, leave=False)
    for state in bar:  # grows while it is read: breadth first
        successor.append([])
        success.append([])
        for action in range(num_actions):
            reached, reward, terminated = memory.step(state, action)
            if env.np_random.bit_generator.state != draws:
                raise ValueError(f"{env_id} draws random numbers in step (action {action}): only deterministic levels can be enumerated")
            if reward not in (0, env._reward()):
                raise ValueError(f"{env_id} pays {reward} for action {action}, neither 0 nor its success reward {env._reward():.6g}")
            success[-1].append(reward != 0)
            if terminated:
                successor[-1].append(-1)
                continue
            if reached not in numbers:
                numbers[reached] = len(states)
                states.append(reached)
                observations.append(observe())
                if len(states) * layers > max_states:
                    size = f"{len(states)} states" + (f" times {layers} steps" if horizon else "")
                    raise ValueError(
                        f"{env_id} with seed {seed} has more than max_states={max_states} states ({size} so far, {len(successor)} of them "
                        "searched): choose a smaller level, or raise max_states"
                    )
            successor[-1].append(numbers[reached])
    ends = np.array(successor)
    return Level(np.where(ends < 0, len(states), ends), np.array(success), _success_reward(env), observations)


def _make(env_id: str) -> Any:
    import gymnasium as gym
    import minigrid  # noqa: F401  (registers the ids)
    from minigrid.minigrid_env import MiniGridEnv

    if not isinstance(env_id, str):
        raise TypeError(f"{env_id!r} is not an environment id: a level is named by an id, such as 'MiniGrid-Empty-5x5-v0', and a seed")
    module = env_id.rpartition(":")[0]
    ours = module in ("", "optioncoagent_envs") and is_minigrid_id(env_id)  # MiniGrid's own, by the batch's name
    made = gym.make(plain_id(env_id) if ours else env_id, disable_env_checker=True)
    refuse_wrappers(made, env_id, "the states of its grid", "register the environment without it")
    env = made.unwrapped
    if not isinstance(env, MiniGridEnv):
        raise ValueError(f"{env_id} is {type(env).__name__}, not a MiniGrid environment: use MDP.from_env if it has toy_text tables")
    return env


def _success_reward(env: Any) -> NDArray[np.float64]:
    """What success pays at step t = 0 … max_steps - 1, by minigrid's own formula, which counts the step that is being taken."""
    rewards = []
    for t in range(env.max_steps):
        env.step_count = t + 1
        rewards.append(float(env._reward()))
    return np.array(rewards)
