"""Sweeps on Ray: a cluster of its own, and one of two nodes, one of which is lost."""

import csv
import os
import threading
import time

import pytest
import stand_in

from optioncoagent.cli import Train
from optioncoagent.runs import specification, sweep
from optioncoagent.runs.trial import COMMAND

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own warnings are not ours
ray = pytest.importorskip("ray")
NODE = {"num_cpus": 1}


def untimed(path):
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in csv.DictReader(file)]


def tables(chosen, folder):
    sweep.gather(chosen, folder)
    return [untimed(folder / name) for name in ("trials.csv", "results.csv")]


def test_a_cluster_of_its_own(tmp_path):
    chosen = specification.check({"tasks": ["CartPole-v1"], "seeds": 4, "threshold": 0.3}, Train)
    (tmp_path / "ray" / "CartPole-v1" / "default").mkdir(parents=True)
    (tmp_path / "ray" / "CartPole-v1" / "default" / "2.breaks").touch()
    for backend in ("ray", "pool"):
        settings = {"workers": 2, "backend": backend, "progress_bar": False, "command": stand_in.command()}
        assert sweep.run_sweep(chosen, tmp_path / backend, **settings) == {}
    assert tables(chosen, tmp_path / "ray") == tables(chosen, tmp_path / "pool")
    assert not ray.is_initialized()


@pytest.fixture
def cluster(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def alive(log):
    """Is the stand-in that writes here still there?"""
    try:
        os.kill(int(log.read_text().rpartition("process ")[2]), 0)
    except ProcessLookupError:
        return False
    return True


REAL = {
    "tasks": ["MiniGrid-Empty-5x5-v0", "MiniGrid-DoorKey-5x5-v0"],
    "total_timesteps": 3_200,
    "num_envs": 4,
    "num_steps": 16,
    "hidden_sizes": [16],
    "update_epochs": 1,
    "num_minibatches": 1,
    "eval_episodes": 5,
    "checkpoint_seconds": 0.1,
}
STAND_IN = {"tasks": ["CartPole-v1", "Acrobot-v1"], "total_timesteps": 384}


@pytest.mark.parametrize(("content", "command"), [(STAND_IN, stand_in.command()), (REAL, COMMAND)], ids=["stand-in", "real"])
def test_a_node_that_is_lost_loses_nothing(tmp_path, cluster, content, command):
    lost = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    chosen = specification.check({"seeds": 2, "threshold": 0.3, **content}, Train)
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    assert sweep.run_sweep(chosen, whole, workers=2, backend="pool", progress_bar=False, command=command) == {}
    runs = [disturbed / trial.name for trial in chosen.trials]
    waiting = [run.with_name(f"{run.name}.waits") for run in runs[:2]]  # what the stand-in looks at
    for path in waiting:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    under_way = threading.Event()

    def kill():
        """Lose a node once both have a trial under way."""
        while sum(0 < sweep.last_timestep(run) < chosen.trials[0].total_timesteps for run in runs) < 2:
            time.sleep(0.05)
        under_way.set()
        cluster.remove_node(lost, allow_graceful=False)
        while command is not COMMAND and all(map(alive, disturbed.rglob("*.log"))):
            time.sleep(0.05)
        for path in waiting:
            path.unlink()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert sweep.run_sweep(chosen, disturbed, address=cluster.address, progress_bar=False, command=command) == {}
    assert under_way.is_set()
    thread.join()
    resumed = [run.with_name(f"{run.name}.log").read_text().count("# train --resume") for run in runs]
    assert sum(resumed) == 1 or command is COMMAND  # a real run may reach its end before Ray takes it away
    assert tables(chosen, whole) == tables(chosen, disturbed)
