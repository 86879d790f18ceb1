"""Random MDPs and random coagent networks, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st

from optioncoagent.mdp import MDP
from optioncoagent.network import Coagent, CoagentNetwork


class Case(NamedTuple):
    mdp: MDP
    network: CoagentNetwork
    params: dict


class Gate:
    """A random execution function: a mixture of indicators of what it touches, or an exclusive or of them."""

    def __init__(self, base, terms, probabilistic):
        self.base, self.terms, self.probabilistic = base, terms, probabilistic

    def __repr__(self):
        return f"Gate({self.base}, {self.terms}, {self.probabilistic})"

    def __call__(self, x):
        looked_up = [self._indicator(x, *term) for term in self.terms]
        if not self.probabilistic:
            verdict = looked_up[0]
            for indicator in looked_up[1:]:
                verdict = verdict ^ indicator
            return verdict
        return self.base + (1 - self.base) * sum(1.0 * indicator for indicator in looked_up) / len(looked_up)

    @staticmethod
    def _indicator(x, field, key, value):
        if field == "start":
            return x.start == bool(value)
        return (x.state if field == "state" else getattr(x, field)[key]) == value


@st.composite
def gates(draw, names, sizes, position):
    """A probability, or a `Gate` that touches up to two things."""
    kind = draw(st.sampled_from(("mixture", "always", "probability", "exclusive")))
    if kind == "always":
        return 1.0
    if kind == "probability":
        return draw(st.sampled_from((0.25, 0.5, 0.8)))
    touchable = [("start", None, 2), ("state", None, 2), *(("previous", n, k) for n, k in zip(names, sizes, strict=True))]
    touchable += [("upstream", n, k) for n, k in zip(names[:position], sizes, strict=False)]
    touched = draw(st.lists(st.sampled_from(touchable), min_size=1, max_size=2, unique=True))
    terms = [(field, name, draw(st.integers(0, size - 1))) for field, name, size in touched]
    return Gate(draw(st.sampled_from((0.0, 0.2, 0.7))), terms, kind == "mixture")


@st.composite
def networks(draw, synchronous=False, max_coagents=3, max_outputs=3, sharing=False):
    """A network of one to three coagents. synchronous: all execute always, none reads the step before, none costs anything. sharing:
    two or three, all of as many outputs, some of which have the parameters of another."""
    m = max(2 if sharing else 1, max_coagents - draw(st.sampled_from((0, 0, 1, 0, 2))))
    names = [f"c{i}" for i in range(m)]
    sizes = [min(max_outputs, draw(st.sampled_from((2, 2, 3, 2, 1)))) for _ in names]
    if sharing:
        sizes = [max(2, sizes[0])] * m
    action = [names[-1]] if draw(st.integers(0, 2)) else draw(st.permutations(names))[:2]
    coagents = []
    for position, (name, size) in enumerate(zip(names, sizes, strict=True)):
        upstream = tuple(draw(st.permutations([n for n in names[:position] if draw(st.integers(0, 3))])))
        previous = () if synchronous or draw(st.integers(0, 2)) else (draw(st.sampled_from(names)),)
        initial = draw(st.sampled_from((None, 0, "law")))
        coagents.append(
            Coagent(
                name,
                size,
                observes=draw(st.integers(0, 3)) > 0,
                upstream=upstream,
                previous=previous,
                executes=1.0 if synchronous else draw(gates(names, sizes, position)),
                initial=np.arange(1, size + 1) / np.arange(1, size + 1).sum() if initial == "law" else initial,
                cost=0.0 if synchronous else draw(st.sampled_from((0.0, 0.0, 0.3))),
            )
        )
    if sharing:
        coagents = draw(shared(coagents, synchronous))
    return CoagentNetwork(coagents, action=tuple(action))


@st.composite
def shared(draw, coagents, synchronous):
    """The same coagents, at least one of which has the parameters of another and reads as many outputs, though not always the same."""
    names = [c.name for c in coagents]
    owner = draw(st.integers(0, len(names) - 1 - synchronous))
    candidates = [i for i in range(len(names)) if i > owner or (i < owner and not synchronous)]
    reads = len(coagents[owner].upstream) + len(coagents[owner].previous)
    for i in draw(st.lists(st.sampled_from(candidates), min_size=1, unique=True)):
        now = reads if synchronous else draw(st.integers(max(0, reads - len(names)), min(reads, i)))
        upstream, previous = draw(st.permutations(names[:i]))[:now], draw(st.permutations(names))[: reads - now]
        coagents[i] = replace(
            coagents[i], observes=coagents[owner].observes, upstream=tuple(upstream), previous=tuple(previous), shares=names[owner]
        )
    return coagents


@st.composite
def mdps(draw, num_actions, max_states=3, gammas=(0.9, 1.0, 0.5, 0.9, 1.0, 0.0)):
    """An MDP with rewards of (s, a, s'), states that may share observations, a spread or a point-mass start; ending where γ = 1."""
    gamma = draw(st.sampled_from(gammas))
    ends = gamma == 1 or draw(st.booleans())
    S = max(1, max_states - draw(st.sampled_from((0, 0, 1, 0, 2)))) + ends
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    P = rng.dirichlet(np.full(S, 0.7), (S, num_actions))
    P[P < 0.1] = 0.0  # so that some successors are impossible
    P[P.sum(axis=2) == 0, 0] = 1.0
    P /= P.sum(axis=2, keepdims=True)
    R = rng.integers(-2, 3, (S, num_actions, S)) / 2.0
    terminal = np.zeros(S, dtype=bool)
    if ends:
        P = 0.6 * P
        P[:, :, -1] += 0.4
        P[-1], R[-1], terminal[-1] = np.eye(S)[-1], 0.0, True
    d0 = np.eye(S)[0] if draw(st.booleans()) else rng.dirichlet(np.ones(S))
    observation = rng.integers(0, 2, S) if draw(st.booleans()) else None
    form = draw(st.sampled_from(("dense", "sparse", "rewards of (s, a)")))
    if form == "dense":
        return MDP(P, R, d0, gamma, terminal, observation)
    R = sp.csr_array(R.reshape(-1, S)) if form == "sparse" else R[:, :, 0] * ~terminal[:, None]
    return MDP(sp.csr_array(P.reshape(-1, S)), R, d0, gamma, terminal, observation)


@st.composite
def cases(
    draw,
    synchronous=False,
    max_coagents=3,
    max_outputs=3,
    max_states=3,
    gammas=(0.9, 1.0, 0.5, 0.9, 1.0, 0.0),
    forbidden=True,
    sharing=False,
):
    """(mdp, network, params); forbidden: some logits may be -inf."""
    network = draw(networks(synchronous, max_coagents, max_outputs, sharing))
    mdp = draw(mdps(network.num_actions, max_states, gammas))
    params = network.init_params(mdp.num_observations, draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from((1.0, 2.0, 1.0, 0.0))))
    if forbidden and draw(st.sampled_from((False, False, True))):
        name = draw(st.sampled_from(list(params)))
        if params[name].shape[-1] > 1:
            params[name].reshape(-1, params[name].shape[-1])[0, draw(st.integers(0, params[name].shape[-1] - 1))] = -np.inf
    return Case(mdp, network, params)


