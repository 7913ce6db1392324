"""Where the heads of a small network look after it has learned digits, with pixels in place and permuted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Case, TrialRun, UsageError, nearest
from deepscope.data import Samples, load
from deepscope.models import QuadraticAttention
from deepscope.training import fit

PIXELS = ("in place", "permuted")
#: α at the start, at which a head reads most of an image of 8 × 8.
WIDE = 0.1


class PixelNetwork(nn.Module):
    """Layers of attention by position, rectified, then the mean over the pixels and a linear map to logits.

    Parameters
    ----------
    channels, heads, layers, n_classes
        Sizes; each layer has as many heads.
    """

    def __init__(self, channels: int, heads: int, layers: int, n_classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            QuadraticAttention(channels if depth else 1, channels, heads, padding=0) for depth in range(layers)
        )
        self.output = nn.Linear(channels, n_classes)
        with torch.no_grad():
            for layer in self.layers:
                layer.locality.fill_(WIDE)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, [batch, n_classes], of images, [batch, 1, height, width]."""
        for layer in self.layers:
            x = layer(x).relu()
        found: Tensor = self.output(x.mean((2, 3)))
        return found


def learn_digits(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train on digits whose pixels are in place or all permuted in one way.

    Returns
    -------
    dict
        ``accuracy`` on test images; by head, of all layers, ``pixels_before`` and ``pixels_read``, as how many pixels
        read alike count (the exponential of the entropy, its mean over the reading pixels), and ``centre`` and
        ``locality``.
    """
    if case.pixels not in PIXELS:
        raise UsageError("unknown order of pixels", where=case.pixels, todo=nearest(case.pixels, PIXELS))
    data = load(case.data)
    shape = data.train.inputs.shape[1:]
    order = torch.randperm(shape[1] * shape[2], generator=run.generator)

    def arranged(x: Tensor) -> Tensor:
        return x if case.pixels == "in place" else x.flatten(2)[..., order].reshape(x.shape)

    chosen = torch.randperm(len(data.train), generator=run.generator)[: case.n_train]
    train = Samples(arranged(data.train.inputs[chosen]), data.train.targets[chosen])
    model = PixelNetwork(case.width, case.heads, case.layers, len(data.classes))
    before = _pixels_read(model, shape[1:])
    optimizer = torch.optim.Adam(model.parameters(), lr=case.learning_rate)
    fit(
        model,
        train.epochs(case.batch_size, seed=run.seed),
        nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=case.epochs,
        seed=run.seed,
    )
    with torch.no_grad():
        answers = model(arranged(data.test.inputs)).argmax(1)
    return {
        "accuracy": (answers == data.test.targets).double().mean().item(),
        "pixels_before": before,
        "pixels_read": _pixels_read(model, shape[1:]),
        "centre": np.stack([layer.centre.detach().numpy() for layer in _layers(model)]),
        "locality": np.stack([layer.locality.detach().numpy() for layer in _layers(model)]),
    }


def _layers(model: PixelNetwork) -> list[QuadraticAttention]:
    return [each for each in model.layers if isinstance(each, QuadraticAttention)]


def _pixels_read(model: PixelNetwork, shape: torch.Size) -> np.ndarray[Any, Any]:
    """Return exp of the entropy of what a head reads, [layers, heads]."""
    rows = []
    for layer in _layers(model):
        with torch.no_grad():
            weights = layer.weights(*shape).flatten(3)
        rows.append(torch.special.entr(weights).sum(-1).mean((1, 2)).exp().numpy())
    return np.stack(rows)
