"""Files that would run code if they were unpickled: the code plants a file, and the file must not appear."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from deepscope.core import TargetError
from deepscope.subject._checkpoint import read_checkpoint

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, planted):
        self.planted = str(planted)

    def __reduce__(self):
        return open, (self.planted, "w")


def zip_archive(path, bomb):
    torch.save({"w": torch.ones(2), "x": bomb}, path)


def legacy(path, bomb):
    torch.save({"w": torch.ones(2), "x": bomb}, path, _use_new_zipfile_serialization=False)


def legacy_where_the_version_stands(path, bomb):
    path.write_bytes(pickle.dumps(MAGIC, 2) + pickle.dumps(bomb, 2))


def plain_pickle(path, bomb):
    path.write_bytes(pickle.dumps({"w": bomb}))


def old_plain_pickle(path, bomb):
    path.write_bytes(pickle.dumps(bomb, 0))


def object_array(path, bomb):
    with path.open("wb") as stream:
        np.savez(stream, w=np.ones(3), x=np.array([bomb], dtype=object))


def compressed_object_array(path, bomb):
    with path.open("wb") as stream:
        np.savez_compressed(stream, x=np.array([bomb], dtype=object))


def named_safetensors(path, bomb):
    path.write_bytes(pickle.dumps(bomb))
    path.rename(path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def state_of_a_tensor(path, bomb):
    tensor = torch.nn.Parameter(torch.ones(2))
    tensor.hidden = bomb
    torch.save({"w": tensor}, path)


def deep_in_the_optimiser(path, bomb):
    torch.save({"model": {"w": torch.ones(2)}, "optimizer": {"state": {0: [bomb]}, "param_groups": []}}, path)


def sharded(path, bomb):
    zip_archive(path.with_name("shard.bin"), bomb)
    index = path.with_name("m.bin.index.json")
    index.write_text(json.dumps({"weight_map": {"w": "shard.bin"}}))
    return index


def torchscript_with_a_pickle(path, bomb):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps(bomb))
        archive.writestr("m/constants.pkl", pickle.dumps(bomb))
        archive.writestr("m/version", "3")


WAYS = [zip_archive, legacy, legacy_where_the_version_stands, plain_pickle, old_plain_pickle, object_array,
        compressed_object_array, named_safetensors, state_of_a_tensor, deep_in_the_optimiser, sharded,
        torchscript_with_a_pickle]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_pickled_code_is_run(tmp_path, monkeypatch, way):
    # The variable with which torch can be told to trust every file.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    planted = tmp_path / "planted"
    target = way(tmp_path / "m.pt", Bomb(planted)) or tmp_path / "m.pt"
    with pytest.raises(TargetError) as caught:
        read_checkpoint(target)
    assert not planted.exists()
    assert caught.value.todo
    assert str(caught.value).count("\n") == 1


def test_the_planted_code_would_run_elsewhere(tmp_path):
    zip_archive(tmp_path / "m.pt", Bomb(tmp_path / "planted"))
    torch.load(tmp_path / "m.pt", weights_only=False)["x"].close()
    assert (tmp_path / "planted").exists()


@pytest.mark.parametrize("way", [zip_archive, legacy])
def test_the_refusal_names_what_the_file_needs_and_how_to_convert_it(tmp_path, way):
    way(tmp_path / "m.pt", Bomb(tmp_path / "planted"))
    with pytest.raises(TargetError) as caught:
        read_checkpoint(tmp_path / "m.pt")
    assert "open" in caught.value.what
    assert "never" in caught.value.what
    assert "state_dict()" in caught.value.todo


@pytest.mark.parametrize("way", [object_array, compressed_object_array])
def test_the_refusal_of_an_object_array_says_so(tmp_path, way):
    way(tmp_path / "m.npz", Bomb(tmp_path / "planted"))
    with pytest.raises(TargetError, match="array 'x' holds Python objects"):
        read_checkpoint(tmp_path / "m.npz")


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.filterwarnings("ignore::torch.serialization.SourceChangeWarning")
def test_a_whole_pickled_model_is_refused(tmp_path, new):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "m.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(TargetError, match=r"torch\.nn\.modules\.container\.Sequential") as caught:
        read_checkpoint(tmp_path / "m.pt")
    assert "state_dict()" in caught.value.todo


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_torchscript_archive_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "m.pt"))
    with pytest.raises(TargetError, match="TorchScript") as caught:
        read_checkpoint(Path(tmp_path / "m.pt"))
    assert "torch.jit.load" in caught.value.todo
