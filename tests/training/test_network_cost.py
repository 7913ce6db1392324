from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.training import (
    TensorTrainLinear,
    add_movement_masks,
    apply_masks,
    low_rank,
    magnitudes,
    network_cost,
    pruning_masks,
)


def lenet() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def test_lenet_300_100_costs_what_its_layers_say() -> None:
    model, x = lenet(), torch.zeros(3, 784)
    weights = 784 * 300 + 300 * 100 + 100 * 10
    cost = network_cost(model, x)
    assert (cost.parameters, cost.nonzero_parameters) == (weights + 410, weights + 410)
    assert cost.flops == cost.nonzero_flops == 2 * weights
    masks = pruning_masks(magnitudes(model), 11 / 12)
    apply_masks(model, masks)
    pruned = network_cost(model, x)
    kept = weights - int(11 / 12 * weights)
    assert (pruned.parameters, pruned.flops) == (cost.parameters, cost.flops)
    assert (pruned.nonzero_parameters, pruned.nonzero_flops) == (kept + 410, 2 * kept)


@pytest.mark.parametrize(
    ("layer", "shape", "positions"),
    [
        (nn.Conv1d(4, 6, 3, stride=2), (4, 11), 5),
        (nn.Conv2d(4, 6, 3, padding=1), (4, 7, 5), 35),
        (nn.Conv2d(4, 6, 3, groups=2, dilation=2), (4, 9, 9), 25),
        (nn.Conv3d(4, 6, 2), (4, 3, 3, 3), 8),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 5), 25),
        (nn.Linear(4, 6), (7, 4), 7),
    ],
)
def test_each_weight_is_used_once_at_each_position(layer: nn.Module, shape: tuple[int, ...], positions: int) -> None:
    x = torch.randn(2, *shape)
    n = layer.weight.numel()
    assert network_cost(layer, x).flops == 2 * n * positions
    with torch.no_grad():
        layer.weight.view(-1)[::3] = 0.0
    zeros = len(range(0, n, 3))
    assert network_cost(layer, x).nonzero_flops == 2 * (n - zeros) * positions


def test_factorised_layers_cost_less() -> None:
    layer, x = nn.Linear(64, 48), torch.zeros(2, 64)
    cost = network_cost(low_rank(layer, 5).layer, x)
    assert (cost.parameters, cost.flops) == (5 * (64 + 48) + 48, 2 * 5 * (64 + 48))
    train = TensorTrainLinear([8, 8], [6, 8], 2)
    # 8 → 6·2 for each of 8, then 8·2 → 8 for each of 6.
    assert network_cost(train, x).flops == 2 * (8 * 12 * 8 + 16 * 8 * 6)


def test_scores_of_movement_pruning_are_no_weights() -> None:
    model = lenet()
    before = network_cost(model, torch.zeros(1, 784))
    for mask in add_movement_masks(model, ["0.weight"]).values():
        mask.n_pruned.fill_(100_000)
    after = network_cost(model, torch.zeros(1, 784))
    assert after.parameters == before.parameters
    assert after.nonzero_parameters == before.parameters - 100_000
    assert after.nonzero_flops == before.flops - 200_000


def test_what_is_shared_counts_once_and_the_network_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)).train()
    model[2].weight = model[0].weight
    before = copy.deepcopy(model.state_dict())
    cost = network_cost(model, torch.randn(5, 4))
    assert cost.parameters == 16 + 4 + 4 + 8
    assert cost.nonzero_parameters == cost.parameters - 4
    assert cost.flops == 64
    assert model.training
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_may_be_given_its_input_by_name() -> None:
    layer = nn.ConvTranspose1d(2, 3, 3)
    with torch.no_grad():
        layer.weight[0] = 0.0
    model, x = nn.ModuleList([layer]), torch.randn(2, 2, 5)
    model.forward = lambda x: layer(input=x)
    assert network_cost(model, x) == network_cost(nn.Sequential(layer), x)


def test_inputs_without_samples_are_named() -> None:
    with pytest.raises(UsageError, match="no sample"):
        network_cost(lenet(), torch.zeros(0, 784))
