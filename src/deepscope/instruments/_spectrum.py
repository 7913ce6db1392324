"""The spectrum of every weight matrix: power-law tail, random-matrix null, ranks, norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import (
    Cost,
    Finding,
    Instrument,
    LeftOut,
    MeasurementError,
    Needs,
    PerWeight,
    Reading,
    Track,
    UsageError,
    derive_seed,
    nearest,
)
from deepscope.instruments._spectrum_circulant import CirculantMatrices
from deepscope.instruments._spectrum_eigenvalues import eigenvalues_told_from_zero, without_rounding
from deepscope.instruments._spectrum_findings import spectrum_findings
from deepscope.instruments._spectrum_known import KNOWN
from deepscope.instruments._spectrum_matrices import (
    Convolution,
    by_head,
    check_convolution,
    ledger_of_heads,
    ledger_of_parts,
    ledger_of_scale,
    made_of,
    matrices_of,
    matrix_shapes,
    read_as,
    why_no_spectrum,
    why_too_large,
)
from deepscope.instruments._spectrum_row import Asked, Convention, Null, WeightSpectrum, weight_spectrum
from deepscope.linalg import MIN_BOOTSTRAP, hill_estimates, kurtosis
from deepscope.subject import Derived, Subject, Weight, measure_alone, most_telling, split_ledger

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The columns of the table; mp_distance stays in the record, for findings.
_COLUMNS = (
    "name", "rows", "cols", "n_matrices", "phase", "alpha", "alpha_low", "alpha_high", "alpha_stderr", "ks_distance",
    "x_min", "n_tail", "status", "fit_p_value", "best_alternative", "alternative_ratio", "alternative_p_value",
    "alpha_moment", "null_alpha_low", "null_alpha_high", "n_spikes", "spike_p_value", "mp_lower", "mp_upper",
    "mp_soft_rank", "entry_kurtosis", "n_traps", "shuffled_alpha", "stable_rank", "effective_rank", "matrix_entropy",
    "rank", "log_norm", "log_spectral_norm", "log_alpha_norm", "alpha_weighted", "n_unit_determinant",
)  # fmt: skip
_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


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
        numbers = [column for column in _COLUMNS if column not in ("name", "phase", "status", "best_alternative")]
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
        fits = ((each.tensor, (each.alpha, *each.interval)) for each in self.weights if each.alpha is not None)
        smallest = most_telling(fits, rank=lambda fit: fit[0])
        alpha = Track(
            "tail exponent α",
            {layer: alpha for layer, (alpha, _, _) in smallest.items()},
            {layer: low for layer, (_, low, _) in smallest.items()},
            {layer: high for layer, (_, _, high) in smallest.items()},
            band=(2.0, 6.0),
        )
        known = ((each.tensor, each.stable_rank) for each in self.weights if each.stable_rank is not None)
        ranks = most_telling(known, rank=float)
        return alpha, Track("stable rank", ranks, scale="log")

    def hill(self, name: str) -> pd.DataFrame:
        """Return the Hill plot of a matrix: by the number k of its largest eigenvalues, the exponent that they give.

        Columns ``k``, ``eigenvalue`` (the k-th largest) and ``alpha``; a power law shows as a level stretch.

        Raises
        ------
        UsageError
            No matrix of this name has eigenvalues above 0.
        """
        positive = self.eigenvalues.get(name, np.empty(0))
        positive = positive[positive > 0]
        if positive.size < 2:
            raise UsageError("no eigenvalues of this name", where=name, todo=nearest(name, self.eigenvalues))
        alpha = hill_estimates(positive)
        return pd.DataFrame({"k": np.arange(1, alpha.size + 1), "eigenvalue": positive[:0:-1], "alpha": alpha})

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
    convention: Convention = "deepscope",
    conv: Convolution = "slices",
    heads: bool = False,
    null: Null | None = "analytic",
    bootstrap: int = 200,
    alternatives: bool = True,
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

    at the first smallest D_i, with standard error (α − 1) / √m, which takes x_min as known; the bootstrap interval does
    not. Beside it stands what noise of the same shape gives, for it gets an exponent too: the band of α, the
    Marchenko–Pastur edges σ²(√rows ∓ √cols)², and the number of spikes, eigenvalues that noise does not make (one
    random matrix in a hundred shows one). ``phase`` sums up these tests.

    Parameters
    ----------
    subject
        A model or the weights of a checkpoint.
    convention
        Whose estimator of the exponent: ``"deepscope"``, or ``"weightwatcher"`` for comparison with published numbers:
        squared singular values, of the matrix in float32, above 1e-5 whatever the scale; kernel slices scaled by √½;
        and a rule of its own for fewer than 20 values, which then have no bootstrap. Only slices of kernels are read
        so.
    conv
        How a convolution [out, in, *kernel] is read: ``"slices"``, a matrix [out, in] per kernel position;
        ``"flattened"``, one matrix [out, in·kernel]; ``"circulant"``, the operator of stride 1 that it is on a periodic
        grid of 16 points a dimension (8 in three dimensions, the kernel's size where that is larger): a matrix per
        frequency, and as many eigenvalues as the operator has. A transposed convolution is stored [in, out, *kernel]
        and read so. Groups are matrices of their own.
    heads
        Whether the query, key and value of attention are also split by head, where the config or the module tells how
        many there are: rows such as ``attn.c_attn.weight[query 3]``. A head has few eigenvalues, 64 in GPT-2: enough
        for ranks and spikes, while the interval of α is wide, or there is none.
    null
        ``"analytic"``: the laws of random matrices; ``"permutation"``: these, and each matrix again with its entries
        shuffled once, which leaves what single large entries make (``n_traps``, ``shuffled_alpha``); None for neither.
        Operators on a grid and low-rank updates have no null, for their entries are not independent.
    bootstrap
        Resamples for the interval of α, and samples for its goodness of fit; at least 40, or 0 for neither.
    alternatives
        Whether other laws are compared with the power law.
    generator
        Its initial seed determines resamples and permutations; that of 0 unless given.
    max_side
        Matrices whose smaller side is larger go to the ledger; all are measured unless given.

    Returns
    -------
    Spectrum
        Its table has a row per matrix, with the columns that ``WeightSpectrum`` describes. Eigenvalues below
        max(rows, cols) · 2.2e-16 · λ_max are rounding: they count as 0 and in no fit. Multiplying a matrix by a
        constant moves only ``x_min``, the norms, ``alpha_weighted`` and the edges. For pooled matrices the ranks are
        those of the block-diagonal matrix made of all of them.

    Notes
    -----
    Cost: no pass over data; s²·l + 4/3·s³ operations for a matrix of sides s ≤ l, four times that for each frequency
    of a circulant operator and for singular values, twice for the permutation; and 2 · ``bootstrap`` fits.
    Sources: ``martin2021implicit``, ``martin2021predicting``, ``clauset2009power``, ``marchenko1967distribution``,
    ``johnstone2001distribution``, ``roy2007effective``, ``sedghi2019singular``, and those of ``deepscope.linalg``.

    Examples
    --------
    >>> layer = torch.nn.Linear(64, 32, bias=False)
    >>> _ = torch.nn.init.eye_(layer.weight)
    >>> spectrum(Subject(layer)).table()[["name", "stable_rank", "rank"]].values.tolist()
    [['weight', 32.0, 32]]
    """
    check_convolution(conv)
    _check(convention, conv, null, bootstrap)
    reading: Spectrum = measure_alone(
        subject,
        _step,
        _gather,
        convention=convention,
        conv=conv,
        heads=heads,
        null=null,
        bootstrap=bootstrap,
        alternatives=alternatives,
        max_side=max_side,
        seed=generator.initial_seed() if generator is not None else 0,
    )
    return reading


