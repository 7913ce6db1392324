"""The 70,000 MNIST digits."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.data._dataset import Dataset, Samples
from deepscope.data._source import RemoteFile, Source


def load(paths: tuple[Path, ...]) -> Dataset:
    """Return MNIST with its own split (60,000 and 10,000): inputs [n, 1, 28, 28] float32 in [0, 1], targets [n] int64.

    220 MB in memory.
    """
    train_images, train_labels, test_images, test_labels = (read_idx(path) for path in paths)
    return Dataset(
        name="mnist",
        train=_samples(train_images, train_labels),
        test=_samples(test_images, test_labels),
        classes=tuple("0123456789"),
        loss=F.cross_entropy,
    )


def read_idx(path: Path) -> Tensor:
    """Read a gzipped idx file of unsigned bytes.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each size as a big-endian
    32-bit integer, then the values, the last dimension fastest.

    Raises
    ------
    ValueError
        It is not such a file, or not as long as its sizes say.
    """
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an idx file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], dtype=">u4").astype(int)
    # bytearray: torch wants memory that it may write to.
    values = np.frombuffer(bytearray(content[start:]), dtype=np.uint8).reshape(shape)
    return torch.from_numpy(values)


def _samples(images: Tensor, labels: Tensor) -> Samples:
    return Samples(images.to(torch.float32).div_(255).unsqueeze(1), labels.to(torch.int64))


def _file(name: str, sha256: str) -> RemoteFile:
    address = f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz"
    return RemoteFile(path=f"mnist/{name}.gz", url=address, sha256=sha256, gzipped=True)


SOURCE = Source(
    name="mnist",
    title="70,000 handwritten digits, 28×28 grey (LeCun, Cortes & Burges)",
    licence="CC BY-SA 3.0",
    load=load,
    files=(
        _file("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        _file("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        _file("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        _file("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
)
