from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import maximal_update, width_factors


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))


class Mixed(nn.Module):
    """One layer of each kind; it is never run."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, width)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2)
        self.recurrent = nn.GRU(5, width)
        self.convolution = nn.Conv2d(3, width, 3)
        self.depthwise = nn.Conv2d(width, width, 3, groups=width)
        self.upwards = nn.ConvTranspose2d(width, 2, 3)
        self.narrowing = nn.Linear(2 * width, width)
        self.constant = nn.Linear(5, 7)
        self.token = nn.Parameter(torch.zeros(1, 1, width))


#: Table 3 by hand for four times the width: factors on fan-in and fan-out, on the initial value torch draws, and on
#: the rate of SGD and Adam.
TABLE_3 = {
    "tokens.weight": (1, 4, 1, 4, 1),
    "norm.weight": (1, 4, 1, 4, 1),
    "attention.in_proj_weight": (4, 4, 1, 1, 1 / 4),
    "attention.in_proj_bias": (1, 4, 1, 4, 1),
    "attention.out_proj.weight": (4, 4, 1, 1, 1 / 4),
    # Torch draws all of a recurrent layer from ±1/√hidden, so that what comes from the input shrinks.
    "recurrent.weight_ih_l0": (1, 4, 2, 4, 1),
    "recurrent.weight_hh_l0": (4, 4, 1, 1, 1 / 4),
    "recurrent.bias_ih_l0": (1, 4, 2, 4, 1),
    "convolution.weight": (1, 4, 1, 4, 1),
    "convolution.bias": (1, 4, 1, 4, 1),
    "depthwise.weight": (1, 4, 1, 4, 1),
    # Torch takes the second axis, the outputs, for the fan-in: what it draws does not shrink.
    "upwards.weight": (4, 1, 1 / 4, 1 / 4, 1 / 4),
    "upwards.bias": (1, 1, 1, 1, 1),
    "narrowing.weight": (4, 4, 1, 1, 1 / 4),
    "narrowing.bias": (1, 4, 2, 4, 1),
    "constant.weight": (1, 1, 1, 1, 1),
    "constant.bias": (1, 1, 1, 1, 1),
    "token": (1, 4, 1, 4, 1),
}


@pytest.mark.parametrize(("optimizer", "column"), [("sgd", 3), ("adam", 4)])
def test_it_is_table_3_of_the_paper(optimizer: str, column: int) -> None:
    found = width_factors(Mixed(32), Mixed(8), optimizer=optimizer)
    for name, line in TABLE_3.items():
        each = found[name]
        assert (each.fan_in, each.fan_out, each.initial, each.rate) == (*line[:3], line[column]), name
        kinds = {(1, 1): "fixed", (1, 4): "input", (4, 4): "hidden", (4, 1): "output"}
        assert each.kind == kinds[line[:2]]
    plain = width_factors(mlp(32), mlp(8), optimizer=optimizer)
    assert [each.initial for each in plain.values()] == [1, 1, 1, 2, 1 / 2, 2]
    rates = {"sgd": [4, 4, 1, 4, 1 / 4, 1], "adam": [1, 1, 1 / 4, 1, 1 / 4, 1]}
    assert [each.rate for each in plain.values()] == rates[optimizer]


def test_two_widths_of_their_own_are_two_factors() -> None:
    def build(n: int, m: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(3, n), nn.Linear(n, m), nn.Linear(m, 2))

    found = width_factors(build(20, 24), build(10, 8), optimizer="sgd")
    assert (found["1.weight"].fan_in, found["1.weight"].fan_out, found["1.weight"].rate) == (2, 3, 1.5)
    # The second alone: the matrix between is one of inputs, or one of outputs for the first alone.
    assert width_factors(build(10, 24), build(10, 8))["1.weight"].kind == "input"
    assert width_factors(build(20, 8), build(10, 8))["1.weight"].kind == "output"


class Table8(nn.Module):
    """Table 8 of the paper: the output divided by m in the forward pass, its weights as large as the base's."""

    def __init__(self, network: nn.Sequential, m: float) -> None:
        super().__init__()
        self.network, self.m = network, m
        with torch.no_grad():
            network[2].bias.mul_(math.sqrt(m))
            network[4].bias.mul_(math.sqrt(m))
            network[4].weight.mul_(math.sqrt(m))

    def forward(self, x: Tensor) -> Tensor:
        readout = self.network[4]
        return self.network[:4](x) @ readout.weight.T / self.m + readout.bias

    def groups(self, optimizer: str, lr: float) -> list[dict[str, object]]:
        first, hidden, readout = (self.network[index] for index in (0, 2, 4))
        m = self.m
        if optimizer == "adam":
            slow = [hidden.weight]
            fast = [first.weight, first.bias, hidden.bias, readout.weight, readout.bias]
            return [{"params": slow, "lr": lr / m}, {"params": fast, "lr": lr}]
        grown = [first.weight, first.bias, hidden.bias, readout.weight]
        return [{"params": grown, "lr": lr * m}, {"params": [hidden.weight, readout.bias], "lr": lr}]


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.01), ("sgd", 0.1)])
def test_training_is_that_of_the_equivalent_table_with_a_factor_in_the_forward_pass(optimizer: str, lr: float) -> None:
    torch.manual_seed(0)
    base, network = mlp(8).double(), mlp(24).double()
    twin = Table8(copy.deepcopy(network), 3.0)
    groups = maximal_update(network, base, lr=lr, optimizer=optimizer)
    # ε would count otherwise: the output's gradient differs by the factor.
    make = (lambda groups: torch.optim.Adam(groups, eps=0.0)) if optimizer == "adam" else torch.optim.SGD
    x, y = torch.randn(16, 6).double(), torch.randn(16, 3).double()
    start = network(x)
    for model, its in ((network, groups), (twin, twin.groups(optimizer, lr))):
        rule = make(its)
        for _ in range(10):
            rule.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            rule.step()
    # Ten steps of some hundred roundings of 1e-16, which Adam does not amplify where gradients are far from 0.
    assert torch.allclose(network(x), twin(x), rtol=0, atol=1e-10)
    assert (network(x) - start).abs().max() > 0.02


