"""The arrays of a compiled batch, of which each environment has a row.

grid (n, cells) uint8    the cells' codes (`codes`), line by line within a rim of `pad` cells of wall, so that no view
                         reaches outside; a *position* is an index into a row
agent (n, c) int64       the columns POSITION … OTHER, then a family's own
marks (n, 2, cells or 0) uint8: what an instruction asks for (`babyai.verifier`)
rng (n, 6) uint64        where the levels to come are drawn from (`random`)
shape                    (width, height, stride, pad): of the grid, the length of a line with its rim, and the rim's width
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from optioncoagent_envs.compiling import njit

# The columns of `agent`. LIMIT: of steps; MISSION: the number of its text; TARGET: where the mission leads, and OTHER: a second
# position or the code of an object that it names, as each of `tasks` says.
POSITION, DIRECTION, CARRIED, STEPS, LIMIT, MISSION, TARGET, OTHER = range(8)
AGENT_COLUMNS = 8

Shape = tuple[int, int, int, int]


@njit(cache=True, nogil=True)
def position(shape, x, y):
    return (y + shape[3]) * shape[2] + x + shape[3]


class Row(NamedTuple):
    """One environment. grid (cells,) uint8; agent (c,) int64; marks (2, cells or 0) uint8; rng (6,) uint64."""

    grid: np.ndarray
    agent: np.ndarray
    marks: np.ndarray
    rng: np.ndarray


def positions(shape: Shape) -> Callable[[int, int], int]:
    """(x, y) -> position."""
    _, _, stride, pad = shape
    return lambda x, y: int((y + pad) * stride + x + pad)


def points(shape: Shape) -> Callable[[int], tuple[int, int]]:
    """position -> (x, y)."""
    _, _, stride, pad = shape
    return lambda at: (int(at) % stride - pad, int(at) // stride - pad)
