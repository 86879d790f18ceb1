"""Environments as the learner takes them: ids, objects, vector environments, what is not finite."""

from contextlib import contextmanager
from copy import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from minigrid.envs import EmptyEnv
from small import SMALL

import optioncoagent as oc
from optioncoagent.agents import learner
from optioncoagent.agents.environments import layers


def test_gymnasium_s_own_vector_environment():
    """CartPole's, which resets in a step of its own."""
    env = gym.make_vec("CartPole-v1", num_envs=4)
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    agent = oc.OptionCritic(env, num_options=2, num_steps=64, num_minibatches=2)
    row = agent.update()
    assert agent.running is not None and row["episodes"] > 0
    assert np.mean([length for _, length in agent.recent]) == np.mean([value for value, _ in agent.recent])  # reward 1 a step, no fake step


def test_minigrid_by_any_name_is_fast():
    from minigrid.envs import EmptyEnv

    class Mine(EmptyEnv):
        pass

    names = ["MiniGrid-Empty-5x5-v0", "OptionCoagent/MiniGrid-Empty-5x5-v0", "optioncoagent_envs:OptionCoagent/MiniGrid-Empty-5x5-v0"]
    gym.register("MineToLearn-v0", entry_point=Mine)
    try:
        backends = [oc.OptionCritic(name, **SMALL).env.backend for name in (*names, "MineToLearn-v0")]
    finally:
        gym.registry.pop("MineToLearn-v0")  # nothing else is to find it
    assert backends == ["compiled", "compiled", "compiled", "stock"]


def test_minigrid_ids_with_a_module_are_made_fast():
    assert oc.OptionCritic("minigrid:MiniGrid-Empty-5x5-v0", num_envs=2).env.backend == "compiled"


