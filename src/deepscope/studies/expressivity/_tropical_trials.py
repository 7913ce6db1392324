"""One hidden layer's regions, of units in general position and of parallel ones; integer networks against F − G."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from deepscope.core import Case, TrialRun
from deepscope.models import MLP
from deepscope.studies.expressivity._arrangement import Floats, cells, decidable, generic_count, parallel_count
from deepscope.studies.expressivity._digit_networks import layers_of
from deepscope.studies.expressivity._tropical import rational, upper_vertices

DIMENSIONS = (1, 2, 3)
#: Hidden widths of the integer networks, which have two inputs and one output.
INTEGER_NETWORKS = ((6,), (4, 4))


def generic(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return by dimension and number of units the regions and affine functions, and vertices minus regions."""
    rng = np.random.default_rng(run.seed)
    regions, pieces, surplus = [], [], []
    for dimensions in DIMENSIONS:
        normals, offsets = decidable(partial(_gaussian, rng, [1] * case.units, dimensions))
        outward = rng.standard_normal(case.units)
        signs = cells(normals, offsets)
        regions.append([len(each) for each in signs])
        pieces.append([_distinct_pieces(each, normals, offsets, outward) for each in signs])
        surplus += [
            upper_vertices(normals[:n], offsets[:n]) - len(signs[n - 1]) for n in range(dimensions + 1, case.units + 1)
        ]
    return {"regions": np.array(regions), "pieces": np.array(pieces), "vertex_surplus": np.array(surplus)}


def _gaussian(rng: np.random.Generator, sizes: Sequence[int], dimensions: int) -> tuple[Floats, Floats]:
    """Draw units in groups of these sizes, those of a group parallel."""
    directions = rng.standard_normal((len(sizes), dimensions))
    return np.repeat(directions, sizes, axis=0), rng.standard_normal(sum(sizes))


def _distinct_pieces(signs: Any, normals: Floats, offsets: Floats, outward: Floats) -> int:
    """Count the affine functions Σ cⱼ (aⱼ·x + bⱼ) over the active units j of each region, equal ones once."""
    units = signs.shape[1]
    generators = outward[:units, None] * np.column_stack([normals, offsets])[:units]
    return len(np.unique(np.round((signs > 0) @ generators, 9), axis=0))


def parallel(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return by dimension, from 2 on, the regions of units in three or four groups of parallel ones."""
    rng = np.random.default_rng(run.seed)
    found = []
    for dimensions in DIMENSIONS[1:]:
        sizes = np.bincount(rng.integers(0, dimensions + 1, case.units), minlength=dimensions + 1).tolist()
        regions = len(cells(*decidable(partial(_gaussian, rng, sizes, dimensions)))[-1])
        found.append([regions, parallel_count(sizes, dimensions), generic_count(case.units, dimensions)])
    regions, reduced, most = np.array(found).T
    return {"regions": regions, "reduced": reduced, "generic": most}


def integer(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the largest difference of integer networks from F − G, and the last one along a line."""
    rng = np.random.default_rng(run.seed)
    points = rng.uniform(-2, 2, (1000, 2))
    line = np.column_stack([np.linspace(-1, 1, 201), np.full(201, 0.3)])
    differences = []
    for hidden in INTEGER_NETWORKS:
        for _ in range(case.draws):
            network = MLP(2, hidden, 1).double()
            with torch.no_grad():
                for parameter in network.parameters():
                    values = (
                        rng.integers(-3, 4, parameter.shape) if parameter.ndim == 2 else rng.normal(size=len(parameter))
                    )
                    parameter.copy_(torch.as_tensor(values))
            layers = layers_of(network)
            above, below = rational([(weights.astype(np.int64), biases) for weights, biases in layers])
            differences.append(np.abs(_outputs(network, points) - (above(points) - below(points))).max())
    return {
        "difference": np.array(differences),
        "network": _outputs(network, line),
        "above": above(line),
        "below": below(line),
    }


def _outputs(network: nn.Module, points: Floats) -> Floats:
    with torch.no_grad():
        found: Floats = network(torch.from_numpy(points))[:, 0].numpy()
    return found
