"""Theory and learner side by side: the one room that knows both. numpy, scipy, torch; matplotlib to draw

gradient        the exact gradient with respect to an agent's torch parameters
states, twin    an agent in table form, run on the states of an MDP: what its learner computes, with any critic
examination     audit: the estimates of its learner against the exact gradient, one difference at a time
command         optioncoagent audit
picture         what it found along training, drawn
"""

from typing import Any

__all__ = ["agent_gradient", "audit", "examine"]


def __getattr__(name: str) -> Any:
    """Load torch only when something is asked for: the command line reads `command` alone."""
    if name == "agent_gradient":
        from optioncoagent.auditing.gradient import agent_gradient

        return agent_gradient
    if name in ("audit", "examine"):
        from importlib import import_module

        return getattr(import_module("optioncoagent.auditing.examination"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
