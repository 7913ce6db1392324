"""Networks on a graph under all instruments: not one fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import examined
from torch import nn

from deepscope.models import GAT, GCN, GIN, HGNN, ChebNet, DirGNN, FixedPointGNN, GraphSAGE, OnGraph

pytestmark = pytest.mark.verify

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "gcn": lambda: GCN(4, 3, hidden=6),
    "gat": lambda: GAT(4, 3, hidden=3, heads=2),
    "gin": lambda: GIN(4, 3, hidden=5, layers=2),
    "graphsage": lambda: GraphSAGE(4, 3, hidden=6),
    "graphsage-pool": lambda: GraphSAGE(4, 3, hidden=6, aggregation="pool"),
    "chebnet": lambda: ChebNet(4, 3, hidden=6),
    "dir-gnn": lambda: DirGNN(4, 3, hidden=6, layers=2),
    "hgnn": lambda: HGNN(4, 3, hidden=6),
    "fixed-point-gnn": lambda: FixedPointGNN(4, 3, state=3, hidden=4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_instrument_fails(name: str) -> None:
    torch.manual_seed(0)
    # A ring of six nodes with loops, in both directions.
    nodes = torch.arange(6)
    there = torch.stack([nodes, (nodes + 1) % 6])
    edges = torch.cat([there, there.flip(0), nodes.expand(2, -1)], 1)
    model = OnGraph(NETWORKS[name](), edges).eval()
    examined(model, torch.randn(12, 6, 4, generator=torch.Generator().manual_seed(1)))
