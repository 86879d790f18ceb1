"""Whatever lies in a folder, reading it runs none of it."""

import io
import pickle
import shutil
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
from run_folders import started

import optioncoagent as oc
from optioncoagent.agents import files
from optioncoagent.runs import training


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def pickled(mark):
    return pickle.dumps(Bomb(mark))


def torch_archive(mark):
    stream = io.BytesIO()
    torch.save({"weights": Bomb(mark)}, stream)
    return stream.getvalue()


def numpy_archive(mark):
    stream = io.BytesIO()
    np.savez(stream, weights=np.array([Bomb(mark)], dtype=object))
    return stream.getvalue()


def zip_that_climbs(mark):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"../../../../../../../../..{mark}", "climbed out")
    return stream.getvalue()


def endless_header(mark):
    return struct.pack("<Q", 1 << 60) + b"{}"


def header_outside(mark):
    header = b'{"a":{"dtype":"F32","shape":[1073741824,1073741824],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + bytes(4)


def header_pickle(mark):
    header = b'{"a":{"dtype":"O","shape":[1],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + bytes(4)


CRAFTED = [pickled, torch_archive, numpy_archive, zip_that_climbs, endless_header, header_outside, header_pickle]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return started(tmp_path_factory.mktemp("a") / "run", total_timesteps=64)


@pytest.mark.parametrize("crafted", CRAFTED)
@pytest.mark.parametrize("name", ["agent.json", "weights.safetensors", "optimizer.safetensors", "progress.safetensors", "run.json"])
def test_crafted_files_are_refused(tmp_path, run, crafted, name):
    """With the checksums of what was put in, so that nothing but the reading itself stands in the way."""
    folder, mark = tmp_path / "run", tmp_path / "mark"
    shutil.copytree(run, folder)
    last = files.checkpoints(folder)[0]
    data = crafted(mark)
    (last / name).write_bytes(data)
    if name.endswith("safetensors"):
        content = files.unseal(last / "agent.json")
        content["checksums"][name] = files.digest(data)
        (last / "agent.json").write_bytes(files.seal(content))
    (folder / "evaluation.json").unlink()
    reads = [lambda: oc.OptionCritic.load(last), lambda: oc.OptionCritic.load(folder)] if name != "run.json" else []
    for read in [*reads, lambda: training.resume(folder)]:
        with pytest.raises(ValueError, match=name):
            read()
    assert not mark.exists()


def test_pickles_in_config(tmp_path, run):
    folder, mark = tmp_path / "run", tmp_path / "mark"
    shutil.copytree(run, folder)
    (folder / "config.json").write_bytes(pickled(mark))
    with pytest.raises(ValueError, match="config.json is damaged"):
        training.resume(folder)
    assert not mark.exists()


def test_an_id_that_names_a_module_imports_nothing(tmp_path, run, monkeypatch):
    (tmp_path / "module_of_another.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    last = files.checkpoints(folder)[0]
    content = files.unseal(last / "agent.json")
    content["interface"]["env_id"] = "module_of_another:Any-v0"
    (last / "agent.json").write_bytes(files.seal(content))
    agent = oc.OptionCritic.load(last)
    assert agent.interface.env_id == "module_of_another:Any-v0"
    assert "module_of_another" not in sys.modules and not (tmp_path / "mark").exists()
