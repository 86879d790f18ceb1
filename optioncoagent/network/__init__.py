"""Networks of coagents as data. numpy only.

coagent         the records: Coagent, LocalState
gaussian        the record of outputs that are real numbers, and what they may be
execution       execution functions: traced, tabulated, evaluated
plan            how a tick runs: what is live, read, retained, dropped, charged for, coagent by coagent
parameters      where parameters lie: owner, shape, slice; softmax
description     CoagentNetwork: order, what each coagent reads, memory, K, parameters
additive        policies that are sums of terms, and the tables that they add up to
roles           which coagents are what options and terminations are in option-critic
aspects         what sets a network apart from others, in words; functions by their digests
digests         what a function says, as a few letters
"""

from optioncoagent.network.coagent import Coagent, FloatArray, IntArray, LocalState
from optioncoagent.network.description import CoagentNetwork
from optioncoagent.network.execution import Touched, check_probability, execution_probability
from optioncoagent.network.gaussian import Gaussian
from optioncoagent.network.parameters import ParameterBlock, ParameterLayout, softmax
from optioncoagent.network.plan import CoagentPlan

__all__ = [
    "Coagent",
    "CoagentNetwork",
    "CoagentPlan",
    "FloatArray",
    "Gaussian",
    "IntArray",
    "LocalState",
    "ParameterBlock",
    "ParameterLayout",
    "Touched",
    "check_probability",
    "execution_probability",
    "softmax",
]
