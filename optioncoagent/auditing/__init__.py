"""Theory and learner side by side, as in maps. numpy, scipy, torch; matplotlib to draw

gradient        the exact gradient with respect to an agent's torch parameters
states, twin    an agent in table form, run on the states of an MDP: what its learner computes, with any critic
examination     audit: the estimates of its learner against the exact gradient, one difference at a time
command         optioncoagent audit
picture         what it found along training, drawn
"""

from typing import Any

from optioncoagent import lazy

_MODULES = {"gradient": ("agent_gradient",), "examination": ("audit", "examine")}
__all__ = ["agent_gradient", "audit", "examine"]


def __getattr__(name: str) -> Any:
    return lazy.load(__name__, _MODULES, name)
