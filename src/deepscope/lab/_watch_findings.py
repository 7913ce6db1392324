"""What the curves of a watched training mean. Never loads torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepscope.core import Finding

Record = Mapping[str, Any]

#: Sharpness is at the edge of stability from the first time it comes this close to the threshold …
_NEAR = 0.9
#: … where from then on its median lies in this range of the threshold, …
_AT_THE_EDGE = (0.8, 1.5)
#: … over at least so many measurements.
_FEWEST = 3
#: A block of steps long enough that the noise of single batches averages out, …
_BLOCK = 25
#: … and a spike where its mean loss is so many times that of any of so many blocks before.
_SPIKE, _BEFORE = 2.0, 5


def watch_findings(record: Record) -> tuple[Finding, ...]:
    """Say what a watched training's numbers mean, worst first.

    Parameters
    ----------
    record
        As ``watch_record`` makes it; its own ``findings`` are not looked at.
    """
    found = [
        *_divergence(record),
        *_spikes(record),
        *_dying_units(record),
        *_overhead(record),
        *_sharpness(record),
        *_batch_size(record),
        *_kernel(record),
    ]
    return tuple(sorted(found, key=lambda finding: finding.rank))


def _divergence(record: Record) -> Iterator[Finding]:
    bad = [window for window in record["training"] if window["nonfinite_losses"]]
    if bad:
        count = sum(window["nonfinite_losses"] for window in bad)
        yield _finding(
            "problem",
            "The training loss is not finite.",
            f"{count:,} losses up to step {bad[-1]['step']:,}, the first in the steps up to {bad[0]['step']:,}",
            action="Lower the learning rate, warm it up or clip gradients; look for non-finite inputs.",
        )


def _spikes(record: Record) -> Iterator[Finding]:
    blocks = _blocks(record["training"])
    spikes = []
    for place in range(_FEWEST, len(blocks)):
        before = max(loss for _, _, loss in blocks[max(0, place - _BEFORE) : place])
        first, last, loss = blocks[place]
        if before > 0 and loss > _SPIKE * before:
            spikes.append((loss / before, first, last, loss, before))
    if spikes:
        ratio, first, last, loss, before = max(spikes)
        many = f"; {len(spikes)} such in all" if len(spikes) > 1 else ""
        yield _finding(
            "warning",
            f"The training loss jumps up in steps {first:,} to {last:,}.",
            f"mean {loss:.3g}, {ratio:.3g} times the highest of the {_BEFORE} stretches before ({before:.3g}){many}",
            action="Look at the batches there; a lower learning rate or gradient clipping keeps a jump from happening.",
        )


def _blocks(windows: Sequence[Record]) -> list[tuple[int, int, float]]:
    """Return first step, last step and mean training loss of stretches of steps, each of at least ``_BLOCK``."""
    blocks, start, end, parts = [], 0, 0, list[float]()
    for window in windows:
        steps, end_before, end = window["step"] - end, end, window["step"]
        start = start if parts else end_before
        if window["training_loss"] is not None:
            parts.append(steps * window["training_loss"])
            if end - start >= _BLOCK:
                blocks.append((start + 1, end, math.fsum(parts) / (end - start)))
                parts = []
    return blocks


def _dying_units(record: Record) -> Iterator[Finding]:
    shares = _curve(record, "dead_fraction")
    if len(shares) > 1 and shares[-1][1] >= 0.3 and shares[-1][1] - shares[0][1] >= 0.1:
        (first, before), (last, now) = shares[0], shares[-1]
        yield _finding(
            "warning",
            "Rectifiers die while the network trains.",
            f"share of dead units {before:.2g} at step {first:,}, {now:.2g} at step {last:,}, on the probe data",
            action="Lower the learning rate, or use an activation with a slope below zero; examine says which layers.",
        )


def _overhead(record: Record) -> Iterator[Finding]:
    trained, spent = (record["cost"][f"{what}_seconds"] for what in ("training", "measuring"))
    if record["ended"] and spent > record["overhead"] * trained:
        yield _finding(
            "note",
            "The training ended before its measurements were paid for.",
            f"{spent:.3g} s of measuring beside {trained:.3g} s of training, of which {record['overhead']:.2g} "
            f"was promised; {len(record['table'])} measurements",
            action="Give fewer probe data or fewer probes where the first measurement takes too long.",
        )


def _sharpness(record: Record) -> Iterator[Finding]:
    ratios = [
        (row["step"], row["sharpness"] / row["stability_threshold"])
        for row in record["table"]
        if row.get("sharpness") is not None and (row.get("stability_threshold") or 0) > 0
    ]
    near = next((place for place, (_, ratio) in enumerate(ratios) if ratio >= _NEAR), len(ratios))
    middle = statistics.median([ratio for _, ratio in ratios[near:]] or [0.0])
    low, high = _AT_THE_EDGE
    if len(ratios) - near >= _FEWEST and middle >= low:
        step = ratios[near][0]
        where = "hovers at" if middle <= high else "stays above"
        yield _finding(
            "note",
            f"From step {step:,} on, sharpness {where} the edge of stability.",
            f"the largest eigenvalue of the Hessian is {middle:.2f} times {record['stability']} in the median of "
            f"{len(ratios) - near} measurements; {ratios[0][1]:.2g} times at step {ratios[0][0]:,}",
            source="cohen2021gradient",
            action="A smaller learning rate would let the network reach sharper places, a larger one keeps it flatter.",
        )
        return
    curve = [(step, value) for step, value in _curve(record, "sharpness") if value > 0]
    if len(curve) >= _FEWEST and max(value for _, value in curve[1:]) >= 2 * curve[0][1]:
        step, most = max(curve, key=lambda each: each[1])
        yield _finding(
            "note",
            "The loss becomes sharper as the network trains.",
            f"largest eigenvalue of the Hessian {curve[0][1]:.3g} at step {curve[0][0]:,}, {most:.3g} at step {step:,}",
            source="cohen2021gradient",
        )


def _batch_size(record: Record) -> Iterator[Finding]:
    scales = _curve(record, "noise_scale")
    later = [value for _, value in scales[len(scales) // 2 :] if value > 0]
    batch = record["batch_size"]
    if not batch or len(later) < _FEWEST:
        return
    scale = statistics.median(later)
    seen = f"noise scale {scale:.3g}, the median of {len(later)} measurements; batches of {batch:,}"
    if scale > 10 * batch:
        yield _finding(
            "note",
            "Each step's gradient is mostly noise: larger batches would take almost as many times fewer steps.",
            seen,
            source="mccandlish2018empirical",
            action=f"Batches of up to about {scale:.1g} cost little more samples for the same loss.",
        )
    elif scale < batch / 10:
        yield _finding(
            "note",
            "Batches are far larger than the gradient's noise calls for: smaller ones would take fewer samples.",
            seen,
            source="mccandlish2018empirical",
            action="Use smaller batches, or a higher learning rate.",
        )


def _kernel(record: Record) -> Iterator[Finding]:
    drifts, losses = _curve(record, "kernel_drift"), _curve(record, "probe_loss")
    if len(drifts) < _FEWEST or len(losses) < _FEWEST:
        return
    (step, drift), fell = drifts[-1], 1 - losses[-1][1] / losses[0][1] if losses[0][1] > 0 else 0.0
    if drift <= 0.01 and fell >= 0.5:
        yield _finding(
            "note",
            "The tangent kernel hardly moves while the loss falls: the network trains as its linearisation would.",
            f"1 − alignment with the first kernel {drift:.2g} at step {step:,}; the probe loss fell by {fell:.0%}",
            source="chizat2019lazy",
        )


def _curve(record: Record, name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in record["table"] if row.get(name) is not None]


def _finding(severity: Any, message: str, evidence: str, *, source: str = "", action: str = "") -> Finding:
    return Finding(severity, "watch", "", message, evidence, source, action)
