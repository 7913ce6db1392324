"""Group convolutions: the group's tables, equivariance, and the definition as a loop over turned filters."""

from __future__ import annotations

import itertools

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import (
    GroupCNN,
    GroupConvolution,
    LiftingConvolution,
    PlaneGroup,
    p4_cnn,
    p4m_cnn,
    plane_group,
    z2_cnn,
)

GROUPS = pytest.mark.parametrize("name", ["p4", "p4m"])


def moved(x: Tensor, element: int) -> Tensor:
    """Turn or mirror a picture by torch's own functions: mirror first, then turn."""
    mirrored, turns = divmod(element, 4)
    return torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1))


@pytest.mark.demonstrates("repo-gconv")
def test_tables_are_those_of_a_group() -> None:
    for name, order in (("p1", 1), ("p4", 4), ("p4m", 8)):
        group = plane_group(name)
        assert group.order == order == len(set(group.matrices))
        elements = range(order)
        for g, h in itertools.product(elements, repeat=2):
            first, second, both = (torch.tensor(group.matrices[k]) for k in (g, h, group.product(g, h)))
            assert torch.equal(first @ second, both)
            assert (group.product(g, h) == 0) == (h == group.inverse(g))
        for f, g, h in itertools.product(elements, repeat=3):
            assert group.product(group.product(f, g), h) == group.product(f, group.product(g, h))
        for size in (1, 2, 3, 4, 5):
            pixels, filters = group.pixel_table(size), group.filter_table(size)
            for table, entries in ((pixels, size**2), (filters, order * size**2)):
                assert table.shape == (order, entries)
                everywhere = torch.arange(entries)
                assert torch.equal(table[0], everywhere)
                for g, h in itertools.product(elements, repeat=2):
                    # L_g L_h = L_gh: closure; and with the inverse it is the identity.
                    assert torch.equal(table[h][table[g]], table[group.product(g, h)])
                    assert torch.equal(table[group.inverse(g)][table[g]], everywhere)
            picture = torch.randn(2, size, size)
            for g in elements:
                assert torch.equal(group.move_image(picture, g), moved(picture, g))
    # Were a turn and a mirroring in the wrong order, tables would compose in the wrong order as well.
    group = plane_group("p4m")
    assert group.product(1, 4) != group.product(4, 1)


@GROUPS
def test_features_move_as_the_image_does(name: str) -> None:
    torch.manual_seed(0)
    group = plane_group(name)
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    lifting = LiftingConvolution(3, 4, 3, group=name, padding=1).double()
    convolution = GroupConvolution(4, 2, 4, group=name).double()
    # In training mode, whose normalisation keeps features of a new network apart.
    model = GroupCNN(name, 3).double()
    images = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    assert (model(images)[0] - model(images)[1]).abs().max() > 0.01
    for g in range(group.order):
        # Sums of some hundred products of order 1, in another order: 1e-13 each.
        lifted = lifting(x)
        torch.testing.assert_close(lifting(moved(x, g)), group.move_features(lifted, g), rtol=0, atol=1e-13)
        torch.testing.assert_close(
            convolution(group.move_features(lifted, g)),
            group.move_features(convolution(lifted), g),
            rtol=0,
            atol=1e-12,
        )
        torch.testing.assert_close(model(moved(images, g)), model(images), rtol=1e-12, atol=1e-12)
        # In float32 some hundred roundings of 6e-8, through seven layers.
        logits, after = model.float()(images.float()), model(moved(images, g).float())
        assert (after - logits).abs().max() < 1e-5 * logits.abs().max()
        model.double()
    # Shifts: the output shifts alike where no edge is seen.
    assert torch.allclose(lifting(x.roll(2, -1))[..., 3:-1], lifting(x).roll(2, -1)[..., 3:-1])
    # An ordinary convolution of as many channels is caught, and so is the group that does not hold mirrorings.
    ordinary = nn.Conv2d(3, 4 * group.order, 3, padding=1).double()
    y = ordinary(x).unflatten(1, (4, group.order))
    assert (ordinary(moved(x, 1)).unflatten(1, (4, group.order)) - group.move_features(y, 1)).abs().max() > 0.1
    if name == "p4":
        assert (model(images.flip(-1)) - model(images)).abs().max() > 1e-3


def turned_filter(weight: Tensor, group: PlaneGroup, g: int) -> Tensor:
    """Move a filter on the group: turn each of its pictures, then set each in its new place gh."""
    result = torch.empty_like(weight)
    for h in range(group.order):
        result[:, :, group.product(g, h)] = moved(weight[:, :, h], g)
    return result


@GROUPS
def test_they_compute_their_definition(name: str) -> None:
    """The twin convolves with one turned filter after another."""
    torch.manual_seed(0)
    group = plane_group(name)
    lifting = LiftingConvolution(3, 2, 4, group=name).double()
    convolution = GroupConvolution(2, 5, 3, group=name, padding=1, bias=False).double()
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    lifted = [functional.conv2d(x, moved(lifting.weight, g), lifting.bias) for g in range(group.order)]
    expected = torch.stack(lifted, 2)
    torch.testing.assert_close(lifting(x), expected, rtol=0, atol=1e-13)
    parts = []
    for g in range(group.order):
        psi = turned_filter(convolution.weight, group, g)
        parts.append(sum(functional.conv2d(expected[:, :, h], psi[:, :, h], padding=1) for h in range(group.order)))
    torch.testing.assert_close(convolution(expected), torch.stack(parts, 2), rtol=0, atol=1e-12)


