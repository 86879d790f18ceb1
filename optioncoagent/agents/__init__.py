"""The learner: any coagent network, trained from its local gradients on a Gymnasium environment. torch.

learner.py reads downwards and holds the fixed order of one update; the pieces it calls are pure functions in files of their own:

    settings, environments, observations, modules   what is trained, on what
    rollout                                         the network runs, the environment steps
    sweep, returns, losses                          one critic to every baseline, λ-returns, gradient forms
    metrics, checkpoint                             what is reported, what is kept
    option_critic                                   the learner with option-critic's network and vocabulary
"""

from optioncoagent.agents.learner import CoagentActorCritic
from optioncoagent.agents.option_critic import OptionCritic

__all__ = ["CoagentActorCritic", "OptionCritic"]
