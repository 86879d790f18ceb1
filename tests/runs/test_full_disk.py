"""A disk that takes no more stops a run with a clear message; what was written before is whole."""

import errno
import os
import subprocess

import pytest
from run_folders import RUN, rows_of, started
from small import same

import optioncoagent as oc
from optioncoagent.agents import files
from optioncoagent.runs import rows, training


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return started(tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize("call", ["fsync", "rename", "replace"])
def test_a_checkpoint_that_does_not_fit(monkeypatch, tmp_path, whole, call):
    folder = tmp_path / "run"
    write = training.checkpoints.write

    def third(run_folder, agent, row, ends):
        if agent.num_timesteps < 192:
            return write(run_folder, agent, row, ends)
        with monkeypatch.context() as patched:
            patched.setattr(os, call, full)
            write(run_folder, agent, row, ends)

    with monkeypatch.context() as patched:
        patched.setattr(training.checkpoints, "write", third)
        with pytest.raises(OSError, match="the disk is full.*free some space"):
            training.start(RUN, folder)
    assert [path.name[-3:] for path in sorted((folder / "checkpoints").iterdir())] == ["064", "128"]
    assert oc.OptionCritic.load(folder).num_timesteps == 128
    assert training.resume(folder) and same(rows_of(folder), rows_of(whole))


def test_a_row_that_does_not_fit(monkeypatch, tmp_path, whole):
    """Half of the row is written before the disk is full; it is taken back."""
    folder = tmp_path / "run"
    opened = rows.GrowingFile.__init__

    class Nearly:
        def __init__(self, raw):
            self.raw, self.left = raw, 5

        def write(self, data):
            self.left -= 1
            if self.left == 0:
                return self.raw.write(data[: len(data) // 2])
            return self.raw.write(data) if self.left > 0 else full()

        def __getattr__(self, name):
            return getattr(self.raw, name)

    def open_nearly(self, path, end=None):
        opened(self, path, end)
        if path.name == "metrics.csv":
            self.file = Nearly(self.file)

    with monkeypatch.context() as patched:
        patched.setattr(rows.GrowingFile, "__init__", open_nearly)
        with pytest.raises(OSError, match="the disk is full.*metrics.csv"):
            training.start(RUN, folder)
    assert rows_of(folder)["timesteps"].tolist() == [64, 128, 192, 256] and (folder / "metrics.csv").read_bytes().endswith(b"\n")
    assert oc.OptionCritic.load(folder).num_timesteps == 256
    assert training.resume(folder) and same(rows_of(folder), rows_of(whole))


def test_a_disk_with_room_for_two_checkpoints(tmp_path, whole):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this process may not mount a disk")
    try:
        one = sum(file.stat().st_size for file in files.checkpoints(whole)[0].iterdir())
        (disk / "fill").write_bytes(bytes(2 * 2**20 - 5 * one // 2))
        with pytest.raises(OSError, match="the disk is full"):
            training.start(RUN, disk / "run")
        last = files.checkpoints(disk / "run")[0]
        assert oc.OptionCritic.load(disk / "run").num_timesteps == int(last.name[-6:]) < 512
        (disk / "fill").unlink()
        assert training.resume(disk / "run") and same(rows_of(disk / "run"), rows_of(whole))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_another_error_is_raised_as_it_is(monkeypatch, tmp_path):
    def unreadable(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(training.checkpoints, "write", unreadable)
    with pytest.raises(PermissionError, match="Permission denied") as raised:
        training.start(RUN, tmp_path / "run")
    assert raised.value.__cause__ is None
