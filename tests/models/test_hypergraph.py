"""Convolution on hypergraphs: the paper's matrices, and half a graph convolution where hyperedges join two nodes."""

from __future__ import annotations

import pytest
import torch
from graphs import adjacency, numbers, random_graph
from torch import Tensor
from torch_geometric.nn import HypergraphConv

from deepscope.models import HGNN, HypergraphConvolution

# Hyperedges {0, 1, 2}, {1, 3}, {2, 3, 4, 5}, {5}; the last of seven nodes is in none.
MEMBERSHIPS = torch.tensor([[0, 1, 2, 1, 3, 2, 3, 4, 5, 5], [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]])
WEIGHTS = torch.tensor([0.5, 2.0, 1.5, 0.7], dtype=torch.float64)


def operator(weights: Tensor, normalisation: str) -> Tensor:
    """Return the matrix of the paper."""
    incidence = torch.zeros(7, 4, dtype=torch.float64)
    incidence[MEMBERSHIPS[0], MEMBERSHIPS[1]] = 1
    degree, size = incidence @ weights, incidence.sum(0)
    if normalisation == "symmetric":
        scale = degree.pow(-0.5).nan_to_num(posinf=0).diag()
        return scale @ incidence @ (weights / size).diag() @ incidence.T @ scale
    return degree.pow(-1).nan_to_num(posinf=0).diag() @ incidence @ (weights / size).diag() @ incidence.T


@pytest.mark.parametrize("sizes", [(6, 3), (3, 6)])
@pytest.mark.parametrize("normalisation", ["symmetric", "rows"])
def test_it_is_the_dense_product(normalisation: str, sizes: tuple[int, int]) -> None:
    layer, x = HypergraphConvolution(*sizes, normalisation=normalisation).double(), numbers(2, 7, sizes[0])
    for weights in (None, WEIGHTS):
        matrix = operator(torch.ones(4, dtype=torch.float64) if weights is None else weights, normalisation)
        found = layer(x, MEMBERSHIPS, weights)
        torch.testing.assert_close(found, matrix @ x @ layer.linear.weight.T, rtol=0, atol=1e-12)
        assert (found[:, 6] == 0).all()


def test_where_hyperedges_join_two_nodes_it_is_half_a_graph_convolution() -> None:
    edges = random_graph(8, 0.4)
    pairs = edges[:, edges[0] < edges[1]]
    number = torch.arange(pairs.shape[1])
    memberships = torch.stack([pairs.flatten(), number.repeat(2)])
    matrix, x = adjacency(edges, 8), numbers(8, 6)
    scale = matrix.sum(1).rsqrt()
    half = (torch.eye(8, dtype=torch.float64) + scale[:, None] * matrix * scale) / 2
    layer = HypergraphConvolution(6, 3).double()
    torch.testing.assert_close(layer(x, memberships), half @ layer.linear(x), rtol=0, atol=1e-12)
    rows = HypergraphConvolution(6, 3, normalisation="rows").double()
    walk = (torch.eye(8, dtype=torch.float64) + matrix / matrix.sum(1, keepdim=True)) / 2
    torch.testing.assert_close(rows(x, memberships), walk @ rows.linear(x), rtol=0, atol=1e-12)
    # One hyperedge of three nodes is no set of pairs: here it is the mean, there half of it stays.
    three = layer(x[:3], torch.tensor([[0, 1, 2], [0, 0, 0]]))
    torch.testing.assert_close(three, layer.linear(x[:3].mean(0)).expand(3, 3), rtol=0, atol=1e-12)


def test_rows_keep_a_constant() -> None:
    layer = HypergraphConvolution(1, 1, normalisation="rows").double()
    torch.nn.init.ones_(layer.linear.weight)
    ones = torch.ones(7, 1, dtype=torch.float64)
    expected = torch.tensor([1.0] * 6 + [0.0], dtype=torch.float64)
    torch.testing.assert_close(layer(ones, MEMBERSHIPS, WEIGHTS).view(-1), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_rows_are_torch_geometrics(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    layer = HypergraphConvolution(6, 3, normalisation="rows").to(dtype)
    peer = HypergraphConv(6, 3, bias=False).to(dtype)
    peer.lin.load_state_dict(layer.linear.state_dict())
    x = numbers(7, 6).to(dtype)
    # Without weights: there they enter D alone, and not the sum that it divides.
    torch.testing.assert_close(layer(x, MEMBERSHIPS), peer(x, MEMBERSHIPS), rtol=0, atol=tolerance)


def test_the_network_is_two_convolutions_with_relu_between() -> None:
    network, x = HGNN(6, 3, hidden=5).double().eval(), numbers(7, 6)
    matrix = operator(WEIGHTS, "symmetric")
    first, second = (layer.linear.weight.T for layer in network.layers)
    expected = matrix @ (matrix @ x @ first).relu() @ second
    torch.testing.assert_close(network(x, MEMBERSHIPS, WEIGHTS), expected, rtol=0, atol=1e-12)
    # A hyperedge without nodes changes nothing.
    more = torch.cat([WEIGHTS, torch.ones(1, dtype=torch.float64)])
    torch.testing.assert_close(network(x, MEMBERSHIPS, more), expected, rtol=0, atol=1e-12)
