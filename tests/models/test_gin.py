"""Graph isomorphism network: it parts graphs exactly as the Weisfeiler–Leman test does; means and maxima do not."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import networkx
import pytest
import torch
from graphs import HEXAGON, TRIANGLES, both_ways, numbers, random_graph
from torch import Tensor, nn
from torch_geometric.nn import GINConv

from deepscope.core import UsageError
from deepscope.models import GCN, GIN, GraphSAGE, IsomorphismLayer

ROUNDS = 6


def atlas() -> tuple[Tensor, Tensor, int]:
    """Return the 1,252 graphs of one to seven nodes as one: edges, the graph of each node, how many there are."""
    edges, members, nodes = [], [], 0
    graphs = networkx.graph_atlas_g()[1:]
    for number, graph in enumerate(graphs):
        edges += [(i + nodes, j + nodes) for i, j in graph.edges]
        members += [number] * len(graph)
        nodes += len(graph)
    return both_ways(edges), torch.tensor(members), len(graphs)


def refined(edges: Tensor, members: Tensor, count: int, rounds: int) -> list[Hashable]:
    """Return the colours of each graph after so many rounds of the Weisfeiler–Leman test, by its definition."""
    neighbours: list[list[int]] = [[] for _ in members]
    for source, target in edges.T.tolist():
        neighbours[target].append(source)
    colours = [0] * len(members)
    for _ in range(rounds):
        seen = [
            (colour, tuple(sorted(colours[j] for j in around)))
            for colour, around in zip(colours, neighbours, strict=True)
        ]
        names = {each: name for name, each in enumerate(sorted(set(seen)))}
        colours = [names[each] for each in seen]
    graphs: list[list[int]] = [[] for _ in range(count)]
    for member, colour in zip(members.tolist(), colours, strict=True):
        graphs[member].append(colour)
    return [tuple(sorted(graph)) for graph in graphs]


def parted(vectors: Tensor, *, rounding: float = 1e-12) -> list[int]:
    """Return the class of each row: rows are in one where they agree to rounding.

    No pair may be in doubt: what differs differs by a thousand times as much.
    """
    distances = torch.cdist(vectors, vectors, p=torch.inf) / vectors.abs().max()
    near = distances < rounding
    assert (near | (distances > 1000 * rounding)).all()
    # The first row that each is near to.
    first: list[int] = near.int().argmax(1).tolist()
    return first


def same_partition(one: Sequence[Hashable], other: Sequence[Hashable]) -> bool:
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


def coarser(one: Sequence[Hashable], other: Sequence[Hashable]) -> bool:
    """Whether what ``other`` confounds ``one`` confounds, and more."""
    return len(set(zip(one, other, strict=True))) == len(set(other)) > len(set(one))


def read_out(network: nn.Module, edges: Tensor, members: Tensor, count: int) -> Tensor:
    """Return a vector for each graph, the features of all nodes being alike: sums over its nodes."""
    alike = torch.ones(len(members), 1, dtype=torch.float64)
    if isinstance(network, GIN):
        vectors: Tensor = network(alike, edges, members)
        return vectors
    outputs = network(alike, edges)
    return torch.zeros(count, outputs.shape[1], dtype=torch.float64).index_add(0, members, outputs)


@pytest.mark.demonstrates("gin")
def test_it_parts_the_graphs_of_at_most_seven_nodes_as_weisfeiler_and_leman_do() -> None:
    edges, members, count = atlas()
    assert count == 1252
    colours = refined(edges, members, count, ROUNDS)
    # Seven nodes are refined for good after six rounds.
    assert same_partition(colours, refined(edges, members, count, 7))
    # An architecture tells apart what it does for some parameters: three draws side by side.
    drawn: dict[str, Callable[[], nn.Module]] = {
        "gin": lambda: GIN(1, 16, layers=ROUNDS),
        "mean": lambda: GraphSAGE(1, 16, hidden=32, layers=ROUNDS),
        "maximum": lambda: GraphSAGE(1, 16, hidden=32, layers=ROUNDS, aggregation="pool"),
        "gcn": lambda: GCN(1, 16, hidden=32, layers=ROUNDS),
    }
    partitions = {}
    with torch.no_grad():
        for name, build in drawn.items():
            torch.manual_seed(0)
            outputs = [read_out(build().double().eval(), edges, members, count) for _ in range(3)]
            partitions[name] = parted(torch.cat(outputs, 1))
    assert same_partition(partitions["gin"], colours)
    for weaker in ("mean", "maximum", "gcn"):
        assert coarser(partitions[weaker], colours)
    # Means and maxima of what is alike are the same everywhere: they count nodes, and those without neighbours.
    alone = [(len(graph), len(list(networkx.isolates(graph)))) for graph in networkx.graph_atlas_g()[1:]]
    assert same_partition(partitions["mean"], alone)
    assert same_partition(partitions["maximum"], alone)


def test_two_triangles_are_a_hexagon_to_it() -> None:
    torch.manual_seed(0)
    network, x = GIN(1, 4, layers=3).double().eval(), torch.ones(6, 1, dtype=torch.float64)
    # Each node has two neighbours that are like it: the same sums, in the same order.
    torch.testing.assert_close(network(x, TRIANGLES), network(x, HEXAGON), rtol=0, atol=1e-10)
    # Features that break the symmetry let it see the difference.
    x = numbers(6, 1)
    assert (network(x, TRIANGLES) - network(x, HEXAGON)).abs().max() > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_it_is_torch_geometrics(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    layer = IsomorphismLayer(6, 3, epsilon=0.3, learn_epsilon=True).to(dtype)
    perceptron = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 3))
    peer = GINConv(perceptron, eps=0.3, train_eps=True).to(dtype)
    perceptron[0].load_state_dict(layer.linear1.state_dict())
    perceptron[3].load_state_dict(layer.linear2.state_dict())
    x, edges = numbers(8, 6).to(dtype), random_graph(8, 0.4, directed=True)
    torch.testing.assert_close(layer(x, edges), peer(x, edges), rtol=0, atol=tolerance)
    gradient, expected = (torch.autograd.grad(each(x, edges).sum(), which)[0] for each, which in (
        (layer, layer.epsilon), (peer, peer.eps)))  # fmt: skip
    torch.testing.assert_close(gradient, expected.view(()), rtol=0, atol=100 * tolerance)


def test_its_logits_are_readouts_of_every_layer() -> None:
    network, x, edges = GIN(4, 3, hidden=5, layers=2).double().eval(), numbers(6, 4), HEXAGON
    states, h = [x], x
    for layer, normalisation in zip(network.layers, network.normalisations, strict=True):
        around = torch.stack([h[edges[0, edges[1] == i]].sum(0) for i in range(6)])
        inner = layer.linear1(h + around) / (1 + layer.normalisation.eps) ** 0.5
        h = (layer.linear2(inner.relu()) / (1 + normalisation.eps) ** 0.5).relu()
        states.append(h)
    expected = sum(readout(state.sum(0)) for readout, state in zip(network.readouts, states, strict=True))
    torch.testing.assert_close(network(x, edges), expected, rtol=0, atol=1e-12)


def test_several_graphs_are_each_as_alone() -> None:
    network, x = GIN(4, 3, hidden=5, layers=2).double().eval(), numbers(2, 9, 4)
    triangle = both_ways([(0, 1), (1, 2), (2, 0)])
    together = network(x, torch.cat([triangle, HEXAGON + 3], 1), torch.tensor([0] * 3 + [1] * 6))
    assert together.shape == (2, 2, 3)
    torch.testing.assert_close(together[:, 0], network(x[:, :3], triangle), rtol=0, atol=1e-12)
    torch.testing.assert_close(together[:, 1], network(x[:, 3:], HEXAGON), rtol=0, atol=1e-12)
    for wrong in (torch.zeros(8, dtype=torch.int64), torch.zeros(9), torch.full((9,), -1)):
        with pytest.raises(UsageError, match="graphs is"):
            network(x, HEXAGON, wrong)


def test_batch_normalisation_is_over_all_nodes_of_all_samples() -> None:
    layer, x = IsomorphismLayer(4, 3), torch.randn(5, 6, 4)
    seen: list[Tensor] = []
    layer.normalisation.register_forward_hook(lambda module, inputs, output: seen.append(output))
    layer(x, HEXAGON)
    torch.testing.assert_close(seen[0].mean((0, 1)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen[0].var((0, 1), correction=0), torch.ones(3), rtol=0, atol=1e-2)
