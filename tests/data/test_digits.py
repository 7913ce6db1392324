from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from deepscope.data import load, verify


@pytest.fixture(scope="module")
def digits():
    return load("digits", offline=True)


def test_sizes_shapes_and_ranges(digits):
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.train.inputs.shape[1:] == (1, 8, 8)
    assert digits.train.inputs.dtype == torch.float32
    assert digits.train.targets.dtype == torch.int64
    assert (digits.train.inputs.min(), digits.train.inputs.max()) == (0.0, 1.0)
    assert digits.classes == tuple("0123456789")
    assert digits.count is None


def test_the_parts_are_the_whole(digits):
    # Sixteenths are exact in float32, so rows can be compared as bytes.
    whole = sorted((image / 16).astype("float32").tobytes() + bytes([label])
                   for image, label in zip(*load_digits(return_X_y=True), strict=True))  # fmt: skip
    parts = sorted(
        image.numpy().tobytes() + bytes([int(label)])
        for part in (digits.train, digits.test)
        for image, label in zip(part.inputs, part.targets, strict=True)
    )
    assert parts == whole


def test_every_class_gives_a_fifth_to_the_test_part(digits):
    train, test = (torch.bincount(part.targets, minlength=10) for part in (digits.train, digits.test))
    # One of every five: within half a sample of a fifth.
    assert ((test - (train + test) / 5).abs() <= 0.5).all()


def test_the_split_is_that_of_the_docstring(digits):
    _, labels = load_digits(return_X_y=True)
    ranks = dict.fromkeys(range(10), 0)
    chosen = []
    for label in labels.tolist():
        if ranks[label] % 5 == 2:
            chosen.append(label)
        ranks[label] += 1
    assert digits.test.targets.tolist() == chosen


def test_the_loss_is_a_mean_over_the_batch(digits):
    inputs, targets = next(iter(digits.test.batches(32)))
    loss = digits.loss(torch.zeros(len(inputs), 10, dtype=torch.float64), targets)
    # ln 10 for uniform logits, whatever the targets.
    assert loss.item() == pytest.approx(2.302585092994046, abs=1e-14)


def test_there_is_no_file_to_verify():
    assert verify("digits") == ()
