"""Tell whether a tensor still looks as its initialiser left it.

Sources: ``paszke2019pytorch`` (PyTorch's own), ``glorot2010understanding``, ``he2015delving``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deepscope.linalg import tracy_widom_threshold
from deepscope.subject import Role, Weight

#: Below this many values a trained tensor cannot be told from a fresh one with any confidence.
FEWEST_VALUES = 256
#: The same for initialisers other than PyTorch's own: there are many, and a trained tensor may come to the size of one.
FEWEST_VALUES_OTHERWISE = 1024
_SAMPLE = 4096
#: Kolmogorov's 99.9 % quantile, times √n.
_KOLMOGOROV = 1.95
#: Standard deviation of a standard normal distribution cut at ±2: √(1 − 4φ(2)/erf(√2)).
_STD_OF_CUT_NORMAL = 0.8796256610342398
_ROWS = 64
_NEARLY = 0.01
#: Up to this many values the sample is drawn without replacement, which takes an order of all of them.
_ORDERED = 2**20
_MATRIX_ROLES = (Role.LINEAR, Role.CONVOLUTION, Role.EMBEDDING, Role.ATTENTION, Role.RECURRENT)


@dataclass(frozen=True)
class Initialiser:
    """A distribution that weights start from: uniform on ±scale, or normal with standard deviation ``scale``."""

    name: str
    kind: Literal["uniform", "normal"]
    scale: float

    @property
    def is_default(self) -> bool:
        """Whether PyTorch uses it where nothing else is asked for."""
        return self.name.startswith("PyTorch")

    @property
    def is_sharp(self) -> bool:
        """Whether training would show at once: a uniform distribution has a bound that some value passes.

        A normal one has none. Training that moves its values by less than some 30 % leaves the size, the largest value
        and the distribution as noise leaves them.
        """
        return self.kind == "uniform"

    @property
    def std(self) -> float:
        """Standard deviation of the values."""
        return self.scale / math.sqrt(3) if self.kind == "uniform" else self.scale


def initialisers(weight: Weight) -> tuple[Initialiser, ...]:
    """Return the initialisers in common use for a tensor of this role and shape, PyTorch's default first."""
    if len(weight.shape) < 2 or weight.count == 0 or weight.role not in _MATRIX_ROLES:
        return ()
    if weight.role is Role.EMBEDDING:
        return (Initialiser("PyTorch's default", "normal", 1.0), Initialiser("BERT's and GPT-2's", "normal", 0.02))
    return tuple(_of_matrix(weight))


