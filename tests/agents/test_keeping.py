"""Saving and loading."""

import importlib
import json
import sys
from copy import copy, deepcopy
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from small import GRIDWORLD, SMALL, appendix_d, same, without_times

import optioncoagent as oc
from optioncoagent.agents import checkpoint, files, progress
from optioncoagent.agents.environments import _tuples_from_json, _tuples_to_json


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


@pytest.mark.parametrize(
    "changes",
    [{}, {"int_coef": 0.1}, {"int_returns": "non-episodic"}, {"recurrent_size": 5}],
    ids=["plain", "exploration", "non-episodic", "recurrent"],
)
@pytest.mark.parametrize("env_id", ["MiniGrid-Dynamic-Obstacles-5x5-v0", "MiniGrid-KeyCorridorS3R1-v0"])
def test_training_goes_on_bit_for_bit(env_id, changes, tmp_path):
    def kept(agent, name):
        agent.save(tmp_path / name)
        return oc.OptionCritic.load(tmp_path / name)

    whole, stopped = (oc.OptionCritic(env_id, (2, 2), seed=5, **changes, **SMALL).learn(256) for _ in range(2))
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


def test_what_is_kept_elsewhere_and_what_is_not(tmp_path):
    """The scale of rewards and the span of anneal_lr, of an agent that is loaded with another environment, and saved as it is."""
    agent = oc.OptionCritic("CartPole-v1", anneal_lr=True, **SMALL)
    agent.learn(320, callback=lambda agent, row: row["timesteps"] < 128).save(tmp_path / "first")
    elsewhere = oc.OptionCritic.load(tmp_path / "first", env=gym.make("CartPole-v1"))
    elsewhere.save(tmp_path / "second")
    for loaded in (elsewhere, oc.OptionCritic.load(tmp_path / "second", env=gym.make("CartPole-v1"))):
        assert loaded.reward_scale == agent.reward_scale > 1 and not loaded.recent
        loaded.learn(192, callback=lambda agent, row: False)
        assert loaded.optimizer.param_groups[0]["lr"] == pytest.approx(agent.settings.learning_rate * 192 / 320)


@pytest.mark.parametrize("given", [dict(int_counts="auto"), dict(int_coef=None)])
def test_settings_that_come_to_those_that_were_saved_are_no_others(given, tmp_path):
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", **SMALL).learn(128)
    agent.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path, **given)
    assert loaded.settings == agent.settings and loaded.exploration.steps == agent.exploration.steps == 128
    assert same(*(without_times(x.learn(64).update()) for x in (agent, loaded)))


def test_a_weight_of_the_bonus_that_was_chosen_goes_along(tmp_path):
    """MiniGrid's default is 0.005, too: chosen it stays on another environment; by default it, and what is counted, are that one's."""
    for name, given in (("chosen", dict(int_coef=0.005)), ("default", {})):
        oc.OptionCritic("MiniGrid-Empty-5x5-v0", **given, **SMALL).save(tmp_path / name / "once")
        oc.OptionCritic.load(tmp_path / name / "once").save(tmp_path / name / "twice")
        for folder in ("once", "twice"):
            settings = checkpoint.read(tmp_path / name / folder).settings_for("another")
            assert (settings["int_coef"], settings["int_counts"]) == (0.005 if given else None, "auto")
    oc.OptionCritic.load(tmp_path / "default" / "once", int_coef=0.005).save(tmp_path / "later")  # chosen when it was loaded
    assert checkpoint.read(tmp_path / "later").settings_for("another")["int_coef"] == 0.005
    oc.OptionCritic(GRIDWORLD, int_coef=0.005, **SMALL).save(tmp_path / "grid")
    assert oc.OptionCritic.load(tmp_path / "grid", env=GRIDWORLD).settings.int_coef == 0.005


