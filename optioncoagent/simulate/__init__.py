"""The same networks, sampled: compiled loops, parallel over episodes, reproducible for a seed whatever the number of threads."""

from optioncoagent.simulate.estimators import (
    GradientEstimate,
    ReturnEstimate,
    estimate_finite_difference,
    estimate_gradient,
    estimate_return,
)

__all__ = ["GradientEstimate", "ReturnEstimate", "estimate_finite_difference", "estimate_gradient", "estimate_return"]
