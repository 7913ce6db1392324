from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import ForwardForward, contrasted_labels, fit, forward_forward_loss, with_label


def stack(*widths: int) -> ForwardForward:
    torch.manual_seed(0)
    return ForwardForward(widths, classes=2).double()


def batch(features: int, count: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, features, generator=generator, dtype=torch.float64)
    return contrasted_labels(x, torch.arange(count) % 2, classes=2, generator=generator)


def test_each_layer_follows_its_own_rule() -> None:
    model, (inputs, real) = stack(6, 5, 7, 4), batch(6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in model.linears]
    for _ in range(3):
        optimizer.zero_grad()
        forward_forward_loss(model(inputs), real).backward()
        optimizer.step()
        # By hand, layer by layer: with r = real, the loss −log σ(±(G − θ)) has dG-slope σ(G − θ) − r, and G = Σ y² has
        # the slope 2y at the layer's linear output where it is positive.
        below = inputs
        for index, (weight, bias) in enumerate(weights):
            unit = below / below.square().mean(dim=1, keepdim=True).add(1e-8).sqrt()
            active = (unit @ weight.T + bias).clamp(min=0)
            excess = active.square().sum(dim=1) - len(bias)
            slope = (torch.sigmoid(excess) - real).unsqueeze(1) * 2 * active / len(inputs)
            weights[index] = (weight - 0.1 * slope.T @ unit, bias - 0.1 * slope.sum(dim=0))
            below = active
        for layer, (weight, bias) in zip(model.linears, weights, strict=True):
            # Some hundred roundings of 1e-16.
            assert torch.allclose(layer.weight, weight, rtol=0, atol=1e-10)
            assert torch.allclose(layer.bias, bias, rtol=0, atol=1e-10)


def test_nothing_is_sent_back() -> None:
    model, (inputs, _) = stack(6, 5, 7), batch(6)
    excess = model(inputs)
    gradients = torch.autograd.grad(excess[:, 1].sum(), list(model.parameters()))
    reached = {name for (name, _), each in zip(model.named_parameters(), gradients, strict=True) if each.any()}
    assert reached == {"linears.1.weight", "linears.1.bias"}


def test_a_layers_goodness_is_hidden_from_the_next() -> None:
    model, (inputs, _) = stack(6, 5, 7), batch(6)
    before = model(inputs)
    with torch.no_grad():
        model.linears[0].weight.mul_(10)
        model.linears[0].bias.mul_(10)
    after = model(inputs)
    # Goodness of the first layer a hundredfold; the ε of 1e-8 in the norm, beside squares near 0.1, is what may change.
    assert torch.allclose(after[:, 0] + 5, 100 * (before[:, 0] + 5), rtol=1e-10)
    assert torch.allclose(after[:, 1], before[:, 1], rtol=1e-4, atol=1e-6)
    # Without the division it would not be: the second layer's own goodness is far from linear in 10.
    model.normalisations[1] = nn.Identity()
    assert not torch.allclose(model(inputs)[:, 1], before[:, 1], rtol=0.1)


def test_it_learns_to_classify_by_goodness() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    centres = torch.rand(3, 9, generator=generator)
    x = torch.cat([torch.zeros(60, 3), centres[labels] + 0.1 * torch.randn(60, 9, generator=generator)], dim=1)
    torch.manual_seed(0)
    model = ForwardForward([12, 40, 40], classes=3)
    chance = (model.classify(x) == labels).float().mean()

    def data(epoch: int) -> list[tuple[Tensor, Tensor]]:
        draws = torch.Generator().manual_seed(epoch)
        return [contrasted_labels(x, labels, classes=3, generator=draws)]

    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    fit(model, data, forward_forward_loss, optimizer=optimizer, epochs=150)
    accuracy = (model.classify(x) == labels).float().mean()
    assert chance < 0.8
    assert accuracy > 0.95


def test_contrasted_labels_are_wrong_and_evenly_so() -> None:
    labels = torch.arange(3000) % 3
    x = torch.rand(3000, 5)
    inputs, real = contrasted_labels(x, labels, classes=3, generator=torch.Generator().manual_seed(0))
    marked = inputs[:, :3].argmax(dim=1)
    assert torch.equal(inputs[:3000], with_label(x, labels, 3))
    assert torch.equal(inputs[3000:, 3:], x[:, 3:])
    assert real.tolist() == [1.0] * 3000 + [0.0] * 3000
    shift = (marked[3000:] - labels) % 3
    # Never right; half of each of the two others, with a deviation of √(3000/4) = 27.
    assert (shift > 0).all()
    assert abs(int((shift == 1).sum()) - 1500) < 5 * 27


def test_one_layer_alone_classifies_by_itself() -> None:
    model = stack(4, 3)
    x = batch(4)[0]
    expected = torch.stack([model(with_label(x, torch.full((len(x),), each), 2))[:, 0] for each in (0, 1)], dim=1)
    assert torch.equal(model.classify(x), expected.argmax(dim=1))


def test_it_runs_under_autocast_and_with_labels_of_32_bits() -> None:
    model, labels = stack(6, 5, 7).float(), torch.tensor([0, 1, 0], dtype=torch.int32)
    x = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    expected = model(with_label(x, labels, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(with_label(x, labels, 2).bfloat16())
    # Squares of a few sums in bfloat16, of order 1 to 10: rounded to 2⁻⁸ of them.
    assert torch.allclose(found.float(), expected, rtol=0, atol=0.2)


def test_of_several_layers_the_first_does_not_count() -> None:
    model = stack(4, 6, 3, 5)
    x = batch(4, count=200)[0]
    each = [model(with_label(x, torch.full((len(x),), label), 2)) for label in (0, 1)]
    expected = torch.stack([excess[:, 1:].sum(dim=1) for excess in each], dim=1).argmax(dim=1)
    assert torch.equal(model.classify(x), expected)
    # With it some would be others.
    assert not torch.equal(torch.stack([excess.sum(dim=1) for excess in each], dim=1).argmax(dim=1), expected)


def test_wrong_arguments_are_named() -> None:
    for widths in ([5], [5, 0], [5, 2.5]):
        with pytest.raises(UsageError, match="widths"):
            ForwardForward(widths, classes=2)
    for classes in (1, 6):
        with pytest.raises(UsageError, match="classes"):
            ForwardForward([5, 3], classes=classes)
    for threshold in (0.0, torch.inf):
        with pytest.raises(UsageError, match="threshold"):
            ForwardForward([5, 3], classes=2, threshold=threshold)
    model = stack(6, 5)
    for x in (torch.zeros(2, 5).double(), torch.zeros(6).double(), torch.zeros(2, 6).long(), torch.zeros(2, 6)):
        with pytest.raises(UsageError, match=r"\[batch, 6\] of torch\.float64"):
            model(x)
    assert model(torch.zeros(0, 6, dtype=torch.float64)).shape == (0, 1)
    assert model(torch.full((1, 6), torch.nan, dtype=torch.float64)).isnan().all()
    with pytest.raises(UsageError, match="labels"):
        with_label(torch.zeros(2, 5), torch.tensor([0, 2]), 2)
    with pytest.raises(UsageError, match="labels"):
        with_label(torch.zeros(2, 5), torch.tensor([0]), 2)
    with pytest.raises(UsageError, match="x is"):
        with_label(torch.zeros(2, 1), torch.tensor([0, 1]), 2)
    with pytest.raises(UsageError, match="real"):
        forward_forward_loss(torch.zeros(2, 3), torch.zeros(3))