def test_only_learn_anneals_the_step_size():
    agent = oc.OptionCritic("CartPole-v1", anneal_lr=True, **SMALL).learn(0)
    agent.update()
    assert agent.optimizer.param_groups[0]["lr"] == agent.settings.learning_rate
    before = [x.clone() for x in agent.learn(64).module.parameters()]
    agent.update()
    assert not all(torch.equal(x, y) for x, y in zip(before, agent.module.parameters(), strict=True))


def test_a_copy_made_within_learning_is_in_none(tmp_path):
    """It has the full step size, where the agent's own is falling to zero; a shallow copy, too."""
    agent, copies = oc.OptionCritic("CartPole-v1", anneal_lr=True, **SMALL), []
    agent.learn(128, callback=lambda agent, row: copies.extend([deepcopy(agent), copy(agent)]) if not copies else None)
    for made in copies:
        made.learn(32)
        made.update()
        assert made.goal is None and made.optimizer.param_groups[0]["lr"] == agent.settings.learning_rate


def test_learning_within_learning_leaves_the_outer_goal():
    agent, rates = oc.OptionCritic("CartPole-v1", anneal_lr=True, **SMALL), []

    def learn_more(agent, row):
        rates.append(agent.optimizer.param_groups[0]["lr"])
        if len(rates) == 1:
            agent.learn(32)

    agent.learn(512, callback=learn_more)
    assert rates[-1] < 0.3 * agent.settings.learning_rate and sorted(rates, reverse=True) == rates


def test_forms_may_be_given_anew(tmp_path):
    agent = oc.CoagentActorCritic("CartPole-v1", oc.option_critic(2, 2), **SMALL)
    agent.save(tmp_path / "kept")
    again = oc.CoagentActorCritic.load(tmp_path / "kept", agent.network, forms={"termination": "score"})
    assert again.forms["termination"] == "score" and agent.forms["termination"] == "expected"


def test_random_states_of_another_device_start_anew_and_nothing_else():
    """As a folder from a machine with a GPU has them: they are shorter."""
    agent, fresh = (oc.OptionCritic("MiniGrid-Empty-5x5-v0", **SMALL) for _ in range(2))
    agent.learn(128)
    arrays = progress.to_arrays(agent._generators, agent.running, agent._stages)
    arrays |= {name: np.zeros(16, np.uint8) for name in arrays if name.startswith("generator/")}
    before, running = [x.get_state() for x in fresh._generators.values()], fresh._start()
    progress.from_arrays(arrays, fresh._generators, running, fresh.spec)
    assert torch.equal(running.age, agent.running.age) and same(running.observation, agent.running.observation)
    assert all(torch.equal(x, y.get_state()) for x, y in zip(before, fresh._generators.values(), strict=True))


def test_load_without_an_environment_id(tmp_path):
    network = appendix_d(2)
    agent = oc.CoagentActorCritic(gym.make("CartPole-v1"), network, num_steps=16).learn(16)
    agent.save(tmp_path)
    loaded = oc.CoagentActorCritic.load(tmp_path, network)
    assert loaded.predict(np.zeros(4, np.float32))[0] in (0, 1)
    with pytest.raises(ValueError, match="give env="):
        loaded.learn(16)
    oc.CoagentActorCritic.load(tmp_path, network, env=gym.make("CartPole-v1")).learn(16)


def test_an_agent_for_other_actions_says_what_it_was_trained_on(tmp_path):
    def describe(n):
        return oc.CoagentNetwork([oc.Coagent("action", n)])

    oc.CoagentActorCritic("CartPole-v1", describe, **SMALL).save(tmp_path)
    with pytest.raises(ValueError, match="the environment takes 3 actions") as raised:
        oc.CoagentActorCritic.load(tmp_path, describe, env="Acrobot-v1")
    assert raised.value.__notes__ == [f"the agent in {tmp_path} was trained on CartPole-v1"]


