"""The spectrum of every weight matrix: power-law tail, random-matrix null, ranks, norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import Cost, Finding, Instrument, LeftOut, MeasurementError, Needs, PerWeight, Reading, Track
from deepscope.instruments._spectrum_circulant import CirculantMatrices
from deepscope.instruments._spectrum_findings import spectrum_findings
from deepscope.instruments._spectrum_known import KNOWN
from deepscope.instruments._spectrum_matrices import (
    Convolution,
    check_convolution,
    ledger_of_parts,
    made_of,
    matrices_of,
    matrix_shapes,
    read_as,
    why_no_spectrum,
    why_too_large,
)
from deepscope.instruments._spectrum_row import WeightSpectrum, weight_spectrum
from deepscope.linalg import gram_eigenvalues
from deepscope.subject import Derived, Subject, Weight, measure_alone, most_telling, split_ledger

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The columns of the table; mp_distance stays in the record, for findings.
_COLUMNS = (
    "name", "rows", "cols", "n_matrices", "alpha", "alpha_stderr", "ks_distance", "x_min", "n_tail", "status",
    "stable_rank", "effective_rank", "log_norm", "log_spectral_norm", "mp_lower", "mp_upper", "n_spikes", "rank",
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Spectrum(Reading):
    """What ``spectrum`` saw.

    Attributes
    ----------
    weights
        One entry per measured tensor, or part of one such as ``attn.c_attn.weight[query]``, in the order of the model
        or file.
    eigenvalues
        Name of that entry to the eigenvalues of WᵀW, ascending, those of several matrices pooled; those that cannot be
        told from 0 are 0. Absent where the tensor has no numbers.
    """

    weights: tuple[WeightSpectrum, ...] = ()
    eigenvalues: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per tensor; a number that does not exist is missing, and ``status`` says why."""
        frame = pd.DataFrame([asdict(each) for each in self.weights], columns=list(_COLUMNS))
        numbers = [column for column in _COLUMNS if column not in ("name", "status")]
        # A column of None alone would otherwise not count as numeric.
        return frame.astype({name: float for name in numbers if frame[name].dtype == object})

    def findings(self) -> tuple[Finding, ...]:
        """Warnings for collapsed ranks; notes on what looks random, and on fits that failed."""
        return spectrum_findings(self.weights)

    def plot(self) -> Figure:
        """Draw the exponent of every layer, and the tails of a handful."""
        from deepscope.instruments._spectrum_plot import plot_spectrum

        return plot_spectrum(self.weights, self.eigenvalues)

    def glance(self) -> tuple[Track, ...]:
        """Exponent with its 95 % interval, and stable rank: the smallest of a layer's matrices stands for it."""
        ends = most_telling(
            (
                (each.tensor, (each.alpha, 1.96 * each.alpha_stderr))
                for each in self.weights
                if each.alpha is not None and each.alpha_stderr is not None
            ),
            rank=lambda fit: fit[0],
        )
        alpha = Track(
            "tail exponent α",
            {layer: a for layer, (a, _) in ends.items()},
            {layer: a - s for layer, (a, s) in ends.items()},
            {layer: a + s for layer, (a, s) in ends.items()},
            band=(2.0, 6.0),
        )
        known = ((each.tensor, each.stable_rank) for each in self.weights if each.stable_rank is not None)
        ranks = most_telling(known, rank=float)
        return alpha, Track("stable rank", ranks, scale="log")

    def summary(self) -> str:
        """One sentence with the main numbers."""
        alphas = [each.alpha for each in self.weights if each.alpha is not None]
        spikes = sum(1 for each in self.weights if each.n_spikes)
        tensors = f"{len(self.weights)} weight matrices" if len(self.weights) != 1 else "1 weight matrix"
        if not alphas:
            return f"{tensors}, none with a fitted tail; {spikes} with eigenvalues above the random-matrix edge."
        low, middle, high = np.quantile(alphas, [0.0, 0.5, 1.0])
        if len(alphas) == 1:
            tail = f"tail exponent α {middle:.2f}{'' if len(self.weights) == 1 else ' (1 fit)'}"
        else:
            tail = f"tail exponent α {middle:.2f} in the median ({low:.2f} to {high:.2f}, {len(alphas)} fits)"
        return f"{tensors}: {tail}; {spikes} with eigenvalues above the random-matrix edge."


