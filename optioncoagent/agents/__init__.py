"""The learner: any coagent network, trained from its local gradients on a Gymnasium environment. torch.

learner.py reads downwards and holds the fixed order of one update; the pieces it calls are pure functions in files of their own:

    settings, environments, actions                 what is trained, on what
    observations, images, recurrent, modules        what is seen and remembered, the parameters
    distributions                                   what outputs are drawn from: softmax policies and Gaussians
    additive                                        what additive policies add to their logits for each output that they read
    rollout                                         the network runs, the environment steps
    exploration, counts, places                     a bonus for what was seldom met, or where the agent had not been
    diversity                                       a reward for actions that tell which option chose them
    sweep, returns, losses                          one critic to every baseline, λ-returns, gradient forms
    metrics, degeneracy, evaluation                 what is reported
    checkpoint, progress                            what is kept
    options                                         the learner with option-critic's network and vocabulary
"""

from typing import Any

__all__ = ["CoagentActorCritic", "OptionCritic"]


def __getattr__(name: str) -> Any:
    """Load torch only when an agent is asked for: the command line reads `agents.settings` alone."""
    if name == "CoagentActorCritic":
        from optioncoagent.agents.learner import CoagentActorCritic as agent
    elif name == "OptionCritic":
        from optioncoagent.agents.options import OptionCritic as agent  # type: ignore[assignment]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return agent
