"""What `agent.learn(callback=)` is given ready-made."""

import csv
import functools
import json
import socket
import subprocess
import sys
import types

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from run_folders import RUN, events_of, rows_of, started, stopped_after
from small import SMALL, same
from toys import Toy, batch_of

import optioncoagent as oc
from optioncoagent import runs
from optioncoagent.agents.evaluation import Evaluation
from optioncoagent.agents.files import checkpoints, digest
from optioncoagent.agents.settings import Settings
from optioncoagent.runs import folder, training
from optioncoagent.runs.curves import group, read_curves


def rows(*returns, episodes=100):
    return [{"timesteps": 64.0 * (i + 1), "num_steps": 16, "return_mean": value, "episodes": episodes} for i, value in enumerate(returns)]


class Agent:
    """Remembers where it was saved."""

    num_envs = 4

    def __init__(self, episodes=100):
        self.saved, self.recent = [], [(1.0, 1)] * episodes

    def save(self, path, overwrite):
        assert overwrite
        self.saved.append(path.name)


def test_chain_calls_all_and_stops_if_one_says_so():
    called = []

    def says(answer):
        return lambda agent, row: called.append(answer) or answer

    assert runs.chain(says(None), says(True))(None, {}) is True
    assert runs.chain(says(False), says(None))(None, {}) is False
    assert called == [None, True, False, None]
    assert runs.chain(says(np.False_), says(None))(None, {}) is False and runs.chain(says(0))(None, {}) is True  # as `learn` takes them
    assert runs.chain(says(np.array([1, 2])))(None, {}) is True
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    assert agent.learn(10_000, callback=runs.chain(says(None), lambda agent, row: row["timesteps"] < 128)).num_timesteps == 128


def test_stop_at_return():
    stop, other = runs.stop_at_return(0.5), Agent()
    assert [stop(other, row) for row in rows(0.4, float("nan"), 0.5, 0.6)] == [True, True, False, False]
    assert stop(other, rows(0.9, episodes=99)[0]) and not runs.stop_at_return(0.5, episodes=10)(other, rows(0.9, episodes=10)[0])
    assert stop(None, rows(0.4)[0]) and not stop(None, rows(0.6)[0])
    assert stop(Agent(13), rows(0.9, episodes=172)[0])  # which goes on elsewhere: its mean is one of thirteen
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    assert agent.learn(100_000, callback=runs.stop_at_return(5.0, episodes=1)).num_timesteps < 1000


def test_keep_best_saves_only_what_is_better(tmp_path):
    agent, keep = Agent(), runs.KeepBest(tmp_path / "best")
    saved = []
    for row in rows(float("nan"), 0.1, 0.1, 0.3, 0.2):
        keep(agent, row)
        saved.append(len(agent.saved))
    assert saved == [0, 1, 1, 2, 2]
    keep(agent, rows(0.9, episodes=99)[0])
    assert len(agent.saved) == 2


def test_keep_best_of_a_training_that_goes_on_is_better_than_what_it_kept_before(tmp_path):
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    agent.learn(512, callback=runs.KeepBest(tmp_path / "best", episodes=1))
    kept = oc.OptionCritic.load(tmp_path / "best")
    best = np.mean([episode_return for episode_return, _ in kept.recent])
    later = [{"episodes": 500, "return_mean": best + more, "timesteps": 10_000, "num_steps": 16} for more in (-0.5, 0.5)]
    again = runs.KeepBest(tmp_path / "best", episodes=1)
    saves = Agent()
    for row in later:
        again(saves, row)
    assert again.best == best + 0.5 and len(saves.saved) == 1
    new = runs.KeepBest(tmp_path / "best", episodes=1)  # of another training, whose first steps these are
    new(saves, {"episodes": 2, "return_mean": best - 5, "timesteps": 1, "num_steps": 16})
    assert new.best == best - 5
    older = runs.KeepBest(tmp_path / "best", episodes=1)  # goes on from a checkpoint of before the best one
    older(saves, {"episodes": 2, "return_mean": best - 1, "timesteps": 128, "num_steps": 16})
    assert older.best == best
    oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).save(tmp_path / "fresh")  # no episode has ended, so that anything is better
    fresh = runs.KeepBest(tmp_path / "fresh", episodes=1)
    fresh(saves, later[0])
    assert fresh.best == best - 0.5


