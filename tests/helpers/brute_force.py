"""Coagent networks by plain enumeration: the right-hand sides of the tests. Nothing here knows how the exact solver works.

    ticks(network, start, observation, previous)     every way in which one step can go
    trajectories(mdp, network, params, steps)        every joint trajectory of (S, U, E), with its probability
    laws(mdp, network, params, steps)                Pr(S_t = s, U_{t-1} = u) for t = 0 … steps
    truncated_return(mdp, network, params, horizon)  E[Σ_{t<T} γ^t R_t], costs included
    truncated_gradient(mdp, network, params, horizon)   its gradient, the product rule carried along the steps

Outputs are tuples of ints in the order of the network's coagents, U_{-1} included. The network goes on ticking in terminal states, where
nothing is earned or charged. `trajectories` grows exponentially with the steps; the others do not.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from optioncoagent.network import LocalState, execution_probability


class Tick(NamedTuple):
    """One way a step can go: probability of the executions that happen, the entries of the policies drawn from, outputs, executed."""

    gates: float
    draws: tuple  # of (name, index into policies[name]), one for each coagent that executes
    outputs: tuple
    executed: tuple

    def probability(self, policies):
        return self.gates * np.prod([policies[name][index] for name, index in self.draws])


class Trajectory(NamedTuple):
    """probability; states S_0 … S_T; outputs U_{-1} … U_{T-1}; executed E_0 … E_{T-1}; actions and rewards (costs included) 0 … T-1."""

    probability: float
    states: tuple
    outputs: tuple
    executed: tuple
    actions: tuple
    rewards: tuple


def ticks(network, start, observation, previous):
    """Every `Tick` whose executions are possible, from a first step or not, an observation and the outputs of the step before."""
    before = {name: np.asarray(u) for name, u in zip(network.names, previous, strict=True)}
    ways = [Tick(1.0, (), (), ())]
    for position, coagent in enumerate(network.coagents):
        longer = []
        for way in ways:
            upstream = dict(zip(network.names, way.outputs, strict=False))
            local = LocalState(np.asarray(start), np.asarray(observation), {n: np.asarray(u) for n, u in upstream.items()}, before)
            beta = float(execution_probability(coagent, local))
            if beta < 1:
                retained = previous[position]
                longer.append(Tick(way.gates * (1 - beta), way.draws, (*way.outputs, retained), (*way.executed, 0)))
            if beta > 0:
                read = (observation,) if coagent.observes else ()
                read += tuple(upstream[n] for n in coagent.upstream) + tuple(previous[network.names.index(n)] for n in coagent.previous)
                for u in range(coagent.num_outputs):
                    draws = (*way.draws, (coagent.name, (*read, u)))
                    longer.append(Tick(way.gates * beta, draws, (*way.outputs, u), (*way.executed, 1)))
        ways = longer
    return ways


def action_of(network, outputs):
    """The joint action of a tuple of outputs, in C order over the action's names."""
    index = 0
    for name in network.action:
        index = index * network[name].num_outputs + outputs[network.names.index(name)]
    return index


def reward_of(mdp, network, start, s, action, successor, executed):
    """R_t = R(s, a, s') less the costs of those that execute, at every step but the first."""
    if mdp.terminal[s]:
        return 0.0
    charged = 0.0 if start else sum(c.cost * e for c, e in zip(network.coagents, executed, strict=True))
    return float(rewards_of(mdp)[s, action, successor]) - charged


def initial_outputs(network):
    """(probability, U_{-1}) for every joint value of positive probability."""
    laws = [network.initial(name) for name in network.names]
    for outputs in itertools.product(*(range(law.size) for law in laws)):
        probability = float(np.prod([law[u] for law, u in zip(laws, outputs, strict=True)]))
        if probability > 0:
            yield probability, outputs


def steps_from(mdp, network, policies, start, s, previous):
    """(probability, tick, action, successor, reward) for everything that can happen in one step."""
    P = transitions_of(mdp)
    for tick in ticks(network, start, int(mdp.observation[s]), previous):
        p_tick, action = tick.probability(policies), action_of(network, tick.outputs)
        for successor in np.flatnonzero(P[s, action] * (p_tick > 0)):
            reward = reward_of(mdp, network, start, s, action, successor, tick.executed)
            yield p_tick * P[s, action, successor], tick, action, int(successor), reward


