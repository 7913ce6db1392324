"""What a budget allows on small and on large networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope import examine
from deepscope.core import BUDGETS, OPERATIONS
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
)
from deepscope.subject import Subject

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
@pytest.mark.parametrize("instrument", FITTED, ids=lambda each: each.name)
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


def test_extras_go_before_samples_do() -> None:
    widths = (64, 512, 1024, 2048, 4096, 8192)
    given = [CURVATURE.effort("standard", subject(width)) for width in widths]
    stages = [(each.get("sharp", True), each.get("density", True)) for each in given]
    assert stages[0] == (True, True)
    assert stages[-1] == (False, False)
    assert stages == sorted(stages, reverse=True)
    enough = [each["max_samples"] for each, stage in zip(given, stages, strict=True) if stage != (False, False)]
    assert min(enough) >= 32


def test_many_outputs_are_measured_in_random_directions() -> None:
    assert "directions" not in KERNEL.effort("standard", subject(8, classes=256))
    assert KERNEL.effort("standard", subject(8, classes=257))["directions"] == 64
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 300))
    wide = Subject(model, [(torch.randn(8, 4), torch.arange(8))], functional.cross_entropy)
    found = examine(wide, instruments=["kernel"], budget="quick").readings["kernel"]
    assert found.n_directions == 64
    assert found.trace_stderr > 0


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
