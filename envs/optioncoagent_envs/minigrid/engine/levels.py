"""MiniGrid's level generators, compiled: the same draws from the same stream, so that a seed names the same level.

A generator takes the rows of a batch that need a new level and writes them:

    rows (k,) int64, rng (n, 6) uint64 (`minigrid_random`), grid (n, cells) uint8 (`minigrid_codes`), agent (n, c)
    int64, shape (width, height, stride, pad), settings (s,) int64: what the environment was made with

A grid is stored row by row within a rim of `pad` cells of wall, so that no view reaches outside; a position is an index
into it. Each generator follows the `_gen_grid` of the class it is named after, draw for draw.
"""

from __future__ import annotations

import numpy as np
from minigrid.core.constants import COLOR_NAMES, COLOR_TO_IDX

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import BALL, DOOR_CLOSED, DOOR_LOCKED, EMPTY, GOAL, GREY_WALL, KEY, LAVA
from optioncoagent_envs.minigrid.engine.random import below, shuffle

# The columns of `agent`; LIMIT: of steps; TARGET: where the mission leads, and OTHER: a second position or the code of an
# object that it names (`minigrid_rules`, `minigrid_task_rules`). Then come a family's own: the positions of obstacles that
# move, in the order in which they do, or an instruction (`babyai_verifier`).
POSITION, DIRECTION, CARRIED, STEPS, LIMIT, MISSION, TARGET, OTHER = range(8)
AGENT_COLUMNS = 8
OBSTACLE = BALL + COLOR_TO_IDX["blue"]
OBSTACLE_TRIES = 100
COLORS = np.array([COLOR_TO_IDX[name] for name in COLOR_NAMES])  # in the order in which MiniGrid draws them
GREEN_GOAL = GOAL + COLOR_TO_IDX["green"]
YELLOW = COLOR_TO_IDX["yellow"]
FOREVER = 1 << 62


@njit(cache=True, nogil=True)
def position(shape, x, y):
    return (y + shape[3]) * shape[2] + x + shape[3]


@njit(cache=True, nogil=True)
def bar(cells, shape, x, y, width, height, code):
    """Fills a rectangle, of width or height 1 for a line."""
    for j in range(y, y + height):
        for i in range(x, x + width):
            cells[position(shape, i, j)] = code


@njit(cache=True, nogil=True)
def walls(cells, shape, x, y, width, height):
    """The four walls of a rectangle (`Grid.wall_rect`)."""
    bar(cells, shape, x, y, width, 1, GREY_WALL)
    bar(cells, shape, x, y + height - 1, width, 1, GREY_WALL)
    bar(cells, shape, x, y, 1, height, GREY_WALL)
    bar(cells, shape, x + width - 1, y, 1, height, GREY_WALL)


@njit(cache=True, nogil=True)
def blank(cells, shape):
    bar(cells, shape, 0, 0, shape[0], shape[1], EMPTY)


@njit(cache=True, nogil=True)
def walled(cells, shape):
    blank(cells, shape)
    walls(cells, shape, 0, 0, shape[0], shape[1])


@njit(cache=True, nogil=True)
def begin(agent, at, direction):
    agent[POSITION], agent[DIRECTION], agent[CARRIED] = at, direction, EMPTY
    agent[STEPS], agent[MISSION], agent[TARGET], agent[OTHER] = 0, 0, 0, 0


@njit(cache=True, nogil=True)
def find(stream, cells, shape, x, y, width, height, agent, apart, tries):
    """`place_obj`: an empty cell of the rectangle, at least `apart` steps from the position `agent` (0 for none).

    Returns its position, or 0 if none was found.
    """
    x, y = max(x, 0), max(y, 0)
    right, bottom = min(x + width, shape[0]), min(y + height, shape[1])
    ax, ay = agent % shape[2] - shape[3], agent // shape[2] - shape[3]
    tried = 0
    while tried <= tries:
        tried += 1
        i = below(stream, x, right)
        j = below(stream, y, bottom)
        at = position(shape, i, j)
        if cells[at] == EMPTY and abs(i - ax) + abs(j - ay) >= apart:
            return at
    return 0


@njit(cache=True, nogil=True)
def place(stream, cells, shape, x, y, width, height, agent, apart, tries):
    """`find`, with MiniGrid's error if there is no such cell."""
    at = find(stream, cells, shape, x, y, width, height, agent, apart, tries)
    if at == 0:
        raise RecursionError("rejection sampling failed in place_obj")
    return at


