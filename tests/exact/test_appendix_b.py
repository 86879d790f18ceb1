"""ACN, appendices A and B: every numbered statement about the CoMDPs of synchronous, acyclic networks.

Left-hand sides are arrays of `comdp`; right-hand sides are sums over enumerated joint trajectories of (S, U, E). Conditions of
probability zero are skipped: `conditional` only ever sees what has happened.
"""

from collections import defaultdict

import numpy as np
import pytest
import scipy.sparse as sp
from brute_force import law_of, rewards_of, trajectories, truncated_return
from hypothesis import given
from strategies import cases
from witness import assert_same, torch_witness

import optioncoagent as oc
from optioncoagent.exact import comdp, expected_return, local_gradient, policy_gradient, synchronous
from optioncoagent.mdp import MDP

STEPS = 2
SYNCHRONOUS = cases(synchronous=True, max_states=2)
SMALLER = cases(synchronous=True, max_states=2, max_outputs=2)  # where two steps are enumerated


class Local:
    """One coagent of a case: its CoMDP, and how trajectories look from where it stands."""

    def __init__(self, case, name):
        self.case, self.name, self.position = case, name, case.network.names.index(name)
        self.model = comdp(*case, name)
        self.number = {x: i for i, x in enumerate(self.model.states)}
        self.rows = rows(case, name, self.model.states)
        policy = case.network.policies(case.params, case.mdp.num_observations)[name]
        self.policy = np.stack([policy[row] for row in self.rows])  # Assumption 1: the same policy, over x

    def x(self, trajectory, t):
        """Number of X_t^i = (S_t, U_t^pre)."""
        return self.number[(trajectory.states[t], *trajectory.outputs[t + 1][: self.position])]

    def u(self, trajectory, t):
        return trajectory.outputs[t + 1][self.position]

    def laws(self, steps):
        """Pr(X̃_t = x) for t = 0 … steps, by propagation in the CoMDP."""
        law, found = self.model.d0, [self.model.d0]
        for _ in range(steps):
            law = np.einsum("x,xu,xuy->y", law, self.policy, self.model.P)
            found.append(law)
        return found


def rows(case, name, states):
    """The row of a coagent's table that it reads at each x."""
    coagent, names = case.network[name], case.network.names
    observed = [(int(case.mdp.observation[x[0]]),) if coagent.observes else () for x in states]
    return [o + tuple(x[1 + names.index(n)] for n in coagent.upstream) for o, x in zip(observed, states, strict=True)]


def locals_of(case):
    return [Local(case, name) for name in case.network.names]


def conditional(found, given_what, what):
    """{condition: {value: probability}}, for the conditions that occur."""
    joint, total = defaultdict(lambda: defaultdict(float)), defaultdict(float)
    for trajectory in found:
        condition = given_what(trajectory)
        joint[condition][what(trajectory)] += trajectory.probability
        total[condition] += trajectory.probability
    return {c: {v: p / total[c] for v, p in values.items()} for c, values in joint.items()}


def as_array(law, size):
    return np.array([law.get(i, 0.0) for i in range(size)])


def reward_indicators(case):
    """{r: the same case with reward 1{R_t = r}} for every r but 0, which is the complement: a CoMDP's R^i(x, u, x', r) for each r."""
    mdp, R = case.mdp, rewards_of(case.mdp)
    values = sorted({float(r) for r in R.ravel()} - {0.0})
    return {r: case._replace(mdp=MDP(mdp.P, _like(mdp.R, R == r), mdp.d0, mdp.gamma, mdp.terminal, mdp.observation)) for r in values}


def _like(layout, array):
    """An (S, A, S) array in the layout of R."""
    if sp.issparse(layout):
        return sp.csr_array(array.reshape(layout.shape).astype(float))
    return array.astype(float) if layout.ndim == 3 else array[:, :, 0].astype(float)


def property_3(local, found):
    for (x, u), law in conditional(found, lambda w: (local.x(w, 0), local.u(w, 0)), lambda w: local.x(w, 1)).items():
        np.testing.assert_allclose(local.model.P[x, u], as_array(law, len(local.model.states)), atol=1e-12)


