"""A table of a record as text cells, and the rows of it that tell the most."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepscope.core import SEVERITIES
from deepscope.report._numbers import NONE, in_si, number, number_and_error
from deepscope.report._record import Record

#: A page shows this many rows of a table at once.
SLICE = 200

#: Headers that a column's own name would not make clear.
_HEADERS = {
    "alpha": "tail exponent α",
    "ks_distance": "KS distance",
    "x_min": "tail begins at λ",
    "n_tail": "eigenvalues in tail",
    "fit_p_value": "p of the power law",
    "best_alternative": "likeliest other law",
    "alternative_ratio": "its likelihood ratio (below 0: likelier)",
    "alternative_p_value": "p of that ratio",
    "alpha_moment": "α by moments",
    "null_alpha_low": "α of noise, from",
    "null_alpha_high": "α of noise, to",
    "spike_p_value": "p of the largest spike",
    "mp_soft_rank": "λ₊ / λ_max",
    "n_traps": "spikes left by shuffling",
    "shuffled_alpha": "α when shuffled",
    "alpha_weighted": "weighted α (α log₁₀ λ_max)",
    "log_alpha_norm": "log α-norm",
    "n_unit_determinant": "eigenvalues of unit product",
    "mp_lower": "Marchenko–Pastur edge λ₋",
    "mp_upper": "Marchenko–Pastur edge λ₊",
    "n_spikes": "spikes above the edge",
    "cols": "columns",
    "count": "values",
    "bytes": "bytes (B)",
    "nonfinite": "non-finite values",
    "rms": "RMS",
    "init_ratio": "RMS / default initialisation",
    "n_matrices": "matrices",
    "relative_change": "relative change (‖b − a‖ / ‖a‖)",
    "cosine": "cosine of a and b",
    "left_angle": "angle of left directions (°)",
    "right_angle": "angle of right directions (°)",
    "n_directions": "leading directions",
    "angle_status": "status of the angles",
    "sharpness": "sharpness λ_max",
    "sharpness_residual": "its residual ‖Hv − λv‖",
    "kernel_drift": "kernel drift (1 − alignment)",
    "weight_norm": "weight norm ‖θ‖",
    "distance_from_start": "distance from the start ‖θ − θ₀‖",
}
_ENDINGS = {"_seconds": " (s)", "_bytes": " (B)"}
_SIDES = {"_a": ", a", "_b": ", b", "_change": ", b − a", "_first": ", first", "_last": ", last"}


@dataclass(frozen=True)
class Column:
    """One column: its header, whether its cells are numbers, and the cells as text."""

    key: str
    header: str
    numeric: bool
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table, and which of its rows to show where not all can be (in the table's own order)."""

    columns: tuple[Column, ...]
    size: int
    telling: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether the telling rows are all there are."""
        return len(self.telling) == self.size


def table(rows: Sequence[Record], findings: Iterable[Record] = (), limit: int = SLICE) -> Table:
    """Build a table of a record's rows.

    A value and its interval (``x_low``, ``x_high``), or its standard error (``x_stderr``), share a column, the interval
    where it was measured; so do they on both sides of a comparison (``x_a``, ``x_stderr_a``), where the change of a
    standard error is not shown.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if "name" in keys:
        keys.insert(0, keys.pop(keys.index("name")))
    beside = {key: [found for found in _beside(key) if set(found) <= set(keys)] for key in keys}
    joined = {each for choices in beside.values() for found in choices for each in found}
    measured = {key for row in rows for key, value in row.items() if value is not None}
    columns = tuple(
        _column(key, rows, next((found for found in beside[key] if set(found) <= measured), []))
        for key in keys
        if key not in joined
    )
    return Table(columns, len(rows), _telling(rows, findings, limit))


