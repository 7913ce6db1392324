"""Symmetries that are there by construction, and those that are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from symmetry_networks import (
    MeanOver,
    Positioned,
    noise,
    ordinary_network,
    p4_network,
    seeded,
    subject_of,
    turned,
)
from torch import Tensor, nn

from deepscope.instruments import Transformation, symmetry
from deepscope.subject import Subject

CYCLIC = {"padding": 1, "padding_mode": "circular"}
# Squared rounding errors: (32 ε)² for each of a dozen layers, in units that some tenfold of outputs differ by.
FLOAT32, FLOAT64 = 1e-8, 1e-25


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float32, FLOAT32), (torch.float64, FLOAT64)])
def test_a_group_convolution_is_symmetric_and_an_ordinary_one_is_not(dtype: torch.dtype, exact: float) -> None:
    x = noise(24, 1, 9, 9, dtype=dtype)
    grouped = symmetry(subject_of(p4_network, x), [turned(q) for q in (1, 2, 3)], networks=3)
    assert 0 <= grouped.error <= exact
    assert grouped.baseline <= exact
    for family in grouped.families:
        assert family.output.is_exact
        assert family.output.baseline_is_exact
        assert family.kind == "invariance"
        maps = {layer.name: layer for layer in family.layers if layer.name in "0123"}
        assert all(layer.equivariance.value <= exact for layer in maps.values())
        # They move: it is not that they ignore the turn.
        assert all(layer.invariance.value > 0.3 for layer in maps.values())
    ordinary = symmetry(subject_of(ordinary_network, x), "rotations", networks=3)
    assert ordinary.error > 0.01
    assert ordinary.baseline > 0.01
    assert not ordinary.families[0].output.is_exact
    assert ordinary.families[0].layers[0].equivariance.value > 0.1


def test_the_same_turns_asked_for_by_name_are_those() -> None:
    x = noise(24, 1, 9, 9)
    by_name = symmetry(subject_of(p4_network, x), "rotations", networks=0)
    assert by_name.error <= FLOAT64
    assert by_name.of("rotations").members == ("turned by 90°", "turned by 180°", "turned by 270°")
    assert by_name.baseline is None
    # Without on_layer nothing is known of maps with directions.
    status = by_name.layers[0].equivariance.status
    assert status == "the transformation does not act on its output"


def pooled(**padding: object) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, **padding), nn.ReLU(), nn.Conv2d(6, 4, 3, **padding), MeanOver(2, 3), nn.Linear(4, 3)
    )  # fmt: skip


def test_cyclic_padding_is_translation_invariant_and_zeros_are_not() -> None:
    x = noise(20, 2, 8, 8)
    cyclic = symmetry(subject_of(pooled, x, **CYCLIC), "translations", networks=3)
    assert cyclic.error <= FLOAT64
    assert all(layer.equivariance.value <= FLOAT64 for layer in cyclic.layers[:3])
    (finding,) = cyclic.findings()
    assert "invariant under translations to float accuracy, with random weights too" in finding.message
    zeros = symmetry(subject_of(pooled, x, padding=1), "translations", networks=3)
    assert zeros.error > 1e-3
    assert zeros.layers[0].equivariance.value > 0.05


def test_maps_follow_by_the_shift_over_their_stride() -> None:
    def strided() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 3, 3, **CYCLIC), nn.MaxPool2d(2), nn.Conv2d(3, 3, 3, stride=2, **CYCLIC))

    seen = symmetry(subject_of(strided, noise(12, 1, 16, 16)), "translations", networks=0)
    assert seen.of("translations").members == ("shifted by 1", "shifted by 2", "shifted by 4")
    assert [layer.equivariance.value for layer in seen.layers] == [0.0, 0.0, 0.0]
    # A shift by one does not lead from one place of a pooled map to another: it is left out of the mean.
    alone = symmetry(subject_of(strided, noise(12, 1, 7, 7)), "translations", networks=0)
    assert alone.of("translations").members == ("shifted by 1",)
    assert [layer.equivariance.value is None for layer in alone.layers] == [False, True, True]


def unbiased(activation: type[nn.Module], *, bias: bool) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32, bias=bias), activation(), nn.Linear(32, 4, bias=bias))


def test_rectifiers_without_biases_are_homogeneous() -> None:
    x = noise(20, 6)
    # Halving and doubling change exponents only.
    assert symmetry(subject_of(unbiased, x, nn.ReLU, bias=False), "scalings", networks=0).error == 0.0
    assert symmetry(subject_of(unbiased, x, nn.ReLU, bias=False), "scalings", factors=[3], networks=0).error < FLOAT64
    assert symmetry(subject_of(unbiased, x, nn.ReLU, bias=True), "scalings", networks=0).error > 1e-3
    # Positively only.
    assert symmetry(subject_of(unbiased, x, nn.ReLU, bias=False), "signs", networks=0).error > 0.3


def test_tanh_without_biases_is_odd() -> None:
    x = noise(20, 6)
    odd = symmetry(subject_of(unbiased, x, nn.Tanh, bias=False), "signs", networks=0)
    assert odd.error == 0.0
    assert odd.of("signs").kind == "equivariance"
    # Opposite outputs are as far from invariant as can be.
    assert odd.of("signs").invariance.value > 1.5
    assert symmetry(subject_of(unbiased, x, nn.Tanh, bias=True), "signs", networks=0).error > 1e-3


def test_an_encoder_without_positions_is_equivariant_under_permutations() -> None:
    tokens = torch.randint(0, 11, (16, 7), generator=torch.Generator().manual_seed(0))
    without = symmetry(Subject(seeded(Positioned, 7, positions=False).double(), [(tokens, None)]), networks=3)
    assert without.inputs == "tokens"
    assert without.of("permutations").kind == "equivariance"
    assert without.error <= FLOAT64
    assert all(layer.equivariance.value <= FLOAT64 for layer in without.layers)
    learned = symmetry(Subject(seeded(Positioned, 7, positions=True).double(), [(tokens, None)]), networks=3)
    assert learned.error > 0.05
    assert learned.shuffled == ("positions",)


def test_a_sum_over_elements_is_invariant_and_a_network_on_the_list_is_not() -> None:
    x = noise(20, 5, 3)

    def deep_sets() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), MeanOver(1), nn.Linear(8, 2))

    assert symmetry(subject_of(deep_sets, x), "permutations", networks=0).error <= FLOAT64
    assert symmetry(subject_of(deep_sets, x), networks=0).error <= FLOAT64

    def listed() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(15, 8), nn.ReLU(), nn.Linear(8, 2))

    assert symmetry(subject_of(listed, x), "permutations", networks=0).error > 0.1


def test_error_is_that_of_a_naive_loop() -> None:
    """Also across batches, and for a user's own transformation of inputs and outputs."""
    x = noise(18, 6)
    model = seeded(unbiased, nn.Tanh, bias=True).double()

    def act(inputs: Tensor) -> Tensor:
        return inputs.flip(1) * 1.5

    mine = Transformation("turned round", act, on_output=lambda y: y.roll(1, 1))
    seen = symmetry(Subject(model, [(x[:5], None), (x[5:12], None), (x[12:], None)]), mine, networks=0)
    with torch.no_grad():
        after, before = model(act(x)).numpy(), model(x).roll(1, 1).numpy()
        plain = model(x).numpy()
    for value, other in ((seen.error, before), (seen.of("turned round").invariance.value, plain)):
        pairs = np.mean([((after[i] - other[i]) ** 2).sum() for i in range(18)])
        others = np.mean([((after[i] - other[j]) ** 2).sum() for i in range(18) for j in range(18) if i != j])
        # Values pass through float64 sums of some hundred terms.
        assert value == pytest.approx(pairs / others, rel=1e-12)