def test_for_translations_alone_it_is_an_ordinary_network() -> None:
    torch.manual_seed(0)
    model = GroupCNN("p1", 3).double().eval()
    x = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    h = x
    for index in range(1, 7):
        layer = getattr(model.features, f"convolution{index}")
        weight = layer.weight if index == 1 else layer.weight.squeeze(2)
        h = (functional.conv2d(h, weight, layer.bias) / (1 + 1e-5) ** 0.5).clamp_min(0)
        h = functional.max_pool2d(h, 2) if index == 2 else h
    expected = functional.conv2d(h, model.features.output.weight.squeeze(2), model.features.output.bias)
    torch.testing.assert_close(model(x), expected[:, :, 0, 0], rtol=1e-12, atol=1e-12)
    # And turning the image changes what it says.
    assert (model(moved(x, 1)) - model(x)).abs().max() > 1e-6


@pytest.mark.parametrize(("build", "order", "channels"), [(z2_cnn, 1, 20), (p4_cnn, 4, 10), (p4m_cnn, 8, 7)])
def test_sizes_follow_the_formula(build, order: int, channels: int) -> None:
    n = sum(each.numel() for each in build().parameters())
    assert n == 45 * order * channels**2 + 160 * order * channels + 27 * channels + 10
    # "20 channels", "dividing the number of filters by √4 = 2".
    assert channels == round(20 / order**0.5)


def test_overfit() -> None:
    torch.manual_seed(0)
    model = GroupCNN("p4", 3, classes=4)
    overfits(model, torch.randn(16, 1, 28, 28), torch.arange(16) % 4, functional.cross_entropy, steps=80, rate=3e-2)


@pytest.mark.parametrize("name", ["p1", "p4", "p4m"])
def test_it_behaves(name: str) -> None:
    torch.manual_seed(0)
    behaves(GroupCNN(name, 2), GroupCNN(name, 2), torch.randn(3, 1, 28, 28))
    assert GroupCNN(name, 2)(torch.zeros(0, 1, 28, 28)).shape == (0, 10)


def test_weights_begin_as_those_of_torch() -> None:
    torch.manual_seed(0)
    for layer in (LiftingConvolution(3, 40, 3), GroupConvolution(5, 40, 3, group="p4m"), nn.Conv2d(3, 40, 3)):
        bound = layer.weight[0].numel() ** -0.5
        for drawn, share in ((layer.weight, 0.98), (layer.bias, 0.8)):
            # The largest of 1,080 uniform draws, and of 40, falls short by so much with a probability below e^−8.
            assert share * bound < drawn.abs().max() <= bound


def test_dropout_is_where_the_paper_has_it() -> None:
    names = [name for name, each in z2_cnn().features.named_children() if isinstance(each, nn.Dropout)]
    assert names == [f"dropout{index}" for index in (1, 3, 4, 5, 6)]
    assert not [each for each in p4_cnn().modules() if isinstance(each, nn.Dropout)]


def test_wrong_arguments_are_refused() -> None:
    for shape in ((2, 3, 28, 28), (2, 1, 26, 28), (2, 1, 29, 29), (1, 28, 28)):
        with pytest.raises(UsageError, match=r"\[batch, 1, height, width\] .* both at least 28, both multiples of 2"):
            GroupCNN()(torch.zeros(shape))
    with pytest.raises(UsageError, match="int64"):
        GroupCNN()(torch.zeros(2, 1, 28, 28, dtype=torch.int64))
    layer = GroupConvolution(3, 2, 3)
    for shape in ((2, 3, 8, 5, 5), (2, 2, 4, 5, 5), (2, 3, 4, 2, 5), (2, 12, 5, 5)):
        with pytest.raises(UsageError, match=r"GroupConvolution\nGive \[batch, 3, 4, height, width\]"):
            layer(torch.zeros(shape))
    for kind in (LiftingConvolution, GroupConvolution):
        with pytest.raises(UsageError, match="padding is -1"):
            kind(1, 1, 3, padding=-1)
    with pytest.raises(UsageError, match="both at least 3"):
        LiftingConvolution(1, 1, 3)(torch.zeros(1, 1, 2, 5))
    with pytest.raises(UsageError, match="unknown group: p6"):
        GroupCNN("p6")
    for wrong in ({"channels": 0}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            GroupCNN(**wrong)
    for kind in (LiftingConvolution, GroupConvolution):
        for sizes in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
            with pytest.raises(UsageError, match="is 0"):
                kind(*sizes)
    with pytest.raises(UsageError, match="dropout is"):
        GroupCNN(dropout=1.0)
    with pytest.raises(UsageError, match="only a square"):
        plane_group("p4").move_image(torch.zeros(2, 3), 1)
    with pytest.raises(UsageError, match=r"\[..., 4, size, size\]"):
        plane_group("p4").move_features(torch.zeros(8, 3, 3), 1)
