"""How far the features of classes have collapsed to a simplex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._same_samples import as_points

#: Singular values of the class means below this share of the largest are rounding.
_RANK = 1e-10


@dataclass(frozen=True)
class NeuralCollapse:
    """The four marks of neural collapse; each is 0 where it is complete.

    Attributes
    ----------
    within
        NC1, tr(Σ_W Σ_B†)/C: the variance within classes over that between them.
    norms
        NC2, the standard deviation of ‖μ_c − μ‖ over its mean: class means are equally far from their centre.
    angles
        NC2, the mean over pairs of |cos(μ_c − μ, μ_c′ − μ) + 1/(C − 1)|: and as far from one another as can be.
    duality
        NC3, ‖W/‖W‖_F − M/‖M‖_F‖²_F with M's rows μ_c − μ: the last layer's weights are the class means; up to 4. None
        without weights.
    disagreement
        NC4, the share of samples that the last layer puts into another class than that of the nearest mean; None
        without weights.
    n_classes
        C, the classes that there are samples of.
    """

    within: float
    norms: float
    angles: float
    duality: float | None
    disagreement: float | None
    n_classes: int


def neural_collapse(
    features: NDArray[Any] | Tensor,
    labels: NDArray[Any] | Tensor,
    weight: NDArray[Any] | Tensor | None = None,
    bias: NDArray[Any] | Tensor | None = None,
) -> NeuralCollapse:
    """Measure neural collapse of features (``papyan2020prevalence``).

    With the means μ_c of the classes' features, their mean μ, Σ_B = Σ_c (μ_c − μ)(μ_c − μ)ᵀ/C and the mean over classes
    Σ_W of the covariances about μ_c; every class counts alike, however many samples it has.

    Parameters
    ----------
    features
        [n, d], what the last layer is given; further dimensions are flattened.
    labels
        [n], whole numbers.
    weight, bias
        Of the last layer, [classes, d] and [classes]: row c belongs to label c.

    Raises
    ------
    UsageError
        There are fewer than two classes, or not as many labels as samples; values are not finite; weights do not fit;
        or all classes have the same mean.

    Notes
    -----
    d features of white noise, independent of the labels, have NC1 of (n/C − 1)(C − 1)/(d − C) in the mean, for n
    samples in equal classes and d > C + 1, as Σ_B then is what is left of the noise in the means: compare with labels
    in another order. Cost: n·d·C operations.

    Examples
    --------
    >>> corners = torch.tensor([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]], dtype=torch.float64)
    >>> found = neural_collapse(corners.repeat(4, 1), torch.arange(3).repeat(4), 2 * corners)
    >>> [round(each, 9) + 0.0 for each in (found.within, found.norms, found.angles, found.duality, found.disagreement)]
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    H = as_points(features, "features")
    y = torch.as_tensor(labels).detach().to(H.device).reshape(-1)
    if len(y) != len(H) or y.is_floating_point():
        raise UsageError(
            "labels are one whole number per sample", where=f"{len(y)} labels, {y.dtype}, of {len(H)} samples"
        )
    classes, place = torch.unique(y, return_inverse=True)
    C = len(classes)
    if C < 2:
        raise UsageError("collapse is between classes", where=f"samples of {C} class", todo="Give samples of several.")
    scale = float(H.abs().max()) or 1.0
    counts = torch.bincount(place, minlength=C).double()
    means = torch.zeros(C, H.shape[1], dtype=H.dtype, device=H.device).index_add_(0, place, H / scale) / counts[:, None]
    centred = means - means.mean(dim=0)
    lengths = torch.linalg.vector_norm(centred, dim=1)
    _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
    kept = singular > _RANK * max(float(singular[0]), float(means.abs().max()))
    if not bool(kept.any()):
        raise UsageError("all classes have the same mean", where="features", todo="Leave this layer out.")
    # Σ_B† = Σ_k C/s_k² a_k a_kᵀ, so that only the spread along the axes a_k of the means counts.
    along = ((H / scale - means[place]) @ axes[kept].T).square() / counts[place][:, None]
    within = float((along.sum(dim=0) / C / (singular[kept].square() / C)).sum()) / C
    unit = centred / lengths.clamp_min(torch.finfo(H.dtype).tiny)[:, None]
    pairs = (unit @ unit.T)[~torch.eye(C, dtype=torch.bool, device=H.device)]
    duality = disagreement = None
    if weight is not None:
        W, b = _last_layer(weight, bias, H, int(classes.max()) + 1)
        mine = W[classes.long()]
        size = torch.linalg.matrix_norm(mine)
        if not size > 0:
            raise UsageError("the last layer's weights of these classes are zero", where="weight")
        duality = float((mine / size - centred / torch.linalg.matrix_norm(centred)).square().sum())
        nearest = classes[torch.cdist(H / scale, means).argmin(dim=1)]
        disagreement = float(((H @ W.T + b).argmax(dim=1) != nearest).double().mean())
    return NeuralCollapse(
        within=within,
        norms=float(lengths.std(correction=0) / lengths.mean()),
        angles=float((pairs + 1 / (C - 1)).abs().mean()),
        duality=duality,
        disagreement=disagreement,
        n_classes=C,
    )


def _last_layer(
    weight: NDArray[Any] | Tensor, bias: NDArray[Any] | Tensor | None, H: Tensor, fewest: int
) -> tuple[Tensor, Tensor]:
    W = as_points(weight, "weight").to(H.device)
    b = torch.zeros(len(W), dtype=H.dtype, device=H.device)
    if bias is not None:
        b = as_points(bias, "bias").to(H.device).reshape(-1)
    if W.shape[1] != H.shape[1] or len(W) < fewest or len(b) != len(W):
        raise UsageError(
            "the last layer does not fit",
            where=f"weights {list(W.shape)}, {len(b)} biases, features {list(H.shape)}, labels up to {fewest - 1}",
        )
    return W, b
