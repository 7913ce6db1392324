"""How far layers are from moving their output as their input is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.studies.convolution._locally_connected import LocallyConnected
from deepscope.studies.convolution._shifted_images import all_shifts

Maps = Callable[[Tensor], Tensor]
Shift = tuple[int, int]

#: How far beyond a place two layers of 3×3 see.
SEEN_BEYOND = 2
#: Shifts whose images pass through the layers together.
AT_ONCE = 32


def layer_errors(network: nn.Sequential, images: Tensor) -> dict[str, float]:
    """Return how far a network's layers are from equivariant, in the worst shift, or in the best where it is said.

    Parameters
    ----------
    network
        With two convolutions and max pooling; with a locally connected layer first; or with one hidden layer.
    images
        [n, 1, side, side], the side even, that a shift by 2 pixels moves without loss.

    Returns
    -------
    dict
        Of convolutions, without pooling: ``circular_error``, padded with the opposite border, all circular shifts;
        ``interior_error`` and ``best_border_error``, padded with zeros, shifts by up to 2 pixels, places that do not
        see the border, and all places. With the first pooling, padded with the opposite border: ``even_error`` and
        ``best_odd_error``, shifts by a multiple of the stride each way, and others. Of a locally connected layer
        ``best_error``, shifts by multiples of its stride; of hidden units ``best_span_error``, all circular shifts.
    """
    side = images.shape[-1]
    every = [(down, right) for down in range(side) for right in range(side) if down or right]
    if isinstance(network[0], LocallyConnected):
        stride = network[0].stride
        whole = [shift for shift in every if not (shift[0] % stride or shift[1] % stride)]
        return {"best_error": min(equivariance_errors(unshared_maps(network), images, whole, stride=stride))}
    if isinstance(network[0], nn.Flatten):
        weight = network[1].weight
        assert isinstance(weight, Tensor)
        return {"best_span_error": min(span_errors(weight, side, every))}
    near = [shift for shift in all_shifts(SEEN_BEYOND) if any(shift)]
    even = [shift for shift in every if not (shift[0] % 2 or shift[1] % 2)]
    odd = [shift for shift in every if shift not in even]
    circular, bordered, pooled = (
        convolution_maps(network, circular=circular, pooled=pooled)
        for circular, pooled in ((True, False), (False, False), (True, True))
    )
    return {
        "circular_error": max(equivariance_errors(circular, images, every)),
        "interior_error": max(equivariance_errors(bordered, images, near, border=SEEN_BEYOND)),
        "best_border_error": min(equivariance_errors(bordered, images, near)),
        "even_error": max(equivariance_errors(pooled, images, even, stride=2)),
        "best_odd_error": min(equivariance_errors(pooled, images, odd, stride=2)),
    }


@torch.no_grad()
def equivariance_errors(
    maps: Maps, images: Tensor, shifts: Sequence[Shift], *, stride: int = 1, border: int = 0
) -> list[float]:
    """Return ‖f(T x) − T f(x)‖ / ‖f(x) − mean f(x)‖ for each circular shift T; the mean is over places.

    What does not depend on the place at all would otherwise pass for equivariant.

    Parameters
    ----------
    maps
        From images [n, 1, side, side] to maps [n, channels, side/stride, side/stride].
    images
        [n, 1, side, side].
    shifts
        Down and to the right, in pixels of the images; multiples of the stride are exact, others move the output by the
        next smaller number of its places.
    stride
        Pixels per place of a map.
    border
        Compare only what is so many places away from the border, before and after the shift.

    Returns
    -------
    list of float
        NaN where the maps are constant.
    """
    still = maps(images)
    varying = still - still.mean((-2, -1), keepdim=True)
    found = []
    for (down, right), seen in zip(shifts, _of_shifted(maps, images, shifts), strict=True):
        moved = torch.roll(still, (down // stride, right // stride), (-2, -1))
        inside = (..., _inside(down, still.shape[-2], border), _inside(right, still.shape[-1], border))
        difference = (seen - moved)[inside]
        size = varying[inside].norm()
        found.append(float(difference.norm() / size) if size > 0 else float("nan"))
    return found


def _of_shifted(maps: Maps, images: Tensor, shifts: Sequence[Shift]) -> Iterator[Tensor]:
    for start in range(0, len(shifts), AT_ONCE):
        shifted = [torch.roll(images, shift, (-2, -1)) for shift in shifts[start : start + AT_ONCE]]
        yield from torch.split(maps(torch.cat(shifted)), len(images))


def _inside(shift: int, places: int, border: int) -> slice:
    if not border:
        return slice(None)
    return slice(border + max(shift, 0), places - border + min(shift, 0))


def convolution_maps(network: nn.Sequential, *, circular: bool, pooled: bool = False) -> Maps:
    """Return the output of a network's second convolution, without the pooling, or with the first one.

    ``circular`` pads with the opposite border instead of zeros.
    """
    layers = list(network)
    end = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)) + 2

    def maps(images: Tensor) -> Tensor:
        x = images
        for layer in layers[:end]:
            if isinstance(layer, nn.Conv2d) and circular:
                x = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="circular"), layer.weight, layer.bias)
            elif pooled or not isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
                x = layer(x)
        return x

    return maps


def unshared_maps(network: nn.Sequential) -> Maps:
    """Return the output of a network's first layer, locally connected, padded with the opposite border."""
    layer, active = network[0], network[1]
    assert isinstance(layer, LocallyConnected)

    def maps(images: Tensor) -> Tensor:
        padded = functional.pad(images, (1, 1, 1, 1), mode="circular")
        return torch.as_tensor(active(layer.of_padded(padded)))

    return maps


@torch.no_grad()
def span_errors(weight: Tensor, side: int, shifts: Iterable[Shift]) -> list[float]:
    """Return which part of shifted filters is not made of the filters: ‖W T (1 − P)‖ / ‖W T‖ for each circular shift T.

    Units have no places. But if a shift of the input did anything linear to their inputs W x, W T = A W for some A, the
    shifted filters would lie in the span of the filters, whose projector is P.

    Parameters
    ----------
    weight
        [units, side²]; fewer units than pixels.
    """
    filters = weight.double()
    basis = torch.linalg.qr(filters.T).Q
    found = []
    for shift in shifts:
        moved = torch.roll(filters.reshape(-1, side, side), shift, (-2, -1)).flatten(1)
        found.append(float((moved - moved @ basis @ basis.T).norm() / moved.norm()))
    return found
