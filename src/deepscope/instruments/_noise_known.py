"""Networks whose gradient noise is known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

# Sums of some hundred products in float32, of relative error 6e-8 each.
_TOLERANCE = 1e-5


def _mean_output(outputs: Tensor, targets: Tensor) -> Tensor:
    del targets
    return outputs.mean()


def planted(gradients: Tensor) -> Subject:
    """Return a network whose per-sample gradients are given, [n, p]: f(x) = w·x with the mean output as loss."""
    layer = nn.Linear(gradients.shape[1], 1, bias=False, device="meta").to_empty(device="cpu").to(gradients.dtype)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    third = len(gradients) // 3
    batches = [(part, torch.zeros(len(part))) for part in (gradients[:third], gradients[third:])]
    return Subject(layer, batches, _mean_output, name="known")


def _by_hand() -> Subject:
    """Gradients (3 ± 1, ±1, 0): mean (3, 0, 0), scatter 2 in each sample; tr Σ = 2·8/7."""
    rows = [[3 + a, b, 0.0] for a in (1, -1) for b in (1, -1)] * 2
    return planted(torch.tensor(rows))


def _by_hand_holds(reading: Any) -> bool:
    noise = 16 / 7
    signal = 9 - noise / 8
    norms = [np.hypot(3 + a, b) for a in (1, -1) for b in (1, -1)] * 2
    return bool(
        np.allclose(reading.per_sample_norms, norms, rtol=_TOLERANCE)
        and np.isclose(reading.noise, noise, rtol=_TOLERANCE)
        and np.isclose(reading.signal, signal, rtol=_TOLERANCE)
        and np.isclose(reading.noise_scale, noise / signal, rtol=_TOLERANCE)
    )


def _gaussian() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return 0.5 + torch.randn(240, 20, generator=draw)


def _one_outlier() -> Subject:
    gradients = _gaussian()
    gradients[17] *= 100
    return planted(gradients)


KNOWN = (
    Known(name="eight gradients by hand", make=_by_hand, holds=_by_hand_holds),
    Known(
        name="Gaussian gradients: tr Σ / |g|² = 20/5",
        make=lambda: planted(_gaussian()),
        holds=lambda reading: reading.noise_scale_low < 4 < reading.noise_scale_high,
    ),
    Known(
        name="one sample of a hundredfold gradient",
        make=_one_outlier,
        holds=lambda reading: reading.largest_sample == 17 and reading.largest_share > 0.9,
        fault="",
    ),
)
