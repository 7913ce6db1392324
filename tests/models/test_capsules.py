"""Capsules: routing as a loop, what agreement does to it, and the paper's sizes."""

from __future__ import annotations

import math

import pytest
import torch
from contract import behaves, overfits

from deepscope.core import UsageError
from deepscope.models import CapsNet, RoutingCapsules, capsnet_without_reconstruction, margin_loss, squash


def small(**arguments: object) -> CapsNet:
    sizes = {"image_size": 17, "channels": 6, "kinds": 3, "dimensions": 4, "class_dimensions": 5, "classes": 4}
    return CapsNet(**{**sizes, **arguments})


def test_squash_keeps_directions_and_has_lengths_below_1() -> None:
    torch.manual_seed(0)
    s = torch.randn(100, 6, dtype=torch.float64) * torch.logspace(-3, 3, 100, dtype=torch.float64)[:, None]
    v = squash(s)
    length = s.norm(dim=1)
    torch.testing.assert_close(v.norm(dim=1), length**2 / (1 + length**2), rtol=1e-13, atol=0)
    torch.testing.assert_close(v / v.norm(dim=1, keepdim=True), s / length[:, None], rtol=1e-12, atol=1e-15)
    assert (v.norm(dim=1) < 1).all()
    zero = torch.zeros(1, 6, requires_grad=True)
    squash(zero).sum().backward()
    assert not zero.grad.any()


def test_routing_is_the_paper_s_procedure() -> None:
    """The twin is the procedure as the paper prints it, one capsule after another."""
    torch.manual_seed(0)
    layer = RoutingCapsules(5, 3, 4, 2, iterations=3).double()
    u = torch.randn(2, 5, 3, dtype=torch.float64)
    found, couplings = layer.route(u)
    for sample in range(2):
        prediction = {(i, j): u[sample, i] @ layer.weight[i, j] for i in range(5) for j in range(4)}
        b = dict.fromkeys(prediction, 0.0)
        for _ in range(3):
            c = {}
            for i in range(5):
                total = sum(math.exp(b[i, j]) for j in range(4))
                c.update({(i, j): math.exp(b[i, j]) / total for j in range(4)})
            v = {}
            for j in range(4):
                s = sum(c[i, j] * prediction[i, j] for i in range(5))
                v[j] = s.norm() / (1 + s @ s) * s
            b = {(i, j): b[i, j] + (prediction[i, j] @ v[j]).item() for i, j in b}
        torch.testing.assert_close(found[sample], torch.stack([v[j] for j in range(4)]), rtol=0, atol=1e-12)
        expected = torch.tensor([[c[i, j] for j in range(4)] for i in range(5)], dtype=torch.float64)
        torch.testing.assert_close(couplings[sample], expected, rtol=0, atol=1e-12)


def test_predictions_that_agree_win_the_couplings() -> None:
    """Ten capsules predict the same for the first parent, and vectors of the same length at random for the second."""
    torch.manual_seed(0)
    u = torch.ones(1, 10, 1, dtype=torch.float64)
    shares = {}
    for iterations in (1, 2, 3, 5):
        layer = RoutingCapsules(10, 1, 2, 8, iterations=iterations).double()
        generator = torch.Generator().manual_seed(1)
        same = torch.nn.functional.normalize(torch.randn(8, generator=generator, dtype=torch.float64), dim=0)
        each = torch.nn.functional.normalize(torch.randn(10, 8, generator=generator, dtype=torch.float64), dim=1)
        with torch.no_grad():
            layer.weight.copy_(torch.stack([same.expand(10, 8), each], 1)[:, :, None])
        capsules, couplings = layer.route(u)
        torch.testing.assert_close(couplings.sum(2), torch.ones(1, 10, dtype=torch.float64))
        shares[iterations] = couplings[0, :, 0]
        # What agrees adds up: its capsule is longer.
        assert capsules[0, 0].norm() > capsules[0, 1].norm()
    # One iteration sends half to each; with each further one all ten turn to where they agree.
    assert torch.equal(shares[1], torch.full((10,), 0.5, dtype=torch.float64))
    assert (shares[2] > shares[1]).all()
    assert (shares[3] > shares[2]).all()
    assert (shares[5] > shares[3]).all()
    assert shares[5].min() > 0.75


def test_parameters_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        model, without = CapsNet(), capsnet_without_reconstruction()
        assert model.capsules(torch.zeros(2, 1, 28, 28)).shape == (2, 10, 16)
    counts = [sum(each.numel() for each in part.parameters()) for part in (model, without)]
    assert counts == [8_215_568, 6_804_224]
    # "8.2M parameters and 6.8M parameters without the reconstruction subnetwork."
    assert [f"{count / 1e6:.1f}" for count in counts] == ["8.2", "6.8"]
    assert model.classes.weight.shape == (32 * 6 * 6, 10, 8, 16)


