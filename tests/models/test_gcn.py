"""Graph convolutional network: the dense product, and torch_geometric's layer."""

from __future__ import annotations

import pytest
import torch
from graphs import adjacency, numbers, random_graph
from torch_geometric.nn import GCNConv

from deepscope.models import GCN, GraphConvolution

EDGES = random_graph(8, 0.4)
WEIGHTS = torch.rand(EDGES.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("sizes", [(6, 3), (3, 6)])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_dense_product_and_follows_a_permutation_of_the_nodes(sizes: tuple[int, int], weighted: bool) -> None:
    layer, x = GraphConvolution(*sizes).double(), numbers(2, 8, sizes[0])
    weights = WEIGHTS if weighted else None
    looped = adjacency(EDGES, 8, weights) + torch.eye(8)
    scale = looped.sum(1).rsqrt().diag()
    # The same sums of tens of products in another order.
    found = layer(x, EDGES, weights)
    torch.testing.assert_close(found, scale @ looped @ scale @ x @ layer.linear.weight.T, rtol=0, atol=1e-12)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(layer(x[:, order], order.argsort()[EDGES], weights), found[:, order], rtol=0, atol=1e-10)


def test_a_node_without_neighbours_keeps_its_own_features() -> None:
    layer, x = GraphConvolution(3, 3).double(), numbers(9, 3)
    torch.testing.assert_close(layer(x, EDGES)[8], layer.linear(x[8]), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_it_is_torch_geometrics(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    layer, peer = GraphConvolution(6, 3).to(dtype), GCNConv(6, 3, bias=False).to(dtype)
    peer.lin.load_state_dict(layer.linear.state_dict())
    x = numbers(8, 6).to(dtype)
    for weights in (None, WEIGHTS.to(dtype)):
        torch.testing.assert_close(layer(x, EDGES, weights), peer(x, EDGES, weights), rtol=0, atol=tolerance)


def test_the_network_is_two_products_with_relu_between() -> None:
    network, x = GCN(6, 3, hidden=5).double().eval(), numbers(8, 6)
    looped = adjacency(EDGES, 8) + torch.eye(8)
    scale = looped.sum(1).rsqrt().diag()
    mean = scale @ looped @ scale
    first, second = (layer.linear.weight.T for layer in network.layers)
    expected = mean @ (mean @ x @ first).relu() @ second
    torch.testing.assert_close(network(x, EDGES), expected, rtol=0, atol=1e-12)
    torch.manual_seed(0)
    dropped = network.train()(x, EDGES)
    assert (dropped - expected).abs().max() > 1e-3
