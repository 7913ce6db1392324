"""What the perceptron is judged by: its bound, what it cannot compute, its vote, and the controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Criterion, per_seed
from deepscope.studies.foundations._boolean_functions import THRESHOLD_FUNCTIONS
from deepscope.studies.foundations._digit_pairs import share_flipped
from deepscope.studies.foundations._separation import ROUNDING, Floats

if TYPE_CHECKING:
    import pandas as pd

#: Rounding leaves less between the two proofs of γ, in units of γ.
GAP = 1e-8


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the bound, what a threshold unit cannot compute, the vote, and the controls."""
    return [*_bound(trials), *_orders(trials), *_votes(trials), *_controls(trials)]


def _bound(trials: pd.DataFrame) -> list[Criterion]:
    return [
        *(
            Criterion.exact(
                f"label times w·sample at the end of a run, least, {sets} (an integer; above 0: all are right)",
                _column(trials, "least", part, _all),
                above=1.0,
                published="theory: above 0",
            )
            for part, sets in (("separable", "random separable sets"), ("orthogonal", "orthogonal points"))
        ),
        Criterion.exact(
            "updates over (R/γ)², largest of the random separable sets",
            _column(trials, "updates", "separable", _ratios, "bound"),
            below=1.0,
            published="theory: at most 1",
        ),
        Criterion.exact(
            "updates over (R/γ)², orthogonal points",
            _column(trials, "updates", "orthogonal", _ratios, "bound"),
            within=ROUNDING,
            target=1.0,
            published="theory: 1, the bound is attained",
        ),
        Criterion.exact(
            "weights w after k updates: |w|² over k R², largest",
            _both(trials, "growth"),
            below=1.0,
            published="theory: at most 1",
        ),
        Criterion.exact(
            "weights w after k updates: w·u over k γ, u the unit normal of the best hyperplane, smallest",
            _both(trials, "advance"),
            above=1 - GAP,
            published="theory: at least 1",
        ),
        Criterion.exact(
            "relative difference of the two proofs of the margin γ, largest",
            _column(trials, "gap", "separable", _all),
            below=GAP,
            published="theory: 0",
        ),
    ]


def _orders(trials: pd.DataFrame) -> list[Criterion]:
    return [
        *(
            Criterion.exact(
                f"threshold functions among the Boolean functions of {bits} {'bit' if bits == 1 else 'bits'}",
                _column(trials, "threshold_functions", "boolean", _at(bits)),
                within=0.0,
                target=count,
                published=str(count),
            )
            for bits, count in enumerate(THRESHOLD_FUNCTIONS, start=1)
        ),
        Criterion.exact(
            "parity of n bits: least degree of a polynomial with its sign, minus n",
            _column(trials, "parity_order", "boolean", lambda orders: orders - np.arange(1, len(orders) + 1)),
            within=0.0,
            published="theory: 0, at every n",
        ),
        Criterion.exact(
            "sign of a random polynomial of degree 2: least degree, largest",
            _column(trials, "quadratic_order", "boolean", _all),
            below=2.0,
            published="theory: at most 2",
        ),
    ]


def _votes(trials: pd.DataFrame) -> list[Criterion]:
    last, voted, averaged = (_column(trials, name, "flipped", _final) for name in ("last", "voted", "averaged"))
    share = share_flipped(trials)
    digits = f"digits, {100 * share:g} % of the labels wrong"
    return [
        Criterion.exact(
            f"{digits}: 1 where a hyperplane separates a pair so labelled, 0 where none does",
            _column(trials, "separable", "flipped", _all),
            within=0.0,
        ),
        Criterion.effect(f"{digits}: test error of the last weights minus that of the vote", last - voted, above=0.0),
        Criterion.effect(f"{digits}: test error of the vote", voted, below=share),
        Criterion.effect(
            f"{digits}: test error of the averaged weights minus that of the vote", averaged - voted, within=0.01
        ),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    last, voted = (_column(trials, name, "right", _final) for name in ("last", "voted"))
    return [
        Criterion.exact(
            "sets that no hyperplane separates: 1 where the algorithm stops, 0 where it repeats itself for ever",
            _column(trials, "stops", "inseparable", _all),
            within=0.0,
            published="theory: 0",
            control=True,
        ),
        Criterion.exact(
            "XOR: largest margin that a threshold unit could have",
            _column(trials, "xor_margin", "boolean", _all),
            below=ROUNDING,
            published="theory: 0",
            control=True,
        ),
        Criterion.exact(
            "majority of n bits: least degree of a polynomial with its sign",
            _column(trials, "majority_order", "boolean", _all),
            within=0.0,
            target=1.0,
            published="theory: 1, at every n",
            control=True,
        ),
        Criterion.exact(
            "parity of the first k of n bits: least degree of a polynomial with its sign, minus k",
            _column(trials, "partial_order", "boolean", lambda orders: orders - np.arange(len(orders))),
            within=0.0,
            published="theory: 0, at every k",
            control=True,
        ),
        Criterion.exact(
            "digits, right labels: 1 where a hyperplane separates a pair, 0 where none does",
            _column(trials, "separable", "right", _all),
            within=0.0,
            target=1.0,
            control=True,
        ),
        Criterion.effect(
            "digits, right labels: test error of the last weights minus that of the vote",
            last - voted,
            within=0.01,
            control=True,
        ),
    ]


def _column(trials: pd.DataFrame, name: str, part: str, summary: Callable[..., Any], *others: str) -> pd.Series[Any]:
    """Reduce what one part returned to ``summary`` of it, by seed."""
    import pandas as pd

    columns = [per_seed(trials, each, part=part) for each in (name, *others)]
    return pd.Series(
        {seed: summary(*row) for seed, *row in zip(columns[0].index, *columns, strict=True)}, name=name, dtype=object
    )


def _both(trials: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Return what was found of the separable and of the orthogonal sets, by seed; with NaN where one is missing."""
    parts = [_column(trials, name, part, np.ravel) for part in ("separable", "orthogonal")]
    return parts[0].combine(parts[1], lambda *each: np.concatenate([np.atleast_1d(one) for one in each]))


def _all(found: Any) -> Any:
    return found


def _final(errors: Floats) -> float:
    return float(errors[-1])


def _ratios(updates: Floats, bounds: Floats) -> Floats:
    return updates / bounds[:, None]


def _at(bits: int) -> Callable[[Floats], float]:
    return lambda counts: float(counts[bits - 1]) if bits <= len(counts) else np.nan
