"""What transformations do to tensors: shifts, turns, flips, permutations, scalings."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from deepscope.instruments._symmetry_transformation import LayerPlace, Move


def shifted(steps: int) -> Move:
    """Move by so many positions of the input along every axis, cyclically: what leaves on one side enters on the other.

    A tensor whose stride does not divide the shift has no position to move to.
    """

    def move(tensor: Tensor, place: LayerPlace) -> Tensor | None:
        if not place.positions:
            return None
        strides = place.strides or (math.nan,) * len(place.positions)
        by = []
        for dim, stride in zip(place.positions, strides, strict=True):
            step = 0.0 if tensor.shape[dim] == 1 else steps / stride
            if math.isnan(step) or not step.is_integer():
                return None
            by.append(int(step))
        return torch.roll(tensor, by, place.positions)

    return move


def turned(quarters: int) -> Move:
    """Turn by quarters of a circle, exactly, in the plane of the last two position axes."""

    def move(tensor: Tensor, place: LayerPlace) -> Tensor | None:
        if len(place.positions) < 2:
            return None
        plane = place.positions[-2:]
        square = tensor.shape[plane[0]] == tensor.shape[plane[1]]
        return torch.rot90(tensor, quarters, plane) if square or quarters % 2 == 0 else None

    return move


def rotated(degrees: float) -> Move:
    """Turn by any angle about the centre, with bilinear interpolation and zeros from outside."""

    def move(tensor: Tensor, place: LayerPlace) -> Tensor | None:
        if len(place.positions) < 2 or not tensor.is_floating_point():
            return None
        plane = place.positions[-2:]
        maps = tensor.movedim(plane, (-2, -1))
        flat = maps.reshape(len(tensor), -1, *maps.shape[-2:])
        height, width = flat.shape[-2:]
        angle = math.radians(degrees)
        # In the sampling grid's coordinates both sides are 2 long, whatever their number of pixels.
        skew = [
            [math.cos(angle), -math.sin(angle) * height / width, 0.0],
            [math.sin(angle) * width / height, math.cos(angle), 0.0],
        ]
        theta = torch.tensor(skew, dtype=flat.dtype, device=flat.device).expand(len(flat), 2, 3)
        grid = functional.affine_grid(theta, list(flat.shape), align_corners=False)
        turned_maps = functional.grid_sample(flat, grid, align_corners=False)
        return turned_maps.reshape(maps.shape).movedim((-2, -1), plane)

    return move


def disc(tensor: Tensor, place: LayerPlace) -> Tensor:
    """Return 1 within a circle that stays inside the picture however it is turned, 0 outside, broadcast to a tensor."""
    one, other = place.positions[-2:]
    sides = [tensor.shape[one], tensor.shape[other]]
    places = [torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in sides]
    distance = places[0][:, None] ** 2 + places[1][None, :] ** 2
    # Half a pixel less than the picture: bilinear interpolation at the rim asks for its neighbours.
    inside = distance <= (max(min(sides) - 1, 1) / 2) ** 2
    shape = [1] * tensor.ndim
    shape[one], shape[other] = sides
    return (inside if one < other else inside.T).reshape(shape).to(tensor)


def flipped(axis: int) -> Move:
    """Turn the order of positions round along an axis of them, counted from the last."""

    def move(tensor: Tensor, place: LayerPlace) -> Tensor | None:
        return torch.flip(tensor, [place.positions[-axis]]) if len(place.positions) >= axis else None

    return move


def scaled(factor: float) -> Move:
    """Multiply by a factor."""
    return lambda tensor, place: tensor * factor if tensor.is_floating_point() else None


def positions_permuted(keys: Tensor) -> Move:
    """Put positions into the order of random keys, one for each of the input's; padding stays where it is.

    Parameters
    ----------
    keys
        [length], all different.
    """

    def move(tensor: Tensor, place: LayerPlace) -> Tensor | None:
        # What has another number of positions, such as one more for a class token, does not follow.
        if len(place.positions) != 1 or tensor.shape[place.positions[0]] != len(keys):
            return None
        (dim,) = place.positions
        if place.real is None:
            return tensor.index_select(dim, keys.argsort().to(tensor.device))
        order = _among_real(keys, place.real.cpu()).to(tensor.device)
        rows = tensor.movedim(dim, 1)
        index = order.reshape(*order.shape, *[1] * (rows.ndim - 2)).expand(rows.shape)
        return rows.gather(1, index).movedim(1, dim)

    return move


def _among_real(keys: Tensor, real: Tensor) -> Tensor:
    """Return, for each sample, the order of keys among its real positions; other positions keep their place."""
    order = torch.arange(len(keys)).repeat(len(real), 1)
    for row, mask in zip(order, real, strict=True):
        places = mask.nonzero().flatten()
        row[places] = places[keys[places].argsort()]
    return order


def features_permuted(draw: Callable[[int], Tensor]) -> Move:
    """Put the features of vectors [n, d] into another order, ``draw(d)``."""

    def move(tensor: Tensor, place: LayerPlace) -> Tensor | None:
        del place
        return tensor[:, draw(tensor.shape[1]).to(tensor.device)] if tensor.ndim == 2 else None

    return move
