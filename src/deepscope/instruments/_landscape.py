"""The loss on a line or plane through a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from deepscope.core import Instrument, LeftOut, Needs, Stopwatch, UsageError, derive_seed
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._batch_statistics import has_batch_norm
from deepscope.instruments._landscape_directions import (
    BiasesAndNorms,
    Normalise,
    combined,
    difference,
    given_directions,
    norm,
    random_direction,
)
from deepscope.instruments._landscape_known import KNOWN
from deepscope.instruments._landscape_layers import layer_steps
from deepscope.instruments._landscape_plane import Plane, along_path, around, cosine, through
from deepscope.instruments._landscape_reading import Landscape, Lowest, Mark
from deepscope.instruments._paired import paired_interval, standard_error
from deepscope.instruments._parameter_points import Affine, Listed
from deepscope.instruments._parameter_space import Network, ParameterSpace, Tensors, buffers_of, named, tensors_of
from deepscope.instruments._point_losses import PointLosses
from deepscope.subject import Subject, forward_work

__all__ = ["LANDSCAPE", "Landscape", "landscape"]

BatchNorm = Literal["running", "recompute"]


def landscape(
    subject: Subject,
    *,
    generator: torch.Generator | None = None,
    directions: Sequence[Any] | None = None,
    networks: Sequence[Network] | Mapping[str, Network] | None = None,
    path: Sequence[Network] | Mapping[str, Network] | None = None,
    dimensions: int = 2,
    points: int = 15,
    radius: float = 1.0,
    normalise: Normalise = "filter",
    biases_and_norms: BiasesAndNorms = "fixed",
    batch_norm: BatchNorm = "running",
    training: bool = False,
    max_samples: int | None = 512,
    dtype: torch.dtype | None = None,
) -> Landscape:
    r"""Measure the loss on a grid over a line or plane through the network's parameters θ.

    :math:`L(\theta + a\, d_1 + b\, d_2)` for all pairs of the k coordinates a and b; the subject itself, a = b = 0, is
    exactly on the grid. The directions are

    * random unless others are asked for: Gaussian, every filter as long as the network's own,
      :math:`d_f \leftarrow d_f \|\theta_f\| / \|d_f\|` (Li et al. 2018), so that the picture does not depend on how the
      layers are scaled against each other. A filter is all weights that feed one output unit;
    * ``directions``: the caller's, as they are, such as eigenvectors of the Hessian;
    * ``networks``: toward one or two other networks of the same architecture, which stand at coordinates 1, (1, 0) and
      (c, 1) (Garipov et al. 2018);
    * ``path``: the first principal components of the networks of a training path and the subject (Li et al. 2018).

    Parameters
    ----------
    subject
        A model with data and a loss.
    generator
        Its initial seed seeds the random directions.
    directions
        One (a line) or two (a plane): vectors over all trainable parameters in the model's order, or tensors by
        parameter name, where what is missing does not move. They are not normalised.
    networks
        One other network (a line) or two (a plane), by name or in a list: modules, subjects, state dicts, or paths to
        checkpoints.
    path
        Networks of a training path, likewise.
    dimensions
        1 for a line, 2 for a plane, in random directions or along a path.
    points
        k, odd: grid points along each direction.
    radius
        Largest coordinate, in random or given directions.
    normalise
        Random directions ``"filter"`` by filter, ``"layer"`` by tensor, or ``"none"``: standard Gaussian.
    biases_and_norms
        In random directions, biases, norms' parameters and all others with one value per unit are ``"fixed"``, as Li et
        al. recommend, or ``"normalised"``: moved by a vector as long as themselves.
    batch_norm
        ``"running"``: batch normalisation uses the subject's running statistics; between networks they are
        interpolated as the weights are. ``"recompute"``: they are estimated anew at every point from the data, which
        networks that were not trained need (Garipov et al. 2018, appendix A.2).
    training
        Run in training mode (dropout on, batch statistics), every point with the same random numbers. Otherwise the
        network runs in evaluation mode, whatever mode it is in.
    max_samples
        The first so many samples are run; None for all data.
    dtype
        Parameters, buffers and data are cast to it. Unless given, the network's own, or float32 for half precision,
        in which the steps of a grid would be lost.

    Returns
    -------
    Landscape
        ``losses`` [k, k] (or [k]), ``coordinates`` [k], marked networks, and by layer the columns ``name, tensors,
        filters, weight_norm, step_norm, relative_step, rise, status``; see ``LayerStep``.

    Raises
    ------
    DoesNotApplyError
        Nothing can move: there are biases, norms and parameters of one number per unit alone, or zeros.
    MeasurementError
        There is no model, data or loss; a batch is refused; the loss is not finite at the network
        itself, or a sum over samples rather than a mean.
    UsageError
        An even number of points, directions or networks that do not fit, or two ways to choose directions.

    Notes
    -----
    Frozen parameters do not move. A random plane shows two of as many directions as there are parameters: flat ones
    outnumber the steep ones that an eigenvector leads along.
    Cost: k² forward passes over the data (k for a line), and two more for each layer. Data are run in chunks that stay
    in cache, convolutions with channels last, and where the first layer is linear its output is added up from one
    product per direction; each only where the loss stays the same.
    Memory: four copies of the parameters, and 256 MB of data at a time.
    Sources: ``li2018visualizing``, ``garipov2018loss``, ``goodfellow2015qualitatively``.

    Examples
    --------
    >>> layer = torch.nn.Linear(1, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = layer.weight.fill_(2.0)
    >>> data = [(torch.ones(4, 1), torch.full((4, 1), 2.0))]
    >>> seen = landscape(Subject(layer, data, torch.nn.functional.mse_loss), directions=[{"weight": [[1.0]]}], points=5)
    >>> seen.coordinates.tolist(), seen.losses.tolist()
    ([-1.0, -0.5, 0.0, 0.5, 1.0], [1.0, 0.25, 0.0, 0.25, 1.0])
    """
    subject.require(Needs.MODEL | Needs.DATA | Needs.LOSS, "landscape")
    _check(points, radius, dimensions, [directions, networks, path])
    seed = generator.initial_seed() if generator is not None else 0
    stopwatch = Stopwatch()
    with stopwatch, subject.undisturbed(training=training, seed=seed), torch.inference_mode(False):
        space = ParameterSpace.of(subject, dtype)
        others = named(networks or path or {}, "network" if networks else "checkpoint", 2 if networks else 1)
        found = {name: tensors_of(subject, each) for name, each in others.items()}
        elsewhere = {name: space.select(tensors) for name, tensors in found.items()}
        if networks is not None:
            kind, plane = "networks", through(space.origin, elsewhere, points)
        elif path is not None:
            kind, plane = "path", along_path(space.origin, elsewhere, points, dimensions)
        elif directions is not None:
            kind, plane = "given", around(given_directions(space, directions), points, radius)
        else:
            seeds = [derive_seed(seed, index) for index in range(dimensions)]
            drawn = tuple(random_direction(subject, space, each, normalise, biases_and_norms) for each in seeds)
            kind, plane = "random", around(drawn, points, radius)
        recompute = batch_norm == "recompute" and has_batch_norm(subject.model)
        evaluate = PointLosses(
            subject, space, stopwatch, max_samples=max_samples, training=training, recompute=recompute, seed=seed
        )
        grid = _grid(subject, space, plane, found, evaluate)
        losses = evaluate.at(grid).mean
        lowest, centre, error, n_samples = _lowest(plane, grid, losses, evaluate)
        marks = _marks(subject, space, plane, found, evaluate)
        alone = kind in ("random", "given")
        layers = layer_steps(subject, space, plane, evaluate, centre if alone else None)
    shape = (points,) * len(plane.directions)
    missing = int(np.isnan(losses).sum())
    further = [LeftOut("data", f"the samples after the first {n_samples}")] if evaluate.has_more else []
    return Landscape(
        subject=subject.name,
        left_out=(*space.left_out, *evaluate.left_out, *further, *_unmoved(space, plane, kind)),
        cost=stopwatch.cost,
        kind=kind,
        coordinates=plane.coordinates,
        losses=losses.reshape(shape),
        centre_loss=centre,
        centre_stderr=error,
        direction_norms=tuple(norm(each) for each in plane.directions),
        direction_cosine=cosine(plane.directions),
        explained=plane.explained,
        lowest=lowest,
        marks=marks,
        layers=layers,
        n_samples=n_samples,
        normalise=normalise if kind == "random" else "none",
        biases_and_norms=biases_and_norms if kind == "random" else "as given",
        batch_norm=("recompute" if recompute else "running") if has_batch_norm(subject.model) else "none",
        training=training,
        status=f"{missing} of {losses.size} points have no finite loss" if missing else "",
    )


def _check(points: int, radius: float, dimensions: int, ways: Sequence[Any]) -> None:
    if points < 3 or points % 2 == 0:
        raise UsageError(
            f"{points} grid points", todo="Give an odd number from 3 on, so that the middle is the network."
        )
    if not (radius > 0 and np.isfinite(radius)):
        raise UsageError(f"a radius of {radius}", todo="Give a positive number.")
    if dimensions not in (1, 2):
        raise UsageError(f"{dimensions} dimensions", todo="Give 1 for a line or 2 for a plane.")
    if sum(way is not None for way in ways) > 1:
        raise UsageError("two ways to choose directions", todo="Give one of directions, networks and path.")


def _grid(
    subject: Subject, space: ParameterSpace, plane: Plane, found: Mapping[str, Tensors], evaluate: PointLosses
) -> Affine:
    """Return all points of the grid; between networks their buffers are interpolated as the weights are."""
    origin, directions = space.origin, plane.directions
    if plane.mixing:
        own = buffers_of(subject, space)
        steps = [difference({name: tensors[name].to(own[name]) for name in own}, own) for tensors in found.values()]
        origin = {**origin, **own}
        directions = tuple(
            {**direction, **combined(steps, factors)}
            for direction, factors in zip(directions, plane.mixing, strict=True)
        )
    places = plane.coordinates
    coefficients = np.stack(np.meshgrid(*[places] * len(directions), indexing="ij"), axis=-1)
    laid_out = [evaluate.laid_out(direction) for direction in directions]
    return Affine(evaluate.laid_out(origin), laid_out, coefficients.reshape(-1, len(directions)))


def _lowest(
    plane: Plane, grid: Affine, losses: np.ndarray[Any, Any], evaluate: PointLosses
) -> tuple[Lowest, float, float | None, int]:
    """Return the lowest point, compared with the centre over the same samples; the centre's loss and error, n."""
    centre = int(np.flatnonzero((grid.coefficients == 0).all(axis=1))[0])
    where = int(np.nanargmin(losses))
    both = Affine(grid.origin, grid.directions, grid.coefficients[[centre, where]])
    seen = evaluate.at(both, of_samples=True)
    here, there = seen.by_unit
    interval = paired_interval(there - here, seen.counts, comparisons=losses.size)
    low, high = interval if interval is not None else (None, None)
    # Of the grid itself, not of the second evaluation, which adds up in another order.
    difference_ = float(losses[where] - losses[centre])
    coordinates = tuple(float(each) for each in grid.coefficients[where])
    error = standard_error(here, seen.counts)
    return Lowest(coordinates, difference_, low, high), float(losses[centre]), error, seen.n_samples


def _marks(
    subject: Subject, space: ParameterSpace, plane: Plane, found: Mapping[str, Tensors], evaluate: PointLosses
) -> tuple[Mark, ...]:
    buffers = buffers_of(subject, space)
    networks = [
        evaluate.laid_out({**space.select(tensors), **{name: tensors[name].to(own) for name, own in buffers.items()}})
        for tensors in found.values()
    ]
    if not networks:
        return ()
    losses = evaluate.at(Listed(networks)).mean
    return tuple(
        Mark(name, place, distance, None if np.isnan(loss) else float(loss))
        for (name, (place, distance)), loss in zip(plane.marks.items(), losses, strict=True)
    )


def _unmoved(space: ParameterSpace, plane: Plane, kind: str) -> list[LeftOut]:
    why = {
        "random": "a bias, a norm's parameter, or one value per unit: it does not move (biases_and_norms)",
        "given": "the directions given do not move it",
    }
    moving = {name for direction in plane.directions for name in direction}
    return [LeftOut(name, why[kind]) for name in space.names if kind in why and name not in moving]


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    work = forward_work(subject).operations
    coarse = {**effort, "points": min(effort["points"], 11)}
    return affordable([effort, coarse], "max_samples", lambda each: work * each["points"] ** 2, operations)


def _expected_cost(subject: Subject, *, points: int = 15, max_samples: int | None = 512) -> str:
    del subject
    samples = "all samples" if max_samples is None else f"up to {max_samples:,} samples"
    return f"{points * points:,} forward passes over {samples}"


LANDSCAPE = Instrument(
    name="landscape",
    title="The loss around the network",
    measure=landscape,
    reading=Landscape,
    needs=Needs.MODEL | Needs.DATA | Needs.LOSS,
    formula=(
        "L(θ + a d₁ + b d₂), the mean loss over all terms of the data, on a grid of coordinates a and b with the "
        "network at (0, 0). d₁ and d₂ are Gaussian, every filter (all weights that feed one unit) scaled to the norm "
        "of the network's own; biases and norms' parameters do not move. Rise of a layer: the mean of L over both "
        "ends of the axis of d₁, where only that layer moves, minus L(θ). The lowest point is compared with the centre "
        "by a 95 % Student t interval of the paired difference, corrected for the number of points."
    ),
    how_to_read=(
        "At coordinate 1 every filter has been moved by a random vector as long as itself, so that the width of the "
        "basin can be compared between networks. A wide, round basin with the network at its lowest point is what a "
        "finished training leaves; a slope at the centre tells of one that was stopped early."
    ),
    source="li2018visualizing",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={
        "quick": {"points": 11, "max_samples": 256},
        "standard": {"points": 15, "max_samples": 512},
        "deep": {"points": 31, "max_samples": 4096},
    },
    pinned_by="tests/instruments/test_landscape.py::test_scaling_layers_against_each_other_leaves_the_picture",
    known=KNOWN,
)
