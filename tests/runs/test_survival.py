"""The short form of benchmarks/survival.py: runs are killed, files damaged; the long form is the same with more of both."""

import pytest
from run_folders import benchmark

survival = benchmark("survival")


def check(counts, at_random, in_checkpoints, damages):
    killed, damaged = counts
    assert killed["ended as the undisturbed run"] == at_random + in_checkpoints
    assert killed["killed in a checkpoint"] == in_checkpoints and killed["killed at a random moment"] == at_random
    assert sum(n for what, n in damaged.items() if what.startswith("damaged")) == damages
    assert damaged["an error that names the file"] > 0.9 * damages


def counted(tmp_path, at_random, in_checkpoints, damages):
    return survival.kills(at_random, in_checkpoints, tmp_path / "kills"), survival.damages(damages, tmp_path / "damages")


def test_killed_runs_end_alike_and_damage_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(survival, "RUN", survival.replace(survival.RUN, total_timesteps=512))
    check(counted(tmp_path, 1, 2, 100), 1, 2, 100)


@pytest.mark.slow
def test_fifty_killed_runs_and_ten_thousand_damages(tmp_path):
    check(counted(tmp_path, 30, 20, 10_000), 30, 20, 10_000)