def trajectories(mdp, network, params, steps):
    """Every `Trajectory` of `steps` steps that has a positive probability."""
    policies = network.policies(params, mdp.num_observations)
    known = {}

    def onwards(start, s, previous):
        if (start, s, previous) not in known:
            known[start, s, previous] = list(steps_from(mdp, network, policies, start, s, previous))
        return known[start, s, previous]

    found = [
        Trajectory(float(mdp.d0[s]) * p, (int(s),), (u,), (), (), ()) for s in np.flatnonzero(mdp.d0) for p, u in initial_outputs(network)
    ]
    for t in range(steps):
        found = [
            Trajectory(
                so_far.probability * p,
                (*so_far.states, successor),
                (*so_far.outputs, tick.outputs),
                (*so_far.executed, tick.executed),
                (*so_far.actions, action),
                (*so_far.rewards, reward),
            )
            for so_far in found
            for p, tick, action, successor, reward in onwards(t == 0, so_far.states[-1], so_far.outputs[-1])
        ]
    return found


def law_of(found, what):
    """Law of what(trajectory): {value: probability}."""
    law = defaultdict(float)
    for trajectory in found:
        law[what(trajectory)] += trajectory.probability
    return dict(law)


def laws(mdp, network, params, steps):
    """[{(s, u): Pr(S_t = s, U_{t-1} = u)} for t = 0 … steps]."""
    policies = network.policies(params, mdp.num_observations)
    law = {(int(s), u): float(mdp.d0[s]) * p for s in np.flatnonzero(mdp.d0) for p, u in initial_outputs(network)}
    found = [law]
    for t in range(steps):
        after = defaultdict(float)
        for (s, previous), weight in law.items():
            for p, tick, _, successor, _ in steps_from(mdp, network, policies, t == 0, s, previous):
                after[successor, tick.outputs] += weight * p
        law = dict(after)
        found.append(law)
    return found


def truncated_return(mdp, network, params, horizon):
    """E[Σ_{t<T} γ^t R_t]."""
    return _truncated(mdp, network, params, horizon)[0]


def truncated_gradient(mdp, network, params, horizon):
    """∂E[Σ_{t<T} γ^t R_t]/∂θ, {name: array like params[name]}: laws and their derivatives are carried from step to step."""
    return _truncated(mdp, network, params, horizon)[1]


def _truncated(mdp, network, params, horizon):
    policies = network.policies(params, mdp.num_observations)
    places, of, size = places_of(network, params, policies)
    known = {}

    def onwards(start, s, previous):
        if (start, s, previous) not in known:
            together = defaultdict(lambda: [0.0, np.zeros(size)])
            earned, slope = 0.0, np.zeros(size)
            for p, tick, _, successor, reward in steps_from(mdp, network, policies, start, s, previous):
                change = p * score(tick, policies, of, size)
                together[successor, tick.outputs][0] += p
                together[successor, tick.outputs][1] += change
                earned, slope = earned + p * reward, slope + change * reward
            known[start, s, previous] = earned, slope, list(together.items())
        return known[start, s, previous]

    law = {(int(s), u): (float(mdp.d0[s]) * p, np.zeros(size)) for s in np.flatnonzero(mdp.d0) for p, u in initial_outputs(network)}
    total, gradient = 0.0, np.zeros(size)
    for t in range(horizon):
        after = defaultdict(lambda: [0.0, np.zeros(size)])
        for (s, previous), (weight, change) in law.items():
            if mdp.terminal[s]:
                continue
            earned, slope, successors = onwards(t == 0, s, previous)
            total += mdp.gamma**t * weight * earned
            gradient += mdp.gamma**t * (change * earned + weight * slope)
            for key, (p, p_change) in successors:
                after[key][0] += weight * p
                after[key][1] += change * p + weight * p_change
        law = after
    return total, {name: gradient[place] for name, place in places.items()}


def places_of(network, params, policies):
    """Where each parameter lies in one vector of them all: {owner: indices}, {coagent: those of its owner}, and how many there are."""
    places, size = {}, 0
    for name in params:
        places[name] = np.arange(size, size + policies[name].size).reshape(policies[name].shape)
        size += policies[name].size
    return places, {c.name: places[c.shares or c.name] for c in network.coagents}, size


def score(tick, policies, places, size):
    """∂ ln Pr(tick)/∂θ: for every draw, 1{v = u} - π(v) at the logits of its row."""
    slope = np.zeros(size)
    for name, index in tick.draws:
        slope[places[name][index[:-1]]] -= policies[name][index[:-1]]
        slope[places[name][index]] += 1.0
    return slope


def transitions_of(mdp):
    """P(s'|s,a) as a dense array (S, A, S)."""
    if not sp.issparse(mdp.P):
        return mdp.P
    return mdp.P.toarray().reshape(mdp.num_states, mdp.num_actions, mdp.num_states)


def rewards_of(mdp):
    """R(s, a, s') as a dense array (S, A, S)."""
    shape = (mdp.num_states, mdp.num_actions, mdp.num_states)
    if sp.issparse(mdp.R):
        return mdp.R.toarray().reshape(shape)
    return mdp.R if mdp.R.ndim == 3 else np.broadcast_to(mdp.R[:, :, None], shape)
