"""Reversible networks: inputs computed back, gradients as usual, memory that does not grow with depth."""

from __future__ import annotations

import copy

import pytest
import torch
from contract import behaves, overfits
from saved_bytes import saved_bytes
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import ReversibleStack, RevNet, revnet38


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def stack(depth: int, *, recompute: bool = True) -> ReversibleStack:
    torch.manual_seed(0)
    branches = (nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3)) for _ in range(depth))
    return ReversibleStack(branches, recompute=recompute).double()


def small(**arguments: object) -> RevNet:
    torch.manual_seed(0)
    return RevNet(**{"blocks": (2, 3), "channels": (8, 12), "classes": 4, **arguments})


def test_inputs_are_computed_back() -> None:
    model, x = stack(100), numbers(4, 6)
    y = model(x)
    # Each of 100 sums rounds once there and once back, and a branch's slope carries errors on.
    torch.testing.assert_close(model.inverse(y), x, rtol=0, atol=1e-10)
    assert (y - x).norm() > x.norm()
    # Planted: a plain residual block x + F(x) is not undone by y − F(y).
    branch = model.branches[0]
    forth = x[:, :3] + branch(x[:, :3])
    assert (forth - branch(forth) - x[:, :3]).norm() > 1e-3
    images, model = numbers(2, 8, 5, 7), small().double().train().stages.stage1.reversible
    torch.testing.assert_close(model.inverse(model(images)), images, rtol=0, atol=1e-10)


def test_a_block_computes_its_formula() -> None:
    model, x = stack(2), numbers(4, 6)
    x1, x2 = x.chunk(2, 1)
    y1 = x1 + model.branches[0](x2)
    y2 = x2 + model.branches[1](y1)
    assert torch.equal(model(x), torch.cat([y1, y2], 1))
    volume = torch.linalg.det(torch.autograd.functional.jacobian(lambda each: model(each[None])[0], x[0]))
    # A product of six numbers of order 1.
    assert abs(volume.abs().item() - 1) < 1e-13


def gradients(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    trained = [each for each in model.parameters() if each.requires_grad]
    return torch.autograd.grad(model(x).square().sum(), [x, *trained])


def plain(model: nn.Module) -> nn.Module:
    """A copy that keeps all inputs."""
    other = copy.deepcopy(model)
    for each in other.modules():
        if isinstance(each, ReversibleStack):
            each.recompute = False
    return other


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_gradients_are_those_of_plain_differentiation(depth: int) -> None:
    model, x = stack(depth), numbers(4, 6).requires_grad_()
    for mine, their in zip(gradients(model, x), gradients(plain(model), x), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10)
    model.branches[0][0].weight.requires_grad_(False)
    for mine, their in zip(gradients(model, x), gradients(plain(model), x), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10)
    # The same layer at every depth collects the sum.
    shared = ReversibleStack([model.branches[0]] * 3)
    for mine, their in zip(gradients(shared, x), gradients(plain(shared), x), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10)


def test_second_derivatives_are_those_of_plain_differentiation() -> None:
    model, x = stack(3), numbers(2, 6).requires_grad_()
    assert torch.autograd.gradgradcheck(model, (x,))
    found = []
    for each in (model, plain(model)):
        first = torch.autograd.grad(each(x).square().sum(), list(each.parameters()), create_graph=True)
        found.append(torch.autograd.grad(sum(one.sin().sum() for one in first), list(each.parameters())))
    for mine, their in zip(*found, strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10)


def test_tangents_of_forward_mode_are_those_of_plain_differentiation() -> None:
    model, x, direction = stack(3), numbers(4, 6), numbers(4, 6).flip(0)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, direction)
        mine, their = (torch.autograd.forward_ad.unpack_dual(each(dual)).tangent for each in (model, plain(model)))
        assert torch.equal(mine, their)
        assert mine.norm() > 0


