"""Networks of coagents as data. numpy only.

coagent         the records: Coagent, LocalState
execution       execution functions: traced, tabulated, evaluated
plan            how a tick runs: what is live, read, retained, dropped, charged for, coagent by coagent
description     CoagentNetwork: order, what each coagent reads, memory, K, parameters
"""

from optioncoagent.network.coagent import Coagent, FloatArray, LocalState
from optioncoagent.network.description import CoagentNetwork, softmax
from optioncoagent.network.execution import Touched, check_probability, execution_probability
from optioncoagent.network.plan import CoagentPlan

__all__ = [
    "Coagent",
    "CoagentNetwork",
    "CoagentPlan",
    "FloatArray",
    "LocalState",
    "Touched",
    "check_probability",
    "execution_probability",
    "softmax",
]
