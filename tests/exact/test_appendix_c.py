"""ACN, appendix C: the synchronous, acyclic reduction behaves like the asynchronous, cyclic network, law by law."""

from collections import defaultdict
from string import ascii_letters

import numpy as np
import pytest
from brute_force import laws, steps_from, ticks, trajectories, truncated_return
from hypothesis import given
from small import random_mdp
from strategies import cases
from witness import assert_same

from optioncoagent import Coagent, CoagentNetwork
from optioncoagent.exact import comdp, expected_return, policy_gradient, synchronous

STEPS = 2
SMALL = cases(max_states=2)


def joint_policy(reduced):
    """π̇(ṡ, ȧ), (Ṡ, Ȧ): the product of the reduced network's policies, actions in C order over (u', e)."""
    mdp, network, params = reduced
    letter = dict(zip(network.names, ascii_letters, strict=False))
    policies = network.policies(params, mdp.num_observations)
    parts = ["Z" + "".join(letter[n] for n in (*network[name].upstream, name)) for name in network.names]
    joint = np.einsum(f"{','.join(parts)}->Z{''.join(letter[n] for n in network.action)}", *policies.values())
    return joint.reshape(mdp.num_states, -1)


def asynchronous_law(case, state):
    """{(a, u', e): Pr(A_t = a, U_t^all = u', E_t = e | S_t = s, U_{t-1}^all = u)} by enumeration, for state = (s, start, u)."""
    policies = case.network.policies(case.params, case.mdp.num_observations)
    s, start, *previous = state
    law = defaultdict(float)
    for tick in ticks(case.network, bool(start), int(case.mdp.observation[s]), tuple(previous)):
        sizes = [case.network[n].num_outputs for n in case.network.action]
        action = np.ravel_multi_index([tick.outputs[case.network.names.index(n)] for n in case.network.action], sizes)
        law[int(action), tick.outputs, tick.executed] += tick.probability(policies)
    return law


def reduced_laws(reduced):
    """[Pr(Ṡ_t = ·) for t = 0 … STEPS] and [Pr(Ṡ_t = ·, Ȧ_t = ·) for t < STEPS], by propagation."""
    mdp, policy = reduced[0], joint_policy(reduced)
    states, joints = [mdp.d0], []
    for _ in range(STEPS):
        joints.append(states[-1][:, None] * policy)
        states.append(joints[-1].reshape(-1) @ mdp.transition_matrix)
    return states, joints


@given(SMALL)
def test_c_1_joint_law(case):
    """π̇((s, u), (a, u', e)) = Pr(A_t = a, U_t^all = u', E_t = e | S_t = s, U_{t-1}^all = u), at eight (s, start, u), visited or not."""
    reduced = synchronous(*case)
    policy, actions = joint_policy(reduced), reduced[0].actions
    rng = np.random.default_rng(0)
    for number in rng.permutation(len(policy))[:8]:
        law = asynchronous_law(case, reduced[0].states[number])
        assert sum(law.values()) == pytest.approx(1.0)
        np.testing.assert_allclose(policy[number], [law.get(action, 0.0) for action in actions], atol=1e-12)


@given(SMALL)
def test_c_2_1_state_laws(case):
    """Pr(Ṡ_t = (s, u)) = Pr(S_t = s, U_{t-1}^all = u)."""
    reduced = synchronous(*case)
    for t, (law, expected) in enumerate(zip(reduced_laws(reduced)[0], laws(*case, steps=STEPS), strict=True)):
        by_meaning = {state: p for state, p in zip(reduced[0].states, law, strict=True) if p > 0}
        assert set(by_meaning) == {(s, int(t == 0), *u) for (s, u), p in expected.items() if p > 0}
        for (s, u), p in expected.items():
            assert by_meaning.get((s, int(t == 0), *u), 0.0) == pytest.approx(p, abs=1e-12)


