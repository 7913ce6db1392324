"""GraphSAGE: means and maxima over neighbours, all or a random sample of them."""

from __future__ import annotations

import pytest
import torch
from graphs import numbers, random_graph
from torch import Tensor
from torch_geometric.nn import SAGEConv

from deepscope.core import UsageError
from deepscope.models import GraphSAGE, SAGELayer, sample_neighbours

EDGES = random_graph(8, 0.5, directed=True)


def by_hand(layer: SAGELayer, x: Tensor, edges: Tensor) -> Tensor:
    """Return a layer's outputs, one node after another."""
    outputs = []
    for i in range(len(x)):
        around = x[edges[0, edges[1] == i]]
        if layer.pool is not None:
            around = (around @ layer.pool[0].weight.T + layer.pool[0].bias).relu()
        own = torch.zeros_like(x[0])
        if len(around):
            own = around.mean(0) if layer.pool is None else around.max(0).values
        outputs.append(layer.linear.weight @ torch.cat([x[i], own]))
    return torch.stack(outputs)


@pytest.mark.parametrize("aggregation", ["mean", "pool"])
def test_it_sees_samples_in_training_and_all_in_evaluation(aggregation: str) -> None:
    torch.manual_seed(0)
    network = GraphSAGE(6, 3, hidden=5, aggregation=aggregation, samples=(2, 1)).double()
    x = numbers(9, 6)

    def expected(*seen: Tensor) -> Tensor:
        h = x
        for layer, edges in zip(network.layers, seen, strict=True):
            assert isinstance(layer, SAGELayer)
            h = by_hand(layer, h, edges).relu()
            h = h / h.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return network.output(h)

    torch.testing.assert_close(network.eval()(x, EDGES), expected(EDGES, EDGES), rtol=0, atol=1e-12)
    torch.manual_seed(1)
    sampled = network.train()(x, EDGES)
    torch.manual_seed(1)
    first, second = sample_neighbours(EDGES, 2), sample_neighbours(EDGES, 1)
    torch.testing.assert_close(sampled, expected(first, second), rtol=0, atol=1e-12)
    assert (sampled - network.eval()(x, EDGES)).abs().max() > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("aggregation", ["mean", "pool"])
def test_it_is_torch_geometrics(aggregation: str, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    layer = SAGELayer(6, 3, aggregation=aggregation).to(dtype)
    pool = layer.pool
    peer = SAGEConv(6, 3, aggr="mean" if pool is None else "max", project=pool is not None, bias=False).to(dtype)
    with torch.no_grad():
        peer.lin_r.weight.copy_(layer.linear.weight[:, :6])
        peer.lin_l.weight.copy_(layer.linear.weight[:, 6:])
        if pool is not None:
            peer.lin.load_state_dict(pool[0].state_dict())
    x = numbers(9, 6).to(dtype)
    torch.testing.assert_close(layer(x, EDGES), peer(x, EDGES), rtol=0, atol=tolerance)


def test_samples_are_edges_drawn_evenly_without_replacement() -> None:
    star = torch.tensor([[1, 2, 3, 4, 5, 0, 2], [0, 0, 0, 0, 0, 3, 3]])
    generator, draws, counts = torch.Generator().manual_seed(0), 2000, torch.zeros(6)
    for _ in range(draws):
        kept = sample_neighbours(star, 3, generator=generator)
        assert kept[1].tolist() == [0, 0, 0, 3, 3]
        assert sorted(kept[0, 3:].tolist()) == [0, 2]
        assert len(kept[0, :3].unique()) == 3
        counts[kept[0, :3]] += 1
    # Each of five is kept with the probability 3/5: five deviations of a binomial number.
    assert ((counts[1:] / draws - 0.6).abs() < 5 * (0.6 * 0.4 / draws) ** 0.5).all()
    assert torch.equal(sample_neighbours(star, 5)[1], star[1])
    assert sample_neighbours(star[:, :0], 2).shape == (2, 0)
    with pytest.raises(UsageError, match="count is 0"):
        sample_neighbours(star, 0)
