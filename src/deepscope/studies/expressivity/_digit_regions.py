"""Regions of networks for digits on a plane and on a line, before and after training; and of networks that fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from deepscope.core import Case, TrialRun
from deepscope.data import load
from deepscope.studies.expressivity._digit_networks import layers_of, make, share_wrong, train
from deepscope.studies.expressivity._slices import count_regions, folding_layers

#: Networks of several widths at one depth, and of several depths at one width.
WIDTHS, FIXED_DEPTH = (8, 16, 32, 64), 3
DEPTHS, FIXED_WIDTH = (1, 2, 4, 8), 16
SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def slices(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the regions on a plane and on a line, [before and after training, networks], by width and by depth."""
    data, rng = load(case.data), np.random.default_rng(run.seed)
    images = data.train.inputs[torch.from_numpy(rng.choice(len(data.train), 3, replace=False))]
    corners = images.flatten(1).double().numpy()
    triangle = corners.mean(axis=0) + case.size * (corners - corners.mean(axis=0))

    def counts(network: nn.Module) -> list[int]:
        hidden = layers_of(network)[:-1]
        return [count_regions(hidden, triangle), count_regions(hidden, triangle[:2])]

    errors = []

    def both(width: int, depth: int) -> list[list[int]]:
        network = make(data, [width] * depth, run)
        before = counts(network)
        train(network, data, rng, steps=case.steps)
        errors.append(share_wrong(network, data))
        return [before, counts(network)]

    by_width = np.array([both(width, FIXED_DEPTH) for width in WIDTHS[: case.widths]])
    by_depth = np.array([both(FIXED_WIDTH, depth) for depth in DEPTHS[: case.depths]])
    folded = [count_regions(folding_layers(depth), SQUARE) / 4**depth for depth in range(1, case.folds + 1)]
    return {
        "plane_by_width": by_width[:, :, 0].T,
        "line_by_width": by_width[:, :, 1].T,
        "plane_by_depth": by_depth[:, :, 0].T,
        "folded": np.array(folded),
        "test_errors": np.array(errors),
    }
