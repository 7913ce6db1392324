"""What a tangent kernel means, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity

if TYPE_CHECKING:
    from deepscope.instruments._kernel_reading import Kernel, LayerKernel

#: Share of the kernel that tells samples apart, below which that is hardly possible: a step that moves one sample's
#: outputs by 1 moves them by that much from the others'.
HARDLY = 1e-3
#: Fewest samples from which what all have in common is told.
FEWEST = 8


def kernel_findings(kernel: Kernel) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(kernel), key=lambda finding: finding.rank))


def _finding(severity: Severity, where: str, message: str, evidence: str, source: str, action: str) -> Finding:
    return Finding(severity, "kernel", where, message, evidence, source, action)


def _all(kernel: Kernel) -> Iterator[Finding]:
    if not kernel.trace > 0:
        yield _finding(
            "problem",
            "",
            "No output depends on any trainable parameter at these samples: the network cannot learn from them.",
            f"Σ ‖∂f/∂θ‖² is 0 over {kernel.n_samples} samples and {kernel.n_outputs} outputs",
            "jacot2018neural",
            "Look for dead layers (health) and for detach or rounding in the forward pass.",
        )
        return
    yield from _cut_off(kernel)
    yield from _alike(kernel)
    yield from _labels(kernel)


def _cut_off(kernel: Kernel) -> Iterator[Finding]:
    silent = [layer for layer in kernel.layers if layer.share == 0]
    if silent:
        first, others = silent[0], [layer.name for layer in silent[1:]]
        also = f"; likewise {', '.join(others[:3])}{' …' if len(others) > 3 else ''}" if others else ""
        yield _finding(
            "warning",
            first.name,
            f"The outputs do not change with the parameters of {_called(first)}: it learns nothing from these samples.",
            f"its share of the kernel is 0 over {kernel.n_samples} samples{also}",
            "jacot2018neural",
            "Look for dead units behind it (health), for a layer that the forward pass leaves out, or freeze it.",
        )


def _alike(kernel: Kernel) -> Iterator[Finding]:
    if kernel.constant_share is None or kernel.n_samples < FEWEST or 1 - kernel.constant_share >= HARDLY:
        return
    apart = max(0.0, 1 - kernel.constant_share)
    # No more than a warning: deep stacks of smooth units begin so, and train all the same.
    yield _finding(
        "warning",
        "",
        "A training step on one sample moves the outputs of all samples alike: the network "
        "can hardly learn to tell them apart.",
        f"{apart:.2g} of the tangent kernel differs between {kernel.n_samples} samples",
        "xiao2020disentangling",
        "Look for dead or saturated layers (health), or choose an initialisation that keeps samples apart.",
    )


def _labels(kernel: Kernel) -> Iterator[Finding]:
    found = kernel.label_alignment
    if found is not None:
        above = found.value > found.null_high
        error = f" ± {1.96 * found.stderr:.2g}" if found.stderr is not None else ""
        yield _finding(
            "note",
            "",
            "The tangent kernel is aligned with the labels: samples of one label learn together."
            if above
            else "The tangent kernel is not aligned with the labels: it groups the samples by something else.",
            f"centred alignment {found.value:.3g}{error}; labels in random order reach {found.null_mean:.3g}, and "
            f"{found.null_high:.3g} in one of twenty",
            "cortes2012algorithms",
            "Compare it with the kernel before training: alignment that grows is feature learning.",
        )
    regression = kernel.regression
    if regression is not None and regression.network is not None:
        assert regression.network_low is not None
        assert regression.network_high is not None
        message = "Regression with the tangent kernel does as well as the network, each sample from the others."
        action = "Give more samples to bring the regression nearer to what the network was trained on."
        if regression.kernel_high < regression.network_low:
            message = "The network does better than regression with its own tangent kernel from the other samples."
        elif regression.kernel_low > regression.network_high:
            message = "Regression with the tangent kernel does better than the network, each sample from the others."
            action = "Expected before training; a network that has been trained has more to learn from these samples."
        yield _finding(
            "note",
            "",
            message,
            f"{regression.score} {regression.kernel:.3g} ({regression.kernel_low:.3g} to {regression.kernel_high:.3g}) "
            f"from {kernel.n_samples - 1} samples each; the network {regression.network:.3g} "
            f"({regression.network_low:.3g} to {regression.network_high:.3g})",
            "jacot2018neural",
            action,
        )


def _called(layer: LayerKernel) -> str:
    return layer.name if layer.name == layer.kind else f"{layer.name} ({layer.kind})"
