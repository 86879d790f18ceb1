"""The learner: gradient forms, what reaches what, endings, settings, seeds, saving, and learning itself."""

import re
from dataclasses import fields
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tabular import TabularVectorEnv
from test_learner_truth import appendix_d, random_mdp

import optioncoagent as oc
from optioncoagent.agents import learner as learner_module
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.settings import Settings
from optioncoagent.agents.targets import make_batch

GRIDWORLD = "OptionCoagent/Gridworld-v0"
SMALL = dict(num_envs=4, num_steps=16, num_minibatches=2, update_epochs=2)


def without_times(row):
    return {key: value for key, value in row.items() if not key.startswith("seconds")}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


# Gradients


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("num_options", [4, (2, 2)])
def test_q_beta_and_advantage_are_the_same_gradient(dtype, tolerance, num_options):
    """Parameter by parameter on a real rollout, relative to the largest entry."""
    gradients = []
    for form in ("q_beta", "advantage"):
        agent = oc.OptionCritic("MiniGrid-DoorKey-5x5-v0", num_options, form, deliberation_cost=0.1, dtype=dtype, num_envs=8, num_steps=32)
        agent.running = agent._start()
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 32)
        batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
        sum(agent.losses(batch).values()).backward()
        gradients.append({name: p.grad.clone() for name, p in agent.module.named_parameters()})
    largest = max(g.abs().max() for g in gradients[0].values())
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).abs().max() <= tolerance * largest, name


def test_each_loss_reaches_exactly_its_parameters():
    """A coagent's loss reaches its own head and the encoder, the critic's loss the critic and the encoder, nothing else."""
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", **SMALL)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    batch = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms)
    for part, head in {f"{n}/loss": f"policies.policy_{n}." for n in agent.network.names}.items() | {("critic/loss", "critic.")}:
        agent.optimizer.zero_grad(set_to_none=True)
        agent.losses(batch)[part].backward()
        reached = {name for name, p in agent.module.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        expected = {name for name, _ in agent.module.named_parameters() if name.startswith((head, "encoder."))}
        assert reached == expected, part


def test_the_learner_knows_nothing_of_options():
    text = Path(learner_module.__file__).read_text()
    assert not re.search(r"\boptions?\b|terminat", text, re.IGNORECASE)


def test_one_option_is_the_flat_agent():
    """With one option the terminations and the option have nothing to learn: the same run, number by number."""
    settings = dict(ent_coef=0.0, seed=3, **SMALL)
    flat = oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork([oc.Coagent("action", 2)]), **settings)
    one = oc.OptionCritic("CartPole-v1", num_options=1, **settings)
    for _ in range(5):
        rows = flat.update(), one.update()
        for key in ("return_mean", "length_mean", "action/loss", "critic/loss", "action/entropy"):
            np.testing.assert_allclose(rows[0][key], rows[1][key], rtol=1e-5, atol=1e-7)


# Endings


def test_values_where_the_time_limit_is_the_only_ending():
    """Reward 1 for ever, cut every five steps: the value is 1 / (1 − γ), not that of five steps."""
    mdp = oc.MDP(np.ones((1, 2, 1)), np.ones((1, 2)), [1.0], 0.8, terminal=np.array([False]))
    for autoreset in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        env = TabularVectorEnv(mdp, 4, max_steps=5, autoreset=autoreset)
        plain = dict(hidden_sizes=(), learning_rate=0.05, max_grad_norm=10.0, num_steps=32)
        agent = oc.OptionCritic(env, num_options=2, gamma=0.8, ent_coef=1.0, **plain)
        agent.learn(8_000)
        q = agent.module.q(agent.module.features(torch.zeros(1, dtype=torch.long)))
        np.testing.assert_allclose(q.detach().numpy(), 5.0, rtol=0.02)


def test_termination_does_not_bootstrap():
    """Reward 1 on one step, which ends the episode: the value is 1."""
    P = np.zeros((2, 2, 2))
    P[:, :, 1] = 1.0
    mdp = oc.MDP(P, np.array([[1.0, 1.0], [0.0, 0.0]]), [1.0, 0.0], 0.9, terminal=np.array([False, True]))
    plain = dict(hidden_sizes=(), learning_rate=0.05, num_steps=32)
    agent = oc.OptionCritic(TabularVectorEnv(mdp, 4), num_options=2, gamma=0.9, ent_coef=1.0, **plain)
    agent.learn(8_000)
    np.testing.assert_allclose(agent.module.q(agent.module.features(torch.zeros(1, dtype=torch.long))).detach(), 1.0, rtol=0.02)


