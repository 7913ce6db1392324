"""AlexNet: the paper's sizes, its columns and its response normalisation."""

from __future__ import annotations

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import AlexNet


def small(**arguments: object) -> AlexNet:
    return AlexNet(**{"classes": 4, "image_size": 63, "channels": (4, 6, 8, 8, 6), "hidden_size": 16, **arguments})


def outputs_of(model: AlexNet, x: Tensor) -> dict[str, Tensor]:
    found, value = {}, x
    for part in (model.features, model.classifier):
        for name, layer in part.named_children():
            value = layer(value)
            found[name if part is model.features else f"classifier.{name}"] = value
    return found


def test_it_has_the_neurons_and_the_two_columns_of_the_paper() -> None:
    with torch.device("meta"):
        model = AlexNet()
        found = outputs_of(model, torch.zeros(1, 3, 224, 224))
    # The paper's number of neurons in each layer; its 253,440 for the first is known not to match its own 55×55×96.
    layers = [f"activation{n}" for n in range(1, 6)] + ["classifier.linear1", "classifier.linear2", "classifier.output"]
    assert [found[name].numel() for name in layers] == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    # "60 million parameters."
    assert sum(each.numel() for each in model.parameters()) == 60_965_224
    model = small().eval()
    x = torch.randn(2, 3, 63, 63)
    columns = {"convolution2": True, "convolution3": False, "convolution4": True, "convolution5": True}
    for name, apart in columns.items():
        layer = getattr(model.features, name)
        before = torch.randn(2, layer.in_channels, 5, 5)
        after = before.clone()
        after[:, layer.in_channels // 2 :] += 1
        change = (layer(after) - layer(before)).abs().amax((0, 2, 3))
        first, second = change.chunk(2)
        assert (first.max() == 0) == apart
        assert second.min() > 0
    assert model(x).shape == (2, 4)


def test_responses_are_normalised_by_the_paper_s_formula() -> None:
    layer = small().features.normalisation1
    a = 30 * torch.randn(2, 8, 3, 3, dtype=torch.float64)
    expected = torch.empty_like(a)
    for i in range(8):
        near = a[:, max(0, i - 2) : i + 3].square().sum(1)
        expected[:, i] = a[:, i] / (2 + 1e-4 * near) ** 0.75
    # A sum of five and a power: some units in the last place.
    torch.testing.assert_close(layer(a), expected, rtol=1e-13, atol=0)
    # Were α the library's, Σ a² / 5, the outcome were another.
    other = nn.LocalResponseNorm(5, alpha=1e-4, k=2.0)(a)
    assert (other - expected).abs().max() > 1e-2


def test_weights_begin_as_in_the_paper() -> None:
    torch.manual_seed(0)
    model = small(channels=(32, 32, 32, 32, 32), hidden_size=128)
    ones = {"features.convolution2", "features.convolution4", "features.convolution5"}
    ones |= {"classifier.linear1", "classifier.linear2"}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # The standard deviation of n draws is off by a share of 1/√(2n); 500 weights at least: four of these.
            assert layer.weight.std().item() == pytest.approx(0.01, rel=4 / (2 * 500) ** 0.5)
            assert layer.bias is not None
            assert torch.equal(layer.bias, torch.full_like(layer.bias, float(name in ones)))


def test_it_drops_units_of_both_hidden_layers_in_training_alone() -> None:
    """The paper's "output of each hidden neuron", in "the first two fully-connected layers": not their inputs."""
    torch.manual_seed(0)
    model, x = small(hidden_size=64), torch.rand(2, 3, 63, 63)
    found = {}
    for name, layer in model.classifier.named_children():
        layer.register_forward_hook(lambda _, inputs, output, name=name: found.update({name: (inputs[0], output)}))
    # All units are active, so that a zero is a unit that was dropped.
    for layer in (model.classifier.linear1, model.classifier.linear2):
        nn.init.zeros_(layer.weight)
    model(x)
    assert torch.equal(found["linear1"][0], found["flatten"][1])
    for reader in ("linear2", "output"):
        # Of 128 halves six standard deviations are 34; what is left is twice as large.
        assert 30 < (found[reader][0] == 0).sum() < 98
        assert found[reader][0].unique().tolist() == [0, 2]
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_overfit() -> None:
    torch.manual_seed(0)
    model = small(dropout=0.0)
    # As small as it begins, for layers of 4,096, a layer of 16 passes nothing on.
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    x = torch.randn(16, 3, 63, 63)
    overfits(model, x, torch.arange(16) % 4, functional.cross_entropy, steps=150, rate=3e-3)


def test_it_behaves() -> None:
    torch.manual_seed(0)
    behaves(small(), small(), torch.randn(3, 3, 63, 63))


@pytest.mark.parametrize(
    "shape", [(2, 1, 63, 63), (2, 3, 64, 64), (2, 3, 63, 64), (3, 63, 63), (2, 3, 63), (2, 3, 63, 63, 1)]
)
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"AlexNet\nGive \[batch, 3, 63, 63\] of floating-point numbers"):
        small()(torch.zeros(shape))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="int64"):
        small()(torch.zeros(2, 3, 63, 63, dtype=torch.int64))
    with pytest.raises(UsageError, match="image_size is 62"):
        small(image_size=62)
    for size in (63.0, "63"):
        with pytest.raises(UsageError, match=r"(?s)image_size is .*whole number"):
            small(image_size=size)
    for channels in ((4, 6, 8, 8), (4, 6, 8, 8, 5)):
        with pytest.raises(UsageError, match="five even numbers"):
            small(channels=channels)
    for name in ("in_channels", "classes", "hidden_size"):
        with pytest.raises(UsageError, match=f"{name} is 0"):
            small(**{name: 0})
    for dropout in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="dropout is"):
            small(dropout=dropout)
