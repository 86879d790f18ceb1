"""The observations on which truncated episodes ended, whose values are part of the return, where the environment has already reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv, VectorEnv
from torch import Tensor

from optioncoagent.agents.environments import One
from optioncoagent.agents.observations import ObservationSpec, Tensors


class LastObservations:
    """Those of one rollout of a SAME_STEP environment, gathered step by step.

    index: the (t, i) of each; parts: their leaves, (k, …), for each step that had any.
    """

    def __init__(self, env: VectorEnv, spec: ObservationSpec, device: torch.device):
        self.spec, self.device, self.batch = spec, device, env.unwrapped
        # a SyncVectorEnv that the user made, wrapped perhaps: its environments may give the same array at every step
        shared = isinstance(self.batch, SyncVectorEnv) and not all(isinstance(one, One) for one in self.batch.envs)
        self.may_share_arrays = shared
        self.given: list[Any] = []  # what each environment showed before the step, and what was in it then
        self.seen: list[list[np.ndarray]] = []
        self.index: list[tuple[int, int]] = []
        self.parts: list[Tensors] = []

    def before_step(self) -> None:
        if self.may_share_arrays:
            self.given = list(self.batch._env_obs)  # type: ignore[attr-defined]
            self.seen = [[x.copy() for x in _arrays(one)] for one in self.given]

    def note(self, t: int, cut: Sequence[int], info: dict[str, Any]) -> None:
        """Take those of the environments `cut` at step t from its info. Raises ValueError for what is missing, or was written over."""
        if not len(cut):
            return
        self.index += [(t, int(i)) for i in cut]
        self.parts.append(self.spec.tensors(last_observations(self.spec, info, cut), self.device))
        final = info.get("final_obs")
        if self.given and isinstance(final, np.ndarray | list):  # a wrapper may have made something else of it
            self._check_that_it_is_kept(final, cut)

    def gathered(self) -> tuple[Tensor, Tensors | None]:
        """Index (k, 2) and leaves (k, …), None if there are none."""
        leaves = {path: torch.cat([part[path] for part in self.parts]) for path in self.parts[0]} if self.parts else None
        return torch.tensor(self.index, dtype=torch.long, device=self.device).reshape(-1, 2), leaves

    def _check_that_it_is_kept(self, final: Any, index: Sequence[int]) -> None:
        """ValueError where an environment of somebody's own batch wrote its first observation into the array of the last one.

        The two may share an array that nobody changes; so it is only where what was `given` before the step is no longer what was `seen` of
        it then. (A wrapper that hands on copies of the last ones hides it.)
        """
        now: Any = self.batch._env_obs  # type: ignore[attr-defined]
        for i in index:
            if any(np.shares_memory(x, y) for x in _arrays(final[i]) for y in _arrays(now[i])):
                if not all(np.array_equal(x, y) for x, y in zip(_arrays(self.given[i]), self.seen[i], strict=True)):
                    raise ValueError(
                        f"environment {i} gives the same array at every step, so that the reset has written over the observation on which "
                        "its episode ended, whose value is part of the return: let it give copies, or make the vector environment with "
                        "autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP"
                    )


def last_observations(spec: ObservationSpec, info: dict[str, Any], index: Sequence[int]) -> Any:
    """The observations on which these environments' episodes ended, as a batch, from the info of a step that has already reset them.

    They are in info["final_obs"] (or "final_observation", the older name): an array or list of single observations, or an observation of
    the whole batch. Raises ValueError naming the environment whose last observation is missing.
    """
    name = next((key for key in ("final_obs", "final_observation") if key in info), "final_obs")
    final: Any = info.get(name)
    given = info.get(f"_{name}")
    missing = [int(i) for i in index if final is None or (given is not None and not given[i])]
    one_each = isinstance(final, list) or (isinstance(final, np.ndarray) and final.dtype == object and final.ndim == 1)
    if one_each and not missing:
        missing = [int(i) for i in index if final[i] is None]
    if missing:
        raise ValueError(
            f"environment {missing[0]} was truncated and reset, and the observation on which its episode ended, whose value is part of the "
            'return, is not in info["final_obs"]: give it there, as gymnasium.vector.SyncVectorEnv does, or reset in the next step '
            "(AutoresetMode.NEXT_STEP)"
        )
    return spec.stack([final[i] for i in index]) if one_each else spec.take(final, index)


def _arrays(observation: Any) -> list[np.ndarray]:
    """The arrays that an observation is made of."""
    if isinstance(observation, Mapping | tuple | list):
        parts = observation.values() if isinstance(observation, Mapping) else observation
        return [array for part in parts for array in _arrays(part)]
    return [observation] if isinstance(observation, np.ndarray) else []