def test_sampled_returns_are_sampled_returns():
    """λ = 1 with the correction: the critic's target is Σ γ^k (R − costs) up to the ending or the cut."""
    mdp = random_mdp()
    env = TabularVectorEnv(mdp, 3, max_steps=4)
    settings = dict(gamma=0.9, gae_lambda=1.0, sampled_returns=True, hidden_sizes=(), dtype="float64", num_steps=12)
    agent = oc.OptionCritic(env, 2, deliberation_cost=0.5, **settings)
    torch.nn.init.zeros_(agent.module.critic.weight)  # so that nothing is bootstrapped but the costs expected upon arrival
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 12)
    target = make_batch(agent.module, agent.spec, rollout, agent.settings, agent.forms).target.reshape(12, 3)
    cost = 0.5 * (rollout.executed["option"] & ~rollout.start).double()
    checked = 0
    for i in range(3):
        for t in range(12):
            ending = next((k for k in range(t, 12) if rollout.terminated[k, i] or rollout.truncated[k, i]), None)
            if ending is not None and rollout.terminated[ending, i]:
                rewards = rollout.reward[t : ending + 1, i] - torch.cat([torch.zeros(1), cost[t + 1 : ending + 1, i]])
                expected = (0.9 ** torch.arange(len(rewards)) * rewards).sum()
                torch.testing.assert_close(target[t, i], expected)
                checked += 1
    assert checked > 3


# Settings


CHANGES = dict(
    num_envs=5,
    num_steps=17,
    update_epochs=3,
    num_minibatches=3,
    learning_rate=2e-3,
    gamma=0.9,
    gae_lambda=0.5,
    clip_coef=0.01,
    ent_coef=0.1,
    vf_coef=1.0,
    max_grad_norm=0.01,
    normalize_advantages=False,
    discount_weighting=True,
    sampled_returns=True,
    hidden_sizes=(32,),
    dtype="float64",
    seed=1,
)


def test_every_setting_changes_the_first_update():
    """No dead settings (where and with how many threads torch computes may not matter)."""
    assert {f.name for f in fields(Settings)} == {*CHANGES, "device", "torch_threads"}

    def first_update(**settings):
        agent = oc.OptionCritic("CartPole-v1", num_options=2, **{**SMALL, **settings})
        agent.update()
        return torch.cat([p.detach().double().flatten() for p in agent.module.parameters()])

    base = first_update()
    for name, value in CHANGES.items():
        changed = first_update(**{name: value})
        assert changed.shape != base.shape or not torch.equal(changed, base), name
    for name, value in dict(gradient_form="score", deliberation_cost=0.5, first="terminate").items():
        assert not torch.equal(first_update(**{name: value}), base), name


OUT_OF_RANGE = dict(num_envs=0, num_steps=1.5, gamma=1.1, gae_lambda=-0.1, learning_rate=0.0, ent_coef=-1.0, clip_coef=0.0, seed=-1)


@pytest.mark.parametrize(("name", "value"), [*OUT_OF_RANGE.items(), ("dtype", "float16"), ("hidden_sizes", (0,))])
def test_a_setting_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        Settings(**{name: value}).check()
    with pytest.raises(ValueError, match=f"^{name}="):
        oc.OptionCritic("CartPole-v1", **{name: value})


def test_the_same_seed_gives_the_same_run():
    rows = [oc.OptionCritic("MiniGrid-Empty-5x5-v0", seed=seed, **SMALL).learn(200).update() for seed in (0, 0, 1)]
    assert same(*map(without_times, rows[:2])) and not same(*map(without_times, rows[1:]))


# Environments and observations


def test_unsupported_spaces_are_refused_by_name():
    class Continuous(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (2,))
        action_space = gym.spaces.Box(-1, 1, (1,))

    class Sequences(gym.Env):
        observation_space = gym.spaces.Dict(a=gym.spaces.Discrete(2), b=gym.spaces.MultiDiscrete([2, 3]))
        action_space = gym.spaces.Discrete(2)

    with pytest.raises(ValueError, match="action space is Box"):
        oc.OptionCritic(Continuous())
    with pytest.raises(ValueError, match=r"observation\['b'\] is MultiDiscrete"):
        oc.OptionCritic(Sequences())
    with pytest.raises(TypeError, match="neither an environment id"):
        oc.OptionCritic(7)
    with pytest.raises(ValueError, match="takes 2 actions, the network's action coagents give 3"):
        oc.CoagentActorCritic("CartPole-v1", oc.CoagentNetwork([oc.Coagent("action", 3)]))
    disabled = SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="SAME_STEP"):
        oc.OptionCritic(disabled)


