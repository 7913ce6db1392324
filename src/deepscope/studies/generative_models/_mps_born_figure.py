"""The picture of what Born machines learn, by the dimension of their bonds, and of the states that they find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Below it gaps are drawn at it: rounding, of no matter and no sign.
_LEAST = 1e-6
#: Points by which the name of a line is moved up.
_SHIFTS = {1: 4, 2: -1, 4: -4, 8: -4, 16: 6, 32: -6}
#: Name, and case, of the reconstructed states, from the left.
_RECONSTRUCTED: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("GHZ+", {"state": "ghz+", "measured": "random", "bond": 3}, "fidelity", COLORS.accent),
    ("W", {"state": "w", "measured": "random", "bond": 3}, "fidelity", COLORS.accent),
    ("GHZ+,\nσz only", {"state": "ghz+", "measured": "z", "bond": 3}, "to_plus", COLORS.second),
    ("GHZ−,\nσz only", {"state": "ghz-", "measured": "z", "bond": 3}, "to_plus", COLORS.second),
    ("GHZ+,\nproduct", {"state": "ghz+", "measured": "random", "bond": 1}, "fidelity", COLORS.third),
    ("W,\nproduct", {"state": "w", "measured": "random", "bond": 1}, "fidelity", COLORS.third),
)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw gaps by bond dimension and by sweep, and fidelities."""
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    with figures.style():
        _by_bond(axes[0, 0], trials)
        _by_sweep(axes[0, 1], trials)
        _valid(axes[1, 0], trials)
        _fidelities(axes[1, 1], trials)
    return figure


def _bonds(trials: pd.DataFrame) -> list[int]:
    chosen = trials[trials["experiment"] == "learn"] if "experiment" in trials else trials
    return sorted({int(bond) for bond in chosen["bond"]}) if "bond" in chosen else []


def _axis(ax: Axes, bonds: list[int]) -> None:
    ax.set(xscale="log", xlabel="bond dimension D")
    if bonds:
        ax.set_xticks(bonds, [str(bond) for bond in bonds])
    ax.minorticks_off()


def _by_bond(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Bars and stripes: −log-likelihood above ln 30", ylabel="gap, nats", yscale="log")
    bonds = _bonds(trials)
    _axis(ax, bonds)
    for bond in bonds:
        gaps = per_seed(trials, "gap", experiment="learn", bond=bond).to_numpy(dtype=float)
        figures.interval(ax, bond, *figures.over_seeds(np.maximum(gaps, _LEAST), log=True).reshape(3, 1))
    # Of the pictures' amplitudes D dimensions hold (16 + D − 1)/30 at most.
    held = np.array([bond for bond in bonds if bond < 15])
    if len(held):
        ax.plot(held, np.log(30 / (15 + held)), ":", color=COLORS.ink)
        figures.direct_label(ax, held[-1], float(np.log(30 / (15 + held[-1]))), "least possible")
    rbm = per_seed(trials, "gap", experiment="boltzmann").to_numpy(dtype=float)
    if len(rbm):
        figures.interval(ax, 36, *figures.over_seeds(rbm, log=True).reshape(3, 1), color=COLORS.second)
        figures.direct_label(ax, 36, float(np.exp(np.log(rbm).mean())), "RBM", COLORS.second)
        ax.set_xlim(0.8, 80)


def _by_sweep(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="While training", xlabel="sweeps", ylabel="gap, nats", yscale="log")
    for bond in _bonds(trials):
        curves = per_seed(trials, "curve", experiment="learn", bond=bond).dropna()
        if curves.empty:
            continue
        rows = np.maximum(np.stack([np.asarray(each, dtype=float) for each in curves]), _LEAST)
        sweeps, middle = 1 + np.arange(rows.shape[1]), np.exp(np.log(rows).mean(0))
        ax.plot(sweeps, middle, color=COLORS.accent, linewidth=0.9)
        figures.direct_label(ax, sweeps[-1], float(middle[-1]), f"D = {bond}", COLORS.accent)
        # Lines end nearer to each other than their names are high.
        ax.texts[-1].set_position((5, _SHIFTS.get(bond, 0)))
        ax.set_xlim(0, 1.25 * sweeps[-1])
        ax.set_ylim(_LEAST / 5, 20)
    ax.minorticks_off()


def _valid(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Probability of all bars and stripes", ylabel="%", ylim=(0, 104))
    bonds = _bonds(trials)
    _axis(ax, bonds)
    for bond in bonds:
        shares = 100 * per_seed(trials, "valid", experiment="learn", bond=bond).to_numpy(dtype=float)
        figures.interval(ax, bond, *figures.over_seeds(shares).reshape(3, 1))


def _fidelities(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Six qubits: fidelity of what is found", ylabel="fidelity", ylim=(-0.04, 1.04))
    ax.set_xticks(range(len(_RECONSTRUCTED)), [name for name, *_ in _RECONSTRUCTED])
    ax.tick_params(axis="x", labelsize=7)
    for place, (_, case, column, color) in enumerate(_RECONSTRUCTED):
        values = per_seed(trials, column, experiment="reconstruct", **case).to_numpy(dtype=float)
        if len(values):
            figures.interval(ax, place, *figures.over_seeds(values).reshape(3, 1), color=color)
    ax.set_xlim(-0.5, len(_RECONSTRUCTED) - 0.5)
