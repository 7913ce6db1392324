from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from deepscope.core import MeasurementError, UsageError
from deepscope.training import KeepMasks, apply_masks, fit, pruning_masks, taylor_scores, taylor_unit_scores, unit_masks

X = torch.randn(10, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(10) % 3


def network(activation: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), activation or nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)
    ).double()


BATCHES = [(X[:4], Y[:4]), (X[4:], Y[4:])]


def test_weights_are_scored_as_the_paper_has_it() -> None:
    model = network()
    scores = taylor_scores(model, BATCHES, cross_entropy)
    assert list(scores) == ["0.weight", "2.weight", "5.weight"]
    for name, found in scores.items():
        weight = model.get_parameter(name)
        expected = 0.0
        for inputs, targets in BATCHES:
            gradient = torch.autograd.grad(cross_entropy(model(inputs), targets), weight)[0]
            expected = expected + len(inputs) / 10 * (gradient * weight) ** 2
        # A few roundings of 1e-16 of numbers below 1.
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_for_a_linear_model_and_loss_it_is_the_change_itself() -> None:
    # L = mean of w·x is linear: without a weight it changes by exactly g·w.
    model = nn.Linear(6, 1, bias=False, dtype=torch.float64)
    x = X.flatten(1)[:, :6]

    def mean(outputs, targets):
        return outputs.mean()

    scores = taylor_scores(model, [(x, Y)], mean)["weight"]
    before = model(x).mean()
    for place in range(6):
        without = copy.deepcopy(model)
        with torch.no_grad():
            without.weight[0, place] = 0.0
        assert scores[0, place].item() == pytest.approx((before - without(x).mean()).item() ** 2, rel=1e-10)


@pytest.mark.parametrize("normalised", [True, False])
def test_units_are_scored_as_the_paper_has_it(normalised: bool) -> None:
    model = network()
    scores = taylor_unit_scores(model, BATCHES, cross_entropy, normalised=normalised)
    for name, found in scores.items():
        totals = torch.zeros(len(found), dtype=torch.float64)
        for x, y in zip(X, Y, strict=True):
            # Each sample by itself, and the output after the ReLU for the first layer: both must be the same.
            at = int(name) + 1 if name == "0" else int(name)
            output = model[: at + 1](x[None]).detach().requires_grad_()
            gradient = torch.autograd.grad(cross_entropy(model[at + 1 :](output), y[None]), output)[0]
            product = (gradient * output)[0].detach()
            totals += (product.flatten(1).mean(1) if product.ndim > 1 else product).abs()
        expected = totals / 10
        if normalised:
            expected = expected / expected.norm()
        # A few roundings of 1e-16.
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_batches_and_an_inplace_activation_change_nothing() -> None:
    model = network()
    one = taylor_unit_scores(model, [(X, Y)], cross_entropy)
    parts = taylor_unit_scores(model, [(X[:1], Y[:1]), (X[1:8], Y[1:8]), (X[8:], Y[8:])], cross_entropy)
    inplace = taylor_unit_scores(network(nn.ReLU(inplace=True)), BATCHES, cross_entropy)
    for name in one:
        assert torch.allclose(one[name], parts[name], rtol=1e-10, atol=1e-14)
        assert torch.allclose(one[name], inplace[name], rtol=1e-10, atol=1e-14)


def test_steps_of_a_sequence_are_positions_of_a_linear_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 7, 3, dtype=torch.float64)
    y = torch.randn(5, 7, 2, dtype=torch.float64)
    found = taylor_unit_scores(model, [(x, y)], mse_loss, normalised=False)["0"]
    expected = torch.zeros(4, dtype=torch.float64)
    for inputs, targets in zip(x, y, strict=True):
        output = model[:1](inputs).detach().requires_grad_()
        gradient = torch.autograd.grad(mse_loss(model[1:](output), targets), output)[0]
        expected += (gradient * output).mean(0).abs().detach() / 5
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_units_of_frozen_layers_and_without_gradients_around_are_scored_alike() -> None:
    model = network()
    expected = taylor_unit_scores(model, BATCHES, cross_entropy)
    weights = taylor_scores(model, BATCHES, cross_entropy)
    with torch.no_grad():
        found = [taylor_unit_scores(model, BATCHES, cross_entropy)]
        again = taylor_scores(model, BATCHES, cross_entropy)
    assert all(torch.equal(weights[name], each) for name, each in again.items())
    model[0].requires_grad_(False)
    found.append(taylor_unit_scores(model, BATCHES, cross_entropy))
    model.requires_grad_(False)
    found.append(taylor_unit_scores(model, BATCHES, cross_entropy))
    assert all(torch.equal(expected[name], each[name]) for each in found for name in expected)


