"""MiniGrid's step, compiled for a batch (arrays as in `rows`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.observe import observe
from optioncoagent_envs.minigrid.engine.rows import LIMIT, STEPS
from optioncoagent_envs.minigrid.engine.rules import COLLIDED, DONE, GOING_ON, LEFT, SUCCESS
from optioncoagent_envs.minigrid.engine.template import of_its_own


@njit(cache=True, nogil=True)
def are_actions(actions):
    for action in actions:
        if action < LEFT or action > DONE:
            return False
    return True


@cache
def step_of(rule: Callable[..., int]) -> Callable[..., None]:
    """`_step_rows` with this rule (`rules`): one compiled call for a step of the whole batch."""
    return of_its_own(_step_rows, rule=rule)


def _step_rows(
    rows,
    actions,
    grid,
    agent,
    marks,
    rng,
    shape,
    rewards,
    terminated,
    truncated,
    offsets,
    size,
    see_through,
    images,
    directions,
):
    """Some rows take their actions and are observed (`observe`).

    actions (n,) int64; rewards (n,) float64, terminated and truncated (n,) bool, images and directions are written.
    """
    for row in rows:
        outcome = rule(row, actions[row], rng, grid, agent, marks, shape)  # type: ignore[name-defined]  # noqa: F821
        agent[row, STEPS] += 1
        steps, limit = agent[row, STEPS], agent[row, LIMIT]
        rewards[row] = 1 - 0.9 * (steps / limit) if outcome == SUCCESS else -1.0 if outcome == COLLIDED else 0.0
        terminated[row] = outcome != GOING_ON
        truncated[row] = steps >= limit
    observe(rows, grid, agent, offsets, shape, size, see_through, images, directions)
