"""What a network's inputs are, and so what may be done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.instruments._symmetry_transformation import LayerPlace, Move
from deepscope.subject import Subject, tensors_in


@dataclass(frozen=True, eq=False)
class InputLayout:
    """What the inputs of a network are.

    Attributes
    ----------
    kind
        ``"images"``, ``"sequences"``, ``"tokens"`` or ``"vectors"``.
    shape
        Of one sample of the tensor that decides: the first floating-point one, or else the first.
    positions
        Dimensions of that tensor, with the samples' as the first, that are positions.
    is_floating
        Whether it holds floating-point numbers.
    subject
        Whose ``mask`` says which positions are padding.
    """

    kind: str
    shape: tuple[int, ...]
    positions: tuple[int, ...]
    is_floating: bool
    subject: Subject = field(repr=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of positions along each axis."""
        return tuple(self.shape[dim - 1] for dim in self.positions)

    def real(self, inputs: Any) -> Tensor | None:
        """Return which positions of a batch are no padding, [n, positions]; None where all are."""
        if self.subject.mask is None or len(self.positions) != 1:
            return None
        mask = self.subject.mask(inputs).bool()
        return mask if mask.ndim == 2 and mask.shape[1] == self.sizes[0] else None

    def moved(self, inputs: Any, move: Move, n: int) -> Any:
        """Transform every tensor of a batch that has the positions (or, of vectors, is one); the rest is passed on."""
        real = self.real(inputs)

        def of(value: Any) -> Any:
            if isinstance(value, Tensor):
                place = self._place(value, n, real)
                made = move(value, place) if place is not None else None
                return value if made is None else made
            if isinstance(value, Mapping):
                return {key: of(item) for key, item in value.items()}
            if isinstance(value, (tuple, list)):
                items = [of(item) for item in value]
                return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
            return value

        return of(inputs)

    def place(self, tensor: Tensor, n: int) -> LayerPlace | None:
        """Return where the positions of an input tensor are; None for one that is not transformed."""
        return self._place(tensor, n, None)

    def _place(self, tensor: Tensor, n: int, real: Tensor | None) -> LayerPlace | None:
        if not tensor.ndim or len(tensor) != n:
            return None
        strides = (1.0,) * len(self.positions)
        if not self.positions:
            return LayerPlace("", (), strides)
        if tensor.ndim == len(self.shape) + 1 and self._sizes_at(tensor, self.positions):
            return LayerPlace("", self.positions, strides, real)
        # A mask or a label for every position has no features.
        bare = tuple(range(1, len(self.positions) + 1))
        if tensor.ndim == len(bare) + 1 and self._sizes_at(tensor, bare):
            return LayerPlace("", bare, strides, real)
        return None

    def _sizes_at(self, tensor: Tensor, dims: tuple[int, ...]) -> bool:
        return tuple(tensor.shape[dim] for dim in dims) == self.sizes


def main_tensor(inputs: Any, n: int) -> Tensor:
    """Return the tensor that says what inputs are: the first floating-point one with a row per sample, or the first.

    Raises
    ------
    MeasurementError
        There is none.
    """
    found = [each for each in tensors_in(inputs) if each.ndim and len(each) == n]
    if not found:
        raise MeasurementError(
            "no input tensor has a row for every sample", todo="Give inputs whose first dimension is the samples'."
        )
    return next((each for each in found if each.is_floating_point()), found[0])


def layout_of(subject: Subject, inputs: Any, n: int, units_dims: dict[int, int | None]) -> InputLayout:
    """Say what the inputs of a batch are.

    Four dimensions and more are pictures, three are sequences, two are vectors, or tokens where they are integers.

    Parameters
    ----------
    subject, inputs, n
        Whose batch it is, its inputs, and how many samples it has.
    units_dims
        Along which dimension the units of the first layer's output of so many dimensions lie: it tells channels that
        come first from those that come last.
    """
    tensor = main_tensor(inputs, n)
    ndim = tensor.ndim
    shape = tuple(tensor.shape[1:])
    if ndim <= 2 and tensor.is_floating_point():
        return InputLayout("vectors", shape, (), True, subject)
    if not tensor.is_floating_point() and ndim <= 3:
        return InputLayout("tokens", shape, (1,) if ndim > 1 else (), False, subject)
    channels_last = units_dims.get(ndim, 1 if ndim > 3 else 2) == ndim - 1
    positions = tuple(range(1, ndim - 1)) if channels_last else tuple(range(2, ndim))
    kind = "images" if ndim > 3 else "sequences"
    return InputLayout(kind, shape, positions, tensor.is_floating_point(), subject)
