"""Exploration: a bonus for what was seldom met, added to the reward from which the agent learns.

The bonus of step t belongs to the observation o' = o_{t+1} that it leads to, out of o = o_t:

    b(o, o') = int_coef · [o' is new to the episode] · max( N(o')^-p − d N(o)^-p, 0 )

N(o) is the number of episodes so far in which o was met, this one included (visits, where the bonus is not episodic). The first observation
of an episode is met, and counted, but no step is paid for it. A step that ends an episode pays nothing: the observation after it is the
next episode's (SAME_STEP), or one from which nothing follows (NEXT_STEP), so that both modes count alike. Nor does the step that resets.
So whoever ends an episode forfeits the bonus still to come, unless its return is a non-episodic one (`non_episodic`).

In the end the environment's own reward shall decide, so that a bonus has to vanish. Lifetime counts see to it; what is paid once in every
episode is multiplied by min(1, √(lasts / t)), t the steps of all environments before the rollout.

Counted are MiniGrid images, bytes, integers and Discrete parts, together; missions are not, being tasks and no places. Where places are
counted, o is where the environment says it is (`places`), whatever that looks like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from optioncoagent.agents.counts import count_and_pay, hash_rows, insert
from optioncoagent.agents.non_episodic import Continuation
from optioncoagent.agents.observations import ObservationSpec, Tensors, at, part_of
from optioncoagent.agents.places import places_of
from optioncoagent.agents.rollout import Rollout
from optioncoagent.agents.settings import Settings

TABLE = 2**24  # counts, 64 MiB
DEFAULT = 0.005  # the weight of the bonus on MiniGrid
EPISODE = 2**13  # entries of an environment's set, 128 KiB


@dataclass(frozen=True)
class Counting:
    """What is counted, and how counts become a reward: see the module.

    counted: "observation", or "place", the environment's own word for where it is. episodic: is only the first visit in an episode paid?
    power: p. difference: d. lasts: steps until the weight begins to fall.
    """

    episodic: bool = True
    power: float = 0.5
    difference: float = 0.0
    counted: str = "observation"
    lasts: float = math.inf


EPISODIC = Counting(power=0.0, lasts=2**18)
LIFETIME = Counting(episodic=False)
BOTH = Counting()
# "BeBold: Exploration Beyond the Boundary of Explored Regions" by Zhang et al.
NOVELTY_DIFFERENCE = Counting(power=1.0, difference=1.0)
COUNTINGS = {"episodic": EPISODIC, "lifetime": LIFETIME, "both": BOTH, "difference": NOVELTY_DIFFERENCE}


class CountBonus:
    """A bonus of this counting and scale, and the counts it is made from, for `num_envs` environments. table, episode: powers of two.
    continuation: what makes its return a non-episodic one."""

    def __init__(
        self,
        spec: ObservationSpec,
        num_envs: int,
        scale: float,
        counting: Counting = BOTH,
        table: int = TABLE,
        episode: int = EPISODE,
        continuation: Continuation | None = None,
    ):
        self.paths = [leaf.path for leaf in spec.leaves if leaf.kind != "mission"]
        self.scale, self.counting, self.continuation = scale, counting, continuation
        self.counts = np.zeros(table, dtype=np.uint32)
        self.keys = np.zeros((num_envs, episode), dtype=np.uint64)  # the sets of the episodes in progress, and their stamps
        self.stamps = np.zeros((num_envs, episode), dtype=np.int64)
        self.episode = np.ones(num_envs, dtype=np.int64)
        self.size = np.zeros(num_envs, dtype=np.int64)
        self.steps = 0

    def __call__(self, rollout: Rollout) -> tuple[Rollout, dict[str, float]]:
        """The rollout with the bonus in its rewards, and the mean bonus."""
        bonus = self.bonus(rollout)
        row = {"bonus_mean": float(bonus[rollout.valid].mean())}
        if self.continuation is not None:
            bonus = bonus + torch.from_numpy(self.continuation(rollout, bonus.cpu().numpy())).to(bonus)
            row["bonus_to_come"] = self.continuation.worth
        return replace(rollout, reward=rollout.reward + bonus), row

    def bonus(self, rollout: Rollout) -> Tensor:
        """Count the observations of a rollout; the bonus of each of its steps (num_steps, num_envs).

        Raises ValueError naming a part of the observations that cannot be counted, or places that are no integers for each environment.
        """
        if self.counting.counted == "place":
            hashes = _hashes_of_places(rollout)
        else:
            hashes = np.concatenate([self._hashes(rollout.observation, 2), self._hashes(rollout.last, 1)[None]])
        pays = rollout.valid & ~(rollout.terminated | rollout.truncated)
        bonus = np.empty(pays.shape)
        count_and_pay(
            hashes, rollout.start.cpu().numpy(), pays.cpu().numpy(), self.counting.episodic, self.counting.power, self.counting.difference,
            self.counts, self.keys, self.stamps, self.episode, self.size, bonus,
        )  # fmt: skip
        weight = self.scale * min(1.0, math.sqrt(self.counting.lasts / max(self.steps, 1)))
        self.steps += int(rollout.valid.sum())
        return torch.from_numpy(weight * bonus).to(rollout.reward)

    def _hashes(self, observation: Tensors, axes: int) -> np.ndarray:
        """64-bit hashes of observations with so many batch axes."""
        shape = next(iter(observation.values())).shape[:axes]
        hashes = np.zeros(shape.numel(), dtype=np.uint64)
        for path in self.paths:
            x = observation[path]
            if x.is_floating_point():
                raise ValueError(_refusal(path))
            hash_rows(np.ascontiguousarray(x.cpu().numpy()).reshape(len(hashes), -1).view(np.uint8), hashes)
        return hashes.reshape(shape)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The counts that are not zero and what was met in the episodes in progress: as large as what was met, at most the tables."""
        (entry,) = self.counts.nonzero()
        env, slot = (self.stamps == self.episode[:, None]).nonzero()
        key = self.keys[env, slot].view(np.int64)
        order = np.lexsort((key, env))  # where an entry lies depends on the past, what is met does not
        arrays = {"entry": entry, "count": self.counts[entry].view(np.int32), "env": env[order], "key": key[order]}
        return arrays | {"steps": np.array([self.steps])} | ({} if self.continuation is None else self.continuation.to_arrays())

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Put the counts where `to_arrays` found them. Raises ValueError for arrays of other tables."""
        entry, env = arrays["entry"], arrays["env"]
        if not (_within(entry, len(self.counts)) and _within(env, len(self.keys)) and _within(np.bincount(env), self.keys.shape[1])):
            raise ValueError("the exploration counts are damaged, or of another number of environments")
        self.counts[:], self.stamps[:], self.episode[:], self.size[:] = 0, 0, 1, np.bincount(env, minlength=len(self.keys))
        self.counts[entry] = arrays["count"].view(np.uint32)
        self.steps = int(arrays["steps"][0]) if "steps" in arrays else 0  # older agents, whose weight did not fall
        for i, key in zip(env, arrays["key"].view(np.uint64), strict=True):
            insert(key, self.keys[i], self.stamps[i], 1, 0)
        if self.continuation is not None and "gained" in arrays:  # not there where the bonus was an episodic one before
            self.continuation.from_arrays(arrays)


def _hashes_of_places(rollout: Rollout) -> np.ndarray:
    places, n = rollout.places, rollout.reward.shape[1]
    assert places is not None, "nobody asked for places"
    if places.ndim != 3 or places.shape[1] != n or not np.issubdtype(places.dtype, np.integer):
        raise ValueError(
            f"places() gave {places.dtype} of shape {places.shape[1:]}: it must give integers, ({n}, k), a row for each environment; "
            'int_counts="observation" does without'
        )
    hashes = np.zeros(places.shape[:2], dtype=np.uint64)
    hash_rows(np.ascontiguousarray(places, dtype=np.int64).reshape(hashes.size, -1).view(np.uint8), hashes.reshape(-1))
    return hashes


def make_bonus(settings: Settings, spec: ObservationSpec, env: VectorEnv | None, num_envs: int) -> CountBonus | None:
    """The bonus that settings say, or None. env: where it is there already, what it counts is looked at.

    Raises ValueError where observations cannot be counted, or returns be non-episodic.
    """
    coef, gamma, non_episodic = settings.int_coef, settings.gamma, settings.int_returns == "non-episodic"
    if non_episodic and not (coef and gamma < 1):
        why = "there is no bonus" if not coef else "they would be infinite"
        raise ValueError(f'int_returns="non-episodic" with int_coef={coef} and gamma={gamma}: {why}; choose "episodic"')
    if not coef:
        return None
    counted = settings.int_counts
    if counted == "place" and env is not None and places_of(env) is None:
        raise ValueError(f'int_counts="place": {env} does not tell places, by a method places(); choose "observation"')
    if counted == "observation" and env is not None and (refusal := uncountable(spec, env.single_observation_space)):
        raise ValueError(f"int_coef={coef}: {refusal}")
    counting = replace(COUNTINGS[settings.count_form], counted=counted)
    continuation = Continuation(num_envs, gamma, (coef, counted == "place")) if non_episodic else None
    return CountBonus(spec, num_envs, coef, counting, continuation=continuation)


def default_coef(spec: ObservationSpec, space: gym.Space) -> float:
    """The weight where none is chosen: DEFAULT on MiniGrid, whose episodes return at most 1 and whose hard tasks pay nothing for long."""
    return DEFAULT if any(leaf.kind in ("cells", "grid") for leaf in spec.leaves) and not uncountable(spec, space) else 0.0


def uncountable(spec: ObservationSpec, space: gym.Space) -> str | None:
    """Why observations of this space cannot be counted, or None if they can."""
    for leaf in spec.leaves:
        dtype = part_of(space, leaf.path).dtype
        if np.issubdtype(dtype, np.floating):  # whatever it is taken for
            return _refusal(leaf.path)
        if dtype == np.uint64:  # of which floating-point numbers are made
            return f"observation{at(leaf.path)} is of uint64, of which single values get lost: {_INSTEAD}"
    return None


_INSTEAD = "give int_coef=0, or a wrapper that rounds to integers"


def _refusal(path: str) -> str:
    return (
        f"observation{at(path)} is of floating-point numbers, which hardly recur: the exploration bonus counts MiniGrid images, bytes, "
        f"integers and Discrete observations; {_INSTEAD}"
    )


def _within(x: np.ndarray, size: int) -> bool:
    return bool(((x >= 0) & (x < size)).all())