@pytest.mark.parametrize("every", [200, 190])
def test_evaluate_every_counts_steps_and_not_resets(every):
    """Where a reset is a step of its own, a rollout has fewer steps (48) than it has places (64): what was evaluated at 192, of 190, is not
    again at 240."""
    evaluate = runs.EvaluateEvery(every, 1, env=Toy())
    agent = oc.OptionCritic(batch_of(Toy, 4, AutoresetMode.NEXT_STEP), num_options=2, num_steps=16, num_minibatches=2)
    agent.learn(1_000, callback=evaluate)
    steps = [row["timesteps"] for row in evaluate.rows]
    assert len(steps) == 5 and all(every * k <= step < every * k + 64 for k, step in enumerate(steps, 1))


def test_evaluate_every(tmp_path):
    evaluate = runs.EvaluateEvery(100, 3, tmp_path / "new" / "evaluations.csv", tmp_path / "best", seed=7)
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(320, callback=evaluate)
    # rollouts of 64 steps: the first that reaches 100, 200, 300
    assert [row["timesteps"] for row in evaluate.rows] == [128, 256, 320]
    with (tmp_path / "new" / "evaluations.csv").open() as file:
        assert [{name: float(x) for name, x in row.items()} for row in csv.DictReader(file)] == evaluate.rows
    assert evaluate.rows[-1]["return_mean"] == agent.evaluate(3, seed=7).returns.mean()
    best = max(evaluate.rows, key=lambda row: row["return_mean"])
    kept = oc.OptionCritic.load(tmp_path / "best")
    assert kept.num_timesteps == best["timesteps"] and kept.evaluate(3, seed=7).returns.mean() == best["return_mean"]
    undisturbed = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(320)
    assert same(agent.module.state_dict(), undisturbed.module.state_dict())


def test_evaluations_after_the_checkpoint_are_written_again_not_twice(tmp_path):
    """And a file that is there and empty gets its head."""
    file = tmp_path / "evaluations.csv"
    file.touch()
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    agent.learn(128, callback=runs.EvaluateEvery(64, 2, file))
    agent.save(tmp_path / "kept")
    agent.learn(128, callback=runs.EvaluateEvery(64, 2, file))
    oc.OptionCritic.load(tmp_path / "kept").learn(192, callback=runs.EvaluateEvery(64, 2, file))
    with file.open() as rows:
        assert [float(row["timesteps"]) for row in csv.DictReader(rows)] == [64, 128, 192, 256, 320]


def test_evaluations_that_a_kill_has_cut_off_and_lines_of_others(tmp_path):
    file = tmp_path / "evaluations.csv"
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    agent.learn(64, callback=runs.EvaluateEvery(64, 2, file))
    with file.open("a") as more:
        more.write("\n# by hand\n6")
    agent.learn(64, callback=runs.EvaluateEvery(64, 2, file))
    steps = [line.partition(",")[0] for line in file.read_text().splitlines()]
    assert steps == ["timesteps", "64", "", "# by hand", "128"]


def test_of_two_that_are_as_good_the_first_is_kept(tmp_path):
    evaluate = runs.EvaluateEvery(64, 2, best=tmp_path / "best")
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    agent.evaluate = lambda *_, **__: Evaluation(np.ones(2), np.ones(2), np.zeros(2, bool))
    agent.learn(192, callback=evaluate)
    assert len(evaluate.rows) > 1 and json.loads((tmp_path / "best" / "evaluated.json").read_text()) == evaluate.rows[0]


def test_a_damaged_row_of_the_best_is_named(tmp_path):
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    agent.learn(64, callback=runs.EvaluateEvery(64, 2, best=tmp_path / "best"))
    before = (tmp_path / "best" / "agent.json").read_bytes()
    (tmp_path / "best" / "evaluated.json").write_text('{"timest')
    with pytest.raises(ValueError, match=r"evaluated\.json is damaged"):
        agent.learn(64, callback=runs.EvaluateEvery(64, 2, best=tmp_path / "best"))
    assert (tmp_path / "best" / "agent.json").read_bytes() == before


