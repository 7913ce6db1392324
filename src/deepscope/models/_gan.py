"""Generative adversarial networks: a generator, a discriminator, and their losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._activation import make_activation
from deepscope.models._autoencoder import check_batch
from deepscope.models._draws import standard_normal
from deepscope.models._inputs import values
from deepscope.models._mlp import MLP
from deepscope.models._sizes import check_vectors, positive


class GAN(nn.Module):
    """Generator G and discriminator D, both perceptrons: x = s(G(z)) with z ~ N(0, I), and one number D(x) for each x.

    Maps z, [batch, latent], to D(G(z)), [batch, 1], through both networks; ``generate`` gives G(z), and
    ``discriminate`` D(x): the logit of being real for ``discriminator_loss``, a critic's value for ``critic_loss``.
    Parameters: those of ``MLP(latent, generator, features)`` and ``MLP(features, discriminator, 1)``. Weights begin as
    torch's. Source: ``goodfellow2014generative``, whose discriminator has maxout units and dropout; here both networks
    have one activation.

    Parameters
    ----------
    features
        Number of values per sample.
    latent
        Number of values of z.
    generator, discriminator
        Widths of their hidden layers.
    activation
        Of the hidden layers, as ``MLP`` takes it.
    output_activation
        s: ``"sigmoid"`` for values between 0 and 1.

    Raises
    ------
    UsageError
        A size below 1, an unknown activation; when called: inputs of another size or precision.

    Examples
    --------
    >>> model = GAN(6, 2, (8,), (8,))
    >>> model(torch.zeros(5, 2)).shape, model.generate(torch.zeros(5, 2)).shape
    (torch.Size([5, 1]), torch.Size([5, 6]))
    >>> model.sample(3, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([3, 6])
    """

    def __init__(
        self,
        features: int = 784,
        latent: int = 100,
        generator: Sequence[int] = (1200, 1200),
        discriminator: Sequence[int] = (240, 240),
        *,
        activation: str = "leaky-relu",
        output_activation: str = "identity",
    ) -> None:
        super().__init__()
        self.features, self.latent = positive(features, "features", self), positive(latent, "latent", self)
        for name, widths in (("generator", generator), ("discriminator", discriminator)):
            for width in widths:
                positive(width, name, self)
        self.generator = MLP(latent, generator, features, activation=activation)
        self.output_activation = make_activation(output_activation)
        self.discriminator = MLP(features, discriminator, 1, activation=activation)

    def generate(self, z: Tensor) -> Tensor:
        """Return the samples that z, [batch, latent], stands for, [batch, features]."""
        check_vectors(z, self.latent, self)
        return cast(Tensor, self.output_activation(self.generator(z)))

    def discriminate(self, x: Tensor) -> Tensor:
        """Return D(x), [batch], of samples, [batch, …]."""
        check_vectors(x, self.features, self)
        return cast(Tensor, self.discriminator(x)).squeeze(1)

    def forward(self, z: Tensor) -> Tensor:
        """Return D(G(z)), [batch, 1]."""
        return self.discriminate(self.generate(z))[:, None]

    def draw(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Return G(z) of n drawn z, [n, features], through which the gradient passes."""
        shape = (positive(n, "n", self), self.latent)
        return self.generate(standard_normal(shape, next(self.parameters()), generator))

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n samples, [n, features]."""
        return self.draw(n, generator=generator)


def binary_discrimination(real: Tensor, fake: Tensor) -> Tensor:
    """Return −E ln σ(D(x)) − E ln(1 − σ(D(x̃))) of the logits of real and of generated samples.

    Its minimum over all D is where σ(D(x)) = p(x)/(p(x) + q(x)) with the densities p of real and q of generated
    samples; it is ln 4 − 2 JS(p, q), at most ln 4, which is reached where they are equal.
    Source: ``goodfellow2014generative``.

    Parameters
    ----------
    real, fake
        Logits, any shapes.

    Raises
    ------
    UsageError
        One of them is empty.

    Examples
    --------
    >>> round(binary_discrimination(torch.zeros(3), torch.zeros(2)).item(), 4)
    1.3863
    """
    for name, logits in (("real", real), ("fake", fake)):
        if not logits.numel():
            raise UsageError(f"{name} is empty", where="binary_discrimination", todo="Give at least one logit.")
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def discriminator_loss(model: GAN, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return ``binary_discrimination`` of the samples and of as many generated ones; no gradient goes to the generator.

    Source: ``goodfellow2014generative``.

    Parameters
    ----------
    model
        Generator and discriminator.
    x
        Real samples, [batch, …].
    generator
        Draws z; torch's own unless given.

    Raises
    ------
    UsageError
        No samples, or samples of another size.

    Examples
    --------
    >>> discriminator_loss(GAN(6, 2, (8,), (8,)), torch.zeros(5, 6)).shape
    torch.Size([])
    """
    check_batch(x, "discriminator_loss")
    fake = model.sample(len(x), generator=generator)
    return binary_discrimination(model.discriminate(x), model.discriminate(fake))


def generator_loss(
    model: GAN, x: Tensor, *, saturating: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """Return −E ln σ(D(G(z))) or, ``saturating``, E ln(1 − σ(D(G(z)))), of as many z as there are samples in x.

    The second is what the discriminator gains; where it tells samples apart with ease its gradient vanishes, that of
    the first does not. The gradient goes to the discriminator as well: its optimiser has no use for it.
    Source: ``goodfellow2014generative``.

    Parameters
    ----------
    model
        Generator and discriminator.
    x
        A batch, [batch, …], whose length counts alone.
    saturating
        Whether the second is meant.
    generator
        Draws z; torch's own unless given.

    Raises
    ------
    UsageError
        No samples.

    Examples
    --------
    >>> generator_loss(GAN(6, 2, (8,), (8,)), torch.zeros(5, 6)).shape
    torch.Size([])
    """
    check_batch(x, "generator_loss")
    logits = model.discriminate(model.draw(len(x), generator=generator))
    return -functional.softplus(logits).mean() if saturating else functional.softplus(-logits).mean()


def gan_784() -> GAN:
    """Return the networks of images of 28 × 28 pixels: 100-1200-1200-784 and 784-240-240-1 units; 2,750,465 parameters.

    Source: ``goodfellow2014generative``, whose authors' code has these widths.

    Examples
    --------
    >>> sum(p.numel() for p in gan_784().parameters())
    2750465
    """
    return GAN(output_activation="sigmoid")


SPECIMENS = (
    Specimen(
        name="gan",
        title="generative adversarial networks of handwritten digits",
        build=gan_784,
        inputs=values(100),
        parameters=2_750_465,
        formula="x̃ = G(z), z ~ N(0, I). D lowers −E ln σ(D(x)) − E ln(1 − σ(D(x̃))), and is best at σ(D) = p/(p + q); "
        "G lowers −E ln σ(D(x̃)).",
        source="goodfellow2014generative",
        pinned_by="tests/models/test_gan.py::test_the_best_discriminator_is_the_share_of_the_real_density",
    ),
)
