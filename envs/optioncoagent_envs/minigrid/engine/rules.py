"""MiniGrid's rules, compiled: the seven actions and the ways to end.

The arrays are those of `minigrid_levels`. A goal or lava that the agent enters ends the episode in every environment;
`rule` says what else does: GOAL_ONLY nothing, PICKUP holding the object that the mission names after a pick-up action,
OPEN the door at TARGET standing open after a toggle action, AVOID walking towards anything but the goal, among obstacles
that move first, TOLD what BabyAI's instruction asks for (`babyai_verifier`), the others what `minigrid_task_rules` says.
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
    is_open,
)
from optioncoagent_envs.minigrid.engine.levels import (
    AGENT_COLUMNS,
    CARRIED,
    DIRECTION,
    OBSTACLE_TRIES,
    POSITION,
    TARGET,
    find,
)

GOAL_ONLY, PICKUP, OPEN, AVOID, TOLD, FETCH, GO_NEXT_TO, PUT_NEAR, RED_THEN_BLUE, MATCH = range(10)
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
def act(cells, agent, action, stride, rule):
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
            agent[CARRIED] = carried = code
            cells[front] = EMPTY
        if rule == PICKUP and carried >= KEY:
            return SUCCESS if is_named(carried) else GOING_ON
    elif action == DROP:
        if code == EMPTY and carried != EMPTY:
            cells[front] = carried
            agent[CARRIED] = EMPTY
    elif action == TOGGLE:
        cells[front] = toggled(code, carried)
        if rule == OPEN and is_open(cells[agent[TARGET]]):
            return SUCCESS
    return GOING_ON


@njit(cache=True, nogil=True)
def act_among_obstacles(cells, agent, stream, action, shape):
    """DynamicObstaclesEnv.step: as `act`, or COLLIDED for running into something."""
    if action > FORWARD:
        action = LEFT
    front = cells[ahead(agent, shape[2])]
    blocked = front != EMPTY and not GOAL <= front < LAVA
    for k in range(AGENT_COLUMNS, len(agent)):
        y, x = agent[k] // shape[2] - shape[3] - 1, agent[k] % shape[2] - shape[3] - 1
        at = find(stream, cells, shape, x, y, 3, 3, agent[POSITION], 1, OBSTACLE_TRIES)
        if at > 0:
            cells[at] = cells[agent[k]]
            cells[agent[k]] = EMPTY
            agent[k] = at
    outcome = act(cells, agent, action, shape[2], GOAL_ONLY)
    return COLLIDED if action == FORWARD and blocked else outcome
