"""Which checkpoints are kept, and which one is found."""

import json
import shutil

import pytest
from run_folders import RUN, rows_of, started
from small import same

import optioncoagent as oc
from optioncoagent.agents import files
from optioncoagent.runs import checkpoints, training


class Agent:
    """Saves a number."""

    def __init__(self, number, episodes=100):
        self.number, self.recent = number, [(0.0, 1)] * min(episodes, 100)

    def save(self, folder):
        files.write_folder(folder, {"agent.json": files.seal({"number": self.number})})


def write(folder, step, return_mean, episodes=100):
    checkpoints.write(
        folder, Agent(step, episodes), {"timesteps": float(step), "episodes": episodes, "return_mean": return_mean}, {"x": [step, ""]}
    )


def kept(folder):
    return [int(path.name.removeprefix("step-")) for path in files.checkpoints(folder)]


def test_the_last_three_and_the_best_are_kept(tmp_path):
    nan = float("nan")
    for step, return_mean, episodes in ((1, nan, 0), (2, 0.9, 10), (3, 0.5, 200), (4, 0.7, 300), (5, 0.1, 400), (6, 0.2, 500)):
        write(tmp_path, step, return_mean, episodes)
    assert kept(tmp_path) == [6, 5, 4] and checkpoints.best(tmp_path).name.endswith("04")
    for step in (7, 8, 9):
        write(tmp_path, step, 0.3)
    assert kept(tmp_path) == [9, 8, 7, 4]
    assert checkpoints.read_record(checkpoints.best(tmp_path)).return_mean == 0.7
    write(tmp_path, 10, 0.7)  # as good, and later
    assert kept(tmp_path) == [10, 9, 8]
    assert all(path.name.startswith("step-") for path in (tmp_path / "checkpoints").iterdir())


def test_a_mean_of_few_episodes_is_not_the_best(tmp_path):
    """As of an agent that goes on in another environment, whose count of episodes goes on too."""
    for step, return_mean, seen in ((1, 0.9, 10), (2, 0.5, 100), (3, 0.4, 100)):
        checkpoints.write(
            tmp_path, Agent(step, seen), {"timesteps": step, "episodes": 500 + step, "return_mean": return_mean}, {"x": [step, ""]}
        )
    assert checkpoints.best(tmp_path).name.endswith("02")


def test_what_a_killed_process_left_is_removed(tmp_path):
    write(tmp_path, 1, 0.0)
    for left in (
        ".step-000000000002",
        "..step-000000000002.123.partial",
        ".step-000000000001.old",
    ):  # in a write, in its save, in a removal
        (tmp_path / "checkpoints" / left).mkdir()
    assert kept(tmp_path) == [1]
    write(tmp_path, 2, 0.0)
    assert kept(tmp_path) == [2, 1] and len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_who_looks_removes_nothing(tmp_path):
    """Another process may be writing there."""
    write(tmp_path, 1, 0.0)
    (tmp_path / "checkpoints" / ".step-000000000002").mkdir()
    assert checkpoints.newest(tmp_path, lambda path: path)[0].name.endswith("01")
    assert (tmp_path / "checkpoints" / ".step-000000000002").is_dir()


def test_copies_of_the_user_s_are_left_alone(tmp_path):
    """Under names of their own they are no checkpoints: not counted, not read, not removed; nor are hidden folders of others."""
    for step in (1, 2, 3):
        write(tmp_path, step, 0.0)
    mine = {"step-000000000001-backup", "step-000000000003 (copy)", ".mine"}
    for name in mine:
        (tmp_path / "checkpoints" / name).mkdir()
    (tmp_path / "checkpoints" / "step-000000000001.tar.gz").write_bytes(b"x")
    for step in (4, 5):
        write(tmp_path, step, 0.0)
    assert kept(tmp_path) == [5, 4, 3]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} >= mine | {"step-000000000001.tar.gz"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return started(tmp_path_factory.mktemp("a") / "run")


def test_what_is_no_longer_kept_is_removed_when_a_run_goes_on(tmp_path, run):
    """By a process that was killed between writing a checkpoint and removing the fourth last."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    shutil.copytree(folder / "checkpoints" / "step-000000000512", folder / "checkpoints" / "step-000000000001")
    training.resume(folder)
    assert kept(folder) == kept(run)


def spoiled_bit(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    return "weights.safetensors is damaged"


def spoiled_cut(folder):
    (folder / "optimizer.safetensors").write_bytes((folder / "optimizer.safetensors").read_bytes()[:100])
    return "optimizer.safetensors is damaged"


def spoiled_missing(folder):
    (folder / "progress.safetensors").unlink()
    return "progress.safetensors"


def spoiled_record(folder):
    (folder / "run.json").write_bytes(b"")
    return "run.json is damaged"


def spoiled_newer(folder):
    content = json.loads((folder / "agent.json").read_text())
    (folder / "agent.json").write_text(json.dumps({**content, "format": 3}))
    return "agent.json was written by a newer version"


def spoiled_foreign(folder):
    (folder / "agent.json").write_text('{"name": "another program"}')
    return "agent.json is damaged, or another program's"


SPOILED = [spoiled_bit, spoiled_cut, spoiled_missing, spoiled_record, spoiled_newer, spoiled_foreign]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_spoiled_checkpoint_is_refused_and_the_one_before_used(tmp_path, run, spoil, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    newest, previous = files.checkpoints(folder)[:2]
    expected = oc.OptionCritic.load(previous).module.state_dict()
    reason = spoil(newest)
    if spoil is not spoiled_record:  # which only a run that goes on reads
        with pytest.raises((ValueError, OSError), match=reason):
            oc.OptionCritic.load(newest)
        with pytest.warns(UserWarning, match=f"{reason}.*{previous.name} is read in its place"):
            loaded = oc.OptionCritic.load(folder)
        assert same(loaded.module.state_dict(), expected)
    capsys.readouterr()
    (folder / "evaluation.json").unlink()
    assert training.resume(folder)
    told = capsys.readouterr().out
    assert "refused: " in told and reason in told and f"goes on from step {RUN.total_timesteps - 64}" in told
    assert same(rows_of(folder), rows_of(run))
    names = sorted(path.name for path in newest.parent.iterdir() if not path.name.startswith("step-"))
    assert names == [f"refused-{newest.name}"]
    assert same(oc.OptionCritic.load(folder).module.state_dict(), oc.OptionCritic.load(run).module.state_dict())


def test_where_none_is_intact_all_reasons_are_given(tmp_path, run):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    reasons = [spoil(path) for spoil, path in zip(SPOILED, files.checkpoints(folder), strict=False)]
    assert len(reasons) == 3
    for read in (oc.OptionCritic.load, training.resume):
        with pytest.raises(ValueError, match=".*".join(["no intact checkpoint", *reasons])):
            read(folder)


@pytest.mark.parametrize(("name", "reason"), [("metrics.csv", "bytes are not what was written"), ("config.json", "damaged")])
def test_other_files_of_a_run_that_are_spoiled_are_named(tmp_path, run, name, reason):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "evaluation.json").unlink()
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    with pytest.raises(ValueError, match=f"{name}.*{reason}"):
        training.resume(folder)


def test_a_run_does_not_go_on_with_the_settings_of_another(tmp_path, run):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "config.json").write_bytes((started(tmp_path / "other", total_timesteps=64) / "config.json").read_bytes())
    with pytest.raises(ValueError, match="config.json is not the one"):
        training.resume(folder)
