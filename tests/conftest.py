"""Hypothesis profiles: `pytest --hypothesis-profile thorough` draws thousands of cases for each statement."""

import signal
import sys

import pytest
import torch
from hypothesis import HealthCheck, settings

# a shell's background job ignores Ctrl-C, and so would what is interrupted here
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # the networks here are small: threads would only wait for each other

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ordinary", max_examples=50, deadline=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("thorough", max_examples=5000, deadline=None, suppress_health_check=_SLOW)
settings.load_profile("ordinary")


@pytest.fixture(autouse=True)
def forgets_modules_of_a_test(request):
    """A module that a test has written and imported is none of the next test's, which may write one of the same name."""
    folder = str(request.getfixturevalue("tmp_path")) if "tmp_path" in request.fixturenames else None
    yield
    for name, module in list(sys.modules.items()):
        if folder and (getattr(module, "__file__", None) or "").startswith(folder):
            del sys.modules[name]
