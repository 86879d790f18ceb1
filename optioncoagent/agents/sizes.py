"""How much is learned from at once: rollouts that grow with the steps so far.

The better an agent, the less a step of its gradient rises above the noise, and the more steps a batch is worth: McCandlish et al., "An
Empirical Model of Large-Batch Training", find the batch beyond which more is wasted to grow by orders of magnitude over a training. So
rollouts begin small, for the sake of the first success, and double whenever twice as many are no more than a 64th of the steps so far;
this takes no horizon, as a step size that falls to zero would. Small rollouts are passed over eight times and large ones four times, in
eight minibatches or, of the largest, in those of 1,024 steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optioncoagent.agents.settings import Settings

SMALLEST, LARGEST, PART = 2**11, 2**14, 64  # steps of all environments in a rollout, and what part of those so far
SHORTEST = 32  # steps of each environment
MINIBATCH = 2**10


@dataclass(frozen=True)
class Size:
    """num_steps: of each environment in a rollout. update_epochs: passes over it. num_minibatches: parts of a pass."""

    num_steps: int
    update_epochs: int
    num_minibatches: int


def next_size(settings: Settings, num_envs: int, num_timesteps: int) -> Size:
    """The size of the rollout of so many environments after so many steps of them all; what the settings fix is as they say."""
    wanted = min(max(1 << max(num_timesteps // PART, 1).bit_length() - 1, SMALLEST), LARGEST)
    num_steps = settings.num_steps or max(wanted // num_envs, SHORTEST)
    total = num_steps * num_envs
    epochs = settings.update_epochs or (8 if total <= 2 * SMALLEST else 4)
    return Size(num_steps, epochs, settings.num_minibatches or max(8, total // MINIBATCH))
