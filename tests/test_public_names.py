"""The names at the top of the package."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("first", ["import optioncoagent.exact", "import optioncoagent.option_critic", "import optioncoagent.mdp"])
def test_option_critic_is_the_function_whatever_was_imported_first(first):
    """The module optioncoagent.option_critic must not take the place of the function of that name."""
    code = f"{first}; import optioncoagent; assert optioncoagent.option_critic(2, 3).names == ('termination', 'option', 'action')"
    subprocess.run([sys.executable, "-c", code], check=True)