def test_a_shortcut_that_is_added_in_place_is_not_of_the_layer() -> None:
    class Residual(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.head, self.inplace = nn.Linear(4, 4).double(), nn.Linear(4, 3).double(), inplace

        def forward(self, x):
            y = self.layer(x)
            if self.inplace:
                y += x
                return self.head(y)
            return self.head(y + x)

    batches = [(X.flatten(1)[:, :4], Y)]
    one, other = (taylor_unit_scores(Residual(inplace), batches, cross_entropy) for inplace in (True, False))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_network_is_left_as_it_was() -> None:
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    model[0].weight.grad = torch.ones_like(model[0].weight)
    taylor_scores(model, BATCHES, cross_entropy)
    taylor_unit_scores(model, BATCHES, cross_entropy)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert bool((model[0].weight.grad == 1).all())
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_units_that_are_masked_put_out_0_and_stay_so() -> None:
    model = network()
    kept = pruning_masks(taylor_unit_scores(model, BATCHES, cross_entropy, layers=["0", "2"]), 0.5)
    masks = unit_masks(model, kept)
    assert sum(int((~each).sum()) for each in kept.values()) == 3
    assert list(masks) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    apply_masks(model, masks)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    fit(model, lambda epoch: BATCHES, cross_entropy, optimizer=optimizer, epochs=2, callbacks=[KeepMasks(masks)])
    with torch.no_grad():
        first = model[0](X)
    assert bool((first[:, ~kept["0"]] == 0).all())
    assert bool((first[:, kept["0"]] != 0).any())


def test_weights_without_gradients_are_named() -> None:
    model = network()
    model[2].weight.requires_grad_(False)
    with pytest.raises(UsageError, match=r"requires_grad is False(?s:.)*2\.weight"):
        taylor_scores(model, BATCHES, cross_entropy)
    assert list(taylor_scores(model, BATCHES, cross_entropy, names=["0.weight"])) == ["0.weight"]
    with pytest.raises(UsageError, match="depends on no parameter"):
        taylor_unit_scores(model, BATCHES, lambda outputs, targets: outputs.detach().sum())
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    model.forward = lambda x: model["used"](x)
    batches = [(torch.ones(3, 2), torch.ones(3, 2))]
    with pytest.raises(UsageError, match=r"does not depend on it(?s:.)*idle"):
        taylor_scores(model, batches, mse_loss)
    with pytest.raises(UsageError, match=r"not used(?s:.)*idle"):
        taylor_unit_scores(model, batches, mse_loss)


def test_bad_input_is_named() -> None:
    model = network()
    with pytest.raises(UsageError, match="no such layer"):
        taylor_unit_scores(model, BATCHES, cross_entropy, layers=["9"])
    with pytest.raises(UsageError, match="ReLU"):
        taylor_unit_scores(model, BATCHES, cross_entropy, layers=["1"])
    with pytest.raises(UsageError, match="units"):
        taylor_unit_scores(nn.ReLU(), BATCHES, cross_entropy)
    with pytest.raises(UsageError, match=r"shape \[4\]"):
        unit_masks(model, {"0": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(MeasurementError, match="no samples"):
        taylor_scores(model, [], cross_entropy)
    with pytest.raises(MeasurementError, match="no terms"):
        taylor_scores(model, BATCHES, cross_entropy, count=lambda targets: 0)
    with pytest.raises(MeasurementError, match="gradient is not finite"):
        taylor_scores(model, BATCHES, lambda outputs, targets: (outputs - outputs.detach()).sqrt().sum())
    with pytest.raises(UsageError):
        taylor_scores(model, iter(BATCHES), cross_entropy)
