"""What tells graphs apart: networks with random weights, and the tests that they are compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.models import GCN, GIN, GraphSAGE
from deepscope.studies.graphs._graph_networks import (
    AGGREGATIONS,
    PairNetwork,
    Sine,
    as_one_graph,
    with_activation,
    with_aggregation,
    without_biases,
)
from deepscope.studies.graphs._graph_stacks import Stack
from deepscope.studies.graphs._refinement import Seen, refined_nodes, refined_pairs
from deepscope.subject import seeded_generators

#: Activations of the networks that are judged.
ANALYTIC = ("tanh", "SiLU", "sin")
#: What does the telling, and the exact test that is expected to tell apart the same graphs.
EXPECTED = {
    "1-WL": "1-WL",
    **dict.fromkeys((*ANALYTIC, "ReLU", "GCN"), "1-WL"),
    "ReLU, no biases": "walks",
    **dict.fromkeys(("mean", "maximum", "GraphSAGE, mean", "GraphSAGE, maximum"), "counts"),
    **dict.fromkeys(("2-FWL", "pairs"), "isomorphism"),
}


def make_teller(case: Case, run: TrialRun) -> Callable[[Stack], Seen]:
    """Return a function that says something of each graph of a stack, [graphs, numbers]."""
    if case.teller not in EXPECTED:
        raise UsageError("unknown network or test", where=str(case.teller), todo=nearest(str(case.teller), EXPECTED))
    if case.teller in ("1-WL", "2-FWL"):
        return refined_nodes if case.teller == "1-WL" else refined_pairs
    with seeded_generators(derive_seed(run.seed, "weights")):
        network = build_network(case.teller, case.layers, case.hidden).double().eval().to(run.device)
    return partial(_read_out, network, device=run.device)


def build_network(teller: str, layers: int, hidden: int) -> nn.Module:
    """Return a network for nodes of one feature, from torch's generator.

    ``hidden`` is its width and how many numbers it says of each graph. Named by its activation, by its aggregation
    (with tanh) or as a whole.
    """
    if teller == "pairs":
        return PairNetwork(hidden, layers)
    if teller == "GCN":
        return GCN(1, hidden, hidden=hidden, layers=layers)
    if teller.startswith("GraphSAGE"):
        aggregation = "mean" if teller.endswith("mean") else "pool"
        return GraphSAGE(1, hidden, hidden=hidden, layers=layers, aggregation=aggregation)
    network = GIN(1, hidden, hidden=hidden, layers=layers)
    if teller.startswith("ReLU"):
        return without_biases(network) if teller.endswith("no biases") else network
    activations = {"SiLU": nn.SiLU(), "sin": Sine()}
    with_activation(network, activations.get(teller, nn.Tanh()))
    return with_aggregation(network, AGGREGATIONS[teller]) if teller in AGGREGATIONS else network


@torch.no_grad()
def _read_out(network: nn.Module, stack: Stack, *, device: Any) -> Seen:
    """Return what a network says of each graph, all nodes being alike: sums over its nodes, or over pairs of them."""
    if isinstance(network, PairNetwork):
        pairs: Seen = network(torch.from_numpy(stack).double().to(device)).cpu().numpy()
        return pairs
    edges, graphs = (each.to(device) for each in as_one_graph(stack))
    alike = torch.ones(len(graphs), 1, dtype=torch.float64, device=device)
    if isinstance(network, GIN):
        whole = network(alike, edges, graphs)
    else:
        outputs = network(alike, edges)
        whole = outputs.new_zeros(len(stack), outputs.shape[1]).index_add(0, graphs, outputs)
    found: Seen = whole.cpu().numpy()
    return found