class _Unbounded(gym.Env):
    """Pays, or shows, what is not a number in its third step."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, reward: float = 0.0, shown: float = 0.0):
        self.reward, self.shown, self.age = reward, shown, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.age += 1
        third = self.age == 3
        return np.full(2, self.shown if third else 0, np.float32), self.reward if third else 1.0, self.age == 5, False, {}


@pytest.mark.parametrize("given, message", [({"reward": np.nan}, "reward"), ({"shown": np.inf}, "observation")])
def test_what_is_not_finite_is_refused_before_a_step(given, message):
    agent = oc.OptionCritic(_Unbounded(**given), num_options=2)
    before = [x.clone() for x in agent.module.parameters()]
    with pytest.raises(ValueError, match=message):
        agent.learn(200)
    assert all(torch.equal(x, y) for x, y in zip(before, agent.module.parameters(), strict=True))


class _Walk(gym.Env):
    """From 0 action 1 leads to 1 at a cost of 0.1; at 1 every step pays 1; truncated after one step, but worth 10. It gives one array, or
    copies."""

    observation_space, action_space = gym.spaces.Box(0, 1, (1,), np.float32), gym.spaces.Discrete(2)

    def __init__(self, copies: bool):
        self.x, self.copies = np.zeros(1, np.float32), copies

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x[:] = self.np_random.integers(2)
        return self.shown(), {}

    def step(self, action):
        reward = 1.0 if self.x[0] else -0.1 * action
        self.x[:] = max(self.x[0], action)
        return self.shown(), reward, False, True, {}

    def shown(self):
        return self.x.copy() if self.copies else self.x


def test_an_environment_may_give_the_same_array_at_every_step():
    """The observation on which an episode ended is not that of the reset which follows, in whatever array both are."""
    ways = []
    for copies in (True, False):
        agent = oc.OptionCritic(_Walk(copies), num_options=1, num_steps=64, seed=0)
        agent.update()
        ways.append([x.clone() for x in agent.module.parameters()])
    assert all(torch.equal(x, y) for x, y in zip(*ways, strict=True))


@pytest.mark.parametrize("wrap", [lambda env: env, gym.wrappers.vector.RecordEpisodeStatistics])
@pytest.mark.parametrize("copies", [True, False])
def test_of_somebody_s_own_batch_it_is_refused(copies, wrap):
    made = wrap(gym.vector.SyncVectorEnv([lambda: _Walk(copies)] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    agent = oc.OptionCritic(made, num_options=1, num_steps=16)
    if copies:
        agent.update()
    else:
        with pytest.raises(ValueError, match="environment [01] gives the same array at every step.*let it give copies"):
            agent.update()


class _TwoArrays(_Walk):
    """Shows two arrays in turn, so that the last observation stays what it was."""

    def reset(self, *, seed=None, options=None):
        self.arrays, self.at = getattr(self, "arrays", [self.x.copy(), self.x.copy()]), 0
        return super().reset(seed=seed)

    def step(self, action):
        self.at = 1
        return super().step(action)

    def shown(self):
        self.arrays[self.at][:] = self.x
        return self.arrays[self.at]


@pytest.mark.parametrize("wrap", [lambda env: env, gym.wrappers.vector.RecordEpisodeStatistics])
def test_arrays_that_take_turns_are_taken(wrap):
    """What was shown before the step is written over by the reset, and the last observation is not. It learns as from copies."""
    ways = []
    for make in (lambda: _TwoArrays(True), lambda: _Walk(True)):
        made = wrap(gym.vector.SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
        agent = oc.OptionCritic(made, num_options=1, num_steps=64, seed=0)
        agent.update()
        ways.append([x.clone() for x in agent.module.parameters()])
    assert all(torch.equal(x, y) for x, y in zip(*ways, strict=True))


class _Table(gym.Env):
    """Walks along five cells from the first, is cut after three steps. It shows rows of a table, or beside a new array a constant one."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, masked):
        self.table, self.mask, self.masked = np.eye(5), np.ones(3), masked
        row = gym.spaces.Box(0, 1, (5,), np.float64)
        self.observation_space = gym.spaces.Dict(row=row, mask=gym.spaces.Box(0, 1, (3,), np.float64)) if masked else row

    def shown(self):
        row = self.table[self.cell]
        return {"row": row.copy(), "mask": self.mask} if self.masked else row

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.t = 0, 0
        return self.shown(), {}

    def step(self, action):
        self.cell, self.t = max(0, min(4, self.cell + 2 * int(action) - 1)), self.t + 1
        return self.shown(), 1.0, False, self.t == 3, {}


@pytest.mark.parametrize("masked", [False, True])
def test_arrays_that_nobody_writes_to_may_be_shared(masked):
    made = gym.vector.SyncVectorEnv([lambda: _Table(masked)] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    assert oc.OptionCritic(made, num_options=2, num_steps=30, hidden_sizes=(4,)).learn(120).num_episodes == 40


class _Flat(gym.vector.VectorWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.single_observation_space = gym.spaces.Box(0, 1, (8,), np.float64)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)

    def reset(self, **kwargs):
        observation, infos = self.env.reset(**kwargs)
        return self.observations(observation), infos

    def observations(self, observations):
        return np.concatenate([observations["row"], observations["mask"]], axis=-1)

    def step(self, actions):
        observation, reward, terminated, truncated, infos = self.env.step(actions)
        for i in np.flatnonzero(truncated):
            final = infos["final_obs"][i]
            infos["final_obs"][i] = np.concatenate([final["row"], final["mask"]])
        return self.observations(observation), reward, terminated, truncated, infos


def test_a_wrapper_of_the_whole_batch_may_change_last_observations():
    made = _Flat(gym.vector.SyncVectorEnv([lambda: _Table(True)] * 4, autoreset_mode=AutoresetMode.SAME_STEP))
    assert oc.OptionCritic(made, num_options=2, num_steps=30, hidden_sizes=(4,)).learn(120).num_episodes == 40


class _Ten(gym.Env):
    """Every episode has ten steps, and a return of ten."""

    observation_space, action_space = gym.spaces.Box(0, 1, (1,), np.float64), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1), {}

    def step(self, action):
        self.t += 1
        return np.array([self.t / 10]), 1.0, self.t >= 10, False, {}


