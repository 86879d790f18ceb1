"""Places: where an environment says it is, and the bonus for those that are new."""

from dataclasses import replace

import gymnasium as gym
import minigrid  # noqa: F401
import numpy as np
import pytest
from exploring import bonuses, expected, random_episodes
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from minigrid.core.world_object import Box, Key
from scripted import ScriptedVectorEnv
from small import SMALL

import optioncoagent as oc
from optioncoagent.agents.exploration import EPISODIC, CountBonus, Counting
from optioncoagent.agents.places import places_of
from optioncoagent.agents.rollout import collect
from optioncoagent_envs import make_minigrid

PLACES = replace(EPISODIC, counted="place")
KEYS, OBJECTS = "MiniGrid-DoorKey-5x5-v0", "BabyAI-PickupDist-v0"


class Placed(ScriptedVectorEnv):
    """An environment whose observations come in pairs that are one place."""

    def places(self):
        return self._observations()[:, None] // 2


@pytest.mark.parametrize("counting", [PLACES, Counting(power=0.5, counted="place")], ids=str)
@pytest.mark.parametrize("autoreset", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_new_places_are_paid(counting, autoreset):
    """As observations would be if the environment showed its place and no more."""
    for num_steps, rollouts in ((1, 60), (16, 12)):
        episodes = random_episodes(num_steps, 5, 40)
        paid, _ = bonuses(Placed(episodes, 40, autoreset), counting, num_steps, rollouts)
        places = [[[x // 2 for x in episode] for episode in row] for row in episodes]
        exact, _ = expected(places, num_steps * rollouts, counting, autoreset == AutoresetMode.NEXT_STEP)
        np.testing.assert_allclose(paid, exact)
        by_observation, _ = bonuses(Placed(episodes, 40, autoreset), Counting(power=counting.power), num_steps, rollouts)
        assert not np.array_equal(paid, by_observation)


def test_an_environment_may_tell_places_in_an_array_of_its_own():
    class Own(Placed):
        def places(self):
            self.own = getattr(self, "own", np.zeros((len(self.at), 1), np.int64))
            self.own[:] = super().places()
            return self.own

    episodes = random_episodes(16, 5, 40)
    one, other = (bonuses(kind(episodes, 40), PLACES, 16, 3)[0] for kind in (Placed, Own))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("backend", ["compiled", "stock", "plain"])
def test_places_are_positions_and_what_is_carried(backend):
    env, rng = _make(backend), np.random.default_rng(0)
    cores = env.minigrid_env if backend != "plain" else lambda i: env.envs[i].unwrapped
    env.reset(seed=0)
    tell, carried = places_of(env), set()
    names = {}  # of what is carried, whatever integers tell it
    for _ in range(300):
        env.step(rng.choice([0, 1, 2, 3, 4, 5], size=3, p=[0.15, 0.15, 0.3, 0.2, 0.1, 0.1]))
        for i, place in enumerate(tell()):
            core = cores(i)
            assert tuple(place[:2]) == tuple(core.agent_pos)
            name = core.carrying and (core.carrying.type, core.carrying.color)
            assert names.setdefault(tuple(place[2:]), name) == name
            carried.add(name)
    assert len(carried) > 3 and len(names) == len(carried)


def test_what_is_in_a_box_is_no_place():
    """Nobody sees it, and MiniGrid's own environments do not tell it."""
    env = make_minigrid("MiniGrid-ObstructedMaze-1Dlh-v0", 3, 0, backend="compiled")
    env.reset(seed=0)
    told = []
    for carried in (Box("grey", Key("red")), Box("grey", Key("blue")), Box("red", Key("red"))):
        core = gym.make("MiniGrid-ObstructedMaze-1Dlh-v0").unwrapped
        core.reset(seed=0)
        core.carrying = carried
        env.set_env(0, core)
        told.append(tuple(env.places()[0]))
    assert told[0] == told[1] != told[2]


def _make(backend):
    if backend != "plain":
        return make_minigrid(OBJECTS, 3, 0, backend=backend)
    return SyncVectorEnv([lambda: gym.make(OBJECTS)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)


def test_who_tells_places():
    assert places_of(_make("compiled")) is not None and places_of(_make("plain")) is not None
    wrapped = gym.wrappers.vector.RecordEpisodeStatistics(_make("compiled"))
    assert places_of(wrapped) is not None
    assert places_of(gym.make_vec("CartPole-v1", 2)) is None

    class Other(gym.Wrapper):
        def places(self):  # of whatever; it is no batch
            return "here"

    assert places_of(SyncVectorEnv([lambda: Other(gym.make("CartPole-v1"))] * 2)) is None
    assert places_of(ScriptedVectorEnv([[[0, 1]]], 2)) is None


def test_what_is_counted_by_default_and_by_choice():
    auto = oc.OptionCritic(KEYS, **SMALL)
    assert auto.settings.int_counts == "place" and auto.exploration.counting == PLACES
    chosen = oc.OptionCritic(KEYS, int_counts="observation", **SMALL)
    assert chosen.exploration.counting == Counting()
    assert oc.OptionCritic("CartPole-v1").settings.int_counts == "observation"
    with pytest.raises(ValueError, match=r"does not tell places.*choose \"observation\""):
        oc.OptionCritic("CartPole-v1", int_coef=0.1, int_counts="place")
    with pytest.raises(ValueError, match="int_counts='state'"):
        oc.OptionCritic(KEYS, int_counts="state")


@pytest.mark.parametrize("told", [np.zeros((1, 1)), np.zeros(1, int), np.zeros((2, 1), int)], ids=["real", "flat", "too many"])
def test_places_that_are_none_are_named(told):
    env = Placed([[[0, 1, 0]] * 9], 4)
    env.places = lambda: told
    with pytest.raises(ValueError, match=r"places\(\) gave .*integers, \(1, k\).*int_counts"):
        oc.OptionCritic(env, int_coef=1.0, num_steps=4, num_minibatches=1).update()


def test_what_is_counted_is_kept(tmp_path):
    """Also where the environment is another: one that tells no places is explored by what it shows."""
    for counts, other in (("place", "place"), ("observation", "observation")):
        oc.OptionCritic(KEYS, int_counts=counts, **SMALL).learn(64).save(tmp_path / counts)
        assert oc.OptionCritic.load(tmp_path / counts).settings.int_counts == counts
        assert oc.OptionCritic.load(tmp_path / counts, env="MiniGrid-Empty-5x5-v0").settings.int_counts == other
    silent = gym.make_vec(
        KEYS, 2, vectorization_mode="async", vector_kwargs=dict(autoreset_mode=AutoresetMode.SAME_STEP, shared_memory=False)
    )
    assert oc.OptionCritic.load(tmp_path / "place", env=silent).settings.int_counts == "observation"
    silent.close()


def test_minigrid_pays_each_place_with_each_thing_carried_once_in_an_episode():
    agent = oc.OptionCritic(KEYS, num_envs=1, num_steps=512, num_minibatches=2)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 512)
    ended = (rollout.terminated | rollout.truncated)[:, 0]
    assert bool(ended.any()) and len({tuple(place[2:]) for place in rollout.places[:, 0]}) > 1  # an end, and a key that is picked up
    paid = CountBonus(agent.spec, 1, 1.0, PLACES).bonus(rollout)[:, 0]
    np.testing.assert_array_equal(paid, counts_of(rollout.places[:, 0], rollout.start[:, 0], ended))


def counts_of(places, start, ended):
    """1 for each step that leads to a place that is new to its episode."""
    met, paid = set(), []
    for t in range(len(start)):
        if start[t]:
            met = {tuple(places[t])}
        new = not ended[t] and tuple(places[t + 1]) not in met
        met |= {tuple(places[t + 1])} if new else set()
        paid.append(float(new))
    return paid
