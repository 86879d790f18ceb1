"""What the theory says, exactly."""

from optioncoagent.exact.forms import FORMS, Comparison, Form, compare_gradients, termination_gradient
from optioncoagent.exact.gradients import expected_return, finite_difference, local_gradient, policy_gradient
from optioncoagent.exact.option_values import OptionValues, option_values

__all__ = [
    "FORMS",
    "Comparison",
    "Form",
    "OptionValues",
    "compare_gradients",
    "expected_return",
    "finite_difference",
    "local_gradient",
    "option_values",
    "policy_gradient",
    "termination_gradient",
]