def test_as_wide_as_the_base_it_is_the_standard_parametrisation_bit_for_bit() -> None:
    torch.manual_seed(0)
    base, network = mlp(8), mlp(8)
    before = copy.deepcopy(network)
    groups = maximal_update(network, base, lr=0.01)
    assert [group["lr"] for group in groups] == [0.01]
    assert [id(each) for each in groups[0]["params"]] == [id(each) for each in network.parameters()]
    x = torch.randn(5, 6)
    for model, parameters in ((network, groups), (before, before.parameters())):
        rule = torch.optim.Adam(parameters, lr=0.01)
        for _ in range(3):
            rule.zero_grad()
            model(x).square().mean().backward()
            rule.step()
    for one, other in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, other)


def test_initial_deviations_are_the_papers_powers_of_the_width() -> None:
    torch.manual_seed(0)
    base, network = mlp(64), mlp(1024)
    maximal_update(network, base, lr=1.0)
    ratios = [(own.std() / its.std()).item() for own, its in zip(network.parameters(), base.parameters(), strict=True)]
    # Of a uniform draw of N numbers the deviation is known to 0.45/√N: 0.06 for a base's 64 biases, four of which are
    # allowed; the last has 3 numbers and is not looked at.
    assert ratios[:5] == pytest.approx([1, 1, 1 / 4, 1, 1 / 16], rel=0.25)


def test_frozen_parameters_are_rescaled_and_in_no_group_and_decay_is_alike_at_any_width() -> None:
    network, base = mlp(32), mlp(8)
    network[4].requires_grad_(False)
    before = network[4].weight.clone()
    groups = maximal_update(network, base, lr=0.1, weight_decay=0.5)
    assert torch.equal(network[4].weight, before / 2)
    assert sum(len(group["params"]) for group in groups) == 4
    assert [group["lr"] * group["weight_decay"] for group in groups] == pytest.approx([0.05, 0.05])
    weight = network[2].weight
    optimizer = torch.optim.AdamW(groups)
    weight.grad, before = torch.zeros_like(weight), weight.detach().clone()
    optimizer.step()
    assert torch.allclose(weight, before * (1 - 0.05))


