"""What a path between two networks means, in plain words and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepscope import figures
from deepscope.core import Finding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._barrier import Barrier
    from deepscope.instruments._mode_connectivity import ModeConnectivity

Floats = NDArray[np.float64]

#: Above this share of the mean loss of both networks a barrier that chance does not explain parts them.
_APART = 0.02


def connectivity_findings(seen: ModeConnectivity) -> tuple[Finding, ...]:
    """Say whether the networks lie in one basin, as far as the path shows."""
    found = seen.barrier
    way = "on the straight line" if seen.kind == "line" else "on the curve"
    if found.height is None or found.above_chord is None:
        return (Finding("warning", "mode_connectivity", "", f"No barrier can be told {way}.", found.status),)
    ends = (float(seen.losses[0]), float(seen.losses[-1]))
    if found.low is None:
        message = f"The loss rises by {found.height:.3g} {way}."
    elif _parts(found, ends):
        message = f"The two networks are parted by a barrier {way}: the loss rises by {found.height:.3g}."
    else:
        message = f"The two networks are connected {way}: there is no barrier."
    evidence = (
        f"barrier {found.height:.4g}{_interval(found.low, found.high)} above the mean of both losses "
        f"({ends[0]:.4g} and {ends[1]:.4g}), {found.above_chord:.4g}"
        f"{_interval(found.above_chord_low, found.above_chord_high)} above the straight line between them"
    )
    if seen.straight_barrier is not None and seen.straight_barrier.height is not None:
        evidence += f"; {seen.straight_barrier.height:.4g} on the straight line"
    action = ""
    if seen.kind == "line" and found.low is not None and _parts(found, ends):
        action = "Align the units (align=True), or look for a curve around it (find_curve)."
    return (Finding("note", "mode_connectivity", "", message, evidence, "frankle2020linear", action),)


def _parts(found: Barrier, ends: tuple[float, float]) -> bool:
    above, low = found.above_chord, found.above_chord_low
    return above is not None and low is not None and low > 0 and above > _APART * abs(sum(ends)) / 2


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.4g}, {high:.4g}]"


def plot_connectivity(seen: ModeConnectivity) -> Figure:
    """Draw the loss along the path, the straight line beside a curve, and the barrier's interval."""
    figure, ax = figures.new(7.2, 3.0)
    with figures.style():
        ax.set_xlabel("t, from the network (0) to the other (1)")
        ax.set_ylabel("loss")
        name = {"line": "straight line", "bezier": "Bézier curve", "chain": "chain"}[seen.kind]
        if seen.straight_barrier is not None:
            _path(ax, seen, seen.straight_losses, "straight line", figures.COLORS.second, seen.straight_barrier)
        _path(ax, seen, seen.losses, name, figures.COLORS.accent, seen.barrier)
        ax.margins(y=0.1)
    return figure


def _path(ax: Axes, seen: ModeConnectivity, losses: Floats, name: str, color: str, found: Barrier) -> None:
    ax.plot(seen.t, losses, color=color)
    if found.height is None or found.at is None:
        return
    foot = float(losses[0] + losses[-1]) / 2
    low, high = (foot + each if each is not None else np.nan for each in (found.low, found.high))
    figures.interval(ax, found.at, foot + found.height, low, high, color=color)
    # A path without a barrier is highest at an end, where all paths meet.
    place = int(np.argmax(losses)) if 0 < found.at < 1 else len(losses) // 2
    figures.direct_label(ax, seen.t[place], float(losses[place]) + 0.04 * np.ptp(ax.get_ylim()), name, color)
