"""Gaussian dropout: units times normal noise of dropout's mean and variance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.training._rate import check, rate


class GaussianDropout(nn.Module):
    """Multiply each number by noise of mean 1 and the variance that dropout has: y = x ξ, ξ ~ N(1, p/(1 − p)).

    In evaluation y = x. Of all noise with this mean and variance it has the highest entropy; dropout's, which has two
    values, the lowest. Shapes are kept. Source: ``srivastava2014dropout``, section 10.

    Parameters
    ----------
    p
        Share that dropout of the same variance drops.

    Raises
    ------
    UsageError
        p is not in [0, 1); when called: an input that is not of floating-point numbers.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> y = GaussianDropout(0.5)(torch.ones(100_000))
    >>> round(y.mean().item(), 2), round(y.var().item(), 2)
    (1.0, 1.0)
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = rate(p, "p", "GaussianDropout")

    def forward(self, x: Tensor) -> Tensor:
        """Return x times noise in training, x in evaluation."""
        check(x, True, "a tensor", "GaussianDropout")
        if not self.training or not self.p:
            return x
        return x * (1 + math.sqrt(self.p / (1 - self.p)) * torch.randn_like(x))

    def extra_repr(self) -> str:
        """Return p."""
        return f"p={self.p}"


SPECIMENS = (
    Specimen(
        name="gaussian-dropout",
        title="dropout by normal noise",
        build=GaussianDropout,
        formula="y = x ξ in training, ξ ~ N(1, p/(1 − p)) drawn for each number; y = x in evaluation. Mean x, variance "
        "x² p/(1 − p), as dropout.",
        source="srivastava2014dropout",
        pinned_by="tests/training/test_gaussian_dropout.py::test_it_has_the_mean_and_variance_of_dropout_and_is_normal",
    ),
)
