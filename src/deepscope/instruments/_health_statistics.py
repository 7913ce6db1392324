"""Statistics of one layer's outputs, gathered batch by batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from deepscope.subject import LayerOutput, tensors_in

#: An output within this share of a bounded function's range from an end is at that end.
NEAR_END = 0.01
#: A unit is saturated where at least this share of its outputs is at an end.
SATURATED = 0.95
#: A unit is constant where its outputs differ by at most this share of their magnitude.
CONSTANT = 1e-6


class UnitRange:
    """Smallest and largest output of each unit."""

    def __init__(self) -> None:
        self.low: Tensor | None = None
        self.high: Tensor | None = None
        self.comparable = True

    def see(self, low: Tensor, high: Tensor) -> None:
        """Add the smallest and largest outputs of a batch, [units] each."""
        if self.low is None or self.high is None:
            self.low, self.high = low, high
        elif not self.comparable or self.low.shape != low.shape:
            self.comparable = False
        else:
            self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)

    @property
    def units(self) -> int | None:
        """How many units there are; None where their number changes from batch to batch."""
        return None if self.low is None or not self.comparable else len(self.low)

    def constant(self) -> int | None:
        """How many units put out the same everywhere."""
        if self.low is None or self.high is None or not self.comparable:
            return None
        low, high = self.low.double(), self.high.double()
        # A NaN compares false: a unit with one is not constant.
        return int((high - low <= CONSTANT * torch.maximum(low.abs(), high.abs())).sum())


class SampleRange:
    """Smallest and largest output over samples, at each position by itself.

    An output that depends on the position alone (a language model that ignores its tokens, a generator that makes one
    image) is constant here and not over positions.
    """

    def __init__(self) -> None:
        self._low: Tensor | None = None
        self._high: Tensor | None = None
        self.comparable = True

    def see(self, output: LayerOutput, n_samples: int) -> None:
        """Add a batch's output; what is padding is left out."""
        values = _by_sample(output, output.tensor.detach(), n_samples)
        if values is None or not self.comparable:
            self.comparable = False
            return
        low, high = values, values
        if output.real is not None:
            shape = output.real.shape + (1,) * (output.tensor.ndim - output.real.ndim)
            real = _by_sample(output, _spread(output, output.real.reshape(shape)), n_samples)
            assert real is not None
            low, high = values.masked_fill(~real, math.inf), values.masked_fill(~real, -math.inf)
        low, high = low.amin(0), high.amax(0)
        if self._low is None or self._high is None:
            self._low, self._high = low, high
        elif self._low.shape != low.shape:
            self.comparable = False
        else:
            self._low, self._high = torch.minimum(self._low, low), torch.maximum(self._high, high)

    def constant(self) -> bool | None:
        """Whether no unit varies at any position by more than 1e-6 of its magnitude; None where it cannot be said."""
        if self._low is None or self._high is None or not self.comparable:
            return None
        low, high = self._low.double().flatten(0, -2), self._high.double().flatten(0, -2)
        if not low.numel():
            return None
        # Where no sample has a position its ends are still at plus and minus infinity.
        magnitude = torch.maximum(low.abs(), high.abs()).where(low <= high, 0).amax(0)
        return bool(((high - low).amax(0) <= CONSTANT * magnitude).all())


def _spread(output: LayerOutput, real: Tensor) -> Tensor:
    """Give a mask over positions the shape of the output."""
    units_dim = output.units_dim
    if units_dim is None:
        return real.expand_as(output.tensor)
    return real.expand(output.tensor.movedim(units_dim, -1).shape).movedim(-1, units_dim)


def _by_sample(output: LayerOutput, values: Tensor, n_samples: int) -> Tensor | None:
    """Bring values of the output's shape to [samples, positions …, units]; None where samples cannot be told."""
    if output.units_dim == 0:
        return None
    values = values.unsqueeze(-1) if output.units_dim is None else values.movedim(output.units_dim, -1)
    if len(values) == n_samples:
        return values.unsqueeze(1)
    if values.ndim > 2 and values.shape[1] == n_samples:
        return values.movedim(1, 0)
    # Samples and positions in one dimension.
    return None if len(values) % n_samples else values.reshape(n_samples, -1, *values.shape[1:])


class _Gate:
    """How often the units of one activation function are open, or at an end of their range."""

    def __init__(self) -> None:
        self.positions = 0
        self.opened: Tensor | None = None
        self.at_an_end: Tensor | None = None

    def see(self, output: LayerOutput) -> bool:
        """Add an output; False where the number of units has changed."""
        values = output.by_unit(output.tensor)
        self.positions += len(values)
        function = output.activation
        if output.open is not None:
            opened = output.by_unit(output.open).any(0)
            if self.opened is not None and self.opened.shape != opened.shape:
                return False
            self.opened = opened if self.opened is None else self.opened | opened
        if function is not None and function.low is not None and function.high is not None:
            margin = NEAR_END * (function.high - function.low)
            near = ((values - function.low).abs() <= margin) | ((values - function.high).abs() <= margin)
            if self.at_an_end is not None and self.at_an_end.shape != near.shape[1:]:
                return False
            self.at_an_end = near.sum(0) if self.at_an_end is None else self.at_an_end + near.sum(0)
        return True