def property_4(local, found):
    laws = conditional(found, lambda w: (local.x(w, 0), local.u(w, 0), local.x(w, 1)), lambda w: w.rewards[0])
    arrays = {r: comdp(*other, local.name).R for r, other in reward_indicators(local.case).items()}
    for (x, u, after), law in laws.items():
        for r, array in arrays.items():
            assert array[x, u, after] == pytest.approx(law.get(r, 0.0), abs=1e-12)
        assert 1 - sum(array[x, u, after] for array in arrays.values()) == pytest.approx(law.get(0.0, 0.0), abs=1e-12)


def property_5(local, found):
    for t, law in enumerate(local.laws(STEPS - 1)):
        np.testing.assert_allclose(law, as_array(law_of(found, lambda w, t=t: local.x(w, t)), law.size), atol=1e-12)


def property_6(local, found):
    S = local.case.mdp.num_states
    for t, law in enumerate(local.laws(STEPS - 1)):
        np.testing.assert_allclose(law.reshape(S, -1).sum(axis=1), as_array(law_of(found, lambda w, t=t: w.states[t]), S), atol=1e-12)


def property_10(local, found):
    arrays = {r: comdp(*other, local.name).R for r, other in reward_indicators(local.case).items()}
    for t, law in enumerate(local.laws(STEPS - 1)):
        expected = law_of(found, lambda w, t=t: w.rewards[t])
        for r, array in arrays.items():
            probability = np.einsum("x,xu,xuy,xuy->", law, local.policy, local.model.P, array)
            assert probability == pytest.approx(expected.get(r, 0.0), abs=1e-12)


@given(SYNCHRONOUS)
def test_property_1(case):
    """d_0^i(x) = Pr(S_0 = x.s, U_0^pre = x.u_pre)."""
    found = trajectories(*case, steps=1)
    for local in locals_of(case):
        np.testing.assert_allclose(local.model.d0, as_array(law_of(found, lambda w: local.x(w, 0)), len(local.model.states)), atol=1e-12)  # noqa: B023


@given(SYNCHRONOUS)
def test_property_2(case):
    """Pr(X̃_0.s = s) = d_0(s)."""
    for local in locals_of(case):
        np.testing.assert_allclose(local.model.d0.reshape(case.mdp.num_states, -1).sum(axis=1), case.mdp.d0, atol=1e-12)


@given(SMALLER)
def test_property_3(case):
    """P^i(x, u, x') = Pr(S_{t+1} = x'.s, U_{t+1}^pre = x'.u_pre | S_t = x.s, U_t^pre = x.u_pre, U_t = u)."""
    found = trajectories(*case, steps=STEPS)
    for local in locals_of(case):
        property_3(local, found)


@given(SMALLER)
def test_property_4(case):
    """R^i(x, u, x', r) = Pr(R_t = r | S_t = x.s, U_t^pre = x.u_pre, U_t = u, S_{t+1} = x'.s, U_{t+1}^pre = x'.u_pre)."""
    found = trajectories(*case, steps=STEPS)
    for local in locals_of(case):
        property_4(local, found)


@given(SMALLER)
def test_property_5(case):
    """Pr(X̃_t = (s, u_pre)) = Pr(S_t = s, U_t^pre = u_pre)."""
    found = trajectories(*case, steps=STEPS)
    for local in locals_of(case):
        property_5(local, found)


@given(SYNCHRONOUS)
def test_property_6(case):
    """Pr(S_t = s) = Pr(X̃_t.s = s)."""
    found = trajectories(*case, steps=STEPS)
    for local in locals_of(case):
        property_6(local, found)