@njit(cache=True, nogil=True)
def draw_colors(stream, number):
    """`_rand_subset`: that many different colours in the order drawn; those not drawn stay in order behind."""
    colors = COLORS.copy()
    for k in range(number):
        drawn = k + below(stream, 0, len(colors) - k)
        color = colors[drawn]
        for m in range(drawn, k, -1):
            colors[m] = colors[m - 1]
        colors[k] = color
    return colors


@njit(cache=True, nogil=True)
def place_agent(stream, cells, agent, shape, x, y, width, height):
    at = place(stream, cells, shape, x, y, width, height, 0, 0, FOREVER)
    begin(agent, at, below(stream, 0, 4))


@njit(cache=True, nogil=True)
def place_goal(stream, cells, agent, shape, x, y, width, height):
    cells[place(stream, cells, shape, x, y, width, height, agent[POSITION], 1, FOREVER)] = GREEN_GOAL


@njit(cache=True, nogil=True)
def empty(rows, rng, grid, agent, shape, settings):
    """EmptyEnv; settings: x, y, direction of the start, x < 0 for a random one."""
    for row in rows:
        cells = grid[row]
        walled(cells, shape)
        cells[position(shape, shape[0] - 2, shape[1] - 2)] = GREEN_GOAL
        if settings[0] < 0:
            place_agent(rng[row], cells, agent[row], shape, 0, 0, shape[0], shape[1])
        else:
            begin(agent[row], position(shape, settings[0], settings[1]), settings[2])


@njit(cache=True, nogil=True)
def dynamic_obstacles(rows, rng, grid, agent, shape, settings):
    """DynamicObstaclesEnv; settings: those of EmptyEnv."""
    empty(rows, rng, grid, agent, shape, settings)
    for row in rows:
        for k in range(AGENT_COLUMNS, agent.shape[1]):
            start = agent[row, POSITION]
            at = place(rng[row], grid[row], shape, 0, 0, shape[0], shape[1], start, 1, OBSTACLE_TRIES)
            grid[row, at] = OBSTACLE
            agent[row, k] = at


@njit(cache=True, nogil=True)
def dist_shift(rows, rng, grid, agent, shape, settings):
    """DistShiftEnv; settings: those of EmptyEnv, and the row of the second strip of lava."""
    for row in rows:
        cells = grid[row]
        walled(cells, shape)
        cells[position(shape, shape[0] - 2, 1)] = GREEN_GOAL
        bar(cells, shape, 3, 1, shape[0] - 6, 1, LAVA)
        bar(cells, shape, 3, settings[3], shape[0] - 6, 1, LAVA)
        if settings[0] < 0:
            place_agent(rng[row], cells, agent[row], shape, 0, 0, shape[0], shape[1])
        else:
            begin(agent[row], position(shape, settings[0], settings[1]), settings[2])


@njit(cache=True, nogil=True)
def lava_gap(rows, rng, grid, agent, shape, settings):
    """LavaGapEnv; settings: the code of the obstacle."""
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        begin(agent[row], position(shape, 1, 1), 0)
        cells[position(shape, shape[0] - 2, shape[1] - 2)] = GREEN_GOAL
        x = below(stream, 2, shape[0] - 2)
        y = below(stream, 1, shape[1] - 1)
        bar(cells, shape, x, 1, 1, shape[1] - 2, settings[0])
        cells[position(shape, x, y)] = EMPTY


@njit(cache=True, nogil=True)
def crossing(rows, rng, grid, agent, shape, settings):
    """CrossingEnv; settings: the number of crossings, the code of the obstacle."""
    width, height = shape[0], shape[1]
    count_v, count_h = len(range(2, height - 2, 2)), len(range(2, width - 2, 2))
    rivers = np.empty(count_v + count_h, np.int64)  # the vertical ones from left to right, the horizontal ones down
    vertical, horizontal = np.empty(count_v, np.int64), np.empty(count_h, np.int64)
    crossed = np.empty(len(rivers), np.bool_)
    number = min(settings[0], len(rivers))
    path = np.empty(number, np.int64)  # 1: through a vertical river, to the right; 0: through a horizontal one, down
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        begin(agent[row], position(shape, 1, 1), 0)
        cells[position(shape, width - 2, height - 2)] = GREEN_GOAL
        for k in range(len(rivers)):
            rivers[k] = k
            crossed[k] = False
        shuffle(stream, rivers)
        for k in range(number):
            crossed[rivers[k]] = True
        num_v = num_h = 0
        for k in range(len(rivers)):
            if crossed[k] and k < count_v:
                vertical[num_v] = 2 * k + 2
                bar(cells, shape, vertical[num_v], 1, 1, height - 2, settings[1])
                num_v += 1
            elif crossed[k]:
                horizontal[num_h] = 2 * (k - count_v) + 2
                bar(cells, shape, 1, horizontal[num_h], width - 2, 1, settings[1])
                num_h += 1
        for k in range(number):
            path[k] = k < num_v
        shuffle(stream, path)
        i, j = 0, 0  # rivers crossed to the right and down so far
        for rightwards in path:
            left = vertical[i - 1] if i > 0 else 0
            right = vertical[i] if i < num_v else height - 1
            top = horizontal[j - 1] if j > 0 else 0
            bottom = horizontal[j] if j < num_h else width - 1
            if rightwards:
                x, y = right, below(stream, top + 1, bottom)
                i += 1
            else:
                x, y = below(stream, left + 1, right), bottom
                j += 1
            cells[position(shape, x, y)] = EMPTY


