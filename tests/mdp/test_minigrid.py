"""MDP.from_minigrid against minigrid itself: sizes, random replays, sampled returns, and what is refused."""

import subprocess
import sys

import gymnasium as gym
import minigrid  # noqa: F401
import numpy as np
import pytest
from minigrid.envs import EmptyEnv

import optioncoagent as oc
from optioncoagent.mdp import MDP

# id: number of states of seed 0's level, without the end
LEVELS = {
    "MiniGrid-Empty-5x5-v0": 32,
    "MiniGrid-Empty-8x8-v0": 140,
    "MiniGrid-DoorKey-5x5-v0": 260,
    "MiniGrid-FourRooms-v0": 1036,
    "MiniGrid-LavaCrossingS9N1-v0": 168,
    "MiniGrid-Unlock-v0": 1024,
    "MiniGrid-MultiRoom-N2-S4-v0": 60,
}
# families whose steps read something of their own: identities, targets, instructions that remember
OTHERS = [
    "MiniGrid-MemoryS7-v0",
    "MiniGrid-RedBlueDoors-6x6-v0",
    "MiniGrid-GoToDoor-5x5-v0",
    "MiniGrid-Fetch-5x5-N2-v0",
    "MiniGrid-PutNear-6x6-N2-v0",
    "MiniGrid-DistShift1-v0",
    "MiniGrid-KeyCorridorS3R1-v0",
    "BabyAI-OneRoomS8-v0",
    "BabyAI-GoToLocalS5N2-v0",
    "BabyAI-OpenTwoDoors-v0",
]


def make(env_id):
    return gym.make(env_id, disable_env_checker=True).unwrapped


@pytest.mark.parametrize("env_id", LEVELS)
def test_enumerates(env_id):
    """4 directions times free cells, times what lies where. Unlock: 4·(16 carrying the key + 16 places for it · 15 for the agent)."""
    mdp = MDP.from_minigrid(env_id, gamma=0.99)
    assert mdp.num_states == LEVELS[env_id] + 1
    assert mdp.terminal.sum() == 1 and mdp.terminal[-1]
    assert mdp.num_observations == len(mdp.observations) == mdp.num_states
    assert set(np.unique(mdp.expected_reward)) == {0, 1}


@pytest.mark.parametrize(("horizon", "view"), [(False, "egocentric"), (True, "state")])
@pytest.mark.parametrize("env_id", [*LEVELS, *OTHERS])
def test_replay(env_id, horizon, view):
    """Random actions in the real environment: the model agrees on reward, ending and image at every step."""
    seed = 3
    mdp = MDP.from_minigrid(env_id, gamma=1.0, seed=seed, horizon=horizon, view=view, max_states=1_000_000)
    successor = mdp.transition_matrix.indices.reshape(mdp.num_states, mdp.num_actions)
    rng = np.random.default_rng(0)
    env = make(env_id)
    for _ in range(6):
        seen, _ = env.reset(seed=seed)
        state, over = 0, False
        while not over:
            looks = mdp.observations[mdp.observation[state]]
            assert np.array_equal(looks["image"], seen["image"])
            assert (looks["direction"], looks["mission"]) == (seen["direction"], seen["mission"])
            action = int(rng.choice(mdp.num_actions, p=[0.1, 0.1, 0.4, 0.15, 0.05, 0.15, 0.05]))
            seen, reward, terminated, truncated, _ = env.step(action)
            expected = mdp.expected_reward[state, action]
            assert expected == (reward if horizon else float(reward > 0))
            state, over = successor[state, action], terminated or truncated
            assert mdp.terminal[state] == (over if horizon else terminated)


def test_a_goal_on_the_last_step_pays_and_ends():
    """Empty-5x5 has 100 steps: a goal at the hundredth is both terminated and truncated."""
    mdp = MDP.from_minigrid("MiniGrid-Empty-5x5-v0", gamma=1.0, horizon=True)
    env = make("MiniGrid-Empty-5x5-v0")
    env.reset(seed=0)
    state = 0
    for action in [2, 2, 1, 2] + [0, 1] * 47 + [6, 2]:
        expected = mdp.expected_reward[state, action]
        state = mdp.transition_matrix.indices[state * mdp.num_actions + action]
        _, reward, terminated, truncated, _ = env.step(action)
        assert reward == expected
    assert terminated and truncated and mdp.terminal[state]
    assert reward == pytest.approx(1 - 0.9)


def expected_return_of_uniform(mdp, num_steps):
    """J by back-substitution: states are ordered by time, the end is last."""
    values = np.zeros(mdp.num_states)
    successor = mdp.transition_matrix.indices.reshape(mdp.num_states, mdp.num_actions)
    layer = (mdp.num_states - 1) // num_steps
    for t in reversed(range(num_steps)):
        states = slice(t * layer, (t + 1) * layer)
        values[states] = (mdp.expected_reward[states] + mdp.gamma * values[successor[states]]).mean(axis=1)
    return values[0]


def sampled_returns(env_id, seed, num_episodes):
    """Returns of a uniform policy in the real environment, whose observations are left unbuilt: the policy does not look."""
    env = make(env_id)
    env.reset(seed=seed)
    env.gen_obs = lambda: None
    rng = np.random.default_rng(1)
    returns = np.zeros(num_episodes)
    for episode in range(num_episodes):
        env.reset(seed=seed)
        for action in rng.integers(env.action_space.n, size=env.max_steps):
            _, reward, terminated, _, _ = env.step(int(action))
            returns[episode] += reward
            if terminated:
                break
    return returns


