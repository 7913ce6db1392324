"""What the frequencies of a network mean, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity

if TYPE_CHECKING:
    from deepscope.instruments._frequency_reading import Frequency
    from deepscope.instruments._frequency_row import LineFrequencies
    from deepscope.linalg import FilteredErrors, LowShare

#: An error of the smooth part above this, with its whole interval, is hardly better than the same answer for all.
MISSED = 0.9
#: Fewest samples from which the smooth part of targets is told.
FEWEST = 16
#: A rise in cycles per line that is worth a word.
_RISE = 0.01
_Z = 1.96


def frequency_findings(reading: Frequency) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(reading), key=lambda finding: finding.rank))


def _finding(severity: Severity, where: str, message: str, evidence: str, action: str, source: str = "") -> Finding:
    return Finding(severity, "frequency", where, message, evidence, source, action)


def _all(reading: Frequency) -> Iterator[Finding]:
    yield from _not_finite(reading)
    yield from _unresolved(reading)
    yield from _rise(reading)
    band = reading.middle_band
    if band is not None and band.target is not None and reading.n_samples >= FEWEST:
        yield from _targets(reading, band, band.target)
        if _is_above(band.target):
            yield from _errors(reading, band)


def _not_finite(reading: Frequency) -> Iterator[Finding]:
    bad = [each for each in (*reading.layers, *_output(reading)) if each.status.startswith("not finite")]
    if bad:
        first = bad[0]
        yield _finding(
            "problem",
            _place(reading, first),
            "Between samples the network puts out numbers that are not finite.",
            f"{first.status}, of {reading.n_lines} lines {reading.lines}; seen first in {first.name or 'the network'}",
            "Look for a root, a logarithm or a division there whose argument the data alone keeps in range.",
        )


def _unresolved(reading: Frequency) -> Iterator[Finding]:
    if reading.output is None or reading.output.is_resolved:
        return
    first = next((each for each in reading.layers if not each.is_resolved), reading.output)
    assert first.unresolved_share is not None
    yield _finding(
        "warning",
        _place(reading, first),
        "Along lines between samples the output jumps or oscillates faster than the measurement follows: it changes "
        "by chance where the input changes little.",
        f"{100 * first.unresolved_share:.2g} % of the power of {first.name or 'the output'} lies in the upper half of "
        f"the frequencies that {reading.n_points} points resolve; a smooth function has next to none",
        "Give more points or a smaller length; if it stays so, look for rounding, thresholds or very large weights.",
        "rahaman2019spectral",
    )


def _rise(reading: Frequency) -> Iterator[Finding]:
    """Name the layer at which the mean frequency rises most, where that is more than chance."""
    known = [each for each in reading.layers if each.centroid is not None and each.centroid_stderr is not None]
    steps = []
    for before, after in pairwise(known):
        assert before.centroid is not None
        assert after.centroid is not None
        # Both are of the same lines, and their errors mostly go together: apart they are an upper bound.
        error = math.hypot(before.centroid_stderr or 0.0, after.centroid_stderr or 0.0)
        steps.append((after.centroid - before.centroid, error, before, after))
    if not steps:
        return
    rise, error, before, after = max(steps, key=lambda step: step[0])
    # The largest of several: each may be above its own interval by chance.
    if rise > _bonferroni(len(steps)) * error and rise > _RISE:
        yield _finding(
            "note",
            _place(reading, after),
            f"The frequency of what layers compute rises most at {after.name}.",
            f"mean frequency {after.centroid:.3g} ± {after.centroid_stderr:.2g} cycles per line, after "
            f"{before.centroid:.3g} ± {before.centroid_stderr:.2g} in {before.name}; a straight line has 0",
            "Nothing needs doing: here the network bends its input most.",
            "rahaman2019spectral",
        )


def _targets(reading: Frequency, band: FilteredErrors, share: LowShare) -> Iterator[Finding]:
    yield _finding(
        "note",
        "",
        "The targets vary smoothly over the inputs: near samples have like targets, more than chance."
        if _is_above(share)
        else "The targets are no smoother over the inputs than noise: near samples have no more in common than others.",
        f"{100 * share.value:.3g} %{_plus_minus(share, 100)} of their variance is left by averaging over about "
        f"{band.neighbours:.3g} of {reading.n_samples} samples (δ = {band.width:.3g}); in random order "
        f"{100 * share.null_mean:.2g} %, and {100 * share.null_high:.2g} % in one of twenty",
        "Raw inputs need not be near for like samples; where targets are noise, a network can only learn them by heart."
        if not _is_above(share)
        else "Compare with the share of the error below.",
        "xu2020frequency",
    )


def _errors(reading: Frequency, band: FilteredErrors) -> Iterator[Finding]:
    if band.e_low is None or band.e_high is None:
        return
    low = band.e_low - _Z * (band.e_low_stderr or 0.0)
    if low > MISSED:
        # A network that has not been trained misses it as well; one answer for all samples is none.
        same = band.output is None
        yield _finding(
            "warning" if same else "note",
            "",
            "The network gives one answer to all samples, though the targets vary smoothly over the inputs."
            if same
            else "The network misses the smooth part of the targets, which is the easiest to learn.",
            f"relative error {band.e_low:.3g}{_error(band.e_low_stderr)} of the part left by averaging over about "
            f"{band.neighbours:.3g} samples (δ = {band.width:.3g}), {reading.read_as}; the same answer for all samples "
            "has 1",
            "Look for dead units, and for weights of zero or of great size (health, anatomy)."
            if same
            else "Expected before training; otherwise look at the loss, the learning rate, and whether labels and "
            "outputs have one order.",
            "xu2020frequency",
        )
    elif band.error is not None:
        smooth = _is_above(band.error)
        yield _finding(
            "note",
            "",
            "What the network still misses is smooth: there is more to learn that near samples have in common."
            if smooth
            else "What the network still misses is no smoother than noise: near samples have no more of it in common.",
            f"{100 * band.error.value:.3g} %{_plus_minus(band.error, 100)} of the error is left by averaging over "
            f"about {band.neighbours:.3g} samples (δ = {band.width:.3g}), in random order "
            f"{100 * band.error.null_high:.2g} % in one of twenty; relative error {band.e_low:.3g}"
            f"{_error(band.e_low_stderr)} of the smooth part, {band.e_high:.3g}"
            f"{_error(band.e_high_stderr)} of the rest",
            "Train longer or widen the network." if smooth else "More training can only fit single samples.",
            "xu2020frequency",
        )


def _is_above(share: LowShare) -> bool:
    return share.value > share.null_high


def _plus_minus(share: LowShare, scale: float) -> str:
    return f" ± {_Z * scale * share.stderr:.2g} %" if share.stderr is not None else ""


def _error(stderr: float | None) -> str:
    return f" ± {_Z * stderr:.2g}" if stderr is not None else ""


def _bonferroni(comparisons: int) -> float:
    from scipy.special import ndtri

    return float(-ndtri(0.025 / comparisons))


def _output(reading: Frequency) -> tuple[LineFrequencies, ...]:
    return () if reading.output is None else (reading.output,)


def _place(reading: Frequency, row: LineFrequencies) -> str:
    """Return a module's name: of a layer that is used again, its own; of the output, the network's."""
    return "" if row is reading.output else row.name.partition("#")[0]
