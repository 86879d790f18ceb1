"""Option-critic as an asynchronous coagent network.

A coagent network is written down once, as data (`Coagent`, `CoagentNetwork`; `option_critic` is one), and three solvers read it:

    network, gallery, mdp   the descriptions: networks, option-critic among them, and finite MDPs. numpy, scipy
    exact                   what the theory says, by linear solves. numpy, scipy
    simulate                the same networks, sampled by compiled code. numba
    agents                  the learner: any network on any Gymnasium environment. torch
    auditing                theory and learner side by side. torch
    runs                    folders of runs that go on when they were killed, callbacks, what is drawn of runs
    maps, report            what options do on a floor plan; one page about runs. matplotlib
    experiments, cli        the experiments of the papers, the command line (`flags`: what its words mean; `leash`: it ends with its parent)
    examples                scripts that run
    compiling, imports,     what several share: Numba's cache, ids and modules of the user's, names that load when they are asked for,
    lazy, outputs           files that are written

Names load when first touched, so that `import optioncoagent` costs nothing of torch, minigrid or matplotlib.
"""

from __future__ import annotations

from typing import Any

from optioncoagent import lazy

_MODULES = {
    "network": ("Coagent", "CoagentNetwork", "Gaussian", "LocalState"),
    "gallery": ("CONTINUE", "TERMINATE", "option_critic"),
    "mdp": ("MDP",),
    "exact": (
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
    "simulate": ("estimate_gradient", "estimate_return"),
    "auditing": ("agent_gradient", "audit"),
    "agents": ("CoagentActorCritic", "OptionCritic"),
    "agents.settings": ("Settings",),
    "maps": (),
    "runs": (),
}
__all__ = sorted(name for names in _MODULES.values() for name in names)
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    return lazy.load(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *(module for module in _MODULES if module.isidentifier())})
