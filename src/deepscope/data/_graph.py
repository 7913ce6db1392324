"""A dataset that is one graph, of whose nodes some are for training and others for testing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.data._dataset import Dataset, Samples
from deepscope.data._language import IGNORED


@dataclass(frozen=True, eq=False, kw_only=True)
class GraphDataset(Dataset):
    """A dataset of one graph: the graph is the one sample of each part, and the nodes of other parts are ignored.

    ``train``, ``validation`` and ``test`` have the same inputs [1, nodes, features], in one piece of memory; their
    targets [1, nodes] are the labels of the part's own nodes, and ``IGNORED`` elsewhere. A network sees all nodes and
    edges, as is usual where labels are what is missing (transductive learning). ``loss`` averages over the part's
    nodes, and ``count`` says how many these are; so a network that is bound to the graph, ``OnGraph(network,
    dataset.edges)``, trains and is examined like any other.

    Attributes
    ----------
    edges
        [2, edges] int64, (source, target); an undirected edge in both directions.
    validation
        A third part, for choices that are made while training.
    """

    edges: Tensor
    validation: Samples


def part(inputs: Tensor, labels: Tensor, nodes: Tensor, name: str = "") -> Samples:
    """Return the sample whose targets are the labels of these nodes alone.

    >>> part(torch.zeros(1, 4, 2), torch.tensor([3, 1, 2, 0]), torch.tensor([1, 3])).targets.tolist()
    [[-100, 1, -100, 0]]
    """
    targets = torch.full_like(labels, IGNORED)
    targets[nodes] = labels[nodes]
    return Samples(inputs, targets[None], name)
