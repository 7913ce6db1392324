"""What is told of one layer's representation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.instruments._labels import Labels
from deepscope.instruments._representation_probe import linear_probe
from deepscope.linalg import effective_dimensions, intrinsic_dimension, neural_collapse


@dataclass(frozen=True, kw_only=True)
class LayerRepresentation:
    """One layer's representation of the samples.

    Attributes
    ----------
    name, kind
        The layer, as ``named_modules`` has it (``name#2`` where it is used again), and its class.
    features
        How many values it puts out for a sample.
    effective_rank, participation_ratio
        In how many directions samples spread, by entropy and by variance (``deepscope.linalg.effective_dimensions``),
        with 95 % intervals ``…_low`` and ``…_high``.
    intrinsic_dimension
        On how many coordinates they depend, by TwoNN (``deepscope.linalg.intrinsic_dimension``), with its 95 %
        interval; ``likelihood_dimension`` by maximum likelihood, as a cross-check.
    probe_accuracy, probe_r2
        Held-out accuracy of a linear readout of the classes, or R² of a regression's targets, whichever there are;
        ``probe_low``, ``probe_high`` its 95 % interval, ``probe_null`` and ``probe_null_high`` what labels in random
        order reach in the mean and in one of twenty orders.
    between_classes
        tr Σ_B/tr Σ_T, the share of the variance that lies between the classes' means; ``between_classes_null`` is its
        mean over orders of the labels, (C − 1)/(n − 1), exactly.
    nc1, nc2_norms, nc2_angles
        Neural collapse (``deepscope.linalg.neural_collapse``); 0 where it is complete.
    mutual_neighbours
        Share of a sample's ten nearest neighbours in common with the last layer: of this network, or of the other one.
    status
        ``"ok"``, or why numbers are missing.
    """

    name: str
    kind: str
    features: int
    effective_rank: float | None = None
    effective_rank_low: float | None = None
    effective_rank_high: float | None = None
    participation_ratio: float | None = None
    participation_ratio_low: float | None = None
    participation_ratio_high: float | None = None
    intrinsic_dimension: float | None = None
    intrinsic_dimension_low: float | None = None
    intrinsic_dimension_high: float | None = None
    likelihood_dimension: float | None = None
    probe_accuracy: float | None = None
    probe_r2: float | None = None
    probe_low: float | None = None
    probe_high: float | None = None
    probe_null: float | None = None
    probe_null_high: float | None = None
    between_classes: float | None = None
    between_classes_null: float | None = None
    nc1: float | None = None
    nc2_norms: float | None = None
    nc2_angles: float | None = None
    mutual_neighbours: float | None = None
    status: str = "ok"


def measure_layer(
    name: str, kind: str, features: int, rows: Tensor, labels: Labels | None, rng: np.random.Generator
) -> LayerRepresentation:
    """Measure one layer's representation, [n, d], for samples with these labels."""
    points = rows.detach().double().cpu()
    if not bool(torch.isfinite(points).all()):
        return LayerRepresentation(name=name, kind=kind, features=features, status="its output is not finite")
    if bool((points == points[0]).all()):
        return LayerRepresentation(name=name, kind=kind, features=features, status="the same for all samples")
    found: dict[str, Any] = {}
    missing = []
    for measure in (effective_dimensions, _intrinsic):
        try:
            part = measure(points)
            found |= part if isinstance(part, dict) else asdict(part)
        except UsageError as error:
            missing.append(f"{error.what}")
    if labels is not None:
        found |= _of_labels(points[torch.from_numpy(labels.rows)], labels, rng)
    return LayerRepresentation(
        name=name, kind=kind, features=features, status="; ".join(dict.fromkeys(missing)) or "ok", **found
    )


def _intrinsic(points: Tensor) -> dict[str, float]:
    found = intrinsic_dimension(points)
    return {
        "intrinsic_dimension": found.dimension,
        "intrinsic_dimension_low": found.low,
        "intrinsic_dimension_high": found.high,
        "likelihood_dimension": found.likelihood,
    }


def _of_labels(points: Tensor, labels: Labels, rng: np.random.Generator) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    probe = linear_probe(points.numpy(), labels, rng)
    if probe is not None:
        found |= {
            "probe_accuracy" if labels.classes is not None else "probe_r2": probe.score,
            "probe_low": probe.low,
            "probe_high": probe.high,
            "probe_null": probe.null,
            "probe_null_high": probe.null_high,
        }
    if labels.classes is not None:
        found["between_classes"], found["between_classes_null"] = _between(points.numpy(), labels.classes)
        try:
            collapse = neural_collapse(points, torch.from_numpy(labels.classes))
        except UsageError:
            # All classes have the same mean.
            return found
        found |= {"nc1": collapse.within, "nc2_norms": collapse.norms, "nc2_angles": collapse.angles}
    return found


def _between(points: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]) -> tuple[float, float]:
    present, counts = np.unique(classes, return_counts=True)
    centred = points - points.mean(axis=0)
    means = np.stack([centred[classes == each].mean(axis=0) for each in present])
    between = float(counts @ np.sum(means**2, axis=1))
    return between / float(np.sum(centred**2)), (len(present) - 1) / (len(points) - 1)
