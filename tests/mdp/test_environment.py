"""MDPs to Gymnasium environments and back."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from gymnasium.utils.env_checker import check_env

import optioncoagent as oc


def mdp(horizon=None, form="dense"):
    """Three states and an end; states 0 and 2 look alike."""
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(4), (4, 2))
    P[1, 0] = [0.5, 0.0, 0.5, 0.0]
    R = rng.normal(size=P.shape)
    P[-1], R[-1] = np.eye(4)[-1], 0.0
    d0 = [0.3, 0.7, 0.0, 0.0]
    R = {"dense": R, "sparse": sp.csr_array(R.reshape(-1, 4)), "rewards of (s, a)": R[:, :, 0] * [[1], [1], [1], [0]]}[form]
    if form == "sparse":
        P = sp.csr_array(P.reshape(-1, 4))
    return oc.MDP(P, R, d0, 0.9, [False, False, False, True], [0, 1, 0, 2], horizon)


@pytest.mark.parametrize("horizon", [None, 3])
def test_gymnasium_finds_nothing_wrong(horizon):
    env = mdp(horizon).to_env()
    check_env(env)
    assert isinstance(gym.make(env.spec).unwrapped.mdp, oc.MDP)


@pytest.mark.parametrize("form", ["dense", "sparse", "rewards of (s, a)"])
def test_frequencies_and_rewards_are_those_of_the_arrays(form):
    made = mdp(form=form)
    env, rng = made.to_env(), np.random.default_rng(1)
    P, (S, A) = made.transition_matrix.toarray().reshape(4, 2, 4), (4, 2)
    R = made.R.toarray().reshape(4, 2, 4) if form == "sparse" else made.R
    counts, first = np.zeros((S, A, S)), np.zeros(S)
    for _ in range(4000):
        observation, info = env.reset(seed=None if first.any() else 3)
        state, over = info["state"], False
        first[state] += 1
        while not over:
            assert observation == made.observation[state]
            action = rng.integers(A)
            observation, reward, over, truncated, info = env.step(action)
            successor = info["state"]
            assert reward == (R[state, action] if R.ndim == 2 else R[state, action, successor])
            assert over == made.terminal[successor] and not truncated
            counts[state, action, successor] += 1
            state = successor
    for seen, law in [(first, made.d0), *((counts[s, a], P[s, a]) for s in range(3) for a in range(A))]:
        n = seen.sum()
        assert n > 500 and (seen[law == 0] == 0).all()
        error = np.sqrt(law * (1 - law) / n) + 1e-12
        assert np.abs(seen / n - law).max() < 4 * error.max()


def test_a_seed_decides():
    def run(seed):
        env = mdp().to_env()
        seen = [env.reset(seed=seed)[1]["state"]]
        for t in range(10):
            seen.append(env.step(t % 2)[1:3])
        return seen

    assert run(5) == run(5) != run(6)


def test_under_a_horizon_an_episode_terminates_after_its_last_step():
    cycle = oc.MDP([[[0, 1]], [[1, 0]]], [[1.0], [2.0]], [1, 0], 0.9, horizon=3)
    env = cycle.to_env()
    env.reset(seed=0)
    assert [env.step(0)[1:4] for _ in range(3)] == [(1.0, False, False), (2.0, False, False), (1.0, True, False)]
    env.reset()
    assert not env.step(0)[2]


def test_step_before_reset():
    with pytest.raises(gym.error.ResetNeeded):
        mdp().to_env().step(0)


@pytest.mark.parametrize("action", [2, -1, 0.5, "0", None])
def test_an_action_is_one_of_the_mdps(action):
    env = oc.MDP(np.eye(2)[:, None].repeat(2, 1), [[1.0, 2.0], [10.0, 20.0]], [1, 0], 0.9).to_env()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"action={action!r}: it is one of 0 … 1"):
        env.step(action)
    assert env.step(np.int64(1))[1] == 2


@pytest.mark.parametrize("form", ["dense", "sparse", "rewards of (s, a)"])
def test_there_and_back(form):
    made = mdp(5, form)
    made.observations = ["what", "is", "seen"]
    back = oc.MDP.from_env(made.to_env(), 0.5)
    assert (back.gamma, back.horizon, back.observations) == (0.5, 5, made.observations)
    for name in ("transition_matrix", "transition_reward", "d0", "terminal", "observation"):
        ours, theirs = (getattr(x, name) for x in (back, made))
        np.testing.assert_array_equal(*(x.toarray() if sp.issparse(x) else x for x in (ours, theirs)))


def test_an_agent_trains_on_it_and_is_evaluated():
    env = mdp().to_env()
    agent = oc.OptionCritic(env, num_options=2, hidden_sizes=(), num_steps=16, seed=0).learn(64)
    assert agent.evaluate(5, env=mdp().to_env()).lengths.min() >= 1
    assert agent.evaluate(5).lengths.min() >= 1  # on a new one, from its spec
    assert agent.params(mdp())["action"].shape == (3, 2, 2)


def test_an_id_is_enough():
    by_id, by_object = (oc.MDP.from_env(env, 0.9) for env in ("FrozenLake-v1", gym.make("FrozenLake-v1")))
    np.testing.assert_array_equal(by_id.transition_matrix.toarray(), by_object.transition_matrix.toarray())
    names = "OptionCoagent/FourRooms-v0", "optioncoagent_envs:OptionCoagent/FourRooms-v0"
    assert [oc.MDP.from_env(name, 0.9).num_states for name in names] == [105, 105]


@pytest.mark.parametrize(
    ("env_id", "error", "words"),
    [
        ("CartPole-v1", ValueError, "CartPole-v1 has no toy_text tables"),
        ("MiniGrid-Empty-5x5-v0", ValueError, "use MDP.from_minigrid"),
        ("Nowhere-v0", gym.error.NameNotFound, "Nowhere"),
    ],
)
def test_an_id_without_tables(env_id, error, words):
    with pytest.raises(error, match=words):
        oc.MDP.from_env(env_id, 0.9)


def test_a_horizon_too_long_to_be_unrolled_is_refused_before_anything_is_made():
    limit = 50_000_000 // 2
    cycle = oc.MDP([[[0, 1]], [[1, 0]]], [[1.0], [2.0]], [1, 0], 0.9, horizon=limit + 1)
    with pytest.raises(ValueError, match=rf"horizon={limit + 1}: 2 transitions .* at most {limit:,}"):
        _ = cycle.unrolled


@pytest.mark.parametrize("horizon", [0, -1, 2.5, True, "3"])
def test_a_horizon_is_a_number_of_steps(horizon):
    with pytest.raises(ValueError, match="horizon="):
        oc.MDP([[[1.0]]], [[0.0]], [1.0], 0.9, horizon=horizon)


def test_several_entries_of_one_transition_are_one_with_the_mean_of_their_rewards():
    """As a toy_text table may have them: probabilities add up, rewards are weighed by them, and what ends is apart."""
    entries = [(0.2, 1, 1.0, False), (0.3, 1, 6.0, False), (0.1, 1, -2.0, True), (0.4, 0, 3.0, False)]
    rest = [(1.0, 1, 5.0, True)]
    mdp = oc.MDP.from_env(SimpleNamespace(P={0: {0: entries}, 1: {0: rest}}, initial_state_distrib=np.array([1.0, 0.0])), 0.9)
    np.testing.assert_allclose(mdp.transition_matrix.toarray(), [[0.4, 0.5, 0.1], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(mdp.R.toarray(), [[3.0, (0.2 * 1 + 0.3 * 6) / 0.5, -2.0], [0, 0, 5.0], [0, 0, 0]])
    np.testing.assert_allclose(mdp.expected_reward[:, 0], [0.4 * 3 + 2.0 - 0.2, 5.0, 0.0])


BOTH = {0: [(1.0, 1, 0.0, True)], 1: [(1.0, 1, 5.0, True)]}


class Table(gym.Env):
    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)
    initial_state_distrib = np.array([1.0, 0.0])

    def __init__(self, P):
        self.P = P


@pytest.mark.parametrize(
    ("P", "message"),
    [
        ({0: {0: [(1.0, 1, 0.0, False)]}, 1: BOTH}, r"P\[0\] has 1 actions, and the environment 2"),
        ({1: BOTH, 2: BOTH}, "initial_state_distrib has 2 states, and P has no state 0"),
        ({0: BOTH, 1: BOTH, 2: BOTH}, "P has 3 states, and initial_state_distrib 2: give each state its probability"),
        ({0: {1: BOTH[0], 2: BOTH[1]}, 1: BOTH}, r"P\[0\] has no action 0"),
        ({0: BOTH | {0: [(1.0, 2, 0.0, False)]}, 1: BOTH}, r"P\[0\]\[0\] has \(1.0, 2, 0.0, False\).* of 2 states"),
        ({0: BOTH | {1: [(1.0, -1, 0.0, False)]}, 1: BOTH}, r"P\[0\]\[1\] has \(1.0, -1, 0.0, False\)"),
        ({0: BOTH | {0: [(1.0, 0.6, 0.0, False)]}, 1: BOTH}, r"P\[0\]\[0\] .* whose next state is 0.6"),
        ({0: BOTH | {0: [(1.0, None, 0.0, False)]}, 1: BOTH}, r"P\[0\]\[0\] .* whose next state is None"),
        ({0: BOTH | {0: [(-0.5, 0, 2.0, False), (1.5, 0, 7.0, False)]}, 1: BOTH}, r"P\[0\]\[0\] .* whose probability is -0.5"),
        ({0: BOTH | {0: [(np.nan, 0, 2.0, False)]}, 1: BOTH}, r"P\[0\]\[0\] .* whose probability is nan"),
        ({0: BOTH | {0: [(1.0, 1, 0.0, "False")]}, 1: BOTH}, r"P\[0\]\[0\] .* whose fourth part is 'False'"),
        ({0: BOTH | {0: [(1.0, 1, None, False)]}, 1: BOTH}, r"P\[0\]\[0\] .* whose reward is None"),
        ({0: BOTH | {0: [(1.0, 1, np.inf, False)]}, 1: BOTH}, r"P\[0\]\[0\] .* whose reward is inf"),
        ({0: BOTH | {0: [1.0]}, 1: BOTH}, r"P\[0\]\[0\] has 1.0, which are not four things"),
        (
            {0: BOTH, 1: BOTH | {0: [(1.0, 1, 0.0)]}},
            r"P\[1\]\[0\] has \(1.0, 1, 0.0\), .* not four .*: give \(probability, next state",
        ),
    ],
)
def test_tables_with_something_missing_are_named(P, message):
    with pytest.raises(ValueError, match=message):
        oc.MDP.from_env(Table(P), 0.9)
    assert oc.MDP.from_env(Table({0: BOTH, 1: BOTH}), 1.0).expected_reward[0].tolist() == [0.0, 5.0]
    assert oc.MDP.from_env(Table({0: BOTH | {0: [(1.0, 9, 0.0, True)]}, 1: BOTH}), 1.0).num_states == 3  # whatever state the table names
    never = [(0.0, None, np.inf, False), *BOTH[1]]
    assert oc.MDP.from_env(Table({0: BOTH | {1: never}, 1: BOTH}), 1.0).expected_reward[0].tolist() == [0.0, 5.0]
    assert oc.MDP.from_env(Table([[BOTH[0], BOTH[1]]] * 2), 1.0).expected_reward[0].tolist() == [0.0, 5.0]


def test_wrappers_of_which_the_tables_say_nothing_are_refused():
    env = gym.make("FrozenLake-v1")
    ours = oc.MDP.from_env(env, 0.9).to_env()
    wrappers = [gym.wrappers.TransformReward(made, lambda r: 10 * r) for made in (env, ours)]
    for wrapped in (*wrappers, gym.wrappers.TimeLimit(gym.wrappers.StickyAction(env, 0.5), 9)):
        with pytest.raises(
            ValueError, match="is wrapped in (TransformReward|StickyAction), of which its tables say nothing: give env.unwrapped"
        ):
            oc.MDP.from_env(wrapped, 0.9)
    assert oc.MDP.from_env(gym.wrappers.RecordEpisodeStatistics(gym.wrappers.TimeLimit(env, 9)), 0.9).num_states == 17


def test_a_passenger_of_whom_the_tables_say_nothing_is_refused():
    with pytest.raises(ValueError, match="fickle passenger"):
        oc.MDP.from_env(gym.make("Taxi-v4", fickle_passenger=True), 0.99)
    assert oc.MDP.from_env(gym.make("Taxi-v4"), 0.99).num_states == 501
