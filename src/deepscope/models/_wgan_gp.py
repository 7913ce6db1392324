"""Wasserstein GAN with gradient penalty: a critic whose slope is held at 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from deepscope.core import Specimen, UsageError
from deepscope.models._autoencoder import check_batch
from deepscope.models._draws import uniform
from deepscope.models._gan import GAN
from deepscope.models._inputs import values


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    """Return E (‖∇D(x̂)‖ − 1)², x̂ = u x + (1 − u) x̃ with u uniform in [0, 1) for each pair of samples.

    It is 0 for a critic of slope 1 on the lines between them; the norm is Euclidean, over all values of a sample. A
    backward pass through it is one of second order. Source: ``gulrajani2017improved``.

    Parameters
    ----------
    critic
        D: maps samples to one number each.
    real, fake
        x and x̃, of the same shape, [batch, …].
    generator
        Draws u; torch's own unless given.

    Raises
    ------
    UsageError
        No samples, or shapes that differ.

    Examples
    --------
    >>> gradient_penalty(lambda x: x[:, 0], torch.ones(3, 2), torch.zeros(3, 2)).item()
    0.0
    """
    check_batch(real, "gradient_penalty")
    if real.shape != fake.shape:
        raise UsageError(
            f"real is {list(real.shape)}, and fake {list(fake.shape)}",
            where="gradient_penalty",
            todo="Give as many of the one as of the other.",
        )
    share = uniform((len(real), *[1] * (real.ndim - 1)), real, generator)
    with torch.enable_grad():
        between = (share * real + (1 - share) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
    return (norms - 1).square().mean()


def critic_loss(model: GAN, x: Tensor, *, weight: float = 10.0, generator: torch.Generator | None = None) -> Tensor:
    """Return E D(x̃) − E D(x) + λ ``gradient_penalty``, with as many generated x̃ as samples x.

    Without the penalty, and over all D of slope at most 1, its minimum is minus the Wasserstein-1 distance W of real
    and generated samples. The penalty lets the slope be more than 1: between two points at a distance d the minimum is
    −d − d²/(4λ), with D(x) − D(x̃) = d + d²/(2λ). No gradient goes to the generator. Source: ``gulrajani2017improved``.

    Parameters
    ----------
    model
        Generator and critic.
    x
        Real samples, [batch, …].
    weight
        λ, at least 0.
    generator
        Draws z and u; torch's own unless given.

    Raises
    ------
    UsageError
        No samples, or samples of another size; a negative weight.

    Examples
    --------
    >>> critic_loss(wgan_gp_2(), torch.zeros(5, 2)).shape
    torch.Size([])
    """
    if not 0 <= weight < math.inf:
        raise UsageError(f"weight is {weight!r}", where="critic_loss", todo="Give a finite number of at least 0.")
    fake = model.sample(len(check_batch(x, "critic_loss")), generator=generator)
    difference = model.discriminate(fake).mean() - model.discriminate(x).mean()
    return difference + weight * gradient_penalty(model.discriminate, x.flatten(1), fake, generator=generator)


def wasserstein_generator_loss(model: GAN, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return −E D(G(z)), of as many z as there are samples in x. Source: ``gulrajani2017improved``.

    Parameters
    ----------
    model
        Generator and critic.
    x
        A batch, [batch, …], whose length counts alone.
    generator
        Draws z; torch's own unless given.

    Raises
    ------
    UsageError
        No samples.

    Examples
    --------
    >>> wasserstein_generator_loss(wgan_gp_2(), torch.zeros(5, 2)).shape
    torch.Size([])
    """
    check_batch(x, "wasserstein_generator_loss")
    return -model.discriminate(model.draw(len(x), generator=generator)).mean()


def wgan_gp_2() -> GAN:
    """Return the networks of the paper's distributions in the plane: 3 layers of 512 ReLUs each; 1,055,235 parameters.

    Source: ``gulrajani2017improved``.

    Examples
    --------
    >>> sum(p.numel() for p in wgan_gp_2().parameters())
    1055235
    """
    return GAN(2, 2, (512, 512, 512), (512, 512, 512), activation="relu")


SPECIMENS = (
    Specimen(
        name="wgan-gp",
        title="Wasserstein GAN with gradient penalty in the plane",
        build=wgan_gp_2,
        inputs=values(2),
        parameters=1_055_235,
        formula="x̃ = G(z), z ~ N(0, I). D lowers E D(x̃) − E D(x) + λ E (‖∇D(x̂)‖ − 1)² with x̂ on the lines between real "
        "and generated samples; G lowers −E D(x̃).",
        source="gulrajani2017improved",
        pinned_by="tests/models/test_wgan_gp.py::test_the_best_critic_of_two_points_tells_their_distance",
    ),
)