@st.composite
def continuing_cases(draw, max_coagents=3, max_outputs=3, max_states=3):
    """(mdp, network, params) of a task that goes on for ever: from every state there is a way back to state 0."""
    case = draw(cases(max_coagents=max_coagents, max_outputs=max_outputs, max_states=max_states, gammas=(0.9,)))
    S, A = case.mdp.num_states, case.mdp.num_actions
    P = 0.8 * case.mdp.transition_matrix.toarray().reshape(S, A, S)
    P[:, :, 0] += 0.2
    R = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(-2, 3, (S, A, S)) / 2.0
    mdp = MDP(P, R, case.mdp.d0, draw(st.sampled_from((0.9, 1.0))), np.zeros(S, dtype=bool), case.mdp.observation)
    return Case(mdp, case.network, case.params)


@st.composite
def horizon_cases(draw, max_outputs=3):
    """(mdp, network, params) of an MDP with a horizon of one to four steps; some never end by themselves though γ = 1."""
    mdp, network, params = draw(cases(max_outputs=max_outputs, gammas=(0.9, 1.0, 0.5)))
    terminal = mdp.terminal
    P, R = mdp.P, mdp.R
    if mdp.gamma == 1 and draw(st.booleans()):  # what was the end is a state like others
        S, A = mdp.num_states, mdp.num_actions
        P = mdp.transition_matrix.toarray().reshape(S, A, S)
        P[-1] = np.eye(S)[0]
        R, terminal = np.arange(S * A).reshape(S, A) / (S * A), np.zeros(S, dtype=bool)
    return Case(MDP(P, R, mdp.d0, mdp.gamma, terminal, mdp.observation, draw(st.integers(1, 4))), network, params)