def test_a_primary_capsule_is_one_kind_at_one_place() -> None:
    torch.manual_seed(0)
    model = small(iterations=1, image_size=19).double()
    x = torch.randn(2, 1, 19, 19, dtype=torch.float64)
    maps = model.primary(model.convolution(x).clamp_min(0))
    assert maps.shape == (2, 12, 2, 2)
    vectors = []
    for kind in range(3):
        vectors += [maps[:, 4 * kind : 4 * kind + 4, row, column] for row in range(2) for column in range(2)]
    expected = model.classes(squash(torch.stack(vectors, 1)))
    torch.testing.assert_close(model.capsules(x), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(model(x), expected.norm(dim=-1), rtol=1e-12, atol=1e-14)


def test_margin_loss_by_hand() -> None:
    lengths = torch.tensor([[0.95, 0.05], [0.5, 0.3], [0.2, 0.9]], dtype=torch.float64)
    losses = [0.0, 0.5 * 0.4**2 + 0.6**2, 0.7**2 + 0.5 * 0.8**2]
    assert margin_loss(lengths, torch.tensor([0, 1, 0])).item() == pytest.approx(sum(losses) / 3, rel=1e-12)
    with pytest.raises(UsageError, match=r"targets are \[2\]"):
        margin_loss(lengths, torch.tensor([0, 1]))
    with pytest.raises(UsageError, match=r"\[batch, classes\]"):
        margin_loss(lengths[0], torch.tensor([0]))


def test_the_decoder_sees_one_capsule() -> None:
    torch.manual_seed(0)
    model = small()
    capsules = model.capsules(torch.randn(3, 1, 17, 17))
    targets = torch.tensor([2, 0, 3])
    image = model.reconstruct(capsules, targets)
    assert image.shape == (3, 1, 17, 17)
    assert ((image > 0) & (image < 1)).all()
    others = capsules + torch.randn_like(capsules)
    others[range(3), targets] = capsules[range(3), targets]
    assert torch.equal(model.reconstruct(others, targets), image)
    assert not torch.equal(model.reconstruct(others, (targets + 1) % 4), image)
    longest = capsules.norm(dim=-1).argmax(1)
    assert torch.equal(model.reconstruct(capsules), model.reconstruct(capsules, longest))
    with pytest.raises(UsageError, match="there is no decoder"):
        small(reconstruction=False).reconstruct(capsules)


def test_overfit() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 1, 17, 17)
    overfits(small(reconstruction=False), x, torch.arange(16) % 4, margin_loss, steps=150, rate=5e-3)


def test_it_behaves() -> None:
    torch.manual_seed(0)
    behaves(small(), small(), torch.randn(3, 1, 17, 17))
    nothing = small().capsules(torch.zeros(0, 1, 17, 17))
    assert nothing.shape == (0, 4, 5)
    assert small().reconstruct(nothing).shape == (0, 1, 17, 17)


def test_wrong_arguments_are_refused() -> None:
    for shape in ((2, 3, 17, 17), (2, 1, 17, 18), (1, 17, 17)):
        with pytest.raises(UsageError, match=r"CapsNet\nGive \[batch, 1, 17, 17\] of floating-point numbers"):
            small()(torch.zeros(shape))
    with pytest.raises(UsageError, match="int64"):
        small()(torch.zeros(2, 1, 17, 17, dtype=torch.int64))
    with pytest.raises(UsageError, match="image_size is 16"):
        small(image_size=16)
    for name in ("in_channels", "classes", "channels", "kinds", "dimensions", "class_dimensions", "iterations"):
        with pytest.raises(UsageError, match=f"{name} is 0"):
            small(**{name: 0})
    with pytest.raises(UsageError, match=r"RoutingCapsules\nGive \[batch, 5, 3\]"):
        RoutingCapsules(5, 3, 4, 2)(torch.zeros(2, 4, 3))
    for targets in (torch.tensor([0, 4]), torch.tensor([0, -1]), torch.tensor([0.0, 1.0]), torch.tensor([0])):
        with pytest.raises(UsageError, match=r"margin_loss\nGive \[2\] of int64 from 0 to 3"):
            margin_loss(torch.zeros(2, 4), targets)
        with pytest.raises(UsageError, match=r"CapsNet\nGive \[2\] of int64 from 0 to 3"):
            small().reconstruct(small().capsules(torch.zeros(2, 1, 17, 17)), targets)
    with pytest.raises(UsageError, match=r"CapsNet\nGive \[batch, 4, "):
        small().reconstruct(torch.zeros(2, 4, 99))
    for index in range(4):
        with pytest.raises(UsageError, match="is 0"):
            RoutingCapsules(*[0 if index == place else 1 for place in range(4)])