def check_against_samples(env_id, num_episodes):
    mdp = MDP.from_minigrid(env_id, gamma=1.0, horizon=True)
    num_steps = make(env_id).max_steps
    assert mdp.num_states == LEVELS[env_id] * num_steps + 1
    returns = sampled_returns(env_id, 0, num_episodes)
    standard_error = returns.std(ddof=1) / np.sqrt(num_episodes)
    assert abs(returns.mean() - expected_return_of_uniform(mdp, num_steps)) < 4 * standard_error + 1e-12


@pytest.mark.parametrize("env_id", ["MiniGrid-Empty-5x5-v0", "MiniGrid-MultiRoom-N2-S4-v0"])
def test_return_of_the_unrolled_level(env_id):
    check_against_samples(env_id, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", LEVELS)
def test_return_of_the_unrolled_level_5000_episodes(env_id):
    check_against_samples(env_id, 5000)


def test_egocentric_states_share_observations():
    plain = MDP.from_minigrid("MiniGrid-FourRooms-v0", gamma=0.99)
    shared = MDP.from_minigrid("MiniGrid-FourRooms-v0", gamma=0.99, view="egocentric")
    assert shared.num_observations == len(shared.observations) < plain.num_observations
    assert (shared.transition_matrix != plain.transition_matrix).nnz == 0
    looks = {(o["image"].tobytes(), o["direction"], o["mission"]) for o in shared.observations}
    assert len(looks) == shared.num_observations  # each look once; nothing is seen at the end
    assert not shared.observations[-1]["image"].any()


def test_the_horizon_is_not_observed():
    short = MDP.from_minigrid("MiniGrid-Empty-5x5-v0", gamma=1.0)
    long = MDP.from_minigrid("MiniGrid-Empty-5x5-v0", gamma=1.0, horizon=True)
    assert long.num_observations == short.num_observations
    assert np.array_equal(long.observation, [*np.tile(np.arange(32), 100), 32])


def test_by_the_id_of_the_compiled_batch():
    """In a process that has not imported what registers it, as `optioncoagent audit` does not."""
    code = "import optioncoagent as oc; print(oc.MDP.from_minigrid('OptionCoagent/MiniGrid-Empty-5x5-v0', 0.9).num_states)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1 + LEVELS["MiniGrid-Empty-5x5-v0"]


def test_a_level_of_a_module_that_is_not_imported_yet(tmp_path, monkeypatch):
    """By a name like MiniGrid's own."""
    (tmp_path / "of_mine.py").write_text(
        "import gymnasium as gym\nfrom minigrid.envs import EmptyEnv\n"
        "gym.register('MiniGrid-OfMine-v0', lambda **kwargs: EmptyEnv(size=5, **kwargs))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert MDP.from_minigrid("of_mine:MiniGrid-OfMine-v0", 0.9).num_states == 1 + LEVELS["MiniGrid-Empty-5x5-v0"]
    finally:
        gym.registry.pop("MiniGrid-OfMine-v0", None)


def test_seeds_are_levels():
    first, again, other = (MDP.from_minigrid("MiniGrid-LavaCrossingS9N1-v0", 0.9, seed=s).transition_matrix for s in (0, 0, 4))
    assert (first != again).nnz == 0
    assert first.shape != other.shape or (first != other).nnz > 0


@pytest.mark.parametrize("env_id", ["MiniGrid-Dynamic-Obstacles-5x5-v0", "MiniGrid-Dynamic-Obstacles-Random-6x6-v0"])
def test_refuses_random_steps(env_id):
    with pytest.raises(ValueError, match=f"{env_id} draws random numbers"):
        MDP.from_minigrid(env_id, gamma=0.9)


def test_refuses_a_level_that_is_too_large():
    with pytest.raises(ValueError, match=r"KeyCorridor.* max_states=2000 .*2001 states so far"):
        MDP.from_minigrid("MiniGrid-KeyCorridorS4R3-v0", gamma=0.9, max_states=2000)
    with pytest.raises(ValueError, match=r"max_states=2000 .*states times 250 steps so far"):
        MDP.from_minigrid("MiniGrid-DoorKey-5x5-v0", gamma=0.9, horizon=True, max_states=2000)


def test_refuses_what_is_no_minigrid_level():
    with pytest.raises(ValueError, match="FrozenLake-v1 is FrozenLakeEnv, not a MiniGrid environment: use MDP.from_env"):
        MDP.from_minigrid("FrozenLake-v1", gamma=0.9)
    with pytest.raises(ValueError, match="view='full': choose one of"):
        MDP.from_minigrid("MiniGrid-Empty-5x5-v0", gamma=0.9, view="full")
    for seed in (None, -1, 1.5, True):
        with pytest.raises(ValueError, match=f"seed={seed}: an integer of at least 0 tells which level to take"):
            MDP.from_minigrid("MiniGrid-Empty-5x5-v0", 0.9, seed=seed)
    with pytest.raises(ValueError, match="horizon=5: True unrolls the time"):
        MDP.from_minigrid("MiniGrid-Empty-5x5-v0", gamma=0.9, horizon=5)
    with pytest.raises(gym.error.NameNotFound, match="Nowhere"):
        MDP.from_minigrid("MiniGrid-Nowhere-v0", gamma=0.9)


def test_refuses_rewards_that_are_not_for_success():
    class Paid(EmptyEnv):
        def step(self, action):
            observation, reward, *others = super().step(action)
            return observation, 0.25 if action == 6 else reward, *others

    gym.register("Paid-v0", entry_point=Paid)
    try:
        with pytest.raises(ValueError, match="Paid-v0 pays 0.25 for action 6, neither 0 nor its success reward"):
            oc.MDP.from_minigrid("Paid-v0", 0.9)
    finally:
        gym.registry.pop("Paid-v0")
