"""What environments give: last observations, endings and rewards in every form, and what cannot be learned from."""

import pickle
import signal
from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from scripted import ScriptedVectorEnv
from toys import Batch, Toy, batch_of, train

import optioncoagent as oc
from optioncoagent.agents.rollout import collect


def singles(last):
    return np.array([{"y": {"x": x}} for x in last["y"]["x"]] if isinstance(last, dict) else [*map(np.array, last), None], dtype=object)[:3]


FORMS = {
    "for all": lambda last: {"final_obs": last},
    "one each": lambda last: {"final_obs": singles(last), "_final_obs": np.ones(3, bool)},
    "a list": lambda last: {"final_obs": list(singles(last))},
    "the older key": lambda last: {"final_observation": singles(last), "_final_observation": np.ones(3, bool)},
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_last_observations(form, nested):
    """The same observations arrive, and the same is learned."""
    agent = oc.OptionCritic(Batch(FORMS[form], nested), num_steps=16, seed=0)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    assert rollout.final_index.tolist() == [[t, i] for t in (6, 13) for i in range(3)]
    expected = np.repeat(0.7 + np.tile(np.arange(3), 2)[:, None] / 100, 2, axis=1)
    np.testing.assert_allclose(rollout.final_observation["y/x" if nested else ""], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "final",
    [
        None,
        lambda last: {"final_obs": np.full(3, None)},
        lambda last: {"final_obs": singles(last), "_final_obs": np.array([True, False, True])},
    ],
)
def test_missing_last_observations_are_named(final):
    with pytest.raises(ValueError, match=r"environment \d was truncated and reset.*final_obs"):
        train(Batch(final))


def test_without_truncation_nothing_is_missing():
    class Terminates(Batch):
        def step(self, actions):
            observation, reward, never, end, info = super().step(actions)
            return observation, reward, end, never, info

    assert train(Terminates(None)).num_episodes > 3


@pytest.mark.parametrize("given", [dict(ending=lambda x: np.array([x])), dict(reward=np.array([1.0])), dict(reward=np.array([[1]]))])
def test_endings_and_rewards_of_one_element(given):
    agent = train(Toy(**given))
    assert agent.num_episodes == 21 and set(agent.recent) == {(3.0, 3)}


def test_columns_of_rewards_and_endings():
    class Columns(Batch):
        def step(self, actions):
            observation, *rest, info = super().step(actions)
            return observation, *(x[:, None] for x in rest), info

    assert set(train(Columns(FORMS["for all"])).recent) == {(7.0, 7)}


ANOTHER_SHAPE = r"observation has shape \(4,\), where the agent was made for \(3,\)"


@pytest.mark.parametrize(
    "given, message",
    [
        (
            dict(reward=lambda t: np.nan if t == 2 else 1.0),
            "environment 0, after 2 steps of its episode: the reward has a value that is not",
        ),
        (dict(show=lambda t: np.full(3, np.nan if t == 2 else 0.0)), r"environment 0, after 2 steps of its episode: observation has"),
        (
            dict(show=lambda t: np.full(3, np.inf if t == 3 else 0.0), truncate=True),
            "environment 0, after 3 steps of its episode: observation",
        ),
        (dict(show=lambda t: np.full(3, 1e30)), "observation has a value of the order of 1e30.*wrapper"),
        (dict(reward=1e30), "reward has a value of the order of 1e30.*wrapper"),
        (dict(show=lambda t: np.full(3, 10**14)), "observation has a value of the order of 1e14.*wrapper"),  # integers too
        (dict(show=lambda t: np.zeros(4 if t == 2 else 3, np.float32)), rf"environment 0: {ANOTHER_SHAPE}"),
        (dict(show=lambda t: np.zeros(4, np.float32)), rf"environment 0: {ANOTHER_SHAPE}"),
        (dict(reward=np.ones(2)), "environment 0 gave the reward .*it must be one number"),
    ],
)
def test_what_cannot_be_learned_from_is_named(given, message):
    agent = oc.OptionCritic(Toy(**given), num_options=2, num_steps=16)
    before = [x.clone() for x in agent.module.parameters()]
    with pytest.raises(ValueError, match=message):
        agent.learn(64)
    assert all(torch.equal(x, y) for x, y in zip(before, agent.module.parameters(), strict=True))


def test_the_environment_and_the_part_are_named():
    space = gym.spaces.Dict(a=gym.spaces.Dict(b=gym.spaces.Box(-1, 1, (2,))))
    good, bad = ({"a": {"b": np.full(2, x, np.float32)}} for x in (0, np.nan))
    envs = [Toy(space, lambda t: good), Toy(space, lambda t: bad if t == 1 else good)]
    with pytest.raises(ValueError, match=r"environment 1, after 1 steps of its episode: observation\['a/b'\]"):
        train(gym.vector.SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=AutoresetMode.SAME_STEP))
    envs[1].show = lambda t: good if t < 2 else {"a": {"b": np.zeros(5, np.float32)}}
    with pytest.raises(ValueError, match=r"environment 1: observation\['a/b'\] has shape \(5,\)"):
        train(gym.vector.SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=AutoresetMode.SAME_STEP))


def test_predict_does_not_act_on_what_is_not_finite():
    agent = train(Toy())
    for ask in (agent.predict, agent.probabilities):
        with pytest.raises(ValueError, match="in observation 1 of the batch: observation has a value that is not finite"):
            ask(np.array([[0, 0, 0], [0, np.nan, 0]], np.float32))


