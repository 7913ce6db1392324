"""One measure for the five domains of geometric deep learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from symmetry_domains import gauges, graphs, surfaces
from symmetry_networks import MeanOver, noise, ordinary_network, p4_network, seeded, subject_of, turned
from torch import nn

from deepscope.instruments import Symmetry, symmetry

# Relative distances of 1e-5, squared.
SYMMETRIC = 1e-10


def grids(*, broken: bool) -> tuple[Any, Any]:
    """Cyclic shifts of pictures, and convolutions whose padding is cyclic, or zero."""
    mode = "zeros" if broken else "circular"

    def network() -> nn.Module:
        first, second = (nn.Conv2d(c, 4, 3, padding=1, padding_mode=mode) for c in (1, 4))
        return nn.Sequential(first, nn.ReLU(), second, nn.Tanh(), MeanOver(2, 3), nn.Linear(4, 2))

    return subject_of(network, noise(16, 1, 8, 8)), "translations"


def groups(*, broken: bool) -> tuple[Any, Any]:
    """Turns of pictures, and a group convolution, or an ordinary one."""
    return subject_of(ordinary_network if broken else p4_network, noise(16, 1, 7, 7)), [turned(1), turned(2), turned(3)]


def errors(reading: Symmetry) -> dict[str, float]:
    """How far each layer is from following, or where that means nothing from staying; and the output likewise."""
    found = {}
    for family in reading.families:
        for layer in family.layers:
            error = layer.equivariance if layer.equivariance.value is not None else layer.invariance
            found[f"{family.name}: {layer.name}"] = error.value
        found[f"{family.name}: output"] = family.output.value
    return found


@pytest.mark.demonstrates("gdl-blueprint")
@pytest.mark.parametrize("domain", [grids, groups, graphs, surfaces, gauges], ids=lambda each: each.__name__)
def test_every_layer_of_five_domains_follows_its_symmetry(domain: Any) -> None:
    """||f(ρ(g)x) − ρ′(g)f(x)|| at every layer, and not where the symmetry was broken on purpose."""
    subject, group = domain(broken=False)
    whole = errors(symmetry(subject, group, networks=0))
    assert all(value is not None and value <= SYMMETRIC for value in whole.values()), whole
    # Inner layers have the symmetry because of how they are made, not because of these weights.
    random = symmetry(subject, group, networks=3)
    assert random.baseline <= SYMMETRIC
    # What moves is seen to move: the inputs are other ones.
    subject, group = domain(broken=True)
    broken = errors(symmetry(subject, group, networks=0))
    assert max(broken.values()) > 1e-3, broken
    first = next(iter(broken))
    assert broken[first] > 1e-3, "the first layer is the broken one"


def test_a_network_that_ignores_its_input_does_not_pass_for_symmetric() -> None:
    model = seeded(p4_network).double()
    with torch.no_grad():
        model[2].weight.zero_()
    subject, group = groups(broken=False)
    subject.model = model
    reading = symmetry(subject, group, networks=0)
    assert reading.error is None
    assert [finding.severity for finding in reading.findings()] == ["problem"]


def test_a_network_that_ignores_its_input_as_random_ones_do_is_noted() -> None:
    def sigmoids() -> nn.Module:
        return nn.Sequential(*[part for _ in range(24) for part in (nn.Linear(6, 6), nn.Sigmoid())])

    x = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    subject, _ = groups(broken=False)
    subject.model, subject.data = seeded(sigmoids), [(x, None)]
    assert [finding.severity for finding in symmetry(subject, networks=2).findings()] == ["note"]
    # Without random networks there is nothing to tell the one from the other.
    assert [finding.severity for finding in symmetry(subject, networks=0).findings()] == ["problem"]