def header(key: str) -> str:
    """Return the header of a column: words, and the unit where there is one.

    >>> header("gradient_norm"), header("alpha_a"), header("wall_seconds")
    ('gradient norm', 'tail exponent α, a', 'wall (s)')
    """
    if key in _HEADERS:
        return _HEADERS[key]
    quantity, side = _split(key)
    if side:
        return header(quantity) + _SIDES[side]
    for ending, unit in _ENDINGS.items():
        if key.endswith(ending):
            return key.removesuffix(ending).replace("_", " ") + unit
    return key.replace("_", " ")


def _split(key: str) -> tuple[str, str]:
    """Separate a comparison's column into its quantity and its side, which other columns have none of."""
    side = next((each for each in _SIDES if key.endswith(each) and len(key) > len(each)), "")
    return key.removesuffix(side), side


def _beside(key: str) -> list[list[str]]:
    """Return the columns that share one with ``key``: both ends of its interval, or its standard error."""
    quantity, side = _split(key)
    return [[f"{quantity}{end}{side}" for end in ends] for ends in (("_low", "_high"), ("_stderr",))]


def _column(key: str, rows: Sequence[Record], beside: Sequence[str]) -> Column:
    values = [row.get(key) for row in rows]
    numeric = all(value is None or _is_number(value) for value in values) and any(value is not None for value in values)
    words = header(key)
    if numeric and beside and not key.endswith("_change"):
        write = number_and_error if len(beside) == 1 else _with_interval
        cells = [write(value, *map(row.get, beside)) for value, row in zip(values, rows, strict=True)]
        words += " ±\u00a0s.e." if len(beside) == 1 else " [95 % interval]"
    elif _is_bytes(key):
        cells = [in_si(value, "B") if _is_number(value) else cell(value) for value in values]
        words = words.replace(" (B)", "")
    else:
        cells = [cell(value) for value in values]
    return Column(key, words, numeric, tuple(cells))


def _is_bytes(key: str) -> bool:
    return _split(key)[0].split("_")[-1] == "bytes"


def cell(value: Any) -> str:
    """Write one value.

    >>> cell([64, 3, 7, 7]), cell(True), cell(None), cell(0.25)
    ('64 × 3 × 7 × 7', 'yes', '–', '0.25')
    """
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        return number(value)
    if isinstance(value, (list, tuple)):
        sizes = all(isinstance(item, int) for item in value)
        return (" × " if sizes else ", ").join(str(item) if sizes else cell(item) for item in value) or NONE
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {cell(item)}" for name, item in value.items()) or NONE
    return str(value)


def _with_interval(value: Any, low: Any, high: Any) -> str:
    return number(value) if low is None or high is None else f"{number(value)} [{number(low)}, {number(high)}]"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _telling(rows: Sequence[Record], findings: Iterable[Record], limit: int) -> tuple[int, ...]:
    """Return the rows that findings name, worst first, then those with the most unusual values; at most ``limit``."""
    if len(rows) <= limit:
        return tuple(range(len(rows)))
    blamed: dict[str, int] = {}
    for finding in findings:
        rank = SEVERITIES.index(finding["severity"])
        blamed[finding["where"]] = min(rank, blamed.get(finding["where"], rank))
    oddness = _oddness(rows)

    def gravity(index: int) -> tuple[int, float]:
        name = str(rows[index].get("name", ""))
        return min(blamed.get(name, len(SEVERITIES)), blamed.get(name.rpartition(".")[0], len(SEVERITIES))), -oddness[
            index
        ]

    return tuple(sorted(sorted(range(len(rows)), key=gravity)[:limit]))


def _oddness(rows: Sequence[Record]) -> list[float]:
    """Return how far each row's most unusual number lies from the column's median, in median deviations."""
    worst = [0.0] * len(rows)
    for key in {key for row in rows for key, value in row.items() if _is_number(value)}:
        values = [(index, row[key]) for index, row in enumerate(rows) if _is_number(row.get(key))]
        middle = statistics.median(value for _, value in values)
        spread = statistics.median(abs(value - middle) for _, value in values)
        if spread > 0:
            for index, value in values:
                worst[index] = max(worst[index], abs(value - middle) / spread)
    return worst
