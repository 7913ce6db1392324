"""Trials of aggregations in one and the same network: which neighbourhoods look alike, which labels are learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.models import GIN
from deepscope.studies.graphs._atlas_trials import differences
from deepscope.studies.graphs._graph_networks import AGGREGATIONS, as_one_graph, with_activation, with_aggregation
from deepscope.studies.graphs._graph_stacks import Stack, atlas
from deepscope.studies.graphs._refinement import Seen, refined_nodes
from deepscope.subject import seeded_generators
from deepscope.training import evaluate, fit

#: Colours of the neighbours of a node, of which the source compares the first with the others.
NEIGHBOURHOODS = ("ab", "aabb", "aab")
#: Share of the labels that are 1: a network that sees no difference is right on the others.
ONES = 3 / 8
#: Times at which the accuracy is taken during training.
STRETCHES = 10


def tell_neighbourhoods(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return ``hard``: how much a node with neighbours a, b differs from one with a, a, b, b, and one with a, a, b.

    Differences are those of ``differences``, of what a network with random weights says of that node alone.
    """
    with seeded_generators(derive_seed(run.seed, "weights")):
        network = _aggregating(case, GIN(3, case.hidden, hidden=case.hidden, layers=case.layers))
    with_activation(network, nn.Tanh()).double().eval().to(run.device)
    first, *others = (_centre(network, colours, run.device) for colours in NEIGHBOURHOODS)
    return {"hard": np.array([differences(first, other)[0, 0] for other in others])}


@torch.no_grad()
def _centre(network: GIN, colours: str, device: Any) -> Seen:
    """Return what a network says of a node without a colour, [1, numbers], that has neighbours of these colours."""
    nodes = torch.tensor([0, *(1 + "ab".index(colour) for colour in colours)], device=device)
    around = torch.arange(1, len(nodes), device=device)
    centre = torch.zeros_like(around)
    edges = torch.stack([torch.cat([around, centre]), torch.cat([centre, around])])
    # To the sum over nodes the centre is a graph of its own.
    found: Seen = network(functional.one_hot(nodes, 3).double(), edges, nodes.clamp(max=1))[:1].cpu().numpy()
    return found


def _aggregating(case: Case, network: GIN) -> GIN:
    """Let a GIN aggregate as the case says."""
    if case.teller == "sum":
        return network
    if case.teller not in AGGREGATIONS:
        raise UsageError(
            "unknown aggregation", where=str(case.teller), todo=nearest(str(case.teller), ("sum", *AGGREGATIONS))
        )
    return with_aggregation(network, AGGREGATIONS[case.teller])


def learn_labels(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return how many random labels of graphs a network learns.

    The network is the published one, with ReLU and batch normalisation, without dropout; Adam on all graphs at once.

    Returns
    -------
    dict
        ``curve``: share of the labels that are right, before training and after each tenth of it; ``accuracy``: the
        last.

    Raises
    ------
    UsageError
        An unknown aggregation, fewer than 8 graphs or more than there are, steps that are no multiple of 10.
    """
    if case.steps % STRETCHES:
        raise UsageError(f"this is {case.steps}", where="steps", todo=f"Give a multiple of {STRETCHES}.")
    stack, labels = labelled_graphs(
        run.shared(atlas, nodes=case.nodes)[str(case.nodes)], case.graphs, np.random.default_rng(run.seed)
    )
    edges, graphs = as_one_graph(stack)
    batch = {"x": torch.ones(len(graphs), 1), "edges": edges, "graphs": graphs}, labels
    with seeded_generators(derive_seed(run.seed, "weights")):
        network = _aggregating(case, GIN(1, 2, hidden=case.hidden, layers=case.layers, dropout=0.0))
    optimizer = torch.optim.Adam(network.to(run.device).parameters(), lr=case.learning_rate)
    curve = [evaluate(network, [batch]).accuracy]
    for _ in range(STRETCHES):
        fit(
            network,
            lambda epoch: [batch],
            functional.cross_entropy,
            optimizer=optimizer,
            epochs=case.steps // STRETCHES,
        )
        curve.append(evaluate(network, [batch]).accuracy)
    return {"accuracy": curve[-1], "curve": np.array(curve)}


def labelled_graphs(stack: Stack, count: int, rng: np.random.Generator) -> tuple[Stack, Tensor]:
    """Draw graphs without isolated nodes, all different to 1-WL; ``ONES`` of them are labelled 1.

    Raises
    ------
    UsageError
        Fewer than 8, or more than there are.
    """
    stack = stack[(stack.sum(-1) > 0).all(-1)]
    _, first = np.unique(refined_nodes(stack), axis=0, return_index=True)
    if not 8 <= count <= len(first):
        raise UsageError(f"this is {count}", where="graphs", todo=f"Give a number from 8 to {len(first)}.")
    ones = round(ONES * count)
    return stack[rng.permutation(first)[:count]], torch.arange(count).lt(ones).long()