class LayerStatistics:
    """What one layer put out over the data.

    Parameters
    ----------
    output
        Its first output.
    """

    def __init__(self, output: LayerOutput) -> None:
        self.name, self.site, self.module = output.name, output.site, output.module
        self.values = self.nonfinite = 0
        self.range = UnitRange()
        self.activation = ""
        self.gradient_square: float | None = None
        self._mean = self._scatter = 0.0
        self._gates: dict[int, _Gate] = {}
        self._gates_comparable = True

    def see(self, output: LayerOutput) -> None:
        """Add an output of the layer, or what a functional activation made of it."""
        if not output.functional:
            self._see_values(output.by_unit(output.tensor))
        if output.activation is not None:
            # The module's own function comes before those that the forward calls on its output.
            part = output.part + 1 if output.functional else 0
            self.activation = self.activation or output.activation.name
            self._gates_comparable &= self._gates.setdefault(part, _Gate()).see(output)

    def see_gradient(self, norm: Tensor, count: float) -> None:
        """Add ‖∂L/∂output‖ of one batch, whose loss L is a mean over ``count`` terms."""
        self.gradient_square = (self.gradient_square or 0.0) + count * float(norm) * count * float(norm)

    def _see_values(self, values: Tensor) -> None:
        if not values.numel():
            return
        low, high = values.amin(0), values.amax(0)
        self.range.see(low, high)
        n, total = self.values - self.nonfinite, values.numel()
        self.values += total
        # NaN and infinities show in the ends of the range: a second look at each value is rarely needed.
        largest = float(torch.maximum(low.abs(), high.abs()).max())
        if not math.isfinite(largest):
            values = values[torch.isfinite(values)]
            self.nonfinite += total - values.numel()
        n_new = values.numel()
        if not n_new:
            return
        # Squares must stay in range, and half precision would round the result.
        wide = values.float() if largest < 1e15 and values.dtype.itemsize <= 4 else values.double()
        variance, mean = torch.var_mean(wide, correction=0)
        # Chan, Golub & LeVeque's merge of two samples: no cancellation.
        delta = float(mean) - self._mean
        self._scatter += float(variance) * n_new + delta * delta * n * n_new / (n + n_new)
        self._mean += delta * n_new / (n + n_new)

    @property
    def mean(self) -> float | None:
        """Mean over all finite values."""
        return self._mean if self.values > self.nonfinite else None

    @property
    def std(self) -> float | None:
        """Standard deviation over all finite values."""
        n = self.values - self.nonfinite
        return math.sqrt(self._scatter / n) if n else None

    @property
    def nonfinite_fraction(self) -> float | None:
        """Share of values that are NaN or infinite."""
        return self.nonfinite / self.values if self.values else None

    @property
    def comparable(self) -> bool:
        """Whether the number of units was the same throughout."""
        return self.range.comparable and self._gates_comparable

    @property
    def dead_fraction(self) -> float | None:
        """Share of a rectifier's units that let nothing through, ever."""
        opened = [gate.opened for gate in self._gates.values() if gate.opened is not None]
        if not opened or not self.comparable:
            return None
        return sum(int((~each).sum()) for each in opened) / sum(len(each) for each in opened)

    @property
    def saturated_fraction(self) -> float | None:
        """Share of a bounded function's units that are nearly always at an end of their range."""
        ends = [(gate.at_an_end, gate.positions) for gate in self._gates.values() if gate.at_an_end is not None]
        if not ends or not self.comparable:
            return None
        return sum(int((at >= SATURATED * n).sum()) for at, n in ends) / sum(len(at) for at, _ in ends)


class Variation:
    """Whether the samples of the data differ from one another."""

    def __init__(self) -> None:
        self.varies = False
        self._first: list[Tensor] | None = None

    def see(self, inputs: Any) -> None:
        """Compare a batch's inputs with the very first sample."""
        tensors = [each for each in tensors_in(inputs) if each.ndim and len(each)]
        if self._first is None:
            self._first = [each[:1].clone() for each in tensors]
        if self.varies:
            return
        self.varies = len(tensors) != len(self._first) or any(
            each.shape[1:] != first.shape[1:] or bool((each != first).any())
            for each, first in zip(tensors, self._first, strict=True)
        )
