"""Exploration bonuses: which step is paid what, and what is counted."""

from dataclasses import replace
from itertools import count

import gymnasium as gym
import numpy as np
import pytest
import torch
from exploring import PLAIN, bonuses, expected, random_episodes
from gymnasium.vector import AutoresetMode
from scripted import ScriptedVectorEnv
from small import GRIDWORLD, SMALL, same
from toys import Toy

import optioncoagent as oc
from optioncoagent.agents.counts import hash_rows
from optioncoagent.agents.exploration import BOTH, EPISODIC, LIFETIME, NOVELTY_DIFFERENCE, CountBonus, Counting
from optioncoagent.agents.observations import Leaf, ObservationSpec
from optioncoagent.agents.rollout import Rollout, collect

MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize("num_steps", [1, 3, 9])  # episodes go on from one rollout to the next
def test_by_hand(num_steps):
    """One environment, SAME_STEP; episodes 0 1 0 2 | 1 and 0 1 3 3 2 | 0, what is behind the bar being the end.

    First episode: 1 is new, 0 is where it began, 2 is new, the end is not paid. Second: 1 is met in a second episode, 3 is new, 3 again,
    2 in its second episode, the end.
    """
    root = 1 / np.sqrt(2)
    by_hand = {
        BOTH: [1, 0, 1, 0, root, 1, 0, root, 0],
        EPISODIC: [1, 0, 1, 0, 1, 1, 0, 1, 0],
        # visits: 0 twice in the first episode and once more; 1 in both; 3 twice
        LIFETIME: [1, root, 1, 0, root, 1, root, root, 0],
        # 1/N(1) − 1/N(0) = 1 − 1; 2: 1 − 1; then 1: 1/2 − 1/2; 3: 1 − 1/2; 2: 1/2 − 1
        NOVELTY_DIFFERENCE: [0, 0, 0, 0, 0, 0.5, 0, 0, 0],
        Counting(power=1.0, difference=0.5): [0.5, 0, 0.5, 0, 0.25, 0.75, 0, 0, 0],
    }
    for counting, paid in by_hand.items():
        env = ScriptedVectorEnv([[[0, 1, 0, 2, 1], [0, 1, 3, 3, 2, 0], [0, 0]]], 4)
        np.testing.assert_allclose(bonuses(env, counting, num_steps, 9 // num_steps)[0][:, 0], paid, err_msg=str(counting))


@pytest.mark.parametrize("counting", [BOTH, EPISODIC, LIFETIME, NOVELTY_DIFFERENCE], ids=str)
@pytest.mark.parametrize("autoreset", MODES)
def test_counts_are_exact(counting, autoreset):
    """Against a Counter and sets, on random streams of several environments, whatever the length of a rollout."""
    for num_steps, rollouts in ((1, 60), (16, 12)):
        episodes = random_episodes(num_steps, 5, 40)
        paid, counts = bonuses(ScriptedVectorEnv(episodes, 40, autoreset), counting, num_steps, rollouts)
        by_counter, counter = expected(episodes, num_steps * rollouts, counting, autoreset == AutoresetMode.NEXT_STEP)
        np.testing.assert_allclose(paid, by_counter)
        # every observation met has an entry of its own (40 in 65,536), save those that are met first by the steps not yet made
        assert sorted(counts.counts[counts.counts > 0]) == sorted(counter.values())


def test_both_autoreset_modes_pay_alike():
    """But for the steps that reset, which are paid nothing."""
    episodes = random_episodes(0, 1, 10)
    same, _ = bonuses(ScriptedVectorEnv(episodes, 10), BOTH, 50, 2)
    following, _ = bonuses(ScriptedVectorEnv(episodes, 10, AutoresetMode.NEXT_STEP), BOTH, 50, 2)
    resets = np.cumsum([len(observations) for observations in episodes[0]]) - 1
    assert (following[resets[resets < 100]] == 0).all()
    taken = np.delete(following[:, 0], resets[resets < 100])
    np.testing.assert_array_equal(taken, same[: len(taken), 0])
    assert taken.any()


def test_the_agent_learns_from_the_bonus_and_reports_the_environments_return():
    for autoreset in MODES:
        episodes = [[[0, 1, 2, 3]] * 20] * 2  # three steps of reward 10
        agents = [
            oc.OptionCritic(ScriptedVectorEnv(episodes, 4, autoreset), num_steps=8, normalize_rewards=False, **{**PLAIN, "int_coef": scale})
            for scale in (0, 1000)
        ]
        without, with_bonus = (agent.update() for agent in agents)
        assert without["return_mean"] == with_bonus["return_mean"] == 30.0
        assert "bonus_mean" not in without
        paid, _ = expected(episodes, 8, BOTH, autoreset == AutoresetMode.NEXT_STEP)
        steps = 16 if autoreset == AutoresetMode.SAME_STEP else 12  # a quarter of the steps only resets
        assert with_bonus["bonus_mean"] == pytest.approx(1000 * paid.sum() / steps)
        assert with_bonus["critic/loss"] > 100 * without["critic/loss"]
    agent = oc.OptionCritic(GRIDWORLD, **{**PLAIN, "int_coef": 1000}, **SMALL).learn(64)
    result = agent.evaluate(5)
    np.testing.assert_array_equal(result.returns, -result.lengths)


def test_observations_that_share_an_entry_share_a_count():
    """One entry for all: the k-th first visit is paid 1 / √k. The sets, two of four entries full, still tell observations apart."""
    episodes = [[[0, 1, 2, 1, 2, 0, 3]] * 20]
    paid, counts = bonuses(ScriptedVectorEnv(episodes, 4), BOTH, 12, 1, table=1, episode=4)
    np.testing.assert_allclose(paid[:, 0], [2**-0.5, 3**-0.5, 0, 0, 0, 0, 5**-0.5, 6**-0.5, 0, 0, 0, 0])
    assert counts.counts[0] == 6


def test_memory_is_bounded():
    """A set of eight entries takes six observations; further ones are not paid, nor counted, until the episode ends."""
    episodes = [[list(range(20)), *([[20, *range(20)]] * 3)]]
    paid, counts = bonuses(ScriptedVectorEnv(episodes, 21), EPISODIC, 39, 1, episode=8)
    assert paid[:, 0].tolist() == [1] * 5 + [0] * 14 + [1] * 5 + [0] * 15
    assert counts.keys.shape == counts.stamps.shape == (1, 8) and len(counts.to_arrays()["key"]) == 6
    counts.counts[:] = 2**32 - 1  # a count that is full stays so
    rollout = _rollout({"": torch.tensor([[1], [2]])}, {"": torch.tensor([3])})
    assert (counts.bonus(rollout) == 1).all() and (counts.counts == 2**32 - 1).all()


def _rollout(observation, last):
    """One whose first steps begin an episode and where nothing ends."""
    shape = next(iter(observation.values())).shape[:2]
    start, no = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    start[0] = True
    reward = torch.zeros(shape, dtype=torch.float64)
    return Rollout(observation, start, ~no, no.long(), {}, {}, {}, reward, no, no, last, torch.zeros(0, 2), None)


def test_what_is_counted():
    """Image and direction together; not the mission."""
    spec = ObservationSpec(
        (Leaf("image", "grid", (2, 2, 3), 12), Leaf("direction", "discrete", (), 4), Leaf("mission", "mission", (), 256))
    )
    image = torch.arange(12, dtype=torch.uint8).reshape(2, 2, 3)
    changed = image.clone()
    changed[1, 1, 2] += 1
    turn = [(image, 0, 0), (changed, 0, 0), (image, 1, 0), (image, 0, 1), (changed, 1, 0)]
    leaves = {
        "image": torch.stack([x for x, _, _ in turn])[:, None],
        "direction": torch.tensor([x for _, x, _ in turn])[:, None],
        "mission": torch.tensor([x for _, _, x in turn], dtype=torch.uint8)[:, None, None].expand(-1, -1, 256),
    }
    counts = CountBonus(spec, 1, 2.0, EPISODIC)
    paid = counts.bonus(_rollout({path: x[:-1] for path, x in leaves.items()}, {path: x[-1] for path, x in leaves.items()}))
    assert paid[:, 0].tolist() == [2.0, 2.0, 0.0, 2.0] and paid.dtype == torch.float64


def test_hashes_spread():
    """A hundred thousand rows that differ in three bytes: no two hashes alike, and as many entries of a table met as by chance."""
    rows = np.zeros((100_000, 147), dtype=np.uint8)
    rows[:, [0, 70, 146]] = np.stack([np.arange(100_000) // d % 10 + 10 * (np.arange(100_000) // (1000 * d) % 10) for d in (1, 10, 100)], 1)
    hashes = np.zeros(len(rows), dtype=np.uint64)
    hash_rows(rows, hashes)
    assert len(np.unique(hashes)) == len(np.unique(rows, axis=0))
    for shift in (0, 24, 48):
        met = len(np.unique(hashes >> np.uint64(shift) & np.uint64(2**16 - 1)))
        assert met == pytest.approx(2**16 * (1 - (1 - 2**-16) ** len(np.unique(hashes))), rel=0.01)


class Parts(gym.Env):
    """Integers in one part; in the other, numbers of a type."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, dtype):
        self.observation_space = gym.spaces.Dict(
            {"place": gym.spaces.Box(0, 9, (2,), np.int64), "deep": gym.spaces.Dict({"x": gym.spaces.Box(0, 9, (3,), dtype)})}
        )
        self.steps = count()

    def _observation(self):
        return {"place": np.array([next(self.steps) % 10, 0]), "deep": {"x": np.zeros(3, self.observation_space["deep"]["x"].dtype)}}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action):
        return self._observation(), 0.0, False, False, {}


def test_parts_of_a_tuple_are_counted():
    assert oc.OptionCritic("Blackjack-v1", int_coef=0.01, num_steps=16).update()["bonus_mean"] > 0


def test_what_cannot_be_counted_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"int_coef=0.1: observation is of floating-point numbers.*int_coef=0"):
        oc.OptionCritic("CartPole-v1", int_coef=0.1)
    with pytest.raises(ValueError, match=r"observation\['deep/x'\] is of floating-point"):
        oc.OptionCritic(Parts(np.float32), int_coef=0.1)
    for kind in ("grid", "cells", "pixels"):  # floats are floats, whatever they are taken for
        images = dict(observation_kinds={"": kind}, num_options=2, num_steps=16)
        image = Toy(gym.spaces.Box(0, 10, (3, 3, 3), np.float32))
        assert oc.OptionCritic(image, **images).learn(16).settings.int_coef == 0
        with pytest.raises(ValueError, match="is of floating-point"):
            oc.OptionCritic(image, **images, int_coef=0.1)
    row = oc.OptionCritic(Parts(np.int64), int_coef=1.0, num_steps=16).update()
    assert row["bonus_mean"] == pytest.approx(9 / 16)  # ten places, over and over, the first of them where the episode begins
    # an agent that is loaded makes its environment later
    oc.OptionCritic("CartPole-v1", **SMALL).save(tmp_path)
    with pytest.raises(ValueError, match="floating-point"):
        oc.OptionCritic.load(tmp_path, int_coef=0.1).learn(1)


def test_counts_go_on_from_arrays():
    """With sets so small that some are full; what is met is kept, not where it lies."""
    env = ScriptedVectorEnv(random_episodes(3, 20, 40, longest=30), 40)
    agent = oc.OptionCritic(env, **PLAIN)
    agent.running = agent._start()
    rollouts = [collect(agent.module, agent.sampler, agent.spec, agent.running, 7) for _ in range(12)]
    whole, stopped, resumed = (CountBonus(agent.spec, 20, 1.0, table=2**16, episode=8) for _ in range(3))
    for rollout in rollouts:
        resumed.from_arrays(stopped.to_arrays())
        stopped, resumed = resumed, stopped
        assert torch.equal(whole.bonus(rollout), stopped.bonus(rollout))
        assert same(whole.to_arrays(), stopped.to_arrays())
    assert (whole.to_arrays()["env"][:, None] == range(20)).sum(axis=0).max() == 6  # full


def test_counts_are_kept(tmp_path):
    """Also where environments start anew; and a run without a bonus can go on with one."""
    agent = oc.OptionCritic(GRIDWORLD, int_coef=0.1, **SMALL).learn(64)
    agent.save(tmp_path / "counted")
    loaded = oc.OptionCritic.load(tmp_path / "counted")
    loaded.running = loaded._start()
    assert np.array_equal(loaded.exploration.counts, agent.exploration.counts) and agent.exploration.counts.any()
    assert oc.OptionCritic.load(tmp_path / "counted", int_coef=0.0).learn(64).exploration is None
    oc.OptionCritic(GRIDWORLD, **SMALL).learn(64).save(tmp_path / "plain")
    assert oc.OptionCritic.load(tmp_path / "plain", int_coef=0.1).update()["bonus_mean"] > 0
    for name, value in dict(entry=[2**40], env=[4]).items():
        arrays = agent.exploration.to_arrays()
        with pytest.raises(ValueError, match="damaged"):
            agent.exploration.from_arrays({**arrays, name: np.array(value)})


def test_the_largest_integers_cannot_be_counted():
    """Of uint64 floating-point numbers are made, of which the last digits get lost: said before anything is trained."""
    with pytest.raises(ValueError, match="observation.* is of uint64, of which single values get lost: give int_coef=0"):
        oc.OptionCritic(Parts(np.uint64), int_coef=0.1)


def test_the_default_is_a_bonus_on_minigrid_alone():
    coefs = {
        env_id: oc.OptionCritic(env_id, num_envs=2).settings.int_coef for env_id in ("MiniGrid-Empty-5x5-v0", "CartPole-v1", GRIDWORLD)
    }
    assert coefs == {"MiniGrid-Empty-5x5-v0": 0.005, "CartPole-v1": 0.0, GRIDWORLD: 0.0}
    assert oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_envs=2, int_coef=0).exploration is None


@pytest.mark.parametrize("int_counts", ["place", "observation"])
def test_a_form_is_chosen_and_kept(tmp_path, int_counts):
    names = {"episodic": EPISODIC, "lifetime": LIFETIME, "both": BOTH, "difference": NOVELTY_DIFFERENCE}
    given = dict(num_envs=2, num_steps=8, num_minibatches=1, int_counts=int_counts)
    for form, counting in names.items():
        agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", int_form=form, **given)
        assert agent.exploration.counting == replace(counting, counted=int_counts)
        agent.learn(32).save(tmp_path / form)
        loaded = oc.OptionCritic.load(tmp_path / form)
        assert loaded.exploration.counting == agent.exploration.counting and loaded.exploration.counts.any()
    anew = oc.OptionCritic.load(tmp_path / "both", int_form="lifetime")  # visits are not episodes
    assert anew.exploration.counting.episodic is False and not anew.exploration.counts.any()
    usual = oc.OptionCritic("MiniGrid-Empty-5x5-v0", **given)
    assert usual.exploration.counting == replace({"place": EPISODIC, "observation": BOTH}[int_counts], counted=int_counts)


def test_what_is_paid_in_every_episode_falls_with_the_steps_so_far():
    """The weight of each rollout is of the steps before it: 1 until they are more than `lasts`, then the root of lasts / t."""
    episodes, counting = random_episodes(4, 2, 5), Counting(power=0.0, lasts=9)
    paid, _ = bonuses(ScriptedVectorEnv(episodes, 5), counting, 4, 6)
    bare, _ = expected(episodes, 24, counting, False)
    weights = [1, 1, np.sqrt(9 / 16), np.sqrt(9 / 24), np.sqrt(9 / 32), np.sqrt(9 / 40)]  # 2 environments, 4 steps a rollout
    np.testing.assert_allclose(paid, np.repeat(weights, 4)[:, None] * bare)
    assert np.isinf(Counting().lasts) and EPISODIC.lasts == 2**18


def test_the_weight_of_a_bonus_that_falls_goes_on_where_it_was():
    """The weight of a bonus that falls with the steps goes on where it was."""
    episodes = [[[0, 1, 2, 1, 2, 0, 3]] * 20]
    agent = oc.OptionCritic(ScriptedVectorEnv(episodes, 4), num_options=2, num_steps=8, num_minibatches=1)
    agent.running = agent._start()
    first, second = (collect(agent.module, agent.sampler, agent.spec, agent.running, 8) for _ in range(2))
    whole, resumed = (CountBonus(agent.spec, 1, 1.0, Counting(power=0.0, lasts=2), table=2**10, episode=8) for _ in range(2))
    whole.bonus(first)
    resumed.from_arrays(whole.to_arrays())
    assert torch.equal(whole.bonus(second), resumed.bonus(second)) and whole.bonus(first).any()
