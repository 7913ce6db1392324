"""The shape of each class's cloud in one layer, from subsamples, beside clouds of samples of any class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from deepscope.instruments._topology_groups import Indices
from deepscope.linalg import Persistence, betti_numbers, farthest_points, geodesic_distances, persistence

Floats = NDArray[np.float64]
#: Points of a subsample at most: distances along a graph and single linkage take their square.
LARGEST = 256
#: Interval and null band, two-sided.
_TAIL = 0.975
#: Divisions that all give the same sum differ by so much of it.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over subsamples, and its 95 % interval for other samples of the same kind."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassesOverGroups:
    """How long the bars of classes are, together, beside those of clouds drawn from all classes.

    Attributes
    ----------
    ratio
        Mean over classes, with its interval; 1 for clouds as extended and as full of holes as random ones.
    null_low, null_high
        Where 95 % of random divisions of the samples lie.
    p_value
        How likely a random division is to lie as far from their mean.
    """

    ratio: Estimate
    null_low: float
    null_high: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class CloudShape:
    """The shape of one class in one layer.

    Attributes
    ----------
    samples
        Of which subsamples were drawn.
    betti
        Parts, loops (and voids): those that most subsamples have.
    agreement
        The share of subsamples that have these.
    total, longest
        By dimension, the sum and the largest of the bars' lengths over the diameter; None where the class is one point.
    """

    samples: int
    betti: tuple[int, ...]
    agreement: float
    total: tuple[Estimate, ...] | None
    longest: tuple[Estimate, ...] | None


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """What is found of one layer: by class, on the mean over classes, and beside random divisions."""

    classes: Mapping[str, CloudShape]
    total: tuple[Estimate, ...] | None
    longest: tuple[Estimate, ...] | None
    over_groups: tuple[ClassesOverGroups | None, ...]


@dataclass(frozen=True, eq=False)
class Draws:
    """Subsamples, the same for all layers.

    Attributes
    ----------
    members
        Samples of each class.
    halves
        For each class [subsamples, m]: half of its samples, or of the smallest class's.
    mixed
        [permutations, classes, m]: samples of any class, none twice in a permutation.
    """

    members: Mapping[str, Indices]
    halves: Mapping[str, Indices]
    mixed: Indices

    @property
    def size(self) -> int:
        """Samples in a subsample, m."""
        return int(next(iter(self.halves.values())).shape[1])


def draw(members: Mapping[str, Indices], subsamples: int, permutations: int, most: int, seed: int) -> Draws:
    """Draw subsamples of every class, and as large ones of all samples; of one class there is no mixing."""
    rng = np.random.default_rng(seed)
    m = min(most, min(map(len, members.values())) // 2)
    halves = {
        name: np.stack([rng.permutation(places)[:m] for _ in range(subsamples)]) for name, places in members.items()
    }
    together = np.concatenate(list(members.values()))
    count = len(members)
    mixed = [rng.permutation(together)[: count * m].reshape(count, m) for _ in range(permutations if count > 1 else 0)]
    return Draws(members, halves, np.array(mixed, dtype=np.int64).reshape(-1, count, m))


@dataclass(frozen=True)
class ShapeOf:
    """Finds bars and Betti numbers of a subsample.

    Attributes
    ----------
    landmarks
        Of how many points loops and voids are sought.
    max_dimension
        The highest dimension.
    neighbours
        Of the graph along which distances are; None for straight ones.
    """

    landmarks: int
    max_dimension: int
    neighbours: int | None

    def __call__(self, distances: Floats) -> _Shape:
        """Find them from the distances between points, [m, m]."""
        found = self._bars(distances)
        lengths = [bars.lengths(dimension) for dimension, bars in enumerate(found)]
        return _Shape(
            (*betti_numbers(found[0]), *(betti_numbers(found[1])[1:] if self.max_dimension else ())),
            np.array([each.sum() for each in lengths]),
            np.array([each.max(initial=0.0) for each in lengths]),
            np.array([bars.diameter for bars in found]),
        )

    def sums(self, distances: Floats) -> Floats:
        """Return the sum of the bars' lengths by dimension alone, of which clouds of any class are asked."""
        return np.array([bars.lengths(dimension).sum() for dimension, bars in enumerate(self._bars(distances))])

    def _bars(self, distances: Floats) -> list[Persistence]:
        """Return where the bars of each dimension are found: among all points, and from 1 on among landmarks."""
        D = distances if self.neighbours is None else geodesic_distances(distances, self.neighbours)
        gaps = persistence(D, 0, distances=True)
        if not self.max_dimension:
            return [gaps]
        chosen = farthest_points(D, self.landmarks).indices
        holes = persistence(D[np.ix_(chosen, chosen)], self.max_dimension, distances=True)
        return [gaps, *[holes] * self.max_dimension]


