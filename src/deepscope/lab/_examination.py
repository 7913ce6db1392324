"""Examination: a subject, and what several instruments saw in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from deepscope.core import (
    Cost,
    Finding,
    Instrument,
    LeftOut,
    Reading,
)
from deepscope.lab._report_file import as_text, write_report
from deepscope.lab._tensor_log import TensorLog
from deepscope.report import examination_page, sentence

SCHEMA = "deepscope.examination/1"


@dataclass(frozen=True, eq=False)
class Examination:
    """What ``examine`` returns.

    Attributes
    ----------
    subject
        What was examined: name, kind, path, class, parameters, tensors, bytes, dtypes, device, layers, data, loss.
    readings
        Instrument name to its reading.
    findings
        All findings, worst first, then in the order of the layers.
    not_run
        Instruments that were not run, with the reason.
    failed
        Names of those among ``not_run`` that were started, or asked for, and failed.
    cost, peak_memory_bytes
        What the whole took.
    seed, budget, command
        How to do it again.
    commit
        Git commit of the folder it was done in, ``+`` where files differed; ``""`` outside a repository.
    versions, hardware, date
        With what and when it was done.
    instruments
        The instruments themselves, by name.
    tensor_log
        Where the store keeps what each tensor gave, until the examination itself is stored.
    """

    subject: Mapping[str, Any]
    readings: Mapping[str, Reading]
    findings: tuple[Finding, ...]
    not_run: tuple[LeftOut, ...]
    failed: tuple[str, ...]
    cost: Cost
    peak_memory_bytes: int
    seed: int
    budget: str
    command: str
    commit: str
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    date: str
    instruments: Mapping[str, Instrument] = field(repr=False)
    tensor_log: TensorLog | None = field(default=None, repr=False)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that are problems."""
        return tuple(finding for finding in self.findings if finding.severity == "problem")

    @cached_property
    def figures(self) -> Mapping[str, str]:
        """Instrument name to its figure as SVG."""
        return {name: _draw(name, reading) for name, reading in self.readings.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON: non-finite numbers are null. The schema is named in ``"schema"``."""
        return {
            "schema": SCHEMA,
            "subject": dict(self.subject),
            "readings": {name: self._reading(name) for name in self.readings},
            "findings": [asdict(finding) for finding in self.findings],
            "not_run": [entry._asdict() for entry in self.not_run],
            "failed": list(self.failed),
            "cost": {**asdict(self.cost), "peak_memory_bytes": self.peak_memory_bytes},
            "command": self.command,
            "seed": self.seed,
            "budget": self.budget,
            "commit": self.commit,
            "versions": dict(self.versions),
            "hardware": dict(self.hardware),
            "date": self.date,
        }

    def _reading(self, name: str) -> dict[str, Any]:
        reading, instrument = self.readings[name], self.instruments[name]
        return {
            "title": instrument.title,
            "summary": reading.summary(),
            "table": plain_rows(reading.table().to_dict("records")),
            "left_out": [entry._asdict() for entry in reading.left_out],
            "formula": instrument.formula,
            "how_to_read": instrument.how_to_read,
            "source": instrument.source,
            "glance": [plain(asdict(track)) for track in reading.glance()],
            "cost": asdict(reading.cost),
        }

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the examination as a page (``.html``) or as data (``.json``), whole or not at all.

        Raises
        ------
        UsageError
            The name ends in neither.
        OSError
            The file cannot be written.
        """
        return write_report(path, self.to_dict(), lambda record: examination_page(record, self.figures))

    def __str__(self) -> str:
        from deepscope.report import examination_text

        return as_text(examination_text, self.to_dict())

    def __repr__(self) -> str:
        return f"<Examination: {sentence(self.to_dict())}>"

    def _repr_html_(self) -> str:
        import html

        page = html.escape(examination_page(self.to_dict(), self.figures), quote=True)
        return f'<iframe title="deepscope report" style="width:100%;height:60em;border:0" srcdoc="{page}"></iframe>'


def _draw(name: str, reading: Reading) -> str:
    from deepscope.figures import new, to_svg

    try:
        return to_svg(reading.plot(), prefix=name)
    except Exception as error:
        # A user's own instrument may fail to draw; its numbers, and everyone else's report, are still worth having.
        figure, axes = new(height=0.8)
        axes.set_axis_off()
        axes.text(0, 0.5, f"The figure could not be drawn ({type(error).__name__}: {error})"[:120])
        return to_svg(figure, prefix=name)


def plain_rows(rows: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    """Make table rows JSON can hold."""
    return [{str(key): plain(value) for key, value in row.items()} for row in rows]


def plain(value: Any) -> Any:
    """Make a value JSON can hold: NumPy scalars to numbers, non-finite ones and missing ones to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    # pandas' missing values are of several types, none of which equals itself.
    return None if value != value or str(value) == "<NA>" else str(value)