@njit(cache=True, nogil=True)
def door_key(rows, rng, grid, agent, shape, settings):
    """DoorKeyEnv; no settings."""
    width, height = shape[0], shape[1]
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        cells[position(shape, width - 2, height - 2)] = GREEN_GOAL
        split = below(stream, 2, width - 2)
        bar(cells, shape, split, 0, 1, height, GREY_WALL)
        place_agent(stream, cells, agent[row], shape, 0, 0, split, height)
        cells[position(shape, split, below(stream, 1, height - 2))] = DOOR_LOCKED + YELLOW
        cells[place(stream, cells, shape, 0, 0, split, height, agent[row, POSITION], 1, FOREVER)] = KEY + YELLOW


@njit(cache=True, nogil=True)
def four_rooms(rows, rng, grid, agent, shape, settings):
    """FourRoomsEnv; no settings."""
    width, height = shape[0], shape[1]
    room_width, room_height = width // 2, height // 2
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        for j in range(2):
            for i in range(2):
                left, top = i * room_width, j * room_height
                right, bottom = left + room_width, top + room_height
                if i == 0:
                    bar(cells, shape, right, top, 1, room_height, GREY_WALL)
                    cells[position(shape, right, below(stream, top + 1, bottom))] = EMPTY
                if j == 0:
                    bar(cells, shape, left, bottom, room_width, 1, GREY_WALL)
                    cells[position(shape, below(stream, left + 1, right), bottom)] = EMPTY
        place_agent(stream, cells, agent[row], shape, 0, 0, width, height)
        place_goal(stream, cells, agent[row], shape, 0, 0, width, height)


@njit(cache=True, nogil=True)
def locked_room(rows, rng, grid, agent, shape, settings):
    """LockedRoomEnv; no settings. Mission 6 * (colour of the locked room) + (colour of the room with the key)."""
    width, height = shape[0], shape[1]
    left, right = width // 2 - 2, width // 2 + 2
    room_width, room_height = left + 1, height // 3 + 1
    for row in rows:
        cells, stream = grid[row], rng[row]
        walled(cells, shape)
        bar(cells, shape, left, 0, 1, height, GREY_WALL)
        bar(cells, shape, right, 0, 1, height, GREY_WALL)
        for n in range(3):
            bar(cells, shape, 0, n * (height // 3), left, 1, GREY_WALL)
            bar(cells, shape, right, n * (height // 3), width - right, 1, GREY_WALL)
        # rooms are numbered from the top, left before right
        locked = below(stream, 0, 6)
        x, y = locked % 2 * right, locked // 2 * (height // 3)
        i = below(stream, x + 1, x + room_width - 1)
        j = below(stream, y + 1, y + room_height - 1)
        cells[position(shape, i, j)] = GREEN_GOAL
        colors = draw_colors(stream, 6)
        for room in range(6):
            door = position(shape, right if room % 2 else left, room // 2 * (height // 3) + 3)
            cells[door] = colors[room] + (DOOR_LOCKED if room == locked else DOOR_CLOSED)
        key_room = below(stream, 0, 6)
        while key_room == locked:
            key_room = below(stream, 0, 6)
        x, y = key_room % 2 * right, key_room // 2 * (height // 3)
        i = below(stream, x + 1, x + room_width - 1)
        j = below(stream, y + 1, y + room_height - 1)
        cells[position(shape, i, j)] = KEY + colors[locked]
        place_agent(stream, cells, agent[row], shape, left, 0, right - left, height)
        agent[row, MISSION] = 6 * colors[locked] + colors[key_room]