def test_what_is_just_added_has_its_axis_named() -> None:
    class Positions(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.positions, self.readout = nn.Parameter(torch.ones(5, width)), nn.Parameter(torch.zeros(width, 2))

    with pytest.raises(UsageError, match="cannot be known") as caught:
        width_factors(Positions(16), Positions(8))
    assert "positions" in str(caught.value)
    found = width_factors(Positions(16), Positions(8), fan_in_axes={"positions": None, "readout": -2})
    assert [each.kind for each in found.values()] == ["input", "output"]
    for axes in ({"position": None}, {"positions": 2}):
        with pytest.raises(UsageError, match="no axis"):
            width_factors(Positions(16), Positions(8), fan_in_axes=axes)


def test_a_tensor_that_is_embedding_and_output_at_once_is_refused() -> None:
    def tied(width: int) -> nn.ModuleList:
        layers = nn.ModuleList([nn.Embedding(7, width), nn.Linear(width, 7, bias=False)])
        layers[1].weight = layers[0].weight
        return layers

    with pytest.raises(UsageError, match=r"input as 0\.weight and output as 1\.weight"):
        maximal_update(tied(16), tied(8), lr=0.1)
    # Shared alike it is one tensor.
    both = [nn.ModuleList([nn.Linear(n, n), nn.Linear(n, n)]) for n in (16, 8)]
    for pair in both:
        pair[1].weight = pair[0].weight
    assert list(width_factors(*both)) == ["0.weight", "0.bias", "1.bias"]


def xavier(width: int) -> nn.Linear:
    layer = nn.Linear(6, width, bias=False)
    nn.init.xavier_normal_(layer.weight)
    return layer


def constant(width: int) -> nn.Linear:
    layer = nn.Linear(width, width, bias=False)
    nn.init.normal_(layer.weight, std=0.02)
    return layer


def test_an_initialisation_of_another_rule_is_refused_and_nothing_is_changed() -> None:
    torch.manual_seed(0)
    for build in (constant, xavier):
        network = build(512)
        before = network.weight.clone()
        with pytest.raises(UsageError, match="root mean square"):
            maximal_update(network, build(16), lr=0.1)
        assert torch.equal(network.weight, before)
    network, base = mlp(256), mlp(16)
    maximal_update(network, base, lr=0.1)
    with pytest.raises(UsageError, match="root mean square"):
        maximal_update(network, base, lr=0.1)
    # Zero in both is right at any width; in one it is not.
    network, base = mlp(64), mlp(16)
    nn.init.zeros_(network[4].weight)
    with pytest.raises(UsageError, match=r"4\.weight"):
        maximal_update(network, base, lr=0.1)
    nn.init.zeros_(base[4].weight)
    maximal_update(network, base, lr=0.1)
    # On the meta device there is nothing to compare with.
    with torch.device("meta"):
        base = constant(16)
    maximal_update(constant(512), base, lr=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_torchs_own_initialisation_is_never_refused(seed: int) -> None:
    torch.manual_seed(seed)
    maximal_update(Mixed(24), Mixed(4), lr=0.1)


def test_what_cannot_be_done_is_named() -> None:
    with pytest.raises(UsageError, match="unknown optimizer 'adamm'") as caught:
        maximal_update(mlp(16), mlp(8), lr=0.1, optimizer="adamm")
    assert 'Did you mean "adam"' in str(caught.value)
    with pytest.raises(UsageError, match=r"0\.weight is \[16, 6\] in the network and not there in the base"):
        maximal_update(mlp(16), nn.Conv2d(1, 2, 3), lr=0.1)
    with pytest.raises(UsageError, match=r"tensor weight is \[16, 8\] in the network and \[8, 8, 3\]"):
        maximal_update(nn.Linear(8, 16), nn.Conv1d(8, 8, 3), lr=0.1)
    with pytest.raises(UsageError, match="base is a NoneType"):
        maximal_update(mlp(16), None, lr=0.1)
    with pytest.raises(UsageError, match="network is a function"):
        maximal_update(mlp, mlp(8), lr=0.1)
    with pytest.raises(UsageError, match="lr is -1"):
        maximal_update(mlp(16), mlp(8), lr=-1)
    with pytest.raises(UsageError, match="weight_decay is -1"):
        maximal_update(mlp(16), mlp(8), lr=1, weight_decay=-1)
    with pytest.raises(UsageError, match="requires_grad is False"):
        maximal_update(mlp(16).requires_grad_(False), mlp(8), lr=0.1)
    with pytest.raises(UsageError, match="along 3 axes"):
        maximal_update(nn.Bilinear(16, 16, 16), nn.Bilinear(8, 8, 8), lr=0.1)
