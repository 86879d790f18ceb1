"""ACN, Corollary 1: step sizes with Σ α_t = ∞ and Σ α_t² < ∞ drive ∇J to zero, on the 3x3 gridworld network of appendix D."""

import gymnasium as gym
import numpy as np

import optioncoagent_envs  # noqa: F401
from optioncoagent.exact import expected_return, policy_gradient
from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork


def gridworld_network():
    """Two bits read the state, the action reads the bits; each executes with probability 1/2 at every step."""
    bits = [Coagent(name, 2, executes=0.5) for name in ("bit_1", "bit_2")]
    return CoagentNetwork([*bits, Coagent("action", 4, observes=False, upstream=("bit_1", "bit_2"), executes=0.5)])


def test_corollary_1():
    """α_t = 3 / (t+1)^0.51: the gradient's norm falls through 1/100 and to below 1/1000 of where it started, and J rises all the way."""
    mdp, network = MDP.from_env(gym.make("OptionCoagent/Gridworld-v0"), gamma=1.0), gridworld_network()
    params = network.init_params(mdp.num_observations, seed=0, scale=0.1)
    norms, returns = [], []
    for t in range(4001):
        gradient = policy_gradient(mdp, network, params)
        if t in (0, 10, 100, 1000, 4000):
            norms.append(np.sqrt(sum((g**2).sum() for g in gradient.values())))
            returns.append(expected_return(mdp, network, params))
        params = {name: params[name] + 3 / (t + 1) ** 0.51 * gradient[name] for name in params}
    assert norms == sorted(norms, reverse=True) and returns == sorted(returns)
    assert norms[2] < norms[0] / 100 and norms[-1] < norms[0] / 1000
