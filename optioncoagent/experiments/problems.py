"""The problems that the experiments are about."""

from __future__ import annotations

import numpy as np

from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork


def gridworld() -> MDP:
    """The 3x3 gridworld with the goal itself as terminal state: 9 states, γ = 1."""
    from optioncoagent_envs.tabular.gridworld import gridworld as make

    env = MDP.from_env(make(), gamma=1.0)
    goal = env.num_states - 2  # the end that from_env adds is folded back onto the goal
    P = env.transition_matrix.toarray().reshape(env.num_states, env.num_actions, env.num_states)[:-1]
    P[:, :, goal] += P[:, :, -1]
    return MDP(P[:, :, :-1], env.expected_reward[:-1], env.d0[:-1], 1.0, np.arange(goal + 1) == goal)


def bits_network() -> CoagentNetwork:
    """Three coagents, 52 parameters on 9 states (ACN, appendix D): two read the state and output a bit, the third reads the bits."""
    bits = [Coagent(name, 2, executes=0.5) for name in ("bit_1", "bit_2")]
    return CoagentNetwork([*bits, Coagent("action", 4, observes=False, upstream=("bit_1", "bit_2"), executes=0.5)])


def four_rooms(dynamics: str) -> list[MDP]:
    """Four rooms, γ = 0.99: the goal at the east doorway first, then at each cell of the lower-right room."""
    from optioncoagent_envs.tabular.four_rooms import EAST_DOORWAY, LOWER_RIGHT_ROOM, FourRooms

    return [MDP.from_env(FourRooms(dynamics, goal), gamma=0.99) for goal in (EAST_DOORWAY, *LOWER_RIGHT_ROOM)]


def fewest_steps(mdp: MDP) -> float:
    """Mean over S_0 of the least expected number of steps to the end, by value iteration."""
    P = mdp.transition_matrix
    steps = np.zeros(mdp.num_states)
    for _ in range(100_000):
        # n(s) = 1 + min_a Σ_s' P(s'|s,a) n(s')
        new = np.where(mdp.terminal, 0.0, 1.0 + (P @ steps).reshape(mdp.num_states, mdp.num_actions).min(axis=1))
        if np.abs(new - steps).max() < 1e-10:
            return float(mdp.d0 @ new)
        steps = new
    raise ValueError("value iteration did not settle: is there a state from which no action leads to the end?")
