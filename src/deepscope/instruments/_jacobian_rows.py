"""The rows of a reading, drawn from what was seen of every layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.instruments._jacobian_bound import Bounds
from deepscope.instruments._jacobian_layers import LayerSums
from deepscope.instruments._jacobian_reading import LayerJacobian
from deepscope.instruments._jacobian_run import JacobianRun
from deepscope.linalg import Estimate
from deepscope.linalg._estimate import mean_of

Floats = NDArray[np.float64]
#: A value with the ends of its interval.
Ends = tuple[float | None, float | None, float | None]
_NONE: Ends = (None, None, None)


def layer_rows(run: JacobianRun, bounds: Bounds) -> tuple[LayerJacobian, ...]:
    """Return a row for every layer that ran."""
    sizes = torch.cat(run.meter.sizes).cpu().numpy()
    return tuple(
        _row(name, weighted, run.meter.layers[name], run, bounds, sizes) for name, weighted in run.names.items()
    )


def _row(name: str, weighted: bool, sums: LayerSums, run: JacobianRun, bounds: Bounds, sizes: Floats) -> LayerJacobian:
    chi, squares, squared, fourths, largest, outputs = (
        torch.cat(each).cpu().numpy() if each else np.zeros(0)
        for each in (sums.chi, sums.squares, sums.squared, sums.fourths, sums.largest, sums.outputs)
    )
    own = run.constants[name]
    whole = bounds.layers.get(name, bounds.output)
    gain = _mean(squares / max(sums.n_outputs, 1))
    return LayerJacobian(
        name=name,
        kind=sums.kind,
        inputs=sums.n_inputs,
        outputs=sums.n_outputs,
        **_named("chi", _mean(chi)),
        **_named("gain", gain),
        **_named("sensitivity", _sensitivity(squares, outputs, sizes, run.n_inputs)),
        largest=float(largest.max()) if len(largest) else None,
        **_named("isometry", _isometry(squared, fourths, sums.rank)),
        lipschitz=own.value,
        bound=whole.value if name in bounds.layers else None,
        has_weights=weighted,
        status=_status(sums, own.reason, whole.reason if name in bounds.layers else ""),
    )


def _named(name: str, ends: Ends) -> dict[str, Any]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def _mean(values: Floats) -> Ends:
    """Return the mean of what is never negative, with Student's interval."""
    if not len(values):
        return _NONE
    if len(values) == 1:
        return float(values[0]), None, None
    found: Estimate = mean_of(values)
    return found.value, max(found.low, 0.0), found.high


def _sensitivity(squares: Floats, outputs: Floats, sizes: Floats, n_inputs: int) -> Ends:
    # A layer that did not run for every sample has no input to compare with.
    if len(squares) != len(sizes):
        return _NONE
    seen = (squares > 0) & (outputs > 0) & (sizes > 0)
    if not seen.any():
        return _NONE
    logs = np.log(squares[seen] / n_inputs * sizes[seen] / outputs[seen]) / 2
    if len(logs) == 1:
        return float(np.exp(logs[0])), None, None
    found = mean_of(logs)
    # An interval of two samples may leave float64's range.
    return math.exp(found.value), math.exp(max(found.low, -700.0)), math.exp(min(found.high, 700.0))


def _isometry(squared: Floats, fourths: Floats, rank: int) -> Ends:
    """Return Σ_i (tr G_i)² / (k Σ_i tr G_i²) over samples i, G = JᵀJ, with the interval of a ratio of means."""
    n, total = len(fourths), float(fourths.sum())
    if not n or not total > 0:
        return _NONE
    ratio = float(squared.sum()) / (rank * total)
    if n == 1:
        return min(ratio, 1.0), None, None
    stderr = float(np.sqrt(np.sum((squared / rank - ratio * fourths) ** 2) / (n * (n - 1)))) / (total / n)
    half = 1.96 * stderr
    return ratio, max(ratio - half, 0.0), ratio + half


def _status(sums: LayerSums, *more: str) -> str:
    notes = [*sums.notes, *more]
    if sums.calls > 1:
        notes.insert(0, f"called {sums.calls} times: χ is their mean, the rest the last one's")
    return "; ".join(dict.fromkeys(note for note in notes if note)) or "ok"
