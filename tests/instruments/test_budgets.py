"""What a budget allows on small and on large networks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from deepscope import examine
from deepscope.core import BUDGETS, OPERATIONS, DoesNotApplyError
from deepscope.instruments import (
    CURVATURE,
    FREQUENCY,
    HEALTH,
    INFORMATION,
    INSTRUMENTS,
    JACOBIAN,
    KERNEL,
    LANDSCAPE,
    NOISE,
    REGIONS,
    REPRESENTATION,
    SYMMETRY,
    TOPOLOGY,
    jacobian,
)
from deepscope.subject import Subject, forward_work

FITTED = (
    HEALTH,
    CURVATURE,
    NOISE,
    KERNEL,
    LANDSCAPE,
    REPRESENTATION,
    SYMMETRY,
    FREQUENCY,
    REGIONS,
    INFORMATION,
    TOPOLOGY,
    JACOBIAN,
)
SAMPLES = {
    "health": "max_samples",
    "kernel": "samples",
    "representation": "samples",
    "frequency": "samples",
    "regions": "max_regions",
    "information": "samples",
    "topology": "samples",
    "jacobian": "samples",
}


class Sized:
    """Data of many samples of which only the first batch is ever made."""

    def __init__(self, *shape: int, classes: int = 10) -> None:
        self.shape, self.classes = shape, classes

    def __len__(self) -> int:
        return 1000

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(len(self)):
            yield torch.zeros(8, *self.shape), torch.zeros(8, dtype=torch.long)


def subject(width: int, depth: int = 2, classes: int = 10) -> Subject:
    hidden = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return Subject(nn.Sequential(*hidden, nn.Linear(width, classes)), Sized(width), functional.cross_entropy)


def samples(instrument: Any, effort: Any) -> float:
    asked = effort[SAMPLES.get(instrument.name, "max_samples")]
    return float("inf") if asked is None else asked


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("instrument", FITTED, ids=lambda each: each.name)
def test_a_small_network_gets_all_of_a_budget(instrument: Any, budget: str) -> None:
    given = instrument.effort(budget, subject(8))
    asked = instrument.effort(budget)
    assert {**given} == {**asked}


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("instrument", [each for each in FITTED if each is not SYMMETRY], ids=lambda each: each.name)
def test_a_larger_network_never_gets_more_and_never_less_than_sixteen(instrument: Any, budget: str) -> None:
    operations = OPERATIONS[budget] / 1000
    given = [
        samples(instrument, instrument.fit(subject(width), instrument.effort(budget), operations))
        for width in (8, 64, 512, 2048)
    ]
    assert given == sorted(given, reverse=True)
    assert given[0] > given[-1] >= 16


def test_operations_stay_within_the_budget() -> None:
    """Counted by hand: planes take points² forward passes, health a gradient, each of three forward passes."""
    width, depth = 1024, 6
    # Ten operations for each value beside the products: activations and a bias.
    work = depth * (2 * width**2 + 20 * width) + 2 * 10 * width + 100
    one = subject(width, depth)
    plane = LANDSCAPE.effort("standard", one)
    assert plane == {"points": 15, "max_samples": int(OPERATIONS["standard"] / (work * 15**2))}
    assert HEALTH.effort("quick", one) == {"max_samples": 256}
    assert HEALTH.effort("quick", subject(4096, 4))["max_samples"] == pytest.approx(
        1e11 / (3 * 4 * 2 * 4096**2), rel=0.01
    )


def test_shapes_and_information_count_the_layers() -> None:
    """Each takes its time again, however little the forward pass is."""

    def deep(layers: int) -> Subject:
        parts = [part for _ in range(layers // 2) for part in (nn.Linear(32, 32), nn.ReLU())]
        return Subject(nn.Sequential(*parts), Sized(32), functional.cross_entropy)

    asked = dict(TOPOLOGY.effort("standard"))
    assert TOPOLOGY.effort("standard", deep(20)) == asked
    # A layer's distances, and clouds of ten classes of 102 samples each, 8 of each class and 40 of any.
    layer = 2048**2 * (1300 + 32) + 10 * (8 + 40) * (260 * 102.4**2 + 16_000 * 64**2)
    assert 26 * layer < OPERATIONS["standard"] < 27 * layer
    assert TOPOLOGY.effort("standard", deep(26)) == asked
    assert TOPOLOGY.effort("standard", deep(28)) == {**asked, "permutations": 20}
    assert TOPOLOGY.effort("standard", deep(60)) == {**asked, "permutations": 20, "max_layers": 40}
    few = dict(TOPOLOGY.fit(deep(60), asked, 1e11))
    n, m = few["samples"], few["samples"] / 20
    assert few == {**asked, "permutations": 20, "max_layers": 16, "samples": n}
    assert 0.98e11 < 16 * (n**2 * (1300 + 32) + 10 * (8 + 20) * (260 + 16_000) * m**2) <= 1e11

    asked = dict(INFORMATION.effort("standard"))
    assert INFORMATION.effort("standard", deep(20)) == asked
    for layers in (60, 100):
        n = INFORMATION.effort("standard", deep(layers))["samples"]
        # 69 orders and halves, of n² neighbours and eigenvalues of 256; distances of 2 · 32 values.
        work = layers * (69 * (500 * n**2 + 6 * 256**3) + 40 * n**2 * 64)
        assert 0.95 * OPERATIONS["standard"] < work <= OPERATIONS["standard"]


def test_extras_go_before_samples_do() -> None:
    widths = (64, 512, 1024, 2048, 4096, 8192)
    given = [CURVATURE.effort("standard", subject(width)) for width in widths]
    stages = [(each.get("sharp", True), each.get("density", True)) for each in given]
    assert stages[0] == (True, True)
    assert stages[-1] == (False, False)
    assert stages == sorted(stages, reverse=True)
    enough = [each["max_samples"] for each, stage in zip(given, stages, strict=True) if stage != (False, False)]
    assert min(enough) >= 32


class Counted(nn.Sequential):
    """A network of pictures that counts the samples that it and its copies are run on."""

    ran = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.ran += len(x)
        out: Tensor = super().forward(x)
        return out


def test_symmetries_take_what_a_budget_allows_and_say_what_they_left_out() -> None:
    torch.manual_seed(0)
    model = Counted(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    pictures = Subject(model, [(torch.randn(64, 1, 8, 8), torch.zeros(64).long())])
    work = forward_work(pictures).operations
    # Two shifts, three turns and two flips: eight passes of a network, three for what there is, four where each
    # family has one transformation.
    for samples, networks, transformations, enough in (
        (128, 8, None, 128 * (9 * 8 + 3)),
        (32, 8, None, 32 * (9 * 8 + 3)),
        (16, 4, None, 16 * (5 * 8 + 3)),
        (16, 3, 1, 16 * (4 * 4 + 3)),
        (4, 3, 1, 4 * (4 * 4 + 3)),
        (4, 0, 1, 4 * (4 + 3)),
    ):
        effort = dict(SYMMETRY.fit(pictures, SYMMETRY.effort("standard"), enough * work))
        assert effort.pop("transformations", None) == transformations
        assert effort == {"max_samples": samples, "networks": networks}
        Counted.ran = 0
        found = SYMMETRY.measure(pictures, **effort, transformations=transformations)
        assert Counted.ran <= enough
        assert (found.n_samples, found.n_networks) == (min(samples, 64), networks)
        said = {reason for name, reason in found.left_out if name == "rotations"}
        assert said == ({"1 of 3 transformations, as asked for"} if transformations else set())
        assert all(each.output.stderr > 0 for each in found.families)
    with pytest.raises(DoesNotApplyError, match="not enough for 4 samples under one transformation of each family"):
        SYMMETRY.fit(pictures, SYMMETRY.effort("standard"), 0.99 * 4 * (4 + 3) * work)


def test_an_examination_says_what_its_budget_does_not_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, "quick", 1e3)
    torch.manual_seed(0)
    small = Subject(nn.Linear(6, 3), [(torch.randn(8, 6), torch.zeros(8).long())])
    found = examine(small, instruments=["anatomy", "symmetry"], budget="quick")
    assert set(found.readings) == {"anatomy"}
    ((name, reason),) = found.not_run
    assert name == "symmetry"
    assert "of which this budget allows 1.0e+03" in reason


def test_many_outputs_are_measured_in_random_directions() -> None:
    assert "directions" not in KERNEL.effort("standard", subject(8, classes=256))
    assert KERNEL.effort("standard", subject(8, classes=257))["directions"] == 64
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 300))
    wide = Subject(model, [(torch.randn(8, 4), torch.arange(8))], functional.cross_entropy)
    found = examine(wide, instruments=["kernel"], budget="quick").readings["kernel"]
    assert found.n_directions == 64
    assert found.trace_stderr > 0


def test_operations_of_jacobians_are_all_counted() -> None:
    """What is done is what was allowed, or what the fewest samples take; by torch's own count of what is run."""
    torch.manual_seed(0)
    sizes = (200, 200, 200, 200, 10)
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
    one = Subject(nn.Sequential(*layers), [(torch.randn(64, 200), torch.zeros(64).long())])
    work, effort = forward_work(one).operations, JACOBIAN.effort("quick")
    # Sixteen samples of ten outputs, eight whose layers are measured one by one, by two probes each, and a few to see
    # what the network does; the Gram matrices of its weights, for their norms.
    least = work * (16 * (1 + 10) + 8 * (1 + 2) + 10) + 3 * 2 * 200**3
    given = [JACOBIAN.fit(one, effort, operations) for operations in (1e6, 1e8, 1e9, 3e9, 1e10)]
    assert [each["climbs"] for each in given] == [0, 0, 1, 4, 4]
    for operations, each in zip((1e6, 1e8, 1e9, 3e9, 1e10), given, strict=True):
        with FlopCounterMode(display=False) as counter:
            found = jacobian(one, **each)
        assert counter.get_total_flops() < max(operations, least)
        assert (found.lipschitz_nearby is None) == (each["climbs"] == 0)
        assert ("larger singular values nearby" in {part.name for part in found.left_out}) == (each["climbs"] == 0)


