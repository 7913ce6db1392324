"""DenseNet: each layer sees all before it; published sizes; the same gradients in less memory."""

from __future__ import annotations

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import (
    DenseBlock,
    DenseNet,
    densenet40_12,
    densenet100_12,
    densenet121,
    densenet_bc100_12,
    densenet_bc190_40,
)


def small(**arguments: object) -> DenseNet:
    return DenseNet(**{"blocks": (2, 3), "growth": 4, "first_channels": 8, "classes": 4, **arguments})


def n_parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize("bottleneck", [False, True])
def test_each_layer_sees_all_before_it(bottleneck: bool) -> None:
    torch.manual_seed(0)
    block = DenseBlock(4, 3, growth=2, bottleneck=bottleneck).double().eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    features = block(x)
    assert torch.equal(features[:, :3], x)
    assert features.shape[1] == 3 + 4 * 2
    # Layer l reads its source s through channels of its own: without their weights it no longer depends on s, and on
    # all others as before. There are L (L + 1) / 2 such connections.
    connections = 0
    layers = list(block.children())
    starts = [0, 3, 5, 7]
    for index, layer in enumerate(layers):
        for source in range(index + 1):
            width = 3 if source == 0 else 2
            inputs = features[:, : 3 + 2 * index].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(layer(inputs).square().sum(), inputs)
            connections += bool(gradient[:, starts[source] : starts[source] + width].any())
            assert torch.equal(layer(inputs), features[:, 3 + 2 * index : 5 + 2 * index])
    assert connections == 4 * 5 // 2


@pytest.mark.parametrize(
    ("build", "depth", "expected", "published"),
    [
        (densenet40_12, 40, 1_019_722, "1.0"),
        (densenet100_12, 100, 6_979_642, "7.0"),
        (densenet_bc100_12, 100, 769_162, "0.8"),
        (densenet_bc190_40, 190, 25_624_430, "25.6"),
        (densenet121, 121, 7_978_856, "8.0"),
    ],
)
def test_parameters_are_those_of_the_paper(build, depth: int, expected: int, published: str) -> None:
    with torch.device("meta"):
        model = build()
    assert n_parameters(model) == expected
    assert f"{expected / 1e6:.1f}" == published
    assert len([each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]) == depth


def trained_once(model: DenseNet, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """Return the gradients, the state after one pass in training, and the bytes kept for the backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        # Views of one storage are kept once.
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x).square().sum()
    loss.backward()
    gradients = {name: each.grad for name, each in model.named_parameters()}
    return gradients, model.state_dict(), sum(kept.values())


@pytest.mark.demonstrates("repo-densenet")
def test_it_has_the_published_size_and_computes_the_same_gradients_in_less_memory() -> None:
    with torch.device("meta"):
        assert n_parameters(densenet40_12()) == pytest.approx(1.0e6, rel=0.02)
    for bottleneck in (False, True):
        found = []
        for recompute in (False, True):
            torch.manual_seed(0)
            model = small(blocks=(8, 8), recompute=recompute, bottleneck=bottleneck, dropout=0.2)
            x = torch.randn(4, 3, 8, 8)
            found.append(trained_once(model, x))
        (gradients, state, kept), (again, same, fewer) = found
        # The same computation, also what it drops; running means count each batch once.
        assert all(torch.equal(gradients[name], again[name]) for name in gradients)
        assert all(torch.equal(state[name], same[name]) for name in state)
        assert state["features.normalisation.num_batches_tracked"] == 1
        assert same["features.block1.layer1.normalisation1.num_batches_tracked"] == 1
        # Eight layers of 4 on 8 channels: their inputs are 22 channels in the mean, which normalisation and ReLU keep.
        assert fewer < kept / 3


@pytest.mark.parametrize("training", [False, True])
def test_recomputed_layers_can_be_differentiated_again(training: bool) -> None:
    torch.manual_seed(0)
    models = [small(recompute=recompute).double().train(training) for recompute in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    products = []
    for model in models:
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(model(x).square().sum(), parameters, create_graph=True)
        squared = sum(each.square().sum() for each in gradients)
        products.append(torch.autograd.grad(squared, parameters, retain_graph=True))
        assert model.state_dict()["features.block1.layer1.normalisation1.num_batches_tracked"] == training
    # The same terms, summed in another order.
    torch.testing.assert_close(products[0], products[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_it_computes_its_formula(bottleneck: bool) -> None:
    """The twin keeps one growing tensor, with torch's functions, in training mode."""
    torch.manual_seed(0)
    model = small(bottleneck=bottleneck, compression=0.5).double()
    w = dict(model.named_parameters())
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)

    def active(h, name):
        return functional.batch_norm(h, None, None, w[f"{name}.weight"], w[f"{name}.bias"], training=True).relu()

    def convolved(h, name):
        weight = w[f"{name}.weight"]
        return functional.conv2d(h, weight, padding=weight.shape[-1] // 2)

    h = convolved(x, "stem")
    for block, n in ((1, 2), (2, 3)):
        for layer in range(1, n + 1):
            new = h
            for i in (1, 2) if bottleneck else (1,):
                name = f"features.block{block}.layer{layer}"
                new = convolved(active(new, f"{name}.normalisation{i}"), f"{name}.convolution{i}")
            h = torch.cat([h, new], 1)
        if block == 1:
            h = active(h, "features.transition1.normalisation")
            h = functional.avg_pool2d(convolved(h, "features.transition1.convolution"), 2)
            assert h.shape[1] == (8 + 2 * 4) // 2
    h = active(h, "features.normalisation").mean((2, 3))
    expected = h @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


def test_overfit() -> None:
    torch.manual_seed(0)
    overfits(small(), torch.randn(16, 3, 8, 8), torch.arange(16) % 4, functional.cross_entropy, steps=150)


@pytest.mark.parametrize(
    "arguments", [{}, {"bottleneck": True, "compression": 0.5, "large_images": True}, {"recompute": True}]
)
def test_it_behaves(arguments: dict[str, object]) -> None:
    torch.manual_seed(0)
    behaves(small(**arguments), small(**arguments), torch.randn(3, 3, 16, 16))


def test_wrong_arguments_are_refused() -> None:
    for shape in ((2, 1, 8, 8), (3, 8, 8), (2, 3, 1, 8)):
        with pytest.raises(UsageError, match=r"DenseNet\nGive \[batch, 3, height, width\] .* both at least 2"):
            small()(torch.zeros(shape))
    with pytest.raises(UsageError, match="both at least 8"):
        small(large_images=True)(torch.zeros(2, 3, 4, 4))
    with pytest.raises(UsageError, match="int64"):
        small()(torch.zeros(2, 3, 8, 8, dtype=torch.int64))
    with pytest.raises(UsageError, match="there are no blocks"):
        small(blocks=())
    for wrong in ({"blocks": (0, 1)}, {"growth": 0}, {"first_channels": 0}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    with pytest.raises(UsageError, match="channels after compression is 0"):
        small(compression=0.01)
    for compression in (0.0, 1.1, float("nan")):
        with pytest.raises(UsageError, match="compression is"):
            small(compression=compression)
    with pytest.raises(UsageError, match="dropout is"):
        small(dropout=1.0)
