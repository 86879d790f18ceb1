"""MiniGrid's rules, compiled: the seven actions, and the ways to end that several tasks share (arrays as in `rows`).

A *rule* is what a task's environment does with an action, before it is observed:

    rule(row, action, rng, grid, agent, marks, shape) -> outcome

of the environment in that row. It takes the whole arrays, since a view of one that it does not need would cost a fifth of a
step. `act` does what all of them do; a goal or lava that the agent enters ends the episode in every environment. Any outcome
but GOING_ON ends it; SUCCESS is rewarded, COLLIDED punished. A rule that only one task has stands beside its levels, in `tasks`.
"""

from __future__ import annotations

import numpy as np

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import (
    BALL,
    BOX,
    BOX_NAMED,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    EMPTY,
    GOAL,
    KEY,
    LAVA,
    NUM_COLORS,
    WALL,
    is_named,
)
from optioncoagent_envs.minigrid.engine.rows import CARRIED, DIRECTION, POSITION

GOING_ON, SUCCESS, IN_LAVA, COLLIDED, FAILED = 0, 1, -1, -2, -3  # outcomes of a step
LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(7)  # minigrid.core.actions.Actions


@njit(cache=True, nogil=True)
def toggled(code, carried):
    """What a cell becomes when it is toggled by an agent that carries `carried`."""
    if DOOR_OPEN <= code < DOOR_CLOSED:
        return code + (DOOR_CLOSED - DOOR_OPEN)
    if DOOR_CLOSED <= code < DOOR_LOCKED:
        return code - (DOOR_CLOSED - DOOR_OPEN)
    if DOOR_LOCKED <= code < WALL:
        color = code - DOOR_LOCKED
        fits = KEY <= carried < BALL and (carried - KEY) % NUM_COLORS == color
        return DOOR_OPEN + color if fits else code
    if code >= BOX:
        inside = (code - BOX) % BOX_NAMED // NUM_COLORS
        return KEY + inside - 1 if inside > 0 else EMPTY
    return code


@njit(cache=True, nogil=True)
def ahead(agent, stride):
    """The position before the agent."""
    step = 1 if agent[DIRECTION] % 2 == 0 else stride
    return agent[POSITION] + step if agent[DIRECTION] < 2 else agent[POSITION] - step


@njit(cache=True, nogil=True)
def act(cells, agent, action, stride):
    """One action of one agent; returns the outcome."""
    direction = agent[DIRECTION]
    front = ahead(agent, stride)
    code = np.int64(cells[front])
    carried = agent[CARRIED]
    if action == LEFT:
        agent[DIRECTION] = (direction + 3) % 4
    elif action == RIGHT:
        agent[DIRECTION] = (direction + 1) % 4
    elif action == FORWARD:
        if code < DOOR_CLOSED:
            agent[POSITION] = front
        if GOAL <= code < LAVA:
            return SUCCESS
        if code == LAVA:
            return IN_LAVA
    elif action == PICK_UP:
        if code >= KEY and carried == EMPTY:
            agent[CARRIED] = code
            cells[front] = EMPTY
    elif action == DROP:
        if code == EMPTY and carried != EMPTY:
            cells[front] = carried
            agent[CARRIED] = EMPTY
    elif action == TOGGLE:
        cells[front] = toggled(code, carried)
    return GOING_ON


@njit(cache=True, nogil=True)
def reach_goal(row, action, rng, grid, agent, marks, shape):
    """Nothing ends an episode but what `act` says."""
    cells, me = grid[row], agent[row]
    return act(cells, me, action, shape[2])


@njit(cache=True, nogil=True)
def pick_up_named(row, action, rng, grid, agent, marks, shape):
    """To hold the object that the mission names, after a pick-up action, succeeds."""
    cells, me = grid[row], agent[row]
    outcome = act(cells, me, action, shape[2])
    return SUCCESS if action == PICK_UP and is_named(me[CARRIED]) else outcome
