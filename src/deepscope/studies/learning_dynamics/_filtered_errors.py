"""Low and high frequencies of a function on scattered inputs, told apart by a Gaussian filter (``xu2020frequency``)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GaussianFilter:
    """Replaces the value at each input by the mean over all inputs, near ones weighing more.

    y_low(xᵢ) = Σⱼ G(xᵢ − xⱼ) yⱼ / Σⱼ G(xᵢ − xⱼ) with G(x) = exp(−|x|²/(2δ²)); y_high = y − y_low.

    Attributes
    ----------
    weights
        [n, n], rows of sum 1.
    """

    weights: Tensor

    @classmethod
    def of(cls, squared_distances: Tensor, variance: float) -> GaussianFilter:
        """Build the filter of δ² = ``variance`` from [n, n] squared distances."""
        return cls(torch.softmax(-squared_distances / (2 * variance), dim=1))

    def errors(self, outputs: Tensor, targets: Tensor) -> tuple[float, float]:
        """Return e_low and e_high, ‖(h − y)_low‖ / ‖y_low‖ and the same of the high part, of [n, k] values.

        Means over the inputs are subtracted before. An output that is the same for all inputs has the errors 1 and 1.
        """
        wanted = targets - targets.mean(dim=0)
        missed = (outputs - outputs.mean(dim=0)) - wanted
        low, missed_low = self.weights @ wanted, self.weights @ missed
        return _ratio(missed_low, low), _ratio(missed - missed_low, wanted - low)


def squared_distances(inputs: Tensor) -> Tensor:
    """Return the squared distances of [n, d] inputs, [n, n]."""
    return torch.cdist(inputs, inputs, compute_mode="donot_use_mm_for_euclid_dist").square()


def nearest_neighbour_scale(squared: Tensor) -> float:
    """Return the median over inputs of the squared distance to the nearest other one: the unit of δ²."""
    others = squared.clone().fill_diagonal_(torch.inf)
    return float(others.min(dim=1).values.median())


def _ratio(part: Tensor, whole: Tensor) -> float:
    return float(torch.linalg.norm(part) / torch.linalg.norm(whole))
