"""Rollouts grow with the steps so far, unless their size is chosen; training goes on from a folder as if it had never stopped."""

import pytest
from small import same, without_times

import optioncoagent as oc
from optioncoagent.agents import sizes
from optioncoagent.agents.settings import Settings
from optioncoagent.agents.sizes import Size, next_size


@pytest.mark.parametrize(
    "num_timesteps, size",
    [
        (0, Size(32, 8, 8)),
        (262_143, Size(32, 8, 8)),  # the first number of which a 64th is 4,096, less one
        (262_144, Size(64, 8, 8)),
        (524_288, Size(128, 4, 8)),
        (1_048_575, Size(128, 4, 8)),
        (1_048_576, Size(256, 4, 16)),
        (10**9, Size(256, 4, 16)),
    ],
)
def test_rollouts_grow(num_timesteps, size):
    assert next_size(Settings(), 64, num_timesteps) == size


def test_as_many_steps_of_all_environments_together_whatever_their_number():
    assert [next_size(Settings(), n, 0).num_steps for n in (1, 16, 64, 256)] == [2048, 128, 32, 32]
    assert next_size(Settings(), 1024, 0) == Size(32, 4, 32)
    assert next_size(Settings(), 48, 10**6) == Size(170, 4, 8)


def test_what_is_chosen_stays():
    chosen = Settings(num_steps=128)
    assert {next_size(chosen, 16, n) for n in (0, 10**6, 10**9)} == {Size(128, 8, 8)}
    assert next_size(Settings(num_steps=64), 256, 0) == Size(64, 4, 16)
    assert next_size(Settings(update_epochs=1, num_minibatches=2), 64, 10**9) == Size(256, 1, 2)


def test_training_follows_and_resumes(monkeypatch, tmp_path):
    """With everything divided by 32: rollouts of 64 steps, then of 128 when 8,192 have been made."""
    monkeypatch.setattr(sizes, "SMALLEST", 64)
    monkeypatch.setattr(sizes, "LARGEST", 128)
    monkeypatch.setattr(sizes, "SHORTEST", 1)
    settings = dict(num_envs=4, update_epochs=1, num_minibatches=1, hidden_sizes=(8,), seed=3)
    agent, rows = oc.OptionCritic("MiniGrid-Empty-5x5-v0", **settings), []
    agent.learn(8_000).save(tmp_path / "kept")
    agent.learn(600, log=rows.append)
    assert [(row["timesteps"], row["num_steps"]) for row in rows] == [
        (8064, 16),
        (8128, 16),
        (8192, 16),
        (8320, 32),
        (8448, 32),
        (8576, 32),
        (8704, 32),
    ]
    resumed = oc.OptionCritic.load(tmp_path / "kept")
    again = []
    resumed.learn(600, log=again.append)
    assert all(same(without_times(ours), without_times(theirs)) for ours, theirs in zip(again, rows, strict=True))


def test_how_many_environments():
    numbers = [
        oc.OptionCritic(env, **settings).num_envs
        for env, settings in [("MiniGrid-Empty-5x5-v0", {}), ("CartPole-v1", {}), ("CartPole-v1", {"num_envs": 3})]
    ]
    assert numbers == [32, 16, 3]