def test_a_head_too_large_is_refused_with_its_name():
    many = [oc.Coagent(f"c{i}", 50) for i in range(3)]
    network = oc.CoagentNetwork([*many, oc.Coagent("action", 2, upstream=("c0", "c1", "c2"))])
    with pytest.raises(ValueError, match="coagent 'action' would need 250,000 logits"):
        oc.CoagentActorCritic("CartPole-v1", network)


def test_wrong_forms_are_refused():
    network = oc.option_critic(3, 2)
    for forms, message in [
        ({"action": "expected"}, "'action': the critic does not know its output"),
        ({"option": "difference"}, "'option': the form difference is for two outputs"),
        ({"option": "best"}, "'option': gradient form 'best'"),
        ({"opt": "score"}, "opt"),
    ]:
        with pytest.raises(ValueError, match=message):
            oc.CoagentActorCritic("CartPole-v1", network, forms=forms)
    with pytest.raises(ValueError, match="gradient_form='best'"):
        oc.OptionCritic("CartPole-v1", gradient_form="best")


class Mixed(gym.Env):
    """A Dict of everything: nested, a Box, a Discrete that starts at 2, bits; actions start at 1."""

    observation_space = gym.spaces.Dict(
        inner=gym.spaces.Dict(box=gym.spaces.Box(-1, 1, (2, 3)), bits=gym.spaces.MultiBinary(3)), cell=gym.spaces.Discrete(4, start=2)
    )
    action_space = gym.spaces.Discrete(2, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t >= 3, self.t >= 5, {}


def test_nested_observations_and_offsets():
    agent = oc.OptionCritic(Mixed(), num_options=2, num_steps=16, num_minibatches=2).learn(64)
    observation = Mixed().reset(seed=0)[0]
    action, state = agent.predict(observation)
    assert action in (1, 2) and state.shape == (1,)
    assert agent.probabilities(observation)["action"].shape == (2, 2)
    with pytest.raises(ValueError, match=r"observation\['inner'\]\['box'\] has shape \(5,\)"):
        agent.predict({**observation, "inner": {**observation["inner"], "box": np.zeros(5)}})
    with pytest.raises(ValueError, match=r"observation\['cell'\] is missing"):
        agent.predict({"inner": observation["inner"]})


@pytest.mark.parametrize("env_id", ["MiniGrid-GoToDoor-5x5-v0", "BabyAI-GoToObj-v0"])
def test_missions_that_vary_are_seen(env_id):
    agent = oc.OptionCritic(env_id, **SMALL).learn(64)
    assert [leaf.kind for leaf in agent.spec.leaves] == ["discrete", "grid", "mission"]
    env = gym.make(env_id)
    observation, _ = env.reset(seed=0)
    features = [agent.module.features(agent.spec.state(agent.spec.tensors(agent.spec.stack([{**observation, "mission": m}])))) for m in
                ("go to the red door", "go to the green door")]  # fmt: skip
    assert not torch.equal(*features)
    batch = {"image": observation["image"][None], "direction": np.array([0]), "mission": ("go to the red door",)}
    assert agent.predict(batch)[0].shape == (1,)


def test_codes_and_pixels_are_told_apart():
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

    kinds = {}
    for wrapper in (ImgObsWrapper, RGBImgPartialObsWrapper, lambda env: ImgObsWrapper(RGBImgPartialObsWrapper(env))):
        agent = oc.OptionCritic(wrapper(gym.make("MiniGrid-Empty-5x5-v0")), **{**SMALL, "num_envs": 1}).learn(16)
        kinds |= {leaf.path or leaf.shape[0]: leaf.kind for leaf in agent.spec.leaves}
    assert kinds == {7: "grid", "direction": "discrete", "image": "pixels", 56: "pixels"}


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


def test_execution_functions_see_the_observations():
    """A coagent that executes only when facing right, on MiniGrid's dict of tensors."""
    turn = oc.Coagent("turn", 2, executes=lambda x: (x.state["direction"] == 0) & (x.previous["turn"] == x.previous["turn"]))
    network = oc.CoagentNetwork([turn, oc.Coagent("action", 7, upstream=("turn",))])
    agent = oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", network, **SMALL)
    agent.running = agent._start()
    rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, 16)
    assert torch.equal(rollout.executed["turn"], rollout.observation["direction"] == 0)
    agent.learn(200)