def test_an_environment_that_somebody_else_steps_begins_new_episodes():
    env = _Ten()
    agent = oc.OptionCritic(env, num_options=2, num_steps=15).learn(15)
    env.reset()
    for _ in range(8):
        env.step(0)
    agent.learn(15)
    assert list(agent.recent) == [(10.0, 10)] * 2
    env.step(0)  # alone
    agent.learn(15)
    assert list(agent.recent) == [(10.0, 10)] * 3
    agent.learn(15)  # and where nobody does, the episode that had come to its fifth step goes on
    assert list(agent.recent) == [(10.0, 10)] * 5


def test_an_environment_that_is_trained_on_stays_as_it_is():
    env = _Ten()
    before = {*vars(env)}
    agent = oc.OptionCritic(env, num_options=2, num_steps=15, hidden_sizes=(4,)).learn(15)
    assert {*vars(env)} - before <= {"t", "_np_random", "_np_random_seed"}
    another = copy(env)
    another.step(0)
    assert (env.t, another.t) == (5, 6)
    env.left = float("nan")  # and what is no number, or equal to nothing, moves nobody
    for _ in range(3):
        agent.learn(15)
    assert not agent.running.broken and list(agent.recent) == [(10.0, 10)] * 6


class _InPlace(_Ten):
    """Its only state is an array that it writes into."""

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.at = np.zeros(1)
        return self.at / 10, {}

    def step(self, action):
        self.at += 1
        return self.at / 10, 1.0, bool(self.at[0] >= 10), False, {}


def test_an_array_that_somebody_else_s_step_writes_into_is_seen():
    env = _InPlace()
    agent = oc.OptionCritic(env, num_options=2, num_steps=15).learn(15)
    env.step(0)
    agent.learn(15)
    assert list(agent.recent) == [(10.0, 10)] * 2 and agent.running.age.tolist() == [5]


class _Seldom(_Ten):
    """It seldom moves, and a reset leads where a rollout may have ended."""

    def step(self, action):
        self.t += self.np_random.random() < 0.05
        return np.array([self.t / 100]), 1.0, False, False, {}


@pytest.mark.parametrize("steps", [32, 1])
def test_a_reset_is_seen_of_an_environment_that_seldom_moves(steps):
    env = _Seldom()
    agent = oc.OptionCritic(env, num_options=2, num_steps=steps, num_minibatches=1, seed=1).learn(steps)
    env.reset(seed=5)
    agent.learn(steps)
    assert agent.running.age.tolist() == [steps]
    agent.learn(steps)
    assert agent.running.age.tolist() == [2 * steps]


def test_who_gives_an_environment_other_parameters_does_not_move_it():
    """As a curriculum does, by a number of the environment's own that steps leave alone; nor does a generator that it shares."""
    env, generator = _Ten(), np.random.default_rng(0)
    env.wind, env.generator = 0.0, generator
    agent = oc.OptionCritic(env, num_options=2, num_steps=4)

    def windier(agent, row):
        env.wind += 0.1
        generator.random()

    agent.learn(40, callback=windier)
    assert list(agent.recent) == [(10.0, 10)] * 4


def test_of_those_made_from_an_id_whatever_is_set_moves_none():
    agent = oc.OptionCritic("Pendulum-v1", num_options=2, num_envs=2, num_steps=4)
    agent.learn(32, callback=lambda agent, row: agent.env.set_attr("g", 10 + row["timesteps"] / 100))
    assert agent.running.age.tolist() == [16, 16]


