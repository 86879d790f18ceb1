"""What the theory says, exactly."""

from optioncoagent.exact.comdp import CoMDP, comdp
from optioncoagent.exact.forms import FORMS, Comparison, Form, compare_gradients, termination_gradient
from optioncoagent.exact.gradients import expected_return, finite_difference, local_gradient, policy_gradient
from optioncoagent.exact.option_values import OptionValues, option_values
from optioncoagent.exact.synchronous import SynchronousMDP, synchronous

__all__ = [
    "FORMS",
    "CoMDP",
    "Comparison",
    "Form",
    "OptionValues",
    "SynchronousMDP",
    "comdp",
    "compare_gradients",
    "expected_return",
    "finite_difference",
    "local_gradient",
    "option_values",
    "policy_gradient",
    "synchronous",
    "termination_gradient",
]
