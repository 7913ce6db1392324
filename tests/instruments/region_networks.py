"""Networks whose patterns can be read off, and an exact count in rational arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Point = tuple[Fraction, ...]


def stack(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU, seed: int = 0) -> nn.Sequential:
    """Return linear layers with an activation between each two, weights and biases random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layer = nn.Linear(inputs, outputs)
            nn.init.normal_(layer.weight, std=(2 / inputs) ** 0.5)
            nn.init.normal_(layer.bias, std=0.3)
            parts += [layer, activation()]
    return nn.Sequential(*parts[:-1])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count_exactly(model: nn.Sequential, corners: list[Tensor]) -> int:
    """Count the activation cells of a stack of linear layers and ReLUs on a polygon or segment, without rounding.

    One unit after the other cuts every cell, whose corners are known by their values in the layer's units: rationals.
    """
    cells = [[tuple(Fraction(each) for each in corner.double().tolist()) for corner in corners]]
    layers = [each for each in model if isinstance(each, nn.Linear)]
    for layer in layers[:-1]:
        weight = [[Fraction(each) for each in row] for row in layer.weight.tolist()]
        bias = [Fraction(each) for each in layer.bias.tolist()]
        cells = [[_affine(weight, bias, corner) for corner in cell] for cell in cells]
        for unit in range(len(bias)):
            cells = [part for cell in cells for part in _halves(cell, unit)]
        cells = [[tuple(max(each, Fraction(0)) for each in corner) for corner in cell] for cell in cells]
    return len(cells)


def _affine(weight: list[list[Fraction]], bias: list[Fraction], x: Point) -> Point:
    sums = (sum(a * b for a, b in zip(row, x, strict=True)) for row in weight)
    return tuple(product + start for product, start in zip(sums, bias, strict=True))


def _halves(cell: list[Point], unit: int) -> list[list[Point]]:
    heights = [corner[unit] for corner in cell]
    if not (min(heights) < 0 < max(heights)):
        return [cell]
    every: list[Point] = []
    pairs = list(zip(cell, [*cell[1:], cell[0]], strict=True))
    for index, (here, there) in enumerate(pairs):
        every.append(here)
        # A segment has no edge back from its end.
        if here[unit] * there[unit] < 0 and not (len(cell) == 2 and index):
            share = here[unit] / (here[unit] - there[unit])
            every.append(tuple((1 - share) * a + share * b for a, b in zip(here, there, strict=True)))
    return [[c for c in every if c[unit] >= 0], [c for c in every if c[unit] <= 0]]


def patterns(model: nn.Module, inputs: Tensor) -> list[bytes]:
    """Return for each input which linear piece every activation module's units are in, and every pool's winner."""
    found: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        (x,) = given
        found.extend(each.flatten(1).to(torch.int32) for each in PIECES[type(module)](module, x.detach()))

    handles = [each.register_forward_pre_hook(note) for each in model.modules() if type(each) in PIECES]
    with torch.no_grad():
        model(inputs)
    for handle in handles:
        handle.remove()
    table = torch.cat(found, dim=1).numpy()
    return [row.tobytes() for row in table]


def _winners(pool: Any, module: Any, x: Tensor) -> Tensor:
    how = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation}
    found: Tensor = pool(x, module.kernel_size, **how, ceil_mode=module.ceil_mode, return_indices=True)[1]
    return found


#: What tells an activation module's linear pieces apart.
PIECES: dict[type[nn.Module], Callable[[Any, Tensor], list[Tensor]]] = {
    nn.ReLU: lambda m, x: [x > 0],
    nn.LeakyReLU: lambda m, x: [x > 0],
    nn.PReLU: lambda m, x: [x > 0],
    nn.ReLU6: lambda m, x: [x > 0, x > 6],
    nn.Hardtanh: lambda m, x: [x > m.min_val, x > m.max_val],
    nn.Hardsigmoid: lambda m, x: [x > -3, x > 3],
    nn.Softshrink: lambda m, x: [x > -m.lambd, x > m.lambd],
    nn.Threshold: lambda m, x: [x > m.threshold],
    nn.MaxPool1d: lambda m, x: [_winners(functional.max_pool1d, m, x)],
    nn.MaxPool2d: lambda m, x: [_winners(functional.max_pool2d, m, x)],
    nn.AdaptiveMaxPool2d: lambda m, x: [functional.adaptive_max_pool2d(x, m.output_size, return_indices=True)[1]],
}


def middles(reading: Any) -> np.ndarray[Any, Any]:
    """Return the mean of each cell's corners, [count, d]."""
    starts = np.cumsum(reading.corner_counts) - reading.corner_counts
    return np.add.reduceat(reading.points[reading.corners], starts) / reading.corner_counts[:, None]
