"""Evaluating: on what environment, without disturbing training, and where episodes do not end."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted import ScriptedVectorEnv
from small import GRIDWORLD, SMALL, appendix_d, same, without_times
from toys import Toy, batch_of, train

import optioncoagent as oc
from optioncoagent.agents.evaluation import Episode, Evaluation, run_episodes


def counting(t):
    return float(t)  # 1 + 2 + 3 in an episode


@pytest.mark.parametrize("given", ["the batch", "its environment", "a batch of its environment"])
def test_the_environment_that_is_trained_on_is_refused(given):
    env = Toy(reward=counting)
    batch = env if given == "its environment" else batch_of(lambda: env, 1)
    agent, twin = train(batch), train(batch_of(lambda: Toy(reward=counting), 1))
    with pytest.raises(ValueError, match="trains on this environment"):
        agent.evaluate(3, env={"the batch": batch, "its environment": env}.get(given) or batch_of(lambda: env, 1))
    assert same(*(without_times(x.update()) for x in (agent, twin)))


def test_an_environment_not_yet_trained_on_may_be_evaluated_on(tmp_path):
    env = Toy(reward=counting)
    agent = oc.OptionCritic(env, num_options=2, num_steps=16)
    assert set(agent.evaluate(3, env=env).returns) == {6.0}
    agent.learn(16)
    with pytest.raises(ValueError, match="trains on"):
        agent.evaluate(3, env=env)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_episodes_of_either_autoreset(mode):
    """The step that resets belongs to no episode; options start anew with each."""
    agent = train(Toy(reward=counting))
    result = agent.evaluate(7, env=batch_of(lambda: Toy(reward=counting), 2, mode))
    assert result.returns.tolist() == [6.0] * 7 and result.lengths.tolist() == [3] * 7 and not result.cut.any()


def test_starts_are_told_to_the_agent(monkeypatch):
    agent, seen = train(Toy()), []
    predict = oc.OptionCritic.predict
    monkeypatch.setattr(oc.OptionCritic, "predict", lambda self, o, s, start, d: seen.append(start[0]) or predict(self, o, s, start, d))
    for mode, period in ((AutoresetMode.SAME_STEP, 3), (AutoresetMode.NEXT_STEP, 4)):
        seen.clear()
        agent.evaluate(3, env=batch_of(Toy, 1, mode))
        assert seen == [t % period == 0 for t in range(len(seen))] and len(seen) > 8


def test_an_agent_made_from_an_object_makes_another_from_its_spec():
    made = {
        "an Env": gym.make("CartPole-v1"),
        "wrapped": gym.wrappers.FrameStackObservation(gym.make("CartPole-v1"), 2),
        "a batch": gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
        "a batch with wrappers": gym.make_vec(
            "CartPole-v1", num_envs=2, vectorization_mode="sync", wrappers=[lambda env: gym.wrappers.FrameStackObservation(env, 3)]
        ),
        "Gymnasium's own batch": gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point"),
        "one's own batch": SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=AutoresetMode.SAME_STEP),
        "MiniGrid": gym.make("minigrid:MiniGrid-Empty-5x5-v0", size=6),
    }
    for name, env in made.items():
        agent = train(env)
        before = without_times(agent.update())
        result = agent.evaluate(4)
        assert result.returns.shape == (4,) and not agent.running.broken, name
        assert same(vars(agent.evaluate(4)), vars(result)) and before, name


def test_what_cannot_be_made_again_is_named(tmp_path):
    from minigrid.wrappers import ImgObsWrapper

    for env, reason in [
        (Toy(), "it has no spec"),
        (batch_of(Toy), "it has no spec"),
        (ImgObsWrapper(gym.make("minigrid:MiniGrid-Empty-5x5-v0")), "ImgObsWrapper"),
        (gym.wrappers.vector.RescaleObservation(gym.make_vec("MountainCar-v0", 2, "sync"), np.float32(-1), np.float32(1)), "not recorded"),
    ]:
        with pytest.raises(ValueError, match=f"made from an environment object, .*{reason}.*give env="):
            train(env).evaluate(3)
    agent = oc.CoagentActorCritic(gym.make("CartPole-v1"), appendix_d(2), num_steps=16).learn(16)
    agent.save(tmp_path)
    with pytest.raises(ValueError, match="give env="):
        oc.CoagentActorCritic.load(tmp_path, appendix_d(2)).evaluate(3)


def test_environments_that_are_made_for_an_evaluation_are_closed(monkeypatch):
    """However it ends; and one that is given stays open."""
    closed, close = [], SyncVectorEnv.close
    monkeypatch.setattr(SyncVectorEnv, "close", lambda self, **given: (closed.append(self), close(self, **given))[1])
    agent = oc.OptionCritic("CartPole-v1", **SMALL)
    agent.evaluate(2)
    agent.evaluate(2, env="CartPole-v1")
    episodes = run_episodes(agent, 4)
    next(episodes)
    assert len(closed) == 2
    episodes.close()
    assert len(closed) == 3 and agent.env not in closed
    agent.evaluate(2, env=gym.make_vec("CartPole-v1", 2, "sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}))
    assert len(closed) == 3
    with pytest.raises(ValueError, match="spec is not what the agent was made for"):
        agent.evaluate(2, env="MountainCar-v0")
    assert len(closed) == 4
    # closing one that is shown may close the windows of all
    oc.OptionCritic("CartPole-v1", env_kwargs={"render_mode": "rgb_array"}, **SMALL).evaluate(2)
    assert len(closed) == 4


def test_an_environment_of_another_kind_is_refused():
    agent = oc.OptionCritic("CartPole-v1", **SMALL)
    with pytest.raises(ValueError, match="spec is not what the agent was made for"):
        agent.evaluate(3, env="MountainCar-v0")
    with pytest.raises(ValueError, match="first_action is not"):
        train(Toy()).evaluate(3, env=Toy(actions=gym.spaces.Discrete(2, start=1)))
    byte, real = (Toy(gym.spaces.Box(0, top, (20, 20, 3), dtype)) for top, dtype in ((255, np.uint8), (1, np.float32)))
    for mine, other in ((byte, real), (real, byte)):  # of one shape
        with pytest.raises(ValueError, match="spec is not what the agent was made for"):
            train(mine).evaluate(3, env=other)


class Stuck(Toy):
    """Every second episode does not end."""

    episodes = 0

    def reset(self, **arguments):
        self.episodes += 1
        return super().reset(**arguments)

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated and self.episodes % 2 == 1, truncated, info


def test_episodes_that_do_not_end_are_cut_and_counted():
    agent = train(Toy())
    with pytest.warns(UserWarning, match="2 of them had not ended after 20 steps and were cut"):
        result = agent.evaluate(6, env=batch_of(Stuck, 2), max_steps=20)
    assert sorted(result.lengths) == [3, 3, 3, 3, 20, 20]  # after a cut, all start anew
    np.testing.assert_array_equal(result.cut, result.lengths == 20)
    np.testing.assert_array_equal(result.returns, result.lengths)
    assert "cut" not in str(agent.evaluate(3, env=Toy(), max_steps=3))  # an episode that ends in its last step is whole
    with pytest.raises(ValueError, match=r"num_episodes=2\.5: it must be a whole number"):
        agent.evaluate(2.5, env=Toy())
    with pytest.raises(ValueError, match="max_steps=0"):
        agent.evaluate(3, env=Toy(), max_steps=0)


def test_a_deterministic_agent_that_loops_is_cut():
    agent = oc.OptionCritic(GRIDWORLD, num_options=2, **SMALL)
    with pytest.warns(UserWarning, match="2 of them had not ended after 50 steps"):
        result = agent.evaluate(2, deterministic=True, max_steps=50)
    assert result.cut.all() and result.returns.tolist() == [-50.0, -50.0]


def test_after_a_cut_seeds_are_new():
    """After a cut all environments are reset with seeds not yet used."""

    class Stuck(Toy):
        episodes, seeds = 0, []

        def reset(self, *, seed=None, options=None):
            self.episodes += 1
            self.seeds.append(seed)
            return super().reset(seed=seed)

        def step(self, action):
            o, r, terminated, truncated, info = super().step(action)
            return o, r, terminated and self.episodes % 2 == 1, truncated, info

    agent = train(Toy())
    with pytest.warns(UserWarning):
        agent.evaluate(6, env=batch_of(Stuck, 2), max_steps=20, seed=5)
    seeds = [seed for seed in Stuck.seeds if seed is not None]
    assert len(seeds) > 2 and len(set(seeds)) == len(seeds)


def test_what_a_reset_pays_is_of_no_episode():
    """What a step that resets pays is of no episode that is evaluated."""

    class Paying(ScriptedVectorEnv):
        def step(self, action):
            ends = [t == len(self.episodes[i][k]) - 1 for i, (k, t) in enumerate(self.at)]
            o, reward, *rest = super().step(action)
            return o, np.where(ends, 1000.0, reward), *rest

    episodes = [[[0, 1, 2, 3]] * 20] * 2
    agent = oc.OptionCritic(ScriptedVectorEnv(episodes, 4), num_steps=8, num_options=2, num_minibatches=2)
    assert set(agent.evaluate(6, env=Paying(episodes, 4, AutoresetMode.NEXT_STEP)).returns) == {30.0}


@pytest.mark.parametrize("given", [{"seed": -1}, {"num_episodes": 0}, {"max_steps": 0}])
def test_what_cannot_be_evaluated_is_named(given):
    with pytest.raises(ValueError, match=f"{next(iter(given))}=.*at least"):
        oc.OptionCritic("CartPole-v1", num_options=2, num_envs=2).evaluate(**{"num_episodes": 2} | given)


def test_the_error_is_that_of_the_mean():
    said = str(Evaluation.of([Episode(1.0, 3), Episode(3.0, 3), Episode(5.0, 3)]))
    assert "return 3.000 ± 1.155 (standard error)" in said  # 2 / √3
    assert str(Evaluation.of([Episode(1.0, 3)])) == "1 episode: return 1.000, length 3.0"
