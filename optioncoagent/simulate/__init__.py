"""The same networks, sampled: compiled loops, parallel over episodes, reproducible for a seed whatever the number of threads.

wiring          a network and an MDP as flat arrays
tables          the joint law of a whole tick at every node (ticks, alias), so that a step is one draw
forms           gradient forms with a critic, as tables of what a step adds
kernels         the loops over ticks; episodes, rng: how long episodes last, and their random numbers
estimators      returns, local gradients and finite differences, with standard errors
actor_critic    tabular actor-critic with eligibility traces, any network
intra_option    tabular option-critic as in four rooms
waiting         says so while something is compiled
"""

from optioncoagent.simulate.actor_critic import ActorCriticTrials, actor_critic
from optioncoagent.simulate.estimators import (
    GradientEstimate,
    ReturnEstimate,
    estimate_finite_difference,
    estimate_gradient,
    estimate_return,
)
from optioncoagent.simulate.intra_option import Learner, OptionCriticTrials, train_option_critic

__all__ = [
    "ActorCriticTrials",
    "GradientEstimate",
    "Learner",
    "OptionCriticTrials",
    "ReturnEstimate",
    "actor_critic",
    "estimate_finite_difference",
    "estimate_gradient",
    "estimate_return",
    "train_option_critic",
]
