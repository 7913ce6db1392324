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


def memorised(targets: Tensor, order: Tensor, error: float) -> Tensor:
    """Return what is answered by learning one input after another by heart, at a given relative error overall.

    Parameters
    ----------
    targets
        [n, k] values: answered for the inputs learned.
    order
        [n] the place of each input in the order of learning. To those not learned the mean of all is answered.
    error
        ‖h − y‖ / ‖y‖, means subtracted, which falls as √(1 − m/n) where m of n similar inputs are learned, and from
        which m is found; 0 … n − 1.
    """
    n = len(targets)
    learned = min(n - 1, round(n * (1 - min(1.0, error) ** 2)))
    return torch.where((order < learned).unsqueeze(1), targets, targets.mean(dim=0))


def overall_error(outputs: Tensor, targets: Tensor) -> float:
    """Return ‖h − y‖ / ‖y‖ of [n, k] values, means over the inputs subtracted."""
    wanted = targets - targets.mean(dim=0)
    return _ratio(outputs - outputs.mean(dim=0) - wanted, wanted)


def _ratio(part: Tensor, whole: Tensor) -> float:
    return float(torch.linalg.norm(part) / torch.linalg.norm(whole))