def test_members_are_told_apart_and_the_family_is_their_mean() -> None:
    seen = symmetry(subject_of(ordinary_network, noise(20, 1, 8, 8)), ["rotations", "flips"], networks=0)
    for family in seen.families:
        assert len(set(family.member_errors)) == len(family.members)
        assert family.output.value == pytest.approx(np.mean(family.member_errors), rel=1e-14)
    assert seen.error == pytest.approx(np.mean([family.output.value for family in seen.families]), rel=1e-14)


def blobs(n: int, size: int) -> Tensor:
    """Pictures of a few soft spots near the middle."""
    places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    centres = noise(n, 3, 2) * size / 10
    across, down = (torch.exp(-((places - centres[..., i, None]) ** 2) / (2 * 2.0**2)) for i in range(2))
    return torch.einsum("nki,nkj->nij", down, across)[:, None]


def test_arbitrary_angles_are_interpolated_and_the_loss_is_stated() -> None:
    x = blobs(24, 25)
    places = torch.arange(5, dtype=torch.float64) - 2
    kernel = torch.exp(-(places[:, None] ** 2 + places[None] ** 2) / 2)

    def isotropic() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 1, 5, padding=2), nn.ReLU(), MeanOver(2, 3))

    model = seeded(isotropic).double()
    with torch.no_grad():
        model[0].weight.copy_(kernel)
        # Far from the spots maps are not zero, and what a turn moves in from outside the picture is.
        model[0].bias.fill_(0.5)
    seen = symmetry(Subject(model, [(x, None)]), "rotations", angles=[30, 45], networks=3)
    # Interpolation between neighbours errs by up to 1/8 of the second derivative, 1/σ² = 1/4 of the height: 3 % of an
    # amplitude, once on each side; squares of it, in units of the difference of two spots.
    lost = seen.of("rotations").interpolation
    assert 1e-5 < lost < 0.02
    assert 1e-6 < seen.layers[0].equivariance.value < 0.01
    exact = symmetry(Subject(model, [(x, None)]), "rotations", networks=0)
    assert exact.of("rotations").interpolation is None
    assert exact.layers[0].equivariance.value < FLOAT64
    with torch.no_grad():
        model[0].weight.copy_(noise(1, 1, 5, 5))
    uneven = symmetry(Subject(model, [(x, None)]), "rotations", angles=[30, 45], networks=0)
    assert uneven.layers[0].equivariance.value > 20 * seen.layers[0].equivariance.value
