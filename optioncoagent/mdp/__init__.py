"""Finite Markov decision processes: as arrays, from Gymnasium's tables, from one MiniGrid level.

arrays          MDP: checked arrays P, R, d0, gamma, horizon
toy_text        the arrays of an environment that has tables
environment     the way back: a Gymnasium environment of any MDP
horizon         a finite horizon, unrolled into the state
minigrid        every state of one MiniGrid level, by search; `state_memory` saves and restores its states
reach           which states can follow which
"""

from optioncoagent.mdp.arrays import MDP

__all__ = ["MDP"]