def test_evaluate_every_keeps_what_was_better_before_the_agent_went_on(tmp_path):
    class Agent:
        """Of which an evaluation is asked, and a copy saved."""

        num_envs, pays = 1, 5.0

        def evaluate(self, num_episodes):
            return Evaluation(np.full(num_episodes, self.pays), np.ones(num_episodes, int), np.zeros(num_episodes, bool))

        def save(self, path, overwrite):
            path.mkdir(exist_ok=True)
            (path / "pays").write_text(str(self.pays))

    def train(agent, steps):
        evaluate = runs.EvaluateEvery(10, 2, best=tmp_path / "best")
        for step in steps:
            evaluate(agent, {"timesteps": step, "num_steps": 10})
        return float((tmp_path / "best" / "pays").read_text())

    agent = Agent()
    assert train(agent, [10, 20]) == 5
    agent.pays = 0.0
    assert train(agent, [30, 40]) == 5  # goes on, worse
    assert train(agent, [20, 30]) == 5  # from a checkpoint of before the best one
    agent.pays = 6.0
    assert train(agent, [50]) == 6
    agent.pays = 1.0
    assert train(agent, [10]) == 1  # of another training, whose first steps these are


def test_a_recorder_writes_from_python_what_the_command_line_writes(tmp_path):
    whole = started(tmp_path / "run")
    settings = {**vars(RUN.settings)}
    with runs.Recorder(tmp_path / "mine", checkpoint_seconds=0) as record:
        oc.OptionCritic(RUN.env_id, **settings).learn(RUN.total_timesteps, callback=record)
    assert same(rows_of(tmp_path / "mine"), rows_of(whole)) and events_of(tmp_path / "mine") == events_of(whole)
    assert oc.OptionCritic.load(tmp_path / "mine").num_timesteps == RUN.total_timesteps
    with pytest.raises(FileExistsError, match="never overwritten"):
        runs.Recorder(tmp_path / "mine")
    (curve,) = read_curves([tmp_path / "mine"])
    assert curve.env_id == RUN.env_id and len(curve.columns["return_mean"]) == len(rows_of(whole)["return_mean"])
    with pytest.raises(ValueError, match="training from Python: go on with it there"):
        training.resume(str(tmp_path / "mine"))
    agent, record, _ = runs.checkpoints.newest(tmp_path / "mine", oc.OptionCritic.load)  # as the docstring says
    with runs.Recorder(tmp_path / "mine", ends=record.ends) as more:
        agent.learn(64, callback=more)
    assert rows_of(tmp_path / "mine")["timesteps"].tolist()[-1] == RUN.total_timesteps + 64


def test_an_agent_of_one_s_own_says_what_it_is(tmp_path):
    """`description` is what its class needs to make the network again."""

    class Mine(oc.CoagentActorCritic):
        def __init__(self, env, width=3, **settings):
            super().__init__(env, lambda n: oc.option_critic(width, n), **settings)
            self.description = {"width": width}

    with runs.Recorder(tmp_path / "mine") as record:
        Mine("CartPole-v1", **SMALL).learn(64, callback=record)
    command = folder.read_command(tmp_path / "mine")
    assert command["width"] == 3 and command["agent"].endswith("Mine") and "network" in command


def test_a_recorder_does_not_go_on_from_before_a_checkpoint_that_is_there(tmp_path):
    """Its rows would be cut off, and it would stand in the way of one that is to be written."""
    agent, folder = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL), tmp_path / "mine"
    with runs.Recorder(folder, checkpoint_seconds=0) as record:
        agent.learn(128, callback=record)
    new, old = checkpoints(folder)
    before = (folder / "metrics.csv").read_bytes()
    for ends in (runs.checkpoints.read_record(old).ends, {}):
        with pytest.raises(ValueError, match=f"{new.name} was written after what is to go on from here"):
            runs.Recorder(folder, ends=ends)
    assert (folder / "metrics.csv").read_bytes() == before and runs.checkpoints.newest(folder, oc.OptionCritic.load)[2] == []
    new.rename(tmp_path / new.name)
    rewound, record = oc.OptionCritic.load(old), runs.checkpoints.read_record(old)
    with runs.Recorder(folder, ends=record.ends) as more:
        rewound.learn(64, callback=more)
    assert rows_of(folder)["timesteps"].tolist() == [64, 128]


