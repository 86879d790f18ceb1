"""Layers of small stochastic units."""

from __future__ import annotations

from collections.abc import Sequence

from optioncoagent.network import Coagent, CoagentNetwork, Gaussian


def stochastic_layers(
    sizes: Sequence[int], num_actions: int | Gaussian, additive: bool = False, units: int | Gaussian = 2
) -> CoagentNetwork:
    """A feed-forward network whose every unit is a coagent with one bit for output, and the action its last unit.

              ┌► unit_1_0 ─┬► unit_2_0 ─┐
        S_t ──┤            ╳            ├► action          each unit reads all units of the layer before, and only them;
              └► unit_1_1 ─┴► unit_2_1 ─┘                  all execute at every step

    Kostas et al., "Coagent Networks: Generalized and Scaled" (arXiv 2305.09838): no unit is given a derivative of another. sizes: units in
    each layer, first one first. A unit's policy is a table over what it reads, 2^n rows for n units: layers are narrow. additive: it is a
    sum of a term for each (logits linear in the bits), so that layers may have hundreds of units. units: the outputs of each, or a
    `Gaussian`, for units that give real numbers in additive layers.
    Equal to the flat policy without layers; to `always_terminating` with two options, whose action reads its option alone, with one
    layer of one unit. ValueError for layers of no units.
    """
    if isinstance(sizes, int | str):
        raise ValueError(f"sizes={sizes!r}: give the number of units in each layer, as (8, 8)")
    sizes = tuple(sizes)
    if any(size != int(size) or size < 1 for size in sizes):
        raise ValueError(f"sizes={sizes!r}: a layer has a whole number of units, at least one (no layers at all are the flat policy)")
    coagents, before = list[Coagent](), tuple[str, ...]()
    for layer, size in enumerate(sizes, start=1):
        made = [Coagent(f"unit_{layer}_{i}", units, not before, before, additive=additive and bool(before)) for i in range(int(size))]
        coagents, before = [*coagents, *made], tuple(unit.name for unit in made)
    return CoagentNetwork([*coagents, Coagent("action", num_actions, not before, before, additive=additive and bool(before))])
