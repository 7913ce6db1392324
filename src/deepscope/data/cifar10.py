"""CIFAR-10: 60,000 small colour photographs of ten kinds of things."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import DataError
from deepscope.data._dataset import Dataset, Samples
from deepscope.data._source import RemoteFile, Source

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32


def load(paths: tuple[Path, ...]) -> Dataset:
    """Return CIFAR-10 with its own split (50,000 and 10,000 photographs).

    Inputs [n, 3, 32, 32] float32 in [0, 1], the channels red, green, blue; targets [n] int64. 740 MB in memory;
    decoding takes some ten seconds.

    Raises
    ------
    DataError
        pyarrow is not installed, or an image cannot be decoded.
    """
    train, test = (_samples(path) for path in paths)
    return Dataset(name="cifar10", train=train, test=test, classes=CLASSES, loss=F.cross_entropy)


def fault(path: Path, *, n_rows: int) -> str:
    """Say why a file cannot be a part of CIFAR-10: by its columns, rows, labels and image sizes; ``""`` if it can.

    The public files store the same photographs in other encodings and orders, so that no one checksum holds.
    """
    try:
        images, labels = _read(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        # pyarrow's errors derive from these, and a column of another type lacks the method asked for.
        return f"it is no table of images and labels ({str(error).splitlines()[0] if str(error) else error!r})"
    if len(labels) != n_rows:
        return f"it has {len(labels):,} rows instead of {n_rows:,}"
    counts = {label: int((labels == label).sum()) for label in range(len(CLASSES))}
    for label, count in counts.items():
        if count != n_rows // len(CLASSES):
            return f"it has {count:,} images with label {label} instead of {n_rows // len(CLASSES):,}"
    return next((wrong for row, image in enumerate(images) if (wrong := _image_fault(row, image))), "")


def _image_fault(row: int, image: bytes) -> str:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image)) as picture:
            size, mode = picture.size, picture.mode
    except (OSError, TypeError, Image.DecompressionBombError):
        return f"row {row} holds no image"
    if size != (SIDE, SIDE) or mode != "RGB":
        return f"the image in row {row} is {size[0]}×{size[1]} {mode} instead of {SIDE}×{SIDE} RGB"
    return ""


def _samples(path: Path) -> Samples:
    images, labels = _read(path)
    pixels = torch.empty(len(images), 3, SIDE, SIDE)
    for row, image in enumerate(images):
        try:
            pixels[row] = _decode(image)
        except (OSError, SyntaxError):  # Pillow's answers to damaged pixels
            raise DataError(
                f"the image in row {row} cannot be decoded", where=str(path), todo="Delete the file and fetch it again."
            ) from None
    return Samples(pixels.div_(255), labels)


def _decode(image: bytes) -> Tensor:
    from PIL import Image

    with Image.open(io.BytesIO(image)) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def _read(path: Path) -> tuple[list[bytes], Tensor]:
    table = _parquet().read_table(path, columns=["img", "label"])
    images = table.column("img").combine_chunks().field("bytes").to_pylist()
    return images, torch.tensor(table.column("label").to_pylist(), dtype=torch.int64)


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            "reading parquet files needs pyarrow, which is not installed",
            where="cifar10",
            todo='Run: pip install "deepscope[data]"',
        ) from None
    return parquet


def _file(part: str, n_rows: int, sha256: str) -> RemoteFile:
    name = f"{part}-00000-of-00001.parquet"
    address = f"https://huggingface.co/datasets/uoft-cs/cifar10/resolve/main/plain_text/{name}"
    return RemoteFile(path=f"cifar10/{name}", url=address, sha256=sha256, judge=partial(fault, n_rows=n_rows))


SOURCE = Source(
    name="cifar10",
    title="60,000 photographs of ten kinds of things, 32×32 colour (Krizhevsky)",
    licence="research use",
    load=load,
    files=(
        _file("train", 50_000, "a77faf92ae4ba0b7cca575c20cc74ae442a3262a66f31fde8a8d015c49ea1881"),
        _file("test", 10_000, "d88419c019fdfb5417698ae982df1b84c0bbfe72167e8043ace3ec867092f081"),
    ),
)
