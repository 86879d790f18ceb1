"""Every network of the gallery, small: {name: function of the number of actions}."""

import optioncoagent as oc
from optioncoagent import gallery

NETWORKS = {
    "option-critic": lambda n: oc.option_critic(3, n),
    "deliberation cost": lambda n: oc.option_critic(3, n, first="terminate", deliberation_cost=0.3, initial=(0.2, 0.3, 0.5)),
    "two levels": lambda n: oc.option_critic((2, 2), n, deliberation_cost=0.2),
    "always terminating": lambda n: gallery.always_terminating(3, n),
    "random length": lambda n: gallery.random_length(3, n, 2.5),
    "bandit over options": lambda n: gallery.random_length(3, n, 2.5, observes=False),
    "clock": lambda n: gallery.clocked_options(2, n, 3),
    "feed-forward": lambda n: gallery.feed_forward_options((2, 3), n),
    "feed-forward, shared": lambda n: gallery.feed_forward_options((2, 2, 2), n, shared=True),
    "double actor-critic": lambda n: gallery.double_actor_critic(3, n, initial=(0.2, 0.3, 0.5)),
    "initiation": lambda n: gallery.initiation_sets(2, n),
    "layers": lambda n: gallery.stochastic_layers((2, 2), n),
    "memory": lambda n: gallery.with_memory(oc.option_critic(2, n), 2, readers=("option", "action")),
    "gate on the action": lambda n: gallery.with_gate(gallery.always_terminating(2, n), "action", upstream=("option",)),
    "gate on options of random length": lambda n: gallery.with_gate(gallery.random_length(3, n, 2), "option"),
    "three additions": lambda n: gallery.with_gate(gallery.with_memory(gallery.random_length(2, n, 4), 2), "action"),
}
