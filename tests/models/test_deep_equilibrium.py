"""Deep equilibrium models: the gradient of infinite depth at the memory of one layer."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from contract import behaves, overfits
from saved_bytes import saved_bytes
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import MeasurementError, UsageError
from deepscope.models import DeepEquilibrium, EquilibriumCell, InjectedLayer, deq_transformer


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def small(**solver: object) -> DeepEquilibrium:
    torch.manual_seed(0)
    return DeepEquilibrium(EquilibriumCell(3, 5), **{"tolerance": 1e-13, **solver}).double()


def unrolled(cell: EquilibriumCell, x: Tensor, depth: int) -> Tensor:
    z = cell.initial_state(x)
    for _ in range(depth):
        z = cell(z, x)
    return z


def gradients(value: Tensor, model: nn.Module, x: Tensor, **given: bool) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value.square().sum(), [x, *model.parameters()], **given)


def test_its_gradient_is_that_of_unrolled_steps_at_constant_memory() -> None:
    model, x = small(), numbers(4, 3).requires_grad_()
    z = model(x)
    # A layer contracts by a half: after 60 of them 2⁻⁶⁰ is left.
    deep = unrolled(model.cell, x, 60)
    torch.testing.assert_close(z, deep, rtol=0, atol=1e-12)
    assert model.solution.converged
    assert ((model.cell(z, x) - z).norm(dim=1) <= 1e-13 * z.norm(dim=1) + 1e-15).all()
    expected = gradients(deep, model, x)
    for mine, their in zip(gradients(z, model, x), expected, strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-11)
    assert model.backward_solution.converged
    # Planted: the gradient of one layer at the equilibrium, which forgets that z depends on the weights, is another.
    shallow = gradients(model.cell(z.detach(), x), model, x)
    assert not torch.allclose(shallow[1], expected[1], rtol=1e-2)

    kept = []
    for tolerance in (1e-3, 1e-13):
        each = small(tolerance=tolerance)
        kept.append((saved_bytes(lambda each=each: each(x)), each.solution.steps))
    assert kept[1][1] > 1.5 * kept[0][1]
    weights = sum(each.nbytes for each in model.parameters())
    assert kept[0][0] == kept[1][0] == z.nbytes + x.nbytes + weights
    assert saved_bytes(lambda: unrolled(model.cell, x, 60)) > 20 * z.nbytes


def test_second_derivatives_are_those_of_unrolled_steps() -> None:
    model, x = small(), numbers(2, 3).requires_grad_()
    found = []
    for value in (model(x), unrolled(model.cell, x, 60)):
        first = gradients(value, model, x, create_graph=True)
        found.append(torch.autograd.grad(sum(each.sin().sum() for each in first), [x, *model.parameters()]))
    for mine, their in zip(*found, strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10)


def test_tangents_of_forward_mode_are_those_of_unrolled_steps() -> None:
    model, x, direction = small(), numbers(4, 3), numbers(4, 3).flip(0)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, direction)
        mine, their = (
            torch.autograd.forward_ad.unpack_dual(each).tangent
            for each in (model(dual), unrolled(model.cell, dual, 60))
        )
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-11)


def test_weights_that_are_lent_are_those_of_the_backward_pass() -> None:
    model, x = small(), numbers(4, 3)
    lent = {name: (0.9 * each.detach()).requires_grad_() for name, each in model.named_parameters()}
    other = copy.deepcopy(model)
    other.load_state_dict(lent)
    value = torch.func.functional_call(model, lent, (x,)).square().sum()
    for mine, their in zip(
        torch.autograd.grad(value, list(lent.values())),
        torch.autograd.grad(other(x).square().sum(), list(other.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-12)


def test_it_comes_to_its_equilibrium_in_mixed_and_in_low_precision() -> None:
    x, found = numbers(4, 3).float(), []
    for mixed in (False, True):
        model, before = small(tolerance=0.02).float(), nn.Linear(3, 3)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            # Behind another layer its input is of 8 bits, and its weights are not.
            value = model(before(x)).float().square().sum()
        found.append(torch.cat([each.flatten() for each in torch.autograd.grad(value, list(model.parameters()))]))
        assert model.solution.converged
        assert model.backward_solution.converged
    # Both are within 2 % of the equilibrium, of 8 bits in one.
    assert (found[0] - found[1]).norm() < 0.1 * found[0].norm()
    low = small(tolerance=0.02).bfloat16()
    torch.testing.assert_close(low(x.bfloat16()).float(), small(tolerance=1e-6).float()(x), rtol=0, atol=0.1)


def test_frozen_weights_have_no_gradient_and_change_no_other() -> None:
    model, x = small(), numbers(4, 3)
    expected = torch.autograd.grad(model(x).square().sum(), model.cell.input.weight)[0]
    model.cell.state.weight.requires_grad_(False)
    model(x).square().sum().backward()
    assert model.cell.state.weight.grad is None
    torch.testing.assert_close(model.cell.input.weight.grad, expected, rtol=0, atol=1e-13)


def test_a_transformer_comes_to_its_equilibrium() -> None:
    torch.manual_seed(0)
    model = deq_transformer(11, 8, 2, 16, tolerance=1e-10, max_steps=200).double()
    text = torch.randint(11, (2, 6))
    positions, equilibrium = model.body
    x = positions(model.embedding(text))
    z = equilibrium(x)
    layer = equilibrium.cell.layer
    assert ((layer(z + x) - z).flatten(1).norm(dim=1) <= 1e-10 * z.flatten(1).norm(dim=1) * 1.01).all()
    torch.testing.assert_close(model(text), model.head(z), rtol=0, atol=1e-12)
    plain = torch.zeros_like(x)
    for _ in range(400):
        plain = layer(plain + x)
    torch.testing.assert_close(z, plain, rtol=0, atol=1e-7)
    # Causal like its layer: what is read later changes nothing, to within the tolerance.
    later = text.clone()
    later[:, 4:] = (later[:, 4:] + 1) % 11
    change = (model(later) - model(text)).abs().amax((0, 2))
    assert change[:4].max() < 1e-7
    assert change[4:].min() > 1e-3


def test_no_equilibrium_is_an_error_forward_and_backward() -> None:
    model, x = small(max_steps=30), numbers(4, 3)
    with torch.no_grad():
        # Turns by a right angle and stretches: no iteration of it comes to rest within thirty steps.
        model.cell.state.weight *= 40
    with pytest.raises(MeasurementError, match="no fixed point after 30 steps"):
        model(x)
    told = small(max_steps=3, strict=False)
    told(x).sum().backward()
    assert not told.solution.converged
    assert not told.backward_solution.converged
    assert told.solution.residual > 1e-13
    # Forward it is at rest at once, backward it is not.
    backward = DeepEquilibrium(InjectedLayer(nn.Linear(3, 3, bias=False)), max_steps=2).double()
    value = backward(torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(MeasurementError, match="no fixed point after 2 steps"):
        value.sum().backward()


def test_overfit() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(DeepEquilibrium(EquilibriumCell(5, 128), tolerance=1e-3), nn.Linear(128, 2))
    # Slow enough that the layer goes on to contract.
    overfits(model, 2 * torch.randn(16, 5), torch.arange(16) % 2, functional.cross_entropy, steps=100, rate=5e-3)


def test_it_behaves() -> None:
    torch.manual_seed(0)
    make = partial(DeepEquilibrium, tolerance=1e-6)
    behaves(make(EquilibriumCell(3, 5)), make(EquilibriumCell(3, 5)), torch.randn(3, 3))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match=r"layer layer\.1 drops numbers at random: DeepEquilibrium"):
        DeepEquilibrium(InjectedLayer(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1))))
    for solver in ({"tolerance": 0}, {"max_steps": 0}):
        with pytest.raises(UsageError, match="is 0: Anderson"):
            small(**solver)
    with pytest.raises(UsageError, match=r"f maps \[2, 3\] to \[2, 1\]"):
        DeepEquilibrium(InjectedLayer(nn.Linear(3, 1)))(torch.zeros(2, 3))
    for sizes in ((0, 5), (3, 0)):
        with pytest.raises(UsageError, match="is 0"):
            EquilibriumCell(*sizes)
    for x in (torch.zeros(2, 4), torch.zeros(3), torch.zeros(2, 3, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"EquilibriumCell\nGive \[batch, 3\]"):
            DeepEquilibrium(EquilibriumCell(3, 5))(x)