def test_weights_that_are_lent_are_those_of_the_backward_pass() -> None:
    model, x = stack(3), numbers(4, 6)
    lent = {name: (each.detach() + 0.3).requires_grad_() for name, each in model.named_parameters()}
    other = plain(model)
    other.load_state_dict(lent)
    value = torch.func.functional_call(model, lent, (x,)).square().sum()
    for mine, their in zip(
        torch.autograd.grad(value, list(lent.values())),
        torch.autograd.grad(other(x).square().sum(), list(other.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10)


def test_a_network_has_the_gradients_and_the_statistics_of_one_that_keeps_all() -> None:
    model, x = small().double().train(), numbers(4, 3, 6, 5).requires_grad_()
    other = plain(model)
    for mine, their in zip(gradients(model, x), gradients(other, x), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10 * float(their.abs().max() + 1))
    for mine, their in zip(model.buffers(), other.buffers(), strict=True):
        assert torch.equal(mine, their)
    assert model.stages.stage1.reversible.branches[0].normalisation1.num_batches_tracked == 1


def test_a_network_has_in_mixed_precision_the_gradients_of_one_that_keeps_all() -> None:
    model, x = small().train(), numbers(4, 3, 6, 5).float()
    found = []
    for each, mixed in ((model, True), (plain(model), True), (plain(model), False)):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            value = each(x).float().square().sum()
        # Outside, as torch asks for.
        gradients = torch.autograd.grad(value, list(each.parameters()))
        found.append(torch.cat([one.flatten() for one in gradients]))
    # Inputs that are computed back are rounded to 8 bits, as are those that are kept.
    assert (found[0] - found[1]).norm() < (found[1] - found[2]).norm()


def test_memory_does_not_grow_with_depth() -> None:
    x = numbers(64, 6).requires_grad_()

    def kept(depth: int, *, recompute: bool) -> int:
        model = stack(depth, recompute=recompute)
        weights = sum(each.nbytes for each in model.parameters())
        return saved_bytes(lambda: model(x)) - recompute * weights

    # The two halves of the output, whatever the depth.
    assert kept(4, recompute=True) == kept(40, recompute=True) == x.nbytes
    assert kept(40, recompute=False) > 8 * kept(4, recompute=False)


def test_it_computes_its_formula() -> None:
    """The twin follows the paper with torch's functions, in training mode."""
    model, x = small().double(), numbers(5, 3, 7, 6)
    w = dict(model.named_parameters())

    def branch(h: Tensor, name: str, stride: int = 1) -> Tensor:
        for i in (1, 2):
            norm = f"{name}.normalisation{i}"
            h = functional.batch_norm(h, None, None, w[f"{norm}.weight"], w[f"{norm}.bias"], training=True).relu()
            h = functional.conv2d(h, w[f"{name}.convolution{i}.weight"], stride=stride if i == 1 else 1, padding=1)
        return h

    x1, x2 = functional.conv2d(x, w["stem.weight"], padding=1).chunk(2, 1)
    for stage, count in (("stage1", 2), ("stage2", 2)):
        if stage == "stage2":
            name = "stages.stage2.reduction"
            pooled = [functional.avg_pool2d(each, 2, ceil_mode=True) for each in (x1, x2)]
            p1, p2 = (torch.cat([each, torch.zeros_like(each[:, :2])], 1) for each in pooled)
            x1 = p1 + branch(x2, f"{name}.branch1", 2)
            x2 = p2 + branch(x1, f"{name}.branch2")
        for i in range(count):
            name = f"stages.{stage}.reversible.branches"
            x1 = x1 + branch(x2, f"{name}.{2 * i}")
            x2 = x2 + branch(x1, f"{name}.{2 * i + 1}")
    h = torch.cat([x1, x2], 1)
    h = functional.batch_norm(h, None, None, w["normalisation.weight"], w["normalisation.bias"], training=True)
    expected = h.relu().mean((2, 3)) @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


def test_parameters_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        model = revnet38()
    n = sum(each.numel() for each in model.parameters())
    assert n == 464_858
    assert f"{n / 1e6:.2f}" == "0.46"
    assert sum(isinstance(each, nn.Conv2d | nn.Linear) for each in model.modules()) == 38


def test_overfit() -> None:
    torch.manual_seed(0)
    overfits(small(), torch.randn(16, 3, 6, 6), torch.arange(16) % 4, functional.cross_entropy, steps=100)


def test_it_behaves() -> None:
    behaves(small(), small(), torch.randn(3, 3, 6, 6))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="there are no branches: ReversibleStack"):
        ReversibleStack([])
    with pytest.raises(UsageError, match=r"layer 1\.0 drops numbers at random"):
        ReversibleStack([nn.Identity(), nn.Sequential(nn.Dropout(0.1))])
    for x in (torch.zeros(2, 5), torch.zeros(4), torch.zeros(2, 0), torch.zeros(2, 6, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"ReversibleStack\nGive \[batch, channels, …\]"):
            stack(1)(x)
    for recompute in (False, True):
        with pytest.raises(UsageError, match=r"a branch maps \[2, 3\] to \[2, 1\]"):
            ReversibleStack([nn.Linear(3, 1)], recompute=recompute)(torch.zeros(2, 6))
    for wrong in ({"channels": (8, 13)}, {"channels": (7, 12)}):
        with pytest.raises(UsageError, match="a number of channels is"):
            small(**wrong)
    with pytest.raises(UsageError, match="channels go from 4 to 3"):
        small(channels=(8, 6))
    for wrong in ({"blocks": (0, 1)}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    for shape in ((2, 1, 8, 8), (3, 8, 8), (2, 3, 0, 8)):
        with pytest.raises(UsageError, match=r"RevNet\nGive \[batch, 3, height, width\]"):
            small()(torch.zeros(shape))
