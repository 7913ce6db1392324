"""Graph attention: a distribution over a node and its neighbours, and torch_geometric's layer."""

from __future__ import annotations

import pytest
import torch
from graphs import adjacency, numbers, random_graph
from torch_geometric.nn import GATConv

from deepscope.models import GAT, GraphAttention
from deepscope.models._gat import neighbour_softmax

EDGES = random_graph(8, 0.4, directed=True)


def test_attention_sums_to_one_over_a_node_and_its_neighbours() -> None:
    layer, x = GraphAttention(6, 3, heads=2).double(), numbers(4, 9, 6)
    edges, attention = layer.attention(x, EDGES)
    assert attention.shape == (4, EDGES.shape[1] + 9, 2)
    assert (attention > 0).all()
    sums = torch.zeros(4, 9, 2, dtype=torch.float64).index_add(1, edges[1], attention)
    # Rounding of a sum of at most nine numbers.
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-14)
    # The last node has no neighbours: it attends to itself.
    torch.testing.assert_close(layer(x, EDGES)[:, 8], layer.linear(x[:, 8]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("mean", [False, True])
def test_it_is_a_softmax_over_all_nodes_where_others_are_hidden(mean: bool) -> None:
    layer, x = GraphAttention(6, 3, heads=2, mean=mean).double(), numbers(8, 6)
    hidden = adjacency(EDGES, 8) + torch.eye(8) == 0
    heads = []
    for head in range(2):
        values = x @ layer.linear.weight[3 * head : 3 * head + 3].T
        scores = torch.empty(8, 8, dtype=torch.float64)
        for i in range(8):
            for j in range(8):
                score = layer.target[head] @ values[i] + layer.source[head] @ values[j]
                scores[i, j] = score if score > 0 else 0.2 * score
        heads.append(scores.masked_fill(hidden, -torch.inf).softmax(1) @ values)
    expected = sum(heads) / 2 if mean else torch.cat(heads, 1)
    torch.testing.assert_close(layer(x, EDGES), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("mean", [False, True])
def test_it_is_torch_geometrics(mean: bool, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    layer = GraphAttention(6, 3, heads=4, mean=mean).to(dtype)
    peer = GATConv(6, 3, heads=4, concat=not mean, bias=False).to(dtype)
    with torch.no_grad():
        peer.lin.weight.copy_(layer.linear.weight)
        peer.att_src.copy_(layer.source[None])
        peer.att_dst.copy_(layer.target[None])
    x = numbers(8, 6).to(dtype)
    torch.testing.assert_close(layer(x, EDGES), peer(x, EDGES), rtol=0, atol=tolerance)


def test_the_network_is_two_layers_with_elu_between_and_averages_its_last_heads() -> None:
    torch.manual_seed(0)
    network, x = GAT(6, 3, hidden=4, heads=2, out_heads=5).double().eval(), numbers(8, 6)
    first, second = network.attention1, network.attention2
    h = first(x, EDGES)
    assert h.shape == (8, 8)
    h = torch.where(h > 0, h, h.exp() - 1)
    edges, attention = second.attention(h, EDGES)
    heads = [adjacency(edges, 8, attention[:, head].detach()) for head in range(5)]
    values = (h @ second.linear.weight.T).view(8, 5, 3)
    expected = sum(matrix @ values[:, head] for head, matrix in enumerate(heads)) / 5
    torch.testing.assert_close(network(x, EDGES), expected, rtol=0, atol=1e-12)


def test_high_scores_do_not_overflow() -> None:
    scores = torch.tensor([[1000.0], [999.0], [-1000.0]])
    # Half of the way between the two is e over 1 + e.
    found = neighbour_softmax(scores, torch.tensor([0, 0, 1]), 2)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.7310586, 0.2689414, 1.0]))


def test_dropout_leaves_neighbours_out_in_training_alone() -> None:
    torch.manual_seed(0)
    network, x = GAT(6, 3, dropout=0.6), torch.randn(8, 6)
    assert not torch.equal(network(x, EDGES), network(x, EDGES))
    network.eval()
    assert torch.equal(network(x, EDGES), network(x, EDGES))
    layer = GraphAttention(6, 3, dropout=0.6)
    alone = torch.stack([layer(x, EDGES[:, :0]) for _ in range(400)])
    # Each node sees itself alone, weighed 0 or 1 / 0.4: the mean of 3,200 such draws, of deviation 1.22, is 1.
    kept = (alone / layer.linear(x)).mean()
    assert abs(kept - 1) < 5 * 1.22 / 3200**0.5
