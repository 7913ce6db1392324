"""Noise schedules of diffusion models, and the Gaussian distributions that they make."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepscope.core import UsageError


def linear_betas(steps: int = 1000, *, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Return variances βₜ that rise linearly, [steps], float64. Source: ``ho2020denoising``.

    Raises
    ------
    UsageError
        Fewer than 1 step, or an end that is not between 0 and 1.

    Examples
    --------
    >>> linear_betas(3, first=0.1, last=0.3).tolist()
    [0.1, 0.2, 0.3]
    """
    _check_steps(steps, "linear_betas")
    for name, value in (("first", first), ("last", last)):
        _check_between(value, name, "linear_betas")
    return torch.linspace(first, last, steps, dtype=torch.float64, device="cpu")


def cosine_betas(steps: int = 1000, *, offset: float = 0.008, largest: float = 0.999) -> Tensor:
    """Return the variances with ᾱₜ = f(t)/f(0), f(t) = cos²(½π (t/T + s)/(1 + s)), [steps], float64.

    βₜ = 1 − ᾱₜ/ᾱₜ₋₁, at most ``largest``: the last would be 1, and leave nothing of the step before.
    Source: ``nichol2021improved``.

    Parameters
    ----------
    steps
        T.
    offset
        s, at least 0, which keeps the first variances from being tiny.
    largest
        Between 0 and 1.

    Raises
    ------
    UsageError
        Fewer than 1 step, or a number out of range.

    Examples
    --------
    >>> [round(each, 3) for each in cosine_betas(4).tolist()]
    [0.153, 0.417, 0.708, 0.999]
    """
    _check_steps(steps, "cosine_betas")
    _check_between(largest, "largest", "cosine_betas")
    if not 0 <= offset < math.inf:
        raise UsageError(f"offset is {offset!r}", where="cosine_betas", todo="Give a finite number of at least 0.")
    times = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps
    left = (math.pi / 2 * (times + offset) / (1 + offset)).cos().square()
    return (1 - left[1:] / left[:-1]).clamp(max=largest)


