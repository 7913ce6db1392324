"""Linear variational autoencoder, whose evidence lower bound is known exactly, and probabilistic PCA, its optimum."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._draws import standard_normal
from deepscope.models._inputs import values
from deepscope.models._observations import gaussian_log_density
from deepscope.models._sizes import check_vectors, positive


class LinearVAE(nn.Module):
    """Linear variational autoencoder: x = W z + μ + σ ε, z ~ N(0, I), q(z | x) = N(V (x − μ), D) with a diagonal D.

    The model of probabilistic PCA with an encoder; all of its quantities are closed forms: ``log_evidence``, and for
    data of a given mean and covariance ``expected_elbo`` and ``expected_log_evidence``. At the maximum of the bound the
    columns of W are scaled principal axes, the bound is tight, and ln p that of ``ppca_log_likelihood``; a column whose
    eigenvalue is below σ² is 0, and its unit has collapsed. Maps [batch, …] to W V (x − μ) + μ, [batch, in_features].
    With d features and k latent values there are 2dk + d + k parameters, one more with a learned σ². Weights begin as
    torch's, μ at 0, D at I. Source: ``lucas2019don``; the model: ``tipping1999probabilistic``.

    Parameters
    ----------
    in_features
        d, the number of values per sample.
    latent
        k, the number of values of z, below d.
    variance
        σ², above 0; learned, from 1, unless given.

    Raises
    ------
    UsageError
        A size below 1, k not below d, σ² not above 0; when called: inputs of another size or precision.

    Examples
    --------
    >>> model = LinearVAE(5, 2)
    >>> model(torch.zeros(3, 5)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([3, 5]), 28)
    >>> bound = model.expected_elbo(torch.zeros(5), torch.eye(5))
    >>> bool(bound <= model.expected_log_evidence(torch.zeros(5), torch.eye(5)))
    True
    """

    log_noise: Tensor

    def __init__(self, in_features: int = 20, latent: int = 10, *, variance: float | None = None) -> None:
        super().__init__()
        self.in_features, self.latent = positive(in_features, "in_features", self), positive(latent, "latent", self)
        if latent >= in_features:
            raise UsageError(
                f"latent is {latent}, and in_features {in_features}",
                where="LinearVAE",
                todo="Give fewer latent values than features: with as many the noise is not determined.",
            )
        if variance is not None:
            _check_variance(variance, "LinearVAE")
        self.encoder = nn.Linear(in_features, latent, bias=False)
        self.decoder = nn.Linear(latent, in_features)
        nn.init.zeros_(self.decoder.bias)
        self.log_variance = nn.Parameter(torch.zeros(latent))
        log_noise = torch.tensor(math.log(1.0 if variance is None else variance))
        if variance is None:
            self.log_noise = nn.Parameter(log_noise)
        else:
            self.register_buffer("log_noise", log_noise)

    @property
    def variance(self) -> Tensor:
        """σ², one number."""
        return self.log_noise.exp()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of q(z | x), both [batch, latent]."""
        check_vectors(x, self.in_features, self)
        mean = cast(Tensor, self.encoder(x.flatten(1) - self.decoder.bias))
        return mean, self.log_variance.expand_as(mean)

    def decode(self, z: Tensor) -> Tensor:
        """Return W z + μ, [batch, in_features], of z, [batch, latent]."""
        check_vectors(z, self.latent, self)
        return cast(Tensor, self.decoder(z))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return ln p(x | z), [samples, batch], of z, [samples, batch, latent]."""
        return gaussian_log_density(x.flatten(1), self.decoder(z), self.log_noise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstructions: W z + μ at the mean of q(z | x)."""
        return self.decode(self.encode(x)[0])

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n samples of the model, [n, in_features]."""
        z = standard_normal((positive(n, "n", self), self.latent), self.decoder.weight, generator)
        return self.decode(z) + self.variance.sqrt() * standard_normal((n, self.in_features), z, generator)

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return ln p(x), [batch], exactly: x is Gaussian with mean μ and covariance W Wᵀ + σ² I."""
        check_vectors(x, self.in_features, self)
        factor, constant = self._density()
        whitened = torch.linalg.solve_triangular(factor, (x.flatten(1) - self.decoder.bias).mT, upper=False)
        density: Tensor = constant - whitened.square().sum(0) / 2
        return density

    def expected_log_evidence(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """Return E ln p(x), one number, of data with this mean, [d], and covariance, [d, d]."""
        factor, constant = self._density()
        return constant - torch.cholesky_solve(self._moments(mean, covariance), factor).trace() / 2

    def expected_elbo(self, mean: Tensor, covariance: Tensor, *, weight: float = 1.0) -> Tensor:
        """Return E ``elbo``, one number, of data with this mean, [d], and covariance, [d, d]; nothing is drawn.

        E ln p(x | z) = −½ (d ln 2πσ² + tr[(I − WV) S (I − WV)ᵀ + W D Wᵀ]/σ²), where S is the second moment about μ.
        """
        moments = self._moments(mean, covariance)
        loading = self.decoder.weight
        residual = (
            torch.eye(self.in_features, dtype=moments.dtype, device=moments.device) - loading @ self.encoder.weight
        )
        spread = (loading.square() @ self.log_variance.exp()).sum()
        error = ((residual @ moments) * residual).sum() + spread
        likelihood = -(self.in_features * (math.log(2 * math.pi) + self.log_noise) + error / self.variance) / 2
        return likelihood - weight * self.expected_divergences(mean, covariance).sum()

    def expected_divergences(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """Return E KL(q(zᵢ | x) ‖ p(zᵢ)) of each unit, [latent]: nearly 0 where it has collapsed."""
        moments = self._moments(mean, covariance)
        square = ((self.encoder.weight @ moments) * self.encoder.weight).sum(1)
        return (square + self.log_variance.exp() - 1 - self.log_variance) / 2

    def _density(self) -> tuple[Tensor, Tensor]:
        """Return the Cholesky factor of the covariance of x, and the logarithm of the density at its mean."""
        loading = self.decoder.weight
        identity = torch.eye(self.in_features, dtype=loading.dtype, device=loading.device)
        factor = torch.linalg.cholesky(loading @ loading.T + self.variance * identity)
        return factor, -self.in_features * math.log(2 * math.pi) / 2 - factor.diagonal().log().sum()

    def _moments(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """Return the second moments of x − μ, [d, d]."""
        d = self.in_features
        if mean.shape != (d,) or covariance.shape != (d, d):
            raise UsageError(
                f"mean is {list(mean.shape)}, and covariance {list(covariance.shape)}",
                where="LinearVAE",
                todo=f"Give them as [{d}] and [{d}, {d}].",
            )
        offset = mean - self.decoder.bias
        return covariance + offset[:, None] * offset


def ppca_log_likelihood(eigenvalues: Tensor, latent: int, *, variance: float | None = None) -> float:
    """Return the largest mean log-likelihood, in nats, of probabilistic PCA on data of a covariance with these values.

    ::

        σ² free:   −½ (d ln 2π + Σ ln λᵢ + (d − k) ln σ² + d),  the k largest λᵢ;  σ² the mean of the others
        σ² given:  −½ (d ln 2π + Σ (ln λᵢ + 1) + Σ (ln σ² + λᵢ/σ²)),  first those of the k largest λᵢ that exceed σ²

    Source: ``tipping1999probabilistic``.

    Parameters
    ----------
    eigenvalues
        Of the data's covariance, [d], in any order.
    latent
        k, below d.
    variance
        σ²; the best unless given.

    Raises
    ------
    UsageError
        k is not from 1 to d − 1; σ² is not above 0; eigenvalues are negative, or those left are all 0 and σ² is free.

    Examples
    --------
    >>> round(ppca_log_likelihood(torch.tensor([4.0, 1.0, 1.0]), 1), 4)
    -4.95
    """
    d = len(eigenvalues)
    if not 1 <= latent < d:
        raise UsageError(f"latent is {latent!r}", where="ppca_log_likelihood", todo=f"Give a number from 1 to {d - 1}.")
    ordered = eigenvalues.double().sort(descending=True).values
    if variance is None:
        variance = float(ordered[latent:].mean())
    if not bool((ordered >= 0).all()):
        raise UsageError("eigenvalues are negative", where="ppca_log_likelihood", todo="Give those of a covariance.")
    _check_variance(variance, "ppca_log_likelihood")
    kept = (ordered > variance) & (torch.arange(d, device=ordered.device) < latent)
    terms = torch.where(kept, ordered.clamp(min=variance).log() + 1, math.log(variance) + ordered / variance)
    return -float(d * math.log(2 * math.pi) + terms.sum()) / 2


def _check_variance(variance: float, where: str) -> None:
    if not 0 < variance < math.inf:
        raise UsageError(f"variance is {variance!r}", where=where, todo="Give a finite number above 0.")


SPECIMENS = (
    Specimen(
        name="linear-vae",
        title="linear variational autoencoder",
        build=LinearVAE,
        inputs=values(20),
        parameters=431,
        formula="x = W z + μ + σ ε with z ~ N(0, I), q(z | x) = N(V (x − μ), D) with a diagonal D; the largest "
        "evidence lower bound is the log-likelihood of probabilistic PCA.",
        source="lucas2019don",
        rows=("vae",),
        pinned_by="tests/models/test_linear_vae.py::test_its_optimum_is_probabilistic_pca_and_the_bounds_are_ordered",
    ),
)
