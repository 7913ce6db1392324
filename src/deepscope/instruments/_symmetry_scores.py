"""Numbers of one layer under one transformation, and those of networks with random weights beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from deepscope.instruments._symmetry_probe import Site
from deepscope.linalg import paired_distance

Floats = NDArray[np.float64]

#: Rounding of one layer, in units of its dtype's: sums of m terms err by √m of them, here of up to a thousand terms.
_ROUNDING = 32.0
#: A bound above this claims nothing: half precision through many layers.
_LARGEST_BOUND = 1e-4
ALIKE = "its output is the same for all samples"
#: Networks with random weights from which an interval is told.
FEWEST_NETWORKS = 3


@dataclass(frozen=True, eq=False)
class Score:
    """How far one output is from a symmetry.

    Attributes
    ----------
    value
        Relative squared distance: 0 symmetric, 1 as different as another sample's.
    bound
        What rounding alone may make of it; None where that cannot be told from a difference.
    influences
        [n], what each sample adds.
    """

    value: float
    bound: float | None
    influences: Floats = field(repr=False)

    @property
    def stderr(self) -> float:
        """Standard error over samples."""
        return float(self.influences.std(ddof=1)) / math.sqrt(len(self.influences))

    @staticmethod
    def mean(scores: Sequence[Score]) -> Score:
        """Return the mean over transformations, of the same samples."""
        bounds = [each.bound for each in scores]
        known = [each for each in bounds if each is not None]
        return Score(
            value=float(np.mean([each.value for each in scores])),
            bound=float(np.mean(known)) if len(known) == len(bounds) else None,
            influences=np.mean([each.influences for each in scores], axis=0),
        )


def score(after: Floats, before: Floats, site: Site) -> Score | str:
    """Compare a layer's output for transformed inputs with what it should be, [n, values] each; or say why not.

    Each of ``depth`` layers adds a relative rounding error of at most 32 eps to its output, so that a and b, which
    would be equal without rounding, lie within 32 eps · depth · (‖a‖ + ‖b‖) of each other; the square of a sum is at
    most twice the sum of squares.
    """
    if not (np.isfinite(after).all() and np.isfinite(before).all()):
        return "its output is not finite"
    if len(after) < 2:
        return "one sample has no other to be compared with"
    error = _ROUNDING * site.eps * site.depth
    # Errors of that size add up in all directions at once in no network; what samples share is told from less.
    found = paired_distance(after, before, resolution=4 * site.eps * math.sqrt(site.depth))
    if found is None:
        return ALIKE
    bound = 2 * error**2 * found.scale
    return Score(found.value, bound if bound <= _LARGEST_BOUND else None, found.influences)


@dataclass(frozen=True, kw_only=True)
class SymmetryError:
    """How far an output is from a symmetry, beside networks with random weights.

    Attributes
    ----------
    value
        E‖f(gx) − ρ(g) f(x)‖² / E‖f(gx) − ρ(g) f(x′)‖², the mean over the transformations: 0 symmetric, 1 as different
        as the output of another sample; None where it could not be had.
    stderr
        Its standard error over samples.
    n_samples
        How many there are.
    rounding
        What rounding alone may make of it; None where that cannot be told.
    baseline
        Its mean over networks of the same architecture with random weights; None without any.
    baseline_low, baseline_high
        Where the error of one more such network lies with 95 % confidence.
    status
        ``"ok"``, or why there is no value.
    """

    value: float | None
    stderr: float | None
    n_samples: int
    rounding: float | None
    baseline: float | None
    baseline_low: float | None
    baseline_high: float | None
    status: str = "ok"

    @property
    def is_exact(self) -> bool:
        """Whether it is symmetric to float accuracy."""
        return self.value is not None and self.rounding is not None and self.value <= self.rounding

    @property
    def baseline_is_exact(self) -> bool:
        """Whether random weights are symmetric to float accuracy: the architecture is, or what begins constant."""
        return self.baseline is not None and self.rounding is not None and self.baseline <= self.rounding

    @property
    def is_broken(self) -> bool:
        """Whether random weights are symmetric to float accuracy, and these are not."""
        return self.baseline_is_exact and not self.is_exact and self.against_baseline == "less"

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval over samples, by Student's t."""
        if self.value is None or self.stderr is None:
            return None
        half = float(stdtrit(self.n_samples - 1, 0.975)) * self.stderr
        return max(0.0, self.value - half), self.value + half

    @property
    def against_baseline(self) -> str:
        """``"less"`` or ``"more"`` symmetric than random weights, beyond both intervals; or ``""``."""
        interval = self.interval
        if interval is None or self.baseline_low is None or self.baseline_high is None:
            return ""
        return "less" if interval[0] > self.baseline_high else "more" if interval[1] < self.baseline_low else ""


def symmetry_error(own: Score | str, others: Sequence[Score | str]) -> SymmetryError:
    """Put a network's score beside those of networks with random weights, which may have one where it has none."""
    values = [each.value for each in others if isinstance(each, Score)]
    low, high = prediction_interval(values) if len(values) >= FEWEST_NETWORKS else (None, None)
    known = own if isinstance(own, Score) else None
    return SymmetryError(
        value=known.value if known is not None else None,
        stderr=known.stderr if known is not None else None,
        n_samples=len(known.influences) if known is not None else 0,
        rounding=known.bound if known is not None else None,
        baseline=float(np.mean(values)) if values else None,
        baseline_low=low,
        baseline_high=high,
        status=own if isinstance(own, str) else "ok",
    )


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return where one more value lies with 95 % confidence, if the roots of all are normal.

    Mean ± t · s · √(1 + 1/k) of the k roots, squared again: the root of a squared distance is a distance, and near
    zero it is nearer to normal.

    >>> [round(end, 3) for end in prediction_interval([1.0, 1.0, 4.0, 4.0])]
    [0.0, 12.633]
    """
    roots = np.sqrt(np.asarray(values, np.float64))
    k = len(roots)
    half = float(stdtrit(k - 1, 0.975)) * float(roots.std(ddof=1)) * math.sqrt(1 + 1 / k)
    return max(0.0, float(roots.mean()) - half) ** 2, (float(roots.mean()) + half) ** 2
