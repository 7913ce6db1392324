"""What directions of edges, and hyperedges, are worth on graphs in which they are planted."""

from __future__ import annotations

import pytest
import torch
from graphs import adjacency, numbers, random_graph
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Criterion
from deepscope.models import GCN, HGNN, DirGNN, HypergraphConvolution

pytestmark = pytest.mark.verify

CLASSES = 5


def accuracy(network: nn.Module, x: Tensor, graph: tuple[Tensor, ...], labels: Tensor, steps: int = 200) -> float:
    """Train on every second node, and return the share of the others that are classified right.

    Adam at 0.01 with a weight decay of 5e-4, as the papers train on citation graphs; the weights are the last ones.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network(x, *graph)[::2], labels[::2]).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        return float((network(x, *graph).argmax(1)[1::2] == labels[1::2]).double().mean())


def features(labels: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Return one number for each class, 1 for a node's own, with so much noise."""
    noise = torch.randn(len(labels), CLASSES, generator=generator)
    return F.one_hot(labels, CLASSES) + deviation * noise


def block_model(step: int, generator: torch.Generator, *, nodes: int = 2000, degree: int = 5) -> tuple[Tensor, Tensor]:
    """Return edges and labels: four edges of five lead from a class c to c + step, modulo the classes, others anywhere.

    A step of 0 makes it homophilic, where a direction tells nothing; 1 heterophilic: a node's edges lead to the next
    class, and come from the one before.
    """
    labels = torch.randint(CLASSES, (nodes,), generator=generator)
    sources = torch.arange(nodes).repeat(degree)
    targets = torch.randint(nodes, sources.shape, generator=generator)
    planted = torch.rand(sources.shape, generator=generator) < 0.8
    members = [(labels == each).nonzero()[:, 0] for each in range(CLASSES)]
    for each in range(CLASSES):
        there, among = planted & (labels[sources] == each), members[(each + step) % CLASSES]
        targets[there] = among[torch.randint(len(among), (int(there.sum()),), generator=generator)]
    edges = torch.stack([sources, targets])
    return torch.unique(edges[:, sources != targets], dim=1), labels


@pytest.mark.demonstrates("dir-gnn")
def test_directions_are_worth_ten_points_on_a_heterophilic_graph_alone() -> None:
    """Against the same network on the graph whose edges have lost their direction, and against GCN there.

    The next class and the one before are mixed in it: two classes are then told apart by one mean over twice as many
    neighbours, of half the difference, instead of by two means. On the homophilic graph both see the same means. In a
    first protocol the control decided nothing: 1000 nodes of ten edges had no errors at a noise of 2, and 500 test
    nodes too few at 4. Size and noise are from homophilic graphs of other seeds.
    """
    found: dict[tuple[str, str], dict[int, float]] = {}
    for kind, step in (("homophilic", 0), ("heterophilic", 1)):
        for seed in range(3 if step else 6):
            generator = torch.Generator().manual_seed(seed)
            edges, labels = block_model(step, generator)
            x = features(labels, 3.0, generator)
            both = torch.unique(torch.cat([edges, edges.flip(0)], 1), dim=1)
            for name, build, given in (("directed", DirGNN, edges), ("undirected", DirGNN, both), ("gcn", GCN, both)):
                # Another network may be better or worse where there is nothing to see: the control is the same one.
                if (kind, name) != ("homophilic", "gcn"):
                    torch.manual_seed(seed)
                    network = build(CLASSES, CLASSES, hidden=32, layers=2, dropout=0.0)
                    found.setdefault((kind, name), {})[seed] = accuracy(network, x, (given,), labels)

    def gain(kind: str, over: str) -> dict[int, float]:
        return {seed: value - found[kind, over][seed] for seed, value in found[kind, "directed"].items()}

    for over in ("undirected", "gcn"):
        criterion = Criterion.effect(f"heterophilic, over {over}", gain("heterophilic", over), above=0.10)
        assert criterion.holds, criterion
    control = Criterion.effect("homophilic", gain("homophilic", "undirected"), within=0.03, control=True)
    assert control.holds, control
    # Nothing is gained there, and there was something to gain.
    assert all(2 / CLASSES < each < 0.9 for each in found["homophilic", "directed"].values())


