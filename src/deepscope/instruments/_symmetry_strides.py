"""How many positions of the input one step along a tensor's positions is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from deepscope.subject import tensors_in

Strides = tuple[float, ...]


class StrideTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows strides from the input through every operation of a forward pass, inside ``with tracker:``.

    Convolutions, poolings, upsampling and slices with a step change them; a sum has the largest of its parts.

    Parameters
    ----------
    inputs
        Where the pass begins.
    n_positions
        How many position axes the input has.
    """

    def __init__(self, inputs: Any, n_positions: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._n = n_positions
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        for tensor in tensors_in(inputs):
            self._known[tensor] = (1.0,) * n_positions

    def of(self, tensor: Tensor) -> Strides | None:
        """Return the strides of a tensor that the pass has made; None where it did not come from the input."""
        found: Strides | None = self._known.get(tensor)  # type: ignore[no-untyped-call]
        return found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [each for each in map(self.of, tensors_in([*args, *(kwargs or {}).values()])) if each is not None]
        if given and self._n:
            strides = tuple(max(axis) for axis in zip(*given, strict=True))
            for tensor in tensors_in(made):
                self._known[tensor] = self._after(func, args, tensor, strides)
        return made

    def _after(self, func: Any, args: tuple[Any, ...], made: Tensor, strides: Strides) -> Strides:
        name = func._schema.name.removeprefix("aten::")
        if name in ("convolution", "convolution_overrideable"):
            factor = _per_axis(args[3], self._n)
            return tuple(s / f if args[6] else s * f for s, f in zip(strides, factor, strict=True))
        if "adaptive" in name or "upsample" in name:
            before, after = args[0].shape[-self._n :], made.shape[-self._n :]
            return tuple(s * b / a for s, b, a in zip(strides, before, after, strict=True))
        if "pool" in name:
            # Without a stride of its own a pooling moves by the size of its window.
            factor = _per_axis(args[2] if len(args) > 2 and args[2] else args[1], self._n)
            return tuple(s * f for s, f in zip(strides, factor, strict=True))
        if name == "slice" and len(args) > 4:
            axis = args[1] % made.ndim - (made.ndim - self._n)
            return tuple(s * (args[4] if i == axis else 1) for i, s in enumerate(strides))
        return strides


def _per_axis(values: int | Sequence[int], n: int) -> tuple[int, ...]:
    listed = [values] if isinstance(values, int) else list(values)
    # Convolutions of sequences are run as ones of pictures of height 1.
    return tuple(listed * n if len(listed) == 1 else listed[-n:])
