"""The reading of ``health``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from deepscope.core import Finding, Reading, Track
from deepscope.instruments._health_findings import health_findings
from deepscope.instruments._health_profile import DepthProfile
from deepscope.instruments._health_row import LayerHealth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    "name", "kind", "units", "activation_mean", "activation_std", "dead_fraction", "saturated_fraction",
    "constant_fraction", "nonfinite_fraction", "gradient_norm", "gradient_norm_stderr", "gradient_to_weight", "status",
)  # fmt: skip

_UNKNOWN = DepthProfile("no gradient", "cannot say")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Health(Reading):
    """What ``health`` saw.

    Attributes
    ----------
    layers
        One entry per layer output, in forward order.
    n_samples, n_batches
        What was run.
    loss
        Mean loss over all terms, also where it has no gradient; None without a loss, or where a batch has none.
    inputs_vary
        Whether the samples' inputs differ at all: if not, nothing can be said about constant outputs.
    output_site, output_constant
        The layer from which the network's output comes, and whether that output is the same for all the data (None
        where it cannot be said).
    partial, ran
        Whether only a part of the network was chosen, and the names of all layers that ran, those outside the part
        included, in forward order.
    profile
        How the gradient with respect to the layers' outputs changes with depth; the verdict rests on it.
    weight_profile
        The same for ``gradient_norm``.
    """

    layers: tuple[LayerHealth, ...] = ()
    n_samples: int = 0
    n_batches: int = 0
    loss: float | None = None
    inputs_vary: bool = False
    output_site: str = ""
    output_constant: bool | None = None
    partial: bool = False
    ran: tuple[str, ...] = ()
    profile: DepthProfile = field(default=_UNKNOWN)
    weight_profile: DepthProfile = field(default=_UNKNOWN)

    def table(self) -> pd.DataFrame:
        """One row per layer output; a number that does not exist is missing."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=list(_COLUMNS))
        numbers = [column for column in _COLUMNS if column not in ("name", "kind", "status")]
        # A column of None alone would otherwise not count as numeric.
        return frame.astype({name: float for name in numbers if frame[name].dtype == object})

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first; what follows from another fault is told once, with its cause."""
        return health_findings(self)

    def plot(self) -> Figure:
        """Draw gradients, and dead and saturated units, by layer."""
        from deepscope.instruments._health_plot import plot_health

        return plot_health(self.layers, self.weight_profile, self.profile)

    def glance(self) -> tuple[Track, ...]:
        """Dead units, gradient norm with its interval, spread of the activations."""
        ends: dict[str, tuple[float, float]] = {}
        for each in self.layers:
            if each.gradient_norm and each.gradient_norm_stderr is not None:
                half = 1.96 * each.gradient_norm_stderr
                # A logarithmic axis has no zero: an interval that reaches it is cut at a tenth.
                low = max(each.gradient_norm - half, each.gradient_norm / 10)
                ends[each.name] = (low, each.gradient_norm + half)
        tracks = (
            Track("dead units (share)", self._column("dead_fraction")),
            Track(
                "gradient norm",
                self._column("gradient_norm", positive=True),
                {name: low for name, (low, _) in ends.items()},
                {name: high for name, (_, high) in ends.items()},
                scale="log",
            ),
            Track("activation spread", self._column("activation_std", positive=True), scale="log"),
        )
        return tuple(track for track in tracks if track.values)

    def summary(self) -> str:
        """One sentence with the main numbers."""
        run = f"{_count(len(self.layers), 'layer output')} over {_count(self.n_samples, 'sample')}"
        loss = "" if self.loss is None else f", mean loss {self.loss:.4g}"
        return f"{run}{loss}; gradients over depth: {_in_words(self.profile)}."

    def _column(self, name: str, *, positive: bool = False) -> Mapping[str, float]:
        values = {each.name: getattr(each, name) for each in self.layers}
        return {key: value for key, value in values.items() if value is not None and (value > 0 or not positive)}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _in_words(profile: DepthProfile) -> str:
    if profile.rate is None or profile.rate_low is None or profile.rate_high is None:
        return f"{profile.verdict} ({profile.status})"
    low, high = (10**each if abs(each) < 300 else math.inf for each in (-profile.rate_high, -profile.rate_low))
    return f"{profile.verdict}, × {10**-profile.rate:.3g} per layer toward the input ({low:.3g} to {high:.3g})"
