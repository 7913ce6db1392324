"""How far training has turned the leading directions of each matrix, and how many spikes it has made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.instruments import Spectrum
from deepscope.linalg import leading_directions, principal_angles
from deepscope.subject import Weight

#: The columns, as they are where there is nothing to say.
NOT_TURNED = {"spikes_born": None, "n_directions": None, "left_angle": None, "right_angle": None}
_MOST = 10


class _Matrix(NamedTuple):
    """A matrix within a tensor, and its number of spikes."""

    part: str
    shape: tuple[int, int]
    n_matrices: int
    n_spikes: int | None

    def of(self, weight: Weight, tensor: Tensor) -> Tensor:
        for part in weight.layout.parts:
            if part.name == self.part:
                return part.of(tensor)
        return tensor.reshape(self.shape)


class Turning:
    """Measures tensors of two networks whose spectra are known.

    Of a matrix of a and b: the largest principal angle between the spans of their k leading left singular vectors, and
    of their right ones, with k the number of spikes of b, at least 1 and at most 10. Of a tensor in parts, such as a
    fused query, key and value: the largest over its parts.

    Parameters
    ----------
    before, after
        The spectra of a and b.

    Notes
    -----
    Cost: of each side once more what the eigenvalues cost; memory one matrix in float64 and its Gram matrix.
    Source: ``bjorck1973numerical``.
    """

    def __init__(self, before: Spectrum, after: Spectrum) -> None:
        self._before, self._after = _matrices(before), _matrices(after)
        self._reasons = dict(before.left_out) | dict(after.left_out)

    def of(self, a: Weight, b: Weight, x: Tensor, y: Tensor) -> dict[str, Any]:
        """Return the columns of ``NOT_TURNED``, angles in degrees, and ``angle_status``: why there are none, or ok."""
        before, after = self._before.get(a.name), self._after.get(b.name)
        if before is None or after is None:
            reason = self._reasons.get(a.name) or self._reasons.get(b.name) or "it has no spectrum"
            return {**NOT_TURNED, "angle_status": reason}
        born = {**NOT_TURNED, "spikes_born": _born(before, after)}
        if [each[:3] for each in before] != [each[:3] for each in after]:
            return {**born, "angle_status": "it is not read as the same matrices in both"}
        if any(each.n_matrices > 1 for each in after):
            return {**born, "angle_status": "it is several matrices, whose spikes are counted together"}
        try:
            angles = list(_angles(before, after, a, b, x, y))
        except MeasurementError as error:
            return {**born, "angle_status": error.what}
        return {
            **born,
            "n_directions": sum(count for count, _, _ in angles),
            "left_angle": max(left for _, left, _ in angles),
            "right_angle": max(right for _, _, right in angles),
            "angle_status": "ok",
        }


def _angles(
    before: list[_Matrix], after: list[_Matrix], a: Weight, b: Weight, x: Tensor, y: Tensor
) -> Iterator[tuple[int, float, float]]:
    for first, second in zip(before, after, strict=True):
        k = min(max(1, second.n_spikes or 0), _MOST, *second.shape)
        mine, theirs = leading_directions(first.of(a, x), k), leading_directions(second.of(b, y), k)
        left, right = principal_angles(mine.left, theirs.left)[-1], principal_angles(mine.right, theirs.right)[-1]
        yield k, math.degrees(left), math.degrees(right)


def _born(before: list[_Matrix], after: list[_Matrix]) -> int | None:
    counts = [[each.n_spikes for each in side] for side in (before, after)]
    mine, theirs = ([count for count in side if count is not None] for side in counts)
    return sum(theirs) - sum(mine) if [len(mine), len(theirs)] == [len(before), len(after)] else None


def _matrices(spectrum: Spectrum) -> dict[str, list[_Matrix]]:
    found: dict[str, list[_Matrix]] = {}
    for row in spectrum.weights:
        found.setdefault(row.tensor, []).append(_Matrix(row.part, (row.rows, row.cols), row.n_matrices, row.n_spikes))
    return found
