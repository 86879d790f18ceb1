"""The same networks, sampled: compiled loops, parallel over episodes, reproducible for a seed whatever the number of threads."""

from optioncoagent.simulate.actor_critic import ActorCriticTrials, actor_critic
from optioncoagent.simulate.estimators import (
    GradientEstimate,
    ReturnEstimate,
    estimate_finite_difference,
    estimate_gradient,
    estimate_return,
)
from optioncoagent.simulate.option_critic import Learner, OptionCriticTrials, train_option_critic

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
