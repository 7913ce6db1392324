"""Deep ensembles: the mixture of what independently trained networks predict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.subject import call
from deepscope.training._optimizer_arguments import require


class DeepEnsemble(nn.Module):
    """Networks that classify, as one: their mixture p(y|x) = 1/M Σₘ pₘ(y|x).

    Maps inputs to log p(y|x), [batch, classes], whose softmax is p: what takes logits (``cross_entropy``, ``evaluate``)
    takes them. Members that differ in their initial weights and the order of their data find other functions; where
    they disagree the mixture is less sure. Its negative log-likelihood is at most the mean of theirs (Jensen).
    ``fit_many`` trains ``list(ensemble.networks)``, small ones as one. Source: ``lakshminarayanan2017simple``.

    Parameters
    ----------
    networks
        M networks from inputs to logits [batch, classes].

    Raises
    ------
    UsageError
        There are none; when called: an output is no tensor of two dimensions or more, or their shapes differ.

    Examples
    --------
    >>> from deepscope.training import fit_many
    >>> _ = torch.manual_seed(0)
    >>> x = torch.linspace(-1, 1, 20).reshape(-1, 1)
    >>> y = (x[:, 0] > 0).long()
    >>> ensemble = DeepEnsemble([nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 2)) for _ in range(5)])
    >>> _ = fit_many(
    ...     list(ensemble.networks),
    ...     lambda epoch: [(x, y)],
    ...     functional.cross_entropy,
    ...     optimizer=torch.optim.Adam,
    ...     settings={"lr": 0.05},
    ...     epochs=100,
    ... )
    >>> (ensemble(x).argmax(1) == y).all().item()
    True
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        require(len(networks) > 0, "networks", list(networks), "as at least one module", where=type(self).__name__)
        self.networks = nn.ModuleList(networks)

    def log_probabilities(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return log pₘ(y|x) of each member, [M, batch, classes]."""
        logits = _stacked([call(network, kwargs or args) for network in self.networks], "logits", type(self).__name__)
        return functional.log_softmax(logits, dim=-1)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return log p(y|x) of the mixture, [batch, classes]."""
        members = self.log_probabilities(*args, **kwargs)
        return _log_mixture(members)


class GaussianEnsemble(nn.Module):
    """Networks that predict a mean and a variance, as one: mean and variance of the mixture of their Gaussians.

    Maps inputs to a pair of [batch, …]: μ* = 1/M Σ μₘ and σ*² = 1/M Σ (σₘ² + μₘ²) − μ*², which is the mean variance
    plus the variance of the means: what the data leaves open, and what the networks do. ``gaussian_nll`` takes both,
    as a Gaussian in place of the mixture. Members end in ``GaussianOutput``. Source: ``lakshminarayanan2017simple``.

    Parameters
    ----------
    networks
        M networks from inputs to a mean and a variance, each [batch, …].

    Raises
    ------
    UsageError
        There are none; when called: an output is no pair of tensors, or their shapes differ.

    Examples
    --------
    >>> networks = [nn.Sequential(nn.Linear(3, 2), GaussianOutput()) for _ in range(5)]
    >>> mean, variance = GaussianEnsemble(networks)(torch.randn(7, 3))
    >>> mean.shape, variance.shape
    (torch.Size([7, 1]), torch.Size([7, 1]))
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        require(len(networks) > 0, "networks", list(networks), "as at least one module", where=type(self).__name__)
        self.networks = nn.ModuleList(networks)

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the mixture."""
        members = [call(network, kwargs or args) for network in self.networks]
        for member in members:
            if not isinstance(member, tuple) or len(member) != 2:
                raise UsageError(
                    f"a network gives a {type(member).__name__}",
                    where="GaussianEnsemble",
                    todo="Give networks whose output is a pair (mean, variance): let them end in GaussianOutput().",
                )
        means, variances = (_stacked(each, "outputs", "GaussianEnsemble") for each in zip(*members, strict=True))
        # The variance from the mean, not from the squares' mean: it loses no digits where the mean is large.
        return means.mean(0), variances.mean(0) + means.var(0, correction=0)


class GaussianOutput(nn.Module):
    """Split [batch, 2k] into a mean and a variance log(1 + exp(s)) + 10⁻⁶, each [batch, k].

    Source: ``lakshminarayanan2017simple``.

    Raises
    ------
    UsageError
        When called: the last dimension is odd.

    Examples
    --------
    >>> GaussianOutput()(torch.tensor([[3.0, 0.0]]))
    (tensor([[3.]]), tensor([[0.6931]]))
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        require(x.shape[-1] % 2 == 0, "the last dimension", x.shape[-1], "as an even number", where="GaussianOutput")
        mean, scale = x.chunk(2, dim=-1)
        return mean, functional.softplus(scale) + 1e-6


def gaussian_nll(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    """Return the mean of ½ log 2πσ² + (y − μ)²/(2σ²), a proper scoring rule, for outputs (μ, σ²).

    ``GaussianOutput`` gives such outputs; ``fit`` and ``evaluate`` take it as their loss. torch's looks whether a
    variance is negative, and so has no form for many networks as one.

    >>> gaussian_nll((torch.zeros(1), torch.ones(1)), torch.zeros(1))
    tensor(0.9189)
    """
    mean, variance = outputs
    require(
        mean.shape == targets.shape,
        "targets",
        list(targets.shape),
        f"of shape {list(mean.shape)}",
        where="gaussian_nll",
    )
    require(
        variance.shape == mean.shape,
        "variance",
        list(variance.shape),
        f"of shape {list(mean.shape)}, as the mean",
        where="gaussian_nll",
    )
    return (torch.log(2 * torch.pi * variance) + (targets - mean).square() / variance).mean() / 2


def predictive_entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy of a mixture, H(p) in nats, [batch], from its members' log pₘ [M, batch, classes].

    >>> half = torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]])
    >>> predictive_entropy(half.log())
    tensor([0.6931])
    """
    return _entropy(_log_mixture(log_probabilities))


def disagreement(log_probabilities: Tensor) -> Tensor:
    """Return how far members are from their mixture, Σₘ KL(pₘ ‖ p) in nats, [batch], from log pₘ [M, batch, classes].

    0 where all say the same, M log M at most. It is M times the entropy of the mixture minus their mean entropy: the
    part of what is not known that other networks would answer differently. Source: ``lakshminarayanan2017simple``.

    >>> sure = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> disagreement(sure.log())
    tensor([1.3863])
    """
    own = _entropy(log_probabilities).mean(0)
    return len(log_probabilities) * (predictive_entropy(log_probabilities) - own)


def _entropy(log_probabilities: Tensor) -> Tensor:
    terms: Tensor = torch.special.entr(log_probabilities.exp())
    return terms.sum(-1)


def _log_mixture(members: Tensor) -> Tensor:
    # From logarithms, so that a probability too small for a number is not lost.
    return torch.logsumexp(members, dim=0) - math.log(len(members))


def _stacked(members: Sequence[Any], what: str, where: str) -> Tensor:
    for member in members:
        if not isinstance(member, Tensor) or member.ndim < 2 or member.shape != members[0].shape:
            got = list(member.shape) if isinstance(member, Tensor) else type(member).__name__
            raise UsageError(
                f"the {what} of a network are {got}",
                where=where,
                todo="Give networks whose outputs have one shape [batch, …].",
            )
    return torch.stack(list(members))


SPECIMENS = (
    Specimen(
        name="deep-ensemble",
        title="the mixture of what independently trained networks predict",
        build=DeepEnsemble,
        formula="p(y|x) = 1/M Σₘ pₘ(y|x), each member from initial weights and an order of the data of its own.",
        source="lakshminarayanan2017simple",
        pinned_by="tests/training/test_deep_ensemble.py::test_the_mixture_is_at_least_as_likely_as_its_members_by_jensen",
    ),
    Specimen(
        name="gaussian-ensemble",
        title="mean and variance of the mixture of predicted Gaussians",
        build=GaussianEnsemble,
        formula="μ* = 1/M Σ μₘ; σ*² = 1/M Σ (σₘ² + μₘ²) − μ*²; members learn −log N(y; μₘ, σₘ²).",
        source="lakshminarayanan2017simple",
        pinned_by="tests/training/test_deep_ensemble.py::test_the_variance_is_that_of_the_mixture",
    ),
)