@given(SMALLER)
def test_property_7(case):
    """π_i^pre(s, u_pre) = Pr(X̃_t.u_pre = u_pre | X̃_t.s = s)."""
    found, S = trajectories(*case, steps=STEPS), case.mdp.num_states
    for local in locals_of(case):
        for t, law in enumerate(local.laws(STEPS - 1)):
            law = law.reshape(S, -1)
            pre = conditional(found, lambda w: w.states[t], lambda w: local.x(w, t) % law.shape[1])  # noqa: B023
            for s, expected in pre.items():
                np.testing.assert_allclose(law[s] / law[s].sum(), as_array(expected, law.shape[1]), atol=1e-12)


@given(SYNCHRONOUS)
def test_property_8(case):
    """Pr(X̃_{t+1}.s = s' | X̃_t = (s, u_pre), Ũ_t = u) = Pr(S_{t+1} = s' | S_t = s, U_t^pre = u_pre, U_t = u)."""
    found, S = trajectories(*case, steps=1), case.mdp.num_states
    for local in locals_of(case):
        for (x, u), law in conditional(found, lambda w: (local.x(w, 0), local.u(w, 0)), lambda w: w.states[1]).items():  # noqa: B023
            np.testing.assert_allclose(local.model.P[x, u].reshape(S, -1).sum(axis=1), as_array(law, S), atol=1e-12)


