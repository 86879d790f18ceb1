"""A finite MDP as a Gymnasium vector environment, and exact values for the learner, by plain enumeration."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from brute_force import reward_of, steps_from
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class TabularVectorEnv(VectorEnv):
    """`num_envs` copies of an MDP; episodes end in its terminal states, and are truncated after `max_steps`."""

    def __init__(self, mdp, num_envs, max_steps=None, autoreset=AutoresetMode.SAME_STEP):
        self.mdp, self.num_envs, self.max_steps = mdp, num_envs, max_steps
        self.metadata = {"autoreset_mode": autoreset}
        self.same_step = autoreset == AutoresetMode.SAME_STEP
        self.single_observation_space = gym.spaces.Discrete(mdp.num_observations)
        self.single_action_space = gym.spaces.Discrete(mdp.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.P = mdp.transition_matrix.toarray().reshape(mdp.num_states, mdp.num_actions, mdp.num_states).cumsum(axis=2)
        self.R = np.zeros(self.P.shape)
        for s, a, t in np.ndindex(self.P.shape):
            self.R[s, a, t] = reward_of(mdp, _FREE, True, s, a, t, ())

    def _starts(self, n):
        return self.np_random.choice(self.mdp.num_states, size=n, p=self.mdp.d0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.age = self._starts(self.num_envs), np.zeros(self.num_envs, int)
        self.resetting = np.zeros(self.num_envs, bool)
        return self.mdp.observation[self.state], {}

    def step(self, action):
        before = self.state
        draw = self.np_random.random(self.num_envs)
        self.state = (self.P[before, action] <= draw[:, None] * self.P[before, action, -1:]).sum(axis=1)
        reward, self.age = self.R[before, action, self.state], self.age + 1
        terminated = self.mdp.terminal[self.state]
        truncated = np.full(self.num_envs, self.max_steps is not None) & (self.age == (self.max_steps or 0))
        info = {}
        if self.same_step:
            ended = terminated | truncated
            info = {"final_obs": np.array([self.mdp.observation[s] for s in self.state], dtype=object), "_final_obs": ended}
            self._restart(ended)
        else:  # NEXT_STEP: the step after an ending resets, whatever the action
            reward, terminated, truncated = (np.where(self.resetting, 0, x) for x in (reward, terminated, truncated))
            terminated, truncated = terminated.astype(bool), truncated.astype(bool)
            self._restart(self.resetting)
            self.resetting = terminated | truncated
        return self.mdp.observation[self.state], reward, terminated, truncated, info

    def _restart(self, where):
        self.state = np.where(where, self._starts(self.num_envs), self.state)
        self.age = np.where(where, 0, self.age)


class _FREE:
    """Stands in for a network without coagents, whose rewards are the MDP's."""

    coagents = ()


def values(mdp, network, params, tolerance=1e-13):
    """V(s, U_{t-1}) in mid-episode, {(s, u): value}, costs included, by iteration over all ways in which a step can go."""
    policies = network.policies(params, mdp.num_observations)
    nodes = [(s, u) for s in range(mdp.num_states) if not mdp.terminal[s] for u in np.ndindex(network.num_outputs)]
    ways = {(s, u): list(steps_from(mdp, network, policies, False, s, u)) for s, u in nodes}
    compact = {}
    for node, steps in ways.items():
        reward = sum(p * r for p, _, _, _, r in steps)
        successors = {}
        for p, tick, _, successor, _ in steps:
            if not mdp.terminal[successor]:
                successors[successor, tick.outputs] = successors.get((successor, tick.outputs), 0.0) + p
        compact[node] = reward, successors
    index = {node: i for i, node in enumerate(nodes)}
    kernel, r = np.zeros((len(nodes), len(nodes))), np.zeros(len(nodes))
    for node, (reward, successors) in compact.items():
        r[index[node]] = reward
        for successor, p in successors.items():
            kernel[index[node], index[successor]] = p
    v = np.linalg.solve(np.eye(len(nodes)) - mdp.gamma * kernel, r)
    return dict(zip(nodes, v, strict=True))


def critic(mdp, network, params):
    """Q(s, K), (num_states, *sizes of K): the conditional expectation of R_t + γ V(S_{t+1}, U_t) given S_t and K_t.

    The condition is taken from every (start, U_{t-1}) alike; that all give the same value is checked on the way. Zero where K cannot occur.
    """
    v, policies = values(mdp, network, params), network.policies(params, mdp.num_observations)
    positions = [network.names.index(name) for name in network.critic_inputs]
    q = np.zeros((mdp.num_states, *(network.num_outputs[i] for i in positions)))
    seen = np.zeros(q.shape, bool)
    for s in np.flatnonzero(~mdp.terminal):
        for start in (False, True):
            for u in np.ndindex(network.num_outputs):
                mass, mean = {}, {}
                for p, tick, action, successor, _ in steps_from(mdp, network, policies, start, s, u):
                    key = tuple(tick.outputs[i] for i in positions)
                    value = reward_of(mdp, _FREE, True, s, action, successor, ()) + mdp.gamma * v.get((successor, tick.outputs), 0.0)
                    mass[key], mean[key] = mass.get(key, 0.0) + p, mean.get(key, 0.0) + p * value
                for key, p in mass.items():
                    if p > 1e-12 and (not start or _possible_at_start(network, u)):
                        if seen[s, *key]:
                            assert abs(q[s, *key] - mean[key] / p) < 1e-9, f"(S, K) does not screen off the past at {s, key}"
                        q[s, *key], seen[s, *key] = mean[key] / p, True
    return q


def _possible_at_start(network, u):
    return all(network.initial(name)[output] > 0 for name, output in zip(network.names, u, strict=True))