def test_folders_of_another_agent_or_damaged_are_named(tmp_path):
    network = oc.CoagentNetwork([oc.Coagent("action", 4)])
    oc.CoagentActorCritic("OptionCoagent/Gridworld-v0", network, num_envs=2).save(tmp_path / "own")
    with pytest.raises(ValueError, match="CoagentActorCritic.load"):
        oc.OptionCritic.load(tmp_path / "own")
    wider = oc.CoagentNetwork([oc.Coagent("bit", 2), oc.Coagent("action", 4, upstream=("bit",))])
    with pytest.raises(ValueError, match="another network: num_outputs of 'bit' was None and is 2"):
        oc.CoagentActorCritic.load(tmp_path / "own", wider)
    (tmp_path / "own" / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="^[^ ]*weights.safetensors is damaged"):  # and not agent.json
        oc.CoagentActorCritic.load(tmp_path / "own", network)
    (tmp_path / "own" / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="weights.safetensors is missing: .*own holds an agent that is not whole"):
        oc.CoagentActorCritic.load(tmp_path / "own", network)
    (tmp_path / "own" / "agent.json").write_text("{")
    with pytest.raises(ValueError, match="agent.json is damaged"):
        oc.CoagentActorCritic.load(tmp_path / "own", network)


@pytest.mark.parametrize("part", [None, "settings", "interface", "description"])
def test_an_unknown_field_is_named_with_its_file(part, tmp_path):
    oc.OptionCritic("CartPole-v1", **SMALL).save(tmp_path)
    content = json.loads((tmp_path / "agent.json").read_text())
    (content if part is None else content[part])["novelty"] = 3
    (tmp_path / "agent.json").write_bytes(files.seal({key: value for key, value in content.items() if key not in ("format", "checksum")}))
    with pytest.raises(ValueError, match=r"(?s)agent\.json.*novelty"):
        oc.OptionCritic.load(tmp_path)


def test_what_an_environment_was_made_with_is_kept(tmp_path):
    made = dict(view="full", size=7)
    agent = oc.OptionCritic("MiniGrid-Empty-Random-6x6-v0", env_kwargs=made, **SMALL).learn(64)
    assert agent.spec.leaves[1].shape == (7, 7, 3) and len(agent.evaluate(2).returns) == 2
    agent.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path)
    assert loaded.interface.env_kwargs == made and loaded.spec == agent.spec
    assert same(*(without_times(x.learn(64).update()) for x in (agent, loaded)))
    assert same(*(vars(x.evaluate(2)) for x in (agent, loaded)))
    other = oc.OptionCritic.load(tmp_path, env_kwargs={**made, "max_steps": 9})  # the environment is another, and begins anew
    assert max(length for _, length in other.learn(256).recent) == 9
    slow, plain = oc.OptionCritic("MountainCar-v0", env_kwargs={"goal_velocity": 0.07}, **SMALL), oc.OptionCritic("MountainCar-v0", **SMALL)
    assert [agent.env.envs[0].unwrapped.goal_velocity for agent in (slow, plain)] == [0.07, 0]


def test_positions_that_an_environment_was_made_with_are_kept(tmp_path):
    """As tuples, which MiniGrid compares; a list, as files have them, is one there."""
    made = dict(agent_start_pos=(2, 2))
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", env_kwargs=made, **SMALL).learn(64)
    agent.save(tmp_path)
    for given in ({}, {"env_kwargs": made}):
        loaded = oc.OptionCritic.load(tmp_path, **given)
        assert loaded.interface.env_kwargs == made and loaded.num_timesteps == 64
        assert loaded.learn(64).running.age.tolist() == agent.learn(64).running.age.tolist()  # in the same episodes
        agent = oc.OptionCritic.load(tmp_path)
    listed = oc.OptionCritic("MiniGrid-Empty-5x5-v0", env_kwargs={"agent_start_pos": [2, 2]}, **SMALL).learn(64)
    assert (listed.evaluate(2).returns == agent.evaluate(2).returns).all()
    nested = {"a": [(1, 2), {"b": (3, [4])}], "c": ()}
    assert _tuples_from_json(json.loads(json.dumps(_tuples_to_json(nested)))) == nested


