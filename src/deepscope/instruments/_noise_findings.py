"""What the noise of gradients means, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity

if TYPE_CHECKING:
    from deepscope.instruments._noise_reading import Noise

#: Share of the gradients' variance from which one sample is told, and fewest samples of which it is.
DOMINANT = 0.5
FEWEST = 16
#: Factors between a batch and the critical size from which it is called small or large.
FAR = 4.0


def noise_findings(noise: Noise) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(noise), key=lambda finding: finding.rank))


def _finding(severity: Severity, where: str, message: str, evidence: str, source: str, action: str) -> Finding:
    return Finding(severity, "noise", where, message, evidence, source, action)


def _all(noise: Noise) -> Iterator[Finding]:
    share, sample = noise.largest_share, noise.largest_sample
    if share is not None and share >= DOMINANT and noise.n_samples >= FEWEST:
        yield _finding(
            "warning",
            "",
            "One sample makes most of the noise of the gradient: a batch that holds it is led by it alone.",
            f"sample {sample} has {share:.1%} of the variance among {noise.n_samples}; its gradient norm is "
            f"{noise.per_sample_norms[sample]:.3g}, the median "
            f"{sorted(noise.per_sample_norms)[noise.n_samples // 2]:.3g}",
            "mccandlish2018empirical",
            "Look at that sample (wrong label? wrong scale?), or clip gradients by sample.",
        )
    yield from _batch_size(noise)


def _batch_size(noise: Noise) -> Iterator[Finding]:
    low, high = noise.critical_batch_size_interval
    if low is None:
        return
    known = f"{low:.3g} to {high:.3g}" if high is not None else f"at least {low:.3g}"
    scale = f"tr Σ / |g|² is {noise.noise_scale:.3g}" if noise.noise_scale is not None else "|g|² is lost in noise"
    evidence = f"{scale} over {noise.n_samples} samples, 95 % interval {known}; batches hold {noise.batch_size}"
    if noise.batch_size * FAR < low:
        yield _finding(
            "note",
            "",
            "Gradients of batches of this size are mostly noise: larger ones would save steps almost in proportion.",
            evidence,
            "mccandlish2018empirical",
            "Raise the batch size, or lower the learning rate to average over more steps.",
        )
    elif high is not None and noise.batch_size > FAR * high:
        yield _finding(
            "note",
            "",
            "Gradients of batches of this size are mostly signal: smaller ones would need hardly more steps.",
            evidence,
            "mccandlish2018empirical",
            "Lower the batch size to save samples, or raise the learning rate.",
        )
