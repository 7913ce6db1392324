"""The transformations that are asked for by name, and those that are taken where none are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from deepscope.core import DoesNotApplyError, UsageError, derive_seed, nearest
from deepscope.instruments import _symmetry_moves as moves
from deepscope.instruments._symmetry_layout import InputLayout
from deepscope.instruments._symmetry_transformation import Family, Move, Transformation
from deepscope.subject import n_samples

#: What is measured unless a group is given, by kind of input.
DEFAULT = {
    "images": ("translations", "rotations", "flips"),
    "sequences": ("translations", "permutations"),
    "tokens": ("permutations",),
    "vectors": ("signs", "scalings", "permutations"),
}
GROUPS = ("translations", "rotations", "flips", "permutations", "scalings", "signs")

Group = str | Transformation | Sequence[str | Transformation]

#: Random permutations, and shifts, of a family.
_PERMUTATIONS, _SHIFTS = 4, 6


def families_of(
    layout: InputLayout, group: Group | None, angles: Sequence[float], factors: Sequence[float], seed: int
) -> tuple[Family, ...]:
    """Return the families of transformations that are asked for.

    Raises
    ------
    UsageError
        A name is unknown.
    DoesNotApplyError
        None of the families can be applied to such inputs.
    """
    asked: Iterable[str | Transformation] = DEFAULT[layout.kind] if group is None else group  # type: ignore[assignment]
    if isinstance(asked, (str, Transformation)):
        asked = [asked]
    asked = list(asked)
    make: dict[str, Callable[[], Family]] = {
        "translations": partial(_translations, layout),
        "rotations": partial(_rotations, layout, angles),
        "flips": partial(_flips, layout),
        "permutations": partial(_permutations, layout, seed),
        "scalings": partial(_multiplied, layout, "scalings", factors),
        "signs": partial(_multiplied, layout, "signs", (-1.0,)),
    }
    unknown = [each for each in asked if isinstance(each, str) and each not in make]
    if unknown:
        raise UsageError("unknown group", where=unknown[0], todo=nearest(unknown[0], make))
    found = tuple(make[each]() if isinstance(each, str) else Family(each.name, (each,)) for each in asked)
    if not any(family.members for family in found):
        raise DoesNotApplyError(
            "; ".join(f"{family.name}: {family.status}" for family in found) or "no transformation is given",
            where=f"{layout.kind} of {list(layout.shape)}",
            todo="Give group=Transformation(name, act): what is to be done to the inputs.",
        )
    return found


def thinned(family: Family, most: int | None) -> Family:
    """Return a family with so many of its transformations, evenly from the last on: of shifts the largest."""
    n = len(family.members)
    if most is None or n <= most:
        return family
    places = sorted({n - 1 - round(index * (n - 1) / max(1, most - 1)) for index in range(most)})
    status = f"{len(places)} of {n} transformations, as asked for"
    return replace(
        family,
        members=tuple(family.members[place] for place in places),
        status=status if family.status == "ok" else f"{family.status}; {status}",
    )


def _of(layout: InputLayout, name: str, move: Move) -> Transformation:
    return Transformation(name, lambda inputs: layout.moved(inputs, move, n_samples(inputs)), on_layer=move)


def _translations(layout: InputLayout) -> Family:
    name = "translations"
    if not layout.positions:
        return Family(name, (), f"{layout.kind} have no positions")
    # Powers of two, so that some are multiples of the strides behind which deep layers stand.
    shifts = [2**power for power in range(20) if 4 * 2**power <= min(layout.sizes)] or [1]
    if len(shifts) > _SHIFTS:
        shifts = [shifts[round(i * (len(shifts) - 1) / (_SHIFTS - 1))] for i in range(_SHIFTS)]
    if min(layout.sizes) < 2:
        return Family(name, (), "there is one position only")
    return Family(name, tuple(_of(layout, f"shifted by {shift}", moves.shifted(shift)) for shift in shifts))


def _rotations(layout: InputLayout, angles: Sequence[float]) -> Family:
    name = "rotations"
    if len(layout.positions) < 2:
        return Family(name, (), f"{layout.kind} have no plane to turn in")
    height, width = layout.sizes[-2:]
    members, lost = [], []
    for angle in angles:
        text = f"turned by {angle:g}°"
        if angle % 90:
            back = _of(layout, text, moves.rotated(-angle))
            members.append(replace(_of(layout, text, moves.rotated(angle)), window=moves.disc, undo=back.act))
        elif height != width and angle % 180:
            lost.append(f"{angle:g}°")
        else:
            members.append(_of(layout, text, moves.turned(round(angle / 90))))
    status = f"without {', '.join(lost)}: pictures of {height} × {width} would have another shape" if lost else "ok"
    return Family(name, tuple(members), status)


def _flips(layout: InputLayout) -> Family:
    if not layout.positions:
        return Family("flips", (), f"{layout.kind} have no positions")
    words = ("reversed",) if len(layout.positions) == 1 else ("mirrored left to right", "turned upside down")
    words = (*words, *(f"mirrored along axis {axis}" for axis in range(len(words) + 1, len(layout.positions) + 1)))
    made = [_of(layout, word, moves.flipped(axis)) for axis, word in enumerate(words, start=1)]
    return Family("flips", tuple(made))


def _permutations(layout: InputLayout, seed: int) -> Family:
    name = "permutations"
    if layout.kind == "images":
        return Family(name, (), "pictures have a plane of positions, not a set")
    length = layout.sizes[0] if layout.positions else layout.shape[0] if layout.shape else 1
    if length < 2 or (not layout.positions and layout.kind == "tokens"):
        return Family(name, (), "there is nothing to put into another order")
    made = []
    for index in range(_PERMUTATIONS):
        draw = partial(_keys, seed, index)
        move = (
            moves.positions_permuted(draw(length))
            if layout.positions
            else moves.features_permuted(lambda width, draw=draw: draw(width).argsort())  # type: ignore[misc]
        )
        made.append(_of(layout, f"permutation {index + 1}", move))
    return Family(name, tuple(made))


def _keys(seed: int, index: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "permutation", index, length))
    return torch.rand(length, generator=generator, dtype=torch.float64)


def _multiplied(layout: InputLayout, name: str, factors: Sequence[float]) -> Family:
    if not layout.is_floating:
        return Family(name, (), f"these {layout.kind} are integers")
    text = "sign changed" if name == "signs" else "times {:g}"
    return Family(name, tuple(_of(layout, text.format(factor), moves.scaled(factor)) for factor in factors))