def test_an_encoder_of_ones_own():
    class Direction(torch.nn.Module):
        def forward(self, state):
            return torch.nn.functional.one_hot(state["direction"], 4).float()

    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", encoder=Direction(), **SMALL).learn(64)
    assert agent.module.critic.in_features == 4


# Acting and keeping


def test_predict_carries_options_and_restarts_them():
    agent = oc.OptionCritic("CartPole-v1", num_options=3, seed=0, **SMALL)
    with torch.no_grad():  # an option, once chosen, is kept
        agent.module.policies["policy_termination"].bias.copy_(torch.tensor([-50.0, 50.0]).repeat(3))
    observation = np.zeros((64, 4), np.float32)
    action, state = agent.predict(observation)
    assert action.shape == (64,) and state.shape == (64, 1) and set(np.unique(state)) == {0, 1, 2}
    again = agent.predict(observation, state)[1]
    assert np.array_equal(again, state)
    restart = np.arange(64) < 32
    changed = agent.predict(observation, state, restart)[1]
    assert np.array_equal(changed[32:], state[32:]) and not np.array_equal(changed[:32], state[:32])
    best = agent.probabilities(observation)["option"].argmax(axis=-1)
    assert np.array_equal(agent.predict(observation, deterministic=True)[1][:, 0], best)


def test_a_wrong_state_or_observation_is_named():
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    observation = np.zeros((3, 4), np.float32)
    for state in (np.zeros((1, 1), int), np.full((3, 1), 7)):
        with pytest.raises(ValueError, match=r"(?s)state=.*shape \(3, 1\), outputs of \('option',\) in \[2\]"):
            agent.predict(observation, state)
    with pytest.raises(ValueError, match="the agent was made for"):
        agent.predict(np.zeros(7, np.float32))


def test_a_wrong_setting_or_device_is_named():
    with pytest.raises(TypeError, match="no setting 'num_option': did you mean 'num_options'"):
        oc.OptionCritic("CartPole-v1", num_option=2)
    with pytest.raises(ValueError, match="device='foo'"):
        oc.OptionCritic("CartPole-v1", device="foo")


def test_threads_of_torch_are_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    oc.OptionCritic("CartPole-v1", **SMALL).learn(64).predict(np.zeros(4, np.float32))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_stable_baselines3_evaluates_the_agent():
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    returns, lengths = evaluate_policy(agent, make_vec_env("CartPole-v1", 3, seed=0), 7, deterministic=False, return_episode_rewards=True)
    assert len(returns) == 7 and returns == lengths and min(returns) > 5


def test_evaluate():
    agent, twin = (oc.OptionCritic(GRIDWORLD, num_options=2, **SMALL).learn(64) for _ in range(2))
    result = agent.evaluate(7, seed=3)
    assert result.returns.shape == result.lengths.shape == (7,)
    np.testing.assert_array_equal(result.returns, -result.lengths)  # every step of the gridworld costs 1
    assert same(vars(agent.evaluate(7, seed=3)), vars(result)) and not same(vars(agent.evaluate(7, seed=4)), vars(result))
    observation = np.arange(9)
    assert all(map(np.array_equal, agent.predict(observation), twin.predict(observation)))  # nothing the agent draws from has moved
    assert same(*(without_times(x.update()) for x in (agent, twin)))
    with pytest.raises(ValueError, match="num_episodes=0"):
        agent.evaluate(0)
    network = appendix_d(2)
    of_an_object = oc.CoagentActorCritic(gym.make("CartPole-v1"), network)
    with pytest.raises(ValueError, match="give env="):
        of_an_object.evaluate()
    assert len(of_an_object.evaluate(3, env=gym.make("CartPole-v1")).returns) == 3
    next_step = SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match="SAME_STEP"):
        of_an_object.evaluate(3, env=next_step)