def _check(convention: str, conv: str, null: str | None, bootstrap: int) -> None:
    for name, value, known in (("convention", convention, get_args(Convention)), ("null", null, get_args(Null))):
        if value not in known and not (name == "null" and value is None):
            raise UsageError(f"unknown {name}", where=str(value), todo=nearest(str(value), known))
    if convention == "weightwatcher" and conv != "slices":
        raise UsageError(
            "WeightWatcher reads kernels in slices", where=f"conv={conv!r}", todo='Leave out conv, or give "slices".'
        )
    if bootstrap and bootstrap < MIN_BOOTSTRAP:
        raise UsageError(
            f"{bootstrap} resamples are too few for an interval", where="bootstrap", todo=f"Give {MIN_BOOTSTRAP}, or 0."
        )


@dataclass(frozen=True, eq=False)
class _Measured:
    """A row of the table, and the eigenvalues where there are any."""

    row: WeightSpectrum
    eigenvalues: NDArray[np.float64] | None


def _step(
    weight: Weight,
    tensor: Tensor | None,
    *,
    convention: Convention = "deepscope",
    conv: Convolution = "slices",
    heads: bool = False,
    null: Null | None = "analytic",
    bootstrap: int = 200,
    alternatives: bool = True,
    max_side: int | None = None,
    seed: int = 0,
) -> list[_Measured | LeftOut]:
    reason = why_no_spectrum(weight)
    if tensor is None:
        return [LeftOut(weight.name, reason or "its values cannot be read")]
    asked = Asked(convention=convention, null=null, bootstrap=bootstrap, alternatives=alternatives)
    measure = partial(_spectra, conv=conv, heads=heads, max_side=max_side, asked=asked, seed=seed)
    items: list[_Measured | LeftOut] = (
        [LeftOut(weight.name, reason)] if reason else [*measure(weight, lambda: tensor, None), *ledger_of_scale(weight)]
    )
    for handle, derived in made_of(weight):
        items += measure(handle, partial(derived.of, tensor), derived)
        items += [LeftOut(f"{handle.name}[scale]", derived.caveat)] if derived.caveat else []
    return items


