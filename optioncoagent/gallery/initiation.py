"""Options that cannot be chosen everywhere: initiation coagents."""

from __future__ import annotations

from dataclasses import replace

from optioncoagent.gallery.options import option_critic
from optioncoagent.network import Coagent, CoagentNetwork, Gaussian

UNAVAILABLE = 0
AVAILABLE = 1


def initiation_sets(num_options: int, num_actions: int | Gaussian) -> CoagentNetwork:
    """Option-critic with a coagent for each option that says whether the option is available here; the choice knows which are.

        S_t ──► initiation_0 … initiation_{O-1} ──► option ──► action      option executes iff termination says TERMINATE
         └──────────────────────────────────────────▲  ┆        ▲          (option and action read S_t too)
                                            termination, as in option-critic

    An initiation set that is drawn, and learned, after Khetarpal et al., "Options of Interest" (AAAI 2020), where an option's interest in a
    state is a number, I_ω(s), that multiplies the policy over options. The option's parameters, (S, 2, …, 2, O), are a policy over options
    for each set of available ones. They make the set binding where they are very low for what is not in it; otherwise the set is a message.
    Equal to `option_critic` where everything is available everywhere (interest one); and, where availability is certain in each state and
    the set binding, to the paper's π_Ω renormalised over the options of interest. ValueError for several levels.
    """
    network = option_critic(num_options, num_actions)
    if len(network.names) > 3:
        raise ValueError(f"num_options={num_options!r}: initiation sets are of options of one level")
    termination, option, action = network.coagents
    bits = [Coagent(f"initiation_{number}", 2) for number in range(option.num_outputs)]
    return CoagentNetwork([termination, *bits, replace(option, upstream=tuple(bit.name for bit in bits)), action])
