"""Files that commands write: looked at before, and whole or not at all."""

import errno
import os

import pytest

from optioncoagent.outputs import whole


def test_what_is_there_stays_where_writing_fails(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"the one before")
    with pytest.raises(OSError, match="No space left on device") as raised, whole(path) as file:
        file.write_bytes(b"half of")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.filename == str(path) and path.read_bytes() == b"the one before" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "new.png") as file:
        file.write_bytes(b"half of")
        raise KeyboardInterrupt
    assert [x.name for x in tmp_path.iterdir()] == ["picture.png"]


def test_what_was_written_takes_its_place(tmp_path):
    """Through a link, too, which stays one; its name has the same ending, by which writers know what to write."""
    path, link = tmp_path / "a.csv", tmp_path / "link.csv"
    path.write_text("old")
    link.symlink_to(path)
    with whole(link) as file:
        assert file.suffix == ".csv" and file != path
        file.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and link.is_symlink() and len(list(tmp_path.iterdir())) == 2


def test_what_is_no_file_on_a_disk_is_written_to_itself(tmp_path):
    """A device, a pipe by its descriptor, and a stream that the shell has sent to a file, of which what is there stays."""
    with whole(os.devnull) as file:
        assert str(file) == os.devnull
    reading, writing = os.pipe()
    with whole(f"/dev/fd/{writing}") as file:
        file.write_text("through")
    os.close(writing)
    assert os.read(reading, 100) == b"through"
    os.close(reading)
    with (tmp_path / "log").open("w") as log, whole(f"/dev/fd/{log.fileno()}") as file:
        assert str(file) == f"/dev/fd/{log.fileno()}"


def test_the_rights_of_a_file_stay(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    path.chmod(0o600)
    with whole(path) as file:
        file.write_text("new")
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o600
