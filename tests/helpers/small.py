"""Small problems, networks and settings that many tests of the learner share."""

import numpy as np

import optioncoagent as oc

GRIDWORLD = "OptionCoagent/Gridworld-v0"
SMALL = dict(num_envs=4, num_steps=16, num_minibatches=2, update_epochs=2)


def without_times(row):
    return {key: value for key, value in row.items() if not key.startswith("seconds")}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


def random_mdp(seed=5, num_states=5, num_actions=2, gamma=0.9):
    """Four states and an end; rewards of (s, a, s'), positive on average, so that a return that goes on too long is seen: J is about 1."""
    rng = np.random.default_rng(seed)
    P = 0.85 * rng.dirichlet(np.full(num_states, 0.5), (num_states, num_actions))
    P[:, :, -1] += 0.15
    R = 0.4 + rng.normal(size=P.shape)
    P[-1], R[-1] = np.eye(num_states)[-1], 0.0
    return oc.MDP(P, R, rng.dirichlet(np.append(np.ones(num_states - 1), 1e-9)), gamma, np.arange(num_states) == num_states - 1)


def appendix_d(num_actions):
    bits = [oc.Coagent(name, 2, executes=0.5) for name in ("left", "right")]
    return oc.CoagentNetwork([*bits, oc.Coagent("action", num_actions, observes=False, upstream=("left", "right"), executes=0.5)])
