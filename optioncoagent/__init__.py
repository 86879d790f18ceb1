"""Option-critic as an asynchronous coagent network.

A coagent network is written down once, as data (`Coagent`, `CoagentNetwork`; `option_critic` is one), and three solvers read it:

    network, gallery, mdp   the descriptions: networks, option-critic among them, and finite MDPs. numpy, scipy
    exact                   what the theory says, by linear solves. numpy, scipy
    simulate                the same networks, sampled by compiled code. numba
    agents                  the learner: any network on any Gymnasium environment. torch
    auditing                theory and learner side by side. torch
    runs                    folders of runs that go on when they were killed, callbacks, what is drawn of runs
    maps, report            what options do on a floor plan; one page about runs. matplotlib
    experiments, cli        the experiments of the papers, the command line (`flags`: its words; `leash`: it ends with its parent)
    examples                scripts that run
    compiling, imports,     what several share: Numba's cache, modules of the user's, files that are written
    outputs

Names load when first touched, so that `import optioncoagent` costs nothing of torch, minigrid or matplotlib.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "optioncoagent.network": ("Coagent", "CoagentNetwork", "Gaussian", "LocalState"),
    "optioncoagent.gallery": ("CONTINUE", "TERMINATE", "option_critic"),
    "optioncoagent.mdp": ("MDP",),
    "optioncoagent.exact": (
        "ascend",
        "comdp",
        "compare_gradients",
        "expected_return",
        "finite_difference",
        "local_gradient",
        "option_values",
        "policy_gradient",
        "synchronous",
        "termination_gradient",
    ),
    "optioncoagent.simulate": ("estimate_gradient", "estimate_return"),
    "optioncoagent.auditing": ("agent_gradient", "audit"),
    "optioncoagent.agents": ("CoagentActorCritic", "OptionCritic"),
    "optioncoagent.agents.settings": ("Settings",),
}
_ROOMS = ("agents", "auditing", "exact", "gallery", "maps", "mdp", "network", "runs", "simulate")
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_MODULE_OF)
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"optioncoagent.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'optioncoagent' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