@dataclass(frozen=True, eq=False)
class _Shape:
    betti: tuple[int, ...]
    sums: Floats
    longest: Floats
    diameters: Floats


def layer_shape(distances: Floats, draws: Draws, shape_of: ShapeOf) -> LayerShape:
    """Measure one layer from the distances between all its samples, [n, n]."""

    def among(places: Indices) -> Floats:
        return distances[np.ix_(places, places)]

    found = {name: [shape_of(among(each)) for each in halves] for name, halves in draws.halves.items()}
    spread = {name: _spread(len(draws.members[name]), draws.size, len(found[name])) for name in found}
    classes = {name: _cloud(each, len(draws.members[name]), spread[name]) for name, each in found.items()}
    whole = [name for name, each in found.items() if all((one.diameters > 0).all() for one in each)]

    def over_classes(number: Callable[[_Shape], Floats]) -> tuple[Estimate, ...] | None:
        means = [_mean([number(one) for one in found[name]], spread[name]) for name in whole]
        return _averaged(means).estimates() if means else None

    mixed = np.array([np.mean([shape_of.sums(among(cloud)) for cloud in clouds], axis=0) for clouds in draws.mixed])
    own = _averaged([_mean([one.sums for one in each], spread[name]) for name, each in found.items()])
    return LayerShape(
        classes=classes,
        total=over_classes(lambda one: one.sums / one.diameters),
        longest=over_classes(lambda one: one.longest / one.diameters),
        over_groups=tuple(_over_groups(own, mixed, dimension) for dimension in range(shape_of.max_dimension + 1)),
    )


@dataclass(frozen=True, eq=False)
class _Means:
    """Means by dimension, their standard errors, and how many subsamples they are of."""

    values: Floats
    errors: Floats
    subsamples: int

    def estimates(self) -> tuple[Estimate, ...]:
        half = stats.t.ppf(_TAIL, self.subsamples - 1) * self.errors
        return tuple(
            Estimate(float(value), max(0.0, float(value - each)), float(value + each))
            for value, each in zip(self.values, half, strict=True)
        )


def _spread(n: int, m: int, subsamples: int) -> float:
    """Return the standard error of a mean over subsamples, in units of their standard deviation.

    The mean over all subsamples of m of n is a U-statistic, whose variance is at most m/n of that of one subsample
    (Hoeffding); among subsamples that overlap 1 − m/n of it is seen. With b drawn, 1/b of what is seen is added.
    """
    return math.sqrt(m / (n - m) + 1 / subsamples)


def _mean(values: list[Floats], spread: float) -> _Means:
    each = np.array(values)
    return _Means(each.mean(axis=0), spread * each.std(axis=0, ddof=1), len(each))


def _averaged(means: Sequence[_Means]) -> _Means:
    errors = np.sqrt(np.sum([each.errors**2 for each in means], axis=0)) / len(means)
    return _Means(np.mean([each.values for each in means], axis=0), errors, means[0].subsamples)


def _cloud(shapes: list[_Shape], samples: int, spread: float) -> CloudShape:
    # Of numbers that are as frequent the smaller are taken.
    counts = Counter(each.betti for each in shapes)
    betti = min(counts, key=lambda each: (-counts[each], each))
    whole = all((each.diameters > 0).all() for each in shapes)
    return CloudShape(
        samples=samples,
        betti=betti,
        agreement=counts[betti] / len(shapes),
        total=_mean([each.sums / each.diameters for each in shapes], spread).estimates() if whole else None,
        longest=_mean([each.longest / each.diameters for each in shapes], spread).estimates() if whole else None,
    )


def _over_groups(own: _Means, mixed: Floats, dimension: int) -> ClassesOverGroups | None:
    """Compare classes with random divisions; None where there are none, or they have no bars."""
    if len(mixed) < 2:
        return None
    null = mixed[:, dimension]
    centre, deviation = float(null.mean()), float(null.std(ddof=1))
    if not centre > 0:
        return None
    ratio = _Means(own.values[[dimension]] / centre, own.errors[[dimension]] / centre, own.subsamples).estimates()[0]
    # One more division lies around the mean of those seen as a t-distributed number, if they are normal: each is a mean
    # over classes.
    scatter = max(deviation * math.sqrt(1 + 1 / len(null)) / centre, _ROUNDING)
    freedom = len(null) - 1
    half = float(stats.t.ppf(_TAIL, freedom)) * scatter
    p_value = float(2 * stats.t.sf(abs(ratio.value - 1) / scatter, freedom))
    return ClassesOverGroups(ratio, max(0.0, 1 - half), 1 + half, p_value)
