"""Chebyshev polynomials of the Laplacian: filters of its spectrum that reach a given number of edges far."""

from __future__ import annotations

import pytest
import torch
from graphs import adjacency, both_ways, numbers, random_graph
from torch import Tensor
from torch_geometric.nn import ChebConv

from deepscope.models import ChebNet, ChebyshevConvolution, GraphConvolution

EDGES = random_graph(12, 0.35, seed=1)
# The same weight in both directions.
SIDE = torch.rand(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
WEIGHTS = (SIDE + SIDE.T)[EDGES[0], EDGES[1]]


def spectrum(weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues and eigenvectors of the normalised Laplacian."""
    matrix = adjacency(EDGES, 12, weights)
    scale = matrix.sum(1).rsqrt()
    return torch.linalg.eigh(torch.eye(12, dtype=torch.float64) - scale[:, None] * matrix * scale)


def filtered(layer: ChebyshevConvolution, x: Tensor, weights: Tensor | None) -> Tensor:
    """Return U g(Λ) Uᵀ x with Tₖ(cos φ) = cos kφ: no recursion."""
    values, vectors = spectrum(weights)
    angle = (2 * values / layer.largest_eigenvalue - 1).clamp(-1, 1).acos()
    terms = [vectors @ (k * angle).cos().diag() @ vectors.T @ x @ each.weight.T for k, each in enumerate(layer.filters)]
    return sum(terms, start=torch.zeros(()))


@pytest.mark.demonstrates("spectral-graph-conv")
def test_it_filters_the_spectrum_and_repeated_means_smooth_at_its_second_rate() -> None:
    torch.manual_seed(0)
    for weights in (None, WEIGHTS):
        largest = float(spectrum(weights)[0][-1])
        for order in (0, 1, 2, 5, 20):
            for sizes in ((3, 4), (4, 3)):
                for bound in (2.0, largest):
                    layer = ChebyshevConvolution(*sizes, order=order, largest_eigenvalue=bound).double()
                    x = numbers(2, 12, sizes[0])
                    expected = filtered(layer, x, weights)
                    torch.testing.assert_close(layer(x, EDGES, weights), expected, rtol=0, atol=1e-10)
    # Graph convolutions of weight 1, one after another: what is left beside their fixed direction falls at each step
    # by the second eigenvalue, once the others have fallen to less than 1e-10 of it.
    looped = adjacency(EDGES, 12) + torch.eye(12)
    scale = looped.sum(1).rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * looped * scale)
    rates = values[:-1].abs().sort().values
    assert abs(float(values[-1]) - 1) < 1e-12
    assert (rates[-2] / rates[-1]) ** 400 < 1e-10
    layer, x = GraphConvolution(1, 1).double(), numbers(12, 1)
    torch.nn.init.ones_(layer.linear.weight)
    direction = vectors[:, -1:]
    # What rounding gives back to the fixed direction, which does not fall, is taken out again.
    beside = torch.eye(12, dtype=torch.float64) - direction @ direction.T
    rest = beside @ x
    with torch.no_grad():
        for _ in range(400):
            rest = beside @ layer(rest / rest.norm(), EDGES)
    assert abs(float(rest.norm()) - float(rates[-1])) < 1e-8


def test_it_reaches_as_far_as_its_order_and_no_farther() -> None:
    path = both_ways([(i, i + 1) for i in range(9)])
    for order in (0, 1, 3):
        layer = ChebyshevConvolution(1, 1, order=order, largest_eigenvalue=1.9).double()
        jacobian = torch.func.jacrev(lambda x, layer=layer: layer(x, path))(numbers(10, 1)).view(10, 10)
        distance = (torch.arange(10)[:, None] - torch.arange(10)).abs()
        assert (jacobian[distance > order] == 0).all()
        assert (jacobian[distance == order].abs() > 1e-9).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("sizes", [(3, 4), (4, 3)])
def test_it_is_torch_geometrics(sizes: tuple[int, int], dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    layer, peer = ChebyshevConvolution(*sizes, order=3).to(dtype), ChebConv(*sizes, 4, bias=False).to(dtype)
    for ours, theirs in zip(layer.filters, peer.lins, strict=True):
        theirs.load_state_dict(ours.state_dict())
    # One node has no neighbours.
    x = numbers(13, sizes[0]).to(dtype)
    for weights in (None, WEIGHTS.to(dtype)):
        torch.testing.assert_close(layer(x, EDGES, weights), peer(x, EDGES, weights), rtol=0, atol=tolerance)


def test_the_network_is_two_filters_with_relu_between() -> None:
    network, x = ChebNet(4, 3, hidden=5).double().eval(), numbers(12, 4)
    first, second = network.layers
    assert isinstance(first, ChebyshevConvolution)
    assert isinstance(second, ChebyshevConvolution)
    expected = filtered(second, filtered(first, x, WEIGHTS).relu(), WEIGHTS)
    torch.testing.assert_close(network(x, EDGES, WEIGHTS), expected, rtol=0, atol=1e-10)
