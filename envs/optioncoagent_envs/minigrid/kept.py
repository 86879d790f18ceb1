"""What MiniGrid's environments remember beside the grid, and where a row of the batch keeps it.

`read` gives an environment, whose grid and agent are the row's already, the attribute; `write` puts it into the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.world_object import WorldObj

from optioncoagent_envs.minigrid.engine.codes import code_of, is_named, object_of
from optioncoagent_envs.minigrid.engine.rows import AGENT_COLUMNS, CARRIED, Row, Shape, points, positions


class Kept(Protocol):
    def read(self, env: Any, row: Row, shape: Shape) -> None: ...

    def write(self, env: Any, row: Row, shape: Shape) -> None: ...


@dataclass(frozen=True)
class Place:
    """A cell (x, y); the column is its position."""

    column: int
    attribute: str

    def read(self, env: Any, row: Row, shape: Shape) -> None:
        setattr(env, self.attribute, points(shape)(row.agent[self.column]))

    def write(self, env: Any, row: Row, shape: Shape) -> None:
        row.agent[self.column] = positions(shape)(*getattr(env, self.attribute))


@dataclass(frozen=True)
class Door:
    """A door of the grid; the column is its position. ValueError if the grid lacks it."""

    column: int
    attribute: str

    def read(self, env: Any, row: Row, shape: Shape) -> None:
        setattr(env, self.attribute, env.grid.get(*points(shape)(row.agent[self.column])))

    def write(self, env: Any, row: Row, shape: Shape) -> None:
        door = getattr(env, self.attribute)
        if door is None or door not in env.grid.grid:
            raise ValueError(f"{env} has its {self.attribute} nowhere in the grid")
        y, x = divmod(env.grid.grid.index(door), shape[0])
        row.agent[self.column] = positions(shape)(x, y)


@dataclass(frozen=True)
class Thing:
    """The type and the colour of an object; the column is its code."""

    column: int
    kind: str
    color: str

    def read(self, env: Any, row: Row, shape: Shape) -> None:
        wanted: Any = object_of(int(row.agent[self.column]))
        setattr(env, self.kind, wanted.type)
        setattr(env, self.color, wanted.color)

    def write(self, env: Any, row: Row, shape: Shape) -> None:
        kind, color = OBJECT_TO_IDX[getattr(env, self.kind)], COLOR_TO_IDX[getattr(env, self.color)]
        row.agent[self.column] = code_of(WorldObj.decode(kind, color, 0))


@dataclass(frozen=True)
class Named:
    """The one object that is to be picked up; its code in the grid or in hand says so (None: it is gone with its box)."""

    attribute: str

    def read(self, env: Any, row: Row, shape: Shape) -> None:
        lying = (env.grid.get(*points(shape)(at)) for at, code in enumerate(row.grid.tolist()) if is_named(code))
        setattr(env, self.attribute, next(lying, env.carrying if is_named(int(row.agent[CARRIED])) else None))

    def write(self, env: Any, row: Row, shape: Shape) -> None:
        named = getattr(env, self.attribute)
        if named is None:
            return
        for k, obj in enumerate(env.grid.grid):
            if obj is named:
                row.grid[positions(shape)(k % shape[0], k // shape[0])] = code_of(obj, named=True)
        if env.carrying is named:
            row.agent[CARRIED] = code_of(named, named=True)


@dataclass(frozen=True)
class Obstacles:
    """The balls that move, in their order; the columns from AGENT_COLUMNS on are their positions. ValueError if their number differs."""

    attribute: str

    def read(self, env: Any, row: Row, shape: Shape) -> None:
        setattr(env, self.attribute, [env.grid.get(*points(shape)(at)) for at in row.agent[AGENT_COLUMNS:]])

    def write(self, env: Any, row: Row, shape: Shape) -> None:
        balls, number = getattr(env, self.attribute), len(row.agent) - AGENT_COLUMNS
        if len(balls) != number:
            raise ValueError(f"{env} has {len(balls)} {self.attribute}, and an environment of this batch has {number}")
        row.agent[AGENT_COLUMNS:] = [positions(shape)(*ball.cur_pos) for ball in balls]
