"""The reading of ``symmetry``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from deepscope.core import Finding, Reading, Track, UsageError, nearest
from deepscope.instruments._symmetry_findings import symmetry_findings
from deepscope.instruments._symmetry_scores import SymmetryError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF_ERROR = ("", "_stderr", "_baseline", "_baseline_low", "_baseline_high")


@dataclass(frozen=True, kw_only=True)
class LayerSymmetry:
    """How far one layer is from the symmetries.

    Attributes
    ----------
    name, kind
        The layer, or where a layer without parameters is used again ``name#2``, and its class.
    module
        Its name as ``named_modules`` has it.
    equivariance
        How far its output is from following the transformations, the mean over those that act on it.
    invariance
        How far its output is from staying as it is.
    """

    name: str
    kind: str
    module: str
    equivariance: SymmetryError
    invariance: SymmetryError


@dataclass(frozen=True, kw_only=True)
class FamilySymmetry:
    """How far the network is from one family of transformations.

    Attributes
    ----------
    name
        ``"rotations"``, or the name of a user's transformation.
    kind
        Of the network's output: ``"equivariance"`` where it is known how a symmetric network's would follow, or
        ``"invariance"``.
    output
        How far the network's output is from it.
    invariance
        How far the network's output is from staying as it is; the same as ``output`` where that is invariance.
    members, member_errors
        The transformations that were applied, and the error of the network's output under each (None where there is
        none).
    layers
        Each layer's errors under this family alone, in forward order.
    own_constants
        The output's error of random weights with this network's own values, in random order, of what begins constant
        (biases of 0, running means): where it is above rounding, the symmetry is one of where training begins. None
        unless random weights are symmetric to float accuracy and this network is not.
    interpolation
        What interpolated rotations lose themselves: the error of the inputs after a turn there and back, in the same
        units; None where nothing is interpolated.
    status
        ``"ok"``, or what was not applied and why.
    """

    name: str
    kind: str
    output: SymmetryError
    invariance: SymmetryError
    members: tuple[str, ...]
    member_errors: tuple[float | None, ...]
    layers: tuple[LayerSymmetry, ...]
    own_constants: float | None
    interpolation: float | None
    status: str

    @property
    def begins_symmetric(self) -> bool:
        """Whether the symmetry is one of where training begins, and ends with what begins constant."""
        known, rounding = self.own_constants, self.output.rounding
        return known is not None and rounding is not None and known > rounding


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Symmetry(Reading):
    """What ``symmetry`` saw.

    Attributes
    ----------
    inputs
        What the inputs are: ``"images"``, ``"sequences"``, ``"tokens"`` or ``"vectors"``.
    families
        One entry per family of transformations.
    layers
        One entry per layer, over all families, in forward order.
    n_samples, n_networks
        Samples behind the errors, and networks with random weights behind the baseline.
    shuffled
        Parameters whose initialisation is not known: their entries were put into a random order for the baseline.
    inputs_differ
        Whether the samples are not all the same.
    baseline_status
        ``"ok"``, or why there is no baseline.
    """

    inputs: str
    families: tuple[FamilySymmetry, ...]
    layers: tuple[LayerSymmetry, ...]
    n_samples: int
    n_networks: int
    shuffled: tuple[str, ...]
    inputs_differ: bool
    baseline_status: str

    @property
    def error(self) -> float | None:
        """How far the network's output is from the symmetry, the mean over families: 0 symmetric, 1 not at all.

        Equivariance where it is known how the output follows, or else invariance. None where no family has one.
        """
        return _mean(family.output.value for family in self.families)

    @property
    def baseline(self) -> float | None:
        """The same for the same network with random weights, the mean over several; None without any."""
        return _mean(family.output.baseline for family in self.families if family.output.value is not None)

    def of(self, family: str) -> FamilySymmetry:
        """Return one family by its name.

        Raises
        ------
        UsageError
            It was not measured.
        """
        found = {each.name: each for each in self.families}
        if family not in found:
            raise UsageError("this family was not measured", where=family, todo=nearest(family, found))
        return found[family]

    def table(self) -> pd.DataFrame:
        """One row per layer: its equivariance and invariance errors, each with standard error and baseline."""
        columns = ["name", "kind", *(f"{what}{of}" for what in ("equivariance", "invariance") for of in _OF_ERROR)]
        frame = pd.DataFrame([_row(each) for each in self.layers], columns=[*columns, "status"])
        return frame.astype(dict.fromkeys(columns[2:], float))

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first."""
        return symmetry_findings(self)

    def plot(self) -> Figure:
        """Draw each family's error by layer, beside that of random weights."""
        from deepscope.instruments._symmetry_plot import plot_symmetry

        return plot_symmetry(self)

    def glance(self) -> tuple[Track, ...]:
        """Equivariance and invariance errors by layer."""
        return tuple(
            Track(f"{what} error", values, _by_module(self.layers, what, 1), _by_module(self.layers, what, 2))
            for what in ("equivariance", "invariance")
            if (values := _by_module(self.layers, what, 0))
        )

    def summary(self) -> str:
        """One sentence with the main numbers."""
        words = [
            f"{family.name} {family.kind} error {family.output.value:.3g}"
            + (f" (random weights {family.output.baseline:.3g})" if family.output.baseline is not None else "")
            for family in self.families
            if family.output.value is not None
        ]
        return f"{self.n_samples} samples, {self.inputs}; {'; '.join(words) or 'no error of the output'}."


def _row(layer: LayerSymmetry) -> dict[str, Any]:
    row: dict[str, Any] = {"name": layer.name, "kind": layer.kind}
    for what, error in (("equivariance", layer.equivariance), ("invariance", layer.invariance)):
        values = (error.value, error.stderr, error.baseline, error.baseline_low, error.baseline_high)
        row |= {f"{what}{of}": value for of, value in zip(_OF_ERROR, values, strict=True)}
    said = {layer.invariance.status, layer.equivariance.status} - {"ok"}
    return {**row, "status": "; ".join(sorted(said)) or "ok"}


def _by_module(layers: tuple[LayerSymmetry, ...], what: str, end: int) -> dict[str, float]:
    """Return values, or the ends of their intervals, by layer; of one that is used again, those of its first use."""
    found: dict[str, float] = {}
    for layer in layers:
        error: SymmetryError = getattr(layer, what)
        if error.value is not None and error.interval is not None:
            found.setdefault(layer.module, (error.value, *error.interval)[end])
    return found


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
