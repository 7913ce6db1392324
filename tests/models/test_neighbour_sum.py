"""Sums over neighbours: equal to the dense product, differentiable twice and forward, under vmap."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from graphs import adjacency, numbers
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from deepscope.models._neighbour_sum import neighbour_sum

EDGES = torch.randint(5, (2, 11), generator=torch.Generator().manual_seed(0))


def dense(x: Tensor, weights: Tensor, nodes: int) -> Tensor:
    """Return the sum by matrices, [nodes, nodes] for each sample that has weights of its own."""
    one_hot = torch.nn.functional.one_hot
    matrix = torch.einsum(
        "...e,et,es->...ts", weights, one_hot(EDGES[1], nodes).double(), one_hot(EDGES[0], 5).double()
    )
    return matrix @ x


@pytest.mark.parametrize("nodes", [5, 7])
@pytest.mark.parametrize("own_weights", [False, True])
def test_it_is_the_dense_product_and_so_are_its_derivatives(own_weights: bool, nodes: int) -> None:
    x, weights = numbers(2, 5, 3).requires_grad_(), numbers(*[2] * own_weights, 11, seed=2).requires_grad_()
    # Sums of eleven products of numbers of order 1, in another order.
    torch.testing.assert_close(neighbour_sum(x, EDGES, weights, nodes=nodes), dense(x, weights, nodes))
    assert torch.autograd.gradcheck(
        lambda x, w: neighbour_sum(x, EDGES, w, nodes=nodes),
        (x, weights),
        check_forward_ad=True,
        check_batched_grad=True,
    )
    assert torch.autograd.gradgradcheck(lambda x, w: neighbour_sum(x, EDGES, w, nodes=nodes).sin(), (x, weights))

    def scalar(x: Tensor, w: Tensor) -> Tensor:
        return neighbour_sum(x, EDGES, w, nodes=nodes).sin().square().sum()

    def by_matrix(x: Tensor, w: Tensor) -> Tensor:
        return dense(x, w, nodes).sin().square().sum()

    found, expected = (torch.func.hessian(f, argnums=(0, 1))(x, weights) for f in (scalar, by_matrix))
    torch.testing.assert_close(found, expected)


def test_vmap_over_samples_and_over_weights() -> None:
    x, weights, own = numbers(4, 2, 5, 3), numbers(4, 11, seed=2), numbers(4, 2, 11, seed=3)
    for function, arguments in (
        (lambda x: neighbour_sum(x, EDGES), (x,)),
        (lambda x, w: neighbour_sum(x, EDGES, w), (x, weights)),
        (lambda x, w: neighbour_sum(x, EDGES, w), (x, own)),
        (lambda w: neighbour_sum(x[0], EDGES, w), (weights,)),
        (lambda x: neighbour_sum(x, EDGES, own[0]), (x,)),
    ):
        found = torch.func.vmap(function)(*arguments)
        expected = torch.stack([function(*each) for each in zip(*arguments, strict=True)])
        torch.testing.assert_close(found, expected)
    with pytest.raises(NotImplementedError, match="share their graph"):
        torch.func.vmap(lambda e: neighbour_sum(x[0], e))(EDGES.expand(3, -1, -1))


def test_other_dtypes_are_gathered_and_agree() -> None:
    x, weights = numbers(2, 5, 3), numbers(11, seed=2)
    for given in (None, weights):
        low = neighbour_sum(x.bfloat16(), EDGES, None if given is None else given.bfloat16())
        assert low.dtype == torch.bfloat16
        # bfloat16 has 8 bits; the sums are of numbers up to some 4.
        torch.testing.assert_close(low.double(), neighbour_sum(x, EDGES, given), rtol=0, atol=0.1)


def test_what_watches_every_operation_sees_dense_tensors_alone() -> None:
    layouts = []

    def seen(func: Any, args: Any, kwargs: Any) -> Any:
        result = func(*args, **kwargs or {})
        layouts.extend(each.layout for each in (*args, result) if isinstance(each, Tensor))
        return result

    class Operations(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return seen(func, args, kwargs)

    class Functions(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return seen(func, args, kwargs)

    x, weights = numbers(2, 5, 3), numbers(11, seed=2)
    for watch in (Operations, Functions):
        with watch():
            watched = neighbour_sum(x, EDGES, weights)
        torch.testing.assert_close(watched, neighbour_sum(x, EDGES, weights))
    assert set(layouts) == {torch.strided}


def test_it_is_silent_and_takes_what_is_empty() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert neighbour_sum(torch.ones(5, 3), EDGES).shape == (5, 3)
    assert torch.equal(neighbour_sum(torch.ones(2, 5, 3), EDGES[:, :0]), torch.zeros(2, 5, 3))
    assert neighbour_sum(torch.ones(0, 5, 3), EDGES).shape == (0, 5, 3)


def test_what_is_not_a_number_reaches_the_targets_alone() -> None:
    x = torch.zeros(2, 3, 1)
    x[0, 0] = torch.nan
    summed = neighbour_sum(x, torch.tensor([[0, 1], [1, 2]]))
    assert summed.isnan().flatten().tolist() == [False, True, False, False, False, False]


def test_dense_products_take_the_same_edges() -> None:
    matrix = adjacency(EDGES, 5, numbers(11, seed=2))
    torch.testing.assert_close(matrix @ numbers(5, 3), neighbour_sum(numbers(5, 3), EDGES, numbers(11, seed=2)))