@given(SMALL)
def test_c_2_2_reward_laws(case):
    """Pr(Ȧ_t = (a, u, e)) = Pr(A_t = a, U_t^all = u, E_t = e) and Pr(Ṙ_t = r) = Pr(R_t = r), costs included."""
    reduced = synchronous(*case)
    mdp, (_, joints) = reduced[0], reduced_laws(reduced)
    policies = case.network.policies(case.params, case.mdp.num_observations)
    P = mdp.transition_matrix.tocoo()
    rewards = np.asarray(mdp.R[P.row, P.col]).reshape(-1)
    for t, law in enumerate(laws(*case, steps=STEPS)[:STEPS]):
        expected_actions, expected_rewards = defaultdict(float), defaultdict(float)
        for (s, previous), weight in law.items():
            for p, tick, action, _, reward in steps_from(case.mdp, case.network, policies, t == 0, s, previous):
                expected_actions[action, tick.outputs, tick.executed] += weight * p
                expected_rewards[round(reward, 9)] += weight * p
        np.testing.assert_allclose(joints[t].sum(axis=0), [expected_actions.get(a, 0.0) for a in mdp.actions], atol=1e-12)
        found = defaultdict(float)
        for p, r in zip(joints[t].reshape(-1)[P.row] * P.data, rewards, strict=True):
            if p > 0:
                found[round(r, 9)] += p
        for r in {*found, *expected_rewards}:
            assert found[r] == pytest.approx(expected_rewards[r], abs=1e-12)


@given(cases(max_states=2, max_outputs=2))
def test_c_2_3_objectives(case):
    """J̇(θ) = J(θ), over a few enumerated steps and in the limit."""
    reduced = synchronous(*case)
    mdp, (_, joints) = reduced[0], reduced_laws(reduced)
    J_2 = sum(mdp.gamma**t * float((joint * mdp.expected_reward).sum()) for t, joint in enumerate(joints))
    assert J_2 == pytest.approx(truncated_return(*case, horizon=STEPS), abs=1e-12)
    assert J_2 == pytest.approx(
        sum(w.probability * sum(mdp.gamma**t * r for t, r in enumerate(w.rewards)) for w in trajectories(*case, steps=STEPS)), abs=1e-12
    )
    assert expected_return(*reduced) == pytest.approx(expected_return(*case), rel=1e-9, abs=1e-12)


@given(SMALL)
def test_gradients_of_the_reduction_add_up(case):
    """Rows of the reduced logits with e_i = 1 that come from one row of θ_i add up to its gradient."""
    mdp, network, params = synchronous(*case)
    reduced, gradient = policy_gradient(mdp, network, params), {}
    for name in case.network.names:
        coagent, earlier = case.network[name], case.network.names[: case.network.names.index(name)]
        gradient[name] = np.zeros(case.params[name].shape)
        for index in np.argwhere((reduced[name][..., 1, :] != 0).any(axis=-1)):
            s, _, *before = mdp.states[index[0]]
            now = dict(zip(earlier, index[1:], strict=True))
            row = (int(case.mdp.observation[s]),) if coagent.observes else ()
            row += tuple(now[n] for n in coagent.upstream) + tuple(before[case.network.names.index(n)] for n in coagent.previous)
            gradient[name][row] += reduced[name][(*index, 1)]
    assert_same(policy_gradient(*case), gradient, 1e-9)


@given(cases())
def test_always_executing_without_a_past_is_its_own_reduction(case):
    """The reduction has no memory, and every CoMDP of it exists; the original is refused exactly where it is not synchronous."""
    _, network, _ = synchronous(*case)
    assert network.memory == () and not any(c.cost for c in network.coagents)
    original = case.network
    is_synchronous = not original.memory and not any(c.cost or original.may_retain(c.name) for c in original.coagents)
    for name in original.names:
        if is_synchronous:
            assert comdp(*case, name).num_actions == original[name].num_outputs
        else:
            with pytest.raises(ValueError, match="optioncoagent.synchronous"):
                comdp(*case, name)


def test_a_comdp_of_a_network_that_charges_is_refused():
    network = CoagentNetwork([Coagent("option", 2, cost=0.1), Coagent("action", 2, upstream=("option",))])
    mdp = random_mdp()
    with pytest.raises(ValueError, match="charges for 'option' at every step but the first"):
        comdp(mdp, network, network.init_params(mdp.num_observations), "action")
