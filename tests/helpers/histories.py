"""Every history of a few steps of a recurrent agent on a small partially observable MDP, and a vector environment that follows them all.

The network's forward pass is written out here from its parameters (Cho et al.'s equations as torch has them), so that the probability of a
history is a function of them, and autograd gives the exact gradient of any expectation over histories.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from enumerated import ticks
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import optioncoagent as oc


@dataclass
class History:
    """probability: a function of the parameters. observations (T + 1), outputs, executed, rewards less costs, paid with them (T); tail: V
    after them."""

    probability: torch.Tensor
    observations: list[int]
    outputs: list[tuple[int, ...]]
    executed: list[tuple[bool, ...]]
    rewards: list[float]
    paid: list[float]
    tail: float = 0.0


def pomdp(seed=3, gamma=0.9):
    """Three states of which two look alike, two actions, each leading to one of two states; nothing ends by itself."""
    rng = np.random.default_rng(seed)
    P, R = np.zeros((3, 2, 3)), rng.normal(size=(3, 2))
    for s, a in np.ndindex(3, 2):
        P[s, a, rng.permutation(3)[:2]] = rng.dirichlet(np.ones(2))
    return oc.MDP(P, R, [0.5, 0.2, 0.3], gamma, np.zeros(3, bool), observation=[0, 0, 1])


def unit(module, observation, hidden):
    """h_t of one observation of two and h_{t-1}: r, z gates, n the candidate."""
    gru = module.recurrence.gru
    x = torch.nn.functional.one_hot(torch.tensor(observation), 2).to(hidden)
    (a_r, a_z, a_n), (b_r, b_z, b_n) = (
        (weight @ y + bias).chunk(3)
        for weight, bias, y in ((gru.weight_ih_l0, gru.bias_ih_l0, x), (gru.weight_hh_l0, gru.bias_hh_l0, hidden))
    )
    r, z = torch.sigmoid(a_r + b_r), torch.sigmoid(a_z + b_z)
    return (1 - z) * torch.tanh(a_n + r * b_n) + z * hidden


class _Here:
    """Stands in for an MDP with one observation."""

    observation = [0]


class Histories:
    """All histories of `steps` steps of an agent's network. valued: are they followed by the value that its own critic has for them?"""

    def __init__(self, agent, mdp, steps, valued=False):
        self.agent, self.mdp, self.steps, self.valued = agent, mdp, steps, valued
        self.P = mdp.transition_matrix.toarray().reshape(mdp.num_states, mdp.num_actions, -1)
        self.seen = {}
        self.all = []
        size = agent.settings.recurrent_size
        for s in np.flatnonzero(mdp.d0):
            self._go(
                int(s), (0,) * len(agent.network.names), torch.zeros(size, dtype=torch.float64), History(mdp.d0[s], [], [], [], [], [])
            )

    def policies(self, hidden):
        module = self.agent.module
        policies = {}
        for name, shape in module.shapes.items():
            head = module.policies[f"policy_{name}"]
            policies[name] = (head.weight @ hidden + head.bias).reshape(1, *shape).softmax(dim=-1)
        return policies

    def value(self, hidden, previous):
        """W_0 in mid-episode: the critic's expectation over the outputs of the tick, less what they cost."""
        network, module = self.agent.network, self.agent.module
        q = (module.critic.weight @ hidden + module.critic.bias).reshape(module.critic_shape)
        known = [network.names.index(name) for name in network.critic_inputs]
        ways = ticks(_Here, network, self.policies(hidden), False, 0, previous)
        return float(sum(p * (q[tuple(outputs[k] for k in known)] - cost) for p, outputs, _, _, cost in ways))

    def _go(self, s, previous, hidden, history):
        observation = int(self.mdp.observation[s])
        seen = [*history.observations, observation]
        if tuple(seen) not in self.seen:
            hidden = unit(self.agent.module, observation, hidden)
            self.seen[tuple(seen)] = hidden, self.policies(hidden)
        hidden, policies = self.seen[tuple(seen)]
        if len(history.outputs) == self.steps:
            with torch.no_grad():
                tail = self.value(hidden, previous) if self.valued else 0.0
            self.all.append(History(history.probability, seen, history.outputs, history.executed, history.rewards, history.paid, tail))
            return
        for p, outputs, executed, _, cost in ticks(_Here, self.agent.network, policies, not history.outputs, 0, previous):
            action = int(self.agent.network.joint_action(dict(zip(self.agent.network.names, outputs, strict=True))))
            reward = self.mdp.expected_reward[s, action]
            for t in np.flatnonzero(self.P[s, action]):
                grown = History(
                    history.probability * p * self.P[s, action, t], seen, [*history.outputs, outputs], [*history.executed, executed],
                    [*history.rewards, reward - cost], [*history.paid, reward],
                )  # fmt: skip
                self._go(int(t), outputs, hidden, grown)

    def expectation(self):
        """E Σ_t γ^t R_t + γ^T V, the V as a number that no gradient goes through."""
        discount = self.mdp.gamma ** np.arange(self.steps + 1)
        return sum(h.probability * float(discount @ [*h.rewards, h.tail]) for h in self.all)


class FollowingVectorEnv(VectorEnv):
    """Each environment goes through one and the same short episode, `before` (its observations), and then through a history of its own,
    whatever the actions. ends: how a history does: "terminated", "truncated", "truncated, next step", or None, not at all."""

    def __init__(self, histories, before, ends):
        self.num_envs, self.before, self.ends = len(histories), before, ends
        self.next_step = ends == "truncated, next step"
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP if self.next_step else AutoresetMode.SAME_STEP}
        self.single_observation_space, self.single_action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)
        self.observation_space, self.action_space = (
            batch_space(space, self.num_envs) for space in (self.single_observation_space, self.single_action_space)
        )
        self.seen = np.array([h.observations for h in histories]).T
        self.paid = np.array([h.paid for h in histories]).T

    def reset(self, *, seed=None, options=None):
        self.t = -len(self.before)
        self.waiting = False
        return np.full(self.num_envs, self.before[0]), {}

    def step(self, action):
        n, none, every = self.num_envs, np.zeros(self.num_envs, bool), np.ones(self.num_envs, bool)
        if self.waiting:  # NEXT_STEP resets
            self.waiting = False
            return self._shown(), np.zeros(n), none, none, {}
        reward = self.paid[self.t] if self.t >= 0 else np.zeros(n)
        self.t += 1
        last = self.t == len(self.paid)
        if not (self.t == 0 or last and self.ends):
            return self._shown(), reward, none, none, {}
        terminated, truncated = (every, none) if last and self.ends == "terminated" else (none, every)
        final = self.seen[-1] if last else np.full(n, self.before[-1])
        if self.next_step:
            self.waiting = True
            return final, reward, terminated, truncated, {}
        info = {"final_obs": np.array([np.int64(o) for o in final] + [None], dtype=object)[:-1], "_final_obs": every}
        return np.zeros(n, int) if last else self._shown(), reward, terminated, truncated, info

    def _shown(self):
        if self.t < 0:
            return np.full(self.num_envs, self.before[self.t])
        return self.seen[self.t]