def test_probabilities_are_parameters_for_the_exact_solver():
    agent = oc.OptionCritic(GRIDWORLD, num_options=2, hidden_sizes=(), **SMALL).learn(64)
    tables = agent.probabilities(np.arange(9))
    network = agent.network
    assert {name: t.shape for name, t in tables.items()} == {name: network.parameter_shape(name, 9) for name in network.names}
    for table in tables.values():
        np.testing.assert_allclose(table.sum(axis=-1), 1, rtol=1e-6)
    mdp = oc.MDP.from_env(gym.make("optioncoagent_envs:OptionCoagent/Gridworld-v0"), 0.9)
    params = agent.params(mdp)  # with a row for the end, which the environment never shows
    np.testing.assert_allclose(network.policies(params, mdp.num_observations)["action"][:9], tables["action"], rtol=1e-5)
    assert oc.expected_return(mdp, network, params) < 0
    one = agent.probabilities(4)
    np.testing.assert_allclose(one["action"], tables["action"][4], rtol=1e-6)
    flat = oc.CoagentActorCritic(GRIDWORLD, appendix_d(4), **SMALL)
    assert flat.probabilities(np.arange(9))["action"].shape == (2, 2, 4)  # does not observe
    assert np.isfinite(oc.expected_return(mdp, flat.network, flat.params(mdp)))


def test_an_agent_on_a_minigrid_level_in_the_exact_solver():
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_options=2, **SMALL).learn(64)
    mdp = oc.MDP.from_minigrid("MiniGrid-Empty-5x5-v0", 0.99, view="egocentric")
    assert 0 < oc.expected_return(mdp, agent.network, agent.params(mdp)) < 1


def test_save_and_load(tmp_path):
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", (2, 2), "advantage", deliberation_cost=0.1, **SMALL).learn(64)
    agent.save(tmp_path / "agent")
    assert {p.suffix for p in (tmp_path / "agent").iterdir()} == {".json", ".safetensors"}
    with pytest.raises(FileExistsError, match="another folder"):
        agent.save(tmp_path / "agent")
    loaded = oc.OptionCritic.load(tmp_path / "agent")
    observation, _ = gym.make("MiniGrid-Empty-5x5-v0").reset(seed=0)
    assert same(agent.probabilities(observation), loaded.probabilities(observation))
    assert (loaded.settings, loaded.forms, loaded.num_timesteps) == (agent.settings, agent.forms, agent.num_timesteps)
    moments = [x.optimizer.state_dict()["state"][0]["exp_avg"] for x in (agent, loaded)]
    assert torch.equal(*moments)
    assert loaded.env.num_envs == 4  # made from the id when it is first needed
    loaded.learn(64)
    with pytest.raises(ValueError, match="was trained on MiniGrid-Empty-5x5-v0"):
        oc.OptionCritic.load(tmp_path / "agent", env="CartPole-v1")
    assert loaded.num_timesteps == agent.num_timesteps + 64
    with pytest.raises(FileNotFoundError, match="holds no agent"):
        oc.OptionCritic.load(tmp_path / "nothing")


@pytest.mark.parametrize("env_id", ["MiniGrid-Empty-Random-5x5-v0", "MiniGrid-KeyCorridorS3R1-v0"])
def test_training_goes_on_bit_for_bit(env_id, tmp_path):
    def kept(agent, name):
        agent.save(tmp_path / name)
        return oc.OptionCritic.load(tmp_path / name)

    whole, stopped = (oc.OptionCritic(env_id, (2, 2), seed=5, **SMALL).learn(256) for _ in range(2))
    assert stopped.running.age.any()  # in mid-episode
    resumed = kept(kept(stopped, "a"), "b")  # an agent that has not trained in between is kept as it was
    assert resumed.recent == stopped.recent
    assert same(*(without_times(agent.learn(256).update()) for agent in (whole, resumed)))
    assert whole.env.level_names == resumed.env.level_names
    whole.save(tmp_path / "whole")
    resumed.save(tmp_path / "resumed")
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert len(files) == 4 and all((tmp_path / "whole" / f).read_bytes() == (tmp_path / "resumed" / f).read_bytes() for f in files)


