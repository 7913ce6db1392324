"""Directed convolutions: GCN where all edges go both ways, and directions told apart where they do not."""

from __future__ import annotations

import pytest
import torch
from graphs import adjacency, numbers, random_graph
from torch_geometric.nn import DirGNNConv, GCNConv

from deepscope.models import GCN, DirectedConvolution, DirGNN, GraphConvolution
from deepscope.models._graph import with_loops


def test_it_is_gcn_where_all_edges_go_both_ways_and_tells_directions_apart() -> None:
    edges, x = random_graph(8, 0.4), numbers(8, 6)
    plain, layer = GraphConvolution(6, 3).double(), DirectedConvolution(6, 3, alpha=0.3).double()
    for each in (layer.outgoing, layer.incoming):
        torch.nn.init.zeros_(each.bias)
        each.load_state_dict(plain.linear.state_dict(), strict=False)
    torch.testing.assert_close(layer(x, with_loops(edges, 8)), plain(x, edges), rtol=0, atol=1e-12)
    # Of two nodes that are alike, one points to the other: without directions they are the same.
    torch.manual_seed(0)
    arrow, alike = torch.tensor([[0], [1]]), torch.ones(2, 6, dtype=torch.float64)
    ends = GCN(6, 3).double().eval()(alike, torch.cat([arrow, arrow.flip(0)], 1))
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-12)
    ends = DirGNN(6, 3).double()(alike, arrow)
    assert (ends[0] - ends[1]).abs().max() > 1e-2


def test_it_is_the_dense_product_of_the_paper() -> None:
    edges, x = random_graph(8, 0.3, directed=True), numbers(2, 9, 6)
    layer = DirectedConvolution(6, 3, alpha=0.3).double()
    # Rows are where an edge begins.
    matrix = adjacency(edges.flip(0), 9)
    leaving, arriving = (matrix.sum(dim).pow(-0.5) for dim in (1, 0))
    leaving[leaving.isinf()], arriving[arriving.isinf()] = 0, 0
    product = leaving[:, None] * matrix * arriving
    expected = 0.3 * layer.outgoing(product @ x) + 0.7 * layer.incoming(product.T @ x)
    torch.testing.assert_close(layer(x, edges), expected, rtol=0, atol=1e-12)


def test_reversed_edges_are_reversed_roles() -> None:
    edges, x = random_graph(8, 0.3, directed=True), numbers(8, 6)
    layer, other = DirectedConvolution(6, 3, alpha=0.3).double(), DirectedConvolution(6, 3, alpha=0.7).double()
    other.outgoing.load_state_dict(layer.incoming.state_dict())
    other.incoming.load_state_dict(layer.outgoing.state_dict())
    torch.testing.assert_close(layer(x, edges), other(x, edges.flip(0)), rtol=0, atol=1e-12)
    assert (layer(x, edges) - layer(x, edges.flip(0))).abs().max() > 1e-2


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_it_is_torch_geometrics_where_all_degrees_are_equal(dtype: torch.dtype, tolerance: float) -> None:
    # There both ends of an edge are scaled by the degree of edges that come in: the paper's where all are equal.
    nodes = torch.arange(8)
    edges = torch.cat([torch.stack([nodes, (nodes + step) % 8]) for step in (1, 2, 5)], 1)
    torch.manual_seed(0)
    layer = DirectedConvolution(6, 3, alpha=0.3).to(dtype)
    peer = DirGNNConv(GCNConv(6, 3, add_self_loops=False), alpha=0.3, root_weight=False).to(dtype)
    for ours, theirs in ((layer.outgoing, peer.conv_out), (layer.incoming, peer.conv_in)):
        theirs.lin.weight.data.copy_(ours.weight)
        theirs.bias.data.copy_(ours.bias)
    x = numbers(8, 6).to(dtype)
    torch.testing.assert_close(layer(x, edges), peer(x, edges), rtol=0, atol=tolerance)


def test_the_network_is_the_maximum_over_its_layers() -> None:
    torch.manual_seed(0)
    network, x = DirGNN(6, 3, hidden=5, layers=3, dropout=0.4).double().eval(), numbers(8, 6)
    edges = random_graph(8, 0.4, directed=True)
    found, h = [], x
    for layer in network.layers:
        h = layer(h, edges).relu()
        h = h / h.norm(dim=1, keepdim=True).clamp(min=1e-12)
        found.append(h)
    highest = torch.maximum(torch.maximum(found[0], found[1]), found[2])
    torch.testing.assert_close(network(x, edges), network.output(highest), rtol=0, atol=1e-12)
    assert not torch.equal(network.train()(x, edges), network(x, edges))
