"""Variational autoencoders, of samples alone and of samples with a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._draws import standard_normal
from deepscope.models._mlp import MLP
from deepscope.models._observations import make_observations
from deepscope.models._sizes import check_vectors, positive


class VAE(nn.Module):
    """Variational autoencoder: z ~ N(0, I), x | z from a decoder, and an encoder's Gaussian q(z | x) = N(m(x), s(x)²).

    Both are perceptrons; the encoder's outputs are m and ln s², [batch, latent] each. Maps [batch, …] to the means of
    x | z at z = m(x), [batch, in_features]: what follows the batch dimension is flattened. ``negative_elbo`` trains it,
    ``importance_bound`` estimates ln p(x). Parameters: those of ``MLP(d, hidden, 2 latent)`` and of
    ``MLP(latent, hidden, d)``, with Gaussian values 2d at its end; 815,824 in the reference size.
    Source: ``kingma2014auto``, whose weights begin as N(0, 0.01²); these as torch's.

    Parameters
    ----------
    in_features
        d, the number of values per sample.
    hidden
        Widths of the encoder's hidden layers; the decoder's are the same in reverse.
    latent
        Number of values of z.
    observations
        ``"bernoulli"`` for values between 0 and 1; ``"gaussian"``, where the decoder gives mean and variance of each.
    activation
        Of the hidden layers, as ``MLP`` takes it.

    Raises
    ------
    UsageError
        A size below 1, unknown observations or activation; when called: inputs of another size or precision.

    Examples
    --------
    >>> model = VAE(64, (32,), 4)
    >>> model(torch.zeros(5, 8, 8)).shape, model.sample(3, generator=torch.Generator().manual_seed(0)).shape
    (torch.Size([5, 64]), torch.Size([3, 64]))
    >>> sum(p.numel() for p in model.parameters())
    4616
    """

    def __init__(
        self,
        in_features: int = 784,
        hidden: Sequence[int] = (500,),
        latent: int = 20,
        *,
        observations: str = "bernoulli",
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        self.in_features, self.latent = positive(in_features, "in_features", self), positive(latent, "latent", self)
        for width in hidden:
            positive(width, "hidden", self)
        self.observations = make_observations(observations)
        outputs = in_features * self.observations.outputs_per_value
        self.encoder = MLP(in_features, hidden, 2 * latent, activation=activation)
        self.decoder = MLP(latent, tuple(reversed(hidden)), outputs, activation=activation)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of q(z | x), both [batch, latent]."""
        check_vectors(x, self.in_features, self)
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Return the means of x | z, [batch, in_features], of z, [batch, latent]."""
        check_vectors(z, self.latent, self)
        return self.observations.mean(self.decoder(z))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return ln p(x | z), [samples, batch], of z, [samples, batch, latent]."""
        outputs = self.decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        return self.observations.log_likelihood(outputs, x.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstructions: the means of x | z at the mean of q(z | x)."""
        return self.decode(self.encode(x)[0])

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n samples of the model, z and then x | z, [n, in_features]; images look better as ``decode`` of z."""
        z = standard_normal((positive(n, "n", self), self.latent), next(self.parameters()), generator)
        return self.observations.sample(self.decoder(z), generator)


class ConditionalVAE(nn.Module):
    """Variational autoencoder of x given a label y: z ~ N(0, I), x | z, y and q(z | x, y) from networks that see y.

    Each label has a learned vector, which encoder and decoder are given beside x and z. Maps ``x``, [batch, …], and
    ``labels``, [batch] whole numbers, to the means of x | z, y at the mean of q, [batch, in_features]. It has the
    parameters of ``MLP(d + e, hidden, 2 latent)``, of ``MLP(latent + e, hidden, d)``, with Gaussian values 2d at its
    end, and e·classes. Source: ``sohn2015learning``; there the distribution of z depends on y as well, here y enters
    the decoder alone, so that z is what the label does not say.

    Parameters
    ----------
    in_features
        d, the number of values per sample.
    classes
        Number of labels.
    hidden
        Widths of the encoder's hidden layers; the decoder's are the same in reverse.
    latent
        Number of values of z.
    embedding
        e, the size of a label's vector.
    observations, activation
        As for ``VAE``.

    Raises
    ------
    UsageError
        A size below 1, unknown observations or activation; when called: inputs of another size or precision, labels
        that do not fit.

    Examples
    --------
    >>> model = ConditionalVAE(64, 10, (32,), 4)
    >>> model(torch.zeros(5, 8, 8), torch.arange(5)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 64]), 5356)
    >>> model.sample(torch.tensor([3, 3]), generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        in_features: int = 784,
        classes: int = 10,
        hidden: Sequence[int] = (500,),
        latent: int = 20,
        *,
        embedding: int = 10,
        observations: str = "bernoulli",
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        self.in_features, self.latent = positive(in_features, "in_features", self), positive(latent, "latent", self)
        for width in hidden:
            positive(width, "hidden", self)
        self.classes = positive(classes, "classes", self)
        self.observations = make_observations(observations)
        self.embedding = nn.Embedding(classes, positive(embedding, "embedding", self))
        outputs = in_features * self.observations.outputs_per_value
        self.encoder = MLP(in_features + embedding, hidden, 2 * latent, activation=activation)
        self.decoder = MLP(latent + embedding, tuple(reversed(hidden)), outputs, activation=activation)

    def encode(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of q(z | x, y), both [batch, latent]."""
        check_vectors(x, self.in_features, self)
        mean, log_variance = self.encoder(self._beside(x.flatten(1), labels)).chunk(2, -1)
        return mean, log_variance

    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return the means of x | z, y, [batch, in_features], of z, [batch, latent]."""
        check_vectors(z, self.latent, self)
        return self.observations.mean(self.decoder(self._beside(z, labels)))

    def log_likelihood(self, x: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        """Return ln p(x | z, y), [samples, batch], of z, [samples, batch, latent]."""
        outputs = self.decoder(self._beside(z, labels).flatten(0, -2)).unflatten(0, z.shape[:-1])
        return self.observations.log_likelihood(outputs, x.flatten(1))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the reconstructions: the means of x | z, y at the mean of q(z | x, y)."""
        return self.decode(self.encode(x, labels)[0], labels)

    @torch.no_grad()
    def sample(self, labels: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw one sample of the model for each label, z and then x | z, y, [batch, in_features]."""
        check_labels(labels, None, self.classes, self)
        z = standard_normal((len(labels), self.latent), self.embedding.weight, generator)
        return self.observations.sample(self.decoder(self._beside(z, labels)), generator)

    def _beside(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """Return the vectors, [..., batch, features], with those of their labels after them."""
        check_labels(labels, vectors.shape[-2], self.classes, self)
        embedded = cast(Tensor, self.embedding(labels))
        return torch.cat([vectors, embedded.expand(*vectors.shape[:-1], -1)], -1)


def check_labels(labels: Tensor, batch: int | None, classes: int, owner: object) -> None:
    """Refuse labels that are not [batch] whole numbers below ``classes``, [any] where batch is None.

    Raises
    ------
    UsageError
        They are not.
    """
    if not isinstance(labels, Tensor):
        raise UsageError(
            f"labels is a {type(labels).__name__}",
            where=type(owner).__name__,
            todo=f"Give a tensor, [batch] of int64 or int32 from 0 to {classes - 1}.",
        )
    batch = labels.numel() if batch is None else batch
    whole = not labels.is_floating_point() and labels.dtype.itemsize >= 4
    known = whole and (labels.is_meta or not labels.numel() or bool(((labels >= 0) & (labels < classes)).all()))
    if labels.shape != (batch,) or not known:
        raise UsageError(
            f"labels is {list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}"
            + (f", from {int(labels.min())} to {int(labels.max())}" if whole and labels.numel() else ""),
            where=type(owner).__name__,
            todo=f"Give [{batch}] of int64 or int32 from 0 to {classes - 1}.",
        )


def _images(n: int, generator: torch.Generator | None = None) -> Tensor:
    return torch.rand(n, 1, 28, 28, generator=generator)


def _labelled_images(n: int, generator: torch.Generator | None = None) -> Mapping[str, Any]:
    return {"x": _images(n, generator), "labels": torch.randint(10, (n,), generator=generator)}


SPECIMENS = (
    Specimen(
        name="vae",
        title="variational autoencoder of handwritten digits",
        build=VAE,
        inputs=_images,
        parameters=815_824,
        formula="z ~ N(0, I), x | z with means σ(g(z)), q(z | x) = N(m(x), s(x)²), perceptrons of 500 hidden units; "
        "training raises E_q ln p(x | z) − KL(q(z | x) ‖ p(z)), which is at most ln p(x).",
        source="kingma2014auto",
        pinned_by="tests/models/test_vae.py::test_the_bounds_rise_to_the_log_likelihood",
    ),
    Specimen(
        name="conditional-vae",
        title="variational autoencoder of handwritten digits given their label",
        build=ConditionalVAE,
        inputs=_labelled_images,
        parameters=825_924,
        formula="z ~ N(0, I), x | z, y with means σ(g(z, e(y))), q(z | x, y) = N(m(x, e(y)), s(x, e(y))²) with learned "
        "vectors e of the labels y; training raises E_q ln p(x | z, y) − KL(q(z | x, y) ‖ p(z)).",
        source="sohn2015learning",
        rows=("cvae",),
        pinned_by="tests/verify/test_conditional_digits_models.py::test_digits_are_the_ones_asked_for_and_labels_that_are_confused_lie_near",
    ),
)