def _spectra(
    weight: Weight,
    read: Callable[[], Tensor],
    derived: Derived | None,
    *,
    conv: Convolution,
    heads: bool,
    max_side: int | None,
    asked: Asked,
    seed: int,
) -> list[_Measured | LeftOut]:
    """Measure each part of a tensor; what is beyond the budget is not even made."""
    items: list[_Measured | LeftOut] = [*ledger_of_heads(weight)] if heads else []
    weight = by_head(weight) if heads else weight
    shapes = matrix_shapes(weight, conv)
    beyond = {part: why for part, shape in shapes.items() if (why := why_too_large(shape, max_side))}
    read_so = read_as(weight, conv, derived)
    for part, matrices in matrices_of(weight, read(), conv) if len(beyond) < len(shapes) else ():
        if part not in beyond:
            rng = np.random.default_rng(derive_seed(seed, weight.name, part))
            items.append(_measured(matrices, weight, part, shapes[part], read_so, asked, rng))
    items += [LeftOut(f"{weight.name}[{part}]" if part else weight.name, why) for part, why in beyond.items()]
    return [*items, *ledger_of_parts(weight)]


def _measured(
    matrices: Tensor | CirculantMatrices,
    weight: Weight,
    part: str,
    shape: tuple[int, int, int],
    read_so: str,
    asked: Asked,
    rng: np.random.Generator,
) -> _Measured:
    theirs = asked.convention == "weightwatcher"
    eigenvalues = _squared_singular_values if theirs else eigenvalues_told_from_zero
    scale = 0.5 if theirs and read_so == "slices" else 1.0
    if not isinstance(matrices, Tensor) or read_so == "low-rank core":
        # Their entries are not independent: the laws of random matrices say nothing of them.
        asked = replace(asked, null=None)
    values, status = _eigenvalues(matrices, eigenvalues, scale)
    entries = shuffled = None
    if asked.null is not None and values is not None and isinstance(matrices, Tensor):
        entries = kurtosis(matrices)
        if asked.null == "permutation":
            shuffled, _ = _eigenvalues(_shuffled(matrices, rng), eigenvalues, scale)
    row = weight_spectrum(
        weight, shape, values, status, part, read_so, asked=asked, entries=entries, shuffled=shuffled, rng=rng
    )
    return _Measured(row, values)


