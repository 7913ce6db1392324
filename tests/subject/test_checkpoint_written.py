"""Checkpoints that are written while they are read: whole values of one version, or one clear error."""

import io
import os
import threading
import time

import numpy as np
import pytest
import safetensors.torch
import torch

from deepscope.core import TargetError
from deepscope.instruments import spectrum
from deepscope.lab import compare, examine, trajectory
from deepscope.subject import Subject, _checkpoint_file, read_checkpoint
from deepscope.subject._checkpoint_file import FileVersion, look

KINDS = ["safetensors", "torch", "legacy", "npz"]
NAMES = [f"layer.{index}.weight" for index in range(8)]


def content(kind, value):
    """A checkpoint's bytes: all values are the same, so that a mixture of two versions shows."""
    tensors = {name: torch.full((64, 64), float(value)) for name in NAMES}
    if kind == "safetensors":
        return safetensors.torch.save(tensors)
    stream = io.BytesIO()
    if kind == "npz":
        np.savez(stream, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        torch.save(tensors, stream, _use_new_zipfile_serialization=kind == "torch")
    return stream.getvalue()


class Writer(threading.Thread):
    """Writes one version over the other in place, piece by piece, until it is told to stop."""

    def __init__(self, path, versions):
        super().__init__(daemon=True)
        self.path, self.versions, self.stop, self.rounds = path, versions, threading.Event(), 0

    def run(self):
        while not self.stop.is_set():
            version = self.versions[self.rounds % 2]
            with self.path.open("r+b") as file:
                for start in range(0, len(version), 4096):
                    file.write(version[start : start + 4096])
                    file.flush()
            self.rounds += 1
            # Now and then it rests long enough for a file of this size to be listed and read.
            time.sleep(0.05 if self.rounds % 3 == 0 else 0.0)


def mixtures(path):
    """Read for a while, until both have happened; return how often it was one version, a mixture, and refused."""
    whole = mixed = refused = 0
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 0.3 or (not (whole and refused) and passed < 20):
        try:
            values = torch.cat([weight.read().flatten() for weight in read_checkpoint(path).weights])
        except TargetError:
            refused += 1
            continue
        is_one = bool((values == values[0]).all())
        whole, mixed = whole + is_one, mixed + (not is_one)
    return whole, mixed, refused


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_while_another_writes_is_of_one_version(tmp_path, kind):
    path, versions = tmp_path / "m", [content(kind, value) for value in (1, 2)]
    assert len(versions[0]) == len(versions[1])
    path.write_bytes(versions[0])
    writer = Writer(path, versions)
    writer.start()
    try:
        whole, mixed, refused = mixtures(path)
    finally:
        writer.stop.set()
        writer.join()
    assert mixed == 0
    assert refused > 0
    assert whole > 0


def test_without_its_check_a_reader_would_mix_versions(tmp_path, monkeypatch):
    path, versions = tmp_path / "m", [content("safetensors", value) for value in (1, 2)]
    path.write_bytes(versions[0])
    monkeypatch.setattr(FileVersion, "check", lambda *_: None)
    weights = read_checkpoint(path).weights
    first = weights[0].read()
    path.write_bytes(versions[1])
    assert not first.equal(weights[1].read())


def test_a_write_within_a_tick_of_the_clock_is_seen(tmp_path, monkeypatch):
    # A file system with the coarsest stamps: all writes of a tick have the same one.
    path = tmp_path / "m"
    path.write_bytes(b"one")
    began = time.time_ns()
    os.utime(path, ns=(began, began))
    version = look(path)
    assert time.time_ns() - began >= 10**7
    path.write_bytes(b"two")
    stamp = time.time_ns() // 10**7 * 10**7
    os.utime(path, ns=(stamp, stamp))
    with pytest.raises(TargetError, match="changed while being read"), version.open():
        pytest.fail("opened")
    # And while it waits.
    monkeypatch.setattr(_checkpoint_file.time, "sleep", lambda _: path.write_bytes(b"three"))
    os.utime(path)
    with pytest.raises(TargetError, match="changed while being read"):
        look(path)


def rewritten(path, kind):
    path.write_bytes(content(kind, 3))


def truncated(path, kind):
    del kind
    os.truncate(path, 1000)


def replaced(path, kind):
    beside = path.with_suffix(".tmp")
    beside.write_bytes(content(kind, 3))
    beside.replace(path)


def gone(path, kind):
    del kind
    path.unlink()


@pytest.mark.parametrize("change", [rewritten, truncated, replaced, gone])
@pytest.mark.parametrize("kind", KINDS)
def test_an_examination_stops_where_its_file_changes(tmp_path, kind, change):
    path = tmp_path / "m"
    path.write_bytes(content(kind, 1))
    told = []

    def progress(what, done):
        told.append(what)
        # After the announcement and the first tensors.
        if len(told) == 4:
            change(path, kind)

    with pytest.raises(TargetError) as caught:
        examine(path, instruments=["anatomy"], progress=progress)
    assert str(path) in str(caught.value)
    assert ("no such file" if change is gone else "changed while being read") in caught.value.what
    assert len(str(caught.value).splitlines()) == 2


def test_an_instrument_alone_stops_too(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(content("safetensors", 1))
    subject = Subject.from_checkpoint(path)
    rewritten(path, "safetensors")
    with pytest.raises(TargetError, match="changed while being read"):
        spectrum(subject)


def test_a_shard_that_changes_is_named(tmp_path):
    index = {"weight_map": {"a.weight": "1.safetensors", "b.weight": "2.safetensors"}}
    for name, shard in index["weight_map"].items():
        safetensors.torch.save_file({name: torch.ones(8, 8)}, tmp_path / shard)
    (tmp_path / "model.safetensors.index.json").write_text(str(index).replace("'", '"'))
    subject = Subject.from_checkpoint(tmp_path)
    safetensors.torch.save_file({"b.weight": torch.zeros(8, 8)}, tmp_path / "2.safetensors")
    first, second = subject.weights()
    assert first.read().equal(torch.ones(8, 8))
    with pytest.raises(TargetError, match=r"changed while being read.*2\.safetensors"):
        second.read()


@pytest.mark.parametrize("what", [lambda a, b: compare(a, b), lambda a, b: trajectory([a, b])])
def test_a_comparison_of_files_that_change_in_between_stops(tmp_path, what):
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(content("safetensors", 1))
    subjects = [Subject.from_checkpoint(path) for path in (one, other)]
    rewritten(other, "safetensors")
    with pytest.raises(TargetError, match=r"changed while being read.*other"):
        what(*subjects)
