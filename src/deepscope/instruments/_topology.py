"""What shape the layers of a network give the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepscope.core import (
    DeepscopeError,
    DoesNotApplyError,
    Instrument,
    LeftOut,
    MeasurementError,
    Needs,
    Stopwatch,
    UsageError,
    derive_seed,
    first_line,
)
from deepscope.instruments._topology_budget import fitted
from deepscope.instruments._topology_clouds import LARGEST, Draws, LayerShape, ShapeOf, draw, layer_shape
from deepscope.instruments._topology_findings import CLOSE, FADED, ONE_POINT, SAME_INPUTS
from deepscope.instruments._topology_groups import groups_of
from deepscope.instruments._topology_known import KNOWN
from deepscope.instruments._topology_reading import LayerTopology, Topology
from deepscope.linalg import point_distances
from deepscope.subject import Collected, Subject, collect, tensors_in

__all__ = ["TOPOLOGY", "Topology", "topology"]

#: Rounding moves points by so many units of the last place of the longest.
_ROUNDING = 8


def topology(
    subject: Subject,
    samples: int = 2048,
    landmarks: int = 64,
    *,
    subsamples: int = 8,
    permutations: int = 40,
    max_dimension: int = 1,
    neighbours: int | None = None,
    max_classes: int = 10,
    max_layers: int | None = None,
    generator: torch.Generator | None = None,
) -> Topology:
    """Measure the persistent homology of each class in every layer.

    A class is a cloud of points in each layer, one per sample. Half of its samples are drawn, several times: gaps are
    sought between all of them (bars of dimension 0), loops and voids (1 and 2) among landmarks, each of which is the
    farthest from those before it. Total persistence is Σ (death − birth) over the diameter; ``betti_numbers`` counts
    the bars that are more than noise.

    Parameters
    ----------
    subject
        A model with data. Where its targets are no classes all samples are one cloud.
    samples
        How many samples, the first of the data.
    landmarks
        Of how many points loops and voids are sought. A loop is seen where landmarks along it are closer than 0.4 of
        its width.
    subsamples
        Of each class, at least 2: of half of the smallest class's samples, up to 256.
    permutations
        Random divisions of the samples into clouds of the same size, with which classes are compared; 0 for none.
    max_dimension
        0: gaps alone, for which no package is needed; 1: loops; 2: voids as well, which take hundreds of times as long.
    neighbours
        Take distances along the graph that joins each point to so many nearest ones (``geodesic_distances``);
        straight unless given.
    max_classes
        How many classes, the largest.
    max_layers
        How many layers, evenly spaced from the first to the last; all unless given.
    generator
        Its initial seed seeds the subsamples and divisions, and what is random in the model's evaluation mode.

    Returns
    -------
    Topology
        With ``.betti`` per layer and class, ``.separation`` per layer, and one row per layer.

    Raises
    ------
    UsageError
        An argument is out of range.
    DoesNotApplyError
        There are fewer than four samples, no layer puts out a row for each, or the package ``ripser`` is missing.
    MeasurementError
        There is no model or no data.

    Notes
    -----
    The model runs in evaluation mode. Layers are compared on the same subsamples, of classes of the same size, because
    sums of bars grow with the number of points. Intervals hold the mean over clouds of so many points of *other*
    samples of the same kind: with m of n samples in a subsample and b subsamples of variance s², the standard error is
    s·√(m/(n − m) + 1/b), because a mean over all subsamples varies by at most m/n of what one does
    (``chazal2015subsampling``, ``hoeffding1948class``); it is conservative.

    ``over_groups`` is the sum of classes' bars over that of clouds of as many samples of any class, in the same layer:
    below 1 classes are gathered. A class's own shape, over its own diameter, says nothing of that.

    Cost: a forward pass of ``samples``; by layer 2·samples²·features for distances, and classes × (subsamples +
    permutations) persistence computations of 1 ms at 64 landmarks, 5 ms at 128. Memory: representations of at most
    512 MiB (of wide layers some features are drawn), and four matrices of samples².
    Sources: ``naitzat2020topology``, ``chazal2015subsampling``, ``bobrowski2023universal``.

    Examples
    --------
    >>> angles = 2 * torch.pi * torch.rand(400, generator=torch.Generator().manual_seed(0))
    >>> circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    >>> subject = Subject(torch.nn.Sequential(torch.nn.Identity()), data=[(circle, None)])
    >>> topology(subject).betti
    {'0': {'all': (1, 1)}}
    """
    subject.require(Needs.MODEL | Needs.DATA, "topology")
    _check(samples, landmarks, subsamples, permutations, max_dimension, neighbours, max_classes, max_layers)
    seed = generator.initial_seed() if generator is not None else 0
    stopwatch = Stopwatch()
    with stopwatch, subject.undisturbed(seed=seed):
        collected = _collected(subject, samples, seed)
        stopwatch.count(forward=collected.n_batches)
        # Inside as well: on its first import ripser draws from Python's generator.
        groups = groups_of(collected.targets, collected.n_samples, max_classes)
        draws = draw(groups.members, subsamples, permutations, LARGEST, derive_seed(seed, "subsamples"))
        chosen = _evenly(list(collected.layers), max_layers)
        shape_of = ShapeOf(landmarks, max_dimension, neighbours)
        layers = tuple(_layer(subject, collected, name, draws, shape_of) for name in chosen)
    return Topology(
        subject=subject.name,
        left_out=(
            *subject.left_out,
            *collected.left_out,
            *groups.left_out,
            *(
                LeftOut(n, f"not among {len(chosen)} layers, evenly spaced")
                for n in collected.layers
                if n not in chosen
            ),
        ),
        cost=stopwatch.cost,
        layers=layers,
        classes=tuple(groups.members),
        by_class=groups.by_class,
        max_dimension=max_dimension,
        n_samples=sum(map(len, groups.members.values())),
        subsample=draws.size,
        landmarks=min(landmarks, draws.size),
        subsamples=subsamples,
        permutations=len(draws.mixed),
        neighbours=neighbours,
    )


def _check(
    samples: int,
    landmarks: int,
    subsamples: int,
    permutations: int,
    max_dimension: int,
    neighbours: int | None,
    max_classes: int,
    max_layers: int | None,
) -> None:
    fewest: Mapping[str, tuple[int | None, int]] = {
        "samples": (samples, 1),
        "landmarks": (landmarks, 4),
        "subsamples": (subsamples, 2),
        "permutations": (permutations, 0),
        "neighbours": (neighbours, 1),
        "max_classes": (max_classes, 1),
        "max_layers": (max_layers, 1),
    }
    for name, (value, least) in fewest.items():
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}, not {value}", where="topology")
    if max_dimension not in (0, 1, 2):
        raise UsageError(f"max_dimension must be 0, 1 or 2, not {max_dimension}", where="topology")


def _collected(subject: Subject, samples: int, seed: int) -> Collected:
    try:
        collected = collect(subject, samples, seed=seed)
    except DeepscopeError:
        raise
    except Exception as error:
        raise MeasurementError(
            f"the model refuses the inputs: {first_line(error)}",
            where=subject.name,
            todo="Check that the data has the shape and type that the model takes.",
        ) from error
    if not collected.layers:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in collected.left_out[:3])
        raise DoesNotApplyError(
            "no layer puts out a row for each sample",
            where=f"{subject.name} ({reasons})" if reasons else subject.name,
            todo="Choose layers that run, and whose outputs are tensors with the samples first.",
        )
    return collected


def _evenly(names: list[str], most: int | None) -> list[str]:
    if most is None or len(names) <= most:
        return names
    return [names[int(place)] for place in np.linspace(0, len(names) - 1, most).round()] if most > 1 else names[-1:]


def _layer(subject: Subject, collected: Collected, name: str, draws: Draws, shape_of: ShapeOf) -> LayerTopology:
    rows, features, kind = collected.layers[name], collected.widths[name], _kind(subject, name)
    if not bool(torch.isfinite(rows).all()):
        return LayerTopology(name=name, kind=kind, features=features, shape=None, status="values are not finite")
    distances = point_distances(rows)
    status = "ok"
    if distances.max() <= _rounding(rows):
        distances, status = np.zeros_like(distances), _why_one_point(subject, collected, name)
    try:
        shape = layer_shape(distances, draws, shape_of)
    except DoesNotApplyError as error:
        raise DoesNotApplyError(error.what, where="topology", todo=error.todo) from error
    return LayerTopology(
        name=name, kind=kind, features=features, shape=shape, status=status if status != "ok" else _status(shape)
    )


def _why_one_point(subject: Subject, collected: Collected, name: str) -> str:
    """Tell a layer that makes one point of its samples from one behind it, and from the end of a slow decline."""
    names = list(collected.layers)
    for before in reversed(names[: names.index(name)]):
        rows = collected.layers[before]
        # The farthest from one of them is at least half as far as the farthest two.
        spread = _longest(rows - rows[:1])
        if spread > _rounding(rows):
            return FADED if spread <= CLOSE * _longest(rows) else ONE_POINT
    return ONE_POINT if _inputs_differ(subject, collected.n_samples) else SAME_INPUTS


def _inputs_differ(subject: Subject, samples: int) -> bool:
    first: list[Tensor] = []
    for batch in subject.batches(samples):
        tensors = list(tensors_in(batch.inputs))
        first = first or [each[:1] for each in tensors]
        if len(first) != len(tensors) or any(
            one.shape[1:] != each.shape[1:] or bool((each != one).any())
            for one, each in zip(first, tensors, strict=True)
        ):
            return True
    return False


def _rounding(rows: Tensor) -> float:
    return _ROUNDING * torch.finfo(rows.dtype).eps * _longest(rows)


def _longest(rows: Tensor) -> float:
    return float(torch.linalg.vector_norm(rows.double(), dim=1).max())


def _status(shape: LayerShape) -> str:
    single = [name for name, cloud in shape.classes.items() if cloud.total is None]
    return f"of class {', '.join(single)} samples are one point, in some subsamples at least" if single else "ok"


def _kind(subject: Subject, name: str) -> str:
    assert subject.model is not None
    return type(subject.model.get_submodule(name.split("#")[0])).__name__


def _expected_cost(
    subject: Subject, *, samples: int = 2048, landmarks: int = 64, max_layers: int | None = None, **_: Any
) -> str:
    del subject
    layers = "each layer" if max_layers is None else f"up to {max_layers} layers"
    return f"a forward pass over up to {samples:,} samples, persistence of {landmarks} landmarks in {layers}"


TOPOLOGY = Instrument(
    name="topology",
    title="Topology of the classes",
    measure=topology,
    reading=Topology,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "Bars of the Vietoris–Rips complexes over the field of two elements, of halves of each class's samples: of "
        "dimension 0 between all of them, from 1 on among farthest-point landmarks. Total persistence: "
        "Σ (death − birth) / diameter. Betti numbers: bars with death/birth above 2.5 (loops), 1.5 (voids); parts of 5 "
        "% of the samples or more that join at a scale 3 times the next smaller; noise passes these in at most one "
        "cloud of twenty. Over random clouds: Σ (death − birth) of classes over that of clouds of as many samples of "
        "any class; p by the t-distribution of random divisions. Interval of a mean over b subsamples of m of n "
        "samples: t·s·√(m/(n − m) + 1/b). A warning where all samples become one point at once; a note where they came "
        "near to it layer by layer, and where classes that are told apart in an earlier layer (ratio below 0.95, "
        "p < 0.05 over the number of layers) are not at the last."
    ),
    how_to_read=(
        "Above, how far apart samples of one class are, beside samples of any class: below the grey band the layer "
        "gathers classes. Below, the parts and loops of each class; one part without loops is the simplest shape."
    ),
    source="naitzat2020topology",
    expected_cost=_expected_cost,
    fit=fitted,
    efforts={
        "quick": {"samples": 512, "landmarks": 32, "subsamples": 5, "permutations": 20, "max_layers": 16},
        "standard": {"samples": 2048, "landmarks": 64, "subsamples": 8, "permutations": 40, "max_layers": 48},
        "deep": {"samples": 4096, "landmarks": 128, "subsamples": 16, "permutations": 100},
    },
    pinned_by="tests/instruments/test_topology.py::test_bars_are_those_of_ripser_on_hooked_outputs",
    known=KNOWN,
)