@given(SMALLER)
def test_property_9(case):
    """Pr(X̃_{t+1}.u_pre = u' | X̃_{t+1}.s = s') is the same given X̃_t and Ũ_t too, and is Pr(U_{t+1}^pre = u' | S_{t+1} = s')."""
    found, S = trajectories(*case, steps=STEPS), case.mdp.num_states
    for local in locals_of(case):
        P = local.model.P.reshape(len(local.model.states), -1, S, len(local.model.states) // S)
        pre = conditional(found, lambda w: w.states[1], lambda w: local.x(w, 1) % P.shape[3])  # noqa: B023
        for x, u in law_of(found, lambda w: (local.x(w, 0), local.u(w, 0))):  # noqa: B023
            for s in np.flatnonzero(P[x, u].sum(axis=1)):
                np.testing.assert_allclose(P[x, u, s] / P[x, u, s].sum(), as_array(pre[s], P.shape[3]), atol=1e-12)


@given(SMALLER)
def test_property_10(case):
    """Pr(R_t = r) = Pr(R̃_t^i = r)."""
    found = trajectories(*case, steps=STEPS)
    for local in locals_of(case):
        property_10(local, found)


@given(SYNCHRONOUS)
def test_property_11(case):
    """J(θ) = J_i(θ_i): over any number of steps, and in the limit."""
    for local in locals_of(case):
        reward = np.einsum("xuy,xuy->xu", local.model.P, local.model.R)
        earned = [law @ (local.policy * reward).sum(axis=1) for law in local.laws(4)]
        J_5 = sum(case.mdp.gamma**t * r for t, r in enumerate(earned))
        assert J_5 == pytest.approx(truncated_return(*case, horizon=5), abs=1e-12)
        assert mdp_policy_gradient(local.model, local.policy)[0] == pytest.approx(expected_return(*case), rel=1e-9, abs=1e-12)


@given(SYNCHRONOUS)
def test_lemma_1(case):
    """M^i is a Markov decision process: laws are not negative and sum to one."""
    for local in locals_of(case):
        model = local.model
        for law in (model.P, model.d0):
            assert (law >= 0).all()
            np.testing.assert_allclose(law.sum(axis=-1), 1.0, atol=1e-12)
        by_reward = [comdp(*other, local.name).R for other in reward_indicators(case).values()]
        assert all((array >= 0).all() for array in by_reward)
        assert (sum(by_reward, np.zeros(model.P.shape)) <= 1 + 1e-12).all()  # the rest is the probability of R_t = 0


@given(SMALLER)
def test_lemma_2(case):
    """M^i models the coagent's environment: Properties 3, 4, 5, 6 and 10 together."""
    found = trajectories(*case, steps=STEPS)
    for local in locals_of(case):
        for statement in (property_3, property_4, property_5, property_6, property_10):
            statement(local, found)


def mdp_policy_gradient(model, policy):
    """J of a policy (X, U) in an MDP and ∂J/∂π(x, u) by the policy gradient theorem (Sutton et al., 2000), with dense solves."""
    live = np.flatnonzero(~model.terminal)
    P = model.P if not hasattr(model.P, "toarray") else model.P.toarray().reshape(model.num_states, model.num_actions, -1)
    kernel = np.einsum("xu,xuy->xy", policy, P)[np.ix_(live, live)]
    system = np.eye(live.size) - model.gamma * kernel
    values = np.zeros(model.num_states)
    values[live] = np.linalg.solve(system, (policy * model.expected_reward).sum(axis=1)[live])
    occupancy = np.zeros(model.num_states)
    occupancy[live] = np.linalg.solve(system.T, model.d0[live])
    return model.d0 @ values, occupancy[:, None] * (model.expected_reward + model.gamma * P @ values)


def comdp_gradient(local):
    """∂J_i(θ_i)/∂θ_i, from the CoMDP alone: x that read the same row of the coagent's table add up."""
    slope = mdp_policy_gradient(local.model, local.policy)[1]
    gradient = np.zeros(local.case.params[local.name].shape)
    for row, policy, by_output in zip(local.rows, local.policy, slope, strict=True):
        gradient[row] += policy * (by_output - policy @ by_output)
    return gradient


@given(SYNCHRONOUS)
def test_lemma_3(case):
    """∂J_i(θ_i)/∂θ_i = Δ_i(θ_i)."""
    for local in locals_of(case):
        assert_same({"": local_gradient(*case, local.name)}, {"": comdp_gradient(local)}, 1e-9)


@given(SYNCHRONOUS)
def test_theorem_1(case):
    """∇J(θ) = [Δ_1; …; Δ_m]: the gradients of the CoMDPs, stacked, are autograd's gradient of J, and what `policy_gradient` gives."""
    stacked = {local.name: comdp_gradient(local) for local in locals_of(case)}
    assert_same(stacked, torch_witness(*case)[1], 1e-9)
    assert_same(policy_gradient(*case), stacked, 1e-9)


@given(cases(max_coagents=2, max_outputs=2, max_states=2))
def test_theorem_1_for_asynchronous_networks_through_the_reduction(case):
    """Δ_i of an asynchronous network is the gradient of the CoMDP of its coagent in the reduction, over the rows where e_i = 1."""
    reduced = type(case)(*synchronous(*case))
    gradient = {}
    for name in case.network.names:
        local = Local(reduced, name)
        slope = mdp_policy_gradient(local.model, local.policy)[1]
        gradient[name] = np.zeros(case.params[name].shape)
        coagent, earlier = case.network[name], reduced.network.names[: local.position]
        for x, policy, by_output in zip(local.model.states, local.policy, slope, strict=True):
            s, _, *before = reduced.mdp.states[x[0]]
            now = dict(zip(earlier, x[1:], strict=True))
            if now[f"{name}_executes"]:
                row = (int(case.mdp.observation[s]),) if coagent.observes else ()
                row += tuple(now[n] for n in coagent.upstream) + tuple(before[case.network.names.index(n)] for n in coagent.previous)
                gradient[name][row] += policy * (by_output - policy @ by_output)
    assert_same(policy_gradient(*case), gradient, 1e-9)


def test_the_reduction_of_a_network_with_a_coagent_of_a_gates_name():
    mdp = oc.MDP(np.ones((1, 2, 1)), np.array([[1.0, 0.0]]), [1.0], 0.5, terminal=np.array([False]))
    coagents = [oc.Coagent("action_executes", 2), oc.Coagent("action", 2, upstream=("action_executes",), executes=0.5)]
    network = oc.CoagentNetwork(coagents)
    params = network.init_params(1, seed=0)
    reduced = synchronous(mdp, network, params)
    assert reduced[1].names == ("action_executes_executes", "action_executes", "action_executes_", "action")
    assert expected_return(*reduced) == pytest.approx(expected_return(mdp, network, params))