@pytest.mark.parametrize("wrapped", [False, True])
def test_two_agents_may_train_on_one_environment_in_turns(wrapped):
    env = _Ten()
    one, other = (
        oc.OptionCritic(gym.wrappers.TimeLimit(env, 50) if wrapped and num_steps == 15 else env, num_options=2, num_steps=num_steps)
        for num_steps in (15, 12)
    )
    for agent in (one, other, one, other):
        agent.update()
    assert list(one.recent) == list(other.recent) == [(10.0, 10)] * 2


def test_a_batch_that_somebody_else_steps_begins_new_episodes():
    env = gym.vector.SyncVectorEnv([_Ten] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = oc.OptionCritic(env, num_options=2, num_steps=15).learn(30)
    env.step(np.zeros(2, int))
    agent.learn(30)
    assert list(agent.recent) == [(10.0, 10)] * 4


def test_what_is_below_a_wrapper_is_watched_too():
    batch = gym.vector.SyncVectorEnv([_Ten] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = oc.OptionCritic(gym.wrappers.vector.RecordEpisodeStatistics(batch), num_options=2, num_steps=15).learn(30)
    batch.reset()
    agent.learn(30)
    assert list(agent.recent) == [(10.0, 10)] * 4


class _NaNInResets(gym.vector.VectorEnv):
    """Episodes of three steps that pay 1 each; the step in which the batch resets is of none, and pays NaN."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self):
        self.num_envs, self.t = 2, 0
        self.single_observation_space, self.single_action_space = gym.spaces.Box(0, 9, (1,)), gym.spaces.Discrete(2)
        self.observation_space, self.action_space = gym.spaces.Box(0, 9, (2, 1)), gym.spaces.MultiDiscrete([2, 2])

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros((2, 1), np.float32), {}

    def step(self, actions):
        self.t = (self.t + 1) % 4
        pays = np.full(2, 1.0 if self.t else np.nan)
        return np.full((2, 1), self.t, np.float32), pays, np.full(2, self.t == 3), np.zeros(2, bool), {}


def test_what_a_reset_step_pays_is_of_no_episode():
    agent = oc.OptionCritic(_NaNInResets(), num_options=2, num_steps=16, hidden_sizes=(4,)).learn(32)
    assert set(agent.recent) == {(3.0, 3)} and all(bool(x.isfinite().all()) for x in agent.module.parameters())


def test_the_bar_tells_whether_an_episode_has_ended_in_a_rollout(monkeypatch):
    """Three steps at a time of four, of which the last only resets: one rollout in four has no end."""
    shown = []

    @contextmanager
    def bar(*_):
        yield lambda steps, words: shown.append(next(iter(words)))

    monkeypatch.setattr(learner, "Bar", bar)
    oc.OptionCritic(_NaNInResets(), num_options=2, num_steps=3, hidden_sizes=(4,)).learn(27)
    assert shown[:4] == ["return", "return (none ended)", "return", "return"]


class _Told(_Ten):
    """Its infos are of another shape at every step, and have names that Gymnasium's batches use."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"final_obs": 3, "kind": self.np_random.choice([None, 1], 1)[0]}

    def step(self, action):
        return *super().step(action)[:4], {"path": np.zeros(self.np_random.integers(1, 9)), "kind": {"a": 10**30}}


def test_whatever_infos_say():
    gym.register("Told-v0", entry_point=_Told)
    try:
        agent = oc.OptionCritic("Told-v0", num_options=2, num_envs=3, num_steps=20, num_minibatches=1).learn(60)
    finally:
        gym.registry.pop("Told-v0")
    assert list(agent.recent) == [(10.0, 10)] * 6


SPACES = [
    gym.spaces.Discrete(3, dtype=np.int32),
    gym.spaces.Discrete(3, start=-2, dtype=np.int8),
    gym.spaces.MultiDiscrete([2, 3], dtype=np.int16),
    gym.spaces.MultiBinary(2),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_actions_are_of_their_space(space, tmp_path):
    class Strict(_Ten):
        action_space = space

        def step(self, action):
            assert self.action_space.contains(action)
            return super().step(action)

    agent = oc.OptionCritic(Strict(), num_options=2, num_steps=32).learn(32)
    agent.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path)
    assert agent.predict(np.zeros(1))[0].dtype == loaded.predict(np.zeros(1))[0].dtype == space.dtype
    assert loaded.evaluate(2, env=Strict()).returns.tolist() == [10.0, 10.0]


class _FloatsOfIntegers(_Ten):
    observation_space = gym.spaces.Box(0, 9, (1,), np.int64)


class _OldReset(_Ten):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class _Lists(_Ten):
    def reset(self, *, seed=None, options=None):
        return [super().reset(seed=seed)[0], None]

    def step(self, action):
        return [*super().step(action)[:4], None]


def test_lists_will_do():
    assert oc.OptionCritic(_Lists(), num_options=2, num_steps=20, hidden_sizes=(4,)).learn(20).num_episodes == 2


class _OldStep(_Ten):
    def step(self, action):
        return super().step(action)[:4]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (_FloatsOfIntegers, r"environment 0 shows what its observation space Box\(0, 9, \(1,\), int64\) does not hold: Cannot cast"),
        (_OldReset, "environment 0: reset gave one thing, of .*numpy.ndarray.*an observation and a dict of infos"),
        (_OldStep, "environment 0: step gave 4 things, where .* give five: observation, reward, terminated"),
    ],
)
def test_what_does_not_keep_to_gymnasium_s_interface_is_named(env, message):
    with pytest.raises(ValueError, match=message):
        oc.OptionCritic(env(), num_options=2).learn(10)


