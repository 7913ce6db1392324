"""compare: two networks side by side, by name."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deepscope.core import DeepscopeError, Finding, Instrument, LeftOut, derive_seed, without_numbers
from deepscope.figures import to_svg
from deepscope.instruments import REPRESENTATION, SPECTRUM, Representation, Spectrum, representation
from deepscope.lab._difference import by_name, difference, why_no_difference
from deepscope.lab._examination import Examination, plain, plain_rows
from deepscope.lab._examine import Progress, examine
from deepscope.lab._machine import versions
from deepscope.lab._report_file import as_text, write_report
from deepscope.lab._target import subject_of
from deepscope.lab._turned import NOT_TURNED, Turning
from deepscope.report import comparison_page
from deepscope.subject import Subject, Weight

SCHEMA = "deepscope.comparison/1"
_COLUMNS = ("name", "shape", "relative_change", "cosine", *NOT_TURNED, "angle_status", "status")
#: Columns of text that can change as a network is trained.
_SAID = ("status", "phase")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What ``compare`` returns.

    Attributes
    ----------
    a, b
        The two examinations.
    weights
        One row per tensor that both have: name, shape, relative_change ‖b − a‖/‖a‖, cosine; where ``spectrum`` was run:
        spikes_born (spikes of b less those of a), and left_angle and right_angle, the largest principal angle in
        degrees between the spans of the n_directions leading left, or right, singular vectors of a and b; angle_status
        and status, why a number is missing. n_directions is the number of spikes of b, from 1 to 10.
    tables
        Instrument name to its table aligned by name: for each numeric column ``x``: ``x_a``, ``x_b``, ``x_change``.
    left_out
        Tensors and rows that only one of them has.
    representations
        How alike the layers of both represent the data, those of a along the rows; None where ``representation`` was
        not run on both.
    """

    a: Examination
    b: Examination
    weights: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    left_out: tuple[LeftOut, ...]
    representations: Representation | None = None
    command: str = ""

    @property
    def findings_gone(self) -> tuple[Finding, ...]:
        """Findings of ``a`` that ``b`` does not have, by severity, instrument, place and what they say."""
        return _missing_from(self.b.findings, self.a.findings)

    @property
    def findings_new(self) -> tuple[Finding, ...]:
        """Findings of ``b`` that ``a`` did not have."""
        return _missing_from(self.a.findings, self.b.findings)

    def _not_run(self) -> list[LeftOut]:
        sides = (("a", self.a), ("b", self.b))
        return [LeftOut(e.name, f"not run on {side}: {e.reason}") for side, each in sides for e in each.not_run]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON: non-finite numbers are null."""
        return {
            "schema": SCHEMA,
            "a": dict(self.a.subject),
            "b": dict(self.b.subject),
            "weights": plain_rows(self.weights.to_dict("records")),
            "tables": {name: plain_rows(table.to_dict("records")) for name, table in self.tables.items()},
            "representations": _representations(self.representations),
            "left_out": [entry._asdict() for entry in (*self.left_out, *self._not_run())],
            "failed": sorted({*self.a.failed, *self.b.failed}),
            "findings_gone": [asdict(finding) for finding in self.findings_gone],
            "findings_new": [asdict(finding) for finding in self.findings_new],
            "command": self.command,
            "versions": versions(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the comparison as a page (``.html``) or as data (``.json``), whole or not at all."""
        figure = to_svg(self.representations.plot(), prefix="representations") if self.representations else ""
        return write_report(path, self.to_dict(), partial(comparison_page, figure=figure))

    def __str__(self) -> str:
        from deepscope.report import comparison_text

        return as_text(comparison_text, self.to_dict())


def compare(
    a: Any,
    b: Any,
    *,
    data: Any = None,
    loss: Any = None,
    instruments: Iterable[str | Instrument] | None = None,
    budget: str = "standard",
    seed: int = 0,
    progress: Progress | None = None,
    command: str = "",
) -> Comparison:
    """Examine two networks and align what was seen, by name.

    Parameters
    ----------
    a, b
        As for ``examine``.
    data, loss, instruments, budget, seed, progress, command
        As for ``examine``, for both.

    Returns
    -------
    Comparison
        Tables side by side with their changes, and the change in weights per tensor: where a is the network at its
        initialisation, ``relative_change`` is the distance from it, in units of the norm that the tensor had then.

    Notes
    -----
    Source of the distance from initialisation: ``nagarajan2019generalization``.

    Examples
    --------
    >>> import torch
    >>> one = torch.nn.Linear(3, 2)
    >>> compare(one, one, instruments=["anatomy"]).weights["relative_change"].tolist()
    [0.0, 0.0]
    """
    one, other = (subject_of(each, data=data, loss=loss) for each in (a, b))
    chosen = list(instruments) if instruments is not None else None
    first, second = (
        examine(each, instruments=chosen, budget=budget, seed=seed, progress=progress) for each in (one, other)
    )
    weights, left_out = _weights(one, other, _turning(first, second))
    tables = {
        name: _aligned(first.readings[name].table(), second.readings[name].table())
        for name in first.readings
        if name in second.readings
    }
    alike, why_not = _alike(one, other, first, second)
    return Comparison(first, second, weights, tables, (*left_out, *why_not), alike, command)


