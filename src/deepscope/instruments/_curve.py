"""A curve of low loss between two networks, found by training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError, Needs, UsageError
from deepscope.instruments._batch_statistics import BatchStatistics
from deepscope.instruments._landscape_directions import combined
from deepscope.instruments._parameter_space import Network, ParameterSpace, Tensors, cast, tensors_of
from deepscope.instruments._stand_in import StandIn
from deepscope.subject import Batch, Subject

CurveKind = Literal["bezier", "chain"]


@dataclass(frozen=True, eq=False)
class Curve:
    r"""A curve in the space of a network's trainable parameters.

    Attributes
    ----------
    kind
        ``"line"``; ``"bezier"``, :math:`\sum_j \binom{m}{j} (1 - t)^{m - j} t^j \theta_j`; or ``"chain"``, straight
        pieces from each point to the next, each taking the same share of t.
    points
        θ₀ … θₘ by name; the first is the subject, the last the other network.
    losses
        Loss of each training step, at one random t each; empty for a line.
    """

    kind: str
    points: tuple[Tensors, ...]
    losses: NDArray[np.float64]

    def weights(self, t: float) -> NDArray[np.float64]:
        """Return the factors by which the points are added up at t, [m + 1]; they sum to 1."""
        m = len(self.points) - 1
        if self.kind == "bezier":
            j = np.arange(m + 1)
            binomial = np.cumprod([1.0, *((m - k) / (k + 1) for k in range(m))])
            factors: NDArray[np.float64] = binomial * (1 - t) ** (m - j) * t**j
            return factors
        pieces: NDArray[np.float64] = np.maximum(0.0, 1.0 - np.abs(np.arange(m + 1) - t * m))
        return pieces

    def at(self, t: float) -> Tensors:
        """Return the parameters at t, by name."""
        return combined(self.points, list(self.weights(t)))


def find_curve(
    subject: Subject,
    other: Network,
    *,
    generator: torch.Generator | None = None,
    kind: CurveKind = "bezier",
    bends: int = 1,
    steps: int = 600,
    lr: float = 3e-3,
    batch_norm: Literal["running", "recompute"] = "recompute",
    max_samples: int | None = None,
    dtype: torch.dtype | None = None,
) -> Curve:
    r"""Find a curve between two networks along which the loss is low.

    The expected loss at a uniformly random point of the curve, :math:`E_{t \sim U(0, 1)} L(\theta(t))`, is minimised
    over the bends by Adam, one t for each batch (Garipov et al. 2018, equation 2). Bends start evenly on the straight
    line.

    Parameters
    ----------
    subject
        A model with data (those to be trained on) and a loss.
    other
        A network of the same architecture: a module, a subject, a state dict, or a path to a checkpoint.
    generator
        Its initial seed seeds the points t.
    kind, bends
        A Bézier curve or a polygonal chain, and its number of inner points.
    steps, lr
        Of Adam.
    batch_norm
        ``"recompute"``: batch normalisation uses the statistics of each batch while the curve is trained;
        ``"running"``: the subject's running statistics.
    max_samples
        Whole batches are used until so many samples have been seen; None for all data.
    dtype
        Parameters, buffers and data are cast to it; unless given, the network's own, or float32 for half precision.

    Returns
    -------
    Curve
        Measure it with ``mode_connectivity(subject, other, curve=…)``.

    Raises
    ------
    MeasurementError
        No model, data, loss or trainable parameters; the loss is not finite on the way, or has no gradient.
    UsageError
        Networks of two architectures; no bend, or an unknown kind.

    Notes
    -----
    Cost: ``steps`` forward and backward passes of one batch, and memory for the points, their gradients and Adam's two
    averages.
    Source: ``garipov2018loss``.

    Examples
    --------
    >>> def ring(weights, _):  # lowest on a circle around the origin
    ...     return ((weights**2).sum() - 1) ** 2
    >>> model = torch.nn.Linear(1, 2, bias=False)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[1.0], [0.1]]))
    >>> subject = Subject(model, [(torch.ones(1, 1), torch.zeros(1))], ring)
    >>> curve = find_curve(subject, {"weight": torch.tensor([[-1.0], [0.1]])})
    >>> middle = curve.at(0.5)["weight"]
    >>> bool(0.8 < middle.norm() < 1.2)
    True
    """
    subject.require(Needs.MODEL | Needs.DATA | Needs.LOSS, "find_curve")
    if kind not in ("bezier", "chain"):
        raise UsageError("unknown kind of curve", where=str(kind), todo='Give "bezier" or "chain".')
    if bends < 1 or steps < 1:
        raise UsageError(f"{bends} bends and {steps} steps", todo="Give at least one of each.")
    assert subject.model is not None
    seed = generator.initial_seed() if generator is not None else 0
    with subject.undisturbed(seed=seed), torch.inference_mode(False), torch.enable_grad():
        space = ParameterSpace.of(subject, dtype)
        start, end = space.origin, space.select(tensors_of(subject, other))
        inner = [combined([start, end], [1 - share, share]) for share in np.linspace(0, 1, bends + 2)[1:-1]]
        curve = Curve(kind, (start, *inner, end), np.empty(0))
        statistics = BatchStatistics(subject.model) if batch_norm == "recompute" else None
        losses = _train(subject, space, curve, statistics, seed, steps=steps, lr=lr, max_samples=max_samples)
    # The subject's own parameters are not handed out: whoever writes into the curve must not write into the network.
    points = tuple({name: tensor.detach().clone() for name, tensor in point.items()} for point in curve.points)
    return Curve(kind, points, np.array(losses))


def _train(
    subject: Subject,
    space: ParameterSpace,
    curve: Curve,
    statistics: BatchStatistics | None,
    seed: int,
    *,
    steps: int,
    lr: float,
    max_samples: int | None,
) -> list[float]:
    stand_in = StandIn(subject, space)
    bends = [tensor.requires_grad_() for point in curve.points[1:-1] for tensor in point.values()]
    optimizer = torch.optim.Adam(bends, lr=lr)
    rng = np.random.default_rng(seed)
    buffers = cast(statistics.fresh(), space.dtype) if statistics else {}
    losses: list[float] = []
    with statistics.by_batch() if statistics else nullcontext():
        for batch in _endless(subject, space, max_samples):
            values = {**buffers, **_mixed(curve, float(rng.uniform()))}
            loss = stand_in.loss(values, batch)
            if not torch.isfinite(loss) or not loss.requires_grad:
                raise MeasurementError(
                    f"the loss is {loss.item():.4g} on the way" if loss.requires_grad else "the loss has no gradient",
                    where=subject.name,
                    todo="Give a smaller lr, or a loss that torch can differentiate.",
                )
            gradients = torch.autograd.grad(loss, bends, allow_unused=True)
            for bend, gradient in zip(bends, gradients, strict=True):
                bend.grad = gradient
            optimizer.step()
            losses.append(float(loss.detach()))
            if len(losses) == steps:
                return losses
    raise AssertionError("batches are endless")


def _mixed(curve: Curve, t: float) -> dict[str, Tensor]:
    factors = curve.weights(t)
    # Not `combined`, which adds in place and so would not let gradients through.
    return {
        name: sum(
            (point[name] * float(factor) for point, factor in zip(curve.points, factors, strict=True)), torch.zeros(())
        )
        for name in curve.points[0]
    }


def _endless(subject: Subject, space: ParameterSpace, max_samples: int | None) -> Iterator[Batch]:
    while True:
        used = False
        for batch in subject.batches(max_samples):
            if batch.count:
                used = True
                inputs, targets = (cast(part, space.dtype) for part in (batch.inputs, batch.targets))
                yield replace(batch, inputs=inputs, targets=targets)
        if not used:
            raise MeasurementError("no sample has a term of the loss", where=subject.name, todo="Look at count=….")
