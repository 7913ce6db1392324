"""Block Krylov spaces: the Lanczos process with full reorthogonalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.linalg._linear_operator import LinearOperator
from deepscope.linalg._orthonormal_basis import OrthonormalBasis

Floats = NDArray[np.float64]

# Rounding of one product and its orthogonalisation, in units of ε·‖A‖: a residual below it is taken to be zero.
_ROUNDING = 16.0


@dataclass(frozen=True, eq=False)
class RitzPairs:
    """Eigenpairs of A restricted to a Krylov space.

    Attributes
    ----------
    values
        θ, ascending, [k].
    coordinates
        Columns s: the Ritz vector is Vᵀs, [k, k].
    residuals
        ‖A·Vᵀs − θ·Vᵀs‖, [k], without rounding.
    """

    values: Floats
    coordinates: Floats
    residuals: Floats


class KrylovSpace:
    """An orthonormal basis V of a block Krylov space, A projected on it, and the coupling to what comes next.

    Of n × capacity numbers, and a capacity × capacity matrix in float64 on the CPU.

    Attributes
    ----------
    closed
        How many vectors of the basis have been multiplied with A.
    norm
        Largest ‖A·v‖ over the vectors so far: a lower bound on ‖A‖.
    """

    def __init__(self, operator: LinearOperator, capacity: int) -> None:
        self.basis = OrthonormalBasis(operator, capacity)
        self._epsilon = float(torch.finfo(operator.dtype).eps)
        self._projected = np.zeros((capacity, capacity))
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything but the memory."""
        self.basis.clear()
        self.closed, self.norm = 0, 0.0
        self._last = 0
        self._coupling = np.zeros((0, 0))

    @property
    def rounding(self) -> float:
        """16·ε·‖A‖ with ``norm`` for ‖A‖."""
        return _ROUNDING * self._epsilon * self.norm

    @property
    def newest(self) -> Tensor:
        """The vectors that have not been multiplied with A, [n, b], as a view; empty where there are none."""
        return self.basis.rows(self.closed).T

    def begin(self, block: Tensor) -> None:
        """Start from a block, or, where A's products brought nothing new, go on with another one."""
        lengths = torch.linalg.vector_norm(block, dim=0)
        directions = self.basis.expand(block, self._epsilon * float(lengths.max())).directions
        self.basis.append(directions[:, : self.basis.room])
        self._coupling = np.zeros((0, self.closed - self._last))

    def take(self, product: Tensor) -> int:
        """Take in A·newest; return how many new directions it has.

        They are the next ``newest`` if the basis has room for all of them. If not, nothing is newest.

        Raises
        ------
        MeasurementError
            The product is not finite, or A is not symmetric.
        """
        begin, end = self.closed, self.basis.size
        lengths = torch.linalg.vector_norm(product, dim=0)
        self.norm = max(self.norm, float(lengths.max()))
        found = self.basis.expand(product, self.rounding)
        self._check_symmetry(found.inside, begin)
        self._projected[:end, begin:end] = found.inside
        self._last, self.closed, self._coupling = begin, end, found.outside
        rank = len(found.outside)
        if rank <= self.basis.room:
            self.basis.append(found.directions)
        return rank

    def ritz(self) -> RitzPairs:
        """Return the eigenpairs of the projected matrix, of which the upper triangle is kept."""
        values, coordinates = np.linalg.eigh(self._projected[: self.closed, : self.closed], UPLO="U")
        residuals = np.linalg.norm(self._coupling @ coordinates[self._last :], axis=0)
        return RitzPairs(values, coordinates, residuals)

    def ritz_values_since(self, begin: int) -> Floats:
        """Return the Ritz values of the part of the basis from ``begin`` on, ascending."""
        return np.asarray(np.linalg.eigvalsh(self._projected[begin : self.closed, begin : self.closed], UPLO="U"))

    def combine(self, coordinates: Floats) -> Tensor:
        """Return the vectors with these coordinates, [n, count]."""
        return self.basis.combine(coordinates)

    def _check_symmetry(self, inside: Floats, begin: int) -> None:
        """Compare the product's coefficients with those that symmetry foretells.

        vᵀA·newest is the transpose of newestᵀA·v: the last coupling for the block before, and 0 for those before it.
        """
        foretold = np.zeros((begin, inside.shape[1]))
        if self._coupling.size:
            foretold[self._last :] = self._coupling.T
        square = inside[begin:]
        worst = max(np.abs(inside[:begin] - foretold).max(initial=0.0), np.abs(square - square.T).max())
        if worst > self._epsilon**0.5 * self.norm:
            raise MeasurementError(
                f"the operator is not symmetric: uᵀAv and vᵀAu differ by {worst / self.norm:.1g} of ‖A‖"
            )
