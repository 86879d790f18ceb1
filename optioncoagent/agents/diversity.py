"""Diversity: a reward for actions that tell which option chose them, so that options come to differ.

With x the outputs of this step that an action coagent reads (of option-critic ω_t), and n = (O_t, memory) what is known before the step,
a step at which the coagent executes is paid

    coef · [ ln π(A | x) − ln Pr(A | n) ]        Pr(a | n) = Σ_x Pr(x | n) π(a | x)

whose mean over what the network draws at n is coef times the mutual information I(x; A | n), the "information" of the learner's metrics.
It depends on the parameters, and yet its own derivative may be left out, since its mean is 0:

    E[ ∂ ln π(A | x) − ∂ ln Pr(A | n) | n ] = Σ_x Pr(x | n) ∂ Σ_a π(a | x) − ∂ Σ_a Pr(a | n) = 0

so that local gradients with this reward as it is are those of E Σ_t γ^t (R_t + coef I(x; A | n_t)), if the critic knows n. A network's
critic need not know what ran before; forms that take its word (expected, difference) then have the reward's mean over that. Where options
last x is known before, and little is paid: such a reward is a reason to end them, unless nothing learns when they do.

Sources: "Diversity is All You Need" by Eysenbach et al. (ICLR 2019), here of actions and without a discriminator, since the network's laws
are known; "Diversity-Enriched Option-Critic" by Kamat and Precup (2020), which pays options of one state for how they differ.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from optioncoagent.agents.degeneracy import turns_of
from optioncoagent.agents.modules import CoagentModule
from optioncoagent.agents.observations import ObservationSpec
from optioncoagent.agents.rollout import Rollout
from optioncoagent.agents.sweep import joint_index
from optioncoagent.network import CoagentNetwork


class Diversity:
    """The reward of this weight for the action coagents of a module's network, each by itself. It remembers nothing.

    Raises ValueError where no action coagent with a table over outputs of the same step is there to be paid.
    """

    def __init__(self, module: CoagentModule, spec: ObservationSpec, coef: float):
        self.module, self.spec, self.coef = module, spec, coef
        self.names = readers(module.network)
        if not self.names:
            raise ValueError(
                f"diversity_coef={coef}: it pays actions for what they tell of the outputs that their coagent reads in the same step, "
                f"and no action coagent of {module.network} with finitely many outputs has a table over such"
            )

    def __call__(self, rollout: Rollout) -> tuple[Rollout, dict[str, float]]:
        """The rollout with what is paid in its rewards, and its mean."""
        paid = self.paid(rollout)
        return replace(rollout, reward=rollout.reward + paid), {"diversity_mean": float(paid[rollout.valid].mean())}

    @torch.no_grad()
    def paid(self, rollout: Rollout) -> Tensor:
        """What is paid for each step of a rollout (num_steps, num_envs), by the parameters that acted; nothing for those that reset."""
        network, shape = self.module.network, rollout.start.shape
        times = torch.arange(shape[0], device=rollout.start.device)
        outputs = {name: u.flatten(0, 1) for name, u in rollout.outputs.items()}
        paid = torch.zeros(shape.numel(), dtype=torch.float64, device=rollout.start.device)
        for turn in turns_of(self.module, self.spec, rollout, times):
            if turn.name in self.names:
                read = tuple(name for name in network.names if name in network[turn.name].upstream)
                table = told(turn.weight.flatten(0, -2).double(), turn.policy.flatten(0, -3).double()).flatten(0, 1)
                index = joint_index(network, (*read, turn.name), outputs)
                assert index is not None
                paid += torch.where(rollout.executed[turn.name].flatten(), table.gather(0, index[None])[0], 0.0)
        return (self.coef * paid).reshape(shape).where(rollout.valid, 0.0).to(rollout.reward)


def readers(network: CoagentNetwork) -> tuple[str, ...]:
    """The action coagents with finitely many outputs and a table over outputs of the same step."""
    return tuple(name for name in network.action if network[name].tabled[0] and network[name].gaussian is None)


def told(weight: Tensor, policy: Tensor) -> Tensor:
    """ln π(u | x) − ln Σ_x Pr(x) π(u | x), (X, outputs, n), with Pr(x) in proportion to weight (X, n); policy: (X, outputs, n).

    0 where Σ_x Pr(x) π(u | x) is 0: such an output is never drawn. The mean over x and u is `degeneracy.information`.
    """
    tiny = torch.finfo(weight.dtype).tiny
    law = weight / weight.sum(dim=0).clamp(min=tiny)
    mean = (law[:, None] * policy).sum(dim=0)
    return (policy.clamp(min=tiny) / mean.clamp(min=tiny)).log().where(mean > 0, 0.0)