def _of_matrix(weight: Weight) -> Iterator[Initialiser]:
    rows, cols = weight.shape[0], math.prod(weight.shape[1:])
    kernel = math.prod(weight.shape[2:])
    glorot = math.sqrt(6 / (rows * kernel + cols))
    # A file does not say which dimension is summed over (GPT-2 stores [in, out]), so both are tried.
    fans = [weight.fan_in] if weight.fan_in else [cols, rows] if len(weight.shape) == 2 else [cols]
    if weight.role is Role.RECURRENT and weight.fan_in is None:
        # The default goes by the hidden size: the columns of ``weight_hh``, else a share of the rows (LSTM, GRU, RNN).
        shares = [rows // gates for gates in (4, 3, 1) if rows % gates == 0]
        fans = [cols, *shares] if "weight_hh" in weight.name else [*shares, cols]
    if weight.role is Role.ATTENTION and weight.fan_in is None:
        yield Initialiser("PyTorch's default for attention", "uniform", glorot)
    for fan in fans:
        yield Initialiser("PyTorch's default", "uniform", 1 / math.sqrt(fan))
    yield Initialiser("Glorot's uniform", "uniform", glorot)
    yield Initialiser("Glorot's normal", "normal", glorot / math.sqrt(3))
    for fan in fans:
        yield Initialiser("He's uniform", "uniform", math.sqrt(6 / fan))
        yield Initialiser("He's normal", "normal", math.sqrt(2 / fan))
        yield Initialiser("LeCun's normal", "normal", math.sqrt(1 / fan))
    yield Initialiser("BERT's and GPT-2's", "normal", 0.02)


def recognise(tensor: Tensor, weight: Weight, rms: float, max_abs: float) -> Initialiser | None:
    """Return the initialiser that the values cannot be told from, or None.

    Four tests must all pass, so that a fresh network of many layers is seen as fresh in all of them: the root mean
    square, the largest magnitude (the sharpest one for uniform values: training pushes some entry past the bound at
    once), the Kolmogorov–Smirnov distance of up to 4,096 values, and, for matrices, a largest singular value no
    larger than noise of this size has. Together they miss a fresh tensor of PyTorch's default with a probability of
    at most 0.5 %.

    Cost: a sort of 4,096 values, and an order of up to 2²⁰ places to choose them; for a tensor that passes so far, ten
    multiplications by the matrix.
    """
    if weight.count < FEWEST_VALUES or max_abs == 0:
        return None
    resolution = 2 * torch.finfo(tensor.dtype).eps
    for initialiser in initialisers(weight):
        if (
            _rms_fits(initialiser, rms, weight.count)
            and _maximum_fits(initialiser, max_abs, weight.count, resolution)
            and _distribution_fits(initialiser, tensor)
            and _within_edge(tensor, initialiser.std)
        ):
            return initialiser
    return None


def _rms_fits(initialiser: Initialiser, rms: float, n: int) -> bool:
    # Relative standard deviation of the root mean square of n values: √(kurtosis − 1) / (2√n), with a kurtosis of
    # 9/5 (uniform) or 3 (normal). Four of them.
    kurtosis = 9 / 5 if initialiser.kind == "uniform" else 3.0
    return abs(rms / initialiser.std - 1) <= 4 * math.sqrt(kurtosis - 1) / (2 * math.sqrt(n))


def _maximum_fits(initialiser: Initialiser, max_abs: float, n: int, resolution: float) -> bool:
    ratio = max_abs / initialiser.scale
    if initialiser.kind == "uniform":
        # P(all n values below 1 − x of the bound) = (1 − x)^n < e^(−7) at x = 7/n.
        return 1 - 7 / n - resolution <= ratio <= 1 + resolution
    # P(any of n normal values beyond t) ≤ n·2·exp(−t²/2) = 0.1 % at t; the lower end likewise, generously.
    upper = math.sqrt(2 * math.log(2000 * n))
    return upper / 2 <= ratio <= upper


def _distribution_fits(initialiser: Initialiser, tensor: Tensor) -> bool:
    values = _sample(tensor) / initialiser.scale
    expected = (values + 1) / 2 if initialiser.kind == "uniform" else torch.special.ndtr(values)
    # Kolmogorov's 0.1 % quantile; rounding to a coarse dtype moves values by a part of the resolution only.
    return _distance(expected) <= _KOLMOGOROV / math.sqrt(len(values))


def looks_trained(tensor: Tensor, rms: float, max_abs: float) -> bool:
    """Whether values are shown not to be independent draws of one size, as every usual initialiser makes them.

    Either they are neither normal, nor normal cut at twice its standard deviation (JAX, timm), nor uniform at their
    own root mean square (Kolmogorov–Smirnov over up to 4,096 of them, at the 0.1 % level), or a singular value lies
    beyond the 99.9 % Tracy–Widom edge at their own variance. Exact zeros (a padding row, pruning) are left out.
    Matrices whose rows or columns are orthogonal and of one length (orthogonal, identity and Dirac initialisation)
    and values that are all of one size are no evidence. A trained matrix may well pass for independent values: False
    says nothing.

    Cost: a sort of 4,096 values; where they look independent, ten multiplications by the matrix.
    """
    zeros = int((tensor == 0).sum())
    count = tensor.numel() - zeros
    if count < FEWEST_VALUES or max_abs <= rms * math.sqrt(tensor.numel() / count) * (1 + 1e-6):
        return False
    own = rms * math.sqrt(tensor.numel() / count)
    values = _sample(tensor)
    values = values[values != 0]
    departs = len(values) >= FEWEST_VALUES and not _are_independent_draws(values / own, torch.finfo(tensor.dtype).eps)
    # The largest eigenvalue of an orthogonal matrix is its mean one, far inside the edge.
    return not _is_orthogonal(tensor) if departs else not _within_edge(tensor, own)


def _are_independent_draws(values: Tensor, resolution: float) -> bool:
    bound = math.sqrt(3)
    cut = 2 / _STD_OF_CUT_NORMAL
    inside = math.erf(math.sqrt(2))
    shapes = (
        torch.special.ndtr(values),
        ((torch.special.ndtr(values * _STD_OF_CUT_NORMAL) - 0.5) / inside + 0.5).where(values.abs() < cut, values > 0),
        ((values / bound + 1) / 2).clamp(0, 1),
    )
    # Rounding moves a value x by up to x·ε/2, and so the share below it by x·density·ε/2, which is at most ε/4.
    allowed = _KOLMOGOROV / math.sqrt(len(values)) + resolution / 4
    return any(_distance(expected) <= allowed for expected in shapes)


def _distance(expected: Tensor) -> float:
    """Kolmogorov's distance, from the values that the distribution function should have at the sorted sample."""
    n = len(expected)
    steps = torch.arange(n, dtype=torch.float64)
    return torch.maximum((expected - steps / n).abs(), (expected - (steps + 1) / n).abs()).max().item()


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.flatten()
    if flat.numel() > _SAMPLE:
        # At random: equal steps could walk down a single column, whose input may never have been seen in training.
        flat = flat[_places(flat.numel()).to(flat.device)]
    return flat.double().cpu().sort().values


def _places(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if n <= _ORDERED:
        # A value drawn twice would make the sample look less continuous than the tensor is.
        return torch.randperm(n, generator=generator)[:_SAMPLE]
    return torch.randint(n, (_SAMPLE,), generator=generator)


def _within_edge(tensor: Tensor, std: float) -> bool:
    wide = tensor if tensor.dtype is torch.float64 else tensor.to(torch.float32)
    # In units of their own size, as squares of the smallest and largest values leave float32.
    matrix = (wide / std).reshape(tensor.shape[0], -1).to(torch.float32)
    rows, cols = matrix.shape
    if min(rows, cols) < 2:
        return True
    edge = tracy_widom_threshold(rows, cols, 1.0, 0.999)
    vector = torch.randn(cols, generator=torch.Generator().manual_seed(0)).to(matrix.device)
    vector = vector / vector.norm()
    for _ in range(11):
        image = matrix @ vector
        # A Rayleigh quotient never exceeds the largest eigenvalue: noise is never taken for a trained direction.
        if image.square().sum().item() > edge:
            return False
        vector = matrix.T @ image
        vector = vector / vector.norm()
    return True


def _is_orthogonal(tensor: Tensor) -> bool:
    """Whether up to 64 rows, or columns where there are fewer of those, are orthogonal and of one length."""
    matrix = tensor.reshape(tensor.shape[0], -1)
    rows, cols = matrix.shape
    some = (matrix if rows <= cols else matrix.T)[:_ROWS].double()
    some = some / some.abs().max()
    products = some @ some.T
    size = products.diagonal().mean()
    eye = torch.eye(len(products), dtype=products.dtype, device=products.device)
    # Independent values have products of size 1/√cols; rounding is far below a hundredth.
    return bool(size > 0) and float((products / size - eye).abs().max()) < _NEARLY
