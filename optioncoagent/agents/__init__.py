"""The learner: any coagent network, trained from its local gradients on a Gymnasium environment. torch.

learner.py reads downwards and holds the fixed order of one update; the pieces that it calls are in files of their own:

    settings, environments, actions                 what is trained, on what
    observations, encoder, images, cells            what is seen
    recurrent, scan, carried                        what is remembered; recurrence in compiled loops; what `predict` hands on
    modules, heads                                  the parameters
    torch_state                                     torch's threads and random numbers, changed for a block
    distributions                                   what outputs are drawn from: softmax policies and Gaussians
    additive                                        what additive policies add to their logits for each output that they read
    rollout, sizes                                  the network runs, the environment steps, so many at a time
    last                                            the observations on which truncated episodes ended
    moved                                           has somebody else moved the environments since the last rollout?
    exploration, counts, places, non_episodic       a bonus for what was seldom met, or where the agent had not been
    diversity, scale                                a reward for actions that tell which option chose them; the scale of rewards
    schedule, bar                                   how much of a training is left; a progress bar
    forms                                           which gradient form a coagent may have
    targets                                         from a rollout to what losses need: sweep, λ-returns, gradient forms
    sweep, returns, losses, minibatches             one critic to every baseline, λ-returns, what is minimised, and on which steps
    gates                                           what execution functions say of each observation by itself
    tables                                          policies as the exact solver reads them
    metrics, degeneracy, evaluation                 what is reported
    checkpoint, files, progress                     what is kept
    options                                         the learner with option-critic's network and vocabulary
    loading                                         agents of run folders for the command line, networks of one's own among them
"""

from typing import Any

from optioncoagent import lazy

_MODULES = {"learner": ("CoagentActorCritic",), "options": ("OptionCritic",)}
__all__ = ["CoagentActorCritic", "OptionCritic"]


def __getattr__(name: str) -> Any:
    return lazy.load(__name__, _MODULES, name)