def planted_hypergraph(size: int, generator: torch.Generator, *, nodes: int = 1000) -> tuple[Tensor, Tensor]:
    """Return memberships and labels: three hyperedges of three nodes of one class, and one of any, for each node.

    That is in the mean; those of any nodes have ``size`` of them, and there are the fewer the larger they are.
    """
    labels = torch.randint(CLASSES, (nodes,), generator=generator)
    members = [(labels == each).nonzero()[:, 0] for each in range(CLASSES)]
    groups = []
    for number in range(nodes):
        among = members[number % CLASSES]
        groups.append(among[torch.randperm(len(among), generator=generator)[:3]])
    groups += [torch.randperm(nodes, generator=generator)[:size] for _ in range(nodes // size)]
    lengths = torch.tensor([len(each) for each in groups])
    return torch.stack([torch.cat(groups), torch.arange(len(groups)).repeat_interleave(lengths)]), labels


def cliques(memberships: Tensor) -> tuple[Tensor, Tensor]:
    """Return the edges between all nodes that share a hyperedge, and how many they share."""
    pairs = [
        torch.cartesian_prod(each, each).T for each in memberships[0].split(torch.bincount(memberships[1]).tolist())
    ]
    edges = torch.cat(pairs, 1)
    found, counts = torch.unique(edges[:, edges[0] != edges[1]], dim=1, return_counts=True)
    return found, counts.float()


def test_hyperedges_of_two_nodes_are_edges_and_more_than_cliques_where_sizes_differ() -> None:
    """Where each joins two nodes the layer is (I + D^(−1/2) A D^(−1/2)) / 2, and else it beats GCN on the cliques.

    That is where sizes differ: the share that a hyperedge has in a node's mean does not grow with its size, whereas a
    clique brings as many neighbours as it has nodes. The planted hyperedges, of three nodes of one class, are among few
    of 50 nodes of any class. Where these as well have three nodes nothing is gained: a node has then a third of its
    own mean, and less of it in the cliques, which is better for features that are mostly noise. The map's row says it
    without that condition, and is not demonstrated.
    """
    edges, x = random_graph(30, 0.2), numbers(30, 6)
    pairs = edges[:, edges[0] < edges[1]]
    matrix, layer = adjacency(edges, 30), HypergraphConvolution(6, 3).double()
    scale = matrix.sum(1).rsqrt()
    half = (torch.eye(30, dtype=torch.float64) + scale[:, None] * matrix * scale) / 2
    memberships = torch.stack([pairs.flatten(), torch.arange(pairs.shape[1]).repeat(2)])
    torch.testing.assert_close(layer(x, memberships), half @ layer.linear(x), rtol=0, atol=1e-12)

    found: dict[tuple[int, str], dict[int, float]] = {}
    for size in (50, 3):
        for seed in range(4):
            generator = torch.Generator().manual_seed(seed)
            memberships, labels = planted_hypergraph(size, generator)
            x = features(labels, 2.0, generator)
            edges, counts = cliques(memberships)
            graphs = {"hyperedges": (memberships,), "cliques": (edges,), "cliques, counted": (edges, counts)}
            for name, graph in graphs.items():
                torch.manual_seed(seed)
                build = HGNN if name == "hyperedges" else GCN
                network = build(CLASSES, CLASSES, hidden=16, dropout=0.0)
                found.setdefault((size, name), {})[seed] = accuracy(network, x, graph, labels)
    for over in ("cliques", "cliques, counted"):
        for size in (50, 3):
            gain = {seed: value - found[size, over][seed] for seed, value in found[size, "hyperedges"].items()}
            sides = {"above": 0.0} if size == 50 else {"below": 0.0, "control": True}
            criterion = Criterion.effect(f"over {over}, others of {size} nodes", gain, **sides)
            assert criterion.holds, criterion
