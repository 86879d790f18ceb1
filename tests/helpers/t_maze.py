"""A T-maze, which a memory solves: a cue at the start says which way to turn at the end of a corridor, where it is no longer seen."""

import numpy as np

import optioncoagent as oc

LEFT, RIGHT, FORWARD = range(3)
CORRIDOR, JUNCTION = 2, 3  # observations; 0 and 1 are the cues


def t_maze(gamma=0.95, corridor=3):
    """MDP: FORWARD leads through the corridor, where LEFT and RIGHT do nothing, as FORWARD does at the junction. A turn there ends the
    episode, and pays 1 if it is the cue's."""
    n = corridor + 2
    P, R, end = np.zeros((2 * n + 1, 3, 2 * n + 1)), np.zeros((2 * n + 1, 3)), 2 * n
    for cue in (LEFT, RIGHT):
        for place in range(n):
            s = cue * n + place
            for a in (LEFT, RIGHT, FORWARD):
                turned = place == n - 1 and a != FORWARD
                P[s, a, end if turned else s + (a == FORWARD and place < n - 1)] = 1
                R[s, a] = turned and a == cue
    P[end, :, end] = 1
    d0, observation = np.zeros(2 * n + 1), np.full(2 * n + 1, CORRIDOR)
    d0[[0, n]], observation[[n - 1, 2 * n - 1]] = 0.5, JUNCTION
    observation[[0, n]], observation[end] = (0, 1), JUNCTION + 1
    return oc.MDP(P, R, d0, gamma, np.arange(2 * n + 1) == end, observation=observation)


def flat(num_actions):
    return oc.CoagentNetwork([oc.Coagent("action", num_actions)])


def remembering(num_actions):
    """A coagent that reads its own output of the step before."""
    memory = oc.Coagent("memory", 2, previous=("memory",), initial=0)
    action = oc.Coagent("action", num_actions, upstream=("memory",))
    return oc.CoagentNetwork([memory, action])


def retaining(num_actions):
    """The same by its execution function: it notes what it sees at the start, and seldom anything later."""
    memory = oc.Coagent("memory", 2, executes=lambda x: 0.02 + 0.98 * x.start)
    return oc.CoagentNetwork([memory, oc.Coagent("action", num_actions, upstream=("memory",))])