def test_recurrent_layers_are_followed_as_far_as_the_budget_goes() -> None:
    class Recurrent(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.cell = nn.GRU(2, size, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(x)[0][:, -1, :2]

    torch.manual_seed(0)
    models = {size: Subject(Recurrent(size), [(torch.randn(20, 30, 2), None)]) for size in (8, 64, 1024)}
    assert [JACOBIAN.effort("quick", each)["sequences"] for each in models.values()] == [16, 16, 0]
    for sequences in (1, 5):
        assert jacobian(models[8], sequences=sequences).recurrent[0].n_sequences == sequences
    none = jacobian(models[8], sequences=0)
    assert none.recurrent == ()
    assert "Lyapunov exponents" in {each.name for each in none.left_out}


def test_what_fails_to_run_fails_in_the_instrument_not_in_the_budget() -> None:
    broken = Subject(nn.Linear(3, 2), [(torch.zeros(4, 5), torch.zeros(4).long())], functional.cross_entropy)
    found = examine(broken, instruments=["anatomy", "health"], budget="quick")
    assert [each.name for each in found.not_run] == ["health"]
    assert "anatomy" in found.readings


def test_the_announcement_says_what_is_done() -> None:
    said: list[str] = []
    wide = Subject(nn.Linear(2, 2), [(torch.randn(40, 2), torch.arange(40) % 2)], functional.cross_entropy)
    examine(wide, instruments=["landscape"], budget="quick", progress=lambda what, _: said.append(what))
    assert "121 forward passes over up to 256 samples" in said[0]


def test_every_instrument_that_runs_the_network_fits_its_effort() -> None:
    assert {each.name for each in INSTRUMENTS if each.fit is not None} == {each.name for each in FITTED}
