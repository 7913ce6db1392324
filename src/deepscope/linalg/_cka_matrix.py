"""How alike all pairs of many representations are, from batches of samples."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError

Floats = NDArray[np.float64]

#: Samples of a batch from which on its kernels are compared.
FEWEST = 4
#: Groups of batches of which each is left out once; batches belong to them in turn.
_GROUPS = 32
#: Features up to so far from 1 in either direction have squares in range.
_MODERATE = 1e9
#: In single precision, a kernel of which less than this share of its trace is left without its diagonal and its
#: means has none.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class CKAEstimate:
    """Alignments of all pairs.

    Attributes
    ----------
    values
        [l, m]; missing where a representation is the same for all samples.
    stderr
        [l, m], by leaving out groups of batches in turn (jackknife); missing with fewer than two batches.
    n_samples, n_batches
        What they rest on.
    """

    values: Floats
    stderr: Floats
    n_samples: int
    n_batches: int


class CKAMatrix:
    """Unbiased centred kernel alignment between all pairs of representations, batch by batch.

    HSIC of each pair is estimated without bias in every batch (see ``cka``) and averaged over batches, weighed by their
    samples; so the average is that of all samples but for pairs of samples from different batches, which it does not
    look at (``nguyen2021wide``). Memory: one batch's kernels, n²·(l + m)/2 numbers in
    single precision, twice while they are compared.

    Parameters
    ----------
    bandwidth
        None for linear kernels. Otherwise of Gaussian ones, exp(−‖x − x′‖²/(2σ²)), σ as a share of the median distance
        in the first batch.

    Notes
    -----
    Cost: n²·d a representation and batch, and n²·l·m for the pairs, one product of matrices.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> layers = [torch.randn(400, 10, generator=generator) for _ in range(2)]
    >>> pairs = CKAMatrix()
    >>> for start in range(0, 400, 100):
    ...     pairs.add([each[start : start + 100] for each in (*layers, 2 * layers[0])])
    >>> pairs.result().values.round(1).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """

    def __init__(self, *, bandwidth: float | None = None) -> None:
        if bandwidth is not None and not bandwidth > 0:
            raise UsageError("a bandwidth is positive", where=f"bandwidth = {bandwidth}")
        self._bandwidth = bandwidth
        # By representation: the unit in which its kernels are computed, the same in all batches, and its width.
        self._units: dict[Hashable, float] = {}
        self._widths: dict[Hashable, float] = {}
        self._places: dict[tuple[int, torch.device], Tensor] = {}
        # By group of batches: samples, and sums over batches weighed by them.
        self._groups: list[list[Any]] = []
        self._n_batches = 0

    def add(self, xs: Sequence[Tensor], ys: Sequence[Tensor] | None = None) -> None:
        """Add a batch.

        Parameters
        ----------
        xs
            l representations of the same n samples, [n, …] each.
        ys
            m others of them, of another network; the same as ``xs`` unless given.

        Raises
        ------
        UsageError
            Fewer than four samples, or not the same number everywhere or as many representations as before.
        """
        everything = [*xs, *(ys or ())]
        lengths = {len(each) for each in everything}
        if len(lengths) != 1:
            raise UsageError(
                "representations cannot be compared",
                where=f"batches of {', '.join(map(str, sorted(lengths))) or 'no'} samples",
                todo="Give the same samples of all, at least four.",
            )
        mine = [self.kernel(each, f"x[{index}]") for index, each in enumerate(xs)]
        theirs = None if ys is None else [self.kernel(each, f"y[{index}]") for index, each in enumerate(ys)]
        self.add_kernels(mine, theirs)

    def kernel(self, x: Tensor, key: Hashable) -> Tensor:
        """Return what counts of a batch's kernel, so that the representation itself need not be kept.

        Parameters
        ----------
        x
            A representation of n samples, [n, …].
        key
            Which: the same in all batches.

        Returns
        -------
        Tensor
            [n(n − 1)/2], in single precision, for ``add_kernels``.

        Raises
        ------
        UsageError
            Fewer than four samples, or values that are not finite.
        """
        if len(x) < FEWEST:
            raise UsageError(
                "representations cannot be compared", where=f"{len(x)} samples", todo="Give at least four."
            )
        X = x.detach().reshape(len(x), -1)
        X = X.float() if X.dtype not in (torch.float32, torch.float64) else X
        given, X = X, X - X.mean(dim=0)
        totals = X.sum(dim=0)
        # Sums and squares of the largest numbers overflow in single precision.
        if given.dtype == torch.float32 and not bool(torch.isfinite(totals.sum())) and bool(given.isfinite().all()):
            X = given.double()
            X = X - X.mean(dim=0)
            totals = X.sum(dim=0)
        if key not in self._units:
            largest = float(torch.linalg.vector_norm(X, torch.inf)) if X.numel() else 0.0
            if largest > 0:
                # Squares neither overflow nor vanish; a scale that does neither is not worth a pass.
                self._units[key] = 1.0 if 1 / _MODERATE < largest < _MODERATE else largest
        if self._units.get(key, 1.0) != 1.0:
            X, totals = X / self._units[key], totals / self._units[key]
        centred, size = self._linear(X, totals) if self._bandwidth is None else self._gaussian(X, self._bandwidth, key)
        if not math.isfinite(size):
            raise UsageError("a representation holds values that are not finite", where=f"{key}")
        upper = centred.flatten().take(self._upper(len(x), centred.device)).float()
        return upper if float(torch.linalg.vector_norm(upper)) > _ROUNDING * size else torch.zeros_like(upper)

    def _upper(self, n: int, device: torch.device) -> Tensor:
        """Return where the entries above the diagonal lie in a matrix, flattened."""
        if (n, device) not in self._places:
            rows, columns = torch.triu_indices(n, n, 1, device=device)
            self._places = {(n, device): rows * n + columns}
        return self._places[n, device]

    def add_kernels(self, xs: Sequence[Tensor], ys: Sequence[Tensor] | None = None) -> None:
        """Add a batch by what ``kernel`` made of its representations.

        Raises
        ------
        UsageError
            Not the same number of samples everywhere, or not as many representations as before.
        """
        lengths = {len(each) for each in (*xs, *(ys or ()))}
        if len(lengths) != 1:
            raise UsageError("kernels of different samples cannot be compared", where=f"{sorted(lengths)} entries")
        # Entries above the diagonal, n(n − 1)/2.
        n = (1 + math.isqrt(1 + 8 * lengths.pop())) // 2
        mine = torch.stack(list(xs))
        theirs = mine if ys is None else torch.stack(list(ys))
        shape = (len(mine), len(theirs))
        if self._groups and self._groups[0][1].shape != shape:
            raise UsageError(
                "a batch has other representations than the ones before",
                where=f"{shape[0]} × {shape[1]} instead of {' × '.join(map(str, self._groups[0][1].shape))}",
            )
        scale = n * (n - 3) / 2
        both = (mine @ theirs.T.to(mine.device)).double().cpu().numpy() / scale
        own, other = (
            torch.linalg.vector_norm(each, dim=1).double().cpu().numpy() ** 2 / scale for each in (mine, theirs)
        )
        found = [n, n * both, n * own, n * other]
        group = self._n_batches % _GROUPS
        if group == len(self._groups):
            self._groups.append(found)
        else:
            self._groups[group] = [mine + new for mine, new in zip(self._groups[group], found, strict=True)]
        self._n_batches += 1

    def result(self) -> CKAEstimate:
        """Return the alignments of all that was added.

        Raises
        ------
        UsageError
            Nothing was added.
        """
        if not self._groups:
            raise UsageError("no samples were added")
        weights, *parts = (np.array([each[index] for each in self._groups]) for index in range(4))
        total = [each.sum(axis=0) for each in parts]
        values = _alignment(*total)
        stderr = np.full_like(values, np.nan)
        count = len(self._groups)
        if count > 1:
            without = np.stack(
                [
                    _alignment(*(whole - each[group] for whole, each in zip(total, parts, strict=True)))
                    for group in range(count)
                ]
            )
            stderr = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
        return CKAEstimate(values, stderr, int(weights.sum()), self._n_batches)

    def _linear(self, X: Tensor, totals: Tensor) -> tuple[Tensor, float]:
        """Return the centred kernel XXᵀ and its trace; ``totals`` are the sums of X's columns.

        What is taken off follows from these, so that the product itself is the only pass over n² numbers.
        """
        diagonal = torch.linalg.vector_norm(X, dim=1).square()
        return _taken_off(X @ totals, diagonal).addmm_(X, X.T, beta=-1), float(diagonal.sum())

    def _gaussian(self, X: Tensor, bandwidth: float, key: Hashable) -> tuple[Tensor, float]:
        squares = torch.cdist(X, X).square()
        if key in self._units and key not in self._widths:
            above = torch.triu_indices(len(X), len(X), 1, device=X.device)
            self._widths[key] = bandwidth * math.sqrt(float(squares[above[0], above[1]].median()))
        width = self._widths.get(key, 0.0)
        K = torch.exp(-squares / (2 * width**2)) if width > 0 else torch.ones_like(squares)
        diagonal = K.diagonal()
        return K - _taken_off(K.sum(dim=1), diagonal), float(diagonal.sum())


def _alignment(across: Floats, left: Floats, right: Floats) -> Floats:
    # A difference of sums may leave a rounding below 0 of what is 0.
    norms = np.sqrt(np.outer(np.maximum(left, 0), np.maximum(right, 0)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norms > 0, np.minimum(across / norms, 1.0), np.nan)


def _taken_off(rows: Tensor, diagonal: Tensor) -> Tensor:
    """Return what centring takes off a kernel, [n, n], from the sums of its rows and its diagonal.

    Inner products of entries off the diagonal are then n(n − 3) times unbiased HSIC: of K̃, the kernel without its
    diagonal, (K̃1)ᵢ/(n − 2) + (K̃1)ⱼ/(n − 2) − 1ᵀK̃1/((n − 1)(n − 2)) (``szekely2014partial``).
    """
    n = len(rows)
    sums = (rows - diagonal) / (n - 2)
    return sums[:, None] + (sums - sums.sum() / (n - 1))
