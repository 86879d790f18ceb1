"""Options in layers, each of which knows the layer above it and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optioncoagent.gallery.options import option_critic
from optioncoagent.network import Coagent, CoagentNetwork, Gaussian


def feed_forward_options(num_options: Sequence[int], num_actions: int | Gaussian, shared: bool = False) -> CoagentNetwork:
    """The feed-forward option network: an option is a node of its layer, whichever node of the layer above has chosen it.

        S_t ──► option_1 ──► option_2 ──► action         each reads S_t and the node above; option_ℓ executes iff all
                  ┆            ┆                         terminations of levels ≥ ℓ say TERMINATE
             termination_1  termination_2                each reads S_t and the previous node of its own layer

    Zini, Pedramfar, Riemer, Liu, "Coagent Networks Revisited" (arXiv 2001.10474). num_options: nodes in each layer, top first.
    shared: one termination for all layers and, from the second on, one policy from layer to layer; layers are then of one size, and the
    parameters, ("termination_1", "option_1", "option_2", "action"), as many whatever the depth.
    Equal to `option_critic` with as many levels whose tables do not depend on the path above a node, each gradient here being the sum over
    the paths there; with one layer to `option_critic`; shared, to the network that is not, at equal parameters, with the layers' gradients
    added.
    ValueError for shared layers of several sizes.
    """
    if isinstance(num_options, int | str):
        raise ValueError(f"num_options={num_options!r}: give the number of nodes in each layer, as (2, 3)")
    sizes = tuple(num_options)
    if shared and len(set(sizes)) > 1:
        raise ValueError(f"num_options={sizes}: layers that share parameters have one size")
    hierarchy = option_critic(sizes, num_actions).coagents
    coagents = [replace(c, upstream=c.upstream[-1:], previous=c.previous[-1:]) for c in hierarchy]
    return CoagentNetwork(_sharing(c) for c in coagents) if shared else CoagentNetwork(coagents)


def _sharing(coagent: Coagent) -> Coagent:
    kind, _, level = coagent.name.partition("_")
    owner = {"termination": "termination_1", "option": "option_2"}.get(kind)
    first = not level or coagent.name == owner or coagent.name == "option_1"
    return coagent if first else replace(coagent, shares=owner)
