"""The singular vectors of a weight matrix's spikes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError, UsageError, nearest
from deepscope.instruments._spectrum_eigenvalues import eigenvalues_told_from_zero
from deepscope.instruments._spectrum_matrices import (
    Convolution,
    by_head,
    check_convolution,
    made_of,
    matrices_of,
    matrix_shapes,
    read_as,
    why_no_spectrum,
)
from deepscope.linalg import count_spikes, leading_directions, spike_overlap, spike_strength
from deepscope.subject import Derived, Subject, Weight

Floats = NDArray[np.float64]

#: A singular vector that rounding may have turned by more than this, in radians, is not defined.
_LARGEST_ERROR = 0.01


@dataclass(frozen=True, eq=False, kw_only=True)
class SpikeDirections:
    """What ``spike_directions`` found: of a matrix [rows, cols] with k spikes, the largest first.

    Attributes
    ----------
    eigenvalues
        Those of WᵀW above the largest that noise has, [k].
    left, right
        Their singular vectors, [rows, k] and [cols, k], with leftᵀ·W·right = diag(√eigenvalues). The largest entry of
        each left vector is positive.
    error
        Bound on the angle, in radians, by which rounding may have turned each, [k].
    strengths
        The singular value of each spike before the noise was added, [k].
    left_overlap, right_overlap
        The squared cosine between each vector and that of the spike without noise, [k]: what noise has turned.
    variance
        Of the entries of the noise.
    """

    eigenvalues: Floats
    left: Floats
    right: Floats
    error: Floats
    strengths: Floats
    left_overlap: Floats
    right_overlap: Floats
    variance: float


def spike_directions(subject: Subject, name: str, *, conv: Convolution = "slices") -> SpikeDirections:
    """Return the singular vectors of the spikes of a matrix: the directions in which it differs from noise.

    With W = Σ θ_i u_i v_iᵀ + noise, the eigenvalue λ_i of WᵀW tells θ_i (``spike_strength``), and θ_i how far the
    singular vectors û_i and v̂_i of W lie from u_i and v_i: ⟨u_i, û_i⟩² and ⟨v_i, v̂_i⟩² are ``spike_overlap``, up to
    fluctuations of the order of 1/√rows and 1/√cols.

    Parameters
    ----------
    subject
        A model or the weights of a checkpoint.
    name
        Of a matrix, as in the table of ``spectrum``: ``fc.weight``, ``attn.c_attn.weight[query]``, or a head of it,
        ``attn.c_attn.weight[query 3]``.
    conv
        How a convolution is read, as in ``spectrum``; ``"flattened"`` is one matrix, the other ways are many.

    Returns
    -------
    SpikeDirections
        The same number of spikes that ``spectrum`` counts; none of a matrix that cannot be told from noise.

    Raises
    ------
    UsageError
        There is no matrix of this name.
    MeasurementError
        It is several matrices, whose spikes are counted together, or a low-rank update, for which there is no noise to
        tell spikes from; its values are not finite, or two singular values cannot be told apart.

    Notes
    -----
    Cost: twice that of the eigenvalues, for the one matrix; memory that of ``leading_directions``.
    Sources: ``baik2005phase``, ``benaychgeorges2012singular``, ``davis1970rotation``.

    Examples
    --------
    >>> layer = torch.nn.Linear(200, 100, bias=False)
    >>> _ = torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    >>> _ = layer.weight.data[7].add_(3.0)
    >>> found = spike_directions(Subject(layer), "weight")
    >>> found.left.shape, int(found.left[:, 0].argmax()), bool(found.left_overlap[0] > 0.9)
    ((100, 1), 7, True)
    """
    check_convolution(conv)
    matrix = _find(subject, name, conv)
    if matrix.shape[0] > 1:
        raise MeasurementError(
            "it is several matrices, whose spikes are counted together",
            where=name,
            todo='Read a convolution with conv="flattened".',
        )
    if read_as(matrix.weight, conv, matrix.derived) == "low-rank core":
        raise MeasurementError("a low-rank update has no noise from which spikes could be told", where=name)
    with subject.undisturbed():
        return _directions(matrix.read(conv, subject.put_on), name)


@dataclass(frozen=True)
class _Matrix:
    """A matrix, or several, of one name: a part of a tensor, or of what is made of the tensor that is stored."""

    stored: Weight
    weight: Weight
    derived: Derived | None
    part: str
    shape: tuple[int, int, int]

    @property
    def name(self) -> str:
        return f"{self.weight.name}[{self.part}]" if self.part else self.weight.name

    def read(self, conv: Convolution, device: torch.device | None) -> Tensor:
        tensor = self.stored.read()
        tensor = tensor if device is None else tensor.to(device)
        values = self.derived.of(tensor) if self.derived is not None else tensor
        (found,) = (each for part, each in matrices_of(self.weight, values, conv) if part == self.part)
        return next(iter(found))


def _find(subject: Subject, name: str, conv: Convolution) -> _Matrix:
    known = {matrix.name: matrix for matrix in _matrices(subject, conv)}
    if name not in known:
        reason = next((why_no_spectrum(weight) for weight in subject.weights() if weight.name == name), "")
        raise UsageError(reason or "no matrix of this name", where=name, todo=nearest(name, known))
    return known[name]


def _matrices(subject: Subject, conv: Convolution) -> Iterator[_Matrix]:
    for stored in subject.weights():
        own: list[tuple[Weight, Derived | None]] = [] if why_no_spectrum(stored) else [(stored, None)]
        for weight, derived in [*own, *made_of(stored)]:
            # Heads go by names of their own.
            for handle in [weight, by_head(weight)] if weight.layout.heads else [weight]:
                for part, shape in matrix_shapes(handle, conv).items():
                    yield _Matrix(stored, handle, derived, part, shape)


def _directions(matrix: Tensor, name: str) -> SpikeDirections:
    rows, cols = matrix.shape
    spectrum = eigenvalues_told_from_zero(matrix)
    spikes = count_spikes(spectrum, rows, cols)
    if spikes.count is None or spikes.variance is None:
        raise MeasurementError(spikes.status, where=name)
    k, variance = spikes.count, spikes.variance
    values, error = spectrum[::-1][:k], _errors(spectrum, k, max(rows, cols))
    if np.any(error > _LARGEST_ERROR):
        raise MeasurementError(
            "two of its singular values cannot be told apart, so that their vectors can be any of a plane", where=name
        )
    left, right = np.empty((rows, 0)), np.empty((cols, 0))
    if k:
        found = leading_directions(matrix, k)
        # A pair of singular vectors is defined up to a common sign.
        signs = np.sign(found.left[np.abs(found.left).argmax(axis=0), np.arange(k)])
        left, right = found.left * signs, found.right * signs
    # In units of the noise: squares of the eigenvalues themselves may not fit into float64.
    thetas = [spike_strength(float(value), rows, cols, 1.0) or 0.0 for value in values / variance]
    overlaps = np.array([spike_overlap(theta, rows, cols, 1.0) for theta in thetas]).reshape(k, 2)
    return SpikeDirections(
        eigenvalues=values,
        left=left,
        right=right,
        error=error,
        strengths=math.sqrt(variance) * np.array(thetas),
        left_overlap=overlaps[:, 0],
        right_overlap=overlaps[:, 1],
        variance=variance,
    )


def _errors(spectrum: Floats, k: int, side: int) -> Floats:
    """Return max(rows, cols)·ε·λ₁ over the gap of each of the k largest eigenvalues to its neighbours."""
    below = np.diff(np.concatenate([[0.0], spectrum]))[::-1][:k]
    above = np.concatenate([[np.inf], below])[:k]
    with np.errstate(divide="ignore"):
        return np.asarray(side * float(np.finfo(np.float64).eps) * spectrum[-1] / np.minimum(below, above))