class NoiseSchedule:
    """The noising chain q(xₜ | xₜ₋₁) = N(√αₜ xₜ₋₁, βₜ I), αₜ = 1 − βₜ, t = 1 … T, and what follows from it.

    With ᾱₜ = α₁ ⋯ αₜ and ᾱ₀ = 1:

    * q(xₜ | x₀) = N(√ᾱₜ x₀, (1 − ᾱₜ) I);
    * q(xₜ₋₁ | xₜ, x₀) = N(μ̃ₜ, β̃ₜ I), where β̃ₜ = βₜ (1 − ᾱₜ₋₁)/(1 − ᾱₜ) and
      μ̃ₜ = (√ᾱₜ₋₁ βₜ x₀ + √αₜ (1 − ᾱₜ₋₁) xₜ)/(1 − ᾱₜ).

    Times are whole numbers from 1 to T, [batch]. Coefficients are computed in double precision, and given in that of
    the samples. Source: ``ho2020denoising``.

    Parameters
    ----------
    betas
        β₁ … β_T, [T], each between 0 and 1.

    Raises
    ------
    UsageError
        No variances, or some that are not between 0 and 1; when called: times that are not from 1 to T, [batch].

    Examples
    --------
    >>> schedule = NoiseSchedule(linear_betas(10))
    >>> x, times = torch.ones(3, 2), torch.tensor([1, 5, 10])
    >>> schedule.diffuse(x, times, torch.zeros(3, 2))[:, 0].square()
    tensor([0.9999, 0.9776, 0.9037])
    """

    def __init__(self, betas: Tensor) -> None:
        if betas.ndim != 1 or not len(betas) or not betas.is_floating_point():
            raise UsageError(
                f"betas is {list(betas.shape)} of {str(betas.dtype).removeprefix('torch.')}",
                where="NoiseSchedule",
                todo="Give one variance for each step, [steps], at least one: linear_betas(…), cosine_betas(…).",
            )
        inside = (betas > 0) & (betas < 1)
        if not bool(inside.all()):
            first = int((~inside).nonzero()[0])
            raise UsageError(
                f"betas[{first}] is {float(betas[first]):.6g}",
                where="NoiseSchedule",
                todo="Give variances above 0 and below 1.",
            )
        self.steps = len(betas)
        # Index 0 stands for data without noise.
        self.betas = torch.cat([torch.zeros(1, dtype=torch.float64, device="cpu"), betas.detach().double().cpu()])
        # Of a sum of logarithms 1 − ᾱ keeps its digits where it is small.
        self._log_left = (-self.betas).log1p().cumsum(0)

    @property
    def alphas_bar(self) -> Tensor:
        """ᾱ₀ … ᾱ_T, [T + 1], float64: the share of x₀'s variance that is left in xₜ."""
        return self._log_left.exp()

    def diffuse(self, x: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Return xₜ = √ᾱₜ x₀ + √(1 − ᾱₜ) ε of x₀, [batch, …], and standard normal ε of the same shape."""
        return self.signal(times, x) * x + self.noise(times, x) * noise

    def step(self, x: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Return xₜ = √αₜ xₜ₋₁ + √βₜ ε of xₜ₋₁, [batch, …], and standard normal ε of the same shape."""
        return self._at((1 - self.betas).sqrt(), times, x) * x + self._at(self.betas.sqrt(), times, x) * noise

    def denoised(self, x: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Return the x₀ of xₜ and its noise ε: what ``diffuse`` turned into xₜ."""
        return (x - self.noise(times, x) * noise) / self.signal(times, x)

    def posterior(self, start: Tensor, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean, [batch, …], and variance, [batch, 1, …], of q(xₜ₋₁ | xₜ, x₀) for x₀ = ``start``, xₜ = ``x``."""
        left, noise = self.alphas_bar, -self._log_left.expm1()
        before = torch.cat([noise[:1], noise[:-1]])
        # Index 0 is no time.
        noise = noise.clamp(min=torch.finfo(torch.float64).tiny)
        of_start = self._at(torch.cat([left[:1], left[:-1]]).sqrt() * self.betas / noise, times, x)
        of_x = self._at((1 - self.betas).sqrt() * before / noise, times, x)
        return of_start * start + of_x * x, self._at(self.betas * before / noise, times, x)

    def signal(self, times: Tensor, like: Tensor) -> Tensor:
        """Return √ᾱₜ, [batch, 1, …], as many dimensions as those of the samples."""
        return self._at((self._log_left / 2).exp(), times, like)

    def noise(self, times: Tensor, like: Tensor) -> Tensor:
        """Return √(1 − ᾱₜ), [batch, 1, …], as many dimensions as those of the samples."""
        return self._at((-self._log_left.expm1()).sqrt(), times, like)

    def variance(self, times: Tensor, like: Tensor) -> Tensor:
        """Return βₜ, [batch, 1, …], as many dimensions as those of the samples."""
        return self._at(self.betas, times, like)

    def _at(self, table: Tensor, times: Tensor, like: Tensor) -> Tensor:
        check_times(times, len(like), "NoiseSchedule", steps=self.steps)
        found = table.to(like.dtype).to(times.device)[times.long()]
        return found.to(like.device).view(-1, *[1] * (like.ndim - 1))


def check_times(times: Tensor, batch: int, where: str, *, steps: int | None = None) -> None:
    """Refuse times that are not [batch] whole numbers, from 1 to ``steps`` where that is given.

    Raises
    ------
    UsageError
        They are not.
    """
    whole = times.shape == (batch,) and not times.is_floating_point() and times.dtype.itemsize >= 4
    known = steps is None or times.is_meta or not batch or bool(((times >= 1) & (times <= steps)).all())
    if not whole or not known:
        raise UsageError(
            f"times is {list(times.shape)} of {str(times.dtype).removeprefix('torch.')}"
            + (f", from {int(times.min())} to {int(times.max())}" if whole and not known else ""),
            where=where,
            todo=f"Give [{batch}] of int64 or int32" + (f" from 1 to {steps}." if steps is not None else "."),
        )


def _check_steps(steps: int, where: str) -> None:
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise UsageError(f"steps is {steps!r}", where=where, todo="Give a whole number of at least 1.")


def _check_between(value: float, name: str, where: str) -> None:
    if not 0 < value < 1:
        raise UsageError(f"{name} is {value!r}", where=where, todo="Give a variance above 0 and below 1.")
