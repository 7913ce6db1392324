"""What decides a claim: a measured value, its interval, and a threshold fixed before the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deepscope.core.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

#: With fewer seeds than this nothing is decided.
FEWEST_SEEDS = 3
#: From this number of seeds on, the interval is a bootstrap's.
BOOTSTRAP_FROM = 20
CONFIDENCE = 0.95
_RESAMPLES = 10_000

Side = Literal["above", "below", "within"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One thing that must hold for a claim to be reproduced. Built by ``Criterion.effect`` or ``Criterion.exact``.

    Attributes
    ----------
    name
        What is judged, in a few words, with its unit.
    kind
        ``"effect"``: a mean over seeds with its 95 % interval. ``"exact"``: the worst case over all trials; low and
        high are the measured value.
    measured, low, high
        The value and the ends of its interval; None where there is none.
    side, threshold, target
        ``"above"`` or ``"below"``: the interval must lie on that side of the threshold. ``"within"``: no further than
        the threshold from the target.
    published
        What the literature reports, as text; None where it reports no number.
    control
        Whether this is a condition in which the effect must be absent.
    seeds
        Number of seeds that the value rests on.
    missing
        Number of values that there should be and are not.
    note
        Why a value or an interval is missing; ``""`` where none is.
    """

    name: str
    kind: Literal["effect", "exact"]
    measured: float | None
    low: float | None
    high: float | None
    side: Side
    threshold: float
    target: float = 0.0
    published: str | None = None
    control: bool = False
    seeds: int = 0
    missing: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "published"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (name == "published" and value is None):
                raise UsageError(f"{value!r} is no text", where=f"{name} of a criterion", todo="Write it as text.")
        if not math.isfinite(self.target):
            raise UsageError(f"the target is {self.target}", where=self.name, todo="Give a finite number.")
        # A judge computes with NumPy; a record holds plain numbers.
        object.__setattr__(self, "target", float(self.target))
        object.__setattr__(self, "control", bool(self.control))
        ends = (self.measured, self.low, self.high)
        if any(end is not None and not math.isfinite(end) for end in ends):
            for name in ("measured", "low", "high"):
                object.__setattr__(self, name, None)
            object.__setattr__(self, "note", "; ".join(filter(None, [self.note, "the numbers are too large"])))

    @property
    def holds(self) -> bool | None:
        """True: the whole interval is on the right side; False: all of it is on the wrong one; None: open.

        An effect that touches its threshold is open: no effect is not an effect above 0. Fewer than 3 seeds decide
        nothing. Where values are missing nothing holds: those that are missing may be the ones that speak against it.
        """
        if self.low is None or self.high is None or self.seeds < FEWEST_SEEDS:
            return None
        found = self._within() if self.side == "within" else self._beyond()
        return None if found and self.missing else found

    def _within(self) -> bool | None:
        assert self.low is not None
        assert self.high is not None
        least, most = self.target - self.threshold, self.target + self.threshold
        return _decide(least <= self.low and self.high <= most, self.high < least or self.low > most)

    def _beyond(self) -> bool | None:
        assert self.low is not None
        assert self.high is not None
        near, far = (self.low, self.high) if self.side == "above" else (-self.high, -self.low)
        threshold = self.threshold if self.side == "above" else -self.threshold
        return _decide(near > threshold or (self.kind == "exact" and near == threshold), far < threshold)

    @classmethod
    def effect(
        cls,
        name: str,
        values: Mapping[int, float] | pd.Series[Any],
        *,
        above: float | None = None,
        below: float | None = None,
        within: float | None = None,
        target: float = 0.0,
        published: str | None = None,
        control: bool = False,
    ) -> Criterion:
        """Judge the mean over seeds of a difference, a log ratio, a slope: one number per seed.

        Parameters
        ----------
        name
            What is judged.
        values
            Seed to number. A difference is taken seed by seed before it comes here, so that the interval is a paired
            one. Where a seed has no number (None, NaN) the criterion can fail but not hold.
        above, below, within
            Exactly one: the threshold, as in ``Criterion``.
        target
            Middle of ``within``.
        published, control
            As in ``Criterion``.

        Raises
        ------
        UsageError
            Not exactly one threshold; two numbers for one seed (trials that share a seed are not independent).

        Notes
        -----
        Interval: ``interval(values)``. Fewer than 3 seeds give none, and the criterion stays open.

        Examples
        --------
        >>> gain = Criterion.effect("gain", {0: 1.1, 1: 0.9, 2: 1.0}, above=0.5)
        >>> gain.holds, round(gain.low, 3)
        (True, 0.752)
        >>> Criterion.effect("gain", {0: 1.1}, above=0.5).holds is None
        True
        """
        side, threshold = _threshold(name, above, below, within)
        series = _by_seed(values)
        if series.index.has_duplicates:
            raise UsageError(
                "a seed has several values; trials of one seed are not independent",
                where=name,
                todo="Reduce them to one number per seed: a mean, a slope, a difference.",
            )
        numbers = series.astype(float).to_numpy()
        kept = numbers[np.isfinite(numbers)]
        note = f"{len(numbers) - len(kept)} of {len(numbers)} seeds have no value" if len(kept) < len(numbers) else ""
        low = high = None
        if len(kept) >= FEWEST_SEEDS:
            low, high = interval(kept)
        else:
            note = "; ".join(filter(None, [note, few_seeds(len(kept))]))
        return cls(
            name=name,
            kind="effect",
            measured=float(kept.mean()) if len(kept) else None,
            low=low,
            high=high,
            side=side,
            threshold=threshold,
            target=target,
            published=published,
            control=control,
            seeds=len(kept),
            missing=len(numbers) - len(kept),
            note=note,
        )

    @classmethod
    def exact(
        cls,
        name: str,
        values: Mapping[int, Sequence[float] | float] | pd.Series[Any],
        *,
        above: float | None = None,
        below: float | None = None,
        within: float | None = None,
        target: float = 0.0,
        published: str | None = None,
        control: bool = False,
    ) -> Criterion:
        """Judge an identity by its worst case over all trials.

        Parameters
        ----------
        name
            What is judged.
        values
            Indexed by seed; several numbers of one seed are all judged.
        above, below, within, target, published, control
            As in ``effect``.

        Raises
        ------
        UsageError
            Not exactly one threshold.

        Notes
        -----
        A missing number (None, NaN) leaves the worst case unknown: the criterion can then fail but not hold. On one or
        two seeds an identity is open.

        Examples
        --------
        >>> error = Criterion.exact("error", {0: 1e-12, 1: 3e-12, 2: 0.0}, below=1e-10)
        >>> error.measured, error.holds
        (3e-12, True)
        """
        side, threshold = _threshold(name, above, below, within)
        series = _by_seed(values)
        # A seed without any number lacks one.
        rows = [
            row if row.size else np.array([math.nan]) for row in (np.ravel(value).astype(float) for value in series)
        ]
        flat = np.concatenate(rows) if rows else np.empty(0)
        finite = flat[np.isfinite(flat)]
        worst = None
        if len(finite):
            distance = {"above": -finite, "below": finite, "within": np.abs(finite - target)}[side]
            worst = float(finite[int(np.argmax(distance))])
        missing = len(flat) - len(finite)
        seeds = series.index[[bool(np.isfinite(row).any()) for row in rows]].nunique()
        note = f"{missing} of {len(flat)} values are missing" if missing else ""
        if len(flat) and seeds < FEWEST_SEEDS:
            note = "; ".join(filter(None, [note, few_seeds(seeds)]))
        return cls(
            name=name,
            kind="exact",
            measured=worst,
            low=worst,
            high=worst,
            side=side,
            threshold=threshold,
            target=target,
            published=published,
            control=control,
            seeds=seeds,
            missing=missing,
            note=note if len(flat) else "no trial to judge",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "measured": self.measured,
            "low": self.low,
            "high": self.high,
            "threshold": self.threshold,
            "side": self.side,
            "target": self.target,
            "published": self.published,
            "holds": self.holds,
            "control": self.control,
            "seeds": self.seeds,
            "missing": self.missing,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Criterion:
        """Read what ``to_dict`` returned; whether it holds follows from the numbers, whatever the record says.

        Raises
        ------
        KeyError, TypeError, ValueError, UsageError
            It is not such a record.
        """
        return cls(**{each.name: record[each.name] for each in fields(cls)})


def interval(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """95 % interval for the mean of independent values, at least 3: Student t below 20 of them, bootstrap from there.

    The bootstrap is the expanded percentile interval (``hesterberg2015teachers``): percentiles of 10,000 resampled
    means, taken further out by the ratio of t to normal quantiles and by √(n/(n−1)), without which a percentile
    interval is too short (for normal values it covers P(|t₁₉| < 1.96 √(19/20)) = 92.9 % at n = 20). It draws from a
    fixed seed: same values, same ends.

    Notes
    -----
    Student t is exact for normal values. Cost: 10,000 n random numbers from 20 values on.
    """
    from scipy import stats

    n = len(values)
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    mean = float(values.mean())
    if n < BOOTSTRAP_FROM:
        half = t * float(values.std(ddof=1)) / math.sqrt(n)
        return mean - half, mean + half
    generator = np.random.default_rng(0)
    resampled = values[generator.integers(0, n, size=(_RESAMPLES, n))].mean(axis=1)
    tail = float(stats.norm.cdf(-t * math.sqrt(n / (n - 1))))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def few_seeds(seeds: int) -> str:
    """Say that so many seeds are too few.

    >>> few_seeds(1)
    '1 seed decides nothing; at least 3 do'
    """
    return f"{seeds} {'seed decides' if seeds == 1 else 'seeds decide'} nothing; at least {FEWEST_SEEDS} do"


def _by_seed(values: Mapping[int, Any] | pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series(values, dtype=object)


def _decide(right: bool, wrong: bool) -> bool | None:
    return True if right else False if wrong else None


def _threshold(name: str, above: float | None, below: float | None, within: float | None) -> tuple[Side, float]:
    given: list[tuple[Side, float]] = []
    if above is not None:
        given.append(("above", float(above)))
    if below is not None:
        given.append(("below", float(below)))
    if within is not None:
        given.append(("within", float(within)))
    if len(given) != 1 or not math.isfinite(given[0][1]) or (given[0][0] == "within" and given[0][1] < 0):
        raise UsageError(
            f"a criterion has exactly one finite threshold, not {dict(given) or 'none'}",
            where=name,
            todo="Give above=, below=, or within= (a distance of at least 0 from target=).",
        )
    return given[0]