def _shuffled(matrices: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a copy with all entries in another order; nothing else of its size is made."""
    copy = torch.empty(matrices.shape, dtype=matrices.dtype).copy_(matrices)
    # As integers of the same width: NumPy has neither bfloat16 nor 8-bit floats.
    rng.shuffle(copy.view(_WORDS[copy.itemsize]).view(-1).numpy())
    return copy.to(matrices.device)


def _squared_singular_values(matrix: Tensor) -> NDArray[np.float64]:
    """Return eigenvalues as WeightWatcher computes them: of the matrix in float32, those that are rounding included."""
    array = matrix.detach().cpu().float().double().numpy()
    if not np.isfinite(array).all():
        raise MeasurementError("the matrix holds values that are not finite")
    try:
        return np.asarray(np.linalg.svd(array, compute_uv=False)[::-1] ** 2)
    except np.linalg.LinAlgError as error:
        raise MeasurementError("the singular value solver did not converge") from error


def _eigenvalues(
    matrices: Iterable[Tensor], of_one: Callable[[Tensor], NDArray[np.float64]], scale: float
) -> tuple[NDArray[np.float64] | None, str]:
    """Return the eigenvalues of all matrices, ascending, or why there are none."""
    try:
        parts = [scale * of_one(matrix) for matrix in matrices]
    except MeasurementError as error:
        return None, error.what
    pooled = np.sort(np.concatenate(parts)) if len(parts) > 1 else parts[0]
    if isinstance(matrices, CirculantMatrices):
        # All are blocks of one operator: a frequency at which it vanishes is rounding beside the others.
        pooled = without_rounding(pooled, max(matrices.shape[1:]))
    return pooled, ""


def _gather(subject: Subject, items: Sequence[Any], cost: Cost) -> Spectrum:
    measured, left_out = split_ledger(items)
    return Spectrum(
        subject=subject.name,
        left_out=left_out,
        cost=cost,
        weights=tuple(each.row for each in measured),
        eigenvalues={each.row.name: each.eigenvalues for each in measured if each.eigenvalues is not None},
    )


def _expected_cost(subject: Subject, *, conv: Convolution = "slices", max_side: int | None = None, **_: object) -> str:
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
        "Kolmogorov–Smirnov distance is smallest; its interval by resampling all λ, x_min chosen anew. Random-matrix "
        "edges σ²(√rows ∓ √cols)², σ² from the eigenvalues below the spikes; a spike is larger than all but one noise "
        "matrix in a hundred has. Stable rank Σλ/λ_max; effective rank exp(entropy of σ/Σσ)."
    ),
    how_to_read=(
        "Each point is the exponent α of a layer's largest eigenvalues with its 95 % interval: the smaller, the "
        "heavier the tail; the band from 2 to 6 is where Martin & Mahoney (2021) find well-trained layers. Noise gets "
        "an exponent too: where the thin grey line stands, 95 % of matrices of noise of that shape lie, and only an "
        "interval below it tells of training. Below, the share of eigenvalues above λ for a handful of layers, with "
        "the fitted tail and the edge that noise does not pass."
    ),
    source="martin2021predicting",
    efforts={"quick": {"max_side": 2048}, "standard": {"max_side": 8192}, "deep": {}},
    per_weight=PerWeight(step=_step, gather=_gather, record=_Measured, seeded=True),
    expected_cost=_expected_cost,
    rows=("alpha-hat",),
    pinned_by="tests/verify/test_spectrum_exponent.py::test_planted_exponents_are_recovered_without_bias",
    known=KNOWN,
)
