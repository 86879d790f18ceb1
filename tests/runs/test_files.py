"""Files that are written whole or not at all, whichever call to the file system is the last."""

import errno
import os
from pathlib import Path

import pytest

from optioncoagent.agents import files
from optioncoagent.runs import folder

OLD, NEW = {"a": b"old", "b": b"old"}, {"a": b"new and longer", "b": b"new"}


class Killed(BaseException):
    """What a process does not come back from."""


def killed_at(monkeypatch, call):
    """Let the next calls to the file system happen, but for the one of this number, and none after it."""
    number = 0

    def guarded(module, name):
        function = getattr(module, name)

        def guard(*arguments, **more):
            nonlocal number
            number += 1
            if number > call:
                raise Killed
            return function(*arguments, **more)

        monkeypatch.setattr(module, name, guard)

    for module, name in ((files, "_write"), (os, "fsync"), (os, "rename"), (os, "replace"), (os, "rmdir"), (os, "unlink")):
        guarded(module, name)
    monkeypatch.setattr(files.shutil, "rmtree", lambda *arguments, **more: None)


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_has_all_new_files_or_none(tmp_path, existing):
    seen = set()
    for call in range(40):
        folder = tmp_path / str(call)
        if existing:
            files.write_into(folder, OLD)
            (folder / "mine").write_bytes(b"stays")
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed_at(monkeypatch, call)
            try:
                files.write_into(folder, NEW)
            except Killed:
                pass
            else:
                break
        found = {name: files.find(folder, name).read_bytes() for name in NEW if files.find(folder, name).exists()}
        assert found in ([OLD, NEW] if existing else [{}, NEW])
        seen.add(found.get("a"))
        files.write_into(folder, {"a": b"later", "b": b"later"})  # what was left behind is in nobody's way
        assert {path.name for path in folder.iterdir()} == ({"a", "b", "mine"} if existing else {"a", "b"})
        assert files.find(folder, "a").read_bytes() == b"later"
    assert seen == {OLD["a"] if existing else None, NEW["a"]} and 5 < call < 39
    assert not existing or (folder / "mine").read_bytes() == b"stays"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    files.write_file(tmp_path / "a", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_file(tmp_path / "a", b"new")
    with pytest.raises(OSError, match="No space"):
        files.write_folder(tmp_path / "folder", NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_sealed_json_knows_itself(tmp_path):
    path = tmp_path / "x.json"
    content = {"a": [1, 2.5, None], "b": {"c": "text"}}
    path.write_bytes(files.seal(content))
    assert files.unseal(path) == content
    for old, new, reason in (
        (b"2.5", b"2.6", "its content does not have its checksum"),
        (b'"format": 2', b'"format": 3', "newer version \\(format 3, this one reads up to 2"),
        (b'"format": 2,', b"", "does not have its checksum"),
        (b'"c"', b"c", "damaged"),
    ):
        path.write_bytes(files.seal(content).replace(old, new))
        with pytest.raises(ValueError, match=f"x.json.*{reason}"):
            files.unseal(path)
    for foreign in (b"[1, 2]", b"\xff\xfe", b"[" * 100_000, b""):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match="x.json is damaged"):
            files.unseal(path)
    path.write_bytes(b'{"a": 1}')  # as version 0.1.0 wrote it
    assert files.unseal(path) == {"a": 1}


def test_a_folder_that_another_process_makes_in_the_meantime(tmp_path, monkeypatch):
    """The next number is taken, and what somebody names is theirs."""
    check = folder.check_new

    def meanwhile(path):
        check(path)
        if path.name in ("run", "run-2"):
            path.mkdir(parents=True)
            (path / "config.json").write_text("theirs")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folder, "check_new", meanwhile)
    made = folder.new_folder(None, "run", {"a": 1})
    assert str(made) == "runs/run-3" and folder.read_config(made) == {"a": 1}
    files.shutil.rmtree("runs")
    with pytest.raises(FileExistsError, match="runs/run exists"):
        folder.new_folder(Path("runs/run"), "", {})
    assert Path("runs/run/config.json").read_text() == "theirs" and len([*Path("runs").iterdir()]) == 1


def test_distinct_folders_are_in_the_order_that_they_were_named_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder.distinct(["a", "b", "a/", tmp_path / "c", "b"]) == [Path("a"), Path("b"), tmp_path / "c"]


def test_a_folder_of_runs_stands_for_them(tmp_path):
    """Those that have begun, also behind a link; what lies in a run, or is hidden, is none."""

    def run(name, rows="timesteps\n64\n", config='{"command": {"env_id": "A"}}'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / folder.CONFIG).write_text(config)
        (tmp_path / name / "metrics.csv").write_text(rows)

    for name in ("task/b/0", "task/a/1", "task/a/0", "task/a/0/checkpoints/inner", "task/.b.partial", "elsewhere/2"):
        run(name)
    (tmp_path / "task" / "a" / "0.log").touch()
    (tmp_path / "task" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "task" / "c" / "round").symlink_to(tmp_path / "task")
    task = tmp_path / "task"
    assert folder.distinct([task]) == [task / name for name in ("a/0", "a/1", "b/0", "c/2")]
    assert folder.distinct([task / "a/1", task / "a"]) == [task / "a/1", task / "a/0"]
    run("half/0")
    for number, (rows, config) in enumerate((("timesteps\n", '{"command": {"env_id": "A"}}'), ("timesteps\n64\n", '{"model": 1}'))):
        run(f"half/{number}-no", rows, config)
    with pytest.warns(UserWarning, match="-no is left out: it is no run's, or has no rows yet") as told:
        assert folder.distinct([tmp_path / "half"]) == [tmp_path / "half" / "0"]
    assert len(told) == 2
    assert folder.distinct([tmp_path / "half" / "0-no"]) == [tmp_path / "half" / "0-no"]  # that was named: whoever reads it says what it is


def test_what_another_process_is_writing_stays(tmp_path, monkeypatch):
    write, other = files._write, []

    def both(path, data):
        if not other:
            other.append(path.parent)
            monkeypatch.setattr(os, "getpid", lambda: -1)
            files.write_folder(tmp_path / "run", {"a": b"theirs"})
        write(path, data)

    monkeypatch.setattr(files, "_write", both)
    with pytest.raises(OSError) as raised:
        files.write_folder(tmp_path / "run", {"a": b"ours"})
    assert raised.value.errno in (errno.ENOTEMPTY, errno.EEXIST)
    assert (tmp_path / "run" / "a").read_bytes() == b"theirs" and [path.name for path in tmp_path.iterdir()] == ["run"]
