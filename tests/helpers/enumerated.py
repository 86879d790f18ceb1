"""J and its gradient by writing out every tick in plain Python: slow, dense, and sharing no code with what it checks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork, LocalState


@dataclass(frozen=True)
class Truth:
    """J; its gradient; the same sum with E_t^i dropped; expected draws of each output, an episode, with weight γ^t."""

    value: float
    gradient: dict[str, np.ndarray]
    ungated: dict[str, np.ndarray]
    visits: dict[str, np.ndarray]


def ticks(mdp, network, policies, start, state, previous):
    """Yield (probability, outputs, executed, row of each coagent's policy, cost) for every way one tick can go."""

    def go(i, probability, outputs, executed, rows, cost):
        if i == len(network.coagents):
            yield probability, outputs, executed, rows, cost
            return
        c = network.coagents[i]
        observation = int(mdp.observation[state])
        fields = [{n: np.array(v) for n, v in zip(network.names, values, strict=False)} for values in (outputs, previous)]
        x = LocalState(np.array(bool(start)), np.array(observation), *fields)
        beta = float(c.executes(x) if callable(c.executes) else c.executes)
        row = (observation,) if c.observes else ()
        row += tuple(outputs[network.names.index(n)] for n in c.upstream) + tuple(previous[network.names.index(n)] for n in c.previous)
        if beta < 1:
            yield from go(i + 1, probability * (1 - beta), (*outputs, previous[i]), (*executed, False), (*rows, row), cost)
        for u in range(c.num_outputs):
            p = beta * policies[c.name][row][u]
            if p > 0:
                charged = cost + (0.0 if start else c.cost)
                yield from go(i + 1, probability * p, (*outputs, u), (*executed, True), (*rows, row), charged)

    yield from go(0, 1.0, (), (), (), 0.0)


def truth(mdp: MDP, network: CoagentNetwork, params) -> Truth:
    policies = network.policies(params, mdp.num_observations)
    P = mdp.transition_matrix.toarray().reshape(mdp.num_states, mdp.num_actions, mdp.num_states)
    every = list(itertools.product(*(range(n) for n in network.num_outputs)))
    nodes = {node: k for k, node in enumerate(itertools.product((0, 1), np.flatnonzero(~mdp.terminal), every))}
    kernel, reward, outcomes = np.zeros((len(nodes), len(nodes))), np.zeros(len(nodes)), []
    for (start, s, previous), k in nodes.items():
        for probability, outputs, executed, rows, cost in ticks(mdp, network, policies, start, s, previous):
            action = int(network.joint_action(dict(zip(network.names, outputs, strict=True))))
            r = mdp.expected_reward[s, action] - cost
            reward[k] += probability * r
            successors = [(nodes[0, t, outputs], P[s, action, t]) for t in np.flatnonzero(P[s, action]) if not mdp.terminal[t]]
            for j, p in successors:
                kernel[k, j] += probability * p
            outcomes.append((k, probability, outputs, executed, rows, r, successors))
    first = np.zeros(len(nodes))
    for (start, s, previous), k in nodes.items():
        if start:
            first[k] = mdp.d0[s] * np.prod([network.initial(n)[u] for n, u in zip(network.names, previous, strict=True)])

    # v = r + γ P v; d = d_0 + γ P' d
    identity = np.eye(len(nodes))
    v = np.linalg.solve(identity - mdp.gamma * kernel, reward)
    d = np.linalg.solve(identity - mdp.gamma * kernel.T, first)
    sums = [{n: np.zeros(np.shape(params[n])) for n in network.names} for _ in range(2)]
    visits = {n: np.zeros(np.shape(params[n])) for n in network.names}
    for k, probability, outputs, executed, rows, r, successors in outcomes:
        q = r + mdp.gamma * sum(p * v[j] for j, p in successors)
        for name, u, e, row in zip(network.names, outputs, executed, rows, strict=True):
            score = -policies[name][row]
            score[u] += 1
            score *= d[k] * probability
            sums[1][name][row] += score * q
            if e:
                sums[0][name][row] += score * q
                visits[name][row][u] += d[k] * probability
    return Truth(float(first @ v), sums[0], sums[1], visits)


def random_mdp(seed, num_states=4, num_actions=2, gamma=0.9, ending=True) -> MDP:
    """Random P, R and d0; `ending` adds a terminal state that every action may reach."""
    rng = np.random.default_rng(seed)
    n = num_states + ending
    P = rng.dirichlet(np.full(n, 0.7), size=(n, num_actions))
    R = rng.normal(size=(n, num_actions, n))
    d0 = np.append(rng.dirichlet(np.ones(num_states)), np.zeros(int(ending)))
    if ending:
        P[:, :, -1] += 0.1
        P /= P.sum(axis=2, keepdims=True)
        P[-1], R[-1] = 0, 0
        P[-1, :, -1] = 1
    return MDP(P, R, d0, gamma, np.arange(n) == n - 1 if ending else np.zeros(n, dtype=bool))


def random_network(seed, num_actions=2) -> CoagentNetwork:
    """Two to four coagents that read, execute, start and cost at random."""
    rng = np.random.default_rng(seed)
    names = [f"c{i}" for i in range(rng.integers(1, 4))] + ["action"]
    sizes = [int(rng.integers(2, 4)) for _ in names[:-1]] + [num_actions]
    coagents = []
    for i, (name, size) in enumerate(zip(names, sizes, strict=True)):
        upstream = tuple(n for n in names[:i] if rng.random() < 0.6)
        previous = tuple(n for n in names if rng.random() < 0.3)
        initial = [None, int(rng.integers(size)), rng.dirichlet(np.ones(size))][rng.integers(3)]
        cost = float(rng.integers(2) * rng.normal())
        coagents.append(Coagent(name, size, bool(rng.integers(2)), upstream, previous, _execution(rng, names, i), initial, cost))
    return CoagentNetwork(coagents)


def _execution(rng, names, i):
    kind, low, high = rng.integers(5), rng.uniform(0.1, 0.5), rng.uniform(0.5, 1)
    other = names[rng.integers(len(names))]
    if kind == 0:
        return 1.0
    if kind == 1:
        return float(high)
    if kind == 2:
        return lambda x: low + (high - low) * (x.previous[other] == 0)
    if kind == 3 and i > 0:
        earlier = names[rng.integers(i)]
        return lambda x: x.start | (x.upstream[earlier] == 1)
    return lambda x: low + (high - low) * ((x.state % 2 == 0) & ~x.start)


def gridworld(size=3, gamma=1.0) -> MDP:
    """`size` x `size` cells, start top-left, end bottom-right, -1 a step."""
    n = size * size
    P, R = np.zeros((n, 4, n)), -np.ones((n, 4))
    for s in range(n - 1):
        for a, (dr, dc) in enumerate([(-1, 0), (1, 0), (0, -1), (0, 1)]):
            r, c = np.clip((s // size + dr, s % size + dc), 0, size - 1)
            P[s, a, size * r + c] = 1
    P[-1, :, -1], R[-1] = 1, 0
    return MDP(P, R, np.eye(n)[0], gamma)


def bits(probability=0.5) -> CoagentNetwork:
    """Two bits read the state, the action reads the bits; each executes with the same probability (ACN, appendix D)."""
    first = [Coagent(name, 2, executes=probability) for name in ("left", "right")]
    return CoagentNetwork([*first, Coagent("action", 4, observes=False, upstream=("left", "right"), executes=probability)])