@pytest.mark.parametrize("num_envs", [1, 2])
def test_rollouts_of_one_step_that_resets(num_envs):
    agent = oc.OptionCritic(batch_of(Toy, num_envs, AutoresetMode.NEXT_STEP), num_options=2, num_steps=1, num_minibatches=1)
    assert agent.learn(12 * num_envs).num_timesteps == 12 * num_envs and agent.num_episodes == 4 * num_envs


def test_steps_that_reset_are_no_timesteps():
    """Three steps and one that resets: of 16 steps of two environments 24 were in episodes."""
    agent = train(batch_of(Toy, 2, AutoresetMode.NEXT_STEP), 24)
    assert agent.num_timesteps == 24 and agent.num_episodes == 8
    assert train(batch_of(Toy, 2), 24).num_timesteps == 32


def test_where_no_episode_ends_the_row_says_so():
    class Endless(Toy):
        def step(self, action):
            observation, reward, _, _, info = super().step(action)
            return observation, reward, len(self.taken) == 5, False, info

    agent = oc.OptionCritic(Endless(), num_steps=16)
    rows = []
    agent.learn(48, log=rows.append)
    assert [row["return_mean"] for row in rows] == [5.0] * 3 and [row["steps_since_ending"] for row in rows] == [11, 27, 43]


@pytest.mark.parametrize("autoreset", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_an_episode_that_ends_with_the_rollout_has_just_ended(autoreset):
    env = ScriptedVectorEnv([[[0, 1, 2, 3, 1]] * 9], 4, autoreset)
    rows = []
    oc.OptionCritic(env, num_options=2, num_steps=4, hidden_sizes=(4,)).learn(4, log=rows.append)
    assert [(row["episodes"], row["steps_since_ending"]) for row in rows] == [(1, 0)]


def test_processes_are_not_copied_and_go_on():
    env = AsyncVectorEnv([lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = oc.OptionCritic(env, num_options=2, num_steps=8, hidden_sizes=(4,)).learn(16)
    with pytest.raises(TypeError, match="AsyncVectorEnv runs in processes, which cannot be copied"):
        deepcopy(agent)
    assert agent.learn(16).num_timesteps == 32
    env.close()


def test_a_copy_of_an_agent_has_its_own_environment():
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_envs=2, num_steps=8, hidden_sizes=(4,)).learn(16)
    levels, copy = agent.env.level_names, deepcopy(agent)
    copy.env.reset(seed=9)
    assert agent.env.level_names == levels != copy.env.level_names
    assert copy.running.broken and not agent.running.broken
    assert copy.learn(16).num_timesteps == 32 and agent.env.level_names == levels


def test_a_copy_counts_the_places_of_its_own_environment():
    agent = oc.OptionCritic(gym.make("MiniGrid-Empty-5x5-v0"), num_steps=8, hidden_sizes=(4,), int_coef=0.01, seed=0).learn(8)
    copy = deepcopy(agent)
    assert [*copy.running.places()[0][:2]] == [*agent.env.envs[0].unwrapped.agent_pos] == [*copy.env.envs[0].unwrapped.agent_pos]
    for x in (1, 2, 3):
        copy.env.envs[0].unwrapped.agent_pos = (x, 3)
        assert copy.running.places()[0][0] == x and [*agent.running.places()[0][:2]] == [*agent.env.envs[0].unwrapped.agent_pos]


def test_an_agent_is_not_pickled_and_its_callbacks_are_functions():
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_envs=2, num_steps=8, hidden_sizes=(4,))
    with pytest.raises(TypeError, match=r"cannot be pickled: save it, agent.save\(path\)"):
        pickle.dumps(agent)
    for given in ({"callback": 3}, {"log": "rows"}):
        with pytest.raises(TypeError, match=f"{next(iter(given))}=.*must be a function"):
            agent.learn(16, **given)
    assert agent.num_timesteps == 0


@pytest.mark.parametrize("backend", ["an object", "compiled"])
def test_an_interrupt_in_a_step_leaves_no_episode_half_known(backend, tmp_path):
    """The environment is a step ahead of what was noted: the next rollout starts new episodes, and a saved agent does not go on in them."""
    agent = oc.OptionCritic(Toy() if backend == "an object" else "MiniGrid-Empty-5x5-v0", num_options=2, num_envs=2, num_steps=16)
    agent.learn(16)
    step, calls = agent.env.step, iter(range(100))

    def interrupted(action):
        given = step(action)
        if next(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return given

    agent.env.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        agent.learn(64)
    agent.save(tmp_path)
    if backend == "compiled":
        assert not oc.OptionCritic.load(tmp_path)._start().age.any()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    assert bool(rollout.start[0].all()) and not rollout.age[0].any()
    if backend == "an object":
        assert rollout.start[:, 0].tolist() == [t % 3 == 0 for t in range(16)] and set(agent.running.finished) == {(3.0, 3)}


@pytest.mark.parametrize("steps", [-1, 1.5, "many", None, True, float("inf")])
def test_a_number_of_steps_that_is_none_is_named(steps):
    with pytest.raises(ValueError, match="total_timesteps=.*whole number"):
        oc.OptionCritic("CartPole-v1", num_options=2).learn(steps)


def test_a_reset_between_two_calls_of_learn_begins_new_episodes():
    """No episode goes over it, and no value: of the first step after it nothing is known."""
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_options=2, num_envs=4, num_steps=16, num_minibatches=2, int_coef=0)
    for _ in range(12):
        agent.learn(64)
        agent.env.reset(seed=1)
    assert all(length <= 16 for _, length in agent.recent)
    agent.learn(64)
    before = agent.running.age.clone()
    assert int(before.max()) == 16
    agent.learn(64)  # without a reset they go on
    assert int(agent.running.age.max()) == 32 and bool((agent.running.age[agent.running.age > 16] == 32).all())