class _Side(gym.Env):
    """A number of the order of a thousand that stays for ten steps; action 1 is right where it is above."""

    observation_space, action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, 1000 + self.np_random.choice([-20.0, 20.0])
        return np.array([self.x]), {}

    def step(self, action):
        self.t += 1
        return np.array([self.x]), float(action == (self.x > 1000)), self.t == 10, False, {}


@pytest.mark.parametrize("many", [False, True])
def test_an_evaluation_normalises_as_the_training_did(many):
    """With statistics of their own, new environments would show something else: each episode's first observation would be 0."""
    gym.register("Side-v0", entry_point=_Side)
    try:
        wrapper = gym.wrappers.NormalizeObservation
        env = gym.make_vec("Side-v0", 4, "sync", wrappers=[wrapper]) if many else wrapper(gym.make("Side-v0"))
        agent = oc.OptionCritic(env, num_options=1, num_steps=200, seed=0).learn(800 if many else 400)
        training = [x.obs_rms for x in layers(agent.env) if isinstance(x, wrapper)]
        before = [(x.mean.copy(), x.var.copy()) for x in training]
        seen = []
        agent.predict = lambda observation, *args, **kwargs: (
            seen.append(observation) or type(agent).predict(agent, observation, *args, **kwargs)
        )
        agent.evaluate(4)
    finally:
        gym.registry.pop("Side-v0")
    shown = np.stack([observation[:, 0] for observation in seen])  # (steps, environments)
    for x, (mean, var) in zip(shown.T, before, strict=False):
        of_two = (np.array([[980.0], [1020.0]]) - mean) / np.sqrt(var + 1e-8)
        assert (np.abs(x - of_two) < 1e-3).any(axis=0).all()
    assert all(np.array_equal(x.mean, mean) and np.array_equal(x.var, var) for x, (mean, var) in zip(training, before, strict=True))


def test_an_evaluation_tells_that_it_has_no_statistics(tmp_path):
    gym.register("Side-v0", entry_point=_Side, additional_wrappers=(gym.wrappers.NormalizeObservation.wrapper_spec(),))
    try:
        agent = oc.OptionCritic("Side-v0", num_options=1, num_envs=2, num_steps=100, hidden_sizes=(4,)).learn(200)
        agent.evaluate(2)
        agent.save(tmp_path)
        with pytest.warns(UserWarning, match="NormalizeObservation begins with new statistics in this evaluation, .*: give env="):
            loaded = oc.OptionCritic.load(tmp_path)
            loaded.env.reset()
            loaded.evaluate(2)
        with pytest.warns(UserWarning, match="wrappers that normalise begin with new statistics"):
            oc.OptionCritic.load(tmp_path).learn(1)
    finally:
        gym.registry.pop("Side-v0")