def test_a_run_goes_on_without_the_rows_that_were_moved_away(tmp_path):
    """As is advised where they are damaged: they are fewer bytes than older checkpoints stood at."""
    folder = tmp_path / "mine"
    with runs.Recorder(folder, checkpoint_seconds=0) as record:
        oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(256, callback=record)
    (folder / "metrics.csv").rename(tmp_path / "damaged.csv")
    for _ in range(2):
        agent, record, _ = runs.checkpoints.newest(folder, oc.OptionCritic.load)
        with runs.Recorder(folder, checkpoint_seconds=0, ends=record.ends) as more:
            agent.learn(64, callback=more)
    assert rows_of(folder)["timesteps"].tolist() == [320, 384]


def test_two_recorders_do_not_go_on_in_one_folder(tmp_path):
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    with runs.Recorder(tmp_path / "mine") as record:
        agent.learn(64, callback=record)
    ends = runs.checkpoints.newest(tmp_path / "mine", oc.OptionCritic.load)[1].ends
    with runs.Recorder(tmp_path / "mine", ends=ends), pytest.raises(OSError, match="is in use"):
        runs.Recorder(tmp_path / "mine", ends=ends)
    with runs.Recorder(tmp_path / "mine", ends=ends) as record:
        agent.learn(64, callback=record)
    assert rows_of(tmp_path / "mine")["timesteps"].tolist() == [64, 128]


def test_a_recorder_is_of_one_training(tmp_path):
    """The rows of another agent, which begins anew, are not written below, nor its checkpoints over those that are there."""
    one, other = (oc.OptionCritic("CartPole-v1", num_options=2, **SMALL, seed=seed) for seed in range(2))
    with runs.Recorder(tmp_path / "mine", checkpoint_seconds=0) as record:
        one.learn(128, callback=record)
        with pytest.raises(ValueError, match="has come to step 128; a row of step 64 is another training's"):
            other.learn(64, callback=record)
        one.learn(64, callback=record)
    assert rows_of(tmp_path / "mine")["timesteps"].tolist() == [64, 128, 192]
    assert oc.OptionCritic.load(tmp_path / "mine").settings.seed == 0
    with pytest.raises(ValueError, match="block of this Recorder has ended"):
        one.learn(64, callback=record)
    with runs.Recorder(tmp_path / "mine", ends=runs.checkpoints.newest(tmp_path / "mine", oc.OptionCritic.load)[1].ends) as record:
        with pytest.raises(ValueError, match="has come to step 192"):
            oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(64, callback=record)


def test_a_recorder_takes_a_folder_without_rows(tmp_path):
    """As one is left by a mistake before the first update."""
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    with pytest.raises(TypeError), runs.Recorder(tmp_path / "mine") as record:
        agent.learn(64, callbak=record)
    with runs.Recorder(tmp_path / "mine") as record:
        agent.learn(64, callback=record)
    assert rows_of(tmp_path / "mine")["timesteps"].tolist() == [64]


def test_recorded_runs_of_other_networks_and_forms_are_other_settings(tmp_path):
    sticky = oc.CoagentNetwork([oc.Coagent("action", 2, executes=functools.partial(lambda p, x: x.start | (p > 0), np.float32(0.5)))])
    plain = oc.CoagentNetwork([oc.Coagent("action", 2, executes=np.float32(1), cost=np.float32(0))])
    agents = [oc.OptionCritic("CartPole-v1", 2, form, **SMALL) for form in ("q_beta", "advantage")]
    agents += [
        oc.OptionCritic("CartPole-v1", 2, deliberation_cost=0.5, **SMALL),
        *(oc.CoagentActorCritic("CartPole-v1", n, **SMALL) for n in (sticky, plain)),
    ]
    for number, agent in enumerate(agents):
        with runs.Recorder(tmp_path / str(number)) as record:
            agent.learn(64, callback=record)
    settings = group(read_curves(sorted(tmp_path.iterdir())))["CartPole-v1"]
    assert [len(found) for found in settings.values()] == [1] * 5


