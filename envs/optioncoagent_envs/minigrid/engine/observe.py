"""What the agent sees, compiled: MiniGrid's rotated, occluded and encoded view.

A view of size V has V*V cells in the order of the image, `cell = i * V + j`: column i from left to right, row j from
far to near; the agent stands at (V // 2, V - 1) and looks towards row 0. Cells are words (`codes`).
"""

from __future__ import annotations

import numpy as np

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import GREY_WALL, TRANSPARENT, WORDS
from optioncoagent_envs.minigrid.engine.rows import CARRIED, DIRECTION, POSITION

USUAL = 7
LARGEST = 63  # of a view: a row is kept in the bits of an integer
AHEAD = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])  # direction -> (dx, dy)
OUTSIDE = WORDS[GREY_WALL]  # beyond the grid MiniGrid shows grey wall
AGENT = np.uint32(10)  # the object "agent", red, its state the direction
NONE, ONE = np.uint64(0), np.uint64(1)
U8, U16, U24 = np.uint32(8), np.uint32(16), np.uint32(24)


def view_offsets(size: int) -> np.ndarray:
    """Where each cell of the view lies from the agent: (4, size * size, 2) as (dx, dy), by the agent's direction."""
    column, row = np.divmod(np.arange(size * size), size)
    forward, right = size - 1 - row, column - size // 2
    dx, dy = AHEAD[:, 0, None], AHEAD[:, 1, None]
    return np.stack([forward * dx - right * dy, forward * dy + right * dx], axis=-1)


@njit(cache=True, nogil=True)
def write_word(image, cell, word):
    """Three bytes of a word, at the cell's place in a flat image."""
    image[np.uintp(3 * cell)] = np.uint8(word)
    image[np.uintp(3 * cell + 1)] = np.uint8(word >> U8)
    image[np.uintp(3 * cell + 2)] = np.uint8(word >> U16)


@njit(cache=True, nogil=True)
def write_view(cells, size, see_through, carried, image):
    """Occludes the view's `cells` (size * size,) uint32 in place and writes `image` (size * size * 3,) uint8.

    MiniGrid lets light through row by row from the agent's feet: in each row to the right, then to the left, and from
    every lit transparent cell into three cells of the next row (`Grid.process_vis`). Here a row is an integer of bits.
    The agent's own cell shows the word `carried`. Unsigned indices spare a test for negative ones.
    """
    middle = size // 2
    full = (ONE << np.uint64(size)) - ONE
    lit = ONE << np.uint64(middle)
    for row in range(size - 1, -1, -1):
        clear = NONE
        for column in range(size):
            clear |= (np.uint64(cells[np.uintp(column * size + row)] >> U24) & ONE) << np.uint64(column)
        if see_through:
            lit = full
        # to the right: adding to a run of ones carries through it
        source = lit & clear
        passing = ((clear & ~(clear + source)) | source) & (full >> ONE)
        lit |= passing << ONE
        above = passing | passing << ONE
        # to the left: a doubling flood
        passing = lit & clear
        through = clear
        shift = ONE
        while shift < np.uint64(size):
            passing |= through & (passing >> shift)
            through &= through >> shift
            shift <<= ONE
        passing &= ~ONE
        lit |= passing >> ONE
        above |= passing | passing >> ONE
        for column in range(size):
            cells[np.uintp(column * size + row)] *= np.uint32((lit >> np.uint64(column)) & ONE)
        lit = above
    cells[np.uintp(middle * size + size - 1)] = carried
    for cell in range(size * size):
        write_word(image, cell, cells[np.uintp(cell)])


@njit(cache=True, nogil=True)
def write_agent(image, at, direction):
    """Draws the agent into a full observation: MiniGrid's (agent, red, direction)."""
    image[3 * at] = AGENT
    image[3 * at + 1] = 0
    image[3 * at + 2] = direction