class _Sized(gym.Env):
    """As many actions as it is told."""

    observation_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, n=2):
        self.action_space = gym.spaces.Discrete(n)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, True, False, {}


def test_an_agent_goes_on_in_an_environment_like_its_own_alone(tmp_path):
    gym.register("Sized-v0", entry_point=_Sized)
    try:
        agent = oc.OptionCritic("Sized-v0", num_options=2, num_envs=2, num_steps=8, hidden_sizes=(4,), env_kwargs={"n": 4}).learn(16)
        agent.save(tmp_path)
        assert oc.OptionCritic.load(tmp_path).learn(16).num_timesteps == 32
        for n in (2, 6):
            with pytest.raises(ValueError, match=f"num_actions is not what the agent was made for: {n}, not 4"):
                oc.OptionCritic.load(tmp_path, env_kwargs={"n": n}).learn(16)
    finally:
        gym.registry.pop("Sized-v0")


def test_parts_of_batches_of_different_sizes_are_named():
    space = gym.spaces.Dict(a=gym.spaces.Box(0, 1, (2,)), b=gym.spaces.Box(0, 1, (2,)))

    class Two(_Ten):
        observation_space = space

        def reset(self, *, seed=None, options=None):
            return space.sample(), super().reset(seed=seed)[1]

        def step(self, action):
            return space.sample(), *super().step(action)[1:]

    with pytest.raises(ValueError, match="need the same batch size; these have {'a': 2, 'b': 3}"):
        oc.OptionCritic(Two(), num_options=2).predict({"a": np.zeros((2, 2)), "b": np.zeros((3, 2))})


class _Buffered(EmptyEnv):
    """Shows its images in one array."""

    def gen_obs(self):
        obs = super().gen_obs()
        self.shown = getattr(self, "shown", np.zeros_like(obs["image"]))
        self.shown[:] = obs["image"]
        return {**obs, "image": self.shown}


class _Informed(EmptyEnv):
    """Tells infos of another shape at every place, and of every level."""

    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], {"level": np.zeros(int(self.np_random.integers(1, 9)))}

    def step(self, action):
        obs, *rest, info = super().step(action)
        return obs, *rest, {**info, "place": np.zeros(int(self.agent_pos[0]))}


@pytest.mark.parametrize(("entry", "backend"), [(_Buffered, "gymnasium"), (_Informed, "stock")])
def test_minigrid_s_own_classes_train_by_their_id(entry, backend):
    gym.register("MineByID-v0", entry_point=entry, kwargs=dict(max_steps=9))
    try:
        agent = oc.OptionCritic("MineByID-v0", num_envs=3, num_steps=60, num_options=2, hidden_sizes=(4,)).learn(180)
    finally:
        gym.registry.pop("MineByID-v0")
    assert agent.env.backend == backend and {length for _, length in agent.recent} <= {*range(10)} and len(agent.recent) >= 18


def test_an_environment_that_is_put_somewhere_else_begins_new_episodes():
    agent = oc.OptionCritic("MiniGrid-FourRooms-v0", num_options=2, num_envs=2, num_steps=8, hidden_sizes=(4,)).learn(16)
    kept = agent.env.get_state()
    assert not agent.running.broken
    agent.env.set_state(kept)
    assert agent.running.broken
    agent.learn(16)
    assert not agent.running.broken and agent.running.age.tolist() == [8, 8]
    other = gym.make("MiniGrid-FourRooms-v0")
    other.reset(seed=99)
    agent.env.set_env(0, other)
    assert agent.running.broken
