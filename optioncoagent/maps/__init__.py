"""Maps of options over the floor plan of a level: what each does, where it ends, where it is chosen and where it runs. matplotlib.

    plans           a level as an MDP, and its floor plan
    occupancy       an agent's options on it, cell by cell, exactly
    drawing         the figure
    command         optioncoagent maps

A room that knows both the agents and the exact solver.
"""

from typing import Any

__all__ = ["option_maps"]


def __getattr__(name: str) -> Any:
    """Load torch and matplotlib only when a map is asked for: the command line reads `maps.command` alone."""
    if name != "option_maps":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from optioncoagent.maps.drawing import option_maps

    return option_maps
