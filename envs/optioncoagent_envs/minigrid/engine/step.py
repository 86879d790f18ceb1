"""MiniGrid's step, compiled for a batch (arrays as in `minigrid_levels` and `babyai_verifier`)."""

from __future__ import annotations

from optioncoagent_envs.babyai.verifier import act_as_told
from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.levels import LIMIT, STEPS
from optioncoagent_envs.minigrid.engine.observe import observe
from optioncoagent_envs.minigrid.engine.rules import (
    AVOID,
    COLLIDED,
    DONE,
    FETCH,
    GO_NEXT_TO,
    GOING_ON,
    LEFT,
    MATCH,
    PUT_NEAR,
    RED_THEN_BLUE,
    SUCCESS,
    TOLD,
    act,
    act_among_obstacles,
)
from optioncoagent_envs.minigrid.tasks.rules import act_fetching, act_going_next_to, act_matching, act_on_red_then_blue, act_putting_near


@njit(cache=True, nogil=True)
def are_actions(actions):
    for action in actions:
        if action < LEFT or action > DONE:
            return False
    return True


@njit(cache=True, nogil=True)
def step_rows(
    rows,
    actions,
    grid,
    agent,
    marks,
    rng,
    shape,
    rule,
    rewards,
    terminated,
    truncated,
    offsets,
    size,
    see_through,
    images,
    directions,
):
    """Some rows take their actions and are observed (`minigrid_observe`).

    actions (n,) int64; rewards (n,) float64, terminated and truncated (n,) bool, images and directions are written.
    """
    for row in rows:
        if rule == AVOID:
            outcome = act_among_obstacles(grid[row], agent[row], rng[row], actions[row], shape)
        elif rule == TOLD:
            outcome = act_as_told(grid[row], agent[row], marks[row], actions[row], shape[2])
        elif rule == FETCH:
            outcome = act_fetching(grid[row], agent[row], actions[row], shape[2])
        elif rule == GO_NEXT_TO:
            outcome = act_going_next_to(grid[row], agent[row], actions[row], shape[2])
        elif rule == PUT_NEAR:
            outcome = act_putting_near(grid[row], agent[row], actions[row], shape[2])
        elif rule == RED_THEN_BLUE:
            outcome = act_on_red_then_blue(grid[row], agent[row], actions[row], shape[2])
        elif rule == MATCH:
            outcome = act_matching(grid[row], agent[row], actions[row], shape[2])
        else:
            outcome = act(grid[row], agent[row], actions[row], shape[2], rule)
        agent[row, STEPS] += 1
        steps, limit = agent[row, STEPS], agent[row, LIMIT]
        rewards[row] = 1 - 0.9 * (steps / limit) if outcome == SUCCESS else -1.0 if outcome == COLLIDED else 0.0
        terminated[row] = outcome != GOING_ON
        truncated[row] = steps >= limit
    observe(rows, grid, agent, offsets, shape, size, see_through, images, directions)
