"""Theory and learner side by side: the one room that knows both. numpy, scipy, torch

gradient        the exact gradient with respect to an agent's torch parameters
"""

from optioncoagent.auditing.gradient import agent_gradient, pull_back

__all__ = ["agent_gradient", "pull_back"]