def _alike(
    one: Subject, other: Subject, first: Examination, second: Examination
) -> tuple[Representation | None, list[LeftOut]]:
    name = REPRESENTATION.name
    if name not in first.readings or name not in second.readings:
        return None, []
    generator = torch.Generator().manual_seed(derive_seed(first.seed, name))
    effort = REPRESENTATION.effort(first.budget, one)
    try:
        # The second network's data need not be the first one's; both are shown the first one's.
        return representation(one, other, generator=generator, **effort), []
    except DeepscopeError as error:
        return None, [LeftOut("representations", f"not compared: {error.what}")]


def _representations(found: Representation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    matrices = {name: getattr(found, name) for name in ("cka", "cka_stderr", "cka_rbf", "procrustes", "neighbours")}
    return {
        "n_samples": found.n_samples,
        "a_layers": list(found.names),
        "b_layers": list(found.other_layers),
        **{name: plain(matrix.tolist()) for name, matrix in matrices.items()},
        "procrustes_null": found.procrustes_null,
        "counterparts": plain_rows(found.counterparts().to_dict("records")),
    }


def _turning(first: Examination, second: Examination) -> Turning | None:
    before, after = (each.readings.get(SPECTRUM.name) for each in (first, second))
    return Turning(before, after) if isinstance(before, Spectrum) and isinstance(after, Spectrum) else None


def _weights(one: Subject, other: Subject, turning: Turning | None) -> tuple[pd.DataFrame, list[LeftOut]]:
    mine, theirs = by_name(one), by_name(other)
    left_out = [LeftOut(name, f"only in {one.name} (a)") for name in mine if name not in theirs]
    left_out += [LeftOut(name, f"only in {other.name} (b)") for name in theirs if name not in mine]
    rows = [_change(weight, theirs[name], turning) for name, weight in mine.items() if name in theirs]
    return pd.DataFrame(rows, columns=list(_COLUMNS)), left_out


def _change(a: Weight, b: Weight, turning: Turning | None) -> dict[str, Any]:
    row = {"name": a.name, "shape": "×".join(map(str, a.shape)), **NOT_TURNED}
    reason = why_no_difference(a, b)
    if reason:
        return {**row, "status": reason, "angle_status": reason}
    x, y = a.read(), b.read()
    row |= difference(x, y)
    if turning is None:
        return {**row, "angle_status": f"{SPECTRUM.name} was not run"}
    return row | turning.of(a, b, x, y)


def _aligned(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    names = list(dict.fromkeys([*a["name"], *b["name"]]))
    # pandas sorts an outer join by name; the order is the networks' own.
    joined = a.merge(b, on="name", how="outer", suffixes=("_a", "_b")).set_index("name").loc[names].reset_index()
    out: dict[str, Any] = {"name": joined["name"]}
    for column in [each for each in a.columns if each != "name" and each in b.columns]:
        before, after = joined[f"{column}_a"], joined[f"{column}_b"]
        if column in _SAID:
            out |= {f"{column}_a": before, f"{column}_b": after}
        elif _numeric(a[column], b[column]):
            before, after = (pd.to_numeric(side).astype(float) for side in (before, after))
            out |= {f"{column}_a": before, f"{column}_b": after, f"{column}_change": after - before}
    return pd.DataFrame(out)


def _numeric(*columns: pd.Series[Any]) -> bool:
    """Whether the columns hold numbers, at least one of them some."""
    values = [value for column in columns for value in column.dropna()]
    return bool(values) and all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values)


def _missing_from(present: Iterable[Finding], candidates: Iterable[Finding]) -> tuple[Finding, ...]:
    known = {_what_it_says(finding) for finding in present}
    return tuple(finding for finding in candidates if _what_it_says(finding) not in known)


def _what_it_says(finding: Finding) -> tuple[str, ...]:
    return finding.severity, finding.instrument, finding.where, without_numbers(finding.message)
