"""The loss on a path between two networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from deepscope.core import Finding, Needs, Reading, Stopwatch, UsageError
from deepscope.instruments._barrier import Barrier, barrier
from deepscope.instruments._batch_statistics import has_batch_norm
from deepscope.instruments._curve import Curve
from deepscope.instruments._landscape_directions import combined, difference, norm
from deepscope.instruments._parameter_points import Affine
from deepscope.instruments._parameter_space import Network, ParameterSpace, Tensors, buffers_of, cast, tensors_of
from deepscope.instruments._point_losses import PointLosses
from deepscope.instruments._weight_matching import match_weights
from deepscope.subject import Subject, layer_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("name", "distance", "relative_distance", "cosine", "moved_units")


@dataclass(frozen=True)
class LayerDistance:
    """How far apart two networks are in one layer.

    Attributes
    ----------
    name
        The layer.
    distance, relative_distance
        Norm of the difference of its parameters, and that over the norm of the subject's (None where these are zero).
    cosine
        Between them; None where either are zero.
    moved_units
        Share of its units that aligning has put elsewhere; None where it was not aligned.
    """

    name: str
    distance: float
    relative_distance: float | None
    cosine: float | None
    moved_units: float | None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ModeConnectivity(Reading):
    """What ``mode_connectivity`` saw.

    Attributes
    ----------
    kind
        ``"line"``, ``"bezier"`` or ``"chain"``.
    aligned
        Whether the other network's units were put in the subject's order first.
    t
        Points of the path, [m], from the subject (0) to the other network (1).
    losses
        Mean loss at each, [m]; NaN where it is not finite, and then ``barrier.status`` says so.
    barrier
        How far the loss rises on the path.
    straight_losses, straight_barrier
        The same for the straight line, where the path is a curve; empty and None otherwise.
    distance, length
        Euclidean distance of the two networks, and the length of the path (a chain of its m points).
    layers
        One entry per layer that differs or not.
    n_samples, of_samples
        What was run, and whether intervals are over samples (else over chunks of samples).
    batch_norm
        ``"running"``, ``"recompute"``, or ``"none"`` where there is no batch normalisation.
    """

    kind: str
    aligned: bool
    t: NDArray[np.float64]
    losses: NDArray[np.float64]
    barrier: Barrier
    straight_losses: NDArray[np.float64]
    straight_barrier: Barrier | None
    distance: float
    length: float
    layers: tuple[LayerDistance, ...]
    n_samples: int
    of_samples: bool
    batch_norm: str

    def table(self) -> pd.DataFrame:
        """One row per layer; a number that does not exist is missing."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=list(_COLUMNS))
        return frame.astype(dict.fromkeys(_COLUMNS[1:], float))

    def findings(self) -> tuple[Finding, ...]:
        """Say whether the two networks lie in one basin."""
        from deepscope.instruments._mode_connectivity_findings import connectivity_findings

        return connectivity_findings(self)

    def plot(self) -> Figure:
        """Draw the loss along the path, with the barrier's interval."""
        from deepscope.instruments._mode_connectivity_findings import plot_connectivity

        return plot_connectivity(self)

    def summary(self) -> str:
        """One sentence with the main numbers."""
        found = self.barrier
        way = {"line": "the straight line", "bezier": "a Bézier curve", "chain": "a polygonal chain"}[self.kind]
        aligned = ", units aligned" if self.aligned else ""
        if found.height is None:
            return f"{way}{aligned}: {found.status}."
        ends = "" if found.low is None or found.high is None else f" [{found.low:.3g}, {found.high:.3g}]"
        return f"Barrier {found.height:.4g}{ends} on {way}{aligned}, {self.n_samples} samples."


