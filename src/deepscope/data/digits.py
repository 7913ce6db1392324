"""Handwritten digits of 8×8 pixels, which come with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.data._dataset import Dataset, Samples
from deepscope.data._source import Source


def load(paths: tuple[Path, ...]) -> Dataset:
    """Return the 1,797 digits: inputs [n, 1, 8, 8] float32 in [0, 1], targets [n] int64.

    The split is stratified and has no seed: of each class, in the order of the file, the third of every five samples
    is for testing (1,438 and 359 samples).
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The pixels are counts of 0 … 16.
    inputs = torch.from_numpy(bunch.images).to(torch.float32).div_(16).unsqueeze(1)
    targets = torch.from_numpy(bunch.target).to(torch.int64)
    one_hot = F.one_hot(targets, 10)
    rank_in_class = (one_hot.cumsum(0) * one_hot).sum(1) - 1
    test = rank_in_class % 5 == 2
    return Dataset(
        name="digits",
        train=Samples(inputs[~test], targets[~test]),
        test=Samples(inputs[test], targets[test]),
        classes=tuple("0123456789"),
        loss=F.cross_entropy,
    )


SOURCE = Source(
    name="digits",
    title="1,797 handwritten digits, 8×8 grey (UCI; in scikit-learn)",
    licence="CC BY 4.0",
    load=load,
)
