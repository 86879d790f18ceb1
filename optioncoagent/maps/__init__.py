"""Maps of options over the floor plan of a level: what each does, where it ends, where it is chosen and where it runs. matplotlib.

    plans           a level as an MDP, and its floor plan
    occupancy       an agent's options on it, cell by cell, exactly
    drawing         the figure
    command         optioncoagent maps

A room that knows both the agents and the exact solver.
"""

from typing import Any

from optioncoagent import lazy

_MODULES = {"drawing": ("option_maps",)}
__all__ = ["option_maps"]
MAX_STATES = 50_000  # of a MiniGrid level, where no other number is asked for


def __getattr__(name: str) -> Any:
    return lazy.load(__name__, _MODULES, name)