def spectrum(
    subject: Subject,
    *,
    conv: Convolution = "slices",
    generator: torch.Generator | None = None,
    max_side: int | None = None,
) -> Spectrum:
    """Measure the eigenvalues of WᵀW of every weight matrix, in float64.

    A tensor of two dimensions is a matrix [out, in] as stored: linear, embedding, attention and recurrent weights. A
    convolution is one matrix per kernel position, and other tensors of three or more dimensions (stacks of experts)
    are one matrix per leading index; their eigenvalues are pooled. A tensor that stacks several matrices is measured
    part by part, each a row of its own: the query, key and value of a fused projection, the gates of a recurrent
    layer. Where its split is not known it is measured whole, and the ledger says why. With n positive eigenvalues x in
    ascending order, m = n − i and i from 0 to n − 2, the tail is

        α_i = 1 + m / Σ_{j≥i} ln(x_j / x_i),  D_i = max_j |1 − (x_j / x_i)^(1 − α_i) − (j − i) / m|

    at the first smallest D_i, with standard error (α − 1) / √m. Random-matrix null: the Marchenko–Pastur edges
    σ²(√rows ∓ √cols)² with σ² from the median eigenvalue; a spike lies above the upper edge plus the 99 % quantile of
    the Tracy–Widom law. Were σ² known, one random matrix in a hundred would show one; with σ² estimated it is one to
    six.

    Parameters
    ----------
    subject
        A model or the weights of a checkpoint.
    conv
        How a convolution [out, in, *kernel] is read: ``"slices"``, a matrix [out, in] per kernel position;
        ``"flattened"``, one matrix [out, in·kernel]; ``"circulant"``, the operator of stride 1 that it is on a periodic
        grid of 16 points a dimension (8 in three dimensions, the kernel's size where that is larger): a matrix per
        frequency, and as many eigenvalues as the operator has. A transposed convolution is stored [in, out, *kernel]
        and read so. Groups are matrices of their own.
    generator
        Not used: nothing here is random. Every instrument takes one.
    max_side
        Matrices whose smaller side is larger go to the ledger; all are measured unless given.

    Returns
    -------
    Spectrum
        With the columns ``name, rows, cols, n_matrices``; ``alpha, alpha_stderr, ks_distance, x_min, n_tail,
        status``; ``stable_rank`` Σλ/λ_max, ``effective_rank`` exp(entropy of σ/Σσ), ``log_norm`` log₁₀ ‖W‖_F²,
        ``log_spectral_norm`` log₁₀ λ_max; ``mp_lower, mp_upper, n_spikes``; ``rank``, the eigenvalues that can be told
        from 0. Eigenvalues below max(rows, cols) · 2.2e-16 · λ_max are rounding: they count as 0 and in no fit.
        Multiplying a matrix by a constant moves only ``x_min``, the norms and the edges. For pooled matrices the
        ranks are those of the block-diagonal matrix made of all of them.

    Notes
    -----
    Cost: no pass over data; s²·l + 4/3·s³ operations for a matrix of sides s ≤ l, four times that for each frequency
    of a circulant operator.
    Sources: ``martin2021implicit``, ``clauset2009power``, ``marchenko1967distribution``,
    ``johnstone2001distribution``, ``gavish2014optimal``, ``roy2007effective``, ``sedghi2019singular``.

    Examples
    --------
    >>> layer = torch.nn.Linear(64, 32, bias=False)
    >>> _ = torch.nn.init.eye_(layer.weight)
    >>> spectrum(Subject(layer)).table()[["name", "stable_rank", "rank"]].values.tolist()
    [['weight', 32.0, 32]]
    """
    check_convolution(conv)
    reading: Spectrum = measure_alone(subject, _step, _gather, conv=conv, max_side=max_side)
    return reading


_Measured = tuple[WeightSpectrum, NDArray[np.float64] | None]


def _step(
    weight: Weight, tensor: Tensor | None, *, conv: Convolution = "slices", max_side: int | None = None
) -> list[_Measured | LeftOut]:
    reason = why_no_spectrum(weight)
    if tensor is None:
        return [LeftOut(weight.name, reason or "its values cannot be read")]
    items = _spectra(weight, lambda: tensor, None, conv, max_side) if not reason else []
    items += [LeftOut(weight.name, reason)] if reason else []
    for handle, derived in made_of(weight):
        items += _spectra(handle, partial(derived.of, tensor), derived, conv, max_side)
        items += [LeftOut(f"{handle.name}[scale]", derived.caveat)] if derived.caveat else []
    return items