def test_recorded_runs_on_objects_with_other_encoders_and_laws_are_not_of_one_kind(tmp_path):
    def tanh(width):
        return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh())

    first = dict(num_options=2, first="terminate")
    agents = [
        *(oc.OptionCritic(gym.make(name), num_options=2, **SMALL) for name in ("Acrobot-v1", "MountainCar-v0")),
        oc.OptionCritic(Toy(), num_options=2, **SMALL),
        *(oc.OptionCritic("CartPole-v1", num_options=2, encoder=tanh(width), **SMALL) for width in (2, 4)),
        *(oc.OptionCritic("CartPole-v1", initial=law, **first, **SMALL) for law in (None, [0.9, 0.1], np.array([0.5, 0.5]))),
    ]
    for number, agent in enumerate(agents):
        with runs.Recorder(tmp_path / str(number)) as record:
            agent.learn(64, callback=record)
    groups = group(read_curves(sorted(tmp_path.iterdir())))
    assert {task: len(settings) for task, settings in groups.items()} == {
        "Acrobot-v1, an object": 1, "MountainCar-v0, an object": 1, "Toy, an object": 1, "CartPole-v1": 5,
    }  # fmt: skip


def test_networks_are_told_apart_by_all_that_describes_them(tmp_path):
    """What a policy reads, what an execution function says, whatever its name, and what it closes over if it looks at the state."""

    def clock(k):
        return lambda x: x.start | (x.upstream["clock"] < k)

    def far(limit):
        return lambda x: x.state[:, 0] > limit

    def network(upstream=("option",), executes=0.2):
        option = oc.Coagent("option", 3, executes=executes)
        return oc.CoagentNetwork([oc.Coagent("clock", 4), option, oc.Coagent("action", 2, upstream=upstream)])

    made = [network(), network(()), *(network(executes=gate) for gate in (clock(1), clock(3), far(0.1), far(0.5)))]
    for number, one in enumerate([*made, network(executes=clock(1))]):
        with runs.Recorder(tmp_path / str(number)) as record:
            oc.CoagentActorCritic("CartPole-v1", one, **SMALL | {"seed": number}).learn(64, callback=record)
    assert sorted(len(found) for found in group(read_curves([tmp_path]))["CartPole-v1"].values()) == [1, 1, 1, 1, 1, 2]


def test_an_option_critic_is_of_one_setting_whether_python_or_the_command_trains_it(tmp_path, monkeypatch):
    for number, options in enumerate((2, (2,), (2, 3))):
        with runs.Recorder(tmp_path / f"python{number}") as record:
            agent = oc.OptionCritic("CartPole-v1", num_options=options, deliberation_cost=0, **SMALL | {"seed": number})
            agent.learn(64, callback=record)
    started(tmp_path / "command", env_id="CartPole-v1", num_options=(2,), total_timesteps=64, settings=Settings(**SMALL | {"seed": 5}))
    groups = group(read_curves([tmp_path]))["CartPole-v1"]
    assert {label: len(found) for label, found in groups.items()} == {"num_options=2": 3, "num_options=2,3": 1}
    with pytest.raises(ValueError, match="is a training from Python"):
        training.read_run(tmp_path / "python0")


def test_two_runs_of_one_seed_are_told(tmp_path):
    for name in "ab":
        with runs.Recorder(tmp_path / name) as record:
            oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(64, callback=record)
    with pytest.warns(UserWarning, match=r"/a and .*/b are of one task, setting and seed \(0\): it counts twice"):
        read_curves([tmp_path / "a", tmp_path / "b"])


