"""The first function of a forward pass that is not affine between two inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from deepscope.core import DoesNotApplyError
from deepscope.instruments._regions_cells import Floats
from deepscope.instruments._regions_functions import kinks_of
from deepscope.instruments._regions_network import Network
from deepscope.instruments._regions_slice import Slice
from deepscope.subject import tensors_in

#: Values at the middle of two points may differ from their mean by this share of the largest: sums of some thousands
#: of terms in float64 err by 1e-13, and what is smooth differs by the square of the points' distance.
ROUNDING = 1e-11
#: What is left where values cancel is their rounding; so small a share of the arguments is no value.
_CANCELLED = 1e-2
#: Half the distance of two points, as a share of the slice's extent: tanh bends by 1e-8 of itself within it.
_NEAR = 1e-4
#: Where it is looked for, in coordinates as shares of the extent.
_PLACES = ((0.5, 0.1), (0.21, -0.63), (0.83, 0.47), (0.08, -0.31), (0.67, 0.92))


@dataclass(frozen=True)
class Bend:
    """A function that is not affine where all that it was given is, and the layer that called it."""

    function: str
    layer: str
    kind: str


def refuse_bent(network: Network, where: Slice) -> list[int]:
    """Raise where the network is smooth and not affine near one of a few points.

    Returns
    -------
    list
        Values per row of the largest tensor before the first function with kinks, and from each such function on to the
        next.

    Raises
    ------
    DoesNotApplyError
        Names the layer and the function.
    """
    largest: list[int] = []
    for place in _PLACES:
        middle = where.extent * np.array(place[: len(where.directions)])
        near = np.full(len(middle), _NEAR * where.extent)
        largest = refuse_between(network, where, middle - near, middle + near)
    return largest


def refuse_between(network: Network, where: Slice, one: Floats, other: Floats) -> list[int]:
    """Raise where a function without kinks is not affine between two points; coordinates, [d].

    Returns
    -------
    list
        As ``refuse_bent`` does.

    Raises
    ------
    DoesNotApplyError
        Names the layer and the function.
    """
    inputs, moved = where.inputs(np.stack([one, (one + other) / 2, other]), network.device)
    watch = _Watch(network, moved)
    with watch:
        network.run(inputs)
    if watch.found is not None:
        bend = watch.found
        raise DoesNotApplyError(
            f"the network is not affine in pieces: {bend.function} in {bend.layer or 'the network'} ({bend.kind}) "
            "is not, so there are no linear regions",
            where=bend.layer,
            todo="Regions are those of ReLU and its kin, maxima and what is linear; measure others with jacobian.",
        )
    return [each // 3 for each in watch.largest]


class _Watch(TorchFunctionMode):
    """Compares the middle one of three rows with the others, function by function."""

    def __init__(self, network: Network, moved: list[Tensor]) -> None:
        super().__init__()
        self.found: Bend | None = None
        #: Values of the largest tensor, up to the first function with kinks and from each on.
        self.largest = [max(each.numel() for each in moved)]
        self._network = network
        # Whether a tensor is affine over the three rows.
        self._affine: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        for each in moved:
            self._affine[each] = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [each for each in tensors_in((args, kwargs)) if each in self._affine]
        # Before the call, which may be in place.
        affine = all(self._affine[each] for each in given)
        largest = max(
            (float(each.abs().max()) for each in given if each.is_floating_point() and each.numel()), default=0.0
        )
        kinked = bool(given) and kinks_of(func, args, kwargs, 3) is not None
        if kinked:
            self.largest.append(0)
        result = func(*args, **kwargs)
        if given and self.found is None:
            for each in tensors_in(result):
                self.largest[-1] = max(self.largest[-1], each.numel())
                self._affine[each] = _is_affine(each, _CANCELLED * largest)
                if not self._affine[each] and affine and not kinked:
                    name, module = self._network.here()
                    function = getattr(func, "__name__", "").strip("_")
                    self.found = Bend(function, name, type(module).__name__)
        return result


def _is_affine(tensor: Tensor, least: float) -> bool:
    """Whether the middle row is the mean of the others, to rounding of the largest value or of ``least``."""
    if not tensor.is_floating_point():
        return bool((tensor == tensor[:1]).all()) if tensor.ndim else True
    if not tensor.numel() or not tensor.ndim or tensor.shape[0] != 3:
        return True
    low, middle, high = tensor.double()
    off = float((middle - (low + high) / 2).abs().max())
    return not off > ROUNDING * max(float(tensor.abs().max()), least)
