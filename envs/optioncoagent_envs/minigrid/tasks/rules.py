"""The rules of Fetch, GoToObject, GoToDoor, PutNear, RedBlueDoors and Memory, compiled (arrays as in `minigrid_levels`).

Each function is a class's `step`: it acts as `act` does and returns what that returns, but SUCCESS or FAILED (the end
without a reward) where the class says so. What the mission asks for:

    FETCH           OTHER: the code of an object; any of its kind and colour will do
    GO_NEXT_TO      TARGET: the position to stand next to
    PUT_NEAR        OTHER: the code of the object to move, TARGET: the position to put it near
    RED_THEN_BLUE   OTHER: the position of the red door, TARGET: that of the blue one
    MATCH           TARGET: the position at the matching object, OTHER: the one at the other object
"""

from __future__ import annotations

from optioncoagent_envs.compiling import njit
from optioncoagent_envs.minigrid.engine.codes import EMPTY, WORDS, is_open
from optioncoagent_envs.minigrid.engine.levels import CARRIED, OTHER, POSITION, TARGET
from optioncoagent_envs.minigrid.engine.rules import DONE, DROP, FAILED, GOAL_ONLY, PICK_UP, SUCCESS, TOGGLE, act, ahead
from optioncoagent_envs.minigrid.tasks.things import are_near


@njit(cache=True, nogil=True)
def act_fetching(cells, agent, action, stride):
    """FetchEnv: whatever the agent holds after an action ends the episode, the right kind and colour with success."""
    outcome = act(cells, agent, action, stride, GOAL_ONLY)
    if agent[CARRIED] == EMPTY:
        return outcome
    return SUCCESS if holds_wanted(agent) else FAILED


@njit(cache=True, nogil=True)
def act_going_next_to(cells, agent, action, stride):
    """GoToObjectEnv, GoToDoorEnv: to be done next to the target succeeds, elsewhere it fails, and so does to toggle."""
    outcome = act(cells, agent, action, stride, GOAL_ONLY)
    if action == DONE:
        steps = abs(agent[TARGET] - agent[POSITION])
        return SUCCESS if steps == 1 or steps == stride else FAILED
    return FAILED if action == TOGGLE else outcome


@njit(cache=True, nogil=True)
def act_putting_near(cells, agent, action, stride):
    """PutNearEnv: to drop what the agent held ends the episode, within one cell of the target with success.

    A drop that finds no room fails; so does a pick-up action after which the agent holds another object.
    """
    held = agent[CARRIED] != EMPTY
    outcome = act(cells, agent, action, stride, GOAL_ONLY)
    holds = agent[CARRIED] != EMPTY
    if action == PICK_UP and holds and not holds_wanted(agent):
        return FAILED
    if action == DROP and held:
        return SUCCESS if not holds and are_near(ahead(agent, stride), agent[TARGET], stride) else FAILED
    return outcome


@njit(cache=True, nogil=True)
def act_on_red_then_blue(cells, agent, action, stride):
    """RedBlueDoorEnv: the blue door open after an action succeeds if the red one was open before it, and fails if not.

    With the red door open, to close the blue one fails.
    """
    red_was_open, blue_was_open = is_open(cells[agent[OTHER]]), is_open(cells[agent[TARGET]])
    outcome = act(cells, agent, action, stride, GOAL_ONLY)
    if is_open(cells[agent[TARGET]]):
        return SUCCESS if red_was_open else FAILED
    return FAILED if blue_was_open and is_open(cells[agent[OTHER]]) else outcome


@njit(cache=True, nogil=True)
def act_matching(cells, agent, action, stride):
    """MemoryEnv: after any action, to be at the matching object succeeds, at the other one fails; to pick up is to toggle."""
    outcome = act(cells, agent, TOGGLE if action == PICK_UP else action, stride, GOAL_ONLY)
    if agent[POSITION] == agent[TARGET]:
        return SUCCESS
    return FAILED if agent[POSITION] == agent[OTHER] else outcome


@njit(cache=True, nogil=True)
def holds_wanted(agent):
    """Whether what the agent carries looks like the object that the mission names: same kind, same colour."""
    return WORDS[agent[CARRIED]] == WORDS[agent[OTHER]]