def test_a_run_that_came_to_nothing_is_begun_again_with_other_settings(tmp_path):
    """What is written of it is of those that it has now; what a command wrote stays."""
    for rate in (0.1, 0.2):
        agent = oc.OptionCritic("CartPole-v1", num_options=2, learning_rate=rate, **SMALL)
        with pytest.raises(KeyError), runs.Recorder(tmp_path / "mine", ends={}) as record:
            agent.learn(64, callback=runs.chain(record, lambda agent, row: row["nothing"]))
        assert folder.read_command(tmp_path / "mine")["settings"]["learning_rate"] == rate
    folder.new_folder(tmp_path / "theirs", "", {"command": {"env_id": "theirs"}})
    with runs.Recorder(tmp_path / "theirs") as record:
        agent.learn(64, callback=record)
    assert folder.read_command(tmp_path / "theirs") == {"env_id": "theirs"}
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "config.json").write_text('{"lr": 1}')
    with runs.Recorder(tmp_path / "others") as record:
        agent.learn(64, callback=record)
    assert (tmp_path / "others" / "config.json").read_text() == '{"lr": 1}'


def test_checkpoints_of_another_training_are_no_folder_to_begin_in(tmp_path):
    with runs.Recorder(tmp_path / "mine", checkpoint_seconds=0) as record:
        oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(64, callback=record)
    (tmp_path / "mine" / "metrics.csv").unlink()
    with pytest.raises(FileExistsError, match="step-000000000064 exists, and a run is never overwritten"):
        runs.Recorder(tmp_path / "mine")


def test_an_agent_is_not_saved_into_the_folder_of_a_run(tmp_path):
    """It would be taken for the run's, whatever the run comes to later."""
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL)
    keep = runs.KeepBest(tmp_path / "mine", episodes=1)
    with pytest.raises(FileExistsError, match="mine is the folder of a run"), runs.Recorder(tmp_path / "mine") as record:
        agent.learn(6400, callback=runs.chain(record, keep))
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="choose another, such as .*best"):
            agent.save(tmp_path / "mine", overwrite)


def test_events_of_others_stay(tmp_path):
    (tmp_path / "mine").mkdir()
    theirs = tmp_path / "mine" / "events.out.tfevents.1700000000.host.1234.0"
    theirs.write_bytes(b"theirs")
    (tmp_path / "mine" / f"events.out.tfevents.1700000000.{socket.gethostname()}").touch()  # of a version before, of which nothing was kept
    for steps in (128, 192):
        with runs.Recorder(tmp_path / "mine", ends={}) as record:  # of the first there is no checkpoint
            agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(steps - 64, callback=record)
            record.unwritten = None
    assert agent.num_timesteps == 128 and theirs.read_bytes() == b"theirs"
    assert len(list((tmp_path / "mine").glob("events*"))) == 2


def test_a_recorder_keeps_the_last_good_checkpoint(tmp_path):
    """An exception in the middle of an update: what the agent then is, is not kept."""

    def breaks(agent, row):
        if row["timesteps"] == 128:
            agent.losses = lambda batch, read: next(iter(agent.module.parameters())).flatten() * float("nan")

    with pytest.raises(ValueError, match="finite"), runs.Recorder(tmp_path / "mine", checkpoint_seconds=0) as record:
        oc.OptionCritic(RUN.env_id, **vars(RUN.settings)).learn(512, callback=runs.chain(record, breaks))
    assert oc.OptionCritic.load(tmp_path / "mine").num_timesteps == 128 and rows_of(tmp_path / "mine")["timesteps"].tolist() == [64, 128]


@pytest.fixture
def wandb(monkeypatch):
    """What of Weights & Biases is used, writing down its calls."""
    calls = []

    class Run:
        def __init__(self, **kwargs):
            calls.append(("init", kwargs))

        def define_metric(self, name, step_metric):
            calls.append(("define_metric", name, step_metric))

        def log(self, row):
            calls.append(("log", row))

        def finish(self):
            calls.append(("finish",))

    module = types.ModuleType("wandb")
    module.init = Run
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


def test_track(wandb, monkeypatch, tmp_path):
    stopped_after(monkeypatch, 3)
    folder = started(tmp_path / "run", track=True, wandb_project_name="mine")
    training.resume(folder)
    first, second = (call[1] for call in wandb if call[0] == "init")
    assert first == second and first["project"] == "mine" and first["resume"] == "allow" and first["config"]["env_id"] == RUN.env_id
    assert first["id"] == digest((folder / "config.json").read_bytes())[:16]
    logged = [call[1] for call in wandb if call[0] == "log"]
    assert [row["timesteps"] for row in logged] == rows_of(folder)["timesteps"].tolist()
    assert all(value == value for row in logged for value in row.values()) and wandb[-1] == ("finish",)