def test_training_starts_anew_elsewhere(tmp_path):
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", **SMALL).learn(64)
    agent.save(tmp_path / "agent")
    for change in (dict(seed=6), dict(num_envs=2), dict(env="MiniGrid-Empty-6x6-v0")):
        anew = oc.OptionCritic.load(tmp_path / "agent", **change).learn(1)
        expected = oc.OptionCritic(**{"env": "MiniGrid-Empty-5x5-v0", **SMALL, **change}).learn(1)
        assert anew.env.level_names == expected.env.level_names and anew.num_timesteps == 64 + expected.num_timesteps
        assert torch.equal(anew.shuffle.get_state(), expected.shuffle.get_state())
    # other environments are reset, but the random states go on
    agent = oc.OptionCritic("CartPole-v1", **SMALL).learn(64)
    agent.save(tmp_path / "other")
    loaded, fresh = oc.OptionCritic.load(tmp_path / "other").learn(1), oc.OptionCritic("CartPole-v1", **SMALL).learn(1)
    states = [x.shuffle.get_state() for x in (agent.learn(1), loaded, fresh)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[1], states[2])


def test_load_without_an_environment_id(tmp_path):
    network = appendix_d(2)
    agent = oc.CoagentActorCritic(gym.make("CartPole-v1"), network, num_steps=16).learn(16)
    agent.save(tmp_path)
    loaded = oc.CoagentActorCritic.load(tmp_path, network)
    assert loaded.predict(np.zeros(4, np.float32))[0] in (0, 1)
    with pytest.raises(ValueError, match="give env="):
        loaded.learn(16)
    oc.CoagentActorCritic.load(tmp_path, network, env=gym.make("CartPole-v1")).learn(16)


# Learning


def test_learn_goes_on_in_whole_rollouts():
    agent = oc.OptionCritic("CartPole-v1", **SMALL)
    assert agent.learn(65) is agent and agent.num_timesteps == 128
    assert agent.learn(10).num_timesteps == 192


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("network", [lambda n: appendix_d(n), lambda n: oc.option_critic((2, 2), n)], ids=["appendix D", "two levels"])
def test_any_network_learns_the_gridworld(network, seed):
    """From about −40 for random moves; 4 steps are the least, and appendix D executes a coagent only every other step."""
    agent = oc.CoagentActorCritic(GRIDWORLD, network, hidden_sizes=(), learning_rate=0.02, seed=seed).learn(40_000)
    first = oc.CoagentActorCritic(GRIDWORLD, network, hidden_sizes=(), seed=seed).update()["return_mean"]
    assert first < -20 and np.mean(agent.recent, axis=0)[0] > -14


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


@pytest.mark.parametrize("name", ["learning_rate", "ent_coef", "max_grad_norm"])
def test_settings_are_finite(name):
    with pytest.raises(ValueError, match=name):
        oc.OptionCritic("OptionCoagent/Gridworld-v0", **{name: float("inf")})


def test_minigrid_ids_with_a_module_are_made_fast():
    assert oc.OptionCritic("minigrid:MiniGrid-Empty-5x5-v0", num_envs=2).env.backend == "compiled"


def test_folders_of_another_agent_or_damaged_are_named(tmp_path):
    network = oc.CoagentNetwork([oc.Coagent("action", 4)])
    oc.CoagentActorCritic("OptionCoagent/Gridworld-v0", network, num_envs=2).save(tmp_path / "own")
    with pytest.raises(ValueError, match="CoagentActorCritic.load"):
        oc.OptionCritic.load(tmp_path / "own")
    wider = oc.CoagentNetwork([oc.Coagent("bit", 2), oc.Coagent("action", 4, upstream=("bit",))])
    with pytest.raises(ValueError, match="another network.*policy_bit"):
        oc.CoagentActorCritic.load(tmp_path / "own", wider)
    (tmp_path / "own" / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="weights.safetensors is damaged"):
        oc.CoagentActorCritic.load(tmp_path / "own", network)
    (tmp_path / "own" / "agent.json").write_text("{")
    with pytest.raises(ValueError, match="agent.json is damaged"):
        oc.CoagentActorCritic.load(tmp_path / "own", network)


def test_every_epoch_learns_from_every_step_once(monkeypatch):
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_envs=3, num_steps=11, num_minibatches=4, update_epochs=2)
    seen = []
    losses = agent.losses

    def spied(batch):
        seen.append(batch.observation["image"].flatten(1).sum(dim=1) * 1000 + batch.target)
        return losses(batch)

    monkeypatch.setattr(agent, "losses", spied)
    agent.update()
    assert [len(part) for part in seen] == [9, 9, 9, 6] * 2
    first, second = (torch.cat(seen[k : k + 4]).sort().values for k in (0, 4))
    assert len(first) == 33 and torch.equal(first, second) and not torch.equal(torch.cat(seen[:4]), torch.cat(seen[4:]))