def _spectra(
    weight: Weight, read: Callable[[], Tensor], derived: Derived | None, conv: Convolution, max_side: int | None
) -> list[_Measured | LeftOut]:
    """Measure each part of a tensor; what is beyond the budget is not even made."""
    items: list[_Measured | LeftOut] = []
    shapes = matrix_shapes(weight, conv)
    beyond = {part: why for part, shape in shapes.items() if (why := why_too_large(shape, max_side))}
    for part, matrices in matrices_of(weight, read(), conv) if len(beyond) < len(shapes) else ():
        if part not in beyond:
            values, status = _eigenvalues(matrices)
            row = weight_spectrum(weight, shapes[part], values, status, part)
            items.append((replace(row, read_as=read_as(weight, conv, derived)), values))
    items += [LeftOut(f"{weight.name}[{part}]" if part else weight.name, why) for part, why in beyond.items()]
    return [*items, *ledger_of_parts(weight)]


def _eigenvalues(matrices: Iterable[Tensor]) -> tuple[NDArray[np.float64] | None, str]:
    """Return the eigenvalues of all matrices, ascending, or why there are none."""
    try:
        parts = [_told_from_zero(gram_eigenvalues(matrix), max(matrix.shape)) for matrix in matrices]
    except MeasurementError as error:
        return None, error.what
    pooled = np.sort(np.concatenate(parts)) if len(parts) > 1 else parts[0]
    if isinstance(matrices, CirculantMatrices):
        # All are blocks of one operator: a frequency at which it vanishes is rounding beside the others.
        pooled = _told_from_zero(pooled, max(matrices.shape[1:]))
    return pooled, ""


def _told_from_zero(eigenvalues: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    cut = side * float(np.finfo(np.float64).eps) * eigenvalues[-1]
    return np.where(eigenvalues > cut, eigenvalues, 0.0)


def _gather(subject: Subject, items: Sequence[Any], cost: Cost) -> Spectrum:
    flat = [each for item in items for each in ([item] if isinstance(item, LeftOut) else item)]
    measured, left_out = split_ledger(flat)
    return Spectrum(
        subject=subject.name,
        left_out=left_out,
        cost=cost,
        weights=tuple(row for row, _ in measured),
        eigenvalues={row.name: values for row, values in measured if values is not None},
    )


def _expected_cost(subject: Subject, *, conv: Convolution = "slices", max_side: int | None = None) -> str:
    n_measured, operations = 0, 0.0
    for stored in subject.weights():
        measured = [] if why_no_spectrum(stored) else [stored]
        measured += [handle for handle, _ in made_of(stored)]
        shapes = [(weight, shape) for weight in measured for shape in matrix_shapes(weight, conv).values()]
        within = [(weight, shape) for weight, shape in shapes if not why_too_large(shape, max_side)]
        n_measured += bool(within)
        for weight, (n_matrices, rows, cols) in within:
            short, long = sorted((rows, cols))
            times = 4 if read_as(weight, conv).startswith("circulant") else 1
            operations += times * n_matrices * (short**2 * long + 4 / 3 * short**3)
    return f"eigenvalues of {n_measured} {'tensor' if n_measured == 1 else 'tensors'}, {operations:.1e} operations"


SPECTRUM = Instrument(
    name="spectrum",
    title="eigenvalues of the weight matrices",
    measure=spectrum,
    reading=Spectrum,
    needs=Needs.WEIGHTS,
    formula=(
        "λ: eigenvalues of WᵀW. Tail p(λ) ∝ λ^−α from x_min up, by maximum likelihood, x_min where the "
        "Kolmogorov–Smirnov distance is smallest; standard error (α − 1)/√n_tail. Random-matrix edges "
        "σ²(√rows ∓ √cols)², σ² from the median eigenvalue; spikes lie above the upper edge plus the Tracy–Widom 99 % "
        "quantile. Stable rank Σλ/λ_max; effective rank exp(entropy of σ/Σσ)."
    ),
    how_to_read=(
        "Each point is the exponent α of a layer's largest eigenvalues with its 95 % interval: the smaller, the "
        "heavier the tail; the band from 2 to 6 is where Martin & Mahoney (2021) find well-trained layers, but a "
        "matrix of noise gets an exponent too, a small matrix often one inside the band. Below, the share of "
        "eigenvalues above λ for a handful of layers, with the fitted tail and the edge that noise does not pass."
    ),
    source="martin2021predicting",
    efforts={"quick": {"max_side": 2048}, "standard": {"max_side": 8192}, "deep": {}},
    per_weight=PerWeight(step=_step, gather=_gather),
    expected_cost=_expected_cost,
    rows=("alpha-hat",),
    pinned_by="tests/verify/test_spectrum_exponent.py::test_planted_exponents_are_recovered_without_bias",
    known=KNOWN,
)
