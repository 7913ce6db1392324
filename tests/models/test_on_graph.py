"""What all networks on graphs promise: nodes without names, samples apart, what is no graph refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import behaves, overfits
from graphs import numbers, random_graph
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import (
    GAT,
    GCN,
    GIN,
    HGNN,
    ChebNet,
    ChebyshevConvolution,
    DirectedConvolution,
    DirGNN,
    FixedPointGNN,
    GraphAttention,
    GraphConvolution,
    GraphSAGE,
    HypergraphConvolution,
    IsomorphismLayer,
    OnGraph,
    SAGELayer,
)

#: Networks of 4 features and 3 classes.
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "gcn": lambda: GCN(4, 3, hidden=16, dropout=0.0),
    "gat": lambda: GAT(4, 3, hidden=8, heads=2, dropout=0.0),
    "gin": lambda: GIN(4, 3, hidden=8, layers=2, learn_epsilon=True, dropout=0.0),
    "graphsage": lambda: GraphSAGE(4, 3, hidden=16),
    "graphsage-pool": lambda: GraphSAGE(4, 3, hidden=16, aggregation="pool"),
    "chebnet": lambda: ChebNet(4, 3, hidden=16, dropout=0.0),
    "dir-gnn": lambda: DirGNN(4, 3, hidden=16, layers=2),
    "hgnn": lambda: HGNN(4, 3, hidden=16, dropout=0.0),
    "hgnn-rows": lambda: HGNN(4, 3, hidden=16, normalisation="rows", dropout=0.0),
    "fixed-point-gnn": lambda: FixedPointGNN(4, 3, state=3, hidden=8),
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "gcn": lambda: GraphConvolution(4, 3),
    "gat": lambda: GraphAttention(4, 3, heads=2),
    "gin": lambda: IsomorphismLayer(4, 3),
    "graphsage": lambda: SAGELayer(4, 3),
    "chebyshev": lambda: ChebyshevConvolution(4, 3),
    "directed": lambda: DirectedConvolution(4, 3),
    "hypergraph": lambda: HypergraphConvolution(4, 3),
    "fixed-point": lambda: FixedPointGNN(4, 3),
}
# The last two of seven nodes have no neighbours.
EDGES = random_graph(5, 0.5, seed=3, directed=True)


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[request.param]().eval()


def test_its_nodes_have_no_order(network: nn.Module) -> None:
    network, x = network.double(), numbers(2, 7, 4)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(5))
    place = order.argsort()
    shuffled = EDGES.clone()
    shuffled[0] = place[EDGES[0]]
    # The second row of a hypergraph does not count nodes.
    shuffled[1] = EDGES[1] if isinstance(network, HGNN) else place[EDGES[1]]
    shuffled = shuffled[:, torch.randperm(EDGES.shape[1], generator=torch.Generator().manual_seed(6))]
    outputs, after = network(x, EDGES), network(x[:, order], shuffled)
    expected = outputs if isinstance(network, GIN) else outputs[:, order]
    torch.testing.assert_close(after, expected, rtol=0, atol=1e-10)
    # What is shuffled alone is another graph.
    assert (network(x[:, order], EDGES) - expected).abs().max() > 1e-3


def test_samples_are_signals_on_one_graph(network: nn.Module) -> None:
    network, x = network.double(), numbers(2, 3, 7, 4)
    together = network(x, EDGES)
    assert together.shape == (2, 3, *[7] * (not isinstance(network, GIN)), 3)
    for first in range(2):
        for second in range(3):
            alone = network(x[first, second], EDGES)
            torch.testing.assert_close(together[first, second], alone, rtol=0, atol=1e-12)
    assert network(x[:0], EDGES).shape == (0, *together.shape[1:])


def test_nodes_without_neighbours_and_graphs_without_edges(network: nn.Module) -> None:
    x = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for edges in (EDGES, EDGES[:, :0], torch.tensor([[6], [6]])):
        outputs = network(x, edges)
        assert outputs.isfinite().all()
        gradients = torch.autograd.grad(outputs.square().sum(), [x, *network.parameters()], allow_unused=True)
        assert all(each.isfinite().all() for each in gradients if each is not None)
    assert network(x[:, :1], EDGES[:, :0]).isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_one_graph_makes_a_model_of_one_tensor(name: str) -> None:
    torch.manual_seed(0)
    model, other = (OnGraph(NETWORKS[name](), EDGES) for _ in range(2))
    assert torch.equal(model.state_dict()["edges"], EDGES)
    behaves(model, other, torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0)))


def test_it_computes_in_mixed_precision(network: nn.Module) -> None:
    x = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(x, EDGES)
        gradients = torch.autograd.grad(outputs.float().square().sum(), list(network.parameters()), allow_unused=True)
    # bfloat16 has 8 bits, and numbers of order 1 go through a few layers.
    torch.testing.assert_close(outputs.float(), network(x, EDGES), rtol=0.05, atol=0.05)
    assert all(each.isfinite().all() for each in gradients if each is not None)


def test_weights_belong_to_the_graph() -> None:
    weights = torch.rand(EDGES.shape[1])
    network, x = GCN(4, 3).eval(), torch.randn(2, 7, 4)
    assert torch.equal(OnGraph(network, EDGES, weights)(x), network(x, EDGES, weights))
    assert not torch.equal(network(x, EDGES, weights), network(x, EDGES))


#: What enters dropout in each pass: widths of the features.
DROPPED: dict[str, tuple[Callable[[], nn.Module], list[int]]] = {
    "gcn": (lambda: GCN(4, 3, hidden=5, dropout=0.5), [4, 5]),
    "gat": (lambda: GAT(4, 3, hidden=5, heads=2, dropout=0.5), [4, 10]),
    "gin": (lambda: GIN(4, 3, hidden=5, layers=2, dropout=0.5), [3, 3, 3]),
    "graphsage": (lambda: GraphSAGE(4, 3, hidden=5, dropout=0.5), [4, 5, 5]),
    "chebnet": (lambda: ChebNet(4, 3, hidden=5, dropout=0.5), [4, 5]),
    "dir-gnn": (lambda: DirGNN(4, 3, hidden=5, layers=2, dropout=0.5), [5, 5]),
    "hgnn": (lambda: HGNN(4, 3, hidden=5, dropout=0.5), [5]),
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropout_is_where_its_docstring_says(name: str) -> None:
    torch.manual_seed(0)
    build, widths = DROPPED[name]
    network, x = build().eval(), torch.randn(7, 4)
    assert {each.p for each in network.modules() if isinstance(each, nn.Dropout)} == {0.5}
    expected, seen = network(x, EDGES), []
    for spoilt in range(len(widths)):
        seen.clear()

        def watch(module: nn.Module, inputs: tuple[Tensor], output: Tensor, spoilt: int = spoilt) -> Tensor:
            seen.append(inputs[0].shape[-1])
            return output + 1 if len(seen) == spoilt + 1 else output

        hook = network.dropout.register_forward_hook(watch)
        # What it returns is what goes on.
        assert (network(x, EDGES) - expected).abs().max() > 1e-3
        assert seen == widths
        hook.remove()


def test_settings_reach_the_layers() -> None:
    for each in GraphSAGE(4, 3, hidden=5, layers=3, aggregation="pool").layers:
        assert isinstance(each, SAGELayer)
        assert each.pool is not None
    for each in ChebNet(4, 3, layers=3, order=4, largest_eigenvalue=1.5).layers:
        assert isinstance(each, ChebyshevConvolution)
        assert (len(each.filters), each.largest_eigenvalue) == (5, 1.5)
    assert [each.alpha for each in DirGNN(4, 3, layers=3, alpha=0.2).layers] == [0.2] * 3
    assert [each.normalisation for each in HGNN(4, 3, layers=3, normalisation="rows").layers] == ["rows"] * 3
    for learnt in (False, True):
        names = dict(GIN(4, 3, layers=3, learn_epsilon=learnt).named_parameters())
        assert [f"layers.{number}.epsilon" in names for number in range(3)] == [learnt] * 3


#: A path with loops, whose sums over neighbours can be undone; the same as hyperedges: {0, 1}, {1, 2}, {0}.
PATH = torch.tensor([[0, 1, 1, 2, 0, 1, 2], [1, 0, 2, 1, 0, 1, 2]])
HYPERPATH = torch.tensor([[0, 1, 1, 2, 0], [0, 0, 1, 1, 2]])


@pytest.mark.parametrize(
    "network",
    [
        lambda: GCN(4, 3, hidden=64, dropout=0.0),
        lambda: GAT(4, 3, hidden=16, heads=4, dropout=0.0),
        lambda: GIN(4, 3, hidden=16, layers=2, dropout=0.0),
        lambda: GraphSAGE(4, 3, hidden=32),
        lambda: ChebNet(4, 3, hidden=32, dropout=0.0),
        lambda: DirGNN(4, 3, hidden=64, layers=2),
        lambda: HGNN(4, 3, hidden=64, dropout=0.0),
        lambda: FixedPointGNN(4, 3, state=6, hidden=32),
    ],
)
def test_it_learns_sixteen_signals_by_heart(network: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    x, made = torch.randn(16, 3, 4), network()
    targets = torch.randint(3, (16,) if isinstance(made, GIN) else (16, 3))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs.reshape(-1, 3), targets.flatten())

    model = OnGraph(made, HYPERPATH if isinstance(made, HGNN) else PATH)
    overfits(model, x, targets, loss, steps=400, rate=0.03, below=0.05)


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_no_graph_is_refused(name: str) -> None:
    layer, x, edges = LAYERS[name](), torch.zeros(7, 4), torch.tensor([[0, 1], [1, 0]])
    for wrong, message in (
        (torch.zeros(7, 5), r"the input is \[7, 5\] of float32"),
        (torch.zeros(4), r"the input is \[4\]"),
        (torch.zeros(0, 4), r"the input is \[0, 4\]"),
        (torch.zeros(7, 4, dtype=torch.int64), "of int64"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            layer(wrong, edges)
        assert "[..., nodes, 4]" in caught.value.todo
        assert caught.value.where == type(layer).__name__
    for wrong in (torch.zeros(3, 2, dtype=torch.int64), edges.int(), edges.double(), edges[0], edges[None]):
        with pytest.raises(UsageError, match="edges is") as caught:
            layer(x, wrong)
        assert "[2, edges] of int64" in caught.value.todo
    for source in (-1, 7):
        with pytest.raises(UsageError, match=f"a source that does not exist: they run from {min(source, 1)} to"):
            layer(x, torch.tensor([[source, 1], [1, 0]]))
    with pytest.raises(UsageError, match="a target that does not exist"):
        layer(x, torch.tensor([[0, 1], [1, -1]]))
    if name != "hypergraph":
        with pytest.raises(UsageError, match="a target that does not exist") as caught:
            layer(x, torch.tensor([[0, 1], [1, 7]]))
        assert "from 0 to 6" in caught.value.todo


@pytest.mark.parametrize("name", ["gcn", "chebyshev", "hypergraph"])
def test_weights_that_are_none_are_refused(name: str) -> None:
    layer, x, edges = LAYERS[name](), torch.zeros(7, 4), torch.tensor([[0, 1, 2], [1, 0, 1]])
    number = 2 if name == "hypergraph" else 3
    for wrong in (torch.ones(number)[:, None], torch.ones(number, dtype=torch.int64), torch.tensor(1.0)):
        with pytest.raises(UsageError, match="weights is"):
            layer(x, edges, wrong)
    for value in (-1.0, torch.nan, torch.inf):
        with pytest.raises(UsageError, match="negative or not finite"):
            layer(x, edges, torch.full((number,), value))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GraphConvolution(0, 3), "in_features is 0"),
        (lambda: GCN(4, 3, layers=0), "layers is 0"),
        (lambda: GCN(4, 3, dropout=1.0), "dropout is 1.0"),
        (lambda: GraphAttention(4, 3, heads=0), "heads is 0"),
        (lambda: GIN(4, 0), "classes is 0"),
        (lambda: SAGELayer(4, 3, aggregation="lstm"), "aggregation is 'lstm'"),
        (lambda: GraphSAGE(4, 3, samples=(5,)), r"samples is \(5,\)"),
        (lambda: GraphSAGE(4, 3, samples=(5, 0)), r"samples is \(5, 0\)"),
        (lambda: GraphSAGE(4, 3, samples=(5, 2.5)), r"samples is \(5, 2.5\)"),
        (lambda: ChebyshevConvolution(4, 3, order=-1), "order"),
        (lambda: ChebyshevConvolution(4, 3, largest_eigenvalue=2.5), "largest_eigenvalue is 2.5"),
        (lambda: DirectedConvolution(4, 3, alpha=1.5), "alpha is 1.5"),
        (lambda: HypergraphConvolution(4, 3, normalisation="columns"), "normalisation is 'columns'"),
        (lambda: FixedPointGNN(4, 3, contraction=1.0), "contraction is 1.0"),
        (lambda: FixedPointGNN(4, 3, state=0), "state is 0"),
    ],
)
def test_sizes_that_make_no_network_are_refused(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()