@njit(cache=True, nogil=True)
def observe_views(words, poses, carried, shape, size, see_through, offsets, images):
    """Images from the cells of each view that lie inside the grid.

    words (k,) uint32: those cells, view after view, in the view's order; poses (n,) int64: 4 * (y * width + x) +
    direction; carried (n,) uint32: the words of what is carried; shape: (width, height) of the grid; offsets as
    `view_offsets`; images (n, size * size * 3) uint8 are written.
    """
    cells = np.empty(size * size, np.uint32)
    width, height = shape
    taken = 0
    for i in range(len(poses)):
        direction = poses[i] % 4
        x, y = poses[i] // 4 % width, poses[i] // 4 // width
        for cell in range(size * size):
            cx = x + offsets[direction, cell, 0]
            cy = y + offsets[direction, cell, 1]
            if 0 <= cx < width and 0 <= cy < height:
                cells[cell] = words[taken]
                taken += 1
            else:
                cells[cell] = OUTSIDE
        write_view(cells, size, see_through, carried[i], images[i])


@njit(cache=True, nogil=True)
def observe_whole(words, poses, width, height, images):
    """FullyObsWrapper's images (n, width * height * 3) from the words of each grid, in the grid's order."""
    for i in range(len(poses)):
        for x in range(width):
            for y in range(height):
                write_word(images[i], x * height + y, words[(i * height + y) * width + x])
        x, y = poses[i] // 4 % width, poses[i] // 4 // width
        write_agent(images[i], x * height + y, poses[i] % 4)


# Observations of some rows of the compiled batch (arrays as in `rows`): images (n, pixels) uint8 and
# directions (n,) int64 are written; offsets (4, size * size) are differences of positions. The usual view has a kernel
# of its own, because a constant size lets the compiler unroll it.


@njit(cache=True, nogil=True)
def observe_usual(rows, grid, agent, offsets, see_through, images, directions):
    """The view of MiniGrid's usual size."""
    scratch = np.empty(USUAL * USUAL, np.uint32)
    for row in rows:
        at, direction = agent[row, POSITION], agent[row, DIRECTION]
        cells, ways = grid[row], offsets[direction]
        for cell in range(USUAL * USUAL):
            scratch[np.uintp(cell)] = WORDS[cells[np.uintp(at + ways[np.uintp(cell)])]]
        write_view(scratch, USUAL, see_through, WORDS[agent[row, CARRIED]], images[row])
        directions[row] = direction


@njit(cache=True, nogil=True)
def observe_sized(rows, grid, agent, offsets, size, see_through, images, directions):
    """The view of any size."""
    scratch = np.empty(size * size, np.uint32)
    for row in rows:
        at, direction = agent[row, POSITION], agent[row, DIRECTION]
        for cell in range(size * size):
            scratch[cell] = WORDS[grid[row, at + offsets[direction, cell]]]
        write_view(scratch, size, see_through, WORDS[agent[row, CARRIED]], images[row])
        directions[row] = direction


@njit(cache=True, nogil=True)
def observe_whole_grid(rows, grid, agent, shape, images, directions):
    """The whole grid, with the agent in it."""
    width, height, stride, pad = shape
    for row in rows:
        at, direction = agent[row, POSITION], agent[row, DIRECTION]
        for x in range(width):
            for y in range(height):
                word = WORDS[grid[row, (y + pad) * stride + x + pad]]
                write_word(images[row], x * height + y, word)
        write_agent(images[row], (at % stride - pad) * height + at // stride - pad, direction)
        directions[row] = direction


@njit(cache=True, nogil=True)
def observe(rows, grid, agent, offsets, shape, size, see_through, images, directions):
    """The view of a size, or the whole grid for size 0."""
    if size == 0:
        observe_whole_grid(rows, grid, agent, shape, images, directions)
    elif size == USUAL:
        observe_usual(rows, grid, agent, offsets, see_through, images, directions)
    else:
        observe_sized(rows, grid, agent, offsets, size, see_through, images, directions)


assert TRANSPARENT == 1 << 24  # write_view reads this bit