def test_what_describes_the_network_may_be_given_anew(tmp_path):
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(64)
    agent.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path, gradient_form="advantage", deliberation_cost=0.1, num_options=2)
    assert loaded.forms["termination"] == "difference" and loaded.network["option"].cost == 0.1
    assert same(loaded.module.state_dict(), agent.module.state_dict())
    with pytest.raises(ValueError, match="holds an agent with another network"):
        oc.OptionCritic.load(tmp_path, num_options=3)


class Tempered(torch.nn.Module):
    """Batch norm, which counts its batches, and a number to learn: neither has an axis."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh())
        self.temperature = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return self.layers(x) / self.temperature


def test_single_numbers_of_an_encoder_are_kept(tmp_path, monkeypatch):
    agent = oc.OptionCritic("CartPole-v1", encoder=Tempered(), **SMALL).learn(64)
    agent.save(tmp_path / "now")
    monkeypatch.setattr(checkpoint.np, "array", lambda x, **_: np.ascontiguousarray(x))  # as agents were saved before: with an axis
    agent.save(tmp_path / "before")
    monkeypatch.undo()
    for name in ("now", "before"):
        loaded = oc.OptionCritic.load(tmp_path / name, encoder=Tempered())
        for key, x in agent.module.state_dict().items():
            assert torch.equal(loaded.module.state_dict()[key], x), key
        loaded.learn(64)


def test_what_cannot_be_kept_of_an_environment_is_refused(tmp_path):
    with pytest.raises(ValueError, match="env_kwargs=.*given by its id"):
        oc.OptionCritic(gym.make("CartPole-v1"), env_kwargs={"render_mode": None})
    with pytest.raises(ValueError, match="env_kwargs=.*give it as an object"):
        oc.OptionCritic("MountainCar-v0", env_kwargs={"goal_velocity": np.float32(0)})
    with pytest.raises(TypeError, match="size_of_it"):
        oc.OptionCritic("CartPole-v1", env_kwargs={"size_of_it": 3})
    oc.OptionCritic("MountainCar-v0", **SMALL).save(tmp_path)
    with pytest.raises(ValueError, match="env_kwargs=.*give it as an object"):
        oc.OptionCritic.load(tmp_path, env_kwargs={"goal_velocity": np.float32(0)})


MODULE = """import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv
gym.register('Ours-v0', CartPoleEnv, max_episode_steps=20)
"""


def test_loading_imports_nothing_that_a_folder_names(monkeypatch, tmp_path):
    (tmp_path / "ours_to_load.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    agent = oc.OptionCritic("ours_to_load:Ours-v0", **SMALL).learn(64)
    agent.save(tmp_path / "agent")
    assert len(agent.evaluate(2).returns) == 2
    monkeypatch.delitem(sys.modules, "ours_to_load")
    gym.registry.pop("Ours-v0")
    loaded = oc.OptionCritic.load(tmp_path / "agent")
    assert loaded.predict(np.zeros(4, np.float32))[0] in (0, 1)
    for use in (loaded.evaluate, lambda: loaded.learn(64)):
        with pytest.raises(ValueError, match="trained on ours_to_load:Ours-v0: import ours_to_load before, or give env="):
            use()
    assert "ours_to_load" not in sys.modules
    importlib.import_module("ours_to_load")
    try:
        assert len(loaded.evaluate(2).returns) == 2
    finally:
        gym.registry.pop("Ours-v0")


def test_a_folder_of_version_0_1_0_loads():
    """Its policies give what they gave then, and training goes on from its 64 steps."""
    agent = oc.OptionCritic.load(Path(__file__).parents[1] / "data" / "agent-0.1.0")
    observation, _ = oc.OptionCritic("MiniGrid-Empty-5x5-v0", num_envs=1).env.reset(seed=0)
    probabilities = agent.probabilities(observation)
    assert probabilities["termination"].ravel() == pytest.approx([0.8273973, 0.1726027, 0.0125483, 0.9874516], abs=1e-5)
    assert probabilities["action"].ravel()[:4] == pytest.approx([0.0612561, 0.1953484, 0.2569329, 0.1900013], abs=1e-5)
    assert agent.num_timesteps == 64 and agent.learn(16).num_timesteps == 80
    assert (agent.settings.int_coef, agent.settings.normalize_rewards) == (0.0, False)  # it learns as it did then


def test_a_law_of_float32_is_kept(tmp_path):
    """In the file its numbers are those of Python, and sum to 1 but for the rounding to float32."""
    law = np.array([0.1, 0.9], np.float32)
    agent = oc.OptionCritic("CartPole-v1", 2, first="terminate", initial=law, **SMALL)
    agent.save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path).network.initial("option")
    assert loaded.sum() == pytest.approx(1, abs=1e-15) and np.array_equal(loaded, agent.network.initial("option"))
    with pytest.raises(ValueError, match="is not a distribution"):
        oc.CoagentNetwork([oc.Coagent("action", 2, initial=[0.1, 0.9 + 1e-7])])


def test_an_encoder_of_another_agent_is_copied(tmp_path):
    """The first has the module itself, and what happens to others leaves it alone."""
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh())
    agent = oc.OptionCritic("CartPole-v1", 2, encoder=encoder, **SMALL)
    agent.save(tmp_path)
    assert agent.module.encoder is encoder
    agent.learn(128)
    before = [x.detach().clone() for x in encoder.parameters()]
    loaded = oc.OptionCritic.load(tmp_path, encoder=encoder)
    other = oc.OptionCritic("CartPole-v1", 2, encoder=encoder, **SMALL)
    assert all(torch.equal(x, y) for x, y in zip(other.module.encoder.parameters(), before, strict=True))
    for one in (loaded, other):
        one.learn(64)
        assert not any(torch.equal(x, y) for x, y in zip(one.module.encoder.parameters(), before, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(encoder.parameters(), before, strict=True))


class Remembers(torch.nn.Module):
    """Keeps what it gave last, which torch does not copy."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(4, 8), None

    def forward(self, x):
        self.seen = self.layer(x).tanh()
        return self.seen


