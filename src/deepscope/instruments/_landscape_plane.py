"""Lines and planes: origin, directions, the grid on them, and what is marked there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError
from deepscope.instruments._landscape_directions import combined, difference, dot, norm
from deepscope.instruments._parameter_space import Tensors

Floats = NDArray[np.float64]

#: Beyond the outermost mark a plane through networks goes on by this share of what lies between them.
_MARGIN = 0.5


@dataclass(frozen=True)
class Plane:
    """A line or plane through the origin.

    Attributes
    ----------
    directions
        One or two.
    coordinates
        The grid's, [k], the same along both directions.
    marks
        Coordinates of each marked network and its distance from the plane.
    mixing
        Each direction as factors of the steps from the origin to the marked networks; empty where there are none.
    explained
        Shares of the variance of the marked networks along each direction, where these are principal components.
    """

    directions: tuple[Tensors, ...]
    coordinates: Floats
    marks: Mapping[str, tuple[tuple[float, ...], float]]
    mixing: tuple[tuple[float, ...], ...] = ()
    explained: tuple[float, ...] | None = None


def around(directions: tuple[Tensors, ...], points: int, radius: float) -> Plane:
    """Return the grid from −radius to radius; its middle is exactly zero."""
    half = points // 2
    return Plane(directions, radius * np.arange(-half, half + 1) / half, {})


def through(origin: Tensors, networks: Mapping[str, Tensors], points: int) -> Plane:
    r"""Return the line or plane through the origin and one or two further networks.

    The first direction leads from the origin to the first of them, :math:`d_1 = \theta_1 - \theta_0`; the second is the
    part of :math:`\theta_2 - \theta_0` orthogonal to it (Garipov et al. 2018, appendix A.1), so that the networks
    stand at (0, 0), (1, 0) and (c, 1), exactly.

    Raises
    ------
    UsageError
        Two networks are the same, or three lie on a line.
    """
    steps = {name: difference(tensors, origin) for name, tensors in networks.items()}
    (first_name, first), *rest = steps.items()
    length = norm(first)
    if not length:
        raise UsageError("two networks are the same", where=first_name, todo="Give different networks.")
    if not rest:
        return Plane((first,), _grid([0.0, 1.0], points), {first_name: ((1.0,), 0.0)}, ((1.0,),))
    ((second_name, second),) = rest
    along = dot(second, first) / length**2
    across = combined([second, first], [1.0, -along])
    # Rounding of θ₂ − θ₀ and of its projection; what is left below that is no direction.
    if norm(across) <= 1e-6 * max(norm(second), length):
        raise UsageError("three networks lie on a line", where=second_name, todo="Give two of them.")
    marks = {first_name: ((1.0, 0.0), 0.0), second_name: ((along, 1.0), 0.0)}
    return Plane((first, across), _grid([0.0, 1.0, along], points), marks, ((1.0, 0.0), (-along, 1.0)))


def along_path(origin: Tensors, path: Mapping[str, Tensors], points: int, dimensions: int) -> Plane:
    """Return the line or plane of the first principal components of a path's networks, through the origin.

    The components are those of all networks of the path and the origin (Li et al. 2018, section 7.2), each scaled to
    the largest distance along it, so that the path reaches from the origin at most as far as 1.

    Raises
    ------
    UsageError
        Fewer networks than components, or a path that does not move in so many dimensions.
    """
    steps = {name: difference(tensors, origin) for name, tensors in path.items()}
    if len(steps) < dimensions:
        raise UsageError(f"{len(steps)} networks make no path", todo=f"Give {dimensions} or more besides the subject.")
    rows = list(steps.values())
    gram = np.array([[dot(one, other) for other in rows] for one in rows])
    # The origin is a point of the path, with zeros in the Gram matrix of the differences.
    whole = np.pad(gram, ((0, 1), (0, 1)))
    centre = np.eye(len(whole)) - 1 / len(whole)
    values, vectors = np.linalg.eigh(centre @ whole @ centre)
    values, vectors = values[::-1], vectors[:, ::-1]
    if not values[dimensions - 1] > 1e-12 * values[0]:
        raise UsageError("the path moves in too few dimensions", todo="Give a line, or more networks of the path.")
    directions, coordinates, mixing = [], [], []
    for index in range(dimensions):
        factors = (centre @ vectors[:, index])[:-1] / math.sqrt(values[index])
        places = gram @ factors
        reach = places[np.argmax(np.abs(places))]
        mixing.append(tuple(float(each) for each in factors * reach))
        directions.append(combined(rows, mixing[-1]))
        coordinates.append(places / reach)
    marks = {}
    for index, name in enumerate(steps):
        place = tuple(float(each[index]) for each in coordinates)
        marks[name] = (place, norm(difference(rows[index], combined(directions, place))))
    grid = _grid([0.0, *(each for place, _ in marks.values() for each in place)], points)
    explained = tuple(float(each / values.sum()) for each in values[:dimensions])
    return Plane(tuple(directions), grid, marks, tuple(mixing), explained)


def _grid(marks: Sequence[float], points: int) -> Floats:
    """Return equidistant coordinates that hold all marks with a margin, 0 exactly, and 1 too where marks end there."""
    low, high = min(marks), max(marks)
    span = (1 + 2 * _MARGIN) * (high - low)
    before = round((_MARGIN * (high - low) - low) * (points - 1) / span)
    # Multiplied before it is divided: (k − 1)/2 steps then make exactly 1.
    return np.array([span * index / (points - 1) for index in range(-before, points - before)])


def cosine(directions: tuple[Tensors, ...]) -> float | None:
    """Return the cosine between two directions; None for a line."""
    if len(directions) < 2:
        return None
    one, other = directions
    return dot(one, other) / (norm(one) * norm(other))
