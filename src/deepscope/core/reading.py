"""Readings: the frozen result of one instrument."""

from __future__ import annotations

import html
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from deepscope.core.codec import pack, unpack
from deepscope.core.cost import Cost
from deepscope.core.finding import Finding
from deepscope.core.glance import Track
from deepscope.core.ledger import LeftOut

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


#: Rows of a table that a terminal shows; the table itself has them all.
_SHOWN = 40


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Reading(ABC):
    """What one instrument saw in one subject: values with their uncertainty, and what they cost.

    An instrument's reading is a frozen dataclass with ``eq=False, repr=False``: equality is defined here, over arrays
    too, and leaves the cost out; so is how it shows itself. A number that could not be had is None beside a status that
    says why, never NaN.

    Attributes
    ----------
    subject
        The name of what was measured.
    left_out
        Everything that was not measured, with the reason.
    cost
        Time and passes; not part of equality.
    """

    subject: str
    left_out: tuple[LeftOut, ...] = ()
    cost: Cost = field(default_factory=Cost, compare=False)

    @abstractmethod
    def table(self) -> pd.DataFrame:
        """One row per layer or tensor; the column ``name`` first."""

    @abstractmethod
    def findings(self) -> tuple[Finding, ...]:
        """Say what the values mean, worst first."""

    @abstractmethod
    def plot(self) -> Figure:
        """Draw the values."""

    def glance(self) -> tuple[Track, ...]:
        """Rows for the network at a glance."""
        return ()

    def summary(self) -> str:
        """One sentence with the main numbers."""
        return f"{len(self.table())} rows, {len(self.left_out)} left out."

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reading) or type(self) is not type(other):
            return NotImplemented
        (mine, my_arrays), (theirs, their_arrays) = pack(self), pack(other)
        del mine["cost"], theirs["cost"]
        return (
            mine == theirs
            and my_arrays.keys() == their_arrays.keys()
            and all(_same(array, their_arrays[key]) for key, array in my_arrays.items())
        )

    # Equal readings hold arrays, so there is no cheap hash that agrees with equality.
    __hash__ = None  # type: ignore[assignment]

    def save(self, folder: Path) -> None:
        """Write ``reading.json`` and, where there are arrays, ``arrays.npz`` into an existing folder."""
        record, arrays = pack(self)
        (folder / "reading.json").write_text(json.dumps(record, allow_nan=False), encoding="utf-8")
        if arrays:
            # The keys hold slashes and layer names; as member names of the archive they would become paths.
            names = {f"a{index}": key for index, key in enumerate(arrays)}
            index = np.array(json.dumps(names))
            np.savez_compressed(folder / "arrays.npz", index=index, **{n: arrays[k] for n, k in names.items()})  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; equal to the original."""
        record = json.loads((folder / "reading.json").read_text(encoding="utf-8"))
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        if (folder / "arrays.npz").exists():
            with np.load(folder / "arrays.npz", allow_pickle=False) as archive:
                names: dict[str, str] = json.loads(str(archive["index"]))
                arrays = {key: archive[name] for name, key in names.items()}
        return unpack(cls, record, arrays)

    def __str__(self) -> str:
        table = self.table().to_string(index=False, max_rows=_SHOWN)
        return f"{type(self).__name__} of {self.subject}: {self.summary()}\n{table}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        found = "".join(f"<li><b>{f.severity}</b> {html.escape(f.message)}</li>" for f in self.findings())
        body: str = self.table().to_html(index=False, na_rep="–", float_format=lambda value: f"{value:.4g}")
        head = f"<b>{type(self).__name__}</b> of {html.escape(self.subject)}: {html.escape(self.summary())}"
        return f"<p>{head}</p><ul>{found}</ul>{body}"


def _same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