def test_whose_encoder_it_is(tmp_path):
    encoder = Remembers()
    agent = oc.OptionCritic("CartPole-v1", 2, encoder=encoder, **SMALL).learn(64)
    agent.save(tmp_path)
    assert not encoder.seen.is_leaf
    loaded = oc.OptionCritic.load(tmp_path, encoder=encoder)
    assert loaded.module.encoder is not encoder and torch.equal(loaded.module.encoder.layer.weight, encoder.layer.weight)
    copied = deepcopy(loaded)
    assert oc.OptionCritic("CartPole-v1", 2, encoder=copied.module.encoder, **SMALL).module.encoder is not copied.module.encoder
    new = torch.nn.Linear(4, 8)
    with pytest.raises(ValueError, match="place") as failed:  # CartPole tells none
        oc.OptionCritic("CartPole-v1", 2, encoder=new, int_coef=0.1, int_counts="place", **SMALL)
    assert failed.value is not None and oc.OptionCritic("CartPole-v1", 2, encoder=new, **SMALL).module.encoder is new


def test_how_options_begin_and_what_they_cost_is_kept(tmp_path):
    made = dict(num_options=3, gradient_form="advantage", deliberation_cost=0.25, first="terminate", initial=(0.2, 0.3, 0.5))
    oc.OptionCritic("CartPole-v1", **made, **SMALL).save(tmp_path)
    loaded = oc.OptionCritic.load(tmp_path)
    assert loaded.network["option"].cost == 0.25 and loaded.forms["termination"] == "difference"
    assert not loaded.network.may_retain("termination", start=True)  # first="terminate"
    np.testing.assert_allclose(loaded.network.initial("option"), made["initial"])
