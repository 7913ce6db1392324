from __future__ import annotations

import gzip
import struct

import pytest
import torch

from deepscope.data.mnist import load, read_idx


def idx(*shape: int, values: bytes, kind: int = 8) -> bytes:
    return gzip.compress(struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + values)


def test_idx_files_are_read_last_dimension_fastest(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(idx(2, 1, 3, values=bytes([0, 1, 2, 3, 4, 255])))
    assert read_idx(path).tolist() == [[[0, 1, 2]], [[3, 4, 255]]]


def test_what_is_not_an_idx_file_of_bytes_is_refused(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(idx(2, values=bytes(8), kind=13))
    with pytest.raises(ValueError, match="not an idx file"):
        read_idx(path)
    path.write_bytes(idx(3, values=bytes(2)))
    with pytest.raises(ValueError, match="reshape"):
        read_idx(path)


def test_images_and_labels_take_their_places(tmp_path):
    contents = [idx(2, 2, 2, values=bytes([0, 51, 255, 0, 0, 0, 0, 102])), idx(2, values=bytes([7, 3])),
                idx(1, 2, 2, values=bytes([255] * 4)), idx(1, values=bytes([9]))]  # fmt: skip
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"{number}.gz")
        paths[-1].write_bytes(content)
    mnist = load(tuple(paths))
    # One division in float32: the nearest float32 to k / 255.
    expected = torch.tensor([[[[0, 51 / 255], [1, 0]]], [[[0, 0], [0, 102 / 255]]]])
    assert torch.equal(mnist.train.inputs, expected)
    assert mnist.train.targets.tolist() == [7, 3]
    assert torch.equal(mnist.test.inputs, torch.ones(1, 1, 2, 2))
    assert mnist.test.targets.tolist() == [9]


def test_the_real_files(real):
    mnist = real("mnist")
    assert mnist.train.inputs.shape == (60_000, 1, 28, 28)
    assert mnist.test.inputs.shape == (10_000, 1, 28, 28)
    assert mnist.train.inputs.dtype == torch.float32
    assert (mnist.train.inputs.min(), mnist.train.inputs.max()) == (0.0, 1.0)
    assert mnist.train.targets[:5].tolist() == [5, 0, 4, 1, 9]
    # The counts of the classes and the mean pixel that the literature states.
    assert torch.bincount(mnist.train.targets).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # fmt: skip
    assert mnist.train.inputs.mean().item() == pytest.approx(0.1307, abs=5e-5)
