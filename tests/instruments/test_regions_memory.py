"""Regions of large layers are counted in bounded memory, and as in plenty of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from region_networks import noise, stack
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from deepscope.core import DoesNotApplyError
from deepscope.instruments import (
    _regions_convolutions,
    _regions_count,
    _regions_cut,
    _regions_pairs,
    _regions_pass,
    regions,
)
from deepscope.subject import Subject


def pooled() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 6, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(24, 2),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.out = nn.Linear(6, 14), nn.Linear(14, 14), nn.Linear(14, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.one(x))
        return self.out(h + functional.softshrink(self.two(h)))


@pytest.mark.parametrize(("make", "shape", "extent"), [(pooled, (1, 6, 6), 0.3), (Residual, (6,), 1.5)])
def test_little_memory_changes_nothing(
    make: Callable[[], nn.Module], shape: tuple[int, ...], extent: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, plane = make(), noise(3, *shape).unbind()
    expected = regions(Subject(model), plane=plane, extent=extent)
    monkeypatch.setattr(_regions_pass, "_MEMORY", 2**12)
    # Cells of more corners than that are cut all the same.
    monkeypatch.setattr(_regions_count, "_FEWEST_VERTICES", 0)
    monkeypatch.setattr(_regions_cut, "_MOST_PAIRS", 8)
    monkeypatch.setattr(_regions_pairs, "_BLOCK", 64)
    monkeypatch.setattr(_regions_convolutions, "_LAID_OUT", 512)
    found = regions(Subject(model), plane=plane, extent=extent)
    assert found.cost.forward_passes > 5 * expected.cost.forward_passes
    assert found.count == expected.count
    assert [each.added for each in found.layers] == [each.added for each in expected.layers]
    assert [each.cutting for each in found.layers] == [each.cutting for each in expected.layers]


def test_layers_of_many_units_are_cut_at_few_vertices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values at all vertices are what takes the memory: a layer of 400 may have them at 16."""
    seen: list[int] = []
    monkeypatch.setattr(_regions_pass, "_MEMORY", 16 * 8 * 400)
    whole = _regions_pass.CellPass._cut

    def watched(self: Any, kinks: Any) -> bool:
        try:
            return whole(self, kinks)
        finally:
            seen.append(len(self._passed.cells.points))

    monkeypatch.setattr(_regions_pass.CellPass, "_cut", watched)
    # The first layer alone would be cut at 160 vertices, all of which the next would have to be run at.
    assert not regions(Subject(stack(4, 40, 400, 2)), plane=plane_of(4), extent=3.0, max_regions=100).complete
    # Rounds go on up to 16 vertices; the last gives each cell two more at most, and has fewer cells than vertices.
    assert 16 < max(seen) <= 3 * 16


def plane_of(features: int) -> tuple[Tensor, ...]:
    return noise(3, features).double().unbind()


def peak_of(run: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_units_are_compared_with_cells_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = 2**22
    monkeypatch.setattr(_regions_pass, "_MEMORY", memory)
    # As they are to 256 MiB.
    monkeypatch.setattr(_regions_cut, "_MOST_PAIRS", 2**15)
    monkeypatch.setattr(_regions_pairs, "_BLOCK", 2**14)
    model = Subject(stack(4, 2**15, 2))
    peak = peak_of(lambda: regions(model, plane=plane_of(4), extent=3.0, max_regions=16))
    # The values at up to twice 16 vertices, the same while more are added, and lists of the pairs.
    assert peak < 6 * memory


def test_outputs_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = 2**20
    monkeypatch.setattr(_regions_pass, "_MEMORY", memory)
    found = []
    peak = peak_of(lambda: found.append(regions(Subject(stack(4, 50, 2000)), plane=plane_of(4), extent=3.0)))
    # Those of one chunk of cells are held a few times over.
    assert 8 * 2000 * found[0].count > 9 * memory
    assert peak < 3 * memory


def test_layers_that_cannot_be_held_at_all_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_regions_pass, "_MEMORY", 7 * 8 * 400)
    with pytest.raises(DoesNotApplyError, match="400 values for a sample, too many"):
        regions(Subject(stack(4, 400, 2)), plane=plane_of(4))


class Rows(TorchFunctionMode):
    """Notes how many rows convolutions are given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.startswith("conv"):
            self.seen.append(len(args[0]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(2, 4, 3, padding="same"), (2, 12)),
        (nn.Conv2d(4, 6, 3, stride=2, groups=2), (4, 9, 9)),
        (nn.Conv3d(1, 2, 2, padding_mode="circular", padding=1), (1, 4, 4, 4)),
        (nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=1), (3, 5, 5)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_convolutions_in_parts_are_the_same(
    layer: nn.Module, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_regions_convolutions, "_LAID_OUT", 400)
    layer, x, rows = layer.double(), noise(11, *shape).double(), Rows()
    with torch.no_grad():
        expected = layer(x)
        with rows, _regions_convolutions.ConvolvedInParts():
            found = layer(x)
    assert torch.equal(found, expected)
    assert sum(rows.seen) == 11
    assert len(rows.seen) > 1
