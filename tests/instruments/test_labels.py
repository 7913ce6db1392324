"""One rule for labels, whichever instrument reads them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import LeftOut
from deepscope.instruments import (
    Topology,
    frequency,
    information,
    kernel,
    representation,
    topology,
)
from deepscope.instruments._labels import labels_of
from deepscope.subject import Subject

N = 48


def inputs() -> Tensor:
    return torch.randn(N, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def classes() -> Tensor:
    """Of three, by where the inputs lie."""
    return inputs()[:, :3].argmax(dim=1)


def network(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, outputs)).double()


def readings(targets: Any, x: Tensor | None = None, outputs: int = 3) -> dict[str, Any]:
    x = inputs() if x is None else x
    subject = Subject(network(outputs), [(x, targets)])
    return {
        "kernel": kernel(subject, outputs="trace"),
        "representation": representation(subject),
        "frequency": frequency(subject, lines=2, points=16),
        "information": information(subject, permutations=19, directions=2),
        "topology": topology(subject, max_dimension=0, permutations=2),
    }


def why_none(reading: Any) -> str:
    """Return what a reading says of its labels."""
    if isinstance(reading, Topology):
        said = dict(reading.left_out).get("classes", "ok")
        return said.removesuffix(": all samples are one cloud")
    return str(reading.bands_status if hasattr(reading, "bands_status") else reading.labels_status)


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        (None, "there are no targets"),
        ("words", "the targets are no tensors"),
        (torch.zeros(N, 4).long(), "each sample has several labels"),
        (torch.arange(4 * N) % 3, "the targets are not one row for each sample"),
        (torch.full((N,), torch.nan), "the targets are not finite"),
        (torch.full((N, 2), 1.5), "all targets are the same"),
        (torch.full((N,), -100), "all labels are -100: to be ignored"),
    ],
)
def test_what_is_no_label_is_so_to_every_instrument(targets: Any, why: str) -> None:
    assert {name: why_none(each) for name, each in readings(targets).items()} == dict.fromkeys(
        ("kernel", "representation", "frequency", "information", "topology"), why
    )


@pytest.mark.parametrize("why", ["all samples are of one class", "hardly any label comes twice"])
def test_classes_of_which_nothing_can_be_told(why: str) -> None:
    found = readings(torch.arange(N) if why.startswith("hardly") else torch.full((N,), 2))
    assert {why_none(each) for name, each in found.items() if name != "topology"} == {why}


def told(targets: Tensor, **options: Any) -> dict[str, Any]:
    """Return a number or two of each instrument's that depend on the labels."""
    found = readings(targets, **options)
    return {
        "kernel": (found["kernel"].alignment, found["kernel"].regression.score, found["kernel"].regression.kernel),
        "shares": found["kernel"].label_shares.round(9).tolist(),
        "representation": (
            found["representation"].n_classes,
            found["representation"].table()[["probe_accuracy", "probe_r2", "between_classes", "nc1"]].to_dict(),
        ),
        "frequency": [asdict(each.target) for each in found["frequency"].bands],
        "information": (
            found["information"].labels_entropy,
            found["information"].table()[["labels_binned", "labels_ksg", "labels_renyi"]].to_dict(),
        ),
        "topology": (found["topology"].classes, found["topology"].betti),
    }


@pytest.mark.parametrize(
    "same",
    [
        lambda y: y.to(torch.uint8),
        lambda y: y[:, None],
        lambda y: functional.one_hot(y, 3),
        lambda y: functional.one_hot(y, 3).float(),
        lambda y: functional.one_hot(y, 3).bool(),
    ],
)
def test_classes_are_the_same_however_they_are_written(same: Any) -> None:
    expected = told(classes())
    assert expected["representation"][0] == 3
    assert expected["topology"][0] == ("0", "1", "2")
    np.testing.assert_equal(told(same(classes())), expected)


def test_two_classes_of_one_output_may_be_floating_point_numbers() -> None:
    y = (inputs()[:, 0] > 0).long()
    expected = told(y, outputs=1)
    assert expected["representation"][0] == 2
    for same in (y.double(), y[:, None].float(), y.bool()):
        np.testing.assert_equal(told(same, outputs=1), expected)


def test_soft_labels_are_numbers_to_every_instrument() -> None:
    for targets in (functional.softmax(inputs()[:, :3], dim=1), inputs()[:, :2], inputs()[:, 0]):
        found = readings(targets)
        assert found["kernel"].regression.score == "R²"
        assert found["representation"].n_classes is None
        assert found["representation"].table()["probe_r2"].notna().all()
        assert found["frequency"].bands_status == "ok"
        assert (found["information"].labels_status, found["information"].labels_entropy) == ("ok", None)
        assert found["topology"].classes == ("all",)
        assert why_none(found["topology"]) == "the targets are numbers, not classes"


def test_labels_to_be_ignored_are_left_out_and_said_to_be() -> None:
    """What is measured against labels is that of the other samples alone."""
    y = classes()
    gone = torch.arange(N) % 4 == 1
    y[gone] = -100
    kept = inputs()[~gone]
    expected = told(y[~gone], x=kept)
    found = told(y)
    # The kernel's eigenvectors are those of all samples.
    expected.pop("shares")
    shares = found.pop("shares")
    assert len(shares) == N
    # Shares of orthogonal directions.
    assert sum(shares) == pytest.approx(1, abs=1e-7)
    # Sums over samples in another order.
    compare(found, expected)
    said = LeftOut("labels", f"{int(gone.sum())} samples whose label is -100: to be ignored")
    for reading in readings(y).values():
        assert said in reading.left_out


def compare(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            compare(one[key], other[key])
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for mine, its in zip(one, other, strict=True):
            compare(mine, its)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True)
    else:
        assert one == other


def test_classes_that_are_not_the_numbers_of_outputs_are_classes_all_the_same() -> None:
    """They tell as much of a layer; only what the network answers cannot be compared with them."""
    names = torch.tensor([1, 2, 3])
    plain, named = readings(classes()), readings(names[classes()])
    assert named["kernel"].alignment == plain["kernel"].alignment
    assert (named["kernel"].regression.network, plain["kernel"].regression.network is None) == (None, False)
    probes = [found["representation"].table()["probe_accuracy"].tolist() for found in (plain, named)]
    assert probes[0] == probes[1]
    assert named["representation"].collapse is None
    assert named["frequency"].read_as == "the labels are not the numbers of outputs"
    # Sums over classes in another order of columns.
    compare(*([asdict(each.target) for each in found["frequency"].bands] for found in (named, plain)))
    assert named["topology"].classes == ("1", "2", "3")


def test_labels_are_read_across_batches() -> None:
    found = labels_of([torch.tensor([0, 2]), torch.tensor([-100]), torch.tensor([2, 0])], 5, n_outputs=4)
    assert found.rows.tolist() == [0, 1, 3, 4]
    assert found.classes.tolist() == [0, 2, 2, 0]
    assert found.values.shape == (4, 4)
    assert found.of_outputs
    assert not labels_of([torch.tensor([-1, 1, 1, -1])], 4).of_outputs
    assert labels_of([torch.zeros(3), torch.ones(2, 1)], 5).why == "the targets are not one row for each sample"
    assert labels_of([torch.zeros(3, dtype=torch.complex64)], 3).why == "the targets are complex numbers"