def test_a_failure_of_weights_and_biases_costs_no_training(wandb, monkeypatch, tmp_path):
    log = sys.modules["wandb"].init.log

    def fails(self, row):
        if row["timesteps"] > 100:
            raise ConnectionError("no server")
        log(self, row)

    monkeypatch.setattr(sys.modules["wandb"].init, "log", fails)
    with pytest.warns(UserWarning, match="training goes on without: no server") as warned:
        folder = started(tmp_path / "run", track=True)
    assert len(warned) == 1 and len([call for call in wandb if call[0] == "log"]) == 1
    assert rows_of(folder)["timesteps"][-1] >= RUN.total_timesteps


def test_a_failure_of_weights_and_biases_in_the_end_costs_no_checkpoint(wandb, monkeypatch, tmp_path):
    def fails(self):
        raise ConnectionError("no server")

    monkeypatch.setattr(sys.modules["wandb"].init, "finish", fails)
    with pytest.warns(UserWarning, match="may lack the last rows: no server"):
        folder = started(tmp_path / "run", track=True)
    assert checkpoints(folder) and (folder / "evaluation.json").exists()


def test_where_tracking_cannot_begin_it_is_said_what_to_do(wandb, monkeypatch, tmp_path, capsys):
    module = sys.modules["wandb"]
    module.Error = type("Error", (Exception,), {})
    init = module.init

    def refuses(**kwargs):
        raise module.Error("No API key")

    module.init = refuses
    with pytest.raises(ValueError, match="No API key.*WANDB_MODE=offline") as raised:
        started(tmp_path / "run", track=True)
    again = f"the same settings again: optioncoagent train --resume {tmp_path / 'run'}; others need another folder"
    assert raised.value.__notes__ == [f"there is no checkpoint yet; {again}"]
    module.init = init
    assert training.resume(tmp_path / "run")


def test_track_without_wandb_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install .optioncoagent\[track\]"):
        started(tmp_path / "run", track=True)
    assert not (tmp_path / "run").exists()


def test_nothing_of_it_is_loaded_by_those_who_do_not_use_it():
    """Neither by `import optioncoagent` nor, but for the settings of a run, by the command line before a command runs."""
    for module, room in (("optioncoagent", "optioncoagent.runs"), ("optioncoagent.cli", "optioncoagent.runs.curves")):
        unwanted = (room, "torch", "matplotlib", "PIL", "scipy", "wandb", "tensorboard")
        code = f"import sys, {module}; print([m for m in sys.modules if m.startswith({unwanted})])"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_error_of_an_evaluation_is_that_of_the_mean():
    class Agent:
        num_envs, recent = 1, []

        def evaluate(self, n):
            from optioncoagent.agents.evaluation import Evaluation

            return Evaluation(np.array([1.0, 3.0, 5.0]), np.ones(3, int), np.zeros(3, bool))

    evaluate = runs.EvaluateEvery(10, 3)
    evaluate(Agent(), {"timesteps": 10, "num_steps": 10})
    assert evaluate.rows[0]["return_error"] == pytest.approx(2 / np.sqrt(3))


def test_evaluate_every_counts_the_first_update_of_an_agent_that_goes_on():
    """An agent that goes on from step 192 in rollouts of 64 passes 200 in its first update."""
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(192)
    evaluate = runs.EvaluateEvery(200, 1)
    agent.learn(64, callback=evaluate)
    assert [row["timesteps"] for row in evaluate.rows] == [256]


def test_evaluate_every_waits_for_the_next_step_of_an_agent_that_goes_on():
    agent = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL).learn(256)
    evaluate = runs.EvaluateEvery(200, 1)
    agent.learn(64, callback=evaluate)  # from 256 to 320
    assert evaluate.rows == []
    agent.learn(128, callback=evaluate)
    assert [row["timesteps"] for row in evaluate.rows] == [448]