def mode_connectivity(
    subject: Subject,
    other: Network,
    *,
    generator: torch.Generator | None = None,
    curve: Curve | None = None,
    align: bool = False,
    points: int = 25,
    batch_norm: Literal["running", "recompute"] = "recompute",
    max_samples: int | None = 2048,
    dtype: torch.dtype | None = None,
) -> ModeConnectivity:
    r"""Measure the loss on a path between two networks, and its barrier with an interval.

    On the straight line :math:`\theta(t) = (1 - t)\,\theta_A + t\,\theta_B`, or on a curve that ``find_curve`` found.
    The barrier is :math:`\max_t L(\theta(t)) - \tfrac12 (L(\theta_A) + L(\theta_B))` (Frankle et al. 2020); beside it
    stands the height above the straight line between the two losses (Entezari et al. 2022). Intervals are over samples,
    by a bootstrap that keeps all losses of a sample together.

    Parameters
    ----------
    subject
        A model with data and a loss.
    other
        A network of the same architecture: a module, a subject, a state dict, or a path to a checkpoint.
    generator
        Its initial seed seeds the bootstrap.
    curve
        The path; the straight line unless given.
    align
        Put the other network's hidden units in the subject's order first (``match_weights``).
    points
        m, from 0 to 1, both included.
    batch_norm
        ``"recompute"``: the statistics of batch normalisation are estimated anew at every point from the data;
        ``"running"``: they are interpolated.
    max_samples
        The first so many samples are run; None for all data.
    dtype
        Parameters, buffers and data are cast to it; unless given, the network's own, or float32 for half precision.

    Returns
    -------
    ModeConnectivity
        Losses along the path, the barrier, and by layer the columns ``name, distance, relative_distance, cosine,
        moved_units``.

    Raises
    ------
    MeasurementError
        No model, data or loss; a batch is refused; the loss is not finite at the subject; units cannot be aligned.
    UsageError
        Networks of two architectures, a curve that leads elsewhere, or fewer than three points.

    Notes
    -----
    Frozen parameters stay the subject's. A barrier depends on the data: on training data it says whether two networks
    share a basin of the loss that was minimised.
    Cost: m forward passes over the data, twice that with a curve; with batch normalisation estimated anew, again twice.
    Sources: ``frankle2020linear``, ``entezari2022role``, ``garipov2018loss``, ``ainsworth2023git``.

    Examples
    --------
    >>> def wells(weights, _):  # minima at −1 and 1
    ...     return ((weights**2 - 1) ** 2).mean()
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = model.weight.fill_(-1.0)
    >>> subject = Subject(model, [(torch.ones(4, 1), torch.zeros(4))], wells)
    >>> mode_connectivity(subject, {"weight": torch.ones(1, 1)}).barrier.height
    1.0
    """
    subject.require(Needs.MODEL | Needs.DATA | Needs.LOSS, "mode_connectivity")
    if points < 3:
        raise UsageError(f"{points} points", todo="Give three or more: both ends and what lies between.")
    matching = match_weights(subject, other) if align else None
    stopwatch = Stopwatch()
    seed = generator.initial_seed() if generator is not None else 0
    rng = np.random.default_rng(seed)
    with stopwatch, subject.undisturbed(seed=seed), torch.inference_mode(False):
        space = ParameterSpace.of(subject, dtype)
        tensors = matching.state if matching is not None else tensors_of(subject, other)
        end = space.select(tensors)
        line = Curve("line", (space.origin, end), np.empty(0))
        path = line if curve is None else _checked(curve, line)
        recompute = batch_norm == "recompute" and has_batch_norm(subject.model)
        evaluate = PointLosses(subject, space, stopwatch, max_samples=max_samples, recompute=recompute, seed=seed)
        t = np.linspace(0.0, 1.0, points)
        seen = evaluate.at(_along(subject, space, path, tensors, t, evaluate), of_samples=True)
        straight = None
        if curve is not None:
            straight = evaluate.at(_along(subject, space, line, tensors, t, evaluate), of_samples=True)
    return ModeConnectivity(
        subject=subject.name,
        left_out=(*space.left_out, *evaluate.left_out),
        cost=stopwatch.cost,
        kind=path.kind,
        aligned=align,
        t=t,
        losses=seen.mean,
        barrier=barrier(t, seen.by_unit, seen.counts, rng),
        straight_losses=np.empty(0) if straight is None else straight.mean,
        straight_barrier=None if straight is None else barrier(t, straight.by_unit, straight.counts, rng),
        distance=norm(difference(end, space.origin)),
        length=_length(path, t),
        layers=_layers(space, end, matching.permutations if matching is not None else {}),
        n_samples=seen.n_samples,
        of_samples=seen.of_samples,
        batch_norm=("recompute" if recompute else "running") if has_batch_norm(subject.model) else "none",
    )


def _checked(curve: Curve, line: Curve) -> Curve:
    for place, given, wanted in (
        ("start", curve.points[0], line.points[0]),
        ("end", curve.points[-1], line.points[-1]),
    ):
        same = given.keys() == wanted.keys() and all(
            torch.allclose(given[name].to(wanted[name]), wanted[name], rtol=1e-5, atol=1e-7) for name in wanted
        )
        if not same:
            raise UsageError(
                f"the curve's {place} is another network",
                todo="Find the curve between these two, both aligned or neither: give match_weights(…).state to both.",
            )
    return curve


def _along(
    subject: Subject, space: ParameterSpace, path: Curve, other: Tensors, t: NDArray[np.float64], evaluate: PointLosses
) -> Affine:
    """Return the points of a path; buffers are interpolated from one network's to the other's."""
    own = buffers_of(subject, space)
    start = {name: tensor.to(space.origin[name]) for name, tensor in path.points[0].items()}
    steps = [
        difference({name: tensor.to(start[name]) for name, tensor in point.items()}, start) for point in path.points[1:]
    ]
    steps = [evaluate.laid_out(step) for step in steps]
    factors = np.array([path.weights(float(each))[1:] for each in t])
    if own:
        steps.append(difference({name: cast(other[name], space.dtype).to(own[name]) for name in own}, own))
        factors = np.column_stack([factors, t])
    return Affine({**evaluate.laid_out(start), **own}, steps, factors)


def _length(path: Curve, t: NDArray[np.float64]) -> float:
    steps = np.diff([path.weights(float(each)) for each in t], axis=0)
    return float(sum(norm(combined(path.points, [float(each) for each in step])) for step in steps))


def _layers(
    space: ParameterSpace, end: Tensors, permutations: Mapping[str, NDArray[np.int64]]
) -> tuple[LayerDistance, ...]:
    found = []
    for layer in dict.fromkeys(layer_of(name) for name in space.names):
        one, other = ({name: each[name] for name in each if layer_of(name) == layer} for each in (space.origin, end))
        apart, mine, theirs = norm(difference(other, one)), norm(one), norm(other)
        inner = (mine**2 + theirs**2 - apart**2) / 2
        order = permutations.get(layer)
        found.append(
            LayerDistance(
                name=layer,
                distance=apart,
                relative_distance=apart / mine if mine else None,
                cosine=inner / (mine * theirs) if mine and theirs else None,
                moved_units=None if order is None else float(np.mean(order != np.arange(len(order)))),
            )
        )
    return tuple(found)
