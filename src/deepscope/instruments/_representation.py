"""How a network's layers represent the data."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from deepscope.core import Instrument, LeftOut, Needs, Stopwatch, UsageError, derive_seed
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._labels import Labels, labels_of
from deepscope.instruments._representation_findings import first_lost
from deepscope.instruments._representation_known import KNOWN
from deepscope.instruments._representation_pairs import SHAPES, compare_pairs
from deepscope.instruments._representation_pass import Head, Seen, look
from deepscope.instruments._representation_probe import through_random_weights
from deepscope.instruments._representation_reading import Representation
from deepscope.instruments._representation_row import measure_layer
from deepscope.linalg import NeuralCollapse, neural_collapse
from deepscope.subject import Subject, collect, forward_work

__all__ = ["REPRESENTATION", "Representation", "representation"]

#: Fewest samples of which pairs of layers are compared.
_FEWEST = 4
#: Features of a layer that are kept at most.
_KEPT = 4096
#: Random units at most in the place of a layer that tells nothing.
_UNITS = 256


def representation(
    subject: Subject,
    other: Subject | nn.Module | None = None,
    layers: Collection[str] | None = None,
    *,
    samples: int = 1000,
    cka_samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Representation:
    """Measure how each layer represents the data, and how alike layers do, of one network or of two.

    A layer's representation is the output of a leaf module, one row per sample, flattened over positions; where the
    subject has a mask, its mean over the positions that are real.

    Parameters
    ----------
    subject
        A model with data; the targets are compared with where they are classes or numbers, one per sample.
    other
        Another network: pairs are then of the subject's layers and its layers, on the subject's data.
    layers
        Names of the subject's modules; all leaf modules but containers and dropout unless given.
    samples
        How many samples, the first of the data, all but the linear alignment rests on.
    cka_samples
        Over how many samples the linear alignment is added up, 256 at a time, without keeping them; as many as
        ``samples`` unless given.
    generator
        Its initial seed seeds which features are kept of a layer that has too many, the halves of the probe, the
        orders of samples and labels of the nulls, and what is random in the model's evaluation mode.

    Returns
    -------
    Representation
        Its table has the columns ``name, kind, features, effective_rank, participation_ratio, intrinsic_dimension,
        likelihood_dimension, probe_accuracy, probe_r2, between_classes, nc1, nc2_norms, nc2_angles, mutual_neighbours,
        status`` with ``…_low`` and ``…_high`` for intervals and ``…_null`` for nulls; ``cka``, ``cka_rbf``,
        ``procrustes`` and ``neighbours`` are of all pairs.

    Raises
    ------
    UsageError
        Fewer than four samples are asked for, or a layer that there is not.
    MeasurementError
        There is no model or no data.

    Notes
    -----
    Centred kernel alignment is unbiased (``nguyen2021wide``): independent representations have 0, however many features
    they have; it is averaged over batches of the data as they come, cut into parts of at most 256 samples; batches of
    fewer than four samples have none. Its standard error is the jackknife's over batches. Procrustes distances are of
    the first 128 samples.
    Intrinsic dimensions are too low where samples are few for the dimension: 20-dimensional spheres look like 16.5
    dimensions to 1,000 samples (``deepscope.linalg.intrinsic_dimension``).
    Cost: a forward pass over the samples; for each layer some n²·d operations and 20·min(n, d)³; for each pair
    256·n for each kind of alignment, some 8·128³ for the distance and n² for neighbours. Memory: the kept samples'
    representations, 512 MiB at most or 256 features a layer, of wide layers as many features as fit, drawn at random;
    a batch's kernels.
    Sources: ``kornblith2019similarity``, ``facco2017estimating``, ``alain2017understanding``,
    ``papyan2020prevalence``, ``huh2024platonic``, ``williams2021generalized``.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> x = torch.randn(200, 3, generator=generator)
    >>> model = nn.Sequential(nn.Linear(3, 50), nn.Linear(50, 4))
    >>> found = representation(Subject(model, data=[(x, None)]))
    >>> found.table()["intrinsic_dimension"].round().tolist()
    [3.0, 3.0]
    """
    subject.require(Needs.MODEL | Needs.DATA, "representation")
    for name, asked in (("samples", samples), ("cka_samples", cka_samples)):
        if asked is not None and asked < _FEWEST:
            raise UsageError(f"{name} must be at least {_FEWEST}, not {asked}", where="representation")
    if isinstance(other, nn.Module):
        other = Subject(other)
    if other is not None:
        other.require(Needs.MODEL, "representation")
    seed = generator.initial_seed() if generator is not None else 0
    stopwatch = Stopwatch()
    with stopwatch:
        seen = look(subject, other, layers, samples, cka_samples or samples, seed)
        made = _reading(subject, seen, seed)
    stopwatch.count(forward=seen.passes)
    return Representation(
        subject=subject.name,
        cost=stopwatch.cost,
        other=other.name if other is not None else None,
        **made,
    )


def _reading(subject: Subject, seen: Seen, seed: int) -> dict[str, Any]:
    """Draw from what a pass saw everything that a reading holds of it."""
    mine, theirs = seen.mine, seen.theirs
    n_outputs = mine.output[0].numel() if mine.output is not None else 0
    labels = labels_of(mine.targets, mine.n_samples, n_outputs)
    rows = list(mine.layers.values())
    others = None if theirs is None else list(theirs.layers.values())
    pairs = None
    if mine.n_samples >= _FEWEST:
        pairs = compare_pairs(rows, others, derive_seed(seed, "orders"))
    layers = []
    for index, (name, each) in enumerate(mine.layers.items()):
        rng = np.random.default_rng(derive_seed(seed, f"probe {name}"))
        row = measure_layer(name, _kind(subject, name), mine.widths[name], each, labels.usable, rng)
        shared = float(pairs.neighbours[index, -1]) if pairs is not None else math.nan
        layers.append(replace(row, mutual_neighbours=None if math.isnan(shared) else shared))
    lost = first_lost(layers)
    random = None
    if lost is not None and not labels.why:
        points = rows[lost - 1].detach().double().cpu().numpy()[labels.rows]
        width = min(layers[lost].features, _UNITS)
        random = through_random_weights(points, width, labels, np.random.default_rng(derive_seed(seed, "random")))
    collapse, collapse_status = _collapse(seen.head, labels.usable)
    empty = np.zeros((0, 0))
    return {
        "layers": tuple(layers),
        "other_layers": tuple(theirs.layers) if theirs is not None else (),
        "n_samples": mine.n_samples,
        "cka_samples": seen.cka_samples,
        "cka": seen.cka,
        "cka_stderr": seen.cka_stderr,
        "cka_rbf": pairs.rbf if pairs is not None else empty,
        "procrustes": pairs.procrustes if pairs is not None else empty,
        "procrustes_null": pairs.procrustes_null if pairs is not None else None,
        "neighbours": pairs.neighbours if pairs is not None else empty,
        "n_classes": len(np.unique(labels.classes)) if labels.classes is not None and not labels.why else None,
        "labels_status": labels.why or "ok",
        "left_out": (*_left_out(seen), *labels.left_out),
        "head": seen.head.name if seen.head is not None else None,
        "random_weights": random,
        "collapse": collapse,
        "collapse_status": collapse_status,
    }


def _kind(subject: Subject, name: str) -> str:
    assert subject.model is not None
    return type(subject.model.get_submodule(name.partition("#")[0])).__name__


def _collapse(head: Head | None, labels: Labels | None) -> tuple[NeuralCollapse | None, str]:
    """Return neural collapse at the last layer, with its weights, or the reason why there is none."""
    if labels is None or labels.classes is None:
        return None, "no classes"
    if head is None:
        return None, "the network does not end in a linear layer"
    if not labels.of_outputs or labels.classes.max() >= head.module.out_features:
        return None, "the last layer has not an output for each class"
    weight, bias = head.module.weight, head.module.bias
    try:
        features = head.features[torch.from_numpy(labels.rows).to(head.features.device)]
        return neural_collapse(features, torch.from_numpy(labels.classes), weight, bias), "ok"
    except UsageError as error:
        return None, error.what


def _left_out(seen: Seen) -> Iterator[LeftOut]:
    yield from seen.mine.left_out
    if seen.theirs is not None:
        for name, reason in seen.theirs.left_out:
            yield LeftOut(name, f"of the other network: {reason}")


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    forward = forward_work(subject).operations
    with subject.undisturbed():
        widths = list(collect(subject, 1).widths.values())
    # Of n samples: products with all others, four times; decompositions; pairs of layers.
    layers, total = len(widths), sum(min(width, _KEPT) for width in widths)

    def work(n: float) -> float:
        cubes = 20 * sum(min(n, width) ** 3 for width in widths)
        return n * forward + 8 * n**2 * total + cubes + layers**2 * (256 * n + n**2 + 4 * min(n, SHAPES) ** 3)

    asked = {**effort}
    low, high = 1.0, float(asked["samples"])
    if work(high) <= operations:
        return asked
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if work(middle) <= operations else (low, middle)
    return affordable([asked], "samples", lambda _: operations / low, operations)


def _expected_cost(subject: Subject, *, samples: int = 1000) -> str:
    del subject
    return f"a forward pass over up to {samples:,} samples"


REPRESENTATION = Instrument(
    name="representation",
    title="Representations",
    measure=representation,
    reading=Representation,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "X: a layer's outputs, one row per sample. Effective rank: exp of the entropy of σ/Σσ over the singular values "
        "of X, centred; participation ratio: (Σλ)²/Σλ², λ = σ². Intrinsic dimension: (n − 1)/Σ ln(r₂/r₁) over the "
        "distances to the two nearest neighbours. Probe: ridge regression of the labels on X, fitted on one half of "
        "the samples and judged on the other, and the other way round; null: labels in random order. Between classes: "
        "tr Σ_B/tr Σ_T. Neural collapse: NC1 tr(Σ_W Σ_B†)/C; NC2 spread of the lengths of class means and of their "
        "angles about −1/(C − 1); NC3, NC4 with the last layer's weights. Alignment: unbiased HSIC(K, L)/√(HSIC(K, K) "
        "HSIC(L, L)), K = XXᵀ or exp(−‖x − x′‖²/(2σ²)). Procrustes: min over rotations Q of ‖X/‖X‖ − YQ/‖Y‖‖. A "
        "problem where a probe reads the classes before a layer, none does from there on, and one would behind each of "
        "19 layers of as many units with random weights."
    ),
    how_to_read=(
        "Above, how alike layers are: a dark square along the diagonal is a run of layers that represent the data "
        "alike. Below, layer by layer, on how many coordinates the data depends, in how many directions it spreads, "
        "and how well a linear readout tells the classes from it, beside what it reaches with labels in random order."
    ),
    source="kornblith2019similarity",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={"quick": {"samples": 256}, "standard": {"samples": 1000}, "deep": {"samples": 4000}},
    pinned_by="tests/instruments/test_representation.py::test_rows_are_those_of_the_outputs_themselves",
    known=KNOWN,
)
